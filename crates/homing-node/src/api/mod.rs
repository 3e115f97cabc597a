//! The local API: HTTP/1.1, JSON, Server-Sent Events and raw streams over a Unix socket.
//!
//! ```text
//! connect(2) ──SO_PEERCRED: same user or root──► router ──► Node's operations ──► JSON | homing.error/v1
//!                                                 ├─ SSE: events, listen           ([`sse`])
//!                                                 └─ Upgrade: connect, streams/{id} ([`upgrade`])
//! ```
//! The operations are those of [`homing_api::OPERATIONS`], one route each; a test compares. Every
//! failure is a `homing.error/v1` with the status of its code. Whoever may use the socket may do
//! everything: there is one kind of local user.

mod answer;
mod content;
mod exposures;
mod messages;
mod references;
mod router;
mod serve;
mod sse;
mod upgrade;

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::builder::StartError;
use crate::node::Node;

/// How long open requests may take to end when the node stops.
const DRAIN_MAX: Duration = Duration::from_millis(300);

/// A bound socket that nobody serves yet.
#[derive(Debug)]
pub(crate) struct ApiSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ApiSocket {
    /// Binds the socket, mode 0600. A socket that is there already is a dead daemon's: the caller
    /// holds the home's lock. Anything else is left alone.
    pub(crate) fn bind(path: &Path) -> Result<Self, StartError> {
        let bound = remove_stale(path).and_then(|()| {
            let listener = UnixListener::bind(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            Ok(Self { listener, path: path.to_owned() })
        });
        bound.map_err(|source| StartError::Socket { path: path.to_owned(), source })
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket is there",
        )),
    }
}

/// The user at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// User id, as the kernel says; `None`: it does not say.
    uid: Option<u32>,
}

impl Caller {
    fn of(stream: &UnixStream) -> Self {
        Self { uid: stream.peer_cred().ok().map(|cred| cred.uid()) }
    }

    /// The daemon's own user, or root.
    fn is_welcome(self) -> bool {
        let own = nix::unistd::geteuid().as_raw();
        self.uid.is_some_and(|uid| uid == own || uid == 0)
    }
}

/// The running server.
#[derive(Debug)]
pub(crate) struct Serving {
    task: JoinHandle<()>,
    path: PathBuf,
}

/// Serves `node` until it has ended.
pub(crate) fn serve(node: Node, socket: ApiSocket) -> Serving {
    let ApiSocket { listener, path } = socket;
    let router = router::router(node.clone());
    let task = tokio::spawn(async move {
        let until_end = async move { drop(node.ended().await) };
        serve::serve(listener, router, until_end).await;
    });
    Serving { task, path }
}

impl Serving {
    /// Lets open requests end, then removes the socket.
    pub(crate) async fn finish(mut self) {
        if tokio::time::timeout(DRAIN_MAX, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}
