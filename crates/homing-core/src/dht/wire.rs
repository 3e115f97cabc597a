//! The byte form of DHT messages: deterministic CBOR, the same rules as every mesh message.
//!
//! ```text
//! message = [id, server, body]            body = [number, fields…]
//! contact = [id bstr32, instance bstr32, direct bstr 0|6|18, relay?]
//! slot    = kind, key bstr32              prefix, digest = unsigned integer       leaf = [depth, members]
//!
//!  1 Ping            2 FindNode target     3 FindValue kind key     4 Store kind key value
//!  5 Exchange [prefix…] [contact…] session_s leaf?      6 Offer [digest…]      7 Leaving
//! 11 Pong           12 Nodes [contact…]   13 Values [value…] [contact…]
//! 14 Stored verdict 15 Siblings [contact…] [prefix…] session_s leaf?
//! 16 Wanted [digest…]                     17 Busy
//! ```
//! An unknown body number is a message to ignore. Normative: `spec/08-dht.md`.

use std::sync::Arc;

use homing_base::cbor::{self, CborError};
use homing_base::limits::{MESSAGE_BYTES_MAX, REFERENCE_BYTES_MAX};
use homing_base::record::{socket_addr_bytes, socket_addr_from_bytes};
use homing_base::{InstanceId, NodeId, RelayRef};
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

use crate::cluster::Leaf;

use super::contact::{Contact, Place, Reach};
use super::limits::{CONTACTS_PER_ANSWER_MAX, K_MAX, KNOWN_MAX, OFFER_MAX, VALUES_PER_ANSWER_MAX};
use super::message::{Body, Message, Verdict};
use super::value::{Kind, Slot, Value};

/// A message between real nodes.
pub type RealMessage = Message<Reach, Arc<[u8]>>;
type RealBody = Body<Reach, Arc<[u8]>>;
type Written<W> = Result<(), EncodeError<<W as Write>::Error>>;

/// The bytes of a message.
#[must_use]
pub fn encode(message: &RealMessage) -> Vec<u8> {
    cbor::encode(message)
}

/// Reads a message.
///
/// # Errors
/// When the bytes are too long, not deterministic CBOR, or no message that we know.
pub fn decode(bytes: &[u8]) -> Result<RealMessage, CborError> {
    cbor::decode(bytes, MESSAGE_BYTES_MAX)
}

impl<C> Encode<C> for RealMessage {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.array(3)?.u32(self.id)?.bool(self.server)?;
        encode_body(e, &self.body)
    }
}

fn encode_body<W: Write>(e: &mut Encoder<W>, body: &RealBody) -> Written<W> {
    match body {
        Body::Ping => e.array(1)?.u8(1)?.ok()?,
        Body::FindNode { target } => e.array(2)?.u8(2)?.bytes(&target.0)?.ok()?,
        Body::FindValue { slot } => encode_slot(e.array(3)?.u8(3)?, slot)?,
        Body::Store { slot, value } => {
            encode_slot(e.array(4)?.u8(4)?, slot)?;
            e.bytes(value)?;
        }
        Body::Exchange { known, fresh, session_s, leaf } => {
            encode_numbers(e.array(4 + u64::from(leaf.is_some()))?.u8(5)?, known)?;
            encode_contacts(e, fresh)?;
            encode_leaf(e.u32(*session_s)?, leaf)?;
        }
        Body::Offer { digests } => encode_numbers(e.array(2)?.u8(6)?, digests)?,
        Body::Leaving => e.array(1)?.u8(7)?.ok()?,
        Body::Pong => e.array(1)?.u8(11)?.ok()?,
        Body::Nodes { contacts } => encode_contacts(e.array(2)?.u8(12)?, contacts)?,
        Body::Values { values, contacts } => {
            e.array(3)?.u8(13)?.array(values.len() as u64)?;
            for value in values {
                e.bytes(value)?;
            }
            encode_contacts(e, contacts)?;
        }
        Body::Stored { verdict } => e.array(2)?.u8(14)?.u8(*verdict as u8)?.ok()?,
        Body::Siblings { contacts, doubted, session_s, leaf } => {
            encode_contacts(e.array(4 + u64::from(leaf.is_some()))?.u8(15)?, contacts)?;
            encode_numbers(e, doubted)?;
            encode_leaf(e.u32(*session_s)?, leaf)?;
        }
        Body::Wanted { digests } => encode_numbers(e.array(2)?.u8(16)?, digests)?,
        Body::Busy => e.array(1)?.u8(17)?.ok()?,
    }
    Ok(())
}

fn encode_slot<W: Write>(e: &mut Encoder<W>, slot: &Slot) -> Written<W> {
    e.u8(slot.kind as u8)?.bytes(&slot.key.0)?.ok()
}

