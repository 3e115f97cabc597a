//! The streams of one service: accepted, told apart, carried.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use homing_api::exposures::{Mode, Target};
use homing_api::peers::PeerSummary;
use homing_api::{ApiError, Code};
use homing_base::NodeId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::file::Entry;
use super::first::First;
use super::headers::Identity;
use super::limits::{HEADER_TIMEOUT, IDLE_MAX, SILENCE, STREAMS_MAX, STREAMS_PER_PEER_MAX};
use super::opened::Opened;
use super::place::{Place, Reached};
use super::process::Process;
use super::proxy::{Ended, Proxy};
use super::{Host, http, protocol};
use crate::node::Node;
use crate::shares::{Share, Shares};
use crate::streams::{Listener, Stream};

/// What a service stands for, ready to be used.
pub(super) enum Content {
    Proxy(Box<Proxy>),
    Directory(PathBuf),
    Command { argv: Vec<String>, cwd: Option<PathBuf> },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Content::Proxy(_) => "Proxy",
            Content::Directory(_) => "Directory",
            Content::Command { .. } => "Command",
        })
    }
}

/// A service that listens.
#[derive(Debug)]
pub(super) struct Running {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    open: Arc<Mutex<BTreeSet<u64>>>,
}

impl Running {
    /// Listens.
    ///
    /// # Errors
    /// `already_exists` when somebody listens on the name; `usage` for a target that cannot be asked.
    pub(super) fn start(node: &Node, entry: &Entry) -> Result<Self, ApiError> {
        let content = match (&entry.target, Proxy::new(&entry.target, entry.keep_host)?) {
            (_, Some(proxy)) => Content::Proxy(Box::new(proxy)),
            (Target::Command { argv, cwd }, _) => {
                Content::Command { argv: argv.clone(), cwd: cwd.clone() }
            }
            (Target::Directory { path }, _) => Content::Directory(path.clone()),
            (target, None) => {
                return Err(ApiError::new(Code::Internal, format!("{target} has no server")));
            }
        };
        let listener = node.listen_as(entry.name.clone(), protocol(entry))?;
        let open = Arc::new(Mutex::default());
        let (stop, stopped) = watch::channel(false);
        let host = Host { node: node.clone(), entry: entry.clone(), content, open: open.clone() };
        let accepting = tokio::spawn(accept(listener, Arc::new(host), stopped));
        Ok(Self { stop, accepting, open })
    }

    /// Streams open now.
    pub(super) fn streams(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Listens no longer, and ends what is open.
    pub(super) async fn stop(self, node: &Node) {
        self.stop.send_replace(true);
        // Then the name is free.
        drop(self.accepting.await);
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for id in open {
            let error = ApiError::new(Code::StreamBroken, "the service is exposed no longer");
            node.shared.streams.cut(id, error);
        }
    }
}

async fn accept(mut listener: Listener, host: Arc<Host>, mut stopped: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(STREAMS_MAX));
    let shares = Shares::of(STREAMS_PER_PEER_MAX);
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await?))
        };
        let next = tokio::select! {
            next = next => next,
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        let Some((permit, stream)) = next else { return };
        match shares.take(stream.peer()) {
            Some(share) => drop(tokio::spawn(serve(host.clone(), stream, (permit, share)))),
            None => refuse(&host.node, stream, crowded()),
        }
    }
}

/// Its place among the streams of the service, and of the peer.
type Seat = (OwnedSemaphorePermit, Share);

/// One stream of a peer. Whatever serves it holds this to its end.
pub(super) struct Visit {
    pub(super) host: Arc<Host>,
    pub(super) peer: NodeId,
    pub(super) summary: PeerSummary,
    identity: Identity,
    ended: Ended,
    id: u64,
    _place: Seat,
}

impl Visit {
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Resolves when trust with the peer, or the service, has ended.
    pub(super) fn ended(&self) -> Ended {
        self.ended.clone()
    }

