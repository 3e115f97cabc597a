//! A node as a process: it runs until a signal or `homing down` ends it.

use homing_api::{ApiError, Code};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use crate::builder::Builder;
use crate::node::Node;

/// Files that a process of ours has open at once.
const OPEN_FILES_MAX: u64 = 65_536;

/// Starts the node, calls `ready` once it answers, and runs it until SIGTERM, SIGINT or `stop`.
/// Every peer is told before this returns.
///
/// # Errors
/// Why it did not start, or why it had to stop.
pub async fn run(builder: Builder, ready: impl FnOnce(&Node)) -> Result<(), ApiError> {
    raise_open_files();
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let node = builder.start().await.map_err(|error| ApiError::from(&error))?;
    info!(me = %node.node_id().fmt_short(), "running");
    ready(&node);
    tokio::select! {
        ended = node.stopped() => return ended,
        _ = terminate.recv() => info!("stopping: SIGTERM"),
        _ = interrupt.recv() => info!("stopping: SIGINT"),
    }
    node.stop().await
}

/// Lets this process have as many files open as the system allows, at most [`OPEN_FILES_MAX`]: a stream to a local
/// program has two, and the usual soft limit is 1,024. Where it cannot be raised it stays.
pub fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES_MAX).max(soft), hard);
    }
}

fn listen(kind: SignalKind) -> Result<Signal, ApiError> {
    signal(kind)
        .map_err(|e| ApiError::new(Code::Internal, "signals cannot be received").why(e.to_string()))
}