fn encode_leaf<W: Write>(e: &mut Encoder<W>, leaf: &Option<Leaf>) -> Written<W> {
    match leaf {
        Some(leaf) => e.array(2)?.u8(leaf.depth)?.u16(leaf.members)?.ok(),
        None => Ok(()),
    }
}

fn encode_numbers<W: Write>(e: &mut Encoder<W>, numbers: &[u64]) -> Written<W> {
    e.array(numbers.len() as u64)?;
    numbers.iter().try_for_each(|n| e.u64(*n)?.ok())
}

fn encode_contacts<W: Write>(e: &mut Encoder<W>, contacts: &[Contact<Reach>]) -> Written<W> {
    e.array(contacts.len() as u64)?;
    for Contact { id, place } in contacts {
        e.array(if place.relay.is_some() { 4 } else { 3 })?.bytes(&id.0)?;
        e.bytes(&place.instance.0)?;
        e.bytes(&place.direct.as_ref().map(socket_addr_bytes).unwrap_or_default())?;
        if let Some(relay) = &place.relay {
            e.encode(relay.as_ref())?;
        }
    }
    Ok(())
}

impl<'b, C> Decode<'b, C> for RealMessage {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        expect_array(d, 3)?;
        let (id, server) = (d.u32()?, d.bool()?);
        let fields = d.array()?.ok_or_else(|| DecodeError::message("definite length expected"))?;
        let number = d.u8()?;
        let body = decode_body(d, number, fields)?;
        Ok(Self { id, server, body })
    }
}

fn decode_body(d: &mut Decoder<'_>, number: u8, fields: u64) -> Result<RealBody, DecodeError> {
    let (body, expected) = match number {
        1 => (Body::Ping, 1),
        2 => (Body::FindNode { target: decode_id(d)? }, 2),
        3 => (Body::FindValue { slot: decode_slot(d)? }, 3),
        4 => (Body::Store { slot: decode_slot(d)?, value: decode_value(d)? }, 4),
        5 => {
            let (known, fresh) = (decode_numbers(d, KNOWN_MAX)?, decode_contacts(d, K_MAX)?);
            let (session_s, leaf) = (d.u32()?, decode_leaf(d, fields)?);
            (Body::Exchange { known, fresh, session_s, leaf }, fields.clamp(4, 5))
        }
        6 => (Body::Offer { digests: decode_numbers(d, OFFER_MAX)? }, 2),
        7 => (Body::Leaving, 1),
        11 => (Body::Pong, 1),
        12 => (Body::Nodes { contacts: decode_contacts(d, CONTACTS_PER_ANSWER_MAX)? }, 2),
        13 => {
            let len = bounded_array(d, VALUES_PER_ANSWER_MAX)?;
            let values = (0..len).map(|_| decode_value(d)).collect::<Result<_, _>>()?;
            (Body::Values { values, contacts: decode_contacts(d, CONTACTS_PER_ANSWER_MAX)? }, 3)
        }
        14 => {
            let verdict = Verdict::from_number(d.u8()?);
            let verdict = verdict.ok_or_else(|| DecodeError::message("unknown verdict"))?;
            (Body::Stored { verdict }, 2)
        }
        15 => {
            let contacts = decode_contacts(d, CONTACTS_PER_ANSWER_MAX)?;
            let doubted = decode_numbers(d, KNOWN_MAX)?;
            let (session_s, leaf) = (d.u32()?, decode_leaf(d, fields)?);
            (Body::Siblings { contacts, doubted, session_s, leaf }, fields.clamp(4, 5))
        }
        16 => (Body::Wanted { digests: decode_numbers(d, OFFER_MAX)? }, 2),
        17 => (Body::Busy, 1),
        _ => return Err(DecodeError::message("unknown DHT message")),
    };
    if fields == expected { Ok(body) } else { Err(DecodeError::message("wrong field count")) }
}

/// The fifth field of an exchange, if it has five.
fn decode_leaf(d: &mut Decoder<'_>, fields: u64) -> Result<Option<Leaf>, DecodeError> {
    if fields != 5 {
        return Ok(None);
    }
    expect_array(d, 2)?;
    Ok(Some(Leaf { depth: d.u8()?, members: d.u16()? }))
}

fn expect_array(d: &mut Decoder<'_>, len: u64) -> Result<(), DecodeError> {
    match d.array()? {
        Some(found) if found == len => Ok(()),
        _ => Err(DecodeError::message("wrong field count")),
    }
}

fn bounded_array(d: &mut Decoder<'_>, max: usize) -> Result<u64, DecodeError> {
    match d.array()? {
        Some(len) if len <= max as u64 => Ok(len),
        _ => Err(DecodeError::message("list too long")),
    }
}

fn decode_bytes_32(d: &mut Decoder<'_>) -> Result<[u8; 32], DecodeError> {
    d.bytes()?.try_into().map_err(|_| DecodeError::message("32 bytes expected"))
}

