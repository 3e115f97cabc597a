//! Values and the slots they live in.
//!
//! ```text
//! kind 1 agent      key = node ID                         one value: the newest record
//! kind 2 name       key = SHA-256("homing name v1\0" name) up to 8: every claimant's record
//! kind 3 reference  key = SHA-256 of the IPNS routing key  one value: the newest record
//! kind 4 address    key = 15 bytes of the node ID ‖ 0…     a question only: matches agent slots
//! kind 5 bound      key = point of owner and name          one value: the newest binding and record
//! ```
//! [`Value`] is what the DHT needs of a value; [`Item`] is the real one, a simulator may
//! use a cheaper one that can still be forged and found out. Bytes become values by
//! [`Value::verify`] only.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use homing_base::limits::{RECORD_BYTES_MAX, REFERENCE_BYTES_MAX};
use homing_base::{
    Address, IpnsError, Name, NodeId, Now, Record, RecordError, Reference, ReferenceError, Seq,
    UnverifiedRecord, Wall,
};

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
    /// A reference by its owner and name.
    Bound = 5,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Agent, Self::Name, Self::Reference, Self::Address, Self::Bound]
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

    /// The slot of a reference: of its owner and name when it is bound, else of its IPNS name.
    #[must_use]
    pub fn reference(reference: &Reference) -> Self {
        let kind = if reference.binding.is_some() { Kind::Bound } else { Kind::Reference };
        Self { kind, key: reference.point() }
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
        Kind::Name | Kind::Reference | Kind::Bound => false,
    }
}

/// What real nodes store.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most values are records: none of them shall cost a pointer"
)]
pub enum Item {
    /// An agent's record.
    Agent(Record),
    /// A reference, bound or not.
    Reference(Arc<Reference>),
}

impl Item {
    /// The record, if it is one.
    #[must_use]
    pub fn agent(self) -> Option<Record> {
        match self {
            Item::Agent(record) => Some(record),
            Item::Reference(_) => None,
        }
    }
}

impl From<Record> for Item {
    fn from(record: Record) -> Self {
        Item::Agent(record)
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

fn verify_reference(wire: &[u8], now: Now) -> Result<Reference, Unbelievable> {
    if wire.len() > REFERENCE_BYTES_MAX {
        return Err(Unbelievable::Malformed);
    }
    Reference::verify(wire, now).map_err(|e| match e {
        ReferenceError::FromTheFuture { .. }
        | ReferenceError::Record(IpnsError::Expired { .. }) => Unbelievable::Untimely,
        ReferenceError::Record(IpnsError::Signature { .. })
        | ReferenceError::Binding
        | ReferenceError::OtherName => Unbelievable::Forged,
        _ => Unbelievable::Malformed,
    })
}

/// A COSE object begins with its tag, a reference is a map: the first byte tells them apart.
impl Value for Item {
    type Wire = Arc<[u8]>;

    fn verify(wire: &Arc<[u8]>, now: Now) -> Result<Self, Unbelievable> {
        match wire.first() {
            Some(first) if first >> 5 == 5 => {
                verify_reference(wire, now).map(|r| Item::Reference(Arc::new(r)))
            }
            _ => <Record as Value>::verify(wire, now).map(Item::Agent),
        }
    }

    fn wire(&self) -> Arc<[u8]> {
        match self {
            Item::Agent(record) => record.wire(),
            Item::Reference(reference) => reference.to_bytes().into(),
        }
    }

    fn wire_len(wire: &Arc<[u8]>) -> usize {
        wire.len()
    }

    fn signer(&self) -> NodeId {
        match self {
            Item::Agent(record) => record.signer(),
            Item::Reference(reference) => reference.signer(),
        }
    }

    fn fits(&self, slot: &Slot) -> bool {
        match self {
            Item::Agent(record) => record.fits(slot),
            Item::Reference(reference) => Slot::reference(reference) == *slot,
        }
    }

    fn sequence(&self) -> Seq {
        match self {
            Item::Agent(record) => record.sequence,
            Item::Reference(reference) => Seq(reference.record.sequence),
        }
    }

    fn expires(&self) -> Wall {
        match self {
            Item::Agent(record) => record.expires,
            Item::Reference(reference) => reference.record.ends(),
        }
    }

    fn is_current(&self, now: Now) -> bool {
        self.expires() > now.wall
            && !matches!(self, Item::Agent(record) if !Value::is_current(record, now))
    }

    fn precedence(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Item::Agent(a), Item::Agent(b)) => a.precedence(b),
            (Item::Reference(a), Item::Reference(b)) => a.precedence(b),
            // They never share a slot.
            (Item::Agent(_), Item::Reference(_)) => Ordering::Less,
            (Item::Reference(_), Item::Agent(_)) => Ordering::Greater,
        }
    }
}
