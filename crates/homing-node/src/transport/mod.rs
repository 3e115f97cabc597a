//! The transport: performs what the core decides about connections, over iroh.
//!
//! ```text
//! core Output ──► Transport::{dial, send, close, admit, expel, sever, ports}
//! core Input  ◄── TransportEvent::Input {LinkUp, Message, Garbage, LinkDown, DialFailed, Endpoint, Ports}
//! shell       ◄── TransportEvent::{Stream, RelayDown, RelayUp, PathChanged, NetworkChanged}
//! ```
//! Two ALPNs: `homing/mesh/1` (one bidirectional stream per connection, opened by the dialler, every
//! message `length u32 BE ‖ CBOR`) and `homing/stream/1` ([`stream`]). Two doors (`doors`): strangers
//! see a relay-only endpoint, trusted peers the one with UDP. Relays are trusted by pin or by public
//! authority ([`relay_book`]) and watched ([`health`]). Nothing here knows identities: who speaks is
//! the core's business. Limits: [`limits`]. Not here: the relay *server* ([`crate::relay`]).

mod accept;
mod admission;
mod congestion;
mod dial;
mod doors;
mod facts;
pub mod health;
mod https;
pub mod limits;
mod links;
mod mapping;
mod path;
mod ports;
mod proxy;
pub mod relay_book;
mod self_check;
pub mod stream;
mod streams;
mod surroundings;
mod tasks;
mod whois;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use homing_base::{IdentityKey, InstanceId, NodeId, RelayRef};
use homing_core::io::{DialId, DialTarget, EndpointFacts, Input, LinkId, PortOrder};
use homing_core::message::{ByeReason, Message};
use tokio::sync::{mpsc, watch};

pub use congestion::Congestion;
pub use dial::WellKnown;
pub(crate) use https::WELL_KNOWN_PATH;
pub use links::MessageBytes;
pub use path::{PathView, Via};
pub use proxy::Proxy;
pub use stream::{IncomingStream, OpenedStream, StreamError, StreamHeader};
pub(crate) use surroundings::own_v4;

use admission::Admission;
use doors::Doors;
use health::Health;
use links::Links;
use ports::Ports;
use relay_book::RelayBook;
use streams::Streams;
use tasks::Tasks;

/// ALPN of control links.
pub const ALPN_MESH: &[u8] = b"homing/mesh/1";
/// ALPN of application streams.
pub const ALPN_STREAM: &[u8] = b"homing/stream/1";

/// What a transport is started with. The endpoint keys are drawn inside, fresh at every start.
#[derive(Clone, Default)]
pub struct TransportConfig {
    /// UDP sockets to bind; port 0 takes any. Empty: one on every IPv4 and, where there is one, every
    /// IPv6 address.
    pub listen: Vec<SocketAddr>,
    /// Relays to be reachable through, in the order of preference of their owner.
    pub relays: Vec<RelayRef>,
    /// The record publishes direct addresses, so a second door would hide nothing.
    pub publish_addresses: bool,
    /// A public role (relay, registry, DHT server): reachable by anybody, one door.
    pub public: bool,
    /// Signs the pass that relays with an allow-list ask for; nothing else. `None`: no pass.
    pub identity: Option<IdentityKey>,
    /// How fast connections send.
    pub congestion: Congestion,
    /// The proxy through which relays are reached; `None`: directly.
    pub proxy: Option<Proxy>,
}

/// What happens at the transport.
#[derive(Debug)]
pub enum TransportEvent {
    /// For the core, as it is.
    Input(Input),
    /// A peer opened an application stream; the shell decides.
    Stream(IncomingStream),
    /// A configured relay stopped answering.
    RelayDown {
        /// Which.
        relay: RelayRef,
        /// Why, for people.
        error: String,
    },
    /// A configured relay answers (again).
    RelayUp {
        /// Which.
        relay: RelayRef,
    },
    /// The path of a link changed; ask [`Transport::path`].
    PathChanged {
        /// Which link.
        link: LinkId,
    },
    /// Packets leave from another address than before, or a cable came back.
    NetworkChanged,
}