fn decode_id(d: &mut Decoder<'_>) -> Result<NodeId, DecodeError> {
    decode_bytes_32(d).map(NodeId)
}

fn decode_slot(d: &mut Decoder<'_>) -> Result<Slot, DecodeError> {
    let kind = Kind::from_number(d.u8()?).ok_or_else(|| DecodeError::message("unknown kind"))?;
    Ok(Slot { kind, key: decode_id(d)? })
}

fn decode_value(d: &mut Decoder<'_>) -> Result<Arc<[u8]>, DecodeError> {
    let bytes = d.bytes()?;
    if bytes.len() > REFERENCE_BYTES_MAX {
        return Err(DecodeError::message("value too long"));
    }
    Ok(bytes.into())
}

fn decode_numbers(d: &mut Decoder<'_>, max: usize) -> Result<Vec<u64>, DecodeError> {
    (0..bounded_array(d, max)?).map(|_| d.u64()).collect()
}

fn decode_contacts(d: &mut Decoder<'_>, max: usize) -> Result<Vec<Contact<Reach>>, DecodeError> {
    (0..bounded_array(d, max)?).map(|_| decode_contact(d)).collect()
}

fn decode_contact(d: &mut Decoder<'_>) -> Result<Contact<Reach>, DecodeError> {
    let fields = bounded_array(d, 4)?;
    let (id, instance) = (decode_id(d)?, InstanceId(decode_bytes_32(d)?));
    let direct = match d.bytes()? {
        [] => None,
        bytes => {
            let addr = socket_addr_from_bytes(bytes);
            Some(addr.ok_or_else(|| DecodeError::message("an address has 6 or 18 bytes"))?)
        }
    };
    let relay = match fields {
        3 => None,
        4 => Some(Arc::new(d.decode::<RelayRef>()?)),
        _ => return Err(DecodeError::message("a contact has 3 or 4 fields")),
    };
    if relay.as_ref().is_some_and(|r| !r.is_well_formed()) {
        return Err(DecodeError::message("no relay URL"));
    }
    Ok(Contact { id, place: Reach { instance, direct, relay } })
}

// ---- lengths, for accounting without encoding

const ID_LEN: usize = 34;

fn head_len(n: u64) -> usize {
    match n {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn bytes_len(len: usize) -> usize {
    head_len(len as u64) + len
}

/// Bytes of a [`Reach`] within a contact.
pub(super) fn reach_len(reach: &Reach) -> usize {
    let direct = reach.direct.map_or(1, |d| bytes_len(if d.is_ipv4() { 6 } else { 18 }));
    ID_LEN + direct + reach.relay.as_ref().map_or(0, |r| cbor::encode(r.as_ref()).len())
}

/// Bytes of a contact.
pub(super) fn contact_len<P: Place>(contact: &Contact<P>) -> usize {
    1 + ID_LEN + contact.place.wire_len()
}

fn leaf_len(leaf: &Option<Leaf>) -> usize {
    let number = |n: u16| head_len(u64::from(n));
    leaf.map_or(0, |l| 1 + number(u16::from(l.depth)) + number(l.members))
}

/// Bytes of a message.
pub(super) fn message_len<P: Place, V: Value>(message: &Message<P, V::Wire>) -> usize {
    let numbers = |list: &[u64]| {
        head_len(list.len() as u64) + list.iter().map(|n| head_len(*n)).sum::<usize>()
    };
    let contacts = |list: &[Contact<P>]| {
        head_len(list.len() as u64) + list.iter().map(contact_len).sum::<usize>()
    };
    let value = |wire: &V::Wire| bytes_len(V::wire_len(wire));
    let slot_len = 1 + ID_LEN;
    let fields = match &message.body {
        Body::Ping | Body::Leaving | Body::Pong | Body::Busy => 0,
        Body::FindNode { .. } => ID_LEN,
        Body::FindValue { .. } => slot_len,
        Body::Store { value: v, .. } => slot_len + value(v),
        Body::Exchange { known, fresh, session_s, leaf } => {
            numbers(known) + contacts(fresh) + head_len(u64::from(*session_s)) + leaf_len(leaf)
        }
        Body::Offer { digests } | Body::Wanted { digests } => numbers(digests),
        Body::Nodes { contacts: list } => contacts(list),
        Body::Values { values, contacts: list } => {
            head_len(values.len() as u64) + values.iter().map(value).sum::<usize>() + contacts(list)
        }
        Body::Stored { .. } => 1,
        Body::Siblings { contacts: list, doubted, session_s, leaf } => {
            let session = head_len(u64::from(*session_s));
            contacts(list) + numbers(doubted) + session + leaf_len(leaf)
        }
    };
    1 + head_len(u64::from(message.id)) + 1 + 2 + fields
}
