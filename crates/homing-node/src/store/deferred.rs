//! Writes that may be lost without breaking a promise: they wait for company, a minute at most.
//!
//! The DHT hands out its contacts whenever its table changed; the disk shall not be synced for each
//! such change. The newest list goes with the next batch that must be durable anyway, or alone once
//! some time has passed since the last one: [`WAIT_FIRST`], then twice as long each time, until
//! [`WAIT_MAX`]. The first lists are short and name only whom this agent was told of, so an agent
//! killed soon after its start shall find better ones. Not here: anything that a peer was told.

use std::time::Duration;

use homing_base::Mono;
use homing_core::{Batch, Write};

/// Between the first two syncs of the disk for these alone.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// Between two of them, in the end.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    waiting: Option<Write>,
    /// When something of this kind was last written.
    written: Option<Mono>,
    /// How long after that the next may be written; zero before the first.
    wait: Duration,
}

impl Deferred {
    /// Splits a batch: what may wait is kept here, the rest is to be written now, with what waits.
    pub(crate) fn sort(&mut self, batch: Batch, now: Mono) -> Batch {
        let (may_wait, mut now_or_never): (Batch, Batch) =
            batch.into_iter().partition(|write| matches!(write, Write::DhtContacts(_)));
        if let Some(newest) = may_wait.into_iter().last() {
            self.waiting = Some(newest);
        }
        if !now_or_never.is_empty() {
            now_or_never.extend(self.take(now));
        }
        now_or_never
    }

    /// When [`Deferred::take_due`] has something.
    pub(crate) fn due(&self) -> Option<Mono> {
        self.waiting.as_ref()?;
        Some(self.written.map_or(Mono::default(), |written| written.after(self.wait)))
    }

    /// What has waited long enough.
    pub(crate) fn take_due(&mut self, now: Mono) -> Batch {
        let due = self.due().is_some_and(|due| due <= now);
        if due { self.take(now).into_iter().collect() } else { Batch::new() }
    }

    /// Everything, now.
    pub(crate) fn take(&mut self, now: Mono) -> Option<Write> {
        let taken = self.waiting.take()?;
        self.written = Some(now);
        self.wait = (self.wait * 2).clamp(WAIT_FIRST, WAIT_MAX);
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use homing_base::{NodeId, Wall};

    use super::*;

    fn contacts() -> Write {
        Write::DhtContacts(Vec::new())
    }

    fn promise() -> Write {
        Write::LastSeen { peer: NodeId([7; 32]), at: Wall(1) }
    }

    fn at(seconds: u64) -> Mono {
        Mono::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn contacts_alone_are_written_soon_at_first_and_once_a_minute_in_the_end() {
        let mut deferred = Deferred::default();
        let mut written = Vec::new();
        for second in 0..300 {
            assert!(deferred.sort(vec![contacts()], at(second)).is_empty());
            if !deferred.take_due(at(second)).is_empty() {
                written.push(second);
            }
        }
        assert_eq!(written, [0, 1, 2, 3, 4, 6, 10, 17, 30, 56, 108, 168, 228, 288]);
    }

    #[test]
    fn a_promise_is_written_at_once_and_takes_them_along() {
        let mut deferred = Deferred::default();
        deferred.sort(vec![contacts()], at(0));
        assert_eq!(deferred.take_due(at(0)).len(), 1);
        assert_eq!(deferred.sort(vec![promise()], at(1)), vec![promise()]);
        deferred.sort(vec![contacts()], at(2));
        assert_eq!(deferred.sort(vec![promise()], at(3)), vec![promise(), contacts()]);
        assert_eq!(deferred.due(), None);
    }
}
