//! Programs of the official SDKs of MCP and A2A, in the Python environment that `cargo xtask test` makes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// The interpreter that has the SDKs; `None` without that environment.
pub(crate) fn python() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("HOMING_AGENT_TOOLS")?);
    let whole = ["bin/mcp", "bin/uvicorn", "bin/a2a-db"].iter().all(|f| folder.join(f).is_file());
    Some(folder.join("bin/python")).filter(|_| whole)
}

/// Not through `println!`, whose output a passing test keeps for itself.
pub(crate) fn skip(what: &str) {
    let line = format!("SKIPPED: {what}: HOMING_AGENT_TOOLS names no environment with the SDKs\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// A server that has written its port into a file; ended when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) port: u16,
    file: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// `SCRIPT before… FILE after…`.
    pub(crate) fn with_port<'a>(
        name: &str,
        file: &Path,
        before: &[&str],
        after: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut arguments = vec![script(name).display().to_string()];
        arguments.extend(before.iter().map(ToString::to_string));
        arguments.push(file.display().to_string());
        arguments.extend(after.into_iter().map(str::to_owned));
        Self::start(arguments, file.to_owned(), 0)
    }

    fn start(arguments: Vec<String>, file: PathBuf, port: u16) -> Self {
        std::fs::remove_file(&file).ok();
        let mut command = Command::new(python().unwrap());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PORT", port.to_string());
        let child = command.args(&arguments).stdin(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let port = loop {
            if let Ok(text) = std::fs::read_to_string(&file) {
                break text.parse().unwrap();
            }
            assert!(Instant::now() < deadline, "{arguments:?} does not start");
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { child, port, file, arguments }
    }

    /// Another process in its place, at its port.
    pub(crate) fn again(mut self) -> Self {
        self.end();
        Self::start(std::mem::take(&mut self.arguments), std::mem::take(&mut self.file), self.port)
    }

    fn end(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}
