//! What nodes say to each other about references: deterministic CBOR inside mesh message 16.
//!
//! ```text
//! 1 Show   {1 reference, 2 keep?}           "this is the newest", "please keep it alive"
//! 2 Held   {1 kind, 2 key, 3 ends, 4 keeps} answer to Show: so much is held here
//! 3 Ask    {1 id, 2 kind, 3 key}            "what is the newest?"
//! 4 Answer {1 id, 2 reference?}
//! 5 Tell   {1 reference}                    gossip between trusted peers: the newest
//! 6 Have   {1 items}                        … what is held: 32 bytes each, see [`Item`]
//! 7 Want   {1 prefixes}                     … what is lacked: 8 bytes each
//! ```
//! Normative: `spec/17-references.md`.

use homing_base::cbor::{self, CborError};
use homing_base::limits::{MESSAGE_BYTES_MAX, REFERENCE_BYTES_MAX};
use homing_base::{NodeId, Wall};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::limits::{HAVE_MAX, WANT_MAX};
use crate::io::{Kind, Slot};

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Note {
    /// The newest of a reference.
    #[n(1)]
    Show(#[n(0)] Show),
    /// What is held of one that was shown.
    #[n(2)]
    Held(#[n(0)] Held),
    /// A question.
    #[n(3)]
    Ask(#[n(0)] Ask),
    /// Its answer.
    #[n(4)]
    Answer(#[n(0)] Answer),
    /// The newest of a reference, told from trusted peer to trusted peer.
    #[n(5)]
    Tell(#[n(0)] Tell),
    /// What is held of those that travel so.
    #[n(6)]
    Have(#[n(0)] Have),
    /// What of it is lacked.
    #[n(7)]
    Want(#[n(0)] Want),
}

/// The newest of a reference.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Show {
    /// A reference, not verified.
    #[n(1)]
    pub reference: ByteVec,
    /// Its owner asks the receiver to keep it alive.
    #[n(2)]
    pub keep: Option<bool>,
}

/// What is held of a reference that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Held {
    /// Kind of its slot.
    #[n(1)]
    pub kind: u8,
    /// Key of its slot.
    #[n(2)]
    pub key: NodeId,
    /// End of the record that is held.
    #[n(3)]
    pub ends: Wall,
    /// It is kept alive, not only remembered.
    #[n(4)]
    pub keeps: bool,
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Ask {
    /// Names the answer.
    #[n(1)]
    pub id: u32,
    /// Kind of the slot.
    #[n(2)]
    pub kind: u8,
    /// Key of the slot.
    #[n(3)]
    pub key: NodeId,
}

/// The answer to [`Ask`].
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// As asked.
    #[n(1)]
    pub id: u32,
    /// The newest known, not verified; absent: none is.
    #[n(2)]
    pub reference: Option<ByteVec>,
}

/// The newest of a bound reference, as gossip.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Tell {
    /// A reference, not verified.
    #[n(1)]
    pub reference: ByteVec,
}

/// One reference that is held: `prefix ‖ binding ‖ sequence ‖ ends`, each 64 bits big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The first 8 bytes of the key of its slot.
    pub prefix: u64,
    /// Sequence of its binding.
    pub binding: u64,
    /// Sequence of its record.
    pub sequence: u64,
    /// End of its record.
    pub ends: Wall,
}

const ITEM_BYTES: usize = 32;

impl Item {
    /// Which of two of one reference is newer.
    pub(super) fn order(&self) -> (u64, u64, Wall) {
        (self.binding, self.sequence, self.ends)
    }
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Have {
    #[n(1)]
    items: ByteVec,
}

impl Have {
    /// At most [`HAVE_MAX`].
    #[must_use]
    pub fn of(items: &[Item]) -> Self {
        let words = |i: &Item| [i.prefix, i.binding, i.sequence, i.ends.0].map(u64::to_be_bytes);
        let bytes: Vec<u8> = items.iter().flat_map(words).flatten().collect();
        Self { items: bytes.into() }
    }

    /// `None`: no whole items, or too many.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Item>> {
        let (items, rest) = self.items.as_chunks::<ITEM_BYTES>();
        let item = |bytes: &[u8; ITEM_BYTES]| {
            let (words, _) = bytes.as_chunks::<8>();
            let word = |n: usize| u64::from_be_bytes(words[n]);
            Item { prefix: word(0), binding: word(1), sequence: word(2), ends: Wall(word(3)) }
        };
        (rest.is_empty() && items.len() <= HAVE_MAX).then(|| items.iter().map(item).collect())
    }
}

/// What is lacked.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Want {
    #[n(1)]
    prefixes: ByteVec,
}

impl Want {
    /// At most [`WANT_MAX`].
    #[must_use]
    pub fn of(prefixes: &[u64]) -> Self {
        let bytes: Vec<u8> = prefixes.iter().flat_map(|p| p.to_be_bytes()).collect();
        Self { prefixes: bytes.into() }
    }

    /// `None`: no whole prefixes, or too many.
    #[must_use]
    pub fn prefixes(&self) -> Option<Vec<u64>> {
        let (prefixes, rest) = self.prefixes.as_chunks::<8>();
        let fits = rest.is_empty() && prefixes.len() <= WANT_MAX;
        fits.then(|| prefixes.iter().map(|p| u64::from_be_bytes(*p)).collect())
    }
}

/// The slot of a reference with this kind and key; `None`: another kind of slot.
#[must_use]
pub fn slot(kind: u8, key: NodeId) -> Option<Slot> {
    let kind = Kind::from_number(kind).filter(|k| matches!(k, Kind::Reference | Kind::Bound))?;
    Some(Slot { kind, key })
}

/// The bytes of a note.
#[must_use]
pub fn encode(note: &Note) -> Vec<u8> {
    cbor::encode(note)
}

/// Reads one.
///
/// # Errors
/// When the bytes are too long, not deterministic CBOR, nothing that we know, or out of bounds.
pub fn decode(bytes: &[u8]) -> Result<Note, CborError> {
    let note = cbor::decode(bytes, MESSAGE_BYTES_MAX)?;
    let len = match &note {
        Note::Show(show) => show.reference.len(),
        Note::Answer(answer) => answer.reference.as_ref().map_or(0, |r| r.len()),
        Note::Tell(tell) => tell.reference.len(),
        Note::Held(_) | Note::Ask(_) | Note::Have(_) | Note::Want(_) => 0,
    };
    if len <= REFERENCE_BYTES_MAX { Ok(note) } else { Err(CborError::OutOfBounds) }
}
