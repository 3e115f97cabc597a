//! What goes in and what comes out.

use homing_base::NodeId;

use super::message::Message;
use super::value::Value;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum GossipInput<V: Value> {
    /// A link to a peer that gossips is proven.
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// The last link to it is gone.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A peer says something.
    Message {
        /// Who, proven by the link.
        from: NodeId,
        /// What.
        message: Message<V::Wire>,
    },
    /// This node has a verified value to tell: its own, or one that was registered with it.
    Publish(V),
    /// Time has passed.
    Wakeup,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum GossipOutput<V: Value> {
    /// To a peer that is up.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message<V::Wire>,
    },
    /// A value that was not known before, verified. `kept`: it is in the table.
    Accepted {
        /// The value.
        value: V,
        /// Who told it.
        from: NodeId,
        /// Links it came over, as told.
        hops: u8,
        /// Whether the table has it now.
        kept: bool,
    },
    /// One signer signed two values with one sequence. Reported once per sequence.
    Equivocation {
        /// The one that is served.
        kept: V,
        /// The other.
        other: V,
    },
    /// Remember this over restarts, in place of what its signer said before.
    Persist {
        /// The value.
        value: V,
        /// This node published it.
        local: bool,
    },
    /// Forget what was remembered of this signer.
    Forget(NodeId),
    /// A peer sent what nobody honest sends; it is not listened to for a while.
    Muted {
        /// Who.
        peer: NodeId,
    },
}

/// Counters since the start. Monotone, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Values taken from peers.
    pub accepted: u64,
    /// Values pushed to a peer, each peer counted.
    pub pushed: u64,
    /// Values sent again because nobody acknowledged them.
    pub resent: u64,
    /// Values received again.
    pub duplicates: u64,
    /// Values older than what is known.
    pub stale: u64,
    /// Values whose signature is nobody's.
    pub forged: u64,
    /// Values expired or from the future.
    pub untimely: u64,
    /// Messages and values dropped because of a budget.
    pub shed: u64,
    /// Reconciliations begun, for whatever reason.
    pub rounds: u64,
    /// … because it was time.
    pub timed_rounds: u64,
    /// … that found a difference.
    pub differences: u64,
    /// Lazy links made eager.
    pub grafts: u64,
    /// Eager links made lazy by us.
    pub prunes: u64,
    /// Values dropped because of the horizon.
    pub behind: u64,
    /// Messages of muted peers.
    pub muted: u64,
}
