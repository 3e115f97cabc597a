//! Estimates from what passes by: session time, network size.
//!
//! Session: maximum likelihood for exponential lifetimes with censoring, `λ = (1 + D) / (3600 s + E)`, D
//! contacts found dead, E contact-seconds observed, both halved every 30 min; the median of our own
//! and the siblings' values counts, the last word of each, so that one liar moves nothing however often it speaks.
//!
//! Size: the i-th closest of N random IDs lies at i/N of the space; each finished lookup and our own
//! leafset give one sample, their median counts.

use std::time::Duration;

use homing_base::{Mono, NodeId};

const PRIOR_S: f64 = 3_600.0;
const HALF_LIFE_S: f64 = 1_800.0;
const SAMPLES: usize = 15;
const SESSION_MIN: Duration = Duration::from_secs(30);
const SESSION_MAX: Duration = Duration::from_secs(48 * 3_600);

/// How long nodes stay, and how many there are.
#[derive(Clone, Debug)]
pub struct Estimates {
    deaths: f64,
    exposure_s: f64,
    at: Mono,
    /// The last word of each sibling, the latest last.
    heard_s: Vec<(NodeId, u32)>,
    sizes: Vec<f32>,
    next: usize,
    median_size: f64,
}

impl Estimates {
    /// Knows nothing.
    #[must_use]
    pub fn new(now: Mono) -> Self {
        let (heard_s, sizes) = (vec![], vec![]);
        Self { deaths: 0.0, exposure_s: 0.0, at: now, heard_s, sizes, next: 0, median_size: 0.0 }
    }

    /// Time went by with `contacts` in the table.
    pub fn observe(&mut self, contacts: usize, now: Mono) {
        let elapsed = now.since(self.at).as_secs_f64();
        let keep = 0.5f64.powf(elapsed / HALF_LIFE_S);
        self.deaths *= keep;
        self.exposure_s = self.exposure_s * keep + elapsed * contacts as f64;
        self.at = now;
    }

    /// A contact was found dead.
    pub fn death(&mut self) {
        self.deaths += 1.0;
    }

    /// A sibling told its estimate.
    pub fn hear(&mut self, from: NodeId, session_s: u32) {
        self.heard_s.retain(|(who, _)| *who != from);
        if self.heard_s.len() == SAMPLES {
            self.heard_s.remove(0);
        }
        self.heard_s.push((from, session_s));
    }

    /// Our own estimate of the mean session.
    #[must_use]
    pub fn own_session(&self) -> Duration {
        let mean = (PRIOR_S + self.exposure_s) / (1.0 + self.deaths);
        Duration::from_secs_f64(mean).clamp(SESSION_MIN, SESSION_MAX)
    }

    /// The estimate that counts: the median of ours and the siblings'.
    #[must_use]
    pub fn session(&self) -> Duration {
        let own = u32::try_from(self.own_session().as_secs()).unwrap_or(u32::MAX);
        let mut all: Vec<u32> = self.heard_s.iter().map(|(_, session_s)| *session_s).collect();
        all.push(own);
        all.sort_unstable();
        Duration::from_secs(u64::from(all[all.len() / 2])).clamp(SESSION_MIN, SESSION_MAX)
    }

    /// The `rank`-th closest node to some random point lies at `share` of the ID space.
    pub fn sample_size(&mut self, rank: usize, share: f64) {
        if rank < 2 || share <= 0.0 {
            return;
        }
        let sample = ((rank as f64 - 1.0) / share) as f32;
        if self.sizes.len() < SAMPLES {
            self.sizes.push(sample);
        } else {
            self.sizes[self.next % SAMPLES] = sample;
        }
        self.next = (self.next + 1) % SAMPLES;
        let mut sorted = self.sizes.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        self.median_size = f64::from(sorted[sorted.len() / 2]);
    }

    /// Nodes in the network, as far as we can tell; `None` before the first sample.
    #[must_use]
    pub fn size(&self) -> Option<f64> {
        (!self.sizes.is_empty()).then_some(self.median_size)
    }
}
