//! What is kept per peer that is up.

use std::collections::{BTreeMap, VecDeque};

use homing_base::Mono;

use super::limits::{
    BYTES_IN, BYTES_OUT, MESSAGES_IN, NEWCOMERS_IN, PUSHES_IN, PUSHES_OUT, RANGES_IN,
};
use super::message::Carried;
use super::rate::Tokens;

/// An announcement that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement {
    pub(super) due: Mono,
    /// How often it was made.
    pub(super) made: u8,
    /// How often it is made at most, unless the peer shows before that it knows.
    pub(super) most: u8,
    pub(super) sync: bool,
}

/// Allowances of one peer.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    pub(super) bytes_out: Tokens,
    pub(super) pushes_out: Tokens,
    pub(super) bytes_in: Tokens,
    pub(super) messages_in: Tokens,
    pub(super) pushes_in: Tokens,
    pub(super) ranges_in: Tokens,
    pub(super) newcomers_in: Tokens,
}

/// A peer that is up.
#[derive(Clone, Debug)]
pub(super) struct Peer<W> {
    /// Records are pushed over this link, not only announced.
    pub(super) eager: bool,
    /// Its horizon, as last told.
    pub(super) depth: u8,
    pub(super) budget: Budget,
    /// Collected during one input.
    pub(super) pushing: Vec<Carried<W>>,
    pub(super) prune: bool,
    /// By prefix.
    pub(super) have: BTreeMap<u64, Announcement>,
    pub(super) have_at: Option<Mono>,
    /// What it wants of us.
    pub(super) serve: VecDeque<u64>,
    /// What it offers and nobody was asked for yet.
    pub(super) offered: VecDeque<u64>,
    /// Asked of it, not yet arrived.
    pub(super) asked: usize,
    /// Taken from it since the last reconciliation with it began.
    pub(super) pulled: usize,
    /// The reconciliation that we began with it.
    pub(super) salt: Option<u64>,
    /// When to begin one.
    pub(super) due: Option<Mono>,
}

impl<W> Peer<W> {
    pub(super) fn new(now: Mono, due: Mono) -> Self {
        let full = |rate| Tokens::full(rate, now);
        Self {
            eager: true,
            depth: 0,
            budget: Budget {
                bytes_out: full(BYTES_OUT),
                pushes_out: full(PUSHES_OUT),
                bytes_in: full(BYTES_IN),
                messages_in: full(MESSAGES_IN),
                pushes_in: full(PUSHES_IN),
                ranges_in: full(RANGES_IN),
                newcomers_in: full(NEWCOMERS_IN),
            },
            pushing: Vec::new(),
            prune: false,
            have: BTreeMap::new(),
            have_at: None,
            serve: VecDeque::new(),
            offered: VecDeque::new(),
            asked: 0,
            pulled: 0,
            salt: None,
            due: Some(due),
        }
    }

    /// It showed that it knows this: nothing to announce.
    pub(super) fn shown(&mut self, prefix: u64) {
        self.have.remove(&prefix);
    }
}
