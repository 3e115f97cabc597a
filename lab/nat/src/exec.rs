//! Child processes that cannot hang a test: every one has a time limit, after which it is killed.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Pause between two looks at a running child.
const POLL: Duration = Duration::from_millis(2);

/// What a child left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it (also ours, at the limit).
    pub code: Option<i32>,
    /// Everything it wrote to stdout.
    pub stdout: String,
    /// Everything it wrote to stderr.
    pub stderr: String,
    /// From spawn to exit.
    pub elapsed: Duration,
    /// It ran into the limit and was killed.
    pub timed_out: bool,
}

impl Finished {
    /// Whether it ended with exit code 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs `command` to its end, or kills it after `limit`.
///
/// # Errors
/// When it cannot be started. A failing exit code is not an error.
pub fn run(mut command: Command, input: &str, limit: Duration) -> Result<Finished> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that does not read its input closes the pipe: not our business.
        let _ = stdin.write_all(input.as_bytes());
    }
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let (code, timed_out) = wait(&mut child, started + limit)?;
    let elapsed = started.elapsed();
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    Ok(Finished { code, stdout, stderr, elapsed, timed_out })
}

/// Like [`run`] with 20 s, for set-up commands that must succeed.
///
/// # Errors
/// When it cannot be started or does not exit with 0; the text holds its stderr.
pub fn must(command: Command, input: &str) -> Result<String> {
    let shown = format!("{command:?}");
    let finished = run(command, input, Duration::from_secs(20))?;
    if !finished.ok() {
        bail!("{shown}: exit {:?}: {}\n{input}", finished.code, finished.stderr.trim());
    }
    Ok(finished.stdout)
}

/// Waits for a child until `deadline`, then kills it. Returns its code and whether it was killed.
fn wait(child: &mut Child, deadline: Instant) -> Result<(Option<i32>, bool)> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status.code(), false));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok((None, true));
        }
        thread::sleep(POLL);
    }
}

/// Reads a pipe to its end in the background, so that a talkative child never blocks.
fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
