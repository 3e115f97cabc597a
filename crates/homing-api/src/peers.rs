//! Peers: `status`, `ping`, `resolve`, `peers`, aliases.

use std::net::SocketAddr;

use homing_base::{Address, InstanceId, Name, NodeId, PublicKey, RelayRef, Service};
use serde::{Deserialize, Serialize};

use crate::agent::{HealthItem, TunFacts};
use crate::cards::CardFacts;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;
use crate::trust::TrustFacts;

/// Who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSummary {
    /// The alias if there is one, else the name it claims.
    pub name: Option<Name>,
    /// Its address.
    pub address: Address,
    /// Its node ID.
    pub node_id: NodeId,
}

impl PeerSummary {
    /// The name, or the short node ID.
    #[must_use]
    pub fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| self.node_id.fmt_short(), Name::to_string)
    }

    /// What the environment of a process says that serves a stream of this peer; no name is an empty one.
    #[must_use]
    pub fn environment(&self, service: &Service) -> [(&'static str, String); 4] {
        let name = self.name.as_ref().map(Name::to_string).unwrap_or_default();
        [
            ("HOMING_PEER_NODE_ID", self.node_id.to_string()),
            ("HOMING_PEER_ADDRESS", self.address.to_string()),
            ("HOMING_PEER_NAME", name),
            ("HOMING_SERVICE", service.to_string()),
        ]
    }
}

/// How packets reach a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Over UDP, address to address.
    Direct,
    /// Through a relay.
    Relay,
    /// A link is being made.
    Connecting,
    /// No link.
    Offline,
}

/// The path in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// Which kind.
    pub kind: PathKind,
    /// `ip:port` of a direct path, `host:port` of the relay of a relayed one.
    pub remote: Option<String>,
    /// Why it is what it is, for programs: one code of the table in `docs/paths.md`, such as
    /// `direct`, `punching` or `symmetric_nat_remote`; absent where nobody asks for a direct path.
    #[serde(default)]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default)]
    pub reason_text: Option<String>,
}

impl Path {
    /// A path that nobody gave a reason for yet.
    #[must_use]
    pub fn new(kind: PathKind, remote: Option<String>) -> Self {
        Self { kind, remote, reason: None, reason_text: None }
    }
}

/// `GET /v1/status[?peer=]`: the peers of this agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `homing.status/v1`.
    pub schema: Schema<Status>,
    /// This agent.
    pub agent: PeerSummary,
    /// Whether this agent is reachable.
    pub online: bool,
    /// Known peers: trusted, asked, pending, or with a link. One when `peer` was given.
    pub peers: Vec<PeerStatus>,
    /// Conditions that last.
    pub health: Vec<HealthItem>,
    /// The network interface, when there is one.
    #[serde(default)]
    pub tun: Option<TunFacts>,
}

/// One peer, from this agent's view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Who.
    #[serde(flatten)]
    pub peer: PeerSummary,
    /// How packets reach it.
    pub path: Path,
    /// Round trip of the path.
    pub rtt_ms: Option<f64>,
    /// When it was last heard; `None`: never.
    pub last_seen: Option<Stamp>,
    /// Where trust stands.
    pub trust: TrustFacts,
    /// Bytes received from it in this run.
    pub received_bytes: u64,
    /// Bytes sent to it in this run.
    pub sent_bytes: u64,
    /// Application streams open now.
    pub streams: u32,
    /// Why the path is what it is, when it is not direct.
    pub why: Option<String>,
    /// The same for programs: [`Path::reason`], except that a direct path has none here.
    #[serde(default)]
    pub why_code: Option<String>,
    /// What to try about it.
    pub hint: Option<String>,
    /// The endpoint key of its current run.
    pub instance: Option<InstanceId>,
    /// The sequence of its newest known record.
    pub sequence: Option<u64>,
    /// When that record ends.
    pub record_expires: Option<Stamp>,
    /// The relays its record names.
    pub relays: Vec<RelayRef>,
    /// Program version it told; `None` while there is no link.
    pub software: Option<String>,
    /// It is in the routing table of the DHT.
    #[serde(default)]
    pub dht: bool,
}

/// `POST /v1/ping`: one round trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingRequest {
    /// Name, address or node ID.
    pub peer: String,
    /// Give up after this long; at most 60 000.
    pub timeout_ms: u64,
}

/// The peer answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// `homing.pong/v1`.
    pub schema: Schema<Pong>,
    /// Who.
    pub peer: PeerSummary,
    /// Round trip.
    pub rtt_ms: f64,
    /// The path that the answer took.
    pub path: Path,
}

/// `POST /v1/resolve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// Name, address or node ID.
    pub what: String,
    /// Give up after this long.
    pub timeout_ms: u64,
}

/// The current, proven record of an agent and how it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    /// `homing.resolution/v1`.
    pub schema: Schema<Resolution>,
    /// Who.
    #[serde(flatten)]
    pub peer: PeerSummary,
    /// The key that signed.
    pub public_key: PublicKey,
    /// The endpoint key of its current run.
    pub instance: InstanceId,
    /// The record's sequence.
    pub sequence: u64,
    /// When the record was signed.
    pub issued: Stamp,
    /// When it ends.
    pub expires: Stamp,
    /// Where relays carry it.
    pub relays: Vec<RelayRef>,
    /// Direct addresses that it publishes; usually none.
    pub direct: Vec<SocketAddr>,
    /// Services it advertises.
    pub services: Vec<Service>,
    /// The layer that gave it: `local`, `neighbours`, `gossip` or `dht`.
    pub layer: String,
    /// The neighbour that answered.
    pub answered_by: Option<PeerSummary>,
    /// How long ago the record was issued.
    pub age_ms: u64,
    /// Time spent in each layer that was asked, in order.
    pub spent: Vec<LayerTime>,
    /// Its agent card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardFacts>,
    /// Nodes of the DHT that had shown the record by then; only with `layer` `dht`.
    #[serde(default)]
    pub replicas: Option<u32>,
}

/// Time spent in one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerTime {
    /// The layer.
    pub layer: String,
    /// The time.
    pub elapsed_ms: f64,
}

/// `POST /v1/peers`: join through one more peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddPeerRequest {
    /// A ticket, `ADDR@HOST:PORT`, `NODEID@HOST:PORT` or `HOST:PORT`.
    pub peer: String,
}

/// `GET /v1/aliases`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aliases {
    /// `homing.aliases/v1`.
    pub schema: Schema<Aliases>,
    /// Names that mean somebody here: own aliases and pins.
    pub names: Vec<AliasEntry>,
}

/// What a name means here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasEntry {
    /// The name.
    pub name: Name,
    /// Whom it means.
    pub peer: PeerSummary,
    /// Set by the user, or fixed at first use of a claim.
    pub kind: AliasKind,
}

/// Where a name's meaning comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasKind {
    /// Set by the user.
    Alias,
    /// First use of a claimed name.
    Pin,
    /// Claimed by a trusted peer.
    Claim,
}

/// `POST /v1/aliases`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRequest {
    /// The local name.
    pub name: Name,
    /// Name, address or node ID of the peer; `null` removes the alias.
    pub peer: Option<String>,
}

described! {
    Status => "homing.status/v1",
    Pong => "homing.pong/v1",
    Resolution => "homing.resolution/v1",
    Aliases => "homing.aliases/v1",
}
