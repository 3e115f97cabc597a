//! A daemon under measurement: the release binary with its own home and loopback address.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A home directory and, while it runs, its daemon. Dropping it kills the daemon by its pid.
pub struct Daemon {
    binary: PathBuf,
    home: PathBuf,
    child: Option<Child>,
}

/// Measures in a directory of its own that is gone afterwards. Its path is short: sockets lie below it.
pub fn in_scratch(measure: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("hb-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let result = measure(&scratch);
    std::fs::remove_dir_all(&scratch)?;
    result
}

/// As many agents as `HOMING_SWARM` says, or `usual`.
pub fn agents_or(usual: usize) -> Result<usize> {
    match std::env::var("HOMING_SWARM") {
        Ok(text) => text.parse().context("HOMING_SWARM is no number"),
        Err(_) => Ok(usual),
    }
}

impl Daemon {
    /// A fresh home below `scratch`.
    pub fn new(binary: &Path, scratch: &Path, name: &str) -> Result<Self> {
        let home = scratch.join(name);
        std::fs::create_dir_all(&home)?;
        Ok(Self { binary: binary.to_owned(), home, child: None })
    }

    /// Writes its `config.toml`.
    pub fn configure(&self, text: &str) -> Result<()> {
        std::fs::write(self.home.join("config.toml"), text).context("writing the configuration")
    }

    /// Starts `homing ARGS…` in the foreground of a child of ours; returns at once.
    pub fn spawn(&mut self, args: &[&str]) -> Result<()> {
        let log = std::fs::File::create(self.home.join("run.log"))?;
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("starting the daemon")?);
        Ok(())
    }

    /// Starts `daemon run` and waits until it is online; how long that took.
    pub fn start(&mut self, args: &[&str]) -> Result<Duration> {
        let began = Instant::now();
        self.spawn(&[&["daemon", "run"], args].concat())?;
        // Until its socket is there, the answer is "not running".
        self.until_ok(&["wait", "online", "--timeout", "10s"], Duration::from_secs(10))?;
        Ok(began.elapsed())
    }

    /// Starts it on a loopback port of its own, lets it enter a network by the ticket `peer`, waits until it is
    /// online, `limit` at most, and answers what `homing info` says.
    pub fn enter(&mut self, peer: Option<&str>, limit: Duration) -> Result<Value> {
        let mut args = vec!["daemon", "run", "--listen", "127.0.0.1:0"];
        args.extend(peer.iter().flat_map(|ticket| ["--peer", ticket]));
        self.spawn(&args)?;
        self.until_ok(&["wait", "online", "--timeout", "10s"], limit)?;
        self.json(&["info"])
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The same identity in a fresh home: what a new host gets.
    pub fn reborn(&self, scratch: &Path, name: &str) -> Result<Self> {
        let next = Self::new(&self.binary, scratch, name)?;
        std::fs::copy(self.home.join("identity.json"), next.home.join("identity.json"))?;
        Ok(next)
    }

    /// Resident memory in bytes (`VmRSS` of the daemon).
    pub fn memory_bytes(&self) -> Result<u64> {
        let pid = self.child.as_ref().context("no daemon runs")?.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1_024)
    }

    /// Processor time used so far, in seconds (`utime` and `stime`; Linux counts in hundredths).
    pub fn cpu_seconds(&self) -> Result<f64> {
        let pid = self.child.as_ref().context("no daemon runs")?.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit_once(") ").context("no stat")?.1.split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / 100.0)
    }

    /// Runs a command to success and returns its JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        self.try_json(args)
    }

    /// Repeats a command until it succeeds; how long that took.
    pub fn until_ok(&self, args: &[&str], limit: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            match self.try_json(args) {
                Ok(_) => return Ok(began.elapsed()),
                Err(error) if began.elapsed() > limit => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn try_json(&self, args: &[&str]) -> Result<Value> {
        let output = self.command(&[args, &["--json"]].concat()).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            bail!("homing {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout)?;
        ensure!(!text.is_empty(), "homing {} printed nothing", args.join(" "));
        // Streams print a line per object: the first one is enough here.
        let first = text.lines().next().unwrap_or_default();
        Ok(serde_json::from_str(&text).or_else(|_| serde_json::from_str(first))?)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).env("HOMING_HOME", &self.home);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
