//! One running agent, for programs that embed it and for every face.
//!
//! All handles of one node are the same node. It runs until [`Node::stop`], or until its store
//! fails; [`Node::stopped`] says which.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use homing_api::streams::Protocol;
use homing_api::{ApiError, Code};
use homing_base::{Address, NodeId, PublicKey, Service, Wall};
use homing_core::io::{DialTarget, PeerRef};
use homing_core::{Agent, Answer, Command, Failure};
use tokio::sync::{mpsc, oneshot, watch};

use crate::anchoring::AnchorWatch;
use crate::builder::Builder;
use crate::clock::Clock;
use crate::config::{Config, Setting};
use crate::content::Content;
use crate::dns::DnsRole;
use crate::driver::Request;
use crate::events::Events;
use crate::exposure::Exposures;
use crate::gateway_role::GatewayRole;
use crate::health::Health;
use crate::home::Home;
use crate::mailroom::Mailroom;
use crate::problem;
use crate::registry_role::RegistryRole;
use crate::relay_role::RelayRole;
use crate::store::StoreCounts;
use crate::streams::{Listener, Stream, Streams};
use crate::transport::{StreamError, StreamHeader, Transport};
use crate::tun::Interface;

/// Commands that wait for the driver; then their callers wait.
pub(crate) const REQUESTS_MAX: usize = 256;
/// A peer that is there takes or refuses a stream within this; one that does not is offline.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// Left of the time to open a stream when the core gives up: it knows best what was tried.
const CORE_AHEAD: Duration = Duration::from_millis(100);

/// A running agent. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles of one node share.
pub(crate) struct Shared {
    pub(crate) public_key: PublicKey,
    pub(crate) home: Home,
    pub(crate) config: Config,
    pub(crate) settings: Vec<Setting>,
    pub(crate) clock: Clock,
    pub(crate) started: Wall,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) transport: Transport,
    pub(crate) streams: Arc<Streams>,
    pub(crate) events: Arc<Events>,
    /// Records that gossip brings.
    pub(crate) heard: tokio::sync::broadcast::Sender<homing_base::Record>,
    pub(crate) health: Arc<Health>,
    /// Messages that arrive, and what became of those that were sent.
    pub(crate) mailroom: Arc<Mailroom>,
    /// How far behind the log's anchors are.
    pub(crate) anchored: AnchorWatch,
    pub(crate) store_counts: Arc<StoreCounts>,
    pub(crate) relay: Option<Arc<RelayRole>>,
    pub(crate) registry: Option<RegistryRole>,
    pub(crate) gateway: Option<GatewayRole>,
    pub(crate) dns: Option<DnsRole>,
    pub(crate) tun: Option<Arc<Interface>>,
    pub(crate) exposures: Exposures,
    /// Files kept under their hash.
    pub(crate) content: Arc<Content>,
    /// DHT lookups that the local user asked for.
    pub(crate) dht_lookups: AtomicU64,
    /// How the agent ended.
    pub(crate) ended: watch::Receiver<Option<Result<(), ApiError>>>,
    /// Everything is closed: relay, local API, home.
    pub(crate) down: watch::Receiver<bool>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.node_id().fmt_short())
    }
}

