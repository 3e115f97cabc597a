//! Addresses: `fd` ‖ first 15 bytes of the node ID, written as an IPv6 address.
//!
//! A unique local address (RFC 4193 §3), usable in URLs, logs, firewalls and AAAA records. Text is
//! RFC 5952. An address is a *prefix* of a node ID: finding it is a key lookup, and whoever claims
//! it must show a key whose hash begins with it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::node_id::NodeId;

/// The permanent address of an identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Ipv6Addr);

impl Address {
    /// The address of a node ID.
    #[must_use]
    pub fn of(id: &NodeId) -> Self {
        let mut bytes = [0xfd; 16];
        bytes[1..].copy_from_slice(&id.0[..15]);
        Self(Ipv6Addr::from(bytes))
    }

    /// Whether `id` is one of the node IDs that this address abbreviates.
    #[must_use]
    pub fn matches(&self, id: &NodeId) -> bool {
        self.0.octets()[1..] == id.0[..15]
    }

    /// The 15 node ID bytes inside.
    #[must_use]
    pub fn prefix(&self) -> [u8; 15] {
        let mut prefix = [0; 15];
        prefix.copy_from_slice(&self.0.octets()[1..]);
        prefix
    }

    /// The address whose node ID begins with `prefix`.
    #[must_use]
    pub fn from_prefix(prefix: [u8; 15]) -> Self {
        let mut bytes = [0xfd; 16];
        bytes[1..].copy_from_slice(&prefix);
        Self(Ipv6Addr::from(bytes))
    }

    /// As a plain IPv6 address.
    #[must_use]
    pub fn ip(&self) -> Ipv6Addr {
        self.0
    }

    /// First and last group, for tables: `fd3a:…:d04e`.
    #[must_use]
    pub fn fmt_short(&self) -> String {
        let groups = self.0.segments();
        format!("{:x}:…:{:x}", groups[0], groups[7])
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.0)
    }
}

impl FromStr for Address {
    type Err = AddressParseError;

    fn from_str(text: &str) -> Result<Self, AddressParseError> {
        let ip: Ipv6Addr = text.parse().map_err(|_| AddressParseError::NotIpv6)?;
        if ip.octets()[0] != 0xfd {
            return Err(AddressParseError::NotUla { ip });
        }
        Ok(Self(ip))
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Text that is no Homing address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressParseError {
    /// Not an IPv6 address at all.
    #[error("not an IPv6 address")]
    NotIpv6,
    /// An IPv6 address outside `fd00::/8`.
    #[error("{ip} is not a Homing address: those begin with fd")]
    NotUla {
        /// What was given.
        ip: Ipv6Addr,
    },
}
