//! What is kept per peer that is up.

use std::collections::VecDeque;
use std::time::Duration;

use homing_base::Mono;

use super::announcements::{Announcement, Announcements};
use super::limits::{
    BYTES_IN, BYTES_OUT, MESSAGES_IN, NEWCOMERS_IN, PUSHES_IN, PUSHES_OUT, RANGES_IN, RETURN_MAX,
    RETURN_MIN, RETURN_UNKNOWN,
};
use super::message::Carried;
use super::rate::Tokens;

/// How long acknowledgements take (RFC 6298 §2, with bounds of our own).
#[derive(Clone, Copy, Debug)]
pub(super) struct Returns {
    /// Mean and mean deviation.
    measured: Option<(Duration, Duration)>,
    timeout: Duration,
}

impl Returns {
    const UNKNOWN: Self = Self { measured: None, timeout: RETURN_UNKNOWN };

    /// How long to wait for one.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// One came for what was sent once.
    pub(super) fn sample(&mut self, took: Duration) {
        let (mean, deviation) = match self.measured {
            None => (took, took / 2),
            Some((mean, deviation)) => {
                ((mean * 7 + took) / 8, (deviation * 3 + mean.abs_diff(took)) / 4)
            }
        };
        self.measured = Some((mean, deviation));
        self.timeout = (mean + deviation * 4).clamp(RETURN_MIN, RETURN_MAX);
    }

    /// None came: wait longer until one does.
    pub(super) fn missed(&mut self) {
        self.timeout = (self.timeout * 2).min(RETURN_MAX);
    }
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
    /// Since when it is up.
    pub(super) since: Mono,
    pub(super) returns: Returns,
    /// Its horizon, as last told.
    pub(super) depth: u8,
    pub(super) budget: Budget,
    /// Collected during one input.
    pub(super) pushing: Vec<Carried<W>>,
    pub(super) prune: bool,
    /// When we last made it lazy.
    pub(super) pruned: Option<Mono>,
    /// What it is to be told.
    pub(super) have: Announcements,
    /// When that is due.
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
    /// When to begin one, or to begin it anew because nobody answered.
    pub(super) due: Option<Mono>,
    /// Begun and not answered, in a row.
    pub(super) begins: u8,
}

impl<W> Peer<W> {
    pub(super) fn new(now: Mono, due: Mono) -> Self {
        let full = |rate| Tokens::full(rate, now);
        Self {
            eager: true,
            since: now,
            returns: Returns::UNKNOWN,
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
            pruned: None,
            have: Announcements::default(),
            have_at: None,
            serve: VecDeque::new(),
            offered: VecDeque::new(),
            asked: 0,
            pulled: 0,
            salt: None,
            due: Some(due),
            begins: 0,
        }
    }

    /// When to look at it.
    pub(super) fn next_due(&self) -> Mono {
        self.due.unwrap_or(Mono::MAX).min(self.have_at.unwrap_or(Mono::MAX))
    }

    /// It says that it knows this. What it has not heard of us yet is still said, once: it may
    /// wait for that.
    pub(super) fn heard_of(&mut self, now: Mono, prefix: u64) {
        if !self.have.limit_first(prefix) {
            self.shown(now, prefix);
        }
    }

    /// It showed that it knows this: nothing to repeat.
    pub(super) fn shown(&mut self, now: Mono, prefix: u64) {
        let Some(gone) = self.have.remove(prefix) else { return };
        if let Announcement { pushed: Some(at), made: 0, .. } = gone {
            self.returns.sample(now.since(at));
        }
        if self.have_at == Some(gone.due) {
            self.have_at = self.have.next_due();
        }
    }
}
