//! Application streams: who listens, what is open, what became of what has ended.
//!
//! ```text
//! peer ──stream header──► transport ──► on_incoming ──Authorize──► core ──► the service's Listener
//!                                            │ refused: NotTrusted · ScopeDenied · NoSuchService
//!                                            └ before the application sees a byte
//! ```
//! Trust is asked before the service is looked up, so that a stranger does not learn what exists.
//! When trust ends the core says `Sever` and every stream with that peer ends at once; when a grant changes it says
//! `Confine`, and those end that the peer opened for what it is no longer granted.

mod bytes;
mod carry;
mod listener;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use homing_api::ApiError;
use homing_api::streams::{Protocol, StreamState};
use homing_base::{NodeId, Scope, Service};
use homing_core::io::TrustState;
use homing_core::message::Refusal;
use homing_core::{Answer, Command, Failure};
use iroh::endpoint::{Connection, RecvStream, SendStream};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info};

pub use listener::Listener;

use crate::driver::Request;
use crate::shares::Shares;
use crate::transport::{IncomingStream, OpenedStream};

/// Ended streams whose outcome can still be asked for.
pub const OUTCOMES_MAX: usize = 8_192;
/// Accepted streams that wait for their listener; more are refused as overload. A thousand may be opened at once.
pub const BACKLOG_MAX: usize = 1_024;
/// Places of it that one peer may hold while it has not taken the few bytes that say yes.
const ANSWERS_PER_PEER_MAX: usize = BACKLOG_MAX / 4;
/// Whoever has not taken them by then gets no stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// One open application stream. Read from `recv`, write to `send`; both are QUIC stream halves.
#[derive(Debug)]
pub struct Stream {
    /// Towards the peer. `finish()` says that no more bytes come.
    pub send: SendStream,
    /// From the peer.
    pub recv: RecvStream,
    open: OpenStream,
    connection: Connection,
}

