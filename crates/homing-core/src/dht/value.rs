//! Values and the slots they live in.
//!
//! ```text
//! kind 1 agent      key = node ID                         one value: the newest record
//! kind 2 name       key = SHA-256("homing name v1\0" name) up to 8: every claimant's record
//! kind 3 reference  key = SHA-256 of the reference's name  reserved
//! kind 4 address    key = 15 bytes of the node ID ‖ 0…     a question only: matches agent slots
//! ```
//! [`Value`] is what the DHT needs of a value; [`homing_base::Record`] is the real one, a simulator may
//! use a cheaper one that can still be forged and found out. Bytes become values by
//! [`Value::verify`] only.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use homing_base::limits::RECORD_BYTES_MAX;
use homing_base::{Address, Name, NodeId, Now, Record, RecordError, Seq, UnverifiedRecord, Wall};

/// What a slot is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The newest record of one agent.
    Agent = 1,
    /// Records that claim one name.
    Name = 2,
    /// A mutable reference.
    Reference = 3,
    /// Agent records whose node ID begins with an address. Asked for, never stored under.
    Address = 4,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Agent, Self::Name, Self::Reference, Self::Address]
            .into_iter()
            .find(|k| *k as u8 == number)
    }
}

/// A place for values: kind and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// What it is about.
    pub kind: Kind,
    /// Its position in the ID space.
    pub key: NodeId,
}

impl Slot {
    /// The slot of an agent's record.
    #[must_use]
    pub fn agent(id: NodeId) -> Self {
        Self { kind: Kind::Agent, key: id }
    }

    /// The question for an address.
    #[must_use]
    pub fn address(address: &Address) -> Self {
        let mut key = [0; 32];
        key[..15].copy_from_slice(&address.prefix());
        Self { kind: Kind::Address, key: NodeId(key) }
    }

    /// The slot of a name's claims.
    #[must_use]
    pub fn name(name: &Name) -> Self {
        Self { kind: Kind::Name, key: NodeId::derived("homing name v1", name.as_str().as_bytes()) }
    }

    /// Values that one slot keeps.
    #[must_use]
    pub fn capacity(&self) -> usize {
        if self.kind == Kind::Name { super::limits::CLAIMS_PER_NAME_MAX } else { 1 }
    }
}

/// What the DHT needs of a value.
pub trait Value: Clone + fmt::Debug + PartialEq {
    /// The value as it travels: nothing believed.
    type Wire: Clone + fmt::Debug + PartialEq;

    /// The only way from [`Value::Wire`]: signature, lifetime and size checked.
    ///
    /// # Errors
    /// [`Unbelievable`].
    fn verify(wire: &Self::Wire, now: Now) -> Result<Self, Unbelievable>;
    /// The form that travels.
    fn wire(&self) -> Self::Wire;
    /// Bytes of the form that travels.
    fn wire_len(wire: &Self::Wire) -> usize;
    /// Who signed it.
    fn signer(&self) -> NodeId;
    /// Whether it may live in, or answers, `slot`.
    fn fits(&self, slot: &Slot) -> bool;
    /// Its sequence.
    fn sequence(&self) -> Seq;
    /// When its origin says it ends.
    fn expires(&self) -> Wall;
    /// Whether it is true now.
    fn is_current(&self, now: Now) -> bool;
    /// Which of two values of one signer wins.
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

/// Whether the node ID answers the question of `slot`.
#[must_use]
pub fn id_fits(id: &NodeId, slot: &Slot) -> bool {
    match slot.kind {
        Kind::Agent => *id == slot.key,
        Kind::Address => id.0[..15] == slot.key.0[..15],
        Kind::Name | Kind::Reference => false,
    }
}

impl Value for Record {
    type Wire = Arc<[u8]>;

    fn verify(wire: &Arc<[u8]>, now: Now) -> Result<Self, Unbelievable> {
        if wire.len() > RECORD_BYTES_MAX {
            return Err(Unbelievable::Malformed);
        }
        let parsed = UnverifiedRecord::parse(wire).map_err(|_| Unbelievable::Malformed)?;
        parsed.verify(now).map_err(|e| match e {
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

    fn fits(&self, slot: &Slot) -> bool {
        match slot.kind {
            Kind::Name => self.name.as_ref().is_some_and(|n| Slot::name(n) == *slot),
            _ => id_fits(&self.node_id(), slot),
        }
    }

    fn sequence(&self) -> Seq {
        self.sequence
    }

    fn expires(&self) -> Wall {
        self.expires
    }

    fn is_current(&self, now: Now) -> bool {
        self.check_lifetime(now).is_ok()
    }

    fn precedence(&self, other: &Self) -> Ordering {
        Record::precedence(self, other)
    }
}
