//! Everything that can happen to an agent, and everything it can ask for.
//!
//! The contract between core and shell is one thing, so it stands in one room: inputs, outputs, what
//! is stored and events here; commands and their answers, and what each protocol adds, in the modules.

mod audit;
mod commands;
mod discovery;
mod gossip;
pub(crate) mod messages;
mod ports;
mod references;

use std::net::SocketAddr;
use std::time::Duration;

use homing_base::statement::SignedStatement;
use homing_base::{InstanceId, Name, NodeId, Record, RelayRef, Scope, Seq, Service, Wall};

use crate::audit::Fact;
use crate::audit::witness::{Fork, Held, WitnessWrite};
pub use crate::dht::{Contact, Kind, Reach, Slot};
use crate::message::{ByeReason, Message, Network};
pub use audit::{LogNews, LogOrder};
pub use commands::{Answer, Command, Failure, Layer, PeerRef, Resolution, TrustState};
pub use discovery::{
    Convergence, DhtContactView, DhtKey, DhtLookup, DhtRole, DhtSettings, DhtView,
};
pub use gossip::{GossipSettings, GossipView};
pub use messages::{
    Draft, FileOffer, FileSource, Incoming, MessageCommand, MessageEvent, MessageKind,
    MessageWrite, MessagesView, Outgoing, OutgoingState, Parcel, Seen, StoredMessages,
    Subscription, Verdict,
};
pub use ports::{PortCounts, PortNews, PortOrder};
pub use references::{
    Keep, KnownReference, OwnReference, ReferenceCommand, ReferenceEvent, ReferenceKey,
    ReferenceResolution, ReferenceSettings, ReferenceView, ReferenceWrite, StoredReferences,
    Version,
};

/// One transport connection on `homing/mesh/1`, named by the shell. Never reused within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One attempt to connect, named by the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// One command of the local user, named by the shell; echoed in [`Output::Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What can happen.
#[derive(Clone, Debug)]
pub enum Input {
    /// A connection stands; nobody has said who they are yet.
    LinkUp(LinkUp),
    /// A connection is gone.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why, for people.
        reason: String,
    },
    /// A message arrived (already decoded; undecodable ones are [`Input::Garbage`]).
    Message {
        /// Over which link.
        link: LinkId,
        /// What it says.
        message: Box<Message>,
    },
    /// Bytes that are no message.
    Garbage {
        /// Over which link.
        link: LinkId,
    },
    /// An [`Output::Dial`] came to nothing.
    DialFailed {
        /// Which attempt.
        dial: DialId,
        /// Why.
        error: DialError,
    },
    /// This node's own reachability changed (or became known).
    Endpoint(Box<EndpointFacts>),
    /// The local user wants something.
    Command {
        /// Names the answer.
        request: RequestId,
        /// What.
        command: Command,
    },
    /// Something about the own audit log.
    Audit(Box<LogNews>),
    /// Something about port prediction.
    Ports(PortNews),
    /// A deadline passed, or time simply went by.
    Wakeup,
}

/// A new connection.
#[derive(Clone, Copy, Debug)]
pub struct LinkUp {
    /// Its name.
    pub link: LinkId,
    /// The attempt that led to it; `None`: the peer dialled us.
    pub dial: Option<DialId>,
    /// The endpoint key that the transport proved.
    pub remote: InstanceId,
    /// Over which of our own doors.
    pub door: Door,
}

/// A node has one or two endpoints. Strangers see the front only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// The published instance. Relay-only when the node keeps its addresses private.
    Front,
    /// The endpoint that takes and makes direct connections with trusted peers.
    Main,
}

/// What a node knows about its own reachability.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointFacts {
    /// Relays that the front door is reachable through, home relay first.
    pub relays: Vec<RelayRef>,
    /// Addresses of the main door: local, reflexive, mapped.
    pub direct: Vec<SocketAddr>,
    /// Whether the record publishes `direct`.
    pub publish_direct: bool,
    /// The front door stands: a relay connection is up, or there is no relay to wait for.
    pub online: bool,
    /// Measured facts.
    pub network: Network,
}

/// Why a dial failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// Nobody answered at any of the addresses.
    Unreachable(String),
    /// There was no address, or none that this node can use.
    NoAddress,
    /// The relay itself could not be reached or gave no record.
    Relay(String),
}

/// Whom to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialTarget {
    /// A known endpoint.
    Endpoint {
        /// Its key.
        endpoint: InstanceId,
        /// Which of our doors dials: `Front` hides our own addresses from a stranger.
        from: Door,
        /// Where relays carry it.
        relays: Vec<RelayRef>,
        /// Where it may listen.
        direct: Vec<SocketAddr>,
    },
    /// Whoever listens at one of these UDP addresses; the key is learnt on the way ("whois") and
    /// the identity proven by its record.
    Sockets {
        /// Candidates, tried at once.
        direct: Vec<SocketAddr>,
    },
    /// The node behind a relay: its record is fetched over HTTPS first.
    Relay(RelayRef),
}

