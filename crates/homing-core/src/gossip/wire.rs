//! The byte form of gossip messages: deterministic CBOR, the same rules as every mesh message.
//!
//! ```text
//! carried = [hops, bstr 1..1000]       items = bstr, 20 bytes each: prefix u64 ‖ sequence u64 ‖ mark u32
//! range   = [from, to, count, fingerprint] | [from, to, items]          (integers of bstr are big-endian)
//!
//! 1 Push [carried…]     2 Have sync items     3 Want graft bstr (8 bytes each)
//! 4 Records [carried…]  5 Prune               6 Ranges salt cut depth [range…]
//! ```
//! Normative: `spec/09-gossip.md`.

use std::sync::Arc;

use homing_base::cbor::{self, CborError};
use homing_base::limits::{MESSAGE_BYTES_MAX, RECORD_BYTES_MAX, RECORDS_PER_MESSAGE_MAX};
use homing_base::{Seq, Wall};
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

use super::limits::{ITEMS_MAX, RANGES_MAX, WANT_MAX};
use super::message::{Carried, ITEM_BYTES, Item, Message, Range, RangeBody, Ranges};
use super::value::Value;

/// A message between real nodes.
pub type RealMessage = Message<Arc<[u8]>>;
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
        match self {
            Message::Push(list) => encode_carried(e.array(2)?.u8(1)?, list),
            Message::Have { sync, items } => {
                e.array(3)?.u8(2)?.bool(*sync)?.bytes(&item_bytes(items))?.ok()
            }
            Message::Want { graft, prefixes } => {
                let bytes: Vec<u8> = prefixes.iter().flat_map(|p| p.to_be_bytes()).collect();
                e.array(3)?.u8(3)?.bool(*graft)?.bytes(&bytes)?.ok()
            }
            Message::Records(list) => encode_carried(e.array(2)?.u8(4)?, list),
            Message::Prune => e.array(1)?.u8(5)?.ok(),
            Message::Ranges(Ranges { salt, cut, depth, ranges }) => {
                e.array(5)?.u8(6)?.u64(*salt)?.u64(cut.0)?.u8(*depth)?;
                e.array(ranges.len() as u64)?;
                ranges.iter().try_for_each(|range| encode_range(e, range))
            }
        }
    }
}

fn encode_carried<W: Write>(e: &mut Encoder<W>, list: &[Carried<Arc<[u8]>>]) -> Written<W> {
    e.array(list.len() as u64)?;
    list.iter().try_for_each(|c| e.array(2)?.u8(c.hops)?.bytes(&c.wire)?.ok())
}

fn encode_range<W: Write>(e: &mut Encoder<W>, range: &Range) -> Written<W> {
    match &range.body {
        RangeBody::Summary { count, fingerprint } => {
            e.array(4)?.u64(range.from)?.u64(range.to)?.u32(*count)?.u64(*fingerprint)?.ok()
        }
        RangeBody::List(items) => {
            e.array(3)?.u64(range.from)?.u64(range.to)?.bytes(&item_bytes(items))?.ok()
        }
    }
}

fn item_bytes(items: &[Item]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(items.len() * ITEM_BYTES);
    for item in items {
        bytes.extend(item.prefix.to_be_bytes());
        bytes.extend(item.sequence.0.to_be_bytes());
        bytes.extend(item.mark.to_be_bytes());
    }
    bytes
}

impl<'b, C> Decode<'b, C> for RealMessage {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let fields = d.array()?.ok_or_else(|| DecodeError::message("definite length expected"))?;
        let number = d.u8()?;
        let (message, expected) = match number {
            1 => (Message::Push(decode_carried(d)?), 2),
            2 => (Message::Have { sync: d.bool()?, items: decode_items(d, ITEMS_MAX)? }, 3),
            3 => (Message::Want { graft: d.bool()?, prefixes: decode_prefixes(d)? }, 3),
            4 => (Message::Records(decode_carried(d)?), 2),
            5 => (Message::Prune, 1),
            6 => (Message::Ranges(decode_ranges(d)?), 5),
            _ => return Err(DecodeError::message("unknown gossip message")),
        };
        if fields == expected {
            Ok(message)
        } else {
            Err(DecodeError::message("wrong field count"))
        }
    }
}

fn bounded_array(d: &mut Decoder<'_>, max: usize) -> Result<u64, DecodeError> {
    match d.array()? {
        Some(len) if len <= max as u64 => Ok(len),
        _ => Err(DecodeError::message("list too long")),
    }
}

