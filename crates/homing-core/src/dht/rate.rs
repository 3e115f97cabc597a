//! Token buckets per peer, in constant memory.
//!
//! Peers hash into [`RATED_PEERS`] rows. A row belongs to one peer until it has refilled; a peer that
//! finds its row taken shares it, so a flood can slow down some strangers but never grow the table.

use homing_base::{Mono, NodeId};

use super::contact::id_prefix;
use super::limits::{
    QUESTIONS_BURST, QUESTIONS_PER_SECOND, RATED_PEERS, STORES_BURST, STORES_PER_SECOND,
    VERIFIES_BURST, VERIFIES_PER_SECOND,
};

/// Tokens that refill with time.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    left: f32,
    /// Milliseconds on the monotonic clock; wraps after 49 days, which refills a bucket early.
    at_ms: u32,
}

impl Tokens {
    fn full(burst: f32, now: Mono) -> Self {
        Self { left: burst, at_ms: millis(now) }
    }

    fn refill(&mut self, rate: f32, burst: f32, now: Mono) {
        let elapsed_ms = millis(now).wrapping_sub(self.at_ms);
        self.left = (self.left + rate * elapsed_ms as f32 / 1_000.0).min(burst);
        self.at_ms = millis(now);
    }

    fn take(&mut self, rate: f32, burst: f32, now: Mono) -> bool {
        self.refill(rate, burst, now);
        let granted = self.left >= 1.0;
        if granted {
            self.left -= 1.0;
        }
        granted
    }
}

fn millis(now: Mono) -> u32 {
    (now.0 / 1_000) as u32
}

/// `peer` is zero for a row that nobody used.
#[derive(Clone, Copy, Debug)]
struct Row {
    peer: u64,
    questions: Tokens,
    stores: Tokens,
}

/// Rates of the peers that asked lately, and of signature checks in all.
#[derive(Clone, Debug)]
pub struct Rates {
    rows: Vec<Row>,
    salt: u64,
    verifies: Tokens,
}

impl Rates {
    /// Full buckets; `salt` keeps others from choosing whom they collide with.
    #[must_use]
    pub fn new(salt: u64, now: Mono) -> Self {
        Self { rows: Vec::new(), salt, verifies: Tokens::full(VERIFIES_BURST, now) }
    }

    /// Whether `peer` may ask another question now.
    pub fn question(&mut self, peer: &NodeId, now: Mono) -> bool {
        self.row(peer, now).questions.take(QUESTIONS_PER_SECOND, QUESTIONS_BURST, now)
    }

    /// Whether `peer` may store another value now.
    pub fn store(&mut self, peer: &NodeId, now: Mono) -> bool {
        self.row(peer, now).stores.take(STORES_PER_SECOND, STORES_BURST, now)
    }

    /// Whether another signature may be checked now.
    pub fn verify(&mut self, now: Mono) -> bool {
        self.verifies.take(VERIFIES_PER_SECOND, VERIFIES_BURST, now)
    }

    fn row(&mut self, peer: &NodeId, now: Mono) -> &mut Row {
        let peer = id_prefix(peer);
        let fresh = Row {
            peer,
            questions: Tokens::full(QUESTIONS_BURST, now),
            stores: Tokens::full(STORES_BURST, now),
        };
        if self.rows.is_empty() {
            self.rows = vec![Row { peer: 0, ..fresh }; RATED_PEERS];
        }
        let mixed = (peer ^ self.salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let row = &mut self.rows[usize::try_from(mixed).unwrap_or(0) & (RATED_PEERS - 1)];
        if row.peer != peer {
            row.questions.refill(QUESTIONS_PER_SECOND, QUESTIONS_BURST, now);
            row.stores.refill(STORES_PER_SECOND, STORES_BURST, now);
            if row.questions.left >= QUESTIONS_BURST && row.stores.left >= STORES_BURST {
                *row = fresh;
            }
        }
        row
    }
}
