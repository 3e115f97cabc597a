//! What content counts since the start, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Bytes of encodings sent to peers: groups and their proofs.
    pub(crate) served_bytes: Count,
    /// Requests answered with content, whole or broken off.
    pub(crate) served: Count,
    /// Requests refused because too many were under way.
    pub(crate) busy: Count,
    /// Bytes of content that came from peers, verified.
    pub(crate) fetched_bytes: Count,
    /// Fetches that ended well.
    pub(crate) fetched: Count,
    /// … and that did not.
    pub(crate) failed: Count,
    /// Holders asked for content, each time.
    pub(crate) asked: Count,
    /// Holders that sent what is not the content.
    pub(crate) blamed: Count,
}
