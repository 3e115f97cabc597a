//! What gossip needs of a value. [`homing_base::Record`] is the real one; a simulator may use a cheaper one
//! that can still be forged and found out. Bytes become values by [`Value::verify`] only.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use homing_base::limits::RECORD_BYTES_MAX;
use homing_base::{Name, NodeId, Now, Record, RecordError, Seq, UnverifiedRecord, Wall};

/// What an unverified value says it is: enough to see that it is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who seems to have signed it.
    pub id: NodeId,
    /// Its sequence.
    pub sequence: Seq,
    /// See [`Value::mark`].
    pub mark: u64,
}

/// A value.
pub trait Value: Clone + fmt::Debug + PartialEq {
    /// The value as it travels: nothing believed.
    type Wire: Clone + fmt::Debug + PartialEq;
    /// Parsed, nothing believed.
    type Unverified;

    /// Parses, within bounds.
    ///
    /// # Errors
    /// [`Unbelievable::Malformed`].
    fn parse(wire: &Self::Wire) -> Result<(Self::Unverified, Claim), Unbelievable>;
    /// The only way to a value: signature and lifetime checked.
    ///
    /// # Errors
    /// [`Unbelievable`].
    fn verify(unverified: Self::Unverified, now: Now) -> Result<Self, Unbelievable>;
    /// The form that travels.
    fn wire(&self) -> Self::Wire;
    /// Bytes of the form that travels.
    fn wire_len(wire: &Self::Wire) -> usize;
    /// Who signed it.
    fn signer(&self) -> NodeId;
    /// Its sequence.
    fn sequence(&self) -> Seq;
    /// When its origin says it ends.
    fn expires(&self) -> Wall;
    /// The first 8 bytes of a cryptographic hash of the form that travels.
    fn mark(&self) -> u64;
    /// The name it claims, unless it is a tombstone.
    fn name(&self) -> Option<&Name>;
    /// Which of two values of one signer wins: sequence, then the smaller hash.
    fn precedence(&self, other: &Self) -> Ordering;
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbelievable {
    /// Not a value, or too long.
    Malformed,
    /// Signed by nobody, or by another.
    Forged,
    /// Expired, or from the future.
    Untimely,
}

/// The first 8 bytes of an ID, as a number: its place in the order of the table.
#[must_use]
pub fn prefix(id: &NodeId) -> u64 {
    u64::from_be_bytes(id.0[..8].try_into().expect("an ID has 32 bytes"))
}

fn first_8(digest: &[u8; 32]) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

impl Value for Record {
    type Wire = Arc<[u8]>;
    type Unverified = UnverifiedRecord;

    fn parse(wire: &Arc<[u8]>) -> Result<(UnverifiedRecord, Claim), Unbelievable> {
        if wire.len() > RECORD_BYTES_MAX {
            return Err(Unbelievable::Malformed);
        }
        let record = UnverifiedRecord::parse(wire).map_err(|_| Unbelievable::Malformed)?;
        let claim = Claim {
            id: record.claimed_node_id(),
            sequence: record.claimed_sequence(),
            mark: first_8(&record.digest()),
        };
        Ok((record, claim))
    }

    fn verify(unverified: UnverifiedRecord, now: Now) -> Result<Self, Unbelievable> {
        unverified.verify(now).map_err(|e| match e {
            RecordError::Signature { .. } => Unbelievable::Forged,
            _ => Unbelievable::Untimely,
        })
    }

    fn wire(&self) -> Arc<[u8]> {
        self.bytes().into()
    }

    fn wire_len(wire: &Arc<[u8]>) -> usize {
        wire.len()
    }

    fn signer(&self) -> NodeId {
        self.node_id()
    }

    fn sequence(&self) -> Seq {
        self.sequence
    }

    fn expires(&self) -> Wall {
        self.expires
    }

    fn mark(&self) -> u64 {
        first_8(&self.digest())
    }

    fn name(&self) -> Option<&Name> {
        if self.is_withdrawn() { None } else { self.name.as_ref() }
    }

    fn precedence(&self, other: &Self) -> Ordering {
        Record::precedence(self, other)
    }
}
