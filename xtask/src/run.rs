//! Running other programs: one command, its output shown as it comes and kept for counting.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// The directory that holds the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is inside the workspace").into()
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR` or `target/`.
pub fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// A command that is about to run.
pub struct Run(Command);

/// How a command ended.
pub struct Ended {
    /// Exit code 0.
    pub success: bool,
    /// Lines of its standard output.
    pub lines: Vec<String>,
}

/// A cargo command in the workspace, with the toolchain that runs this program. It does not see what cargo told this program
/// about itself: build scripts of others look at such variables, and would be run anew for each way of calling cargo.
pub fn cargo(root: &Path, args: &[&str]) -> Run {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut run = Run::new(root, cargo, args);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|own| name.starts_with(own)) {
            run.0.env_remove(&*name);
        }
    }
    run
}

/// Any other command.
pub fn program(root: &Path, name: &str, args: &[&str]) -> Run {
    Run::new(root, name.into(), args)
}

/// Whether `name` is an executable file in `PATH`.
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.into_iter().any(|dir| dir.join(name).is_file())
}

impl Run {
    fn new(root: &Path, program: std::ffi::OsString, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.current_dir(root).args(args).stdin(Stdio::null());
        Self(command)
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it; its standard output appears as it comes and is returned too.
    pub fn stream(self) -> Result<Ended> {
        self.go(true)
    }

    /// Runs it in silence. Whether it could be started and ended well.
    pub fn succeeds(self) -> bool {
        self.quiet().is_ok_and(|ended| ended.success)
    }

    /// Runs it; its standard output is only returned.
    pub fn quiet(self) -> Result<Ended> {
        self.go(false)
    }

    fn go(mut self, show: bool) -> Result<Ended> {
        let shown = format!("{:?}", self.0).replace('"', "");
        let mut child =
            self.0.stdout(Stdio::piped()).spawn().with_context(|| format!("starting `{shown}`"))?;
        let stdout = child.stdout.take().expect("stdout was piped");
        let mut lines = Vec::new();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if show {
                println!("{line}");
                std::io::stdout().flush()?;
            }
            lines.push(line);
        }
        let status = child.wait().with_context(|| format!("waiting for `{shown}`"))?;
        Ok(Ended { success: status.success(), lines })
    }
}
