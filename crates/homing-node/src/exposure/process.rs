//! A process per stream: its standard input and output are the stream, its standard error goes to the log.
//!
//! Its environment says who is there, as for `homing listen --exec`. It leads a process group, and the whole group
//! is killed when the stream ends; after it closed its output it may work on for a moment. Killed while it speaks, it breaks
//! the stream.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};

use homing_api::{ApiError, Code};
use homing_base::Service;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{debug, info, warn};

use super::Visit;
use super::limits::{
    PROCESS_END_TIMEOUT, PROCESSES_MAX, PROCESSES_PER_PEER_MAX, STDERR_LINE_BYTES_MAX,
    STDERR_LINES_MAX,
};
use crate::child::{Group, Output};
use crate::shares::{Share, Shares};
use crate::streams::Stream;

static PROCESSES: Semaphore = Semaphore::const_new(PROCESSES_MAX);
static PER_PEER: LazyLock<Arc<Shares>> = LazyLock::new(|| Shares::of(PROCESSES_PER_PEER_MAX));

/// A program that was started for one stream.
pub(super) struct Process {
    child: Child,
    /// The group that it leads.
    group: Option<Group>,
    _slot: SemaphorePermit<'static>,
    _share: Share,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// `limit_reached` when too many run, `internal` when it cannot be started.
    pub(super) fn start(
        argv: &[String],
        cwd: Option<&Path>,
        visit: &Visit,
    ) -> Result<Self, ApiError> {
        let share = PER_PEER.take(visit.peer).ok_or_else(|| {
            let message = format!("{PROCESSES_PER_PEER_MAX} processes run for this peer already");
            ApiError::new(Code::LimitReached, message)
        })?;
        let slot = PROCESSES.try_acquire().map_err(|_| {
            let message = format!("{PROCESSES_MAX} processes run for peers already");
            ApiError::new(Code::LimitReached, message)
        })?;
        let mut child = spawn(argv, cwd, visit).map_err(|error| {
            ApiError::new(Code::Internal, format!("{} cannot be started", argv[0]))
                .why(error.to_string())
        })?;
        let group = Group::of(&child);
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log_lines(stderr, visit.host.entry.name.clone()));
        }
        Ok(Self { child, group, _slot: slot, _share: share })
    }

    /// Carries the stream to the end of either.
    pub(super) async fn serve(mut self, mut stream: Stream, visit: &Visit) {
        let orderly = tokio::select! {
            orderly = carry(&mut stream, &mut self.child) => orderly,
            () = visit.ended() => false,
        };
        match orderly {
            true => drop(stream),
            // Dropped it would end in order, as if this were all.
            false => stream.abort(),
        }
        if let Some(group) = self.group {
            if orderly {
                drop(tokio::time::timeout(PROCESS_END_TIMEOUT, group.leader_ended()).await);
            }
            group.kill();
        }
        let status = self.child.wait().await.ok().and_then(|status| status.code());
        debug!(peer = %visit.peer.fmt_short(), ?status, "process ended");
    }
}

fn spawn(argv: &[String], cwd: Option<&Path>, visit: &Visit) -> std::io::Result<Child> {
    let mut command = Command::new(&argv[0]);
    command
        .args(&argv[1..])
        .envs(visit.summary.environment(&visit.host.entry.name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    command.spawn()
}

/// Bytes both ways until the process closes its output; whether it had said everything and the stream held until then.
async fn carry(stream: &mut Stream, child: &mut Child) -> bool {
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let mut stdout = Output::of(child).expect("stdout was asked for");
    let (mut from_peer, mut to_peer) = tokio::io::split(stream);
    let feeding = async move {
        let fed = tokio::io::copy(&mut from_peer, &mut stdin).await;
        drop(stdin);
        match fed {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => false,
            // A process that no longer reads may still write.
            _ => std::future::pending().await,
        }
    };
    let answering = async {
        let copied = tokio::io::copy(&mut stdout, &mut to_peer).await;
        copied.is_ok() && to_peer.shutdown().await.is_ok()
    };
    tokio::select! {
        answered = answering => answered,
        broken = feeding => broken,
    }
}

async fn log_lines(stderr: ChildStderr, service: Service) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    for _ in 0..STDERR_LINES_MAX {
        line.clear();
        let bounded = (&mut reader).take(STDERR_LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        match bounded {
            Ok(1..) => info!(%service, "stderr: {}", String::from_utf8_lossy(&line).trim_end()),
            _ => return,
        }
    }
    warn!(%service, "what the process says further on standard error is not logged");
    // It must not stop because nobody reads.
    drop(tokio::io::copy(&mut reader, &mut tokio::io::sink()).await);
}
