//! Reading beside the writer, and proofs at every size.

use homing_audit::{LogError, Reader};
use homing_base::IdentityKey;
use homing_core::audit::{Checkpoint, UnverifiedEntry};

use super::support::{chain, open, record};

#[test]
fn a_reader_follows_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    record(&log, 0, 1);
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut size = 1;
    for step in [1, 254, 1, 300, 700] {
        record(&log, size, size + step);
        size += step;
        reader.refresh().unwrap();
        assert_eq!(reader.size(), size);
        let head = Checkpoint::verify(reader.head().unwrap(), reader.key()).unwrap();
        assert_eq!(head.size, size);
        for index in [0, size / 2, size - 1] {
            let verified = reader.prove(index).unwrap().verify().unwrap();
            assert_eq!(verified.checkpoint, head);
            assert_eq!(verified.entry.sequence, index);
        }
    }
}

#[test]
fn older_heads_are_proven_consistent() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let mut reader = None;
    let mut heads: Vec<Checkpoint> = Vec::new();
    for (from, to) in [(0, 3), (3, 256), (256, 257), (257, 700)] {
        record(&log, from, to);
        let reader = reader.get_or_insert_with(|| Reader::open(dir.path()).unwrap());
        reader.refresh().unwrap();
        let head = Checkpoint::verify(reader.head().unwrap(), reader.key()).unwrap();
        for old in &heads {
            assert!(reader.consistency(old.size, head.size).unwrap().proves(old, &head));
        }
        heads.push(head);
    }
}

#[test]
fn entries_of_others_are_verified_and_chained_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let other = IdentityKey::from_seed([9; 32]);
    let entries = chain(&other, &log.keys().key().name, 5);
    let append = |bytes: Vec<Vec<u8>>| {
        let (sender, acked) = std::sync::mpsc::channel();
        let parsed = bytes.iter().map(|b| UnverifiedEntry::parse(b).unwrap()).collect();
        log.append(parsed, move |ack| drop(sender.send(ack)));
        acked.recv().unwrap()
    };
    let bytes: Vec<Vec<u8>> = entries.iter().map(|e| e.bytes().to_vec()).collect();
    let mut forged = bytes.clone();
    let last = forged[4].len() - 1;
    forged[4][last] ^= 1;
    assert!(matches!(append(forged), Err(LogError::Entry(_))));
    assert!(matches!(append(bytes[1..].to_vec()), Err(LogError::Chain(_))));
    let elsewhere = chain(&other, "homing.audit/elsewhere", 1);
    assert!(matches!(append(vec![elsewhere[0].bytes().to_vec()]), Err(LogError::Chain(_))));
    assert_eq!(append(bytes.clone()).unwrap().size, 5);
    assert!(matches!(append(bytes), Err(LogError::Chain(_))));
}
