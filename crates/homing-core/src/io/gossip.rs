//! What a user chooses about gossip and sees of it. Plain values.
//!
//! The decisions are in `agent::gossiping`, the protocol in [`crate::gossip`].

use std::time::Duration;

use homing_base::Wall;

use crate::gossip::{Stats, limits};

/// How this agent takes part in gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipSettings {
    /// How often it compares what it has with one random peer while nothing changes.
    pub round: Duration,
}

impl Default for GossipSettings {
    fn default() -> Self {
        Self { round: limits::ROUND }
    }
}

/// The state of this agent's gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipView {
    /// Records held.
    pub entries: usize,
    /// Their signed bytes.
    pub entry_bytes: usize,
    /// First bits that a kept ID shares with ours; zero: everything is kept.
    pub depth: u8,
    /// Peers that gossip with us.
    pub peers: usize,
    /// … to which fresh records are pushed, not only announced.
    pub eager: usize,
    /// When a record last came, or was published here, in this run.
    pub changed: Option<Wall>,
    /// Counters since the start of this run.
    pub stats: Stats,
}
