//! Daemons, relays and commands inside namespaces: only what a user could do by hand.
//!
//! An [`Agent`] is a home directory, the host it runs on and the name it claims. Moving one means what it
//! means for a user: copy `identity.json`, and nothing else, to another host and start there.
//! Commands speak JSON; every one is bounded in time.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::exec::{self, Finished};
use crate::namespace::Namespace;
use crate::topology::Host;

/// How long a command may take unless its caller says otherwise.
const COMMAND_LIMIT: Duration = Duration::from_secs(15);

/// The binary under test: `HOMING_BIN`, else the newer of the workspace's release and debug builds.
///
/// # Errors
/// The reason why there is none, for the skip line.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("HOMING_BIN").map(PathBuf::from) {
        let missing = || format!("HOMING_BIN={} does not exist", path.display());
        return if path.is_file() { Ok(path) } else { Err(missing()) };
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = ["target/release/homing", "target/debug/homing"].map(|path| root.join(path));
    let age = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let newest = built.into_iter().filter(|path| path.is_file()).max_by_key(age);
    newest.ok_or_else(|| "no homing binary: build one, or name it in HOMING_BIN".to_owned())
}

/// One agent on one host. Dropping it kills its daemon.
#[derive(Debug)]
pub struct Agent {
    name: String,
    namespace: Namespace,
    home: TempDir,
    daemon: Option<Child>,
}

impl Agent {
    /// An agent that has no identity yet; its first start draws one.
    ///
    /// # Errors
    /// When no directory can be made.
    pub fn new(host: &Host, name: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("hl-").tempdir()?;
        let namespace = host.namespace().clone();
        Ok(Self { name: name.to_owned(), namespace, home, daemon: None })
    }

    /// The same identity on another host: a new home that holds a copy of `identity.json` only.
    ///
    /// # Errors
    /// When the identity cannot be copied.
    pub fn copied_to(&self, host: &Host) -> Result<Self> {
        let copy = Self::new(host, &self.name)?;
        fs::copy(self.home.path().join("identity.json"), copy.home.path().join("identity.json"))?;
        Ok(copy)
    }

    /// The name it claims.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `homing ARGS…` in its namespace and home.
    ///
    /// # Errors
    /// When there is no binary.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.program(binary().map_err(anyhow::Error::msg)?);
        command.args(arguments);
        Ok(command)
    }

    /// Any program in its namespace, with its home in the environment and no proxy.
    #[must_use]
    pub fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.namespace.command(program);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.env("HOMING_HOME", self.home.path());
        command
    }

    /// Starts the daemon in the foreground of a child of ours, so that its pid is known and a kill is a
    /// kill. Returns at once; see [`Self::wait_online`].
    ///
    /// # Errors
    /// When it cannot be spawned, or runs already.
    pub fn spawn(&mut self, relays: &[&Relay], extra: &[&str]) -> Result<()> {
        ensure!(self.daemon.is_none(), "{} runs already", self.name);
        let mut command = self.command(&["daemon", "run", "--hostname", &self.name])?;
        for relay in relays {
            command.args(["--relay", relay.url()]);
        }
        let log = fs::File::options().create(true).append(true).open(self.log_path())?;
        command.args(extra).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.daemon = Some(command.spawn()?);
        Ok(())
    }

    /// Starts the daemon and waits until it is reachable.
    ///
    /// # Errors
    /// When it is not reachable in time.
    pub fn start(&mut self, relays: &[&Relay], extra: &[&str]) -> Result<()> {
        self.spawn(relays, extra)?;
        self.wait_online()
    }

    /// Waits until the daemon answers and is online.
    ///
    /// # Errors
    /// When that takes more than 10 s; with the end of its log.
    pub fn wait_online(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let finished = self.run(&["wait", "online", "--timeout", "5s", "--json"])?;
            if finished.ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} is not online: {}\n{}", self.name, finished.stderr, self.log_tail());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When there is no daemon.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.daemon.take().context("no daemon to kill")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops every thread of the daemon as a suspended machine does (`true`), or lets it go on.
    ///
    /// # Errors
    /// When there is no daemon.
    pub fn suspend(&self, asleep: bool) -> Result<()> {
        let child = self.daemon.as_ref().context("no daemon to suspend")?;
        let mut kill = Command::new("kill");
        kill.args([if asleep { "-STOP" } else { "-CONT" }, &child.id().to_string()]);
        exec::must(kill, "").map(drop)
    }

    /// Stops the daemon as a user would.
    ///
    /// # Errors
    /// When it does not stop within 5 s.
    pub fn stop(&mut self) -> Result<()> {
        self.json(&["daemon", "stop"])?;
        let mut child = self.daemon.take().context("no daemon to stop")?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("{} did not stop within 5 s\n{}", self.name, self.log_tail());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started; its own failure is in the result.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished> {
        exec::run(self.command(arguments)?, "", COMMAND_LIMIT)
    }

    /// Runs a command that must succeed and returns its JSON.
    ///
    /// # Errors
    /// When it fails or prints anything that is no JSON object.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let finished = self.run(&[arguments, &["--json"]].concat())?;
        if !finished.ok() {
            let Finished { code, stderr, elapsed, .. } = finished;
            bail!(
                "{}: homing {}: exit {code:?} after {elapsed:?}: {}\n{}",
                self.name,
                arguments.join(" "),
                stderr.trim(),
                self.log_tail()
            );
        }
        serde_json::from_str(&finished.stdout).with_context(|| format!("JSON: {}", finished.stdout))
    }

    /// Runs a command that must fail and returns its error object, its exit code and the time it took.
    ///
    /// # Errors
    /// When it succeeds or prints no error object.
    pub fn failure(&self, arguments: &[&str]) -> Result<(Value, i32, Duration)> {
        let finished = self.run(&[arguments, &["--json"]].concat())?;
        ensure!(!finished.ok(), "homing {} succeeded: {}", arguments.join(" "), finished.stdout);
        let last = finished.stderr.lines().last().unwrap_or_default();
        let error = serde_json::from_str(last);
        let error = error.with_context(|| format!("error object: {}", finished.stderr))?;
        Ok((error, finished.code.context("killed by a signal")?, finished.elapsed))
    }

    /// Its node ID.
    ///
    /// # Errors
    /// When the daemon does not tell.
    pub fn node_id(&self) -> Result<String> {
        let info = self.json(&["info"])?;
        info["node_id"].as_str().map(str::to_owned).with_context(|| format!("node_id: {info}"))
    }

    /// Starts a command whose lines are wanted as they come.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn stream(&self, arguments: &[&str]) -> Result<Lines> {
        let mut command = self.command(&[arguments, &["-o", "jsonl"]].concat())?;
        command.stderr(Stdio::null());
        Lines::start(command)
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("lab.log")
    }

    /// Adds the whole log to `$HOMING_LAB_LOGS/NAME.log`, where that is wanted.
    fn keep_log(&self) {
        let Some(dir) = std::env::var_os("HOMING_LAB_LOGS").map(PathBuf::from) else { return };
        let target = dir.join(format!("{}.log", self.name));
        let copied = fs::read(self.log_path()).and_then(|log| {
            fs::create_dir_all(&dir)?;
            fs::File::options().create(true).append(true).open(target)?.write_all(&log)
        });
        drop(copied);
    }

    /// The last lines the daemon wrote, for a failure's text.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
        let text = read("lab.log") + &read("daemon.log");
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(25)..].join("\n    ");
        format!("    log of {}:\n    {tail}", self.name)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let _ = self.kill();
        }
        self.keep_log();
    }
}

