//! Chance as an argument: one seeded generator per agent, so that a run can be repeated exactly.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The agent's generator. Not for keys.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// An unpredictable number, to tell answers apart.
    pub(crate) fn token(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// `duration` ± 25 %, so that many agents do not act in step.
    /// The seed of another machine's chance.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn jitter(&mut self, duration: Duration) -> Duration {
        let share = u32::try_from(self.0.next_u64() % 501).expect("below 501") + 750;
        duration * share / 1_000
    }
}
