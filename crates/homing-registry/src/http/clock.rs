//! The only file of the registry's HTTP side that reads time.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use homing_base::{Mono, Now, Wall};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Both clocks, read once.
pub(super) fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: mono(), wall: Wall::default().after(wall) }
}

/// Time since the process first asked.
pub(super) fn mono() -> Mono {
    Mono::default().after(START.elapsed())
}
