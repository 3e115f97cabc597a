//! Liveness of one link: probe after silence, give up after more of it.
//!
//! Anything received counts. With many links the interval stretches, so that one agent sends at
//! most [`PROBES_PER_SECOND_MAX`] probes per second. After our own network changed, a link has
//! [`TRIAL`] to answer a probe: what still arrives does not show that we are heard. Then it is *doubted*, and another
//! is dialled beside it; where nothing at all arrives it has as long again, because its streams live on if it
//! moves along late. After a sleep of our own every link gets a fresh allowance: the silence was ours.

use std::time::Duration;

use homing_base::Mono;

use crate::limits::{PROBES_PER_SECOND_MAX, SILENCE_GRACE, SILENCE_PROBE, TRIAL, TRIAL_MAX};

/// What is known about one link's life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// When anything last arrived.
    pub heard: Mono,
    /// Silence is counted from here: `heard`, or later after a sleep.
    since: Mono,
    probe: Option<(u64, Mono)>,
    trial: Option<Trial>,
    /// The last round trip of a probe, but for those of trials: what waits behind packets that were lost with the old
    /// path says nothing about the new one, and the next trial would be the longer for it.
    pub rtt: Option<Duration>,
}

/// What a link must show after our own network changed: that a probe is answered.
#[derive(Clone, Copy, Debug)]
struct Trial {
    began: Mono,
    patience: Duration,
    doubted: bool,
}

impl Trial {
    fn ends(self) -> Mono {
        self.began.after(self.patience)
    }
}

/// What a link needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    Probe,
    /// It does not seem to have moved along: [`Pulse::doubt`] it.
    Doubt,
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
            if self.trial.take().is_none() {
                self.rtt = Some(now.since(sent));
            }
            self.probe = None;
        }
    }

    /// We slept: forget the silence.
    pub(crate) fn forgive(&mut self, now: Mono) {
        self.since = now;
        self.probe = None;
        self.trial = None;
    }

    /// Our own network changed: the link must show soon that it still carries. A link with long
    /// round trips gets three of them, up to [`TRIAL_MAX`]. A second word of the same change prolongs nothing.
    pub(crate) fn put_on_trial(&mut self, now: Mono) {
        if self.trial.is_none() {
            self.forgive(now);
            let patience = (self.rtt.unwrap_or_default() * 3).clamp(TRIAL, TRIAL_MAX);
            self.trial = Some(Trial { began: now, patience, doubted: false });
        }
    }

    /// From now on it counts as no link, until it answers.
    pub(crate) fn doubt(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.doubted = true;
        }
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.trial.is_some_and(|trial| trial.doubted)
    }

    pub(crate) fn verdict(&self, now: Mono, links: usize) -> Verdict {
        let after = probe_after(links);
        let silence = now.since(self.since);
        let failed = self.given_up_at().is_some_and(|at| now >= at);
        if failed || silence >= after + SILENCE_GRACE {
            Verdict::Dead
        } else if self.trial.is_some_and(|trial| now >= trial.ends() && !trial.doubted) {
            Verdict::Doubt
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
        let doubt = self.trial.filter(|trial| !trial.doubted).map(Trial::ends);
        let trial = doubt.or_else(|| self.given_up_at());
        trial.map_or(silence, |at| at.min(silence))
    }

    /// When a link ends that is doubted, and over which nothing has arrived since its trial began.
    fn given_up_at(&self) -> Option<Mono> {
        let trial = self.trial.filter(|trial| trial.doubted && self.heard <= trial.began)?;
        Some(trial.ends().after(trial.patience))
    }

    fn has_probed_since_heard(&self) -> bool {
        self.probe.is_some_and(|(_, sent)| sent > self.since)
    }
}
