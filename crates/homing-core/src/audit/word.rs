//! What peers say to each other about logs: the wire form of [`super::witness`].

use homing_base::cbor::{self, CborError};
use homing_base::limits::MESSAGE_BYTES_MAX;
use minicbor::{Decode, Encode};

use super::tree::Hash;

/// What is said about logs (`Message::Audit`).
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Word {
    /// "What is the newest head of my log that you cosigned?"
    #[n(1)]
    Ask(#[n(0)] String),
    /// That head: of this origin, this note; an empty note: none.
    #[n(2)]
    Known(#[n(0)] String, #[n(1)] String),
    /// "Cosign this."
    #[n(3)]
    Submit(#[n(0)] Submission),
    /// The cosignature line of this head of this origin, and the delegation of the cosigner's key.
    #[n(4)]
    Cosigned(#[n(0)] Cosigned),
    /// Two heads of one log that contradict each other.
    #[n(5)]
    Fork(#[n(0)] Fork),
    /// "I saw this head of somebody's log."
    #[n(6)]
    Seen(#[n(0)] Seen),
}

/// A head for a witness to cosign.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Submission {
    /// Delegation of the log's key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub delegation: Vec<u8>,
    /// The signed head.
    #[n(2)]
    pub note: String,
    /// Size of the head that the witness holds.
    #[n(3)]
    pub old: u64,
    /// The consistency proof from there, at most 63 hashes.
    #[n(4)]
    pub proof: Vec<Hash>,
}

/// A witness's answer.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Cosigned {
    /// The text that was cosigned.
    #[n(1)]
    pub text: String,
    /// The signature line.
    #[n(2)]
    pub line: String,
    /// Delegation of the cosigner's key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub delegation: Vec<u8>,
}

/// A head of a log that is neither the sender's nor the reader's.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Seen {
    /// Delegation of the log's key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub delegation: Vec<u8>,
    /// The signed head.
    #[n(2)]
    pub note: String,
}

/// Proof that a log was forked.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Fork {
    /// Delegation of the log's key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub delegation: Vec<u8>,
    /// One head.
    #[n(2)]
    pub first: String,
    /// Another of the same size.
    #[n(3)]
    pub second: String,
}

impl Word {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When the bytes are too long, not deterministic CBOR, or nothing that we know.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, MESSAGE_BYTES_MAX)
    }
}
