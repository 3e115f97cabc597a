//! Flip, drop, reorder, truncate, fork, backdate, replay: each is found, and the entry is named.

use std::path::Path;

use homing_base::{IdentityKey, Wall};
use homing_core::audit::review::Review;
use homing_core::audit::tiles::{parse_bundle, push_entry};
use homing_core::audit::{Checkpoint, Entry, Frontier, Hash, SignedEntry};

use super::support::{BEGUN, chain, exported, fact, fault, identity};

fn entries(to: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(to.join("tile/entries/000.p/200")).unwrap();
    parse_bundle(&bytes).unwrap().into_iter().map(<[u8]>::to_vec).collect()
}

fn rewrite(to: &Path, entries: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| push_entry(&mut bytes, entry));
    std::fs::write(to.join("tile/entries/000.p/200"), bytes).unwrap();
}

#[test]
fn an_untouched_log_is_found_good() {
    let (_dir, to) = exported(200);
    assert_eq!(fault(&to), None);
    let (_dir, to) = exported(70_000);
    assert_eq!(fault(&to), None);
}

#[test]
fn flips_drops_and_reordering_are_named() {
    let (_dir, to) = exported(200);
    let good = entries(&to);
    let mut bad = good.clone();
    bad[17][60] ^= 1;
    rewrite(&to, &bad);
    assert!(fault(&to).unwrap().starts_with("entry 17 was changed"), "{:?}", fault(&to));
    let mut bad = good.clone();
    bad.remove(17);
    rewrite(&to, &bad);
    let words = fault(&to).unwrap();
    assert!(words.contains("before entry 17 something was dropped"), "{words}");
    let mut bad = good.clone();
    bad.swap(17, 18);
    rewrite(&to, &bad);
    assert!(fault(&to).unwrap().contains("entry 17"), "{:?}", fault(&to));
    let mut bad = good.clone();
    bad.truncate(150);
    rewrite(&to, &bad);
    let words = fault(&to).unwrap();
    assert!(words.contains("truncated") && words.contains("150"), "{words}");
    rewrite(&to, &good);
    assert_eq!(fault(&to), None);
}

#[test]
fn changed_tiles_and_heads_are_named() {
    let (_dir, to) = exported(700);
    let path = to.join("tile/0/001");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[32 * 3] ^= 1;
    std::fs::write(&path, bad).unwrap();
    assert!(fault(&to).unwrap().starts_with("entry 259 is not the one in the tree"));
    std::fs::write(&path, good).unwrap();
    let path = to.join("tile/1/000.p/2");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    std::fs::write(&path, bad).unwrap();
    assert!(fault(&to).unwrap().contains("tile/1/000.p/2"), "{:?}", fault(&to));
    std::fs::write(&path, good).unwrap();
    let path = to.join("checkpoint");
    let head = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, head.replace("\n700\n", "\n699\n")).unwrap();
    assert!(fault(&to).unwrap().contains("does not match the text"), "{:?}", fault(&to));
}

/// Reviews entries that hold by themselves, against the head that they lead to.
fn review_all(origin: &str, entries: &[SignedEntry], known: &[Checkpoint]) -> Result<(), String> {
    let mut review = Review::new(origin, known);
    let mut frontier = Frontier::default();
    for entry in entries {
        frontier.push(entry.leaf());
        review.take(entry.bytes(), None).map_err(|fault| fault.to_string())?;
    }
    let head = Checkpoint::new(origin, frontier.size(), frontier.root());
    review.finish(&head).map_err(|fault| fault.to_string())
}

#[test]
fn what_the_owner_itself_signs_anew_is_found_too() {
    let origin = "homing.audit/mine";
    let good = chain(&identity(), origin, 20);
    assert_eq!(review_all(origin, &good, &[]), Ok(()));
    // Backdated: genuine, chained, and earlier than the entry before it.
    let mut backdated = good.clone();
    let entry = Entry {
        log: Hash::digest(origin.as_bytes()),
        author: identity().public(),
        sequence: 20,
        previous: good.last().map(SignedEntry::leaf),
        time: Wall(BEGUN.0),
        fact: fact(20),
    };
    backdated.push(entry.sign(&identity()).unwrap());
    let words = review_all(origin, &backdated, &[]).unwrap_err();
    assert!(words.starts_with("entry 20 is backdated"), "{words}");
    // Replayed from another log.
    let mut replayed = good.clone();
    replayed.extend(chain(&IdentityKey::from_seed([9; 32]), "homing.audit/other", 1));
    let words = review_all(origin, &replayed, &[]).unwrap_err();
    assert!(words.contains("entry 20 was signed for another log"), "{words}");
    // Forked, and cut short: both against a head that somebody saw.
    let mut frontier = Frontier::default();
    good[..10].iter().for_each(|entry| frontier.push(entry.leaf()));
    let seen = Checkpoint::new(origin, 10, frontier.root());
    assert_eq!(review_all(origin, &good, std::slice::from_ref(&seen)), Ok(()));
    let words = review_all(origin, &good[..9], std::slice::from_ref(&seen)).unwrap_err();
    assert!(words.contains("truncated: entry 9"), "{words}");
    let mut other = good[..5].to_vec();
    for sequence in 5..12 {
        let entry = Entry {
            log: Hash::digest(origin.as_bytes()),
            author: identity().public(),
            sequence,
            previous: other.last().map(SignedEntry::leaf),
            time: Wall(BEGUN.0 + sequence),
            fact: fact(sequence + 100),
        };
        other.push(entry.sign(&identity()).unwrap());
    }
    let words = review_all(origin, &other, &[seen]).unwrap_err();
    assert!(words.contains("forked before entry 10"), "{words}");
}
