//! The real binary in homes of its own. Every process is ended by its pid when its home is dropped.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Generous: a busy machine must not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The error object on stderr.
    pub(crate) fn error(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One agent's directory.
pub(crate) struct Home {
    dir: TempDir,
    child: Option<Child>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("hc-").tempdir().unwrap();
        Self { dir, child: None }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// This program with this home and nothing of the tester's own settings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOMING_") {
                command.env_remove(name);
            }
        }
        command.args(args).env("HOMING_HOME", self.dir.path()).env("NO_COLOR", "1");
        command.env_remove("COLUMNS").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        finished(self.command(args).output().unwrap())
    }

    /// A command that must succeed, as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat());
        assert_eq!(done.code, 0, "homing {}: {done:?}", args.join(" "));
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"))
    }

    /// A command that must fail: its error object, which must agree with the exit code.
    pub(crate) fn failure(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat());
        assert_eq!(done.stdout, "", "homing {}", args.join(" "));
        let error = done.error();
        assert_eq!(error["schema"], "homing.error/v1");
        assert_eq!(error["exit"], done.code, "{error}");
        error
    }

    /// Repeats a command until it succeeds.
    pub(crate) fn until_ok(&self, args: &[&str]) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = self.run(&[args, &["--json"]].concat());
            if done.code == 0 {
                return serde_json::from_str(&done.stdout).unwrap();
            }
            assert!(Instant::now() < deadline, "homing {}: {done:?}", args.join(" "));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs `args` in the background until the home is dropped; stderr goes to `run.log`.
    pub(crate) fn spawn(&mut self, args: &[&str]) {
        let log = std::fs::File::create(self.path("run.log")).unwrap();
        let mut command = self.command(args);
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// A daemon in the foreground of a child, reachable when this returns.
    pub(crate) fn start(&mut self, args: &[&str]) {
        self.spawn(&[&["daemon", "run"], args].concat());
        self.until_ok(&["wait", "online", "--timeout", "1s"]);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The same identity, and nothing else, in a new home.
    pub(crate) fn reborn(&self) -> Self {
        let next = Self::new();
        std::fs::copy(self.path("identity.json"), next.path("identity.json")).unwrap();
        next
    }

    pub(crate) fn node_id(&self) -> String {
        self.json(&["key", "show"])["node_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.kill();
        // A daemon that was started detached ends by itself, or by its pid.
        if self.path("daemon.pid").exists() {
            self.run(&["down", "--timeout", "5s"]);
        }
    }
}

/// A command in the background, ended when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `homing listen`, with the service in place when this returns; what it says later appears in the test's output.
pub(crate) fn listening(home: &Home, args: &[&str]) -> Running {
    let mut command = home.command(&[&["listen"], args].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on"), "{line}");
    std::thread::spawn(move || said.lines().for_each(|line| println!("listen: {}", line.unwrap())));
    Running(child)
}

/// Starts a program whose input is the test's to write, and whose output is the test's to read.
pub(crate) fn converse_with(command: &mut Command) -> Child {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().unwrap()
}

pub(crate) fn finished(output: Output) -> Finished {
    Finished {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A relay on loopback; the second value is what `--relay` takes.
pub(crate) fn relay() -> (Home, String) {
    let mut home = Home::new();
    let place = ["--listen", "127.0.0.1:0", "--quic-port", "0", "--hostname", "127.0.0.1"];
    home.spawn(&[&["relay", "serve"], place.as_slice()].concat());
    let info = home.until_ok(&["info"]);
    let url = info["serving_relay"]["relay"].as_str().unwrap().to_owned();
    (home, url)
}

/// An agent on loopback that uses the relay.
pub(crate) fn agent(name: &str, relay: &str) -> Home {
    let mut home = Home::new();
    home.start(&["--hostname", name, "--listen", "127.0.0.1:0", "--relay", relay]);
    home
}

/// `asker` asks by name, `owner` approves by node ID, both know it.
pub(crate) fn befriend(asker: &Home, owner: &Home, owner_name: &str) {
    asker.until_ok(&["handshake", owner_name, "--reason", "a test"]);
    let id = asker.node_id();
    owner.until_ok(&["approve", &id]);
    asker.json(&["wait", "trusted", owner_name, "--timeout", "30s"]);
}
