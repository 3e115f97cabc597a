//! Liveness of one link: probe after silence, give up after more of it.
//!
//! Anything received counts. With many links the interval stretches, so that one agent sends at
//! most [`PROBES_PER_SECOND_MAX`] probes per second. After a sleep of our own every link gets a
//! fresh allowance: the silence was ours.

use std::time::Duration;

use homing_base::Mono;

use crate::limits::{PROBES_PER_SECOND_MAX, SILENCE_GRACE, SILENCE_PROBE};

/// What is known about one link's life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// When anything last arrived.
    pub heard: Mono,
    /// Silence is counted from here: `heard`, or later after a sleep.
    since: Mono,
    probe: Option<(u64, Mono)>,
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
        Self { heard: now, since: now, probe: None, rtt: None }
    }

    pub(crate) fn on_heard(&mut self, now: Mono) {
        self.heard = now;
        self.since = now;
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
    }

    pub(crate) fn verdict(&self, now: Mono, links: usize) -> Verdict {
        let after = probe_after(links);
        let silence = now.since(self.since);
        if silence >= after + SILENCE_GRACE {
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
        if self.has_probed_since_heard() { probe.after(SILENCE_GRACE) } else { probe }
    }

    fn has_probed_since_heard(&self) -> bool {
        self.probe.is_some_and(|(_, sent)| sent > self.since)
    }
}
