//! IPNS records: signed, sequenced, expiring pointers, byte for byte as the IPFS project specifies.
//!
//! ```text
//! record = protobuf IpnsEntry { legacy fields 1–6?, pubKey?, 8 signatureV2, 9 data }     ≤ 10 KiB
//! data   = DAG-CBOR { "TTL" ns, "Value" bytes, "Sequence", "Validity" RFC 3339 bytes, "ValidityType" 0 }
//! signatureV2 = Ed25519("ipns-signature:" ‖ data)
//! ```
//! Read: V1+V2 and V2-only records of Ed25519 names. Written: V1+V2, so that every reader of the last years
//! can follow. `signatureV1` is never believed. Which of two counts: [`IpnsRecord::precedence`]. After
//! <https://specs.ipfs.tech/ipns/ipns-record/>; normative here: `spec/17-references.md`.
//! Not here: whose reference a name is ([`crate::reference`]), where records live.

mod name;
mod protobuf;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::time::Duration;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

pub use name::{IpnsName, NameError};

use crate::key::{IdentityKey, Signature};
use crate::limits::{IPNS_BYTES_MAX, IPNS_VALUE_BYTES_MAX};
use crate::time::{Now, Wall};
use protobuf::Entry;

/// Stands before `data` in the signed bytes.
const SIGNED_HEAD: &[u8] = b"ipns-signature:";
/// The only kind of validity: an end of life.
const VALIDITY_EOL: u64 = 0;
/// Data items that a foreign record's document may nest or list.
const FIELDS_MAX: u64 = 64;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpnsContent {
    /// The content path, such as `/ipfs/bafy…`.
    pub value: Vec<u8>,
    /// Highest wins.
    pub sequence: u64,
    /// End of life, as written: RFC 3339 with up to nanoseconds.
    pub validity: String,
    /// How long a reader may keep it without asking again.
    pub ttl: Duration,
}

impl IpnsContent {
    /// End of life as a time.
    ///
    /// # Errors
    /// [`IpnsError::Validity`] when the text is no time.
    pub fn ends(&self) -> Result<Wall, IpnsError> {
        Ok(parse_validity(&self.validity)?.0)
    }

    /// Signs the content in the V1+V2 form.
    ///
    /// # Errors
    /// [`IpnsError::TooLong`], [`IpnsError::Malformed`] or [`IpnsError::Validity`] when the content is out of
    /// bounds.
    pub fn sign(self, key: &IdentityKey) -> Result<IpnsRecord, IpnsError> {
        parse_validity(&self.validity)?;
        if self.value.len() > IPNS_VALUE_BYTES_MAX {
            let (len, max) = (self.value.len(), IPNS_VALUE_BYTES_MAX);
            return Err(IpnsError::TooLong { len, max });
        }
        let ttl = self.ttl_ns();
        if self.sequence > i64::MAX as u64 {
            return Err(IpnsError::Malformed("the sequence is too high"));
        }
        let data = encode_data(&self, ttl);
        let v2 = key.sign(&[SIGNED_HEAD, &data].concat());
        let v1 = key.sign(&[&self.value, self.validity.as_bytes(), b"EOL"].concat());
        let entry = Entry {
            value: Some(&self.value),
            signature_v1: Some(&v1.0),
            validity_type: Some(VALIDITY_EOL),
            validity: Some(self.validity.as_bytes()),
            sequence: Some(self.sequence),
            ttl: Some(ttl),
            public_key: None,
            signature_v2: Some(&v2.0),
            data: Some(&data),
        };
        let bytes = entry.encode();
        let name = IpnsName::of(key.public());
        Ok(IpnsRecord { name, content: self, bytes })
    }

    fn ttl_ns(&self) -> u64 {
        u64::try_from(self.ttl.as_nanos()).map_or(i64::MAX as u64, |ns| ns.min(i64::MAX as u64))
    }
}

/// The text of a validity, nanoseconds included, as other implementations write it.
#[must_use]
pub fn validity_text(ends: Wall) -> String {
    ends.to_string().replace('Z', "000000Z")
}

/// A verified record, with the bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpnsRecord {
    name: IpnsName,
    content: IpnsContent,
    bytes: Vec<u8>,
}

impl IpnsRecord {
    /// The only way to obtain a record from bytes: size, form, signature of `name`'s key, agreement of the
    /// legacy fields, and (last) end of life are checked.
    ///
    /// # Errors
    /// [`IpnsError`], which says what is wrong.
    pub fn verify(bytes: &[u8], name: &IpnsName, now: Now) -> Result<Self, IpnsError> {
        let record = Self::verify_expired(bytes, name)?;
        let ends = record.content.ends()?;
        if ends <= now.wall {
            return Err(IpnsError::Expired { ends, now: now.wall });
        }
        Ok(record)
    }

