//! What may be chosen about one node's gossip.

use std::time::Duration;

use super::limits::{
    ENTRIES_PRIVATE_MAX, ENTRIES_PUBLIC_MAX, ENTRY_BYTES_PRIVATE_MAX, ENTRY_BYTES_PUBLIC_MAX,
    ROUND, ROUND_RESTLESS,
};

/// Bounds of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Entries.
    pub entries: usize,
    /// Signed bytes.
    pub bytes: usize,
}

impl Capacity {
    /// Of a node that serves itself.
    pub const PRIVATE: Self = Self { entries: ENTRIES_PRIVATE_MAX, bytes: ENTRY_BYTES_PRIVATE_MAX };
    /// Of a node that serves the public.
    pub const PUBLIC: Self = Self { entries: ENTRIES_PUBLIC_MAX, bytes: ENTRY_BYTES_PUBLIC_MAX };
}

/// The settings of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bounds of the table.
    pub capacity: Capacity,
    /// Reconciliation while nothing changes.
    pub round: Duration,
    /// Reconciliation while differences are being found.
    pub round_restless: Duration,
}

impl Config {
    /// The usual settings; `public`: the node serves others.
    #[must_use]
    pub fn of(public: bool) -> Self {
        let capacity = if public { Capacity::PUBLIC } else { Capacity::PRIVATE };
        Self { capacity, round: ROUND, round_restless: ROUND_RESTLESS }
    }
}
