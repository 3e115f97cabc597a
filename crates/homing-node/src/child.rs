//! Child processes that lead a process group of their own: they end with everything that they have started.
//!
//! A group is known by the number of its leader, which is free for others once somebody has waited for the leader. So
//! the group is ended between the leader's end and the wait. Not here: what the process is and who talks to it.
//!
//! A pipe ends in the same way whether its process had said everything or was killed in the middle of it. [`Output`] tells
//! one from the other.

use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

/// How often it is looked whether a leader has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long a process that has closed its output may take to end before it is believed to work on: one that was killed
/// ends in the moment in which its pipes close.
const KILLED_MAX: Duration = Duration::from_millis(300);

/// The group of a child that was started with `process_group(0)` and has not been waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(Pid);

impl Group {
    /// The one that `child` leads; `None`: it was waited for.
    #[must_use]
    pub fn of(child: &Child) -> Option<Self> {
        child.id().and_then(|id| i32::try_from(id).ok()).map(|id| Self(Pid::from_raw(id)))
    }

    /// Ends everything in it at once.
    pub fn kill(self) {
        // Fails when everything in it has ended.
        killpg(self.0, Signal::SIGKILL).ok();
    }

    /// Resolves when the leader has ended, with the signal that killed it; it is not waited for. Never where that cannot be
    /// seen (not on Linux).
    pub async fn leader_ended(self) -> Option<Signal> {
        let mut pause = LOOK / 16;
        loop {
            if let Some(Ended(signal)) = ended(self.0) {
                return signal;
            }
            tokio::time::sleep(pause).await;
            pause = LOOK.min(2 * pause);
        }
    }

    /// Waits for the leader, then ends what it has left behind.
    ///
    /// # Errors
    /// When the system knows nothing of the child.
    pub async fn wait(self, child: &mut Child) -> io::Result<ExitStatus> {
        if cfg!(target_os = "linux") {
            self.leader_ended().await;
            self.kill();
            return child.wait().await;
        }
        let ended = child.wait().await;
        self.kill();
        ended
    }
}

/// What the leader of a group says: an error follows when it was killed while it spoke.
pub struct Output {
    stdout: ChildStdout,
    group: Option<Group>,
    /// The pipe has ended; why is being looked at.
    ending: Option<Pin<Box<dyn Future<Output = Option<Signal>> + Send>>>,
}

impl Output {
    /// Of a child that was started with `process_group(0)` and a pipe; `None`: without one.
    pub fn of(child: &mut Child) -> Option<Self> {
        let stdout = child.stdout.take()?;
        Some(Self { stdout, group: Group::of(child), ending: None })
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("group", &self.group).finish_non_exhaustive()
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ending.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stdout).poll_read(cx, buffer))?;
            let Some(group) = self.group else { return Poll::Ready(Ok(())) };
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let killed =
                async move { timeout(KILLED_MAX, group.leader_ended()).await.ok().flatten() };
            self.ending = Some(Box::pin(killed));
        }
        let Some(ending) = &mut self.ending else { return Poll::Ready(Ok(())) };
        let killed = ready!(ending.as_mut().poll(cx));
        // Asked again it says the same.
        self.ending = Some(Box::pin(std::future::ready(killed)));
        Poll::Ready(killed.map_or(Ok(()), |signal| {
            Err(io::Error::other(format!("the process was killed by {signal}")))
        }))
    }
}

/// A process has ended: by this signal, or by itself.
struct Ended(Option<Signal>);

#[cfg(target_os = "linux")]
fn ended(process: Pid) -> Option<Ended> {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    match waitid(Id::Pid(process), flags) {
        Ok(WaitStatus::StillAlive) => None,
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ended(Some(signal))),
        _ => Some(Ended(None)),
    }
}

#[cfg(not(target_os = "linux"))]
fn ended(_: Pid) -> Option<Ended> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that starts something that outlives it; the number of that comes out of its standard output.
    fn parent() -> Child {
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", "sleep 600 >/dev/null 2>&1 & echo $!"]).process_group(0);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    }

    #[tokio::test]
    async fn what_a_process_has_started_ends_with_it() {
        let mut child = parent();
        let group = Group::of(&child).unwrap();
        let mut said = String::new();
        let mut stdout = child.stdout.take().unwrap();
        tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut said).await.unwrap();
        let grandchild = Pid::from_raw(said.trim().parse().unwrap());
        assert!(group.wait(&mut child).await.unwrap().success());
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while is_running(grandchild) {
            assert!(std::time::Instant::now() < deadline, "{grandchild} still runs");
            tokio::time::sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn output_ends_when_the_process_did_and_fails_when_it_was_killed() {
        for (script, expected) in [
            ("echo all", Ok("all\n")),
            ("echo all; exit 3", Ok("all\n")),
            // What it does after its output is its own affair.
            ("echo all; exec >&-; sleep 2; kill -9 $$", Ok("all\n")),
            ("echo part; kill -9 $$", Err("killed by SIGKILL")),
            ("echo part; kill $$; sleep 5", Err("killed by SIGTERM")),
        ] {
            let mut command = tokio::process::Command::new("/bin/sh");
            command.args(["-c", script]).process_group(0).kill_on_drop(true);
            let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
            let mut output = Output::of(&mut child).unwrap();
            let mut said = String::new();
            let read = tokio::io::AsyncReadExt::read_to_string(&mut output, &mut said).await;
            match expected {
                Ok(all) => assert_eq!((read.map_err(|e| e.to_string()), &*said), (Ok(4), all)),
                Err(why) => {
                    let error = read.unwrap_err().to_string();
                    assert!(error.contains(why), "{script}: {error}");
                }
            }
        }
    }

    /// A zombie that nobody waits for (a container without an init) does not run.
    fn is_running(process: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| state != 'Z') && nix::sys::signal::kill(process, None).is_ok()
    }
}