/// A relay on a public host. Dropping it kills it.
#[derive(Debug)]
pub struct Relay {
    url: String,
    process: Lines,
    namespace: Namespace,
    hostname: String,
    home: TempDir,
}

impl Relay {
    /// Starts `homing relay serve` and waits for the URL that it prints.
    ///
    /// # Errors
    /// When it prints none within 5 s.
    pub fn start(host: &Host) -> Result<Self> {
        Self::start_as(host, &host.address().to_string())
    }

    /// The same under a name, which agents must be able to resolve.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_as(host: &Host, hostname: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("hl-").tempdir()?;
        let (namespace, hostname) = (host.namespace().clone(), hostname.to_owned());
        let (url, process) = Self::run(&namespace, &hostname, home.path())?;
        Ok(Self { url, process, namespace, hostname, home })
    }

    /// Starts it again after [`Self::kill`]: the same port, the same certificate.
    ///
    /// # Errors
    /// When it does not come up within 5 s, or under another URL.
    pub fn restart(&mut self) -> Result<()> {
        let (url, process) = Self::run(&self.namespace, &self.hostname, self.home.path())?;
        ensure!(url == self.url, "the relay came back as {url}, not {}", self.url);
        self.process = process;
        Ok(())
    }

    fn run(namespace: &Namespace, hostname: &str, home: &Path) -> Result<(String, Lines)> {
        let mut command = namespace.command(binary().map_err(anyhow::Error::msg)?);
        command.args(["relay", "serve", "--hostname", hostname, "-o", "jsonl"]);
        command.env("HOMING_HOME", home);
        let log = fs::File::create(home.join("lab.log"))?;
        command.stderr(log);
        let process = Lines::start(command)?;
        let Some((_, line)) = process.next(Duration::from_secs(5)) else {
            let log = fs::read_to_string(home.join("lab.log")).unwrap_or_default();
            bail!("the relay printed nothing: {log}");
        };
        let said: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let url = said["relay"].as_str().with_context(|| format!("no relay URL in {line}"))?;
        Ok((url.to_owned(), process))
    }

    /// What `--relay` takes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// A running command and the lines it prints, each with the moment it came. Killed on drop.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Lines {
    /// Starts a command and reads what it prints.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// `homing listen` for an agent; there is something to connect to when this returns.
    ///
    /// # Errors
    /// When it cannot be started or says nothing within 10 s.
    pub fn listen(agent: &Agent, arguments: &[&str]) -> Result<Self> {
        let lines =
            Self::start(agent.command(&[&["listen"], arguments, &["-o", "jsonl"]].concat())?)?;
        let (_, line) = lines.next(Duration::from_secs(10)).context("`listen` says nothing")?;
        ensure!(line.contains("homing.listen_ready/v1"), "`listen` says {line}");
        Ok(lines)
    }

    /// The next line, if one comes in time.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<(Instant, String)> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Everything printed so far that was not taken yet.
    pub fn so_far(&self) -> Vec<(Instant, String)> {
        self.lines.try_iter().collect()
    }

    /// Ends it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.kill();
    }
}
