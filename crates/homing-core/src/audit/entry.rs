//! Entries: what an identity signs about an event, one leaf of the log each.
//!
//! ```text
//! COSE_Sign1, external AAD "homing audit entry v1", payload = map {
//!   1 log: SHA-256(origin) | 2 author: public key | 3 sequence: the author's entries in this log, from 0
//!   4 previous: the author's previous leaf? | 5 time ms | 6 fact [kind, {…}] }
//! ```
//! Sequence and previous leaf chain the entries of one author, so that a dropped, reordered or replayed
//! entry is found without the tree; the log's digest keeps an entry from passing for one of another log.
//! Endpoints and addresses appear as digests only, see [`endpoints_digest`]. Normative: `spec/14-audit.md`.

use data_encoding::HEXLOWER;
use homing_base::cbor::{self, CborError};
use homing_base::derived::DerivedPublic;
use homing_base::sign1::{self, Domain};
use homing_base::{AgentRecord, IdentityKey, NodeId, PublicKey, Signature, Wall};
use minicbor::{Decode, Encode, Encoder};
use serde::{Serialize, Serializer};

use super::limits::{ENTRY_BYTES_MAX, FIELD_BYTES_MAX};
use super::tree::Hash;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// The author's agent record changed.
    #[n(1)]
    Record(#[n(0)] RecordChange),
    /// A reference of the author points elsewhere.
    #[n(2)]
    Reference(#[n(0)] ReferenceUpdate),
    /// Trust between the author and a peer changed.
    #[n(3)]
    Trust(#[n(0)] TrustChange),
    /// Something about a key of the author.
    #[n(4)]
    Key(#[n(0)] KeyEvent),
    /// The author judged evidence.
    #[n(5)]
    Evidence(#[n(0)] EvidenceVerdict),
    /// The author took a role or left it.
    #[n(6)]
    Role(#[n(0)] RoleChange),
}

/// A new agent record; renewals that change nothing but times are not logged.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct RecordChange {
    /// Its sequence.
    #[n(1)]
    pub sequence: u64,
    /// [`endpoints_digest`] of the record before; `None`: the first.
    #[n(2)]
    pub old: Option<Hash>,
    /// [`endpoints_digest`] of this one.
    #[n(3)]
    pub new: Hash,
    /// SHA-256 of the signed record.
    #[n(4)]
    pub record: Hash,
    /// It is a tombstone.
    #[n(5)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<bool>,
}

/// A new version of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ReferenceUpdate {
    /// The reference's name: an IPNS name (CIDv1, base36).
    #[n(1)]
    pub name: String,
    /// The sequence of its record.
    #[n(2)]
    pub sequence: u64,
    /// The CID or path it pointed to before; `None`: the first version.
    #[n(3)]
    pub previous: Option<String>,
    /// The CID or path it points to now; empty: withdrawn.
    #[n(4)]
    pub value: String,
    /// When its owner published it, by the owner's clock.
    #[n(5)]
    pub timestamp: Wall,
    /// The record's own signature (IPNS `signatureV2`).
    #[cbor(n(6), with = "minicbor::bytes")]
    #[serde(serialize_with = "hex")]
    pub signature: Vec<u8>,
    /// SHA-256 of the whole record.
    #[n(7)]
    pub record: Hash,
}

/// A change of trust, in the words of the trust states.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct TrustChange {
    /// With whom.
    #[n(1)]
    pub peer: NodeId,
    /// The state before.
    #[n(2)]
    pub from: String,
    /// The state now.
    #[n(3)]
    pub to: String,
    /// SHA-256 of the author's newest statement about the peer.
    #[n(4)]
    pub ours: Option<Hash>,
    /// SHA-256 of the peer's newest statement about the author.
    #[n(5)]
    pub theirs: Option<Hash>,
}

/// An event of a key: `delegated`, `superseded`, `withdrawn`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct KeyEvent {
    /// What happened to it.
    #[n(1)]
    pub event: String,
    /// What it is for.
    #[n(2)]
    pub purpose: String,
    /// The key; `None` when only its digest may be told.
    #[n(3)]
    #[serde(serialize_with = "optional_text")]
    pub key: Option<DerivedPublic>,
    /// SHA-256 of the statement or instance behind it.
    #[n(4)]
    pub digest: Option<Hash>,
}

/// What the author concluded from evidence: attestation, equivocation, a forked log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct EvidenceVerdict {
    /// About whom.
    #[n(1)]
    pub subject: NodeId,
    /// What kind of evidence: `tpm2`, `record_equivocation`, `log_fork`.
    #[n(2)]
    pub evidence: String,
    /// SHA-256 of the evidence.
    #[n(3)]
    pub digest: Hash,
    /// The verdict, in one word.
    #[n(4)]
    pub verdict: String,
}

