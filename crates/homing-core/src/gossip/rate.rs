//! Allowances that refill with time.

use homing_base::Mono;

use super::limits::Rate;

/// What is left of an allowance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    rate: Rate,
    left: f32,
    at: Mono,
}

impl Tokens {
    pub(super) fn full(rate: Rate, now: Mono) -> Self {
        Self { rate, left: rate.burst, at: now }
    }

    /// How much could be taken now.
    pub(super) fn left(&mut self, now: Mono) -> f32 {
        let gained = now.since(self.at).as_secs_f32() * self.rate.per_second;
        self.left = (self.left + gained).min(self.rate.burst);
        self.at = self.at.max(now);
        self.left
    }

    /// Takes `amount` if it is there.
    pub(super) fn take(&mut self, amount: usize, now: Mono) -> bool {
        let granted = self.left(now) >= amount as f32;
        if granted {
            self.left -= amount as f32;
        }
        granted
    }
}
