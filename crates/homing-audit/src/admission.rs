//! Before the writer: calls are gathered, and the signatures of all of them verified at once, strictly, on every core.
//!
//! ```text
//! callers ─► jobs ─► gather what waits ─► verify on every core ─► at most 4 batches ─► writer
//! ```
//! Order is kept, because an entry names the one before it. The writer signs and syncs a batch while the next is
//! verified here. Not here: chains, the log's gate.

use std::sync::mpsc::{Receiver, SyncSender};

use homing_core::audit::{EntryError, SignedEntry, UnverifiedEntry};

use crate::limits::{BATCH_ENTRIES_MAX, BATCH_VERIFIED_MAX};
use crate::log::{Job, Reply, What};
use crate::pending::Noted;
use crate::writer::LogError;

/// Signatures that are not worth a thread.
const SHARE_MIN: usize = 16;

/// What the writer gets.
pub(crate) enum Admitted {
    Append { what: Ready, reply: Reply },
    Release,
    Refuse(String),
    Stop,
}

/// What needs no verification any more.
pub(crate) enum Ready {
    Facts(Vec<Noted>),
    Verified(Vec<SignedEntry>),
}

impl Ready {
    pub(crate) fn len(&self) -> usize {
        match self {
            Ready::Facts(facts) => facts.len(),
            Ready::Verified(entries) => entries.len(),
        }
    }

    /// Bytes of its entries, nearly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Ready::Facts(facts) => facts.len() * 400,
            Ready::Verified(entries) => entries.iter().map(|e| e.bytes().len()).sum(),
        }
    }
}

/// Until the log is closed.
pub(crate) fn run(jobs: &Receiver<Job>, writer: &SyncSender<Vec<Admitted>>) {
    while let Ok(job) = jobs.recv() {
        let batch = gather(job, jobs);
        let stop = matches!(batch.last(), Some(Job::Stop));
        if writer.send(admit(batch)).is_err() || stop {
            return;
        }
    }
}

/// What waits, up to a batch.
fn gather(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let (mut entries, mut signatures) = (0, 0);
    let mut batch = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        if let Job::Append { what, .. } = &job {
            entries += what.len();
            signatures += if matches!(what, What::Unverified(_)) { what.len() } else { 0 };
        }
        let is_end = matches!(job, Job::Stop);
        batch.push(job);
        let full = entries >= BATCH_VERIFIED_MAX || signatures >= BATCH_ENTRIES_MAX;
        next = if is_end || full { None } else { jobs.try_recv().ok() };
    }
    batch
}

/// Verifies everything in a batch; a call of which one entry does not hold is answered here.
fn admit(batch: Vec<Job>) -> Vec<Admitted> {
    let mut unverified = Vec::new();
    let mut calls = Vec::with_capacity(batch.len());
    for job in batch {
        match job {
            Job::Append { what: What::Unverified(entries), reply } => {
                calls.push((entries.len(), Call::Verify(reply)));
                unverified.extend(entries);
            }
            other => calls.push((0, Call::Pass(other))),
        }
    }
    let mut verified = verify_all(unverified).into_iter();
    let mut admitted = Vec::with_capacity(calls.len());
    for (count, call) in calls {
        match call {
            Call::Pass(job) => admitted.push(pass(job)),
            Call::Verify(reply) => {
                let entries: Vec<_> = verified.by_ref().take(count).collect();
                match entries.into_iter().collect::<Result<Vec<_>, _>>() {
                    Ok(entries) => {
                        admitted.push(Admitted::Append { what: Ready::Verified(entries), reply });
                    }
                    Err(error) => reply(Err(LogError::Entry(error))),
                }
            }
        }
    }
    admitted
}

enum Call {
    Verify(Reply),
    Pass(Job),
}

fn pass(job: Job) -> Admitted {
    match job {
        Job::Append { what: What::Facts(facts), reply } => {
            Admitted::Append { what: Ready::Facts(facts), reply }
        }
        Job::Append { what: What::Verified(entries), reply } => {
            Admitted::Append { what: Ready::Verified(entries), reply }
        }
        Job::Append { what: What::Unverified(_), .. } => unreachable!("verified before"),
        Job::Release => Admitted::Release,
        Job::Refuse(why) => Admitted::Refuse(why),
        Job::Stop => Admitted::Stop,
    }
}

/// Verifies signatures, strictly, on every core; the results are in order.
fn verify_all(entries: Vec<UnverifiedEntry>) -> Vec<Result<SignedEntry, EntryError>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = entries.len().div_ceil(cores).max(SHARE_MIN);
    let verify = |share: Vec<UnverifiedEntry>| -> Vec<_> {
        share.into_iter().map(UnverifiedEntry::verify).collect()
    };
    if entries.len() <= share {
        return verify(entries);
    }
    let mut mine = entries;
    let mut others = Vec::new();
    while mine.len() > share {
        others.push(mine.split_off(mine.len() - share));
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            others.into_iter().map(|share| scope.spawn(move || verify(share))).collect();
        let mut all = verify(mine);
        for thread in threads.into_iter().rev() {
            all.extend(thread.join().expect("verification does not panic"));
        }
        all
    })
}
