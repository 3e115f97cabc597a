//! IPNS names: an Ed25519 public key as a CIDv1 of codec `libp2p-key` in base 36.
//!
//! ```text
//! multihash = 00 24 | 08 01 12 20 | public key 32       identity hash of PublicKey {Type Ed25519, Data}
//! name      = "k" base36(01 72 multihash) = k51…        routing key = "/ipns/" multihash
//! ```
//! Read in any base of CIDv1, as a bare peer ID (`12D3Koo…`), and behind `/ipns/` or `ipns://`.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::cid::{CODEC_LIBP2P_KEY, Cid, HASH_IDENTITY};
use crate::key::PublicKey;
use crate::multibase::{base36, from_base58};
use crate::node_id::NodeId;

/// `PublicKey` protobuf of an Ed25519 key, up to the key.
const KEY_HEAD: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The name of a mutable reference: its public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpnsName(PublicKey);

impl IpnsName {
    /// The name that this key owns.
    #[must_use]
    pub fn of(key: PublicKey) -> Self {
        Self(key)
    }

    /// The key that signs for the name.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.0
    }

    /// The serialised public key, as in the `pubKey` field of a record.
    #[must_use]
    pub fn key_bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&KEY_HEAD);
        bytes[4..].copy_from_slice(&self.0.0);
        bytes
    }

    /// Where the record is stored by others: `/ipns/` and the binary name.
    #[must_use]
    pub fn routing_key(&self) -> Vec<u8> {
        [b"/ipns/".as_slice(), &[0x00, 0x24], &self.key_bytes()].concat()
    }

    /// Its position in the ID space: SHA-256 of the routing key.
    #[must_use]
    pub fn point(&self) -> NodeId {
        NodeId(Sha256::digest(self.routing_key()).into())
    }

    fn of_cid(cid: &Cid) -> Result<Self, NameError> {
        if cid.codec() != CODEC_LIBP2P_KEY {
            return Err(NameError::Codec(cid.codec()));
        }
        Self::of_hash(cid.function(), cid.digest())
    }

    fn of_hash(function: u64, digest: &[u8]) -> Result<Self, NameError> {
        if function != HASH_IDENTITY {
            return Err(NameError::Hashed);
        }
        let key = digest.strip_prefix(&KEY_HEAD).ok_or(NameError::Algorithm)?;
        let key = key.try_into().map_err(|_| NameError::Algorithm)?;
        Ok(Self(PublicKey(key)))
    }
}

impl fmt::Display for IpnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [[0x01, 0x72, 0x00, 0x24].as_slice(), &self.key_bytes()].concat();
        f.pad(&base36(&bytes))
    }
}

impl fmt::Debug for IpnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpnsName({self})")
    }
}

impl FromStr for IpnsName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bare = text.strip_prefix("/ipns/").or_else(|| text.strip_prefix("ipns://"));
        let bare = bare.unwrap_or(text);
        if bare.starts_with("12D3Koo") {
            let bytes = from_base58(bare).ok_or(NameError::Text)?;
            let digest = bytes.strip_prefix(&[0x00, 0x24]).ok_or(NameError::Text)?;
            return Self::of_hash(HASH_IDENTITY, digest);
        }
        let cid: Cid = bare.parse().map_err(|_| NameError::Text)?;
        if bare.starts_with("Qm") { Err(NameError::Hashed) } else { Self::of_cid(&cid) }
    }
}

impl serde::Serialize for IpnsName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Text that is no IPNS name of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an identifier at all.
    #[error("an IPNS name is a CIDv1 in base 36: k51…")]
    Text,
    /// An identifier of something else.
    #[error("this identifier has codec {0:#x}, an IPNS name has 0x72 (libp2p-key)")]
    Codec(u64),
    /// A name whose key is not inside it (RSA).
    #[error("only names that contain their key are read (Ed25519); this one contains a hash")]
    Hashed,
    /// Another algorithm.
    #[error("only Ed25519 keys are read")]
    Algorithm,
}
