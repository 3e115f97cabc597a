//! What the journal promises about order, limits and ownership.

use super::*;

fn update(n: u8) -> Update {
    Update { previous: [n; 32], current: [n + 1; 32], time_ms: u64::from(n), signature: [n; 64] }
}

fn journal(dir: &tempfile::TempDir) -> Journal {
    Journal::open(&dir.path().join("anchor.db"), "a/log").unwrap()
}

#[test]
fn numbers_of_updates_leave_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(&dir);
    journal.want_updates(0, &[update(0), update(1)], 5).unwrap();
    journal.want_updates(1, &[update(1), update(2)], 6).unwrap();
    let gap = journal.want_updates(4, &[update(4)], 7);
    assert!(matches!(gap, Err(JournalError::Gap { expected: 3, got: 4 })), "{gap:?}");
    assert_eq!(journal.waiting(false).unwrap().since_ms, Some(5));
}

#[test]
fn a_smaller_checkpoint_does_not_replace_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(&dir);
    let (small, large) = (Point { size: 3, root: [3; 32] }, Point { size: 9, root: [9; 32] });
    journal.want_point(large, "note", 1).unwrap();
    journal.want_point(small, "note", 2).unwrap();
    assert_eq!(journal.newest_point().unwrap(), Some((large, 1)));
    assert_eq!(journal.waiting(true).unwrap().entries, 9);
}

#[cfg(feature = "evm")]
#[test]
fn updates_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(&dir);
    journal.want_updates(0, &[update(0), update(1)], 5).unwrap();
    journal.want_updates(1, &[update(1), update(2)], 6).unwrap();
    let all = [update(0), update(1), update(2)];
    assert_eq!(journal.updates(0, 9).unwrap(), all, "known numbers are skipped");
}

#[cfg(feature = "evm")]
#[test]
fn a_flight_survives_and_a_replacement_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut flight = Flight {
        nonce: 7,
        subject: Subject::Updates { first: 2, last: 4 },
        fee: u128::MAX - 1,
        priority: 3,
        sent_ms: 11,
        raw: vec![1, 2, 3],
        hashes: vec![[1; 32]],
    };
    journal(&dir).depart(&flight).unwrap();
    assert_eq!(journal(&dir).flight(7).unwrap().as_ref(), Some(&flight), "after a restart");
    flight.hashes.push([2; 32]);
    flight.fee = 9;
    journal(&dir).depart(&flight).unwrap();
    assert_eq!(journal(&dir).landing(8).unwrap(), [flight]);
    journal(&dir).land(7).unwrap();
    assert!(journal(&dir).landing(8).unwrap().is_empty());
}

#[test]
fn the_journal_of_another_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(journal(&dir));
    let other = Journal::open(&dir.path().join("anchor.db"), "another/log");
    assert!(
        matches!(other, Err(JournalError::Foreign { ref origin, .. }) if origin == "a/log"),
        "{other:?}"
    );
}

#[test]
fn no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("anchor.db"), [b'x'; 4_096]).unwrap();
    let opened = Journal::open(&dir.path().join("anchor.db"), "a/log");
    assert!(matches!(opened, Err(JournalError::Sqlite { .. })), "{opened:?}");
}

#[test]
fn an_update_that_stands_in_two_transactions_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(&dir);
    let mark = |tx: u8, first, last| Mark {
        id: 0,
        subject: Subject::Updates { first, last },
        block: u64::from(tx),
        block_hash: [tx; 32],
        transaction: [tx; 32],
    };
    journal.notice(&mark(1, 0, 4)).unwrap();
    journal.notice(&mark(1, 0, 4)).unwrap();
    journal.notice(&mark(2, 5, 9)).unwrap();
    assert_eq!(journal.waiting(false).unwrap().duplicates, 0, "seen again is not twice");
    journal.notice(&mark(3, 9, 9)).unwrap();
    assert_eq!(journal.waiting(false).unwrap().duplicates, 1);
    assert_eq!(journal.reached(false, false).unwrap(), 10);
}
