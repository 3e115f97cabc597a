//! The demo's surroundings: a temporary directory and the processes in it, ended by their pids.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use homing_api::{ApiError, Client, Code};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// Every process of the demo starts in well under this.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A temporary directory; its processes end with [`Stage::close`].
#[derive(Debug)]
pub(super) struct Stage {
    dir: PathBuf,
    program: PathBuf,
    children: Mutex<Vec<(String, Child)>>,
}

impl Stage {
    pub(super) fn open() -> Result<Self, ApiError> {
        let dir = std::env::temp_dir().join(format!("homing-demo-{}", std::process::id()));
        std::fs::create_dir(&dir).map_err(|e| broken(&dir.display().to_string(), &e))?;
        let program = std::env::current_exe().map_err(|e| broken("this program's path", &e))?;
        Ok(Self { dir, program, children: Mutex::default() })
    }

    pub(super) fn home(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn client(&self, name: &str) -> Client {
        Client::new(self.home(name).join("homing.sock"))
    }

    /// Starts a process of this program in the home `name`; its first line on stdout.
    pub(super) async fn start(&self, name: &str, args: &[&str]) -> Result<String, ApiError> {
        let home = self.home(name);
        std::fs::create_dir_all(&home).map_err(|e| broken(name, &e))?;
        let log = std::fs::File::create(home.join("run.log")).map_err(|e| broken(name, &e))?;
        let mut child = self
            .command(&home)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| broken(name, &e))?;
        let stdout = child.stdout.take().expect("stdout was asked for");
        self.children.lock().await.push((name.to_owned(), child));
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await;
        match line.ok().and_then(Result::ok).flatten() {
            Some(line) => match serde_json::from_str::<ApiError>(&line) {
                Ok(error) => Err(error),
                Err(_) => Ok(line),
            },
            None => Err(silent(name, &home)),
        }
    }

    /// A command of this program that knows nothing of the user's own settings.
    fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOMING_") {
                command.env_remove(name);
            }
        }
        command.env("HOMING_HOME", home).kill_on_drop(true);
        command
    }

    /// `kill -9`, by pid, without a goodbye.
    pub(super) async fn kill(&self, name: &str) -> Result<u32, ApiError> {
        let mut children = self.children.lock().await;
        let at = children.iter().position(|(n, _)| n == name).expect("it was started");
        let (_, mut child) = children.remove(at);
        let pid = child
            .id()
            .ok_or_else(|| ApiError::new(Code::Internal, format!("{name} ended by itself")))?;
        child.kill().await.map_err(|e| broken(name, &e))?;
        Ok(pid)
    }

    /// Ends what was started and removes the directory.
    pub(super) async fn close(self) {
        for (_, mut child) in self.children.lock().await.drain(..) {
            let _ = child.kill().await;
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A UDP port that is free now, with the next one.
pub(super) fn free_udp_pair() -> Result<u16, ApiError> {
    for _ in 0..64 {
        let first = UdpSocket::bind("127.0.0.1:0").map_err(|e| broken("a UDP port", &e))?;
        let port = first.local_addr().map_err(|e| broken("a UDP port", &e))?.port();
        if port < u16::MAX && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    Err(ApiError::new(Code::PortInUse, "no two neighbouring UDP ports are free"))
}

fn silent(name: &str, home: &Path) -> ApiError {
    let log = std::fs::read_to_string(home.join("run.log")).unwrap_or_default();
    let error = ApiError::new(Code::Internal, format!("{name} did not start"));
    match log.lines().last() {
        Some(last) => error.why(last),
        None => error,
    }
}

pub(super) fn broken(what: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(Code::Internal, format!("{what}: {error}"))
}
