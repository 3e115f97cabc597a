//! The only file that reads time.
//!
//! Deadlines use `CLOCK_BOOTTIME`, which counts while the machine is suspended: an agent that slept
//! for an hour must see the hour, or it would trust links that died long ago.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homing_base::{Mono, Now, Wall};
use nix::time::{ClockId, clock_gettime};

/// Both clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Duration,
}

impl Clock {
    /// A clock whose [`Mono`] begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: boot_time() }
    }

    /// Both clocks, read once.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: wall() }
    }

    /// Time since [`Clock::start`].
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono::default().after(boot_time().saturating_sub(self.start))
    }

    /// Returns at `deadline`; never, when there is none.
    pub async fn until(&self, deadline: Option<Mono>) {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline.since(self.mono())).await,
            None => std::future::pending().await,
        }
    }
}

/// The wall clock; zero when it stands before 1970.
#[must_use]
pub fn wall() -> Wall {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::default().after(elapsed)
}

/// Time since boot: for conditions that end by themselves.
#[must_use]
pub fn since_boot() -> Mono {
    Mono::default().after(boot_time())
}

/// Time since boot without the time that the machine slept: what it lacks of [`since_boot`] was sleep.
pub(crate) fn awake_since_boot() -> Mono {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    Mono::default().after(time.expect("Linux has a monotonic clock"))
}

fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).expect("Linux has a boot-time clock")
}
