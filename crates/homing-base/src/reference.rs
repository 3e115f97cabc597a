//! References: named pointers of an identity, each an IPNS name with a key of its own.
//!
//! ```text
//! secret seed = HKDF-SHA-256(ikm: identity's seed, salt: "homing reference key v1",
//!                            info: name ‖ 00 ‖ generation u32 BE)                         → Ed25519
//! binding     = COSE_Sign1 by the identity, external AAD "homing reference binding v1", map {
//!               1 owner: public key | 2 name tstr | 3 IPNS key | 4 sequence | 5 issued ms | 6 withdrawn? }
//! reference   = map { 1 IPNS key bstr 32 | 2 IPNS record bstr | 3 binding bstr? }           ≤ 10,752 B
//! ```
//! A binding says "this IPNS name is my reference NAME", so that a peer can find `agent/NAME` as well as
//! `k51…`. One without a binding is a plain IPNS record. Normative: `spec/17-references.md`.
//! Not here: the records ([`crate::ipns`]), when they are signed anew, where they are kept.

use std::cmp::Ordering;
use std::str::FromStr;

use hkdf::Hkdf;
use minicbor::{Decode, Encode, Encoder};
use sha2::Sha256;

use crate::cbor::{self, CborError};
use crate::cid::Cid;
use crate::ipns::{IpnsError, IpnsName, IpnsRecord};
use crate::key::{IdentityKey, PublicKey, Signature};
use crate::limits::{
    BINDING_BYTES_MAX, CLOCK_SKEW_MAX, IPNS_BYTES_MAX, IPNS_VALUE_BYTES_MAX, REFERENCE_BYTES_MAX,
    REFERENCE_LIFETIME_MAX, REFERENCE_NAME_BYTES_MAX,
};
use crate::name::text_form;
use crate::node_id::NodeId;
use crate::record::Seq;
use crate::sign1::{self, Domain};
use crate::time::{Now, Wall};

/// What a withdrawn reference points to: the empty file.
pub const EMPTY_PATH: &str = "/ipfs/bafkqaaa";

/// What an owner calls a reference: words of a–z, 0–9, `.`, `_` and `-`, with `/` between them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferenceName(String);

text_form!(ReferenceName);

impl ReferenceName {
    /// The key of this reference: derived, so that the identity is the only secret to keep. A generation
    /// is used until the reference is withdrawn.
    #[must_use]
    pub fn derive_key(&self, identity: &IdentityKey, generation: u32) -> IdentityKey {
        let ikm = zeroize::Zeroizing::new(identity.to_secret_seed());
        let hkdf = Hkdf::<Sha256>::new(Some(b"homing reference key v1"), ikm.as_slice());
        let info = [self.0.as_bytes(), &[0], &generation.to_be_bytes()].concat();
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        hkdf.expand(&info, seed.as_mut_slice()).expect("32 bytes are within HKDF's limit");
        IdentityKey::from_seed(*seed)
    }

    /// Where `owner`'s reference of this name is found.
    #[must_use]
    pub fn point(&self, owner: &NodeId) -> NodeId {
        NodeId::derived("homing reference v1", &[&owner.0, self.0.as_bytes()].concat())
    }
}

impl FromStr for ReferenceName {
    type Err = ReferenceNameError;

