//! What nodes say to each other about references: deterministic CBOR inside mesh message 16.
//!
//! ```text
//! 1 Show   {1 reference, 2 keep?}           "this is the newest", "please keep it alive"
//! 2 Held   {1 kind, 2 key, 3 ends, 4 keeps} answer to Show: so much is held here
//! 3 Ask    {1 id, 2 kind, 3 key}            "what is the newest?"
//! 4 Answer {1 id, 2 reference?}
//! ```
//! Normative: `spec/17-references.md`.

use homing_base::cbor::{self, CborError};
use homing_base::limits::{MESSAGE_BYTES_MAX, REFERENCE_BYTES_MAX};
use homing_base::{NodeId, Wall};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

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
        Note::Held(_) | Note::Ask(_) => 0,
    };
    if len <= REFERENCE_BYTES_MAX { Ok(note) } else { Err(CborError::OutOfBounds) }
}
