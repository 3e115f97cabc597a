//! Facts that wait for the witnesses, when the disk is full.

use std::sync::mpsc;

use homing_audit::{Ack, Log, LogError, Options, Reader};

use super::support::{BEGUN, fact, identity, open, record};

fn held(dir: &std::path::Path, bytes_max: u64) -> Log {
    let options = Options { held: true, bytes_max, ..Options::default() };
    Log::open(dir, &identity(), BEGUN, options).unwrap()
}

/// Acknowledgements of facts `from..to`, none of which may be an entry yet.
fn keep(log: &Log, from: u64, to: u64) {
    for ack in record(log, from, to) {
        assert_eq!(ack.unwrap().first, None, "kept aside");
    }
}

/// The first answer after everything that was said before.
fn settled(log: &Log) -> Result<Ack, LogError> {
    let (sender, answer) = mpsc::channel();
    log.append(Vec::new(), move |ack| drop(sender.send(ack)));
    answer.recv().unwrap()
}

#[test]
fn pending_facts_that_find_no_room_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("audit");
    let log = open(&dir).unwrap();
    record(&log, 0, 10).into_iter().for_each(|ack| assert!(ack.is_ok()));
    drop(log);
    // No byte is left: what waits cannot become entries, and is not forgotten either.
    let log = held(&dir, 1);
    keep(&log, 10, 15);
    log.release();
    let full = settled(&log);
    assert!(full.is_ok() || matches!(full, Err(LogError::Full { .. })), "{full:?}");
    assert!(record(&log, 99, 100)[0].is_err(), "full");
    drop(log);
    assert_eq!(Reader::open(&dir).unwrap().size(), 10);
    // With room they are logged, each once, before what comes later.
    let log = held(&dir, 1 << 30);
    keep(&log, 15, 16);
    log.release();
    assert_eq!(settled(&log).unwrap().size, 16);
    drop(log);
    let log = held(&dir, 1 << 30);
    log.release();
    assert_eq!(settled(&log).unwrap().size, 16, "nothing twice");
    drop(log);
    let mut reader = Reader::open(&dir).unwrap();
    for index in 0..16 {
        let entry = homing_core::audit::UnverifiedEntry::parse(&reader.entry(index).unwrap());
        assert_eq!(entry.unwrap().claimed().fact, fact(index));
    }
}