    fn from_str(text: &str) -> Result<Self, ReferenceNameError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        if let Some(found) = text.chars().find(|c| !allowed(*c)) {
            return Err(ReferenceNameError::Character { found });
        }
        if !(1..=REFERENCE_NAME_BYTES_MAX).contains(&text.len()) {
            return Err(ReferenceNameError::Length { len: text.len() });
        }
        if text.split('/').any(|word| word.is_empty() || word == "." || word == "..") {
            return Err(ReferenceNameError::Word);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Text that is no name of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceNameError {
    /// Empty or too long.
    #[error("a reference's name has 1 to {REFERENCE_NAME_BYTES_MAX} characters, this has {len}")]
    Length {
        /// Characters found.
        len: usize,
    },
    /// A character that no name has.
    #[error("a reference's name has only a-z, 0-9, `.`, `_`, `-` and `/`, this has {found:?}")]
    Character {
        /// The first offender.
        found: char,
    },
    /// An empty word, or one of dots.
    #[error("between two `/` of a reference's name there is a word, not `.` or `..`")]
    Word,
}

/// The content path that a text means: a path as it is, a bare content identifier behind `/ipfs/`, a bare
/// IPNS name behind `/ipns/`.
///
/// # Errors
/// [`PathError`] when it is neither.
pub fn content_path(text: &str) -> Result<String, PathError> {
    if text.len() > IPNS_VALUE_BYTES_MAX {
        return Err(PathError::Length { len: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if let Some(rest) = text.strip_prefix("ipfs://").or_else(|| text.strip_prefix("/ipfs/")) {
        let cid = rest.split('/').next().unwrap_or_default();
        cid.parse::<Cid>().map_err(|_| PathError::Neither)?;
        return Ok(format!("/ipfs/{rest}"));
    }
    if text.starts_with('/') && text.len() > 1 {
        return Ok(text.to_owned());
    }
    if let Ok(name) = text.parse::<IpnsName>() {
        return Ok(format!("/ipns/{name}"));
    }
    let cid = text.parse::<Cid>().map_err(|_| PathError::Neither)?;
    Ok(format!("/ipfs/{cid}"))
}

/// Text that no reference can point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Too long.
    #[error("a value has at most {IPNS_VALUE_BYTES_MAX} bytes, this has {len}")]
    Length {
        /// Bytes found.
        len: usize,
    },
    /// It could garble a terminal.
    #[error("a value has no control characters")]
    Control,
    /// Neither an identifier nor a path.
    #[error("a value is a CID (bafy…, Qm…), an IPNS name (k51…) or a path that begins with `/`")]
    Neither,
}

/// The content of a binding; sign it with [`Binding::sign`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Binding {
    /// Whose reference.
    #[n(1)]
    pub owner: PublicKey,
    /// What the owner calls it.
    #[n(2)]
    pub name: ReferenceName,
    /// The key of its IPNS name.
    #[n(3)]
    pub key: PublicKey,
    /// Highest wins, per owner and name.
    #[n(4)]
    pub sequence: Seq,
    /// When it was signed, by the signer's clock.
    #[n(5)]
    pub issued: Wall,
    /// `Some(true)`: the reference is withdrawn for good.
    #[n(6)]
    pub withdrawn: Option<bool>,
}

impl Binding {
    /// Signs the binding.
    ///
    /// # Panics
    /// When `key` is another identity's.
    #[must_use]
    pub fn sign(self, key: &IdentityKey) -> SignedBinding {
        assert_eq!(key.public(), self.owner, "a binding is signed by its owner");
        let bytes = sign1::sign(key, Domain::ReferenceBinding, &cbor::encode(&self));
        SignedBinding { content: self, bytes }
    }
}

/// A verified binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBinding {
    content: Binding,
    bytes: Vec<u8>,
}

impl SignedBinding {
    /// The only way to obtain a binding from bytes.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn verify(bytes: &[u8], now: Now) -> Result<Self, ReferenceError> {
        let (payload, signature): (_, Signature) = sign1::parse(bytes, BINDING_BYTES_MAX)?;
        let content: Binding = cbor::decode(payload, BINDING_BYTES_MAX)?;
        if !sign1::verify(&content.owner, Domain::ReferenceBinding, payload, &signature) {
            return Err(ReferenceError::Binding);
        }
        if content.issued > now.wall.after(CLOCK_SKEW_MAX) {
            return Err(ReferenceError::FromTheFuture { issued: content.issued, now: now.wall });
        }
        Ok(Self { content, bytes: bytes.to_vec() })
    }

    /// The signed bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::Deref for SignedBinding {
    type Target = Binding;
    fn deref(&self) -> &Binding {
        &self.content
    }
}

/// A reference as it is stored and passed on: verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The newest pointer.
    pub record: IpnsRecord,
    /// Whose reference it is and what they call it; `None`: a plain IPNS record.
    pub binding: Option<SignedBinding>,
}

