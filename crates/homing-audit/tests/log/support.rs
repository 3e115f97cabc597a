//! Logs to test with.

use std::path::Path;
use std::sync::mpsc;

use homing_audit::{Ack, Log, LogError, Options, Source, export, review};
use homing_base::{IdentityKey, Wall};
use homing_core::audit::entry::RoleChange;
use homing_core::audit::{Entry, Fact, Hash, SignedEntry};

pub(crate) const BEGUN: Wall = Wall(1_700_000_000_000);

pub(crate) fn identity() -> IdentityKey {
    IdentityKey::from_seed([7; 32])
}

pub(crate) fn fact(n: u64) -> Fact {
    Fact::Role(RoleChange { role: format!("role {n}"), on: n.is_multiple_of(2) })
}

pub(crate) fn open(dir: &Path) -> Result<Log, LogError> {
    Log::open(dir, &identity(), BEGUN, Options::default())
}

/// Records facts `from..to`, all at once, and waits for all of them.
pub(crate) fn record(log: &Log, from: u64, to: u64) -> Vec<Result<Ack, LogError>> {
    let (acks, acked) = mpsc::channel();
    for n in from..to {
        let acks = acks.clone();
        log.record(Wall(BEGUN.0 + n), fact(n), move |ack| drop(acks.send(ack)));
    }
    drop(acks);
    acked.iter().collect()
}

/// Records facts one by one: one frame each.
pub(crate) fn record_singly(log: &Log, from: u64, to: u64) {
    for n in from..to {
        for ack in record(log, n, n + 1) {
            assert_eq!(ack.unwrap().first, Some(n));
        }
    }
}

/// A chain of entries of `key` for the log `origin`.
pub(crate) fn chain(key: &IdentityKey, origin: &str, count: u64) -> Vec<SignedEntry> {
    let mut entries: Vec<SignedEntry> = Vec::new();
    for sequence in 0..count {
        let entry = Entry {
            log: Hash::digest(origin.as_bytes()),
            author: key.public(),
            sequence,
            previous: entries.last().map(SignedEntry::leaf),
            time: Wall(BEGUN.0 + sequence),
            fact: fact(sequence),
        };
        entries.push(entry.sign(key).unwrap());
    }
    entries
}

/// The words of what a review of `dir` finds; `None`: nothing is wrong.
pub(crate) fn fault(dir: &Path) -> Option<String> {
    let mut source = match Source::at(dir) {
        Ok(source) => source,
        Err(error) => return Some(error.to_string()),
    };
    review(&mut source, &[], |_| {}).err().map(|error| error.to_string())
}

/// A log of `count` entries, exported.
pub(crate) fn exported(count: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir.path().join("audit")).unwrap();
    record(&log, 0, count).into_iter().for_each(|ack| assert!(ack.is_ok()));
    drop(log);
    let mut reader = homing_audit::Reader::open(&dir.path().join("audit")).unwrap();
    let to = dir.path().join("export");
    assert_eq!(export(&mut reader, &to).unwrap().entries, count);
    (dir, to)
}
