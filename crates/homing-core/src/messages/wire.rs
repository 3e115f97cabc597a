//! The byte form of what agents say about messages: deterministic CBOR inside mesh message 15.
//!
//! ```text
//! 1 Deliver [parcel…]     2 Receipts [{id, verdict}…]     3 Topics [{topic, keep}…]
//! ```
//! No sender stands in it: the link proves who speaks. Normative: `spec/12-messages.md`.

use homing_base::MessageId;
use homing_base::cbor::{self, CborError};
use homing_base::limits::MESSAGE_BYTES_MAX;
use minicbor::{Decode, Encode};

use super::limits::{BATCH_MAX, BODY_BYTES_MAX, FILE_NAME_BYTES_MAX, TOPICS_MAX};
use crate::io::{FileOffer, MessageKind, Parcel, Subscription, Verdict};

/// What one agent says to another.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Mail {
    /// Messages in order, 1 to [`BATCH_MAX`]. Answered by one [`Mail::Receipts`].
    #[n(1)]
    Deliver(#[n(0)] Vec<Parcel>),
    /// What became of messages of the receiver's. Also unasked, when a file was fetched.
    #[n(2)]
    Receipts(#[n(0)] Vec<Receipt>),
    /// All topics of the receiver's that the sender wants to hear of; replaces the list before.
    #[n(3)]
    Topics(#[n(0)] Vec<Subscription>),
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// Which.
    #[n(1)]
    pub id: MessageId,
    /// What.
    #[n(2)]
    pub verdict: Verdict,
}

/// The bytes of a message about messages.
#[must_use]
pub fn encode(mail: &Mail) -> Vec<u8> {
    cbor::encode(mail)
}

/// Reads one.
///
/// # Errors
/// When the bytes are too long, not deterministic CBOR, nothing that we know, or out of bounds.
pub fn decode(bytes: &[u8]) -> Result<Mail, CborError> {
    let mail = cbor::decode(bytes, MESSAGE_BYTES_MAX)?;
    let sound = match &mail {
        Mail::Deliver(list) => {
            (1..=BATCH_MAX).contains(&list.len()) && list.iter().all(is_well_formed)
        }
        Mail::Receipts(list) => (1..=BATCH_MAX).contains(&list.len()),
        Mail::Topics(list) => {
            list.len() <= TOPICS_MAX && list.windows(2).all(|w| w[0].topic < w[1].topic)
        }
    };
    if sound { Ok(mail) } else { Err(CborError::OutOfBounds) }
}

/// Whether a body is what its kind says, as far as bytes tell. JSON is not parsed here.
#[must_use]
pub fn is_well_formed(parcel: &Parcel) -> bool {
    let Parcel { kind, topic, body, .. } = parcel;
    let is_event = *kind == MessageKind::Event;
    body.len() <= BODY_BYTES_MAX
        && topic.is_some() == is_event
        && match kind {
            MessageKind::File => file_offer(body).is_some(),
            _ => std::str::from_utf8(body).is_ok(),
        }
}

/// The offer in the body of a message of kind file.
#[must_use]
pub fn file_offer(body: &[u8]) -> Option<FileOffer> {
    let offer: FileOffer = cbor::decode(body, BODY_BYTES_MAX).ok()?;
    (1..=FILE_NAME_BYTES_MAX).contains(&offer.name.len()).then_some(offer)
}