impl Reference {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let binding = self.binding.as_ref().map(|b| b.bytes());
        let mut bytes = Vec::with_capacity(self.record.bytes().len() + 320);
        let mut e = Encoder::new(&mut bytes);
        let written = e
            .map(2 + u64::from(binding.is_some()))
            .and_then(|e| e.u8(1)?.bytes(&self.record.name().key().0))
            .and_then(|e| e.u8(2)?.bytes(self.record.bytes()));
        let e = written.expect("encoding to memory cannot fail");
        if let Some(binding) = binding {
            e.u8(3).and_then(|e| e.bytes(binding)).expect("encoding to memory cannot fail");
        }
        bytes
    }

    /// The only way to obtain a reference from bytes: both signatures, their agreement and the end of life
    /// are checked.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn verify(bytes: &[u8], now: Now) -> Result<Self, ReferenceError> {
        let reference = Self::verify_expired(bytes, now)?;
        let ends = reference.record.ends();
        if ends <= now.wall {
            return Err(IpnsError::Expired { ends, now: now.wall }.into());
        }
        let last = now.wall.after(REFERENCE_LIFETIME_MAX).after(CLOCK_SKEW_MAX);
        if reference.binding.is_some() && ends > last {
            return Err(ReferenceError::TooLong { ends });
        }
        Ok(reference)
    }

    /// As [`Reference::verify`], but it may have ended: for what is read back from the own store.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn verify_expired(bytes: &[u8], now: Now) -> Result<Self, ReferenceError> {
        let parts: Parts<'_> = cbor::decode(bytes, REFERENCE_BYTES_MAX)?;
        if parts.record.len() > IPNS_BYTES_MAX {
            return Err(IpnsError::TooLong { len: parts.record.len(), max: IPNS_BYTES_MAX }.into());
        }
        let record = IpnsRecord::verify_expired(parts.record, &IpnsName::of(parts.key))?;
        let binding = parts.binding.map(|b| SignedBinding::verify(b, now)).transpose()?;
        if binding.as_ref().is_some_and(|b| b.key != parts.key) {
            return Err(ReferenceError::OtherName);
        }
        Ok(Self { record, binding })
    }

    /// The same pointer without the word about whose it is.
    #[must_use]
    pub fn unbound(&self) -> Self {
        Self { record: self.record.clone(), binding: None }
    }

    /// The owner and the name, if it is bound.
    #[must_use]
    pub fn owner(&self) -> Option<(NodeId, &ReferenceName)> {
        self.binding.as_ref().map(|b| (b.owner.node_id(), &b.name))
    }

    /// Where it is found: by owner and name when bound, else by its IPNS name.
    #[must_use]
    pub fn point(&self) -> NodeId {
        match self.owner() {
            Some((owner, name)) => name.point(&owner),
            None => self.record.name().point(),
        }
    }

    /// Who signs for its place: the owner when bound, else the IPNS key.
    #[must_use]
    pub fn signer(&self) -> NodeId {
        let owner = self.binding.as_ref().map(|b| b.owner);
        owner.unwrap_or(self.record.name().key()).node_id()
    }

    /// Whether its owner has withdrawn it.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.binding.as_ref().is_some_and(|b| b.withdrawn == Some(true))
    }

    /// Which of two at one place counts: the newer binding, then the newer record.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        let bound = |r: &Self| r.binding.as_ref().map(|b| b.sequence);
        (bound(self).cmp(&bound(other))).then_with(|| self.record.precedence(&other.record))
    }
}

#[derive(Decode)]
#[cbor(map)]
struct Parts<'b> {
    #[n(1)]
    key: PublicKey,
    #[cbor(n(2), with = "minicbor::bytes")]
    record: &'b [u8],
    #[cbor(n(3), with = "minicbor::bytes")]
    binding: Option<&'b [u8]>,
}

