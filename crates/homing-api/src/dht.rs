//! The distributed hash table as one node sees it: `dht peers`, `dht lookup`, `dht stats`.
//!
//! With `dht.enabled = false` every operation here answers [`crate::Code::DhtDisabled`].

use homing_base::NodeId;
use serde::{Deserialize, Serialize};

use crate::peers::PeerSummary;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// `GET /v1/dht/peers`: the routing table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtPeers {
    /// `homing.dht_peers/v1`.
    pub schema: Schema<DhtPeers>,
    /// Nearest to this node's own ID first.
    pub peers: Vec<DhtPeer>,
}

/// One contact of the routing table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtPeer {
    /// Who.
    #[serde(flatten)]
    pub peer: PeerSummary,
    /// `ip:port`, or `host:port` of its relay; `None`: only reachable through links it makes.
    pub place: Option<String>,
    /// `place` is a relay.
    pub relayed: bool,
    /// Leading bits that its node ID shares with ours.
    pub bucket: u16,
    /// It is one of the k nodes closest to us.
    pub leafset: bool,
    /// Measured round trip; `None`: not measured yet.
    pub rtt_ms: Option<f64>,
    /// When it last answered.
    pub heard: Stamp,
    /// Requests in a row that it did not answer.
    pub failures: u32,
    /// Whether it is believed to be there.
    pub state: DhtPeerState,
    /// A control link with it stands now.
    pub linked: bool,
}

/// What is believed about a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhtPeerState {
    /// It answered the last request.
    Good,
    /// It did not; it is probed and replaced if it stays silent.
    Suspect,
}

/// `POST /v1/dht/lookup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtLookupRequest {
    /// Name, address, node ID or any other key of 64 hexadecimal digits.
    pub key: String,
    /// Give up after this long; at most 60 000.
    pub timeout_ms: u64,
}

/// What a key was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhtKeyKind {
    /// A node ID, or another key of 32 bytes.
    NodeId,
    /// An address: the first 15 bytes of a node ID.
    Address,
    /// A name: the claims are kept under its hash.
    Name,
}

/// One lookup, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtLookup {
    /// `homing.dht_lookup/v1`.
    pub schema: Schema<DhtLookup>,
    /// As asked.
    pub key: String,
    /// What it was taken for.
    pub kind: DhtKeyKind,
    /// Its position in the ID space.
    pub target: NodeId,
    /// Verified records found; empty: none.
    pub values: Vec<DhtValue>,
    /// Nodes that had shown a value when the lookup ended; it does not wait for all of them.
    pub replicas: u32,
    /// Nodes that answered, closest to the target first.
    pub nodes: Vec<PeerSummary>,
    /// Steps from the own table to the answer.
    pub hops: u32,
    /// Requests sent.
    pub requests: u32,
    /// Requests not answered in time.
    pub timeouts: u32,
    /// From question to answer.
    pub elapsed_ms: f64,
    /// Each request, in the order of their ends.
    pub steps: Vec<DhtStep>,
}

/// A verified record found under a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtValue {
    /// Whose.
    #[serde(flatten)]
    pub peer: PeerSummary,
    /// Its sequence.
    pub sequence: u64,
    /// When it was signed.
    pub issued: Stamp,
    /// When it ends.
    pub expires: Stamp,
    /// It is a tombstone: its owner has withdrawn.
    pub withdrawn: bool,
}

/// One request of a lookup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtStep {
    /// Whom.
    pub peer: PeerSummary,
    /// Steps from the own table.
    pub hop: u32,
    /// When it ended, after the start.
    pub at_ms: f64,
    /// An answer came in time.
    pub answered: bool,
}

/// `GET /v1/dht/stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtStats {
    /// `homing.dht_stats/v1`.
    pub schema: Schema<DhtStats>,
    /// In brief.
    #[serde(flatten)]
    pub brief: DhtBrief,
    /// `kademlia` or `cluster`.
    pub mode: String,
    /// Whose choice the mode follows: `dht.mode = auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_by: Option<NodeId>,
    /// The cluster this node lives in; `None`: in none, or not known yet.
    pub cluster: Option<DhtCluster>,
    /// What is configured: `auto`, `always` or `never` serve others.
    pub server: String,
    /// Replicas and bucket size.
    pub k: u32,
    /// Requests in flight per lookup.
    pub alpha: u32,
    /// Contacts in doubt.
    pub suspects: u64,
    /// Control links that only the DHT uses.
    pub links: u64,
    /// Nodes believed to be in the network; `None`: not known yet.
    pub size_estimate: Option<u64>,
    /// Mean time that nodes stay, as measured here and by the nearest nodes.
    pub session_estimate_s: u64,
    /// Intervals in force.
    pub intervals: DhtIntervals,
    /// Records held for others.
    pub values: u64,
    /// Their bytes.
    pub values_bytes: u64,
    /// Counts since the start.
    pub traffic: DhtTraffic,
    /// How fast the nodes closest to this one settle after a change.
    pub convergence: DhtConvergence,
}

/// A neighbourhood in which everybody knows everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtCluster {
    /// Leading bits of the node ID that its members share.
    pub depth: u32,
    /// Members known here, this node included.
    pub members: u32,
    /// It splits above so many.
    pub split_above: u32,
    /// Splits since the start, decided by this node's own count.
    pub splits: u64,
    /// Merges since the start, decided by this node's own count.
    pub merges: u64,
    /// Changes since the start in which it followed the others.
    pub follows: u64,
}

/// The DHT in one line of `homing info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtBrief {
    /// Whether it serves others.
    pub role: DhtRole,
    /// Contacts in the routing table.
    pub contacts: u64,
    /// It has entered the network: somebody answered.
    pub joined: bool,
}

/// What a node does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DhtRole {
    /// It answers questions and keeps records.
    Server,
    /// It asks, and stores its own record at others.
    Client,
}

impl DhtRole {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// Intervals in force, as they follow from the measured churn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtIntervals {
    /// Leafset exchange.
    pub exchange_s: f64,
    /// One probe.
    pub probe_s: f64,
    /// A contact not heard for so long is probed.
    pub stale_s: f64,
    /// Refresh of one bucket.
    pub refresh_s: f64,
    /// Comparing values with a sibling.
    pub sync_s: f64,
    /// Storing the own record anew.
    pub republish_s: f64,
    /// The longest that a record is kept.
    pub expiry_s: f64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtTraffic {
    /// Messages received.
    pub received_messages: u64,
    /// Messages sent.
    pub sent_messages: u64,
    /// Bytes received, as encoded.
    pub received_bytes: u64,
    /// Bytes sent, as encoded.
    pub sent_bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests not answered in time.
    pub timeouts: u64,
    /// Answers that nobody had asked for.
    pub unsolicited: u64,
    /// Values that did not verify.
    pub unverified: u64,
    /// Requests of others refused because of rate or quota.
    pub shed: u64,
    /// Contacts that stayed silent and were dropped.
    pub evicted: u64,
}

/// How long the leafset (the k nodes closest to this one) takes to settle after somebody came or went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DhtConvergence {
    /// Exchange rounds that it took the last time; `None`: nothing changed yet.
    pub last_rounds: Option<f64>,
    /// The same as time.
    pub last_s: Option<f64>,
    /// Rounds so far, while it is settling.
    pub ongoing_rounds: Option<f64>,
    /// More rounds than this are out of O(log N).
    pub rounds_max: f64,
    /// It takes, or took, longer than that.
    pub slow: bool,
}

described! {
    DhtPeers => "homing.dht_peers/v1",
    DhtLookup => "homing.dht_lookup/v1",
    DhtStats => "homing.dht_stats/v1",
}
