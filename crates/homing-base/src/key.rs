//! Keys: the identity's Ed25519 pair, public keys, instance ids and signatures.
//!
//! Two kinds of public key never mix: [`PublicKey`] says *who* (the identity), [`InstanceId`] says
//! *where* (one run of a node). Verification is strict (RFC 8032 §5.1.7 plus rejection of
//! small-order keys), so that one signature is valid everywhere or nowhere.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};

use crate::node_id::NodeId;

/// The secret half of an identity: an Ed25519 key. Zeroed on drop, never printed.
#[derive(Clone)]
pub struct IdentityKey(SigningKey);

impl IdentityKey {
    /// The key of a 32-byte secret seed (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The secret seed, for writing `identity.json`. Handle with care.
    #[must_use]
    pub fn to_secret_seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The node ID that this key owns.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.public().node_id()
    }

    /// Signs `message`. Callers pass domain-separated bytes only, see [`crate::sign1`].
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({}, secret hidden)", self.node_id().fmt_short())
    }
}

macro_rules! key_bytes {
    ($(#[$doc:meta])* $name:ident, $error:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &HEXLOWER.encode(&self.0[..5]))
            }
        }

        impl FromStr for $name {
            type Err = KeyParseError;
            fn from_str(text: &str) -> Result<Self, KeyParseError> {
                parse_hex_32(text).map(Self).ok_or(KeyParseError($error))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

key_bytes!(
    /// The public half of an identity: 32 bytes of Ed25519 (RFC 8032). Text: 64 lowercase hex.
    PublicKey,
    "a public key is 64 hexadecimal digits"
);
key_bytes!(
    /// The endpoint key of one run of a node ("instance"): drawn at each start, never stored.
    InstanceId,
    "an instance id is 64 hexadecimal digits"
);

impl PublicKey {
    /// The node ID of this key: SHA-256 of its 32 bytes.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::of(self)
    }

    /// Whether `signature` over `message` is this key's, by the strict rule.
    pub(crate) fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    }
}

/// Text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyParseError(&'static str);

/// An Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", HEXLOWER.encode(&self.0[..5]))
    }
}

/// Exactly 64 hexadecimal digits, either case, to 32 bytes.
pub(crate) fn parse_hex_32(text: &str) -> Option<[u8; 32]> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}
