//! What the local user can want of an agent, what is answered, and why not.

use std::time::Duration;

use homing_base::record::CardRef;
use homing_base::{Address, InstanceId, MessageId, Name, NodeId, Record, Scope, Service, Wall};

use super::{
    DhtKey, DhtLookup, DialTarget, Draft, LinkId, MessageCommand, PeerHint, ReferenceCommand,
    ReferenceKey, ReferenceResolution, ReferenceView,
};
use crate::dht::Mode;
use crate::message::Refusal;

/// How a user refers to a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerRef {
    /// By whole node ID.
    NodeId(NodeId),
    /// By address.
    Address(Address),
    /// By alias, or claimed name, or a unique node ID prefix of at least 8 digits.
    Name(Name),
}

impl std::fmt::Display for PeerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PeerRef::NodeId(id) => id.fmt(f),
            PeerRef::Address(address) => address.fmt(f),
            PeerRef::Name(name) => name.fmt(f),
        }
    }
}

impl std::str::FromStr for PeerRef {
    type Err = homing_base::name::LabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(PeerRef::NodeId(id));
        }
        if let Ok(address) = text.parse() {
            return Ok(PeerRef::Address(address));
        }
        text.parse().map(PeerRef::Name)
    }
}

/// What the local user can want. Reads without effect are methods of `Agent` instead.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ask a peer for trust (and give ours).
    Handshake {
        /// Whom.
        peer: PeerRef,
        /// Why, for its owner.
        reason: Option<String>,
        /// For which services; `None`: all.
        services: Option<Vec<Service>>,
        /// For how long; `None`: until revoked.
        lifetime: Option<Duration>,
    },
    /// Say yes to a pending request.
    Approve {
        /// Whose.
        peer: PeerRef,
        /// For which services; `None`: those asked for.
        services: Option<Vec<Service>>,
        /// For how long; `None`: as asked for.
        lifetime: Option<Duration>,
    },
    /// Say no to a pending request.
    Reject {
        /// Whose.
        peer: PeerRef,
    },
    /// Take trust back.
    Revoke {
        /// Whose.
        peer: PeerRef,
    },
    /// Find the current record of a peer.
    Resolve {
        /// Whom.
        peer: PeerRef,
        /// Give up after this long.
        timeout: Duration,
    },
    /// One round trip to a trusted peer.
    Ping {
        /// Whom.
        peer: PeerRef,
        /// Give up after this long.
        timeout: Duration,
    },
    /// Have a live link with a trusted peer, for streams.
    Connect {
        /// Whom.
        peer: PeerRef,
        /// The service that will be opened; checked by the peer, used here for early errors.
        service: Service,
        /// Give up after this long.
        timeout: Duration,
    },
    /// May this peer use this service here?
    Authorize {
        /// Who asks, as the transport proved it.
        endpoint: InstanceId,
        /// For what.
        service: Service,
    },
    /// Send a message to a trusted peer; it is kept until it is delivered.
    Send {
        /// To whom.
        peer: PeerRef,
        /// What.
        draft: Draft,
    },
    /// Anything else about messages.
    Messages(MessageCommand),
    /// Call a peer by a local name.
    Alias {
        /// The name.
        name: Name,
        /// The peer; `None` removes the alias.
        peer: Option<PeerRef>,
    },
    /// Work in the DHT in this mode from now on; nothing that is held or under way is lost.
    DhtMode(Mode),
    /// Ask the DHT, whatever the other layers know.
    DhtLookup {
        /// What.
        key: DhtKey,
        /// Give up after this long.
        timeout: Duration,
    },
    /// Publish, renew, withdraw or keep a reference.
    Reference(ReferenceCommand),
    /// Find the newest of a reference.
    ResolveReference {
        /// Which.
        key: ReferenceKey,
        /// Give up after this long.
        timeout: Duration,
    },
    /// Join through one more peer.
    AddPeer(PeerHint),
    /// Replace the advertised services.
    SetServices(Vec<Service>),
    /// Name another agent card, or none.
    SetCard(Option<CardRef>),
    /// A registry on this node accepted this record: tell it by gossip, keep it there, and store it in
    /// the DHT.
    Offer {
        /// The record, verified.
        record: Box<Record>,
    },
    /// Cosign a head of somebody's log, if it continues what was seen: a registry on this node was asked to.
    Cosign(Box<crate::audit::witness::Submission>),
    /// The network changed or came back: look at every link now.
    NetworkChanged,
    /// Say goodbye to everybody; the shell stops after the reply.
    Stop,
}