impl Node {
    /// How to start one.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its node ID.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.public_key.node_id()
    }

    /// Its permanent address.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::of(&self.node_id())
    }

    /// Where its files are.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.shared.home
    }

    /// Opens a stream to a service of a trusted peer. A peer that moved meanwhile is looked up anew
    /// and tried once more.
    ///
    /// # Errors
    /// `peer_not_trusted`, `scope_denied`, `no_such_service`, `peer_offline`, `no_route`, `timeout`.
    pub async fn connect(
        &self,
        peer: &str,
        service: &Service,
        timeout: Duration,
    ) -> Result<Stream, ApiError> {
        let within = tokio::time::timeout(timeout, self.connect_twice(peer, service, timeout));
        within.await.unwrap_or_else(|_| match timeout < SILENCE_MIN {
            true => Err(problem::too_hasty(peer)),
            false => Err(problem::silent(peer, timeout)),
        })
    }

    async fn connect_twice(
        &self,
        peer: &str,
        service: &Service,
        timeout: Duration,
    ) -> Result<Stream, ApiError> {
        let first = match self.connect_once(peer, service, timeout).await? {
            Err(StreamError::Refused(refusal)) => return Err(problem::of_refusal(peer, refusal)),
            Err(_) => self.connect_once(peer, service, timeout).await?,
            opened => opened,
        };
        first.map_err(|e| problem::of_stream(peer, &e))
    }

    async fn connect_once(
        &self,
        peer: &str,
        service: &Service,
        timeout: Duration,
    ) -> Result<Result<Stream, StreamError>, ApiError> {
        let timeout = timeout.saturating_sub(CORE_AHEAD);
        let command = Command::Connect { peer: peer_ref(peer)?, service: service.clone(), timeout };
        let (peer, target) = match self.command(peer, command).await? {
            Answer::Connected { peer, target, .. } => (peer, target),
            other => return Err(unexpected(&other)),
        };
        Ok(self.open(peer, &target, service).await)
    }

    async fn open(
        &self,
        peer: NodeId,
        target: &DialTarget,
        service: &Service,
    ) -> Result<Stream, StreamError> {
        let header = StreamHeader { service: service.clone() };
        let opened = self.shared.transport.open_stream(target, header).await?;
        self.shared.streams.counts.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(self.shared.streams.register(peer, service.clone(), opened, false))
    }

    /// Exposes a service to the peers trusted for it, until the listener is dropped.
    ///
    /// # Errors
    /// `usage` when the name is reserved, `already_exists` when something listens on it already.
    pub fn listen(&self, service: Service) -> Result<Listener, ApiError> {
        self.listen_as(service, Protocol::Bytes)
    }

    /// Exposes a service as [`Node::listen`] does, and tells openers what it speaks.
    ///
    /// # Errors
    /// `usage` when the name is reserved, `already_exists` when something listens on it already.
    pub fn listen_as(&self, service: Service, protocol: Protocol) -> Result<Listener, ApiError> {
        self.shared.streams.listen(service, protocol)
    }

    /// Says goodbye to every peer and stops. Returns when everything is closed; the UDP port is free
    /// again once every handle of this node is dropped.
    ///
    /// # Errors
    /// What [`Node::stopped`] says.
    pub async fn stop(&self) -> Result<(), ApiError> {
        self.request_stop().await;
        self.stopped().await
    }

    pub(crate) async fn request_stop(&self) {
        let (reply, _) = oneshot::channel();
        let _ = self.shared.requests.send(Request::Command(Command::Stop, reply)).await;
    }

    /// Waits until the node has stopped, for whatever reason.
    ///
    /// # Errors
    /// `disk_full`, `permission_denied` or `internal` when the store failed.
    pub async fn stopped(&self) -> Result<(), ApiError> {
        let mut down = self.shared.down.clone();
        let _ = down.wait_for(|down| *down).await;
        self.ended().await
    }

    /// Waits until the agent has ended; the rest is being closed then.
    pub(crate) async fn ended(&self) -> Result<(), ApiError> {
        let mut ended = self.shared.ended.clone();
        let how = ended.wait_for(Option::is_some).await.map(|how| how.clone());
        how.ok().flatten().unwrap_or(Ok(()))
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<homing_api::events::Event> {
        self.shared.events.subscribe()
    }

    /// Records that gossip brings from now on, verified. A listener that falls behind is told so
    /// (`Lagged`) and reads [`Node::gossip_records`] instead.
    #[must_use]
    pub fn records_heard(&self) -> tokio::sync::broadcast::Receiver<homing_base::Record> {
        self.shared.heard.subscribe()
    }

    /// At most `max` records that gossip holds, by node ID, from `after` on.
    ///
    /// # Errors
    /// When the agent has ended.
    pub async fn gossip_records(
        &self,
        after: Option<NodeId>,
        max: usize,
    ) -> Result<Vec<homing_base::Record>, ApiError> {
        self.query(move |agent| agent.gossip_records(after, max)).await
    }

    /// Tells a record that was registered here by gossip, and stores it in the DHT. Whether it was news.
    ///
    /// # Errors
    /// When the record has expired, both layers are off, or the agent has ended.
    pub async fn offer(&self, record: homing_base::Record) -> Result<bool, ApiError> {
        let what = record.node_id().to_string();
        let answer = self.command(&what, Command::Offer { record: Box::new(record) }).await?;
        Ok(matches!(answer, Answer::Done { changed: true }))
    }

    /// Asks the core for something about `what`.
    pub(crate) async fn command(&self, what: &str, command: Command) -> Result<Answer, ApiError> {
        let failure = match self.raw_command(command).await? {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let error = problem::of_failure(what, &failure, self.shared.clock.now().wall);
        let error = match self.shared.health.text_of("clock_skew") {
            Some(skew) => problem::with_wrong_clock(error, &failure, &skew),
            None => error,
        };
        let transport = &self.shared.transport;
        let error = match transport.facts().online {
            true => error,
            false => problem::with_dead_relays(error, &failure, &transport.relays()),
        };
        match failure {
            Failure::NotFound { .. } => Err(self.with_nearest_name(what, error).await?),
            _ => Err(error),
        }
    }

    pub(crate) async fn raw_command(
        &self,
        command: Command,
    ) -> Result<Result<Answer, Failure>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.shared.requests.send(Request::Command(command, reply)).await;
        match sent {
            Ok(()) => answer.await.map_err(|_| self.end()),
            Err(_) => Err(self.end()),
        }
    }

    /// Looks at the core's state.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Query(Box::new(move |agent| {
            let _ = reply.send(look(agent));
        }));
        self.shared.requests.send(request).await.map_err(|_| self.end())?;
        answer.await.map_err(|_| self.end())
    }

    /// Why there is no answer any more.
    fn end(&self) -> ApiError {
        match &*self.shared.ended.borrow() {
            Some(Err(error)) => error.clone(),
            _ => problem::stopping(),
        }
    }
}

/// A peer as a user writes it.
pub(crate) fn peer_ref(text: &str) -> Result<PeerRef, ApiError> {
    text.trim().parse().map_err(|e: homing_base::name::LabelError| {
        let shown: String = text.chars().take(80).collect();
        ApiError::new(Code::Usage, format!("{shown:?} is no name, address or node ID"))
            .why(e.to_string())
            .hint("a name such as my-agent, an address beginning with fd, or 64 hex digits")
    })
}

/// The core answered something that the command does not lead to.
pub(crate) fn unexpected(answer: &Answer) -> ApiError {
    ApiError::new(Code::Internal, format!("unexpected answer: {answer:?}"))
}
