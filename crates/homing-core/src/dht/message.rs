//! What DHT nodes say to each other. The byte form is in [`super::wire`].
//!
//! ```text
//! Ping                          → Pong
//! FindNode {target}             → Nodes {≤ 20 contacts}
//! FindValue {slot}              → Values {≤ 8 values, ≤ 20 contacts}
//! Store {slot, value}           → Stored {verdict}
//! Exchange {known, fresh, …}    → Siblings {contacts, doubted, …}
//! Offer {digests}               → Wanted {digests}
//! Leaving                       (no answer)           any request → Busy
//! ```

use homing_base::NodeId;

use crate::cluster::Leaf;

use super::contact::{Contact, Place};
use super::value::{Slot, Value};

/// One message; `P` is the place type, `W` a value as it travels.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<P, W> {
    /// Names the request; its answer repeats it.
    pub id: u32,
    /// Whether the sender serves: only servers enter tables.
    pub server: bool,
    /// What it says.
    pub body: Body<P, W>,
}

/// The content of a [`Message`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body<P, W> {
    /// "Are you there?"
    Ping,
    /// "Whom do you know closest to this?"
    FindNode {
        /// The point in ID space.
        target: NodeId,
    },
    /// "What do you hold here, and whom do you know closer?"
    FindValue {
        /// The slot.
        slot: Slot,
    },
    /// "Keep this."
    Store {
        /// Where.
        slot: Slot,
        /// What, unverified.
        value: W,
    },
    /// Periodic leafset exchange.
    Exchange {
        /// ID prefixes of the sender's siblings.
        known: Vec<u64>,
        /// Siblings that are new to the sender, in full.
        fresh: Vec<Contact<P>>,
        /// The sender's estimate of the mean session, in seconds.
        session_s: u32,
        /// The sender's cluster, if it lives in one.
        leaf: Option<Leaf>,
    },
    /// Digests of values that the sender thinks the receiver should hold.
    Offer {
        /// See [`super::store::digest`].
        digests: Vec<u64>,
    },
    /// The sender is about to stop.
    Leaving,
    /// Answer to `Ping`.
    Pong,
    /// Answer to `FindNode`.
    Nodes {
        /// Closest first.
        contacts: Vec<Contact<P>>,
    },
    /// Answer to `FindValue`.
    Values {
        /// What is held.
        values: Vec<W>,
        /// Closest first.
        contacts: Vec<Contact<P>>,
    },
    /// Answer to `Store`.
    Stored {
        /// What became of it.
        verdict: Verdict,
    },
    /// Answer to `Exchange`.
    Siblings {
        /// Nodes close to the asker that it did not list.
        contacts: Vec<Contact<P>>,
        /// Prefixes it listed that the answerer finds dead.
        doubted: Vec<u64>,
        /// The answerer's estimate of the mean session, in seconds.
        session_s: u32,
        /// The answerer's cluster, if it lives in one.
        leaf: Option<Leaf>,
    },
    /// Answer to `Offer`: those not held.
    Wanted {
        /// A subset of what was offered.
        digests: Vec<u64>,
    },
    /// Too many requests of this kind; try another node.
    Busy,
}

/// What became of a `Store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// Kept.
    Kept = 1,
    /// The same value is here already.
    Same = 2,
    /// A newer one is here.
    Stale = 3,
    /// Not verified: nobody's signature, expired, or not for this slot.
    Refused = 4,
    /// No room for something this far away, or of this peer.
    Full = 5,
}

impl Verdict {
    /// The verdict with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Kept, Self::Same, Self::Stale, Self::Refused, Self::Full]
            .into_iter()
            .find(|v| *v as u8 == number)
    }
}

impl<P, W> Body<P, W> {
    /// Whether it answers a request.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        use Body::{Busy, Nodes, Pong, Siblings, Stored, Values, Wanted};
        matches!(
            self,
            Pong | Nodes { .. }
                | Values { .. }
                | Stored { .. }
                | Siblings { .. }
                | Wanted { .. }
                | Busy
        )
    }
}

impl<P, W> Body<P, W> {
    /// Names of the exchanges that messages belong to, as in the header; see [`Body::kind`].
    pub const KINDS: [&'static str; 7] =
        ["ping", "find-node", "find-value", "store", "exchange", "offer", "other"];

    /// Which of [`Body::KINDS`] this is part of: what traffic is counted by.
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Ping | Self::Pong => 0,
            Self::FindNode { .. } | Self::Nodes { .. } => 1,
            Self::FindValue { .. } | Self::Values { .. } => 2,
            Self::Store { .. } | Self::Stored { .. } => 3,
            Self::Exchange { .. } | Self::Siblings { .. } => 4,
            Self::Offer { .. } | Self::Wanted { .. } => 5,
            Self::Leaving | Self::Busy => 6,
        }
    }
}

impl<P: Place, W> Message<P, W> {
    /// Bytes of the wire form, without building it.
    #[must_use]
    pub fn wire_len<V: Value<Wire = W>>(&self) -> usize {
        super::wire::message_len::<P, V>(self)
    }
}