    /// As [`IpnsRecord::verify`], but whether it has ended is the caller's to judge: for what is read back
    /// from the own store, and for telling people why.
    ///
    /// # Errors
    /// See [`IpnsRecord::verify`].
    pub fn verify_expired(bytes: &[u8], name: &IpnsName) -> Result<Self, IpnsError> {
        if bytes.len() > IPNS_BYTES_MAX {
            return Err(IpnsError::TooLong { len: bytes.len(), max: IPNS_BYTES_MAX });
        }
        let entry = Entry::parse(bytes)?;
        let full = |field: Option<&'_ [u8]>| field.is_some_and(|f| !f.is_empty());
        let (Some(signature), Some(data)) = (entry.signature_v2, entry.data) else {
            let v1 = full(entry.signature_v1);
            return Err(if v1 { IpnsError::V1Only } else { IpnsError::Unsigned });
        };
        if !full(Some(signature)) || !full(Some(data)) {
            return Err(if full(entry.signature_v1) {
                IpnsError::V1Only
            } else {
                IpnsError::Unsigned
            });
        }
        if entry.public_key.is_some_and(|key| !key.is_empty() && key != name.key_bytes()) {
            return Err(IpnsError::Key);
        }
        let signature = signature.try_into().map(Signature);
        let signature = signature.map_err(|_| IpnsError::Signature { name: *name })?;
        if !name.key().verifies(&[SIGNED_HEAD, data].concat(), &signature) {
            return Err(IpnsError::Signature { name: *name });
        }
        let (content, ttl) = decode_data(data)?;
        check_legacy(&entry, &content, ttl)?;
        parse_validity(&content.validity)?;
        Ok(Self { name: *name, content, bytes: bytes.to_vec() })
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &IpnsName {
        &self.name
    }

    /// The record as signed, at most 10 KiB.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signature over the signed document (`signatureV2`).
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        let entry = Entry::parse(&self.bytes).expect("parsed when it was verified or signed");
        entry.signature_v2.unwrap_or_default()
    }

    /// End of life.
    #[must_use]
    pub fn ends(&self) -> Wall {
        self.content.ends().expect("checked when it was verified or signed")
    }

    /// The value as text; what is not UTF-8, and control characters, are replaced.
    #[must_use]
    pub fn value_text(&self) -> String {
        let text = String::from_utf8_lossy(&self.content.value);
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    }

    /// Which of two records of one name counts: higher sequence, then later end, then larger bytes.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        let end = |r: &Self| parse_validity(&r.content.validity).unwrap_or_default();
        (self.content.sequence.cmp(&other.content.sequence))
            .then_with(|| end(self).cmp(&end(other)))
            .then_with(|| self.bytes.cmp(&other.bytes))
    }
}

impl std::ops::Deref for IpnsRecord {
    type Target = IpnsContent;
    fn deref(&self) -> &IpnsContent {
        &self.content
    }
}

/// DAG-CBOR: keys by length, then by bytes.
fn encode_data(content: &IpnsContent, ttl: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.value.len() + 96);
    let mut e = Encoder::new(&mut bytes);
    e.map(5)
        .and_then(|e| e.str("TTL")?.u64(ttl))
        .and_then(|e| e.str("Value")?.bytes(&content.value))
        .and_then(|e| e.str("Sequence")?.u64(content.sequence))
        .and_then(|e| e.str("Validity")?.bytes(content.validity.as_bytes()))
        .and_then(|e| e.str("ValidityType")?.u64(VALIDITY_EOL))
        .expect("encoding to memory cannot fail");
    bytes
}

/// The signed document; further fields of other programs are skipped. Second: the TTL in nanoseconds.
fn decode_data(data: &[u8]) -> Result<(IpnsContent, u64), IpnsError> {
    const SHAPE: IpnsError = IpnsError::Malformed("its data is no DAG-CBOR document of IPNS");
    let shape = |_| SHAPE;
    let mut d = Decoder::new(data);
    let fields = d.map().map_err(shape)?.filter(|n| *n <= FIELDS_MAX).ok_or(SHAPE)?;
    let (mut ttl, mut value, mut sequence, mut validity, mut kind) = (None, None, None, None, None);
    for _ in 0..fields {
        match d.str().map_err(shape)? {
            "TTL" => put_once(&mut ttl, d.u64().map_err(shape)?)?,
            "Value" => put_once(&mut value, d.bytes().map_err(shape)?)?,
            "Sequence" => put_once(&mut sequence, d.u64().map_err(shape)?)?,
            "Validity" => put_once(&mut validity, d.bytes().map_err(shape)?)?,
            "ValidityType" => put_once(&mut kind, d.u64().map_err(shape)?)?,
            _ => skip(&mut d)?,
        }
    }
    if d.position() != data.len() {
        return Err(SHAPE);
    }
    let (Some(ttl), Some(value), Some(sequence)) = (ttl, value, sequence) else {
        return Err(IpnsError::Malformed("its data lacks TTL, Value or Sequence"));
    };
    let (Some(validity), Some(kind)) = (validity, kind) else {
        return Err(IpnsError::Malformed("its data lacks Validity or ValidityType"));
    };
    if kind != VALIDITY_EOL {
        return Err(IpnsError::ValidityType(kind));
    }
    let validity = std::str::from_utf8(validity).map_err(|_| IpnsError::Validity)?.to_owned();
    let content =
        IpnsContent { value: value.to_vec(), sequence, validity, ttl: Duration::from_nanos(ttl) };
    Ok((content, ttl))
}

