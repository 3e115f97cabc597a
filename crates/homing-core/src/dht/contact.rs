//! Contacts and distances: who a DHT node is, where it is, and how far from a key.
//!
//! `Contact = node ID ‖ place`. The *place* is what the shell needs to dial (in a daemon: instance
//! key and address, [`Reach`]); the simulator uses a handle. Distance is XOR (Kademlia §2.1).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use homing_base::{AgentRecord, InstanceId, NodeId, RelayRef};

/// Where a node is. Small: tables hold hundreds.
pub trait Place: Clone + fmt::Debug + PartialEq {
    /// The network neighbourhood that caps apply to: IPv4 /24 or IPv6 /48. `None`: exempt.
    fn group(&self) -> Option<u64>;
    /// Bytes that this place takes in a message.
    fn wire_len(&self) -> usize;
}

/// A node that serves the DHT.
#[derive(Clone, Debug, PartialEq)]
pub struct Contact<P> {
    /// Its identity and its position.
    pub id: NodeId,
    /// Where it is.
    pub place: P,
}

/// Where a real node is: taken from its agent record.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// The endpoint key of its current run.
    pub instance: InstanceId,
    /// Its first public address.
    pub direct: Option<SocketAddr>,
    /// Its home relay; left out when there is an address.
    pub relay: Option<Arc<RelayRef>>,
}

impl Reach {
    /// Where `record` says its node is.
    #[must_use]
    pub fn of(record: &AgentRecord) -> Self {
        let direct = record.direct.first().copied();
        let relay = record.relays.first().filter(|_| direct.is_none());
        Self { instance: record.instance, direct, relay: relay.map(|r| Arc::new(r.clone())) }
    }
}

impl Place for Reach {
    fn group(&self) -> Option<u64> {
        ip_group(self.direct?.ip())
    }

    fn wire_len(&self) -> usize {
        super::wire::reach_len(self)
    }
}

/// The /24 or /48 of a public address; `None` for loopback, private and link-local ones, because a
/// fleet inside one network has no other neighbourhood.
#[must_use]
pub fn ip_group(ip: IpAddr) -> Option<u64> {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let exempt = v4.is_loopback() || v4.is_private() || v4.is_link_local();
            (!exempt).then(|| u64::from_be_bytes([0, 0, 0, 0, 4, a, b, c]))
        }
        IpAddr::V6(v6) => {
            let o = v6.octets();
            let exempt = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
            (!exempt).then(|| u64::from_be_bytes([0, 6, o[0], o[1], o[2], o[3], o[4], o[5]]))
        }
    }
}

/// XOR of two IDs. Ordered: smaller is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance(pub [u8; 32]);

impl Distance {
    /// How far `a` is from `b`.
    #[must_use]
    pub fn between(a: &NodeId, b: &NodeId) -> Self {
        let mut d = [0; 32];
        for ((d, a), b) in d.iter_mut().zip(a.0).zip(b.0) {
            *d = a ^ b;
        }
        Self(d)
    }

    /// Common prefix bits: the bucket index, 0–255; 256 for an ID and itself.
    #[must_use]
    pub fn common_bits(&self) -> usize {
        match self.0.iter().position(|b| *b != 0) {
            Some(byte) => byte * 8 + self.0[byte].leading_zeros() as usize,
            None => 256,
        }
    }

    /// The first 64 bits: orders all but astronomically close IDs.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        prefix(&self.0)
    }

    /// As a share of the whole ID space, 0–1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.prefix() as f64 / 2f64.powi(64)
    }
}

/// The first 64 bits of an ID.
#[must_use]
pub fn id_prefix(id: &NodeId) -> u64 {
    prefix(&id.0)
}

fn prefix(bytes: &[u8; 32]) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(head)
}

/// `id` with bit `bit` (0 is the first) turned over.
#[must_use]
pub fn flip_bit(id: &NodeId, bit: usize) -> NodeId {
    let mut bytes = id.0;
    bytes[bit / 8] ^= 0x80 >> (bit % 8);
    NodeId(bytes)
}
