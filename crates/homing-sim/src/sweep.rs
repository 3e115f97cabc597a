//! Many seeds of one scenario, on several threads; the verdict does not depend on how many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::scenario::Scenario;
use crate::swarm::{Outcome, run};

/// First seed of sweeps, so that sweeps of any length share their seeds.
pub const FIRST_SEED: u64 = 0x5eed_0000;

/// Runs `seeds` seeds on `jobs` threads and returns the outcomes by seed.
///
/// # Panics
/// When a world panics; the seed is in the message of the thread.
#[must_use]
pub fn sweep(scenario: &Scenario, seeds: u64, jobs: usize) -> Vec<Outcome> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        break;
                    }
                    let outcome = run(scenario, FIRST_SEED + number);
                    outcomes.lock().expect("no holder panics").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no holder panics");
    outcomes.sort_by_key(|outcome: &Outcome| outcome.seed);
    outcomes
}
