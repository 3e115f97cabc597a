//! Child processes that lead a process group of their own: they end with everything that they have started.
//!
//! A group is known by the number of its leader, which is free for others once somebody has waited for the leader. So
//! the group is ended between the leader's end and the wait. Not here: what the process is and who talks to it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// How often it is looked whether a leader has ended.
const LOOK: Duration = Duration::from_millis(10);

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

    /// Resolves when the leader has ended; it is not waited for. Never where that cannot be seen (not on Linux).
    pub async fn leader_ended(self) {
        while !is_zombie(self.0) {
            tokio::time::sleep(LOOK).await;
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

#[cfg(target_os = "linux")]
fn is_zombie(process: Pid) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    !matches!(waitid(Id::Pid(process), flags), Ok(WaitStatus::StillAlive))
}

#[cfg(not(target_os = "linux"))]
fn is_zombie(_: Pid) -> bool {
    false
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

    /// A zombie that nobody waits for (a container without an init) does not run.
    fn is_running(process: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| state != 'Z') && nix::sys::signal::kill(process, None).is_ok()
    }
}