/// Why a reference is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Too long, not deterministic CBOR, or not a reference.
    #[error("not a reference: {0}")]
    Encoding(#[from] CborError),
    /// The record is not acceptable.
    #[error(transparent)]
    Record(#[from] IpnsError),
    /// The binding is not signed by its owner.
    #[error("the owner's word about its name is not signed by the owner")]
    Binding,
    /// The binding is about another IPNS name.
    #[error("the owner's word is about another IPNS name")]
    OtherName,
    /// It would live longer than [`REFERENCE_LIFETIME_MAX`].
    #[error("it ends at {ends}: a reference lives 366 days at most")]
    TooLong {
        /// When it would end.
        ends: Wall,
    },
    /// Issued later than any honest clock allows.
    #[error("it was signed at {issued}, it is only {now} here: one of the clocks is wrong")]
    FromTheFuture {
        /// The signer's clock.
        issued: Wall,
        /// The reader's clock.
        now: Wall,
    },
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ipns::{IpnsContent, validity_text};
    use proptest::prelude::*;

    fn at(ms: u64) -> Now {
        Now { mono: Default::default(), wall: Wall(ms) }
    }

    fn identity() -> IdentityKey {
        IdentityKey::from_seed([1; 32])
    }

    fn reference(name: &str, sequence: u64) -> Reference {
        let name: ReferenceName = name.parse().unwrap();
        let key = name.derive_key(&identity(), 0);
        let record = IpnsContent {
            value: EMPTY_PATH.into(),
            sequence,
            validity: validity_text(Wall(10_000)),
            ttl: Duration::from_secs(300),
        };
        let binding = Binding {
            owner: identity().public(),
            name,
            key: key.public(),
            sequence: Seq(1),
            issued: Wall(0),
            withdrawn: None,
        };
        Reference { record: record.sign(&key).unwrap(), binding: Some(binding.sign(&identity())) }
    }

    #[test]
    fn each_name_and_generation_has_a_key_of_its_own() {
        let name = |text: &str| text.parse::<ReferenceName>().unwrap();
        let key = |text: &str, generation| name(text).derive_key(&identity(), generation).public();
        assert_eq!(key("a/b", 0), key("a/b", 0));
        assert_ne!(key("a/b", 0), key("a/c", 0));
        assert_ne!(key("a/b", 0), key("a/b", 1));
        assert_ne!(key("a/b", 0), identity().public());
    }

    #[test]
    fn a_bound_reference_that_would_live_for_centuries_is_refused() {
        let Reference { record, binding } = reference("a", 3);
        let key = "a".parse::<ReferenceName>().unwrap().derive_key(&identity(), 0);
        let ends = Wall(0).after(400 * REFERENCE_LIFETIME_MAX);
        let content = IpnsContent { validity: validity_text(ends), ..(*record).clone() };
        let reference = Reference { record: content.sign(&key).unwrap(), binding };
        let refused = Reference::verify(&reference.to_bytes(), at(5_000));
        assert!(matches!(refused, Err(ReferenceError::TooLong { .. })), "{refused:?}");
        // Nobody's binding: how long such a record lives is its signer's business alone.
        let plain = reference.unbound();
        assert_eq!(Reference::verify(&plain.to_bytes(), at(5_000)), Ok(plain));
    }

    #[test]
    fn a_reference_reads_back_and_an_ended_one_is_refused() {
        let reference = reference("planner/checkpoint", 3);
        let bytes = reference.to_bytes();
        assert_eq!(Reference::verify(&bytes, at(5_000)), Ok(reference.clone()));
        let ended = Reference::verify(&bytes, at(10_000));
        assert!(
            matches!(ended, Err(ReferenceError::Record(IpnsError::Expired { .. }))),
            "{ended:?}"
        );
        assert_eq!(Reference::verify_expired(&bytes, at(10_000)), Ok(reference));
    }

    #[test]
    fn a_binding_of_another_name_or_another_hand_is_refused() {
        let (a, b) = (reference("a", 1), reference("b", 1));
        let mixed = Reference { record: a.record.clone(), binding: b.binding };
        assert_eq!(Reference::verify(&mixed.to_bytes(), at(1)), Err(ReferenceError::OtherName));
        let mut bytes = a.to_bytes();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(Reference::verify(&bytes, at(1)), Err(ReferenceError::Binding));
    }

    #[test]
    fn values_are_identifiers_names_or_paths() {
        assert_eq!(content_path("bafkqaaa").unwrap(), "/ipfs/bafkqaaa");
        assert_eq!(content_path("ipfs://bafkqaaa/x").unwrap(), "/ipfs/bafkqaaa/x");
        assert_eq!(content_path("/models/7").unwrap(), "/models/7");
        let name = IpnsName::of(identity().public());
        assert_eq!(content_path(&name.to_string()).unwrap(), format!("/ipns/{name}"));
        for bad in ["", "/", "hello", "/ipfs/nothing", "a\nb"] {
            assert!(content_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_words_with_slashes_between() {
        for good in ["checkpoint", "planner/checkpoint", "a.b_c-1/2"] {
            assert_eq!(good.parse::<ReferenceName>().unwrap().to_string(), good);
        }
        for bad in ["", "/a", "a/", "a//b", "A", "a b", "../a", &"a".repeat(65)] {
            assert!(bad.parse::<ReferenceName>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_flipped_byte_is_believed(at_byte in 0_usize..700, bit in 0_u8..8) {
            let bytes = reference("planner/checkpoint", 3).to_bytes();
            let mut flipped = bytes.clone();
            let at_byte = at_byte % bytes.len();
            flipped[at_byte] ^= 1 << bit;
            // The V1 signature is carried along, never believed: flipping it changes nothing signed.
            if let Ok(read) = Reference::verify(&flipped, at(1)) {
                let original = reference("planner/checkpoint", 3);
                prop_assert_eq!(&*read.record, &*original.record);
                // A key that nobody knows hides the binding: what is left is a plain IPNS record.
                prop_assert!(read.binding.is_none() || read.binding == original.binding);
            }
        }
    }
}