fn put_once<T>(place: &mut Option<T>, value: T) -> Result<(), IpnsError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(IpnsError::Malformed("its data has a field twice")),
    }
}

/// A foreign field: skipped, unless it is indefinite (DAG-CBOR has nothing like it).
fn skip(d: &mut Decoder<'_>) -> Result<(), IpnsError> {
    const SHAPE: IpnsError = IpnsError::Malformed("a further field of its data cannot be read");
    let indefinite = |t: Type| {
        matches!(t, Type::BytesIndef | Type::StringIndef | Type::ArrayIndef | Type::MapIndef)
    };
    if d.datatype().map_or(true, indefinite) {
        return Err(SHAPE);
    }
    d.skip().map_err(|_| SHAPE)
}

/// A record that has a value or a V1 signature must say the same in all its old fields.
fn check_legacy(entry: &Entry<'_>, content: &IpnsContent, ttl: u64) -> Result<(), IpnsError> {
    let full = |field: Option<&[u8]>| field.is_some_and(|f| !f.is_empty());
    if !full(entry.signature_v1) && !full(entry.value) {
        return Ok(());
    }
    let same = [
        ("value", entry.value.unwrap_or_default() == content.value),
        ("validity", entry.validity.unwrap_or_default() == content.validity.as_bytes()),
        ("validityType", entry.validity_type.unwrap_or_default() == VALIDITY_EOL),
        ("sequence", entry.sequence.unwrap_or_default() == content.sequence),
        ("ttl", entry.ttl.unwrap_or_default() == ttl),
    ];
    same.iter().find(|(_, same)| !same).map_or(Ok(()), |(field, _)| Err(IpnsError::Legacy(field)))
}

/// The year 10,000: RFC 3339 has four digits for a year, and so have the dates of HTTP.
const ENDS_MAX: Wall = Wall(253_402_300_800_000);

/// Milliseconds, and nanoseconds beyond them.
fn parse_validity(text: &str) -> Result<(Wall, u32), IpnsError> {
    let (head, fraction) = match text.strip_suffix('Z').ok_or(IpnsError::Validity)?.split_once('.')
    {
        Some((head, fraction)) => (head, fraction),
        None => (text.trim_end_matches('Z'), "0"),
    };
    let digits = fraction.bytes().all(|b| b.is_ascii_digit());
    if !digits || !(1..=9).contains(&fraction.len()) {
        return Err(IpnsError::Validity);
    }
    let whole: Wall = format!("{head}Z").parse().map_err(|_| IpnsError::Validity)?;
    let ns: u32 = format!("{fraction:0<9}").parse().map_err(|_| IpnsError::Validity)?;
    let ends = Wall(whole.0.saturating_add(u64::from(ns / 1_000_000)));
    if ends >= ENDS_MAX {
        return Err(IpnsError::Validity);
    }
    Ok((ends, ns % 1_000_000))
}

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IpnsError {
    /// More bytes than a record may have.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not a record.
    #[error("not an IPNS record: {0}")]
    Malformed(&'static str),
    /// Only the old signature, which covers too little.
    #[error("the record has only the old V1 signature, which is no longer accepted")]
    V1Only,
    /// No signature at all.
    #[error("the record has no signature")]
    Unsigned,
    /// It carries another key than its name's.
    #[error("the key in the record is not the name's")]
    Key,
    /// The signature is not that of the name's key.
    #[error("the signature is not that of {name}")]
    Signature {
        /// The name that was asked for.
        name: IpnsName,
    },
    /// A legacy field says something else than the signed data.
    #[error("the record's old field `{0}` differs from the signed data")]
    Legacy(&'static str),
    /// Not an end of life.
    #[error("validity type {0} is unknown, only 0 (end of life) is in use")]
    ValidityType(u64),
    /// Not a time.
    #[error("the end of life is no RFC 3339 time in UTC")]
    Validity,
    /// Its life is over.
    #[error("the record expired at {ends}, it is {now}")]
    Expired {
        /// Its end.
        ends: Wall,
        /// The reader's clock.
        now: Wall,
    },
    /// An older record than the one that is known.
    #[error("sequence {found} is older than {known}, which is known")]
    Stale {
        /// The refused one's.
        found: u64,
        /// The known one's.
        known: u64,
    },
}