/// What the agent asks the shell to do, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Write this batch atomically and durably before doing anything that follows.
    Persist(Batch),
    /// Try to connect. Ends in [`Input::LinkUp`] or [`Input::DialFailed`] within 10 s.
    Dial {
        /// Names the attempt.
        dial: DialId,
        /// Whom.
        target: DialTarget,
    },
    /// Send a message over a link; a link that is gone swallows it.
    Send {
        /// Which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// Close a link, after what was sent before has left.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        reason: ByeReason,
    },
    /// Close every application stream with this peer now: trust ended.
    Sever {
        /// Whose.
        peer: NodeId,
    },
    /// Close every application stream that this peer opened for what its grant no longer admits, and keep those from
    /// opening that were allowed a moment ago: the grant of a trusted peer changed.
    Confine {
        /// Whose.
        peer: NodeId,
        /// What it is granted now.
        scope: Scope,
    },
    /// The main door may accept this endpoint: a trusted peer has proven that it is its own.
    Admit {
        /// The endpoint key.
        endpoint: InstanceId,
        /// Whose.
        peer: NodeId,
    },
    /// The main door no longer accepts this endpoint; its connections end.
    Expel {
        /// The endpoint key.
        endpoint: InstanceId,
    },
    /// The answer to a command. Exactly one per [`Input::Command`].
    Reply {
        /// Which command.
        request: RequestId,
        /// The answer.
        answer: Result<Answer, Failure>,
    },
    /// Something a user or operator would notice.
    Notify(Event),
    /// Put this into the audit log, signed by the identity and durable before what follows is done.
    Audit {
        /// When it happened.
        time: Wall,
        /// What happened.
        fact: Box<Fact>,
    },
    /// Something for the own audit log, or for its witnesses.
    AuditLog(LogOrder),
    /// Something to do about port prediction.
    Ports(PortOrder),
    /// Gossip brought a record that was not known before, verified; a registry lists it.
    Heard {
        /// The record.
        record: Box<Record>,
        /// The peer that told it.
        from: NodeId,
        /// Links it came over, as told.
        hops: u8,
    },
}

/// Writes that become durable together or not at all.
pub type Batch = Vec<Write>;

/// One durable change.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "evidence is rare, and a batch is short")]
pub enum Write {
    /// This identity's own newest record (its sequence must never be reused).
    OwnRecord(Record),
    /// The newest known record of another identity.
    Record(Record),
    /// Two records of one identity with one sequence: kept as evidence.
    Evidence {
        /// One of them.
        first: Record,
        /// The other.
        second: Record,
    },
    /// The newest trust statement of an ordered pair; replaces the older one.
    Statement(SignedStatement),
    /// What this user calls a peer.
    Alias {
        /// The local name.
        name: Name,
        /// The peer; `None` removes the alias.
        peer: Option<NodeId>,
    },
    /// First use of a claimed name: it means this peer from now on.
    Pin {
        /// The claimed name.
        name: Name,
        /// Whom it means.
        peer: NodeId,
    },
    /// Where a trusted peer was last reached directly.
    LastAddresses {
        /// Whose.
        peer: NodeId,
        /// UDP addresses, most recent first, at most 16.
        direct: Vec<SocketAddr>,
    },
    /// When a peer was last heard.
    LastSeen {
        /// Whose.
        peer: NodeId,
        /// By our clock.
        at: Wall,
    },
    /// Forget everything about a peer but its newest statements.
    ForgetRecord(NodeId),
    /// DHT nodes to begin with at the next start, best first, at most 64; replaces the list before.
    DhtContacts(Vec<Contact<Reach>>),
    /// What gossip holds of one identity, in place of what it held before.
    GossipEntry {
        /// Its newest record.
        record: Record,
        /// It was offered here: never shed.
        local: bool,
    },
    /// Gossip holds nothing of this identity any more.
    ForgetGossip(NodeId),
    /// A change of outbox, inbox or subscriptions.
    Message(MessageWrite),
    /// A log that this node witnesses, or evidence about one.
    Witness(WitnessWrite),
    /// A change of references, own or others'.
    Reference(ReferenceWrite),
}

