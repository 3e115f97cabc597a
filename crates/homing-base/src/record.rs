//! Agent records: "the newest thing this key has said about where and who it is".
//!
//! ```text
//! COSE_Sign1, external AAD "homing agent record v1", payload = map {
//!   1 public key bstr32 | 2 instance bstr32 | 3 sequence | 4 issued ms | 5 expires ms | 6 name?
//!   7 relays [{1 url, 2 pin?, 3 quic port?}] | 8 direct [bstr 6|18] | 9 services [tstr]
//!   10 card {1 url, 2 sha256}? | 11 tags [tstr] | 12 attestation bstr32? | 13 withdrawn?
//!   14 trust floor ms? }
//! ```
//! At most 1 000 bytes signed. The record names the *instance* (endpoint key of one run), so it is
//! that instance's delegation: "until `expires`, I am at this instance". Highest sequence wins
//! everywhere; the same sequence with other bytes is equivocation and the smaller hash is served.
//! Normative: `spec/02-agent-record.md`. Not here: where records live, who may read them.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cbor::{self, CborError};
use crate::key::{IdentityKey, InstanceId, PublicKey};
use crate::limits::{
    CARD_URL_BYTES_MAX, CLOCK_SKEW_MAX, DIRECT_ADDRESSES_MAX, RECORD_BYTES_MAX,
    RECORD_LIFETIME_MAX, RELAYS_MAX, SERVICES_MAX, TAG_BYTES_MAX, TAGS_MAX,
};
use crate::name::{Name, Service};
use crate::node_id::NodeId;
use crate::relay::RelayRef;
use crate::sign1::{self, Domain};
use crate::time::{Now, Wall};

/// A sequence number. `next = max(previous + 1, unix ms)`: restarts and lost state stay monotone as
/// long as the clock is roughly right.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Seq(#[n(0)] pub u64);

impl Seq {
    /// The sequence that follows `self` when signed at `wall`.
    #[must_use]
    pub fn next(self, wall: Wall) -> Seq {
        Seq(self.0.saturating_add(1).max(wall.0))
    }
}

/// The content of a record; sign it with [`AgentRecord::sign`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AgentRecord {
    /// The identity that speaks.
    #[n(1)]
    pub public_key: PublicKey,
    /// The endpoint key at which it is reached until `expires`.
    #[n(2)]
    pub instance: InstanceId,
    /// Newest wins.
    #[n(3)]
    pub sequence: Seq,
    /// When it was signed, by the signer's clock.
    #[n(4)]
    pub issued: Wall,
    /// When it stops being true; at most 24 h after `issued`.
    #[n(5)]
    pub expires: Wall,
    /// The name it claims.
    #[n(6)]
    pub name: Option<Name>,
    /// Relays at which it is reachable, home relay first.
    #[n(7)]
    pub relays: Vec<RelayRef>,
    /// Public direct addresses; empty unless the node serves the public or has no relay.
    #[cbor(n(8), encode_with = "encode_direct", decode_with = "decode_direct")]
    pub direct: Vec<SocketAddr>,
    /// Named services it offers, as a hint.
    #[n(9)]
    pub services: Vec<Service>,
    /// Its agent card.
    #[n(10)]
    pub card: Option<CardRef>,
    /// Free words for discovery.
    #[n(11)]
    pub tags: Vec<String>,
    /// Digest of attestation evidence for this instance.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub attestation: Option<[u8; 32]>,
    /// A tombstone: the identity is gone until it says otherwise.
    #[n(13)]
    pub withdrawn: Option<bool>,
    /// Trust statements of this identity issued before this time are void unless it still holds
    /// them itself; rises with every revocation, so that a restored key restores no revoked peer.
    #[n(14)]
    pub trust_floor: Option<Wall>,
}

/// Where an agent card is and what it must hash to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CardRef {
    /// HTTPS URL or path.
    #[n(1)]
    pub url: String,
    /// SHA-256 of the card's bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

impl AgentRecord {
    /// A record with only the mandatory fields, living the longest it may.
    #[must_use]
    pub fn new(public_key: PublicKey, instance: InstanceId, sequence: Seq, wall: Wall) -> Self {
        Self {
            public_key,
            instance,
            sequence,
            issued: wall,
            expires: wall.after(RECORD_LIFETIME_MAX),
            name: None,
            relays: Vec::new(),
            direct: Vec::new(),
            services: Vec::new(),
            card: None,
            tags: Vec::new(),
            attestation: None,
            withdrawn: None,
            trust_floor: None,
        }
    }