/// Why a transport does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Another program has the UDP port.
    #[error("UDP {addr} is in use by another program")]
    PortInUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be bound: it is not this machine's, or needs a privilege.
    #[error("UDP {addr} cannot be bound: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// `SSL_CERT_FILE` names a file that holds no certificates.
    #[error("the certificates in {} cannot be read: {reason}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The proxy that the environment names cannot be used.
    #[error("the proxy in {variable} cannot be used: {reason}")]
    Proxy {
        /// The variable, such as `HTTPS_PROXY`; its value may hold a password and is not shown.
        variable: String,
        /// Why.
        reason: String,
    },
    /// A configured relay's URL cannot be used.
    #[error("{relay} is no usable relay URL")]
    Relay {
        /// As configured.
        relay: String,
    },
    /// The QUIC endpoint did not start for another reason.
    #[error("the QUIC endpoint did not start: {0}")]
    Endpoint(String),
}

/// Shared by every task of one transport.
struct Shared {
    doors: Doors,
    book: Arc<RelayBook>,
    admission: Admission,
    links: Links,
    streams: Streams,
    ports: Ports,
    health: Health,
    /// The self check was answered; see [`self_check`].
    reached: watch::Sender<bool>,
    facts: watch::Sender<EndpointFacts>,
    events: mpsc::Sender<TransportEvent>,
}

impl Shared {
    /// Hands an event to the shell; waits while the shell is behind, `false` once it is gone.
    async fn tell(&self, event: TransportEvent) -> bool {
        self.events.send(event).await.is_ok()
    }
}

/// One node's connections. Cheap to clone; all clones are the same transport.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

impl Transport {
    /// Binds the sockets and starts. The first event is [`Input::Endpoint`] with what is known at
    /// once; it does not wait for any relay.
    ///
    /// # Errors
    /// See [`TransportError`]; nothing is left bound.
    pub async fn bind(
        config: TransportConfig,
    ) -> Result<(Self, mpsc::Receiver<TransportEvent>), TransportError> {
        let (events, receiver) = mpsc::channel(limits::EVENTS_MAX);
        let mut book = RelayBook::new(&config.relays)?;
        book.proxy = config.proxy.clone();
        let book = Arc::new(book);
        let tasks = Arc::new(Tasks::default());
        let porch = match &config.proxy {
            Some(_) => Some(proxy::porch(&book, &tasks).await?),
            None => None,
        };
        let doors = Doors::open(&config, &book, porch.as_ref()).await?;
        let shared = Arc::new(Shared {
            book,
            admission: Admission::default(),
            links: Links::default(),
            streams: Streams::default(),
            ports: Ports::default(),
            health: Health::new(),
            reached: watch::Sender::new(false),
            facts: watch::Sender::new(facts::at_start(&doors, &config)),
            events,
            doors,
        });
        accept::spawn(&shared, &tasks);
        facts::spawn(&shared, &config, &tasks);
        let (told, changes) = watch::channel(None);
        tasks.spawn(surroundings::run(shared.clone(), told));
        health::spawn(&shared, &changes, &tasks);
        tasks.spawn(self_check::run(shared.clone()));
        Ok((Self { shared, tasks }, receiver))
    }

