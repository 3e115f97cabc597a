//! What an agent shows of itself: plain values for `status`, `pending`, `info` and metrics.
//!
//! Reading them changes nothing. Not here: what any of it means for a user; the faces say that.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::statement::SignedStatement;
use homing_base::{InstanceId, Mono, Name, NodeId, Record, Wall};

pub use crate::io::{Convergence, DhtContactView, DhtView, GossipView, PortCounts};
use crate::io::{Door, LinkId, TrustState};
use crate::message::Network;

/// Everything known about one peer.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Who.
    pub node_id: NodeId,
    /// What this user calls it.
    pub alias: Option<Name>,
    /// What it calls itself: by its record, or by its request while the record is unknown.
    pub name: Option<Name>,
    /// Where trust stands.
    pub trust: TrustView,
    /// Its newest known record; may have expired.
    pub record: Option<Record>,
    /// Live links, proven ones only.
    pub links: Vec<LinkView>,
    /// When it was last heard, by our wall clock.
    pub last_seen: Option<Wall>,
    /// What it said about its own network.
    pub network: Option<Network>,
    /// The program version that it told on a live link.
    pub software: Option<String>,
    /// Our newest statement has not been confirmed by the peer yet.
    pub undelivered: bool,
    /// It answers strangers' questions, and is asked by us.
    pub neighbour: bool,
}

/// Trust with one peer and the statements that make it.
#[derive(Clone, Debug)]
pub struct TrustView {
    /// Where it stands.
    pub state: TrustState,
    /// Our newest statement about the peer.
    pub ours: Option<SignedStatement>,
    /// The peer's newest statement about us.
    pub theirs: Option<SignedStatement>,
}

/// One proven link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// Its name.
    pub link: LinkId,
    /// Over which of our doors.
    pub door: Door,
    /// The peer's endpoint key on this link.
    pub endpoint: InstanceId,
    /// When the peer's identity was proven.
    pub proven_at: Mono,
    /// When anything last arrived.
    pub last_heard: Mono,
    /// Last measured round trip of a liveness probe.
    pub rtt: Option<Duration>,
}

/// Counts since the start of this run; they only rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received, by kind.
    pub messages_in: BTreeMap<&'static str, u64>,
    /// Messages sent, by kind.
    pub messages_out: BTreeMap<&'static str, u64>,
    /// Records refused, by reason.
    pub records_refused: BTreeMap<&'static str, u64>,
    /// Links closed by this agent, by reason.
    pub links_closed: BTreeMap<&'static str, u64>,
    /// Links whose peer proved who it is.
    pub links_proven: u64,
    /// Links that fell silent and were given up.
    pub links_dead: u64,
    /// Attempts to connect.
    pub dials: u64,
    /// Attempts that came to nothing.
    pub dials_failed: u64,
    /// Messages dropped because their sender was too fast.
    pub messages_shed: u64,
    /// Statements accepted from peers.
    pub statements_accepted: u64,
    /// Statements refused.
    pub statements_refused: u64,
    /// Durable batches written.
    pub batches: u64,
    /// Questions answered for others.
    pub asks_answered: u64,
    /// DHT messages that found no DHT here.
    pub dht_ignored: u64,
    /// DHT messages dropped because their sender was too fast, or unreadable.
    pub dht_shed: u64,
    /// DHT messages that could not be delivered.
    pub dht_undelivered: u64,
    /// Gossip of peers that do not gossip with us.
    pub gossip_ignored: u64,
    /// Gossip dropped because its sender was too fast, or unreadable.
    pub gossip_shed: u64,
    /// Messages of senders without trust.
    pub mail_refused: u64,
    /// Messages dropped because their sender was too fast; it sends them again.
    pub mail_shed: u64,
    /// Messages about references beyond a link's budget.
    pub references_shed: u64,
    /// Port prediction.
    pub ports: PortCounts,
}
