//! What one peer is still to be told, by record and by time.
//!
//! ```text
//! first   never announced: goes along with whatever is due next, and is due itself soon
//! later   pushed and not acknowledged, or announced before: stands in order of time
//! ```
//! A peer that never answers keeps thousands waiting; only what is due is looked at. Whether and how
//! often something is announced is decided in `push`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homing_base::Mono;

use super::limits::{HAVE_QUEUE_MAX, ITEMS_MAX};

/// An announcement that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement {
    pub(super) due: Mono,
    /// How often it was made.
    pub(super) made: u8,
    /// How often it is made at most, unless the peer shows before that it knows.
    pub(super) most: u8,
    pub(super) sync: bool,
    /// When the record itself was sent, which is sent once more before it is announced.
    pub(super) pushed: Option<Mono>,
}

impl Announcement {
    /// Nothing was said or sent yet.
    pub(super) fn is_first(&self) -> bool {
        self.made == 0 && self.pushed.is_none()
    }

    fn key(&self, place: u64) -> (bool, Mono, u64) {
        (!self.is_first(), self.due, place)
    }
}

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// To announce: fresh ones, reconciled ones. At most [`ITEMS_MAX`] of each.
    pub(super) announce: [Vec<u64>; 2],
    /// Pushed, not acknowledged, to be sent once more; at most [`ITEMS_MAX`].
    pub(super) resend: Vec<u64>,
}

impl Due {
    fn list(&mut self, announcement: &Announcement) -> &mut Vec<u64> {
        match announcement.pushed.is_some() && announcement.made == 0 {
            true => &mut self.resend,
            false => &mut self.announce[usize::from(announcement.sync)],
        }
    }
}

/// All that waits for one peer, by prefix; at most [`HAVE_QUEUE_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    waiting: BTreeMap<u64, Announcement>,
    /// Whether it is a later one, when it is due, which it is.
    order: BTreeSet<(bool, Mono, u64)>,
}

impl Announcements {
    /// Adds one, or replaces what waits at `place`; nothing happens when the queue is full.
    pub(super) fn put(&mut self, place: u64, announcement: Announcement) {
        if self.waiting.len() >= HAVE_QUEUE_MAX && !self.waiting.contains_key(&place) {
            return;
        }
        if let Some(old) = self.waiting.insert(place, announcement) {
            self.order.remove(&old.key(place));
        }
        self.order.insert(announcement.key(place));
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, place: u64) -> Option<Announcement> {
        let gone = self.waiting.remove(&place)?;
        self.order.remove(&gone.key(place));
        Some(gone)
    }

    /// The one at `place` is made once at most, if it is a first one. Whether it is.
    pub(super) fn limit_first(&mut self, place: u64) -> bool {
        let first = self.waiting.get_mut(&place).filter(|waiting| waiting.is_first());
        first.map(|waiting| waiting.most = 1).is_some()
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Mono> {
        let first = self.order.first().map(|(_, due, _)| *due);
        let later = self.order.range((true, Mono(0), 0)..).next().map(|(_, due, _)| *due);
        first.into_iter().chain(later).min()
    }

    /// What is due, and with it everything that was never announced. What is not made for the last
    /// time waits again, twice as long as `timeout` and then twice as long each time.
    pub(super) fn take_due(&mut self, now: Mono, timeout: Duration) -> Due {
        let mut due = Due::default();
        let ready = self.order.range(..=(true, now, u64::MAX)).map(|(.., place)| *place);
        for place in ready.collect::<Vec<u64>>() {
            self.make(place, now, timeout, &mut due);
        }
        due
    }

    fn make(&mut self, place: u64, now: Mono, timeout: Duration, due: &mut Due) {
        let Some(waiting) = self.waiting.get(&place).copied() else { return };
        let list = due.list(&waiting);
        if list.len() >= ITEMS_MAX {
            return;
        }
        list.push(place);
        let made = waiting.made + 1;
        if made >= waiting.most {
            self.remove(place);
        } else {
            self.put(
                place,
                Announcement { due: now.after(timeout * (1 << made)), made, ..waiting },
            );
        }
    }
}
