//! Time: the world's own, and what a host's clocks make of it.
//!
//! A host has a monotonic clock that drifts and a wall clock that drifts and is set wrong by `skew`.
//! The world's time is known to the world alone.

use std::fmt;
use std::time::Duration;

use homing_base::{Mono, Now, Wall};

/// World time 0 by a clock that is right: 2026-11-21T03:00:00Z.
pub const EPOCH_MS: u64 = 1_795_230_000_000;

/// A point in the world's time, in microseconds since its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorldTime(pub u64);

impl WorldTime {
    /// This point plus `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0 + u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2))
    }

    /// Time since `earlier`; zero if that lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Seconds with microseconds: `12.345678s`.
impl fmt::Display for WorldTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The two clocks of one host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock {
    /// Wall clock minus true time.
    pub skew_ms: i64,
    /// How much faster than true time both run, in parts per million.
    pub drift_ppm: i64,
    /// When the wall clock was last set, right or wrong: nobody tells the agent.
    pub set_at: WorldTime,
}

impl HostClock {
    /// Both clocks at world time `at`.
    #[must_use]
    pub fn now(&self, at: WorldTime) -> Now {
        let local = self.local(at);
        let wall = i64::try_from(EPOCH_MS + local / 1_000).expect("a date fits") + self.skew_ms;
        Now { mono: Mono(local), wall: Wall(u64::try_from(wall).unwrap_or(0)) }
    }

    /// The first world time at which the monotonic clock shows `mono` or more.
    #[must_use]
    pub fn when(&self, mono: Mono) -> WorldTime {
        if mono.0 >= 1 << 60 {
            return WorldTime(u64::MAX);
        }
        let rate = self.rate();
        let at = (u128::from(mono.0) * 1_000_000).div_ceil(rate);
        WorldTime(u64::try_from(at).expect("a deadline fits"))
    }

    fn local(&self, at: WorldTime) -> u64 {
        u64::try_from(u128::from(at.0) * self.rate() / 1_000_000).expect("world time fits")
    }

    /// Microseconds of this clock per second of true time.
    fn rate(&self) -> u128 {
        u128::try_from(1_000_000 + self.drift_ppm).expect("drift is small")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_at_the_world_time_that_when_gives() {
        for drift_ppm in [-200, -1, 0, 3, 200] {
            let clock = HostClock { skew_ms: -3_600_000, drift_ppm, ..HostClock::default() };
            for mono in [0, 1, 999_999, 1_000_001, 86_400_000_000] {
                let at = clock.when(Mono(mono));
                assert!(clock.now(at).mono.0 >= mono);
                assert!(at.0 == 0 || clock.now(WorldTime(at.0 - 1)).mono.0 < mono);
            }
        }
    }

    #[test]
    fn skew_moves_the_wall_clock_only() {
        let wrong = HostClock { skew_ms: 3_600_000, ..HostClock::default() };
        let right = HostClock::default();
        let at = WorldTime(5_000_000);
        assert_eq!(wrong.now(at).mono, right.now(at).mono);
        assert_eq!(wrong.now(at).wall.0 - right.now(at).wall.0, 3_600_000);
    }
}