/// A role of the node: `relay`, `registry`, `dht_server`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct RoleChange {
    /// Which role.
    #[n(1)]
    pub role: String,
    /// Whether the node has it from now on.
    #[n(2)]
    pub on: bool,
}

fn hex<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&HEXLOWER.encode(bytes))
}

fn optional_text<S: Serializer>(key: &Option<DerivedPublic>, s: S) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => s.collect_str(key),
        None => s.serialize_none(),
    }
}

impl Fact {
    /// Every kind, as filters name them.
    pub const KINDS: [&str; 6] = ["record", "reference", "trust", "key", "evidence", "role"];

    /// The kind, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fact::Record(_) => Self::KINDS[0],
            Fact::Reference(_) => Self::KINDS[1],
            Fact::Trust(_) => Self::KINDS[2],
            Fact::Key(_) => Self::KINDS[3],
            Fact::Evidence(_) => Self::KINDS[4],
            Fact::Role(_) => Self::KINDS[5],
        }
    }

    /// What it is about: a node ID, a reference's name, a key's purpose or a role.
    #[must_use]
    pub fn subject(&self, author: &PublicKey) -> String {
        match self {
            Fact::Record(_) => author.node_id().to_string(),
            Fact::Reference(update) => update.name.clone(),
            Fact::Trust(change) => change.peer.to_string(),
            Fact::Key(event) => event.purpose.clone(),
            Fact::Evidence(verdict) => verdict.subject.to_string(),
            Fact::Role(change) => change.role.clone(),
        }
    }

    fn texts(&self) -> Vec<&str> {
        match self {
            Fact::Record(_) => Vec::new(),
            Fact::Reference(u) => {
                let previous = u.previous.as_deref().unwrap_or_default();
                vec![&u.name, &u.value, previous]
            }
            Fact::Trust(c) => vec![&c.from, &c.to],
            Fact::Key(e) => vec![&e.event, &e.purpose],
            Fact::Evidence(v) => vec![&v.evidence, &v.verdict],
            Fact::Role(c) => vec![&c.role],
        }
    }

    /// Checks the lengths and characters of every text and the length of the signature.
    ///
    /// # Errors
    /// [`EntryError::Text`].
    pub fn check(&self) -> Result<(), EntryError> {
        let bad = |t: &&str| t.len() > FIELD_BYTES_MAX || t.chars().any(char::is_control);
        let long = matches!(self, Fact::Reference(u) if u.signature.len() > 128);
        if long || self.texts().iter().any(bad) { Err(EntryError::Text) } else { Ok(()) }
    }
}

/// What stands for the endpoints of a record: SHA-256 over the deterministic CBOR
/// `[instance, [relay…], [direct…]]`. The instance key is 32 random bytes that only the record tells, so
/// the digest says nothing to whoever does not hold the record, and nothing new to whoever does.
#[must_use]
pub fn endpoints_digest(record: &AgentRecord) -> Hash {
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    e.array(3)
        .and_then(|e| e.encode(record.instance))
        .and_then(|e| e.encode(&record.relays))
        .expect("encoding to memory cannot fail");
    homing_base::record::encode_direct(&record.direct, &mut e, &mut ())
        .expect("encoding to memory cannot fail");
    Hash::digest(&bytes)
}

