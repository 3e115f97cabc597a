//! What the interface carried and what it dropped, since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a packet was dropped. The words of metrics and `homing status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    /// From here: not IPv6, not from the own address, or to no agent's address (neighbour discovery, other groups).
    NotOurs,
    /// From here: the daemon's own UDP, which must not travel inside itself; from a peer: the same.
    Carrier,
    /// From here: to nobody who is trusted, or who allows it.
    NotTrusted,
    /// From here: to a peer that is not reachable now.
    Unreachable,
    /// From here: the peer's queue was full.
    QueueFull,
    /// From here: too large for the path.
    TooLarge,
    /// From a peer: nothing that is an IPv6 packet.
    Malformed,
    /// From a peer: its source is not the peer's address.
    Spoofed,
    /// From a peer: its destination is not this agent.
    Misdirected,
    /// From a peer: the device did not take it.
    Device,
}

const WORDS: [(Drop, &str); 10] = [
    (Drop::NotOurs, "not_ours"),
    (Drop::Carrier, "carrier"),
    (Drop::NotTrusted, "not_trusted"),
    (Drop::Unreachable, "unreachable"),
    (Drop::QueueFull, "queue_full"),
    (Drop::TooLarge, "too_large"),
    (Drop::Malformed, "malformed"),
    (Drop::Spoofed, "spoofed"),
    (Drop::Misdirected, "misdirected"),
    (Drop::Device, "device"),
];

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Carried {
    pub(super) fn add(&self, packets: usize, bytes: usize) {
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Packets and bytes.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.packets.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: Carried,
    pub(crate) received: Carried,
    dropped: [AtomicU64; WORDS.len()],
}

impl Counts {
    pub(super) fn dropped(&self, why: Drop, packets: usize) {
        self.dropped[why as usize].fetch_add(packets as u64, Ordering::Relaxed);
    }

    /// Dropped packets by reason, zeros too.
    pub(crate) fn drops(&self) -> BTreeMap<&'static str, u64> {
        let count = |why: Drop| self.dropped[why as usize].load(Ordering::Relaxed);
        WORDS.iter().map(|(why, word)| (*word, count(*why))).collect()
    }
}