fn decode_carried(d: &mut Decoder<'_>) -> Result<Vec<Carried<Arc<[u8]>>>, DecodeError> {
    (0..bounded_array(d, RECORDS_PER_MESSAGE_MAX)?)
        .map(|_| {
            if d.array()? != Some(2) {
                return Err(DecodeError::message("wrong field count"));
            }
            let (hops, bytes) = (d.u8()?, d.bytes()?);
            match bytes.len() {
                1..=RECORD_BYTES_MAX => Ok(Carried { hops, wire: bytes.into() }),
                _ => Err(DecodeError::message("a record has 1 to 1000 bytes")),
            }
        })
        .collect()
}

fn decode_items(d: &mut Decoder<'_>, max: usize) -> Result<Vec<Item>, DecodeError> {
    let (items, rest) = d.bytes()?.as_chunks::<ITEM_BYTES>();
    if !rest.is_empty() || items.len() > max {
        return Err(DecodeError::message("items have 20 bytes each, and there are not so many"));
    }
    let word = |bytes: &[u8]| bytes.iter().fold(0, |n: u64, b| (n << 8) | u64::from(*b));
    let read = |b: &[u8; ITEM_BYTES]| Item {
        prefix: word(&b[..8]),
        sequence: Seq(word(&b[8..16])),
        mark: word(&b[16..]) as u32,
    };
    Ok(items.iter().map(read).collect())
}

fn decode_prefixes(d: &mut Decoder<'_>) -> Result<Vec<u64>, DecodeError> {
    let (prefixes, rest) = d.bytes()?.as_chunks::<8>();
    if !rest.is_empty() || prefixes.len() > WANT_MAX {
        return Err(DecodeError::message("prefixes have 8 bytes each, and there are not so many"));
    }
    Ok(prefixes.iter().map(|p| u64::from_be_bytes(*p)).collect())
}

fn decode_ranges(d: &mut Decoder<'_>) -> Result<Ranges, DecodeError> {
    let (salt, cut, depth) = (d.u64()?, Wall(d.u64()?), d.u8()?);
    let len = bounded_array(d, RANGES_MAX)?;
    let mut items_left = ITEMS_MAX;
    let mut ranges: Vec<Range> = Vec::new();
    for _ in 0..len {
        let range = decode_range(d, &mut items_left)?;
        if range.from > range.to || ranges.last().is_some_and(|before| before.to >= range.from) {
            return Err(DecodeError::message("ranges ascend and do not overlap"));
        }
        ranges.push(range);
    }
    Ok(Ranges { salt, cut, depth, ranges })
}

fn decode_range(d: &mut Decoder<'_>, items_left: &mut usize) -> Result<Range, DecodeError> {
    let fields = d.array()?;
    let (from, to) = (d.u64()?, d.u64()?);
    let body = match fields {
        Some(4) => RangeBody::Summary { count: d.u32()?, fingerprint: d.u64()? },
        Some(3) => {
            let items = decode_items(d, *items_left)?;
            *items_left -= items.len();
            RangeBody::List(items)
        }
        _ => return Err(DecodeError::message("a range has 3 or 4 fields")),
    };
    Ok(Range { from, to, body })
}

// ---- lengths, for accounting without encoding

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

/// Bytes of a record within a message.
pub(super) fn carried_len<V: Value>(carried: &Carried<V::Wire>) -> usize {
    1 + head_len(u64::from(carried.hops)) + bytes_len(V::wire_len(&carried.wire))
}

/// Bytes of a message.
pub(super) fn message_len<V: Value>(message: &Message<V::Wire>) -> usize {
    let carried = |list: &[Carried<V::Wire>]| {
        head_len(list.len() as u64) + list.iter().map(carried_len::<V>).sum::<usize>()
    };
    let range = |r: &Range| {
        let body = match &r.body {
            RangeBody::Summary { count, fingerprint } => {
                head_len(u64::from(*count)) + head_len(*fingerprint)
            }
            RangeBody::List(items) => bytes_len(items.len() * ITEM_BYTES),
        };
        1 + head_len(r.from) + head_len(r.to) + body
    };
    let fields = match message {
        Message::Push(list) | Message::Records(list) => carried(list),
        Message::Have { items, .. } => 1 + bytes_len(items.len() * ITEM_BYTES),
        Message::Want { prefixes, .. } => 1 + bytes_len(prefixes.len() * 8),
        Message::Prune => 0,
        Message::Ranges(Ranges { salt, cut, depth, ranges }) => {
            let head = head_len(*salt) + head_len(cut.0) + head_len(u64::from(*depth));
            head + head_len(ranges.len() as u64) + ranges.iter().map(range).sum::<usize>()
        }
    };
    2 + fields
}