impl Stream {
    /// Its number in this run.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.open.entry.id
    }

    /// Who is at the other end, proven.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.open.entry.peer
    }

    /// What it was opened for.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.open.entry.service
    }

    /// What the service speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.open.entry.protocol
    }

    /// What carries it, for datagrams beside it.
    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Bytes that went beside it, in datagrams, count as its own.
    pub(crate) fn note_sent(&self, bytes: usize) {
        self.open.entry.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The same for bytes that came.
    pub(crate) fn note_received(&self, bytes: usize) {
        self.open.entry.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Resolves when nothing was said either way for `idle`, and at most as long again.
    pub(crate) fn rests(&self, idle: Duration) -> impl Future<Output = ()> + Send + use<> {
        let entry = self.open.entry.clone();
        async move { entry.rests(idle).await }
    }

    /// Resolves when trust with the peer has ended, or its grant no longer covers the service; never once the stream
    /// itself is gone. [`Stream::carry`] heeds it. With trust the halves break by themselves; with a grant that became
    /// narrower it is whoever reads and writes them that must stop: dropped then, the stream breaks for the peer as well.
    pub fn severed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut severed = self.open.entry.severed.subscribe();
        async move {
            if severed.wait_for(|severed| *severed).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

/// Marks the stream as ended when dropped.
#[derive(Debug)]
struct OpenStream {
    entry: Arc<Entry>,
    streams: Weak<Streams>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(streams) = self.streams.upgrade() {
            streams.on_end(&self.entry);
        }
    }
}

/// What is known about one stream.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) peer: NodeId,
    pub(crate) service: Service,
    pub(crate) protocol: Protocol,
    /// The peer opened it.
    incoming: bool,
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    end: Mutex<Option<Result<(), ApiError>>>,
    severed: watch::Sender<bool>,
}

impl Entry {
    /// Open, closed in order, or broken and why.
    pub(crate) fn state(&self) -> (StreamState, Option<ApiError>) {
        match &*self.end.lock().unwrap_or_else(PoisonError::into_inner) {
            None => (StreamState::Open, None),
            Some(Ok(())) => (StreamState::Closed, None),
            Some(Err(error)) => (StreamState::Broken, Some(error.clone())),
        }
    }

    async fn rests(&self, idle: Duration) {
        let said = || {
            let received = self.received.load(Ordering::Relaxed);
            received.wrapping_add(self.sent.load(Ordering::Relaxed))
        };
        loop {
            let before = said();
            tokio::time::sleep(idle).await;
            if said() == before {
                return;
            }
        }
    }

    fn cut(&self, why: ApiError) {
        self.end(Err(why));
        self.severed.send_replace(true);
    }

    /// Notes how it ended; the first note counts.
    fn end(&self, how: Result<(), ApiError>) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(how);
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct StreamCounts {
    pub(crate) opened: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) severed: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    listeners: BTreeMap<Service, (Protocol, mpsc::Sender<Stream>)>,
    open: BTreeMap<u64, Arc<Entry>>,
    ended: BTreeMap<u64, Arc<Entry>>,
    /// Numbers of those, the one that ended first at the beginning.
    order: VecDeque<u64>,
    /// What peers are granted whose grant has changed while they were trusted.
    scopes: BTreeMap<NodeId, Scope>,
    /// Bytes received from and sent to a peer over streams that have ended.
    totals: BTreeMap<NodeId, (u64, u64)>,
}

/// All streams of one node.
#[derive(Debug)]
pub(crate) struct Streams {
    me: Weak<Streams>,
    requests: mpsc::Sender<Request>,
    tables: Mutex<Tables>,
    next_id: AtomicU64,
    answers: Arc<Shares>,
    pub(crate) counts: StreamCounts,
}

impl Streams {
    pub(crate) fn new(requests: mpsc::Sender<Request>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            requests,
            tables: Mutex::default(),
            next_id: AtomicU64::new(first_id()),
            answers: Shares::of(ANSWERS_PER_PEER_MAX),
            counts: StreamCounts::default(),
        })
    }

    /// A peer wants to open a stream: asks the core, then hands it to the service's listener.
    pub(crate) fn on_incoming(&self, incoming: IncomingStream) {
        let Some(streams) = self.me.upgrade() else { return };
        tokio::spawn(async move { streams.admit(incoming).await });
    }

    async fn admit(&self, incoming: IncomingStream) {
        let service = incoming.header.service.clone();
        let listener = match self.authorize(&incoming).await {
            Ok(peer) => self.listener(&service).map(|listener| (peer, listener)),
            Err(refusal) => Err(refusal),
        };
        let listener = listener.and_then(|(peer, listener)| {
            let share = self.answers.take(peer).ok_or(Refusal::RateLimited)?;
            Ok((peer, listener, share))
        });
        match listener {
            Ok((peer, (protocol, slot), _share)) => {
                let opened = tokio::time::timeout(ANSWER_TIMEOUT, incoming.accept(protocol)).await;
                let Ok(Ok(opened)) = opened else { return };
                self.counts.accepted.fetch_add(1, Ordering::Relaxed);
                debug!(peer = %peer.fmt_short(), %service, "stream accepted");
                slot.send(self.register(peer, service, opened, true));
            }
            Err(refusal) => {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                info!(target: "homing::event::stream::refused", ?refusal, %service, "stream refused");
                incoming.refuse(refusal);
            }
        }
    }

    async fn authorize(&self, incoming: &IncomingStream) -> Result<NodeId, Refusal> {
        let (reply, answer) = oneshot::channel();
        let service = incoming.header.service.clone();
        let command = Command::Authorize { endpoint: incoming.endpoint, service };
        let sent = self.requests.send(Request::Command(command, reply)).await;
        sent.map_err(|_| Refusal::NotTrusted)?;
        match answer.await {
            Ok(Ok(Answer::Authorized { peer })) => Ok(peer),
            Ok(Err(failure)) => Err(refusal_of(&failure)),
            _ => Err(Refusal::NotTrusted),
        }
    }

    fn listener(
        &self,
        service: &Service,
    ) -> Result<(Protocol, mpsc::OwnedPermit<Stream>), Refusal> {
        let listener = self.tables().listeners.get(service).cloned();
        let (protocol, listener) = listener.ok_or(Refusal::NoSuchService)?;
        let slot = listener.try_reserve_owned().map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Refusal::RateLimited,
            mpsc::error::TrySendError::Closed(_) => Refusal::NoSuchService,
        })?;
        Ok((protocol, slot))
    }

    /// Takes note of an open stream.
    pub(crate) fn register(
        &self,
        peer: NodeId,
        service: Service,
        opened: OpenedStream,
        incoming: bool,
    ) -> Stream {
        let OpenedStream { send, recv, protocol, connection } = opened;
        let entry = Arc::new(Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            peer,
            service,
            protocol,
            incoming,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            end: Mutex::new(None),
            severed: watch::Sender::new(false),
        });
        let mut tables = self.tables();
        tables.open.insert(entry.id, entry.clone());
        // It was allowed before its grant changed.
        if tables.scopes.get(&peer).is_some_and(|scope| is_outside(&entry, peer, scope)) {
            entry.cut(crate::problem::scope_narrowed(&entry.service));
        }
        drop(tables);
        let open = OpenStream { entry, streams: self.me.clone() };
        Stream { send, recv, open, connection }
    }

    /// Trust with `peer` ended: its streams end now.
    pub(crate) fn sever(&self, peer: NodeId) {
        let mut tables = self.tables();
        tables.scopes.remove(&peer);
        let entries: Vec<_> = tables.open.values().filter(|e| e.peer == peer).cloned().collect();
        drop(tables);
        for entry in entries {
            self.counts.severed.fetch_add(1, Ordering::Relaxed);
            entry.cut(crate::problem::trust_ended(peer));
        }
    }

    /// The grant of `peer` changed: what it opened outside of it ends now.
    pub(crate) fn confine(&self, peer: NodeId, scope: Scope) {
        let mut tables = self.tables();
        let outside = tables.open.values().filter(|e| is_outside(e, peer, &scope));
        let outside: Vec<_> = outside.cloned().collect();
        tables.scopes.insert(peer, scope);
        drop(tables);
        for entry in outside {
            self.counts.severed.fetch_add(1, Ordering::Relaxed);
            entry.cut(crate::problem::scope_narrowed(&entry.service));
        }
    }

    /// The local end of a stream is gone. Whether there was such a stream.
    pub(crate) fn abort(&self, id: u64) -> bool {
        let Some(entry) = self.tables().open.get(&id).cloned() else { return false };
        entry.cut(carry::gone());
        true
    }

    /// What a stream is for has ended: it breaks now, with this reason.
    pub(crate) fn cut(&self, id: u64, why: ApiError) {
        let entry = self.tables().open.get(&id).cloned();
        if let Some(entry) = entry {
            entry.cut(why);
        }
    }

    /// The node stops.
    pub(crate) fn end_all(&self) {
        let entries: Vec<_> = self.tables().open.values().cloned().collect();
        for entry in entries {
            entry.cut(crate::problem::stopping());
        }
        self.tables().listeners.clear();
    }

    /// A stream by its number, open or ended.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Entry>> {
        let tables = self.tables();
        tables.open.get(&id).or_else(|| tables.ended.get(&id)).cloned()
    }

    /// Open streams with `peer`, and bytes received from and sent to it in this run.
    pub(crate) fn traffic(&self, peer: NodeId) -> (u32, u64, u64) {
        let tables = self.tables();
        let (mut received, mut sent) = tables.totals.get(&peer).copied().unwrap_or_default();
        let mut open = 0;
        for entry in tables.open.values().filter(|e| e.peer == peer) {
            open += 1;
            received += entry.received.load(Ordering::Relaxed);
            sent += entry.sent.load(Ordering::Relaxed);
        }
        (open, received, sent)
    }

    /// Open streams, and bytes received and sent in this run.
    pub(crate) fn traffic_of_all(&self) -> (usize, u64, u64) {
        let tables = self.tables();
        let live = tables
            .open
            .values()
            .map(|e| (e.received.load(Ordering::Relaxed), e.sent.load(Ordering::Relaxed)));
        let all = tables.totals.values().copied().chain(live);
        let (received, sent) = all.fold((0, 0), |(r, s), (dr, ds)| (r + dr, s + ds));
        (tables.open.len(), received, sent)
    }

    fn on_end(&self, entry: &Arc<Entry>) {
        entry.end(Ok(()));
        let mut tables = self.tables();
        if tables.open.remove(&entry.id).is_none() {
            return;
        }
        let total = tables.totals.entry(entry.peer).or_default();
        total.0 += entry.received.load(Ordering::Relaxed);
        total.1 += entry.sent.load(Ordering::Relaxed);
        tables.ended.insert(entry.id, entry.clone());
        tables.order.push_back(entry.id);
        if tables.order.len() > OUTCOMES_MAX
            && let Some(oldest) = tables.order.pop_front()
        {
            tables.ended.remove(&oldest);
        }
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Above every number of an earlier run, whose outcomes somebody may still ask for; below 2^53, which
/// every JSON reader takes. A run would need more than 1,024 streams per millisecond to catch up.
fn first_id() -> u64 {
    crate::clock::wall().0 << 10
}

/// Whether this peer opened it for what a grant does not admit.
fn is_outside(entry: &Entry, peer: NodeId, scope: &Scope) -> bool {
    entry.incoming && entry.peer == peer && !scope.admits(&entry.service)
}

fn refusal_of(failure: &Failure) -> Refusal {
    match failure {
        Failure::NotTrusted { state: TrustState::Expired, .. } => Refusal::TrustExpired,
        Failure::ScopeDenied { .. } => Refusal::ScopeDenied,
        Failure::Limit { .. } => Refusal::RateLimited,
        Failure::Refused { refusal, .. } => *refusal,
        _ => Refusal::NotTrusted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_rests_once_nothing_is_said_on_it() {
        let entry = Arc::new(Entry {
            id: 1,
            peer: NodeId([1; 32]),
            service: "raw".parse().unwrap(),
            protocol: Protocol::Bytes,
            incoming: true,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            end: Mutex::new(None),
            severed: watch::Sender::new(false),
        });
        let idle = Duration::from_millis(200);
        let (talking, began) = (entry.clone(), tokio::time::Instant::now());
        let talk = tokio::spawn(async move {
            for _ in 0..10 {
                talking.sent.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(idle / 4).await;
            }
        });
        entry.rests(idle).await;
        assert!(talk.is_finished() && began.elapsed() >= 3 * idle);
    }
}
