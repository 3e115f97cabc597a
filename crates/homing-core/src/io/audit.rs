//! What core and shell say to each other about the own audit log.

use homing_base::NodeId;
use homing_base::derived::Delegation;

use crate::audit::{Consistency, SignedNote};

/// What the shell tells about the own log.
#[derive(Clone, Debug)]
pub enum LogNews {
    /// It was opened, and signs nothing before [`LogOrder::Release`].
    Opened {
        /// The identity's word for the log's key.
        delegation: Delegation,
        /// Its head.
        head: SignedNote,
    },
    /// It has a new head.
    Head(SignedNote),
    /// The proof that [`LogOrder::Prove`] asked for.
    Proof {
        /// For whom.
        witness: NodeId,
        /// The head that it leads to.
        head: SignedNote,
        /// The proof.
        proof: Consistency,
    },
}

/// What the core asks of the own log.
#[derive(Clone, Debug)]
pub enum LogOrder {
    /// It may sign.
    Release,
    /// It must not sign: a witness knows a longer or another history.
    Refuse(String),
    /// Prove that its head continues the one of `old` entries; answered by [`LogNews::Proof`].
    Prove {
        /// For whom.
        witness: NodeId,
        /// Size of the head that the witness holds.
        old: u64,
    },
    /// Keep this: the newest head with the witnesses' signatures, and the delegations of their keys.
    Cosigned(SignedNote, Vec<Delegation>),
}