/// One entry, as its author states it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// SHA-256 of the log's origin.
    #[n(1)]
    pub log: Hash,
    /// Who states it.
    #[n(2)]
    pub author: PublicKey,
    /// How many entries of this author stand before it in this log.
    #[n(3)]
    pub sequence: u64,
    /// The leaf of the author's entry before it.
    #[n(4)]
    pub previous: Option<Hash>,
    /// When, by the author's clock; never before the author's entry before it.
    #[n(5)]
    pub time: Wall,
    /// What happened.
    #[n(6)]
    pub fact: Fact,
}

impl Entry {
    /// Signs the entry.
    ///
    /// # Errors
    /// [`EntryError::Key`] with another identity's key; [`EntryError::Text`] or
    /// [`EntryError::Encoding`] when it is out of bounds.
    pub fn sign(self, key: &IdentityKey) -> Result<SignedEntry, EntryError> {
        if key.public() != self.author {
            return Err(EntryError::Key);
        }
        self.fact.check()?;
        let bytes = sign1::sign(key, Domain::AuditEntry, &cbor::encode(&self));
        if bytes.len() > ENTRY_BYTES_MAX {
            let (len, max) = (bytes.len(), ENTRY_BYTES_MAX);
            return Err(EntryError::Encoding(CborError::TooLong { len, max }));
        }
        Ok(SignedEntry { content: self, bytes })
    }
}

/// An entry as it came: parsed, nothing believed.
#[derive(Clone, Debug)]
pub struct UnverifiedEntry {
    content: Entry,
    bytes: Vec<u8>,
    signature: Signature,
}

impl UnverifiedEntry {
    /// Parses a signed entry.
    ///
    /// # Errors
    /// [`EntryError::Encoding`] or [`EntryError::Text`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let (payload, signature) = sign1::parse(bytes, ENTRY_BYTES_MAX)?;
        let content: Entry = cbor::decode(payload, ENTRY_BYTES_MAX)?;
        content.fact.check()?;
        Ok(Self { content, bytes: bytes.to_vec(), signature })
    }

    /// The only way to obtain a [`SignedEntry`] from bytes.
    ///
    /// # Errors
    /// [`EntryError::Signature`].
    pub fn verify(self) -> Result<SignedEntry, EntryError> {
        let (payload, _) = sign1::parse(&self.bytes, ENTRY_BYTES_MAX)?;
        let author = self.content.author;
        if !sign1::verify(&author, Domain::AuditEntry, payload, &self.signature) {
            return Err(EntryError::Signature { author });
        }
        Ok(SignedEntry { content: self.content, bytes: self.bytes })
    }

    /// What it claims.
    #[must_use]
    pub fn claimed(&self) -> &Entry {
        &self.content
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A verified entry, with the bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEntry {
    content: Entry,
    bytes: Vec<u8>,
}

impl SignedEntry {
    /// The signed bytes: what the log's leaf hashes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signed bytes, and nothing else of it.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Its leaf.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        Hash::leaf(&self.bytes)
    }
}

impl std::ops::Deref for SignedEntry {
    type Target = Entry;
    fn deref(&self) -> &Entry {
        &self.content
    }
}

/// Why an entry is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Too long, not deterministic CBOR, or no entry.
    #[error("not an audit entry: {0}")]
    Encoding(#[from] CborError),
    /// A text or signature field out of bounds.
    #[error("a field is longer than {FIELD_BYTES_MAX} bytes or has control characters")]
    Text,
    /// Signed with another key than the one it names.
    #[error("the entry speaks for another key")]
    Key,
    /// The signature is not its author's.
    #[error("the signature is not that of its author {author}")]
    Signature {
        /// The author that it names.
        author: PublicKey,
    },
}