/// What is read back at start; the shell fills it from its store.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The own newest record, of an earlier run.
    pub own_record: Option<Record>,
    /// Newest known records (expired ones may be left out).
    pub records: Vec<Record>,
    /// Newest statements of every ordered pair.
    pub statements: Vec<SignedStatement>,
    /// Aliases.
    pub aliases: Vec<(Name, NodeId)>,
    /// Pins.
    pub pins: Vec<(Name, NodeId)>,
    /// Last direct addresses.
    pub last_addresses: Vec<(NodeId, Vec<SocketAddr>)>,
    /// Last seen times.
    pub last_seen: Vec<(NodeId, Wall)>,
    /// DHT nodes of the last run, best first.
    pub dht_contacts: Vec<Contact<Reach>>,
    /// What gossip held, and whether it had been offered here.
    pub gossip: Vec<(Record, bool)>,
    /// Messages between agents.
    pub messages: StoredMessages,
    /// References, own and others'.
    pub references: StoredReferences,
    /// Heads of others' logs that this node cosigned.
    pub heads: Vec<Held>,
    /// Evidence of forked logs.
    pub forks: Vec<Fork>,
}

/// What never changes during a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name to claim.
    pub name: Option<Name>,
    /// The front door's endpoint key: the instance of this run.
    pub instance: InstanceId,
    /// The main door's endpoint key; equal to `instance` when there is one door only.
    pub main: InstanceId,
    /// Relays configured; their nodes become neighbours.
    pub relays: Vec<RelayRef>,
    /// Peers to join through (`--peer`).
    pub peers: Vec<PeerHint>,
    /// Answer strangers' questions and store their records (relay, registry, DHT server).
    pub public: bool,
    /// Services to advertise.
    pub services: Vec<Service>,
    /// Program version, for people.
    pub software: String,
    /// Life of the own record; at most 24 h.
    pub record_lifetime: Duration,
    /// Make before break: publish only once [`EndpointFacts::online`], so that peers leave an older
    /// instance for one that already answers.
    pub takeover: bool,
    /// How to take part in the DHT; `None`: not at all, and nothing is said about it.
    pub dht: Option<DhtSettings>,
    /// How to take part in gossip; `None`: not at all.
    pub gossip: Option<GossipSettings>,
    /// How to deal with references.
    pub references: ReferenceSettings,
    /// Predict ports where hole punching cannot help, with trusted peers that do so, too.
    pub port_prediction: bool,
}

/// A peer to join through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerHint {
    /// From a ticket: a record (may be stale) and addresses.
    Ticket {
        /// The peer's record at the time, signature verified.
        record: Box<Record>,
        /// Its addresses.
        direct: Vec<SocketAddr>,
    },
    /// From `ADDR@HOST:PORT`: who, and where.
    At {
        /// Who must answer there; `None`: whoever does.
        peer: Option<PeerRef>,
        /// Where.
        direct: Vec<SocketAddr>,
    },
}

/// What a user or operator would notice. Stable names: see `docs/events.md`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A peer's identity was proven on a link.
    PeerConnected {
        /// Who.
        peer: NodeId,
        /// Over which link.
        link: LinkId,
    },
    /// The last link with a peer is gone.
    PeerDisconnected {
        /// Who.
        peer: NodeId,
        /// Why.
        reason: String,
    },
    /// A peer runs at a new instance.
    PeerMoved {
        /// Who.
        peer: NodeId,
        /// The new record's sequence.
        sequence: Seq,
    },
    /// Trust with a peer changed.
    TrustChanged {
        /// Who.
        peer: NodeId,
        /// Before.
        from: TrustState,
        /// Now.
        to: TrustState,
    },
    /// Trust was recovered from a peer's copy after the own store was lost.
    TrustRestored {
        /// Who.
        peer: NodeId,
    },
    /// The own record was published with a new sequence.
    Published {
        /// Its sequence.
        sequence: Seq,
        /// How many links it went to.
        links: usize,
    },
    /// A newer instance of this identity runs elsewhere: this one stopped publishing.
    Superseded {
        /// The newer instance.
        by: InstanceId,
    },
    /// Two records of one identity with one sequence were seen.
    Equivocation {
        /// Whose.
        peer: NodeId,
        /// The sequence.
        sequence: Seq,
    },
    /// A log shows two histories; both signed heads are kept.
    LogForked {
        /// Whose log.
        owner: NodeId,
    },
    /// A pinned name is claimed by somebody else.
    NameMoved {
        /// The name.
        name: Name,
        /// Whom it means here.
        pinned: NodeId,
        /// Who claims it now.
        claimant: NodeId,
    },
    /// A peer refused our record, or we theirs, because the clocks differ too much.
    ClockSkew {
        /// The peer, if proven.
        peer: Option<NodeId>,
        /// Our clock minus theirs in milliseconds, if known.
        offset_ms: Option<i64>,
    },
    /// A message arrived, was delivered or was not.
    Message(MessageEvent),
    /// A reference was published, signed anew, or moved.
    Reference(ReferenceEvent),
    /// A peer sent something that was refused.
    Misbehaviour {
        /// Over which link.
        link: LinkId,
        /// What.
        what: String,
    },
}
