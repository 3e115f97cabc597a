//! What a user chooses about the DHT, may ask it, and sees of it. Plain values.
//!
//! The decisions are in `agent::finding`, the protocol in [`crate::dht`].

use std::time::Duration;

use homing_base::{Address, Name, NodeId, Record, Wall};

use crate::cluster::{Changes, Leaf};
use crate::dht::{Contact, Intervals, Mode, Reach, Slot, Stats};

/// How this agent takes part in the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhtSettings {
    /// Replicas, bucket size and width of lookups: 2 to [`crate::dht::limits::K_MAX`].
    pub k: usize,
    /// Requests in flight per lookup: 1 to `k`.
    pub alpha: usize,
    /// Own records are stored anew this often.
    pub republish: Duration,
    /// No copy of another's value is held longer; its origin's expiry bounds it, too.
    pub expiry: Duration,
    /// Whether it serves others.
    pub role: DhtRole,
    /// Plain Kademlia or clusters.
    pub mode: Mode,
}

impl Default for DhtSettings {
    fn default() -> Self {
        Self {
            k: crate::dht::limits::K,
            alpha: crate::dht::limits::ALPHA,
            republish: Duration::from_secs(3_600),
            expiry: Duration::from_secs(24 * 3_600),
            role: DhtRole::Auto,
            mode: Mode::Kademlia,
        }
    }
}

/// Who decides whether an agent serves the DHT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DhtRole {
    /// Whoever can be reached serves: see `docs/design/agent.md`.
    #[default]
    Auto,
    /// It always serves.
    Server,
    /// It only asks.
    Client,
}

/// What to look up in the DHT.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DhtKey {
    /// The record of a node.
    NodeId(NodeId),
    /// The record of the node with this address.
    Address(Address),
    /// The records that claim this name.
    Name(Name),
    /// No value: the nodes closest to a point.
    Target(NodeId),
}

impl DhtKey {
    /// The slot that holds what is wanted; `None`: only nodes are.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        match self {
            DhtKey::NodeId(id) => Some(Slot::agent(*id)),
            DhtKey::Address(address) => Some(Slot::address(address)),
            DhtKey::Name(name) => Some(Slot::name(name)),
            DhtKey::Target(_) => None,
        }
    }

    /// The point in the ID space.
    #[must_use]
    pub fn point(&self) -> NodeId {
        match self {
            DhtKey::Target(point) => *point,
            _ => self.slot().expect("only targets have no slot").key,
        }
    }
}

/// What came of one lookup.
#[derive(Clone, Debug, PartialEq)]
pub struct DhtLookup {
    /// The point in the ID space that was looked for.
    pub point: NodeId,
    /// Nodes that answered, closest to the point first.
    pub nodes: Vec<NodeId>,
    /// Verified records, the newest of each identity; empty: nobody holds one.
    pub values: Vec<Record>,
    /// Nodes that had shown a value when the lookup ended (it does not wait for all of them).
    pub holders: u32,
    /// Steps from the own table to the answer.
    pub hops: u8,
    /// Requests sent.
    pub requests: u32,
    /// Requests that were not answered in time.
    pub timeouts: u32,
    /// From command to end.
    pub elapsed: Duration,
    /// Each answered or failed request, oldest first.
    pub steps: Vec<crate::dht::Step>,
}

/// The state of this agent's part of the DHT.
#[derive(Clone, Debug)]
pub struct DhtView {
    /// What the settings say.
    pub role: DhtRole,
    /// Plain Kademlia or clusters, now.
    pub mode: Mode,
    /// Whether it serves others now.
    pub serving: bool,
    /// Whether it has entered the network: somebody in its table answered.
    pub joined: bool,
    /// The routing table, closest first.
    pub contacts: Vec<DhtContactView>,
    /// Nodes in the network, as estimated; `None`: too early to tell.
    pub network_size: Option<f64>,
    /// Mean session of a node, as estimated.
    pub session: Duration,
    /// The intervals in force.
    pub intervals: Intervals,
    /// Its cluster; `None`: it lives in none, or does not know it yet.
    pub leaf: Option<Leaf>,
    /// Changes of the cluster's depth since the start.
    pub changes: Changes,
    /// Values held for others.
    pub values: usize,
    /// Their bytes.
    pub value_bytes: usize,
    /// Counters of the protocol since the start of this run.
    pub stats: Stats,
    /// Links that only the DHT uses, of both directions.
    pub links: usize,
    /// How fast the neighbourhood settles.
    pub convergence: Convergence,
}

/// One entry of the routing table.
#[derive(Clone, Debug)]
pub struct DhtContactView {
    /// Who and where.
    pub contact: Contact<Reach>,
    /// Bits that its ID shares with ours: its bucket.
    pub bucket: usize,
    /// Smoothed round trip.
    pub rtt: Option<Duration>,
    /// When it last answered, by our wall clock.
    pub heard: Wall,
    /// Requests in a row that it did not answer; zero: it is well.
    pub failures: u8,
    /// A link with it stands now.
    pub linked: bool,
}

/// How long the leafset takes to settle after a change, measured in exchange rounds. An *episode* lasts
/// from the first change to the last one that is followed by a whole round of quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Convergence {
    /// Rounds of the last episode that is over.
    pub last_rounds: Option<f64>,
    /// The same in time.
    pub last: Option<Duration>,
    /// Rounds of the episode under way.
    pub ongoing_rounds: Option<f64>,
    /// What is expected: `2 + log2 N` rounds for the estimated size N.
    pub bound_rounds: f64,
}

impl Convergence {
    /// Whether the episode under way, or else the last one, took longer than expected.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        let rounds = self.ongoing_rounds.or(self.last_rounds);
        rounds.is_some_and(|rounds| rounds > self.bound_rounds)
    }
}
