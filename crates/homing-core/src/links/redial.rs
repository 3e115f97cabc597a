//! When to dial again: at once, then 0.2 s × 2ⁿ up to 30 s, jittered.
//!
//! One [`Redial`] per goal. An attempt is a set of dials; it has failed when all of them have, and a
//! dial that hangs for [`DIAL_STALE`] no longer holds back the next attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homing_base::{Mono, NodeId};

use crate::io::{DialId, DialTarget};
use crate::limits::{DIAL_STALE, REDIAL_FIRST, REDIAL_MAX};

/// What dialling is to achieve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Goal {
    /// Any link with this peer.
    Peer(NodeId),
    /// A link between both main doors.
    Main(NodeId),
    /// A link with whoever a configured hint or relay leads to.
    Seed(usize),
    /// A link over which the DHT may ask this node something. Tried once per call, never redialled.
    Dht(NodeId),
}

/// One goal's attempts.
#[derive(Debug, Default)]
pub(crate) struct Redial {
    /// Failed attempts in a row.
    attempt: u32,
    due: Option<Mono>,
    /// `None`: to a place that may be tried again all the same.
    flying: BTreeMap<DialId, (Mono, Option<DialTarget>)>,
    /// What was tried since the last success, for people.
    pub tried: BTreeSet<String>,
    /// At least one attempt has ended.
    pub seasoned: bool,
}

/// Wait before the attempt after `failures` failed ones, without jitter.
pub(crate) fn backoff(failures: u32) -> Duration {
    let doubled = REDIAL_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    if failures == 0 { Duration::ZERO } else { doubled.min(REDIAL_MAX) }
}

impl Redial {
    pub(crate) fn due_at(at: Mono) -> Self {
        Self { due: Some(at), ..Self::default() }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.due
    }

    pub(crate) fn is_due(&self, now: Mono) -> bool {
        self.due.is_some_and(|at| at <= now)
    }

    pub(crate) fn failures(&self) -> u32 {
        self.attempt
    }

    pub(crate) fn is_flying(&self, target: &DialTarget) -> bool {
        self.flying.values().any(|(_, t)| t.as_ref() == Some(target))
    }

    pub(crate) fn has_fresh_dials(&self, now: Mono) -> bool {
        self.flying.values().any(|(at, _)| now.since(*at) < DIAL_STALE)
    }

    /// An attempt begins; `wait` is the jittered pause that would follow its failure.
    pub(crate) fn on_attempt(
        &mut self,
        now: Mono,
        dials: Vec<(DialId, DialTarget)>,
        wait: Duration,
    ) {
        let nothing_new = dials.is_empty() && !self.has_fresh_dials(now);
        self.flying.extend(dials.into_iter().map(|(id, target)| (id, (now, Some(target)))));
        if nothing_new {
            self.attempt = self.attempt.saturating_add(1);
            self.seasoned = true;
            self.due = Some(now.after(wait));
        } else {
            self.due = Some(now.after(DIAL_STALE + wait));
        }
    }

    /// A dial ended without a proven link; `wait` as in [`Redial::on_attempt`].
    pub(crate) fn on_failed(&mut self, now: Mono, dial: DialId, wait: Duration) {
        let Some(_) = self.flying.remove(&dial) else { return };
        if self.flying.is_empty() {
            self.attempt = self.attempt.saturating_add(1);
            self.seasoned = true;
            let next = now.after(wait);
            self.due = Some(self.due.map_or(next, |due| due.min(next)));
        }
    }

    /// The goal is reached.
    pub(crate) fn on_reached(&mut self) {
        self.due = None;
        self.tried.clear();
        self.seasoned = true;
    }

    /// A dial led to a proven link.
    pub(crate) fn on_landed(&mut self, dial: DialId) {
        self.flying.remove(&dial);
    }

    /// The link is lost. One that was good is replaced at once.
    pub(crate) fn on_lost(&mut self, now: Mono, was_stable: bool, wait: Duration) {
        if was_stable {
            self.attempt = 0;
            self.due = Some(now);
        } else {
            self.attempt = self.attempt.saturating_add(1);
            self.due = Some(now.after(wait));
        }
    }

    /// Something new is known, or a user waits: do not wait for the pause to end.
    pub(crate) fn hurry(&mut self, now: Mono) {
        self.attempt = 0;
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }

    /// What is in flight began in another network: it keeps nobody from trying the same again.
    pub(crate) fn doubt_flights(&mut self) {
        self.flying.values_mut().for_each(|(_, target)| *target = None);
    }

    /// Puts off what is due, without counting it as an attempt.
    pub(crate) fn put_off(&mut self, until: Mono) {
        self.due = Some(until);
    }

    /// Every dial in flight is known by its ID, so that whoever owns it can be found.
    pub(crate) fn owns(&self, dial: DialId) -> bool {
        self.flying.contains_key(&dial)
    }

    /// Whether anything is flying at all.
    pub(crate) fn is_idle(&self) -> bool {
        self.flying.is_empty()
    }
}