    /// Breaks the stream.
    pub(super) fn cut(&self, why: ApiError) {
        self.host.node.shared.streams.cut(self.id, why);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.host.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

async fn serve(host: Arc<Host>, stream: Stream, place: Seat) {
    let (peer, id) = (stream.peer(), stream.id());
    host.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    let Ok(summary) = host.node.summary(peer).await else { return };
    let visit = Arc::new(Visit {
        peer,
        identity: Identity::new(&summary, &host.entry.name),
        summary,
        ended: stream.severed().boxed().shared(),
        id,
        _place: place,
        host: host.clone(),
    });
    match &host.content {
        Content::Command { argv, cwd } => match Process::start(argv, cwd.as_deref(), &visit) {
            Ok(process) => process.serve(stream, &visit).await,
            Err(error) => refuse(&host.node, stream, error),
        },
        Content::Directory(_) => spoken(Opened::new(stream), visit).await,
        Content::Proxy(_) => match (host.entry.mode, &host.entry.target) {
            (Mode::Http, _) | (_, Target::Url { .. }) => spoken(Opened::new(stream), visit).await,
            (Mode::Tcp, _) => carried(Opened::new(stream), None, &visit).await,
            (Mode::Auto, _) => told_apart(Opened::new(stream), visit).await,
        },
    }
}

/// HTTP, whatever it looks like: what is none is answered with 400.
async fn spoken(mut opened: Opened, visit: Arc<Visit>) {
    match timeout(HEADER_TIMEOUT, opened.first()).await {
        Ok(Ok(First::Http2)) => http::serve(opened, First::Http2, visit).await,
        Ok(Ok(_)) => http::serve(opened, First::Http1, visit).await,
        Ok(Err(_)) | Err(_) => debug!(peer = %visit.peer.fmt_short(), "no request came"),
    }
}

/// By the first bytes of the peer. A target that speaks first is no web server, unless it greets as one.
async fn told_apart(mut opened: Opened, visit: Arc<Visit>) {
    let (first, local) = match timeout(SILENCE, opened.first()).await {
        Ok(first) => (first, None),
        Err(_) => {
            let Some(mut local) = reach(&visit).await else {
                return refuse(&visit.host.node, opened.into_parts().0, down());
            };
            let first = tokio::select! {
                first = opened.first() => first,
                web = local.greets_as_web() => match web {
                    true => return spoken(opened, visit.clone()).await,
                    false => Ok(First::Bytes),
                },
                () = visit.ended() => return,
                () = sleep(IDLE_MAX) => return refuse(&visit.host.node, opened.into_parts().0, silent()),
            };
            (first, Some(local))
        }
    };
    match first {
        Ok(First::Bytes) => carried(opened, local, &visit).await,
        Ok(first) => http::serve(opened, first, visit).await,
        Err(_) => {}
    }
}

/// Bytes both ways between the stream and the target.
async fn carried(opened: Opened, local: Option<Reached>, visit: &Visit) {
    let local = match local {
        Some(local) => Some(local),
        None => reach(visit).await,
    };
    let (stream, seen) = opened.into_parts();
    let Some(Reached { mut local, said }) = local else {
        return refuse(&visit.host.node, stream, down());
    };
    if local.write_all(&seen).await.is_err() {
        return refuse(&visit.host.node, stream, down());
    }
    let rests = stream.rests(IDLE_MAX);
    let mut carrying = pin!(stream.carry_over(local, said));
    let carried = tokio::select! {
        carried = &mut carrying => carried,
        () = rests => {
            visit.cut(silent());
            carrying.await
        }
    };
    if let Err(error) = carried {
        debug!(peer = %visit.peer.fmt_short(), %error, "a stream to a service broke");
    }
}

async fn reach(visit: &Visit) -> Option<Reached> {
    let place = match &visit.host.entry.target {
        Target::Tcp { host, port } => Place::Tcp { host: host.as_str().into(), port: *port },
        Target::Unix { path } => Place::Unix { path: Arc::new(path.clone()) },
        _ => return None,
    };
    let connected = place.connect().await;
    if let Err(error) = &connected {
        debug!(service = %visit.host.entry.name, %error, "the target is down");
    }
    connected.ok().map(Reached::new)
}

fn down() -> ApiError {
    ApiError::new(Code::StreamBroken, "what the service stands for does not answer")
}

fn crowded() -> ApiError {
    let message = format!("{STREAMS_PER_PEER_MAX} streams of this peer are served already");
    ApiError::new(Code::LimitReached, message)
}

fn silent() -> ApiError {
    ApiError::new(Code::StreamBroken, "neither side has said anything for a day")
}

/// Breaks a stream, so that nobody takes it for one that ended in order.
fn refuse(node: &Node, stream: Stream, error: ApiError) {
    warn!(peer = %stream.peer().fmt_short(), service = %stream.service(), %error, "a stream was not served");
    node.shared.streams.cut(stream.id(), error);
}
