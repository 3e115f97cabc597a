//! Content identifiers: what a reference points to, and the text form of an IPNS name.
//!
//! ```text
//! CIDv1 = varint 1 | varint codec | multihash            CIDv0 = multihash of SHA-256, base 58
//! multihash = varint function | varint length | digest
//! ```
//! After the CID and multihash specifications of the multiformats project. Only the form is checked here,
//! never whether content exists; unknown codecs and functions are carried along.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::multibase::{base32, base58, from_base58, from_multibase};

/// Bytes as they are.
pub const CODEC_RAW: u64 = 0x55;
/// A UnixFS or other MerkleDAG node.
pub const CODEC_DAG_PB: u64 = 0x70;
/// A libp2p public key: an IPNS name.
pub const CODEC_LIBP2P_KEY: u64 = 0x72;
/// No hash at all: the digest is the content.
pub const HASH_IDENTITY: u64 = 0x00;
/// SHA-256.
pub const HASH_SHA2_256: u64 = 0x12;
/// BLAKE3, 32 bytes.
pub const HASH_BLAKE3: u64 = 0x1e;
/// Longest digest that is accepted.
pub const DIGEST_BYTES_MAX: usize = 128;

/// A content identifier.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    version: u8,
    codec: u64,
    function: u64,
    digest: Vec<u8>,
}

impl Cid {
    /// A version 1 identifier.
    ///
    /// # Errors
    /// [`CidError`] when the digest is longer than [`DIGEST_BYTES_MAX`].
    pub fn v1(codec: u64, function: u64, digest: &[u8]) -> Result<Self, CidError> {
        if digest.len() > DIGEST_BYTES_MAX {
            return Err(CidError("the digest is too long"));
        }
        Ok(Self { version: 1, codec, function, digest: digest.to_vec() })
    }

    /// The identifier of raw bytes by their BLAKE3 hash.
    #[must_use]
    pub fn blake3(hash: [u8; 32]) -> Self {
        Self { version: 1, codec: CODEC_RAW, function: HASH_BLAKE3, digest: hash.to_vec() }
    }

    /// The identifier of raw bytes by their SHA-256 hash.
    #[must_use]
    pub fn sha256_of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes).to_vec();
        Self { version: 1, codec: CODEC_RAW, function: HASH_SHA2_256, digest }
    }

    /// What kind of content: see the `CODEC_` constants.
    #[must_use]
    pub fn codec(&self) -> u64 {
        self.codec
    }

    /// The hash function: see the `HASH_` constants.
    #[must_use]
    pub fn function(&self) -> u64 {
        self.function
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The binary form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.digest.len() + 8);
        if self.version == 1 {
            put_varint(&mut bytes, 1);
            put_varint(&mut bytes, self.codec);
        }
        put_varint(&mut bytes, self.function);
        put_varint(&mut bytes, self.digest.len() as u64);
        bytes.extend_from_slice(&self.digest);
        bytes
    }

    /// Reads the binary form of version 0 or 1.
    ///
    /// # Errors
    /// [`CidError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        if let [0x12, 0x20, digest @ ..] = bytes
            && digest.len() == 32
        {
            let (codec, function) = (CODEC_DAG_PB, HASH_SHA2_256);
            return Ok(Self { version: 0, codec, function, digest: digest.to_vec() });
        }
        let (version, rest) = varint(bytes).ok_or(CidError("it ends too early"))?;
        if version != 1 {
            return Err(CidError("its version is neither 0 nor 1"));
        }
        let (codec, rest) = varint(rest).ok_or(CidError("it ends too early"))?;
        let (function, rest) = varint(rest).ok_or(CidError("it ends too early"))?;
        let (len, digest) = varint(rest).ok_or(CidError("it ends too early"))?;
        if len != digest.len() as u64 {
            return Err(CidError("its digest has another length than it says"));
        }
        Self::v1(codec, function, digest)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        f.pad(&if self.version == 0 { base58(&bytes) } else { base32(&bytes) })
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        let v0 = text.len() == 46 && text.starts_with("Qm");
        let bytes = if v0 { from_base58(text) } else { from_multibase(text) };
        Self::from_bytes(&bytes.ok_or(CidError("its base is unknown, or a digit is wrong"))?)
    }
}

/// Text or bytes that are no content identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a content identifier: {0}")]
pub struct CidError(&'static str);

pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// An unsigned LEB128 number and what follows it.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        number |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_identifiers_keep_their_text() {
        let known = [
            "bafkqaaa",
            "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
            "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        ];
        for text in known {
            assert_eq!(text.parse::<Cid>().expect(text).to_string(), text);
        }
        assert_eq!(
            Cid::sha256_of(b"").to_string(),
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        );
    }

    #[test]
    fn what_is_no_identifier_says_why() {
        for text in ["", "b", "hello", "bafkq", "Qmshort", "bafybeigdyrzt5sfp7udm7hu76uh7y26n"] {
            assert!(text.parse::<Cid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(cid) = Cid::from_bytes(&bytes) {
                prop_assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
            }
        }
    }
}