    /// Signs the record.
    ///
    /// # Errors
    /// [`RecordError::Key`] when `key` is another identity's; [`RecordError::Limit`] or
    /// [`RecordError::Encoding`] when the content is out of bounds or the whole is too long.
    pub fn sign(self, key: &IdentityKey) -> Result<Record, RecordError> {
        if key.public() != self.public_key {
            return Err(RecordError::Key { expected: key.public(), got: self.public_key });
        }
        self.check_limits()?;
        let bytes = sign1::sign(key, Domain::AgentRecord, &cbor::encode(&self));
        if bytes.len() > RECORD_BYTES_MAX {
            let max = RECORD_BYTES_MAX;
            return Err(RecordError::Encoding(CborError::TooLong { len: bytes.len(), max }));
        }
        Ok(Record { node_id: self.public_key.node_id(), content: self, bytes })
    }

    fn check_limits(&self) -> Result<(), RecordError> {
        let within = |what, len: usize, max: usize| {
            if len > max { Err(RecordError::Limit { what, len, max }) } else { Ok(()) }
        };
        let printable = |what, text: &str| match text.chars().any(char::is_control) {
            true => Err(RecordError::ControlCharacter { what }),
            false => Ok(()),
        };
        within("relays", self.relays.len(), RELAYS_MAX)?;
        within("direct addresses", self.direct.len(), DIRECT_ADDRESSES_MAX)?;
        within("services", self.services.len(), SERVICES_MAX)?;
        within("tags", self.tags.len(), TAGS_MAX)?;
        for tag in &self.tags {
            within("bytes of a tag", tag.len(), TAG_BYTES_MAX)?;
            printable("a tag", tag)?;
        }
        if let Some(card) = &self.card {
            within("bytes of the card URL", card.url.len(), CARD_URL_BYTES_MAX)?;
            printable("the card URL", &card.url)?;
        }
        if let Some(relay) = self.relays.iter().find(|r| !r.is_well_formed()) {
            return Err(RecordError::Relay { url: relay.url.chars().take(128).collect() });
        }
        if self.expires.since(self.issued) > RECORD_LIFETIME_MAX || self.expires <= self.issued {
            return Err(RecordError::Lifetime { issued: self.issued, expires: self.expires });
        }
        Ok(())
    }
}

/// A record as it came: parsed, nothing believed.
#[derive(Clone, Debug)]
pub struct UnverifiedRecord {
    content: AgentRecord,
    bytes: Vec<u8>,
    signature: crate::key::Signature,
}

impl UnverifiedRecord {
    /// Parses a signed record.
    ///
    /// # Errors
    /// [`RecordError::Encoding`] when the bytes are too long or malformed, [`RecordError::Limit`]
    /// and its siblings when the content is out of bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let (payload, signature) = sign1::parse(bytes, RECORD_BYTES_MAX)?;
        let content: AgentRecord = cbor::decode(payload, RECORD_BYTES_MAX)?;
        content.check_limits()?;
        Ok(Self { content, bytes: bytes.to_vec(), signature })
    }

    /// Whose record it says it is; nothing is believed yet.
    #[must_use]
    pub fn claimed_node_id(&self) -> NodeId {
        self.content.public_key.node_id()
    }

    /// Which sequence it says it has; nothing is believed yet.
    #[must_use]
    pub fn claimed_sequence(&self) -> Seq {
        self.content.sequence
    }

    /// SHA-256 of its bytes, to recognise what was verified before.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// The only way to obtain a [`Record`] from bytes: signature and lifetime have been checked.
    ///
    /// # Errors
    /// [`RecordError::Signature`], [`RecordError::Expired`] or [`RecordError::FromTheFuture`].
    pub fn verify(self, now: Now) -> Result<Record, RecordError> {
        let record = self.verify_signature()?;
        record.check_lifetime(now)?;
        Ok(record)
    }

    /// Checks the signature but not the lifetime: for records that are evidence, not answers.
    ///
    /// # Errors
    /// [`RecordError::Signature`].
    pub fn verify_signature(self) -> Result<Record, RecordError> {
        let key = self.content.public_key;
        let (payload, _) = sign1::parse(&self.bytes, RECORD_BYTES_MAX)?;
        if !sign1::verify(&key, Domain::AgentRecord, payload, &self.signature) {
            return Err(RecordError::Signature { key });
        }
        Ok(Record { node_id: key.node_id(), content: self.content, bytes: self.bytes })
    }
}

/// A verified record, with the bytes that were signed (unknown keys included).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    node_id: NodeId,
    content: AgentRecord,
    bytes: Vec<u8>,
}

