//! Keys derived from an identity for one purpose each: an audit log, a cosigner, a reference.
//!
//! ```text
//! seed = HKDF-SHA-256(ikm: identity's seed, salt: "homing derived key v1", info: purpose)   → Ed25519
//! ```
//! Whoever has the identity has them all, on any machine; nobody gets from one of them to the identity
//! or to another. A derived key signs bytes of foreign formats (signed notes, IPNS), which the identity's
//! own key never does. That it speaks for the identity is said by a [`Delegation`]: COSE_Sign1, external
//! AAD "homing key delegation v1", payload `{1 identity, 2 purpose, 3 key, 4 name, 5 issued ms}`.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use minicbor::{Decode, Encode};
use sha2::Sha256;

use crate::cbor::{self, CborError};
use crate::key::{IdentityKey, PublicKey, Signature};
use crate::sign1::{self, Domain};
use crate::time::Wall;

/// The longest purpose and the longest name of a delegation, in bytes.
pub const PURPOSE_BYTES_MAX: usize = 256;
/// A signed delegation, whole.
pub const DELEGATION_BYTES_MAX: usize = 1_000;

/// The secret half of a derived Ed25519 key. Zeroed on drop, never printed.
#[derive(Clone)]
pub struct DerivedKey(SigningKey);

impl DerivedKey {
    /// The public half.
    #[must_use]
    pub fn public(&self) -> DerivedPublic {
        DerivedPublic(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` as it is. The format must separate its own domains.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// The key of a 32-byte secret seed (RFC 8032 §5.1.5): published test vectors.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DerivedKey({:?}, secret hidden)", self.public())
    }
}

/// The public half of a derived key: 32 bytes of Ed25519.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct DerivedPublic(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl DerivedPublic {
    /// Whether `signature` over `message` is this key's, by the strict rule.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    }
}

impl fmt::Display for DerivedPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for DerivedPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DerivedPublic({})", data_encoding::HEXLOWER.encode(&self.0[..5]))
    }
}

impl IdentityKey {
    /// The key of this identity for `purpose`: the same on every machine that holds the identity.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> DerivedKey {
        let ikm = zeroize::Zeroizing::new(self.to_secret_seed());
        let hkdf = Hkdf::<Sha256>::new(Some(b"homing derived key v1"), ikm.as_slice());
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        hkdf.expand(purpose.as_bytes(), seed.as_mut_slice())
            .expect("32 bytes are within HKDF's limit");
        DerivedKey(SigningKey::from_bytes(&seed))
    }

    /// A statement that `key` speaks for this identity as `name`, for `purpose`.
    #[must_use]
    pub fn delegate(
        &self,
        key: DerivedPublic,
        purpose: &str,
        name: &str,
        issued: Wall,
    ) -> Delegation {
        let content = DelegationContent {
            identity: self.public(),
            purpose: purpose.into(),
            key,
            name: name.into(),
            issued,
        };
        let bytes = sign1::sign(self, Domain::KeyDelegation, &cbor::encode(&content));
        Delegation { content, bytes }
    }
}

/// What a delegation says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DelegationContent {
    /// Who says it.
    #[n(1)]
    pub identity: PublicKey,
    /// What the key is for: `audit log`, `audit cosigner`.
    #[n(2)]
    pub purpose: String,
    /// The key.
    #[n(3)]
    pub key: DerivedPublic,
    /// What the key calls itself: the origin of a log, the name of a cosigner.
    #[n(4)]
    pub name: String,
    /// When it was signed, by the signer's clock.
    #[n(5)]
    pub issued: Wall,
}

/// A verified delegation, with the bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    content: DelegationContent,
    bytes: Vec<u8>,
}

impl Delegation {
    /// Reads and verifies a signed delegation.
    ///
    /// # Errors
    /// [`DelegationError`].
    pub fn verify(bytes: &[u8]) -> Result<Self, DelegationError> {
        let (payload, signature) = sign1::parse(bytes, DELEGATION_BYTES_MAX)?;
        let content: DelegationContent = cbor::decode(payload, DELEGATION_BYTES_MAX)?;
        if content.purpose.len() > PURPOSE_BYTES_MAX || content.name.len() > PURPOSE_BYTES_MAX {
            return Err(DelegationError::TooLong);
        }
        if !sign1::verify(&content.identity, Domain::KeyDelegation, payload, &signature) {
            return Err(DelegationError::Signature { key: content.identity });
        }
        Ok(Self { content, bytes: bytes.to_vec() })
    }

    /// The signed bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::Deref for Delegation {
    type Target = DelegationContent;
    fn deref(&self) -> &DelegationContent {
        &self.content
    }
}

/// Why a delegation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DelegationError {
    /// Too long, not deterministic CBOR, or no delegation.
    #[error("not a key delegation: {0}")]
    Encoding(#[from] CborError),
    /// A purpose or a name out of bounds.
    #[error("the purpose or the name of a delegation is longer than {PURPOSE_BYTES_MAX} bytes")]
    TooLong,
    /// The signature is not this identity's.
    #[error("the delegation is not signed by the identity {key} that it names")]
    Signature {
        /// The identity that it names.
        key: PublicKey,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_purpose_one_key() {
        let identity = IdentityKey::from_seed([7; 32]);
        let log = identity.derive("audit log");
        assert_eq!(log.public(), identity.derive("audit log").public());
        assert_ne!(log.public(), identity.derive("audit cosigner").public());
        assert_ne!(log.public().0, identity.public().0);
        assert!(log.public().verifies(b"text", &log.sign(b"text")));
        assert!(!log.public().verifies(b"texT", &log.sign(b"text")));
    }

    #[test]
    fn a_delegation_says_who_and_cannot_be_changed() {
        let identity = IdentityKey::from_seed([7; 32]);
        let key = identity.derive("audit log").public();
        let signed = identity.delegate(key, "audit log", "homing.audit/x", Wall(5));
        assert_eq!(Delegation::verify(signed.bytes()).unwrap(), signed);
        for at in 0..signed.bytes().len() {
            let mut bytes = signed.bytes().to_vec();
            bytes[at] ^= 1;
            assert!(Delegation::verify(&bytes).is_err(), "byte {at} was flipped");
        }
    }
}
