//! Node IDs: SHA-256 of an identity's public key. DHT position and trust key in one.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::key::{PublicKey, parse_hex_32};

/// 32 bytes; text form 64 lowercase hex digits, short form the first 10.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl NodeId {
    /// The node ID of a public key.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self(Sha256::digest(key.0).into())
    }

    /// The point in ID space of something that is no key, such as a name: SHA-256 of
    /// `domain ‖ 0 ‖ bytes`.
    #[must_use]
    pub fn derived(domain: &str, bytes: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(domain).chain_update([0]).chain_update(bytes);
        Self(hash.finalize().into())
    }

    /// The first 10 hex digits, for logs and tables.
    #[must_use]
    pub fn fmt_short(&self) -> String {
        HEXLOWER.encode(&self.0[..5])
    }
}

/// By bytes, eight at a time: tables keyed by IDs are walked all day.
impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        let word = |id: &Self, at: usize| {
            u64::from_be_bytes(id.0[at..at + 8].try_into().expect("eight of 32 bytes"))
        };
        let mut words = [0, 8, 16, 24].into_iter().map(|at| word(self, at).cmp(&word(other, at)));
        words.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.fmt_short())
    }
}

impl FromStr for NodeId {
    type Err = NodeIdParseError;

    fn from_str(text: &str) -> Result<Self, NodeIdParseError> {
        parse_hex_32(text).map(Self).ok_or(NodeIdParseError { chars: text.chars().count() })
    }
}

impl serde::Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for NodeId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Text that is no node ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node ID is 64 hexadecimal digits, this has {chars} characters")]
pub struct NodeIdParseError {
    /// Characters found.
    pub chars: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_of_their_bytes() {
        let ids: Vec<NodeId> = (0..32_u8)
            .flat_map(|at| [1, 0x7f, 0x80, 0xff].map(|byte| (usize::from(at), byte)))
            .map(|(at, byte)| {
                let mut id = [0x80; 32];
                id[at] = byte;
                NodeId(id)
            })
            .collect();
        for (a, b) in ids.iter().flat_map(|a| ids.iter().map(move |b| (a, b))) {
            assert_eq!(a.cmp(b), a.0.cmp(&b.0), "{a} {b}");
        }
    }
}