/// Answers to commands that succeeded.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Trust with this peer now is as described; `changed` is false when it already was.
    Trust {
        /// The peer.
        peer: NodeId,
        /// Where things stand.
        state: TrustState,
        /// Whether this command changed anything.
        changed: bool,
    },
    /// The record and how it was found.
    Resolved(Box<Resolution>),
    /// The peer answered.
    Pinged {
        /// The peer.
        peer: NodeId,
        /// Round trip.
        rtt: Duration,
        /// Over which link.
        link: LinkId,
    },
    /// A link with the peer's main door stands.
    Connected {
        /// The peer.
        peer: NodeId,
        /// The link.
        link: LinkId,
        /// Where to open streams.
        target: DialTarget,
    },
    /// Yes.
    Authorized {
        /// Who it is.
        peer: NodeId,
    },
    /// What the DHT said.
    DhtLookup(Box<DhtLookup>),
    /// The message is in the outbox, durable.
    Sent {
        /// For whom.
        peer: NodeId,
        /// Its ID.
        id: MessageId,
    },
    /// The event is on its way.
    Published {
        /// To so many subscribers.
        peers: usize,
    },
    /// How a reference stands now.
    Reference(Box<ReferenceView>),
    /// The newest of a reference.
    ReferenceResolved(Box<ReferenceResolution>),
    /// A cosignature, durable, or why there is none.
    Cosigned(Result<Box<crate::audit::witness::Cosigned>, crate::audit::witness::Uncosigned>),
    /// Done.
    Done {
        /// Whether anything changed.
        changed: bool,
    },
}

/// A resolved record and how it was found.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// The verified record.
    pub record: Record,
    /// The layer that gave it.
    pub layer: Layer,
    /// How long ago it was issued.
    pub age: Duration,
    /// Time spent in each layer that was asked.
    pub spent: Vec<(Layer, Duration)>,
    /// The neighbour that answered, for [`Layer::Neighbours`].
    pub from: Option<NodeId>,
    /// Nodes that had shown the record when the lookup ended, for [`Layer::Dht`].
    pub replicas: Option<u32>,
}

/// Where resolution looks, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The own store: the table of agents.
    Local,
    /// What gossip brought here: the table of gossip entries.
    Gossip,
    /// Connected neighbours are asked what gossip brought them: the other half of that layer.
    Neighbours,
    /// The DHT, for agents that take part in it.
    Dht,
}

/// Where trust between this agent and a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrustState {
    /// Nobody said anything.
    None,
    /// We asked; no answer yet.
    Requested,
    /// The peer asked; the user decides.
    Pending,
    /// Both said yes.
    Mutual,
    /// Both said yes; one of the two has run out.
    Expired,
    /// We said no to a request.
    RejectedByUs,
    /// The peer said no.
    RejectedByPeer,
    /// We took it back.
    RevokedByUs,
    /// The peer took it back.
    RevokedByPeer,
}

impl TrustState {
    /// The state, in one word, as logs and the audit log have it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            TrustState::None => "none",
            TrustState::Requested => "requested",
            TrustState::Pending => "pending",
            TrustState::Mutual => "mutual",
            TrustState::Expired => "expired",
            TrustState::RejectedByUs => "rejected_by_us",
            TrustState::RejectedByPeer => "rejected_by_peer",
            TrustState::RevokedByUs => "revoked_by_us",
            TrustState::RevokedByPeer => "revoked_by_peer",
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// Nothing known under this reference after asking everywhere.
    NotFound {
        /// What was asked for.
        what: String,
        /// Neighbours that were asked.
        asked: usize,
    },
    /// Several identities claim the name.
    Ambiguous {
        /// The name.
        name: Name,
        /// Who claims it.
        claimants: Vec<NodeId>,
    },
    /// The name is pinned to one identity and now claimed by another.
    NameMoved {
        /// The name.
        name: Name,
        /// Whom it meant so far.
        pinned: NodeId,
        /// Who claims it now.
        claimant: NodeId,
    },
    /// No identity has proven that this endpoint is its own.
    Unproven {
        /// The endpoint.
        endpoint: InstanceId,
    },
    /// No trust that would allow this.
    NotTrusted {
        /// The peer.
        peer: NodeId,
        /// Where trust stands.
        state: TrustState,
    },
    /// The peer refused.
    Refused {
        /// The peer.
        peer: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// Trust exists but does not cover the service.
    ScopeDenied {
        /// The peer.
        peer: NodeId,
        /// The service.
        service: Service,
        /// What is covered.
        scope: Scope,
    },
    /// There is no pending request of this peer.
    NoRequest {
        /// The peer as given.
        what: String,
    },
    /// The peer is known but does not answer.
    Offline {
        /// The peer.
        peer: NodeId,
        /// When it was last heard.
        last_seen: Option<Wall>,
        /// What was tried, for people.
        tried: Vec<String>,
    },
    /// There is no way to even try: no relay, no address.
    NoRoute {
        /// The peer.
        peer: NodeId,
        /// What is missing.
        missing: String,
    },
    /// Time ran out.
    Timeout {
        /// What was waited for.
        what: String,
    },
    /// The command makes no sense for this agent itself.
    Myself,
    /// A newer instance of this identity runs elsewhere: it is the one to ask.
    Superseded {
        /// The newer instance.
        by: InstanceId,
    },
    /// A bound was reached.
    Limit {
        /// Which.
        what: &'static str,
        /// Its value.
        max: usize,
    },
    /// The content is out of bounds.
    Invalid(String),
    /// The reference has expired, or its owner has taken it back.
    ReferenceOver {
        /// Which.
        what: String,
        /// When it expired; `None`: it was withdrawn.
        ends: Option<Wall>,
    },
    /// The settings say no to this.
    Disabled {
        /// To what.
        what: &'static str,
    },
}
