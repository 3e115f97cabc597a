//! Gossip as one node sees it: `gossip stats`.
//!
//! With `gossip.enabled = false` the answer says so, and every number is zero.

use serde::{Deserialize, Serialize};

use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// `GET /v1/gossip/stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GossipStats {
    /// `homing.gossip_stats/v1`.
    pub schema: Schema<GossipStats>,
    /// This node takes part.
    pub enabled: bool,
    /// Peers that gossip with this node now.
    pub peers: u64,
    /// … to which fresh records are pushed; the others are told of them.
    pub peers_eager: u64,
    /// Records held.
    pub entries: u64,
    /// Their signed bytes.
    pub entries_bytes: u64,
    /// A full table keeps IDs that share so many first bits with this node's own; 0: everything.
    pub depth_bits: u32,
    /// When a record last came, or was published here; `None`: not in this run.
    pub changed: Option<Stamp>,
    /// Records since the start of this run.
    pub records: GossipRecords,
    /// Comparisons with peers since the start of this run.
    pub reconciliations: GossipReconciliations,
    /// Messages and bytes since the start of this run.
    pub traffic: GossipTraffic,
}

/// Records that came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipRecords {
    /// Pushed to peers, each peer counted.
    pub pushed: u64,
    /// … sent once more because a peer did not say that it has them.
    pub resent: u64,
    /// Heard, new and verified.
    pub heard: u64,
    /// Heard again.
    pub duplicates: u64,
    /// Older than what is known.
    pub stale: u64,
    /// Signed by nobody.
    pub forged: u64,
    /// Expired, or from the future.
    pub untimely: u64,
    /// Dropped because the table was full.
    pub dropped: u64,
}

/// Comparisons of what two nodes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipReconciliations {
    /// Begun by this node.
    pub begun: u64,
    /// … because it was time, not because of a new link.
    pub timed: u64,
    /// … that found a difference.
    pub differences: u64,
}

/// What it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipTraffic {
    /// Messages received.
    pub received_messages: u64,
    /// Messages sent.
    pub sent_messages: u64,
    /// Bytes received, as encoded.
    pub received_bytes: u64,
    /// Bytes sent, as encoded.
    pub sent_bytes: u64,
    /// Messages and records dropped because a peer was too fast, or unreadable.
    pub shed: u64,
    /// Messages of peers that do not gossip with this node, or that forged.
    pub ignored: u64,
}

described! {
    GossipStats => "homing.gossip_stats/v1",
}
