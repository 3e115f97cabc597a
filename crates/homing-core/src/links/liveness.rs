//! Liveness of one link: probe after silence, give up after more of it.
//!
//! Anything received counts. With many links the interval stretches, so that one agent sends at
//! most [`PROBES_PER_SECOND_MAX`] probes per second. After our own address changed, a link has
//! [`TRIAL`] to show that it moved along. After a sleep of our own every link gets a
//! fresh allowance: the silence was ours.

use std::time::Duration;

use homing_base::Mono;

use crate::limits::{PROBES_PER_SECOND_MAX, SILENCE_GRACE, SILENCE_PROBE, TRIAL};

/// What is known about one link's life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// When anything last arrived.
    pub heard: Mono,
    /// Silence is counted from here: `heard`, or later after a sleep.
    since: Mono,
    probe: Option<(u64, Mono)>,
    /// Dead from then on, unless something arrives before.
    trial: Option<Mono>,
    /// The last round trip of a probe.
    pub rtt: Option<Duration>,
}

/// What a link needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    Probe,
    Dead,
}

/// Silence before a probe, with `links` links.
pub(crate) fn probe_after(links: usize) -> Duration {
    let links = u64::try_from(links).unwrap_or(u64::MAX);
    SILENCE_PROBE.max(Duration::from_millis(links.saturating_mul(1_000) / PROBES_PER_SECOND_MAX))
}

impl Pulse {
    pub(crate) fn new(now: Mono) -> Self {
        Self { heard: now, since: now, probe: None, trial: None, rtt: None }
    }

    pub(crate) fn on_heard(&mut self, now: Mono) {
        self.heard = now;
        self.since = now;
        self.trial = None;
        // An unanswered probe of before this sign of life no longer says anything.
        if let Some((_, sent)) = self.probe
            && now.since(sent) > SILENCE_GRACE
        {
            self.probe = None;
        }
    }

    pub(crate) fn on_probe(&mut self, now: Mono, token: u64) {
        self.probe = Some((token, now));
    }

    pub(crate) fn on_pong(&mut self, now: Mono, token: u64) {
        if let Some((expected, sent)) = self.probe
            && expected == token
        {
            self.rtt = Some(now.since(sent));
            self.probe = None;
        }
    }

    /// We slept: forget the silence.
    pub(crate) fn forgive(&mut self, now: Mono) {
        self.since = now;
        self.probe = None;
        self.trial = None;
    }

    /// Our own address changed: the link must show soon that it still carries. A link with long
    /// round trips gets three of them.
    pub(crate) fn put_on_trial(&mut self, now: Mono) {
        self.trial = Some(now.after(TRIAL.max(self.rtt.unwrap_or_default() * 3)));
    }

    pub(crate) fn verdict(&self, now: Mono, links: usize) -> Verdict {
        let after = probe_after(links);
        let silence = now.since(self.since);
        let failed = self.trial.is_some_and(|end| now >= end);
        if failed || silence >= after + SILENCE_GRACE {
            Verdict::Dead
        } else if silence >= after && !self.has_probed_since_heard() {
            Verdict::Probe
        } else {
            Verdict::Fine
        }
    }

    /// When the verdict may change next.
    pub(crate) fn deadline(&self, links: usize) -> Mono {
        let probe = self.since.after(probe_after(links));
        let silence =
            if self.has_probed_since_heard() { probe.after(SILENCE_GRACE) } else { probe };
        self.trial.map_or(silence, |end| end.min(silence))
    }

    fn has_probed_since_heard(&self) -> bool {
        self.probe.is_some_and(|(_, sent)| sent > self.since)
    }
}