    /// The front door's key: the instance that the agent record names.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        doors::instance_of(self.shared.doors.front_id)
    }

    /// The main door's key; equal to [`Transport::instance`] when there is one door.
    #[must_use]
    pub fn main(&self) -> InstanceId {
        doors::instance_of(self.shared.doors.main_id)
    }

    /// Starts an attempt to connect. Ends in [`Input::LinkUp`] or [`Input::DialFailed`] within 10 s.
    pub fn dial(&self, dial: DialId, target: DialTarget) {
        self.tasks.spawn(dial::run(self.shared.clone(), dial, target));
    }

    /// Queues a message on a link. A link that is gone swallows it; one whose peer does not keep up
    /// with [`limits::LINK_QUEUE_MESSAGES_MAX`] is closed as overloaded.
    pub fn send(&self, link: LinkId, message: &Message) {
        self.shared.links.send(link, message);
    }

    /// Closes a link after what was queued before has left, or after a second. The streams of a superseded run
    /// may finish, unless it does not answer any more.
    pub fn close_link(&self, link: LinkId, reason: ByeReason) {
        let connection = self.shared.links.connection(link);
        self.shared.links.close(link, reason);
        if let (ByeReason::Superseded, Some(old)) = (reason, connection) {
            self.tasks.spawn(streams::bury(self.shared.clone(), old));
        }
    }

    /// The main door may accept this endpoint from now on.
    pub fn admit(&self, endpoint: InstanceId, peer: NodeId) {
        self.shared.admission.admit(endpoint, peer);
    }

    /// The main door no longer accepts this endpoint. Its streams end at once; a link that the core
    /// has not closed itself ends two seconds later.
    pub fn expel(&self, endpoint: InstanceId) {
        self.shared.admission.expel(endpoint);
        self.shared.ports.end(endpoint);
        self.shared.streams.sever(&[endpoint]);
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(limits::EXPEL_GRACE).await;
            if !shared.admission.holds(endpoint) {
                shared.links.cut(endpoint);
            }
        });
    }

    /// Does something about port prediction; what comes of it is told as [`Input::Ports`].
    pub fn ports(&self, order: PortOrder) {
        ports::perform(&self.shared, &self.tasks, order);
    }

    /// Ends every application stream with these endpoints now.
    pub fn sever(&self, endpoints: &[InstanceId]) {
        self.shared.streams.sever(endpoints);
    }

    /// The admitted endpoints of a peer: what [`Transport::sever`] takes when trust ends.
    #[must_use]
    pub fn endpoints_of(&self, peer: NodeId) -> Vec<InstanceId> {
        self.shared.admission.endpoints_of(peer)
    }

    /// Opens an application stream over the pooled connection with the target, connecting if needed.
    ///
    /// # Errors
    /// [`StreamError`]: no connection within 5 s, refused by the peer, or broken on the way.
    pub async fn open_stream(
        &self,
        target: &DialTarget,
        header: StreamHeader,
    ) -> Result<OpenedStream, StreamError> {
        streams::open(&self.shared, target, &header).await
    }

    /// Bytes of control messages since the start, by kind.
    #[must_use]
    pub fn message_bytes(&self) -> MessageBytes {
        self.shared.links.bytes()
    }

    /// How a link's packets travel right now.
    #[must_use]
    pub fn path(&self, link: LinkId) -> Option<PathView> {
        let connection = self.shared.links.connection(link)?;
        path::view(&connection, &self.shared)
    }

    /// What is known about this node's reachability.
    #[must_use]
    pub fn facts(&self) -> EndpointFacts {
        self.shared.facts.borrow().clone()
    }

    /// The state of the relays, in configured order.
    #[must_use]
    pub fn relays(&self) -> Vec<health::RelayHealth> {
        self.shared.health.all(self.shared.book.configured())
    }

    /// Measured round trip of each configured relay that was measured.
    #[must_use]
    pub fn relay_latencies(&self) -> Vec<(RelayRef, std::time::Duration)> {
        facts::relay_latencies(&self.shared)
    }

    /// UDP addresses bound; none after [`Transport::close`].
    #[must_use]
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.shared.doors.pair().map(|pair| pair.main.bound_sockets()).unwrap_or_default()
    }

    /// Where relays see this node's packets come from, by IPv4 and by IPv6, as last measured.
    #[must_use]
    pub fn seen_from_outside(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let report = self
            .shared
            .doors
            .pair()
            .and_then(|pair| iroh::Watcher::get(&mut pair.main.net_report()));
        let Some(report) = report else { return (None, None) };
        (report.global_v4.map(SocketAddr::V4), report.global_v6.map(SocketAddr::V6))
    }

    /// Closes every link and both doors, and waits until the peers were told and the UDP ports are free (2.5 s at
    /// most). Must be called before the last clone is dropped.
    pub async fn close(&self) {
        self.shared.links.close_all(ByeReason::Stopping).await;
        self.tasks.stop().await;
        self.shared.links.forget_all();
        self.shared.streams.forget_all();
        self.shared.doors.close().await;
    }
}
