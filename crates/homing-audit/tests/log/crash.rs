//! Crashes: a cut at any byte, and `kill -9` under load.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use homing_audit::{LogError, Options, Reader};
use homing_base::Wall;
use homing_core::audit::Checkpoint;

use super::support::{BEGUN, fact, fault, identity, open, record, record_singly};

fn segment(dir: &std::path::Path) -> std::path::PathBuf {
    std::fs::read_dir(dir.join("wal")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn cut_at_any_byte_the_log_is_its_whole_frames() {
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit");
    let log = open(&audit).unwrap();
    let path = segment(&audit);
    let mut ends = vec![std::fs::metadata(&path).unwrap().len()];
    for n in 0..5 {
        record_singly(&log, n, n + 1);
        ends.push(std::fs::metadata(&path).unwrap().len());
    }
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for cut in ends[0]..=ends[5] {
        std::fs::write(&path, &whole[..usize::try_from(cut).unwrap()]).unwrap();
        let committed = ends.iter().rposition(|end| *end <= cut).unwrap() as u64;
        let log = open(&audit).unwrap();
        let head = Checkpoint::verify(log.opened_at(), log.keys().key()).unwrap();
        assert_eq!(head.size, committed, "cut at {cut}");
        drop(log);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ends[committed as usize]);
        if committed > 0 {
            assert_eq!(fault(&audit), None, "cut at {cut}");
        }
    }
}

#[test]
fn a_flipped_byte_below_a_whole_frame_is_damage_and_nothing_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit");
    let log = open(&audit).unwrap();
    let path = segment(&audit);
    let begin = std::fs::metadata(&path).unwrap().len();
    record_singly(&log, 0, 3);
    let last = std::fs::metadata(&path).unwrap().len();
    record_singly(&log, 3, 4);
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for at in (begin..last).map(|at| usize::try_from(at).unwrap()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        let refused = open(&audit);
        assert!(matches!(refused, Err(LogError::Damaged { .. })), "byte {at} was flipped");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn segments_follow_each_other_and_the_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit");
    let log = open(&audit).unwrap();
    let entries = super::support::chain(&identity(), &log.keys().key().name, 60_000);
    for some in entries.chunks(1_000) {
        let (sender, acked) = std::sync::mpsc::channel();
        log.append_verified(some.to_vec(), move |ack| drop(sender.send(ack)));
        acked.recv().unwrap().unwrap();
    }
    drop(log);
    let left: Vec<_> = std::fs::read_dir(audit.join("wal")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(std::fs::metadata(segment(&audit)).unwrap().len() < 16 << 20);
    let mut reader = Reader::open(&audit).unwrap();
    assert_eq!(reader.size(), 60_000);
    for index in [0, 255, 256, 33_333, 59_999] {
        assert_eq!(reader.entry(index).unwrap(), entries[index as usize].bytes());
        assert_eq!(reader.prove(index).unwrap().verify().unwrap().index, index);
    }
    // It goes on where it was.
    let log = open(&audit).unwrap();
    assert_eq!(record(&log, 60_000, 60_001)[0].as_ref().unwrap().size, 60_001);
}

#[test]
fn one_log_has_one_writer_and_one_identity() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Locked { .. })));
    drop(log);
    let other = homing_base::IdentityKey::from_seed([8; 32]);
    let refused = homing_audit::Log::open(dir.path(), &other, BEGUN, Options::default());
    assert!(matches!(refused, Err(LogError::Foreign { .. })));
}

#[test]
fn what_happens_before_the_witnesses_answer_is_kept_and_logged_once() {
    let dir = tempfile::tempdir().unwrap();
    let held = || Options { held: true, ..Options::default() };
    let open_held = || homing_audit::Log::open(dir.path(), &identity(), BEGUN, held()).unwrap();
    record(&open(dir.path()).unwrap(), 0, 1);
    let log = open_held();
    assert_eq!(record(&log, 1, 3)[1].as_ref().unwrap().first, None);
    drop(log);
    // Killed before they answered: nothing is lost.
    let log = open_held();
    log.release();
    assert_eq!(record(&log, 3, 4)[0].as_ref().unwrap().first, Some(3));
    drop(log);
    assert!(!dir.path().join("pending").exists());
    // They know more: nothing is signed, and what happens is still kept.
    let log = open_held();
    log.refuse("a witness knows 9 entries".into());
    assert_eq!(record(&log, 4, 5)[0].as_ref().unwrap().first, None);
    let (sender, answer) = std::sync::mpsc::channel();
    log.append(Vec::new(), move |ack| drop(sender.send(ack)));
    assert!(matches!(answer.recv().unwrap(), Err(LogError::Refused { .. })));
    drop(log);
    assert_eq!(Reader::open(dir.path()).unwrap().size(), 4);
}

#[test]
fn a_full_log_says_so_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: 4_000, ..Options::default() };
    let log = homing_audit::Log::open(dir.path(), &identity(), BEGUN, options).unwrap();
    let acks = record(&log, 0, 50);
    let kept = acks.iter().filter(|ack| ack.is_ok()).count() as u64;
    assert!((1..20).contains(&kept), "{kept}");
    assert!(acks.iter().any(|ack| matches!(ack, Err(LogError::Full { max: 4_000 }))));
    drop(log);
    assert_eq!(Reader::open(dir.path()).unwrap().size(), kept);
    assert_eq!(fault(dir.path()), None);
}

/// The child of the next test: appends until it is killed, and prints what was acknowledged.
#[test]
fn child_that_is_killed() {
    let Ok(dir) = std::env::var("HOMING_AUDIT_VICTIM") else { return };
    let log = open(std::path::Path::new(&dir)).unwrap();
    let mut n = Checkpoint::parse(&log.opened_at().text).unwrap().size;
    loop {
        let acks = record(&log, n, n + 97);
        let size = acks.iter().map(|ack| ack.as_ref().unwrap().size).max().unwrap();
        println!("acked {size}");
        n += 97;
    }
}

#[test]
fn killed_a_hundred_times_under_load_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = 0;
    for round in 0..100 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_is_killed", "--nocapture"])
            .env("HOMING_AUDIT_VICTIM", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A different moment in every round.
        let mut left = 1 + round % 7;
        for line in lines {
            if let Some(size) = line.unwrap().strip_prefix("acked ") {
                acked = acked.max(size.parse::<u64>().unwrap());
                left -= 1;
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        assert!(reader.size() >= acked, "round {round}: {} of {acked}", reader.size());
        if acked > 0 {
            let bytes = reader.entry(acked - 1).unwrap();
            let entry = homing_core::audit::UnverifiedEntry::parse(&bytes).unwrap();
            assert_eq!(entry.claimed().fact, fact(acked - 1));
            assert_eq!(entry.claimed().time, Wall(BEGUN.0 + acked - 1));
        }
    }
    assert!(acked > 100 * 97, "{acked}");
    // No torn tile, no gap, every signature.
    drop(open(dir.path()).unwrap());
    assert_eq!(fault(dir.path()), None);
}