impl Record {
    /// Whose record it is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The signed bytes, at most 1 000.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the signed bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// Whether it is a tombstone.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.content.withdrawn == Some(true)
    }

    /// How long it stays true.
    #[must_use]
    pub fn life_left(&self, now: Now) -> Duration {
        self.content.expires.since(now.wall)
    }

    /// Checks that the record is neither expired nor from the future.
    ///
    /// # Errors
    /// [`RecordError::Expired`] or [`RecordError::FromTheFuture`].
    pub fn check_lifetime(&self, now: Now) -> Result<(), RecordError> {
        let AgentRecord { issued, expires, .. } = self.content;
        if expires <= now.wall {
            return Err(RecordError::Expired { expires, now: now.wall });
        }
        if issued > now.wall.after(CLOCK_SKEW_MAX) {
            return Err(RecordError::FromTheFuture { issued, now: now.wall });
        }
        Ok(())
    }

    /// Which of two records of one identity wins: higher sequence, then smaller digest.
    #[must_use]
    pub fn precedence(&self, other: &Record) -> Ordering {
        let by_sequence = self.content.sequence.cmp(&other.content.sequence);
        by_sequence.then_with(|| other.digest().cmp(&self.digest()))
    }

    /// Whether both are signed statements of one identity with one sequence but other bytes.
    #[must_use]
    pub fn equivocates(&self, other: &Record) -> bool {
        self.node_id == other.node_id
            && self.content.sequence == other.content.sequence
            && self.bytes != other.bytes
    }
}

impl std::ops::Deref for Record {
    type Target = AgentRecord;
    fn deref(&self) -> &AgentRecord {
        &self.content
    }
}

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Too long, not deterministic CBOR, or not a record.
    #[error("not an agent record: {0}")]
    Encoding(#[from] CborError),
    /// The signature is not this key's.
    #[error("the signature is not that of key {key}")]
    Signature {
        /// The key the record names.
        key: PublicKey,
    },
    /// Signed with, or speaking for, another key than expected.
    #[error("the record belongs to key {got}, not to {expected}")]
    Key {
        /// The key that was expected.
        expected: PublicKey,
        /// The key found.
        got: PublicKey,
    },
    /// No longer true.
    #[error("the record expired at {expires}, it is {now}")]
    Expired {
        /// End of its life.
        expires: Wall,
        /// The reader's clock.
        now: Wall,
    },
    /// Issued later than any honest clock allows.
    #[error("the record was issued at {issued}, it is only {now} here: one of the clocks is wrong")]
    FromTheFuture {
        /// The signer's clock.
        issued: Wall,
        /// The reader's clock.
        now: Wall,
    },
    /// Expires before it was issued, or lives longer than 24 h.
    #[error("a record lives between 1 ms and 24 h, this one from {issued} to {expires}")]
    Lifetime {
        /// Start of its life.
        issued: Wall,
        /// End of its life.
        expires: Wall,
    },
    /// Too many of something.
    #[error("{len} {what}, at most {max} are allowed")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much was found.
        len: usize,
        /// How much is allowed.
        max: usize,
    },
    /// Text that could garble a terminal.
    #[error("{what} has control characters")]
    ControlCharacter {
        /// Which text.
        what: &'static str,
    },
    /// A relay URL that is none.
    #[error("{url:?} is no relay URL")]
    Relay {
        /// The offender, cut to 128 characters.
        url: String,
    },
}

type EncodeResult<W> = Result<(), minicbor::encode::Error<<W as minicbor::encode::Write>::Error>>;

/// IP bytes ‖ port, big-endian: 6 bytes for IPv4, 18 for IPv6.
#[must_use]
pub fn socket_addr_bytes(addr: &SocketAddr) -> Vec<u8> {
    let mut bytes = match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(addr.port().to_be_bytes());
    bytes
}

/// The inverse of [`socket_addr_bytes`]; `None` unless 6 or 18 bytes long.
#[must_use]
pub fn socket_addr_from_bytes(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// `encode_with` for a list of socket addresses.
///
/// # Errors
/// Those of the writer.
pub fn encode_direct<C, W: minicbor::encode::Write>(
    addrs: &[SocketAddr],
    e: &mut minicbor::Encoder<W>,
    _: &mut C,
) -> EncodeResult<W> {
    e.array(addrs.len() as u64)?;
    for addr in addrs {
        e.bytes(&socket_addr_bytes(addr))?;
    }
    Ok(())
}

/// `decode_with` for a list of socket addresses.
///
/// # Errors
/// When an element is not 6 or 18 bytes.
pub fn decode_direct<'b, C>(
    d: &mut minicbor::Decoder<'b>,
    ctx: &mut C,
) -> Result<Vec<SocketAddr>, minicbor::decode::Error> {
    let list: Vec<ByteVec> = d.decode_with(ctx)?;
    let parsed: Option<Vec<_>> = list.iter().map(|b| socket_addr_from_bytes(b)).collect();
    parsed.ok_or_else(|| minicbor::decode::Error::message("an address has 6 or 18 bytes"))
}
