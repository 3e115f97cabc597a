//! Logs: one JSON object per line, to `daemon.log` or to stderr. Never on stdout, never a secret:
//! key types print without their secret half.
//!
//! The file is bounded: at [`FILE_BYTES_MAX`] it becomes `daemon.log.1`, the one before `daemon.log.2`,
//! and the third is gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A log file is turned over at this size.
pub const FILE_BYTES_MAX: u64 = 10 * 1_024 * 1_024;
/// Old files kept.
pub const FILES_KEPT: usize = 2;

/// Where logs go.
#[derive(Clone, Debug)]
pub enum LogTarget {
    /// A bounded file; its siblings `.1` and `.2` are older.
    File(PathBuf),
    /// Standard error, for a daemon in the foreground.
    Stderr,
}

/// Starts logging for this process, once. `level` as in the configuration's `log.level`; libraries
/// are held at `error` unless the level names them: what their warnings mean for a user is an event
/// or a condition of ours.
///
/// # Errors
/// When the file cannot be opened, the level is not valid, or logging has started already.
pub fn init(target: &LogTarget, level: &str) -> io::Result<()> {
    let filter = EnvFilter::try_new(quiet_libraries(level)).map_err(io::Error::other)?;
    let format = tracing_subscriber::fmt().json().with_env_filter(filter);
    let started = match target {
        LogTarget::File(path) => format.with_writer(LogFile::open(path)?).try_init(),
        LogTarget::Stderr => format.with_writer(io::stderr).try_init(),
    };
    started.map_err(io::Error::other)
}

/// A bare level is about us; libraries that log at it would bury what a user wants to read.
fn quiet_libraries(level: &str) -> String {
    if level.contains(['=', ',']) || matches!(level, "error" | "warn") {
        return level.to_owned();
    }
    format!("error,homing={level},homing_node={level},homing_core={level},homing_base={level}")
}

/// A log file that turns itself over.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    state: Mutex<State>,
    bytes_max: u64,
}

#[derive(Debug)]
struct State {
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens `path` for appending, 0600.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let state = Mutex::new(State::open(path)?);
        Ok(Self { path: path.to_owned(), state, bytes_max: FILE_BYTES_MAX })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.bytes > 0 && state.bytes + line.len() as u64 > self.bytes_max {
            self.turn_over()?;
            *state = State::open(&self.path)?;
        }
        state.file.write_all(line)?;
        state.bytes += line.len() as u64;
        Ok(())
    }

    fn turn_over(&self) -> io::Result<()> {
        for age in (0..FILES_KEPT).rev() {
            let from = self.aged(age);
            if from.exists() {
                std::fs::rename(from, self.aged(age + 1))?;
            }
        }
        Ok(())
    }

    fn aged(&self, age: usize) -> PathBuf {
        match age {
            0 => self.path.clone(),
            age => PathBuf::from(format!("{}.{age}", self.path.display())),
        }
    }
}

impl State {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

/// One event; written whole when dropped.
#[derive(Debug)]
pub struct LogLine<'a> {
    file: &'a LogFile,
    bytes: Vec<u8>,
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        // A full disk must not take the daemon down with it.
        let _ = self.file.append(&self.bytes);
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine { file: self, bytes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_turns_over_and_two_old_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = LogFile::open(&path).unwrap();
        log.bytes_max = 20;
        for line in 0..10 {
            writeln!(log.make_writer(), "line number {line}").unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["daemon.log", "daemon.log.1", "daemon.log.2"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line number 9\n");
        let oldest = std::fs::read_to_string(dir.path().join("daemon.log.2")).unwrap();
        assert_eq!(oldest, "line number 7\n");
    }

    #[test]
    fn a_bare_level_is_about_us_only() {
        assert!(quiet_libraries("debug").starts_with("error,homing=debug"));
        assert_eq!(quiet_libraries("info,iroh=debug"), "info,iroh=debug");
        assert!(EnvFilter::try_new(quiet_libraries("trace")).is_ok());
    }
}
