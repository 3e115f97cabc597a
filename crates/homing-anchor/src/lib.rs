//! Anchors: marks that an audit log leaves outside of itself, where its owner cannot take them back.
//!
//! ```text
//!  audit log ──► Journal (SQLite, durable) ──► Anchor::round ──► EVM contract      feature `evm`
//!                what waits, what is under way,               └► RFC 3161 authority
//!                what is confirmed and its evidence
//!                                    Evidence ──► verify, without network ──► Finding
//! ```
//! Two things are anchored. A **point** is a checkpoint: the newest covers every entry before it, so at most one waits. An
//! **update** is one change of a reference, with old and new content digest, time and signature, numbered from 0 by its log; each
//! is anchored once and in order.
//!
//! An anchor is counted when it can no longer disappear: behind the finalized block, or in a verified token. Until then it is
//! asked for again at every round. The chain, never the journal, is the authority on what it holds; the journal remembers what
//! this program may have sent, and is written before anything is sent.
//!
//! Not here: the log, its proofs and its bundles (`homing-core/src/audit`); when to run a round (the daemon).

#[cfg(feature = "evm")]
pub mod evm;

mod evidence;
mod http;
mod journal;
pub mod limits;
mod secret;
pub mod tsa;

use std::time::Duration;

use async_trait::async_trait;

pub use evidence::{Evidence, EvidenceError, EvmEvidence, Finding, TimeStamp};
#[cfg(feature = "evm")]
pub use journal::Flight;
pub use journal::{Anchored, Journal, JournalError, Mark, Subject, Waiting};
pub use secret::{Secret, SecretError};

/// A state of a log: how many entries, and the Merkle root over them (RFC 9162 §2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Entries.
    pub size: u64,
    /// Root hash.
    pub root: [u8; 32],
}

/// One change of a reference, as it is written outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// SHA-256 of the previous CID's bytes; zero when there was none.
    pub previous: [u8; 32],
    /// SHA-256 of the new CID's bytes.
    pub current: [u8; 32],
    /// When its owner says that it happened, Unix milliseconds.
    pub time_ms: u64,
    /// The owner's Ed25519 signature.
    pub signature: [u8; 64],
}

/// SHA-256 of a log's origin line: what stands for the log in transactions and time-stamp requests.
#[must_use]
pub fn origin_hash(origin: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(origin.as_bytes()).into()
}

/// What one round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Marks that became final.
    pub confirmed: usize,
    /// Marks that were seen, and have disappeared from the chain.
    pub removed: usize,
    /// Transactions or requests sent.
    pub sent: usize,
    /// Why nothing was sent although something waits; `None` when nothing waits or something is under way.
    pub held: Option<Hold>,
    /// Ask again after this time at the latest; zero: there is more to do now.
    pub again: Duration,
}

/// Why something waits although the anchor could be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// The chain asks for more than `max_fee_gwei`; both in wei per gas.
    Fee {
        /// What inclusion would cost now.
        asked: u128,
        /// What the configuration allows.
        ceiling: u128,
    },
    /// A transaction of this account that this journal does not know is under way.
    ForeignTransaction,
    /// Past events are still being read.
    Reading,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fee { asked, ceiling } => {
                write!(
                    f,
                    "the chain asks for {asked} wei per gas, `audit.anchor.max_fee_gwei` allows {ceiling}"
                )
            }
            Self::ForeignTransaction => {
                f.write_str("another transaction of this account is under way")
            }
            Self::Reading => f.write_str("past events of the contract are being read"),
        }
    }
}

/// Somewhere outside that keeps marks.
#[async_trait]
pub trait Anchor: Send {
    /// `evm` or `rfc3161`.
    fn kind(&self) -> &'static str;

    /// Settles what was sent before, then sends what waits. Whenever it ends, and wherever it is interrupted, the next round goes on
    /// from the journal and from what the outside says.
    ///
    /// # Errors
    /// [`AnchorError`]; what waits keeps waiting.
    async fn round(&mut self, journal: &mut Journal, now_ms: u64) -> Result<Round, AnchorError>;
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// No answer, or none that is one.
    #[error("{service} is away: {reason}")]
    Away {
        /// Host of the service.
        service: String,
        /// What happened.
        reason: String,
    },
    /// It answered that it will not.
    #[error("{service} refused: {reason}")]
    Refused {
        /// Host of the service.
        service: String,
        /// Its words, shortened.
        reason: String,
    },
    /// It is not what the configuration says.
    #[error("{0}")]
    Setting(String),
    /// One transaction would take more gas than the configuration allows.
    #[error("the transaction needs {needed} gas, `audit.anchor.max_gas` is {ceiling}")]
    Gas {
        /// Gas by the chain's estimate.
        needed: u64,
        /// The ceiling.
        ceiling: u64,
    },
    /// The chain asks for more than is allowed; both in wei per gas.
    #[error("the chain asks for {asked} wei per gas, `audit.anchor.max_fee_gwei` allows {ceiling}")]
    Fee {
        /// What inclusion would cost now.
        asked: u128,
        /// The ceiling.
        ceiling: u128,
    },
    /// A transaction was included and had no effect.
    #[error("transaction {hash} was included and reverted")]
    Reverted {
        /// Its hash.
        hash: String,
    },
    /// Outside stands another history of this log.
    #[error(
        "another root is anchored at size {size}: this log and that one have different histories"
    )]
    Fork {
        /// The size at which both have a root.
        size: u64,
    },
    /// Outside stands a longer history: this log was restored from an old copy, or copied.
    #[error(
        "size {anchored} is anchored, this log has {own}: it is an old copy, or another one runs"
    )]
    Behind {
        /// Size outside.
        anchored: u64,
        /// Size here.
        own: u64,
    },
    /// The journal failed; nothing may be sent without it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What came back does not prove what it should.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}
