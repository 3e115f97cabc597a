//! A token bucket: so many at once, so many per minute in the long run.

use homing_base::Mono;

/// One bucket, full at first. Counts in millionths of a token, so that no time is lost to rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    level: u64,
    at: Mono,
    burst: u64,
    per_minute: u64,
}

const TOKEN: u64 = 60_000_000;

impl Bucket {
    pub(crate) fn new(now: Mono, burst: u64, per_minute: u64) -> Self {
        Self { level: burst * TOKEN, at: now, burst, per_minute }
    }

    /// Takes one token; `false` when there is none.
    pub(crate) fn take(&mut self, now: Mono) -> bool {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let gained = micros.saturating_mul(self.per_minute);
        self.level = self.level.saturating_add(gained).min(self.burst * TOKEN);
        self.at = self.at.max(now);
        let enough = self.level >= TOKEN;
        if enough {
            self.level -= TOKEN;
        }
        enough
    }
}
