//! `homing audit export`, then somebody tampers, then `homing audit verify DIR`: each kind is found, called by its name, and the
//! entry is told. An outsider has the files; the owner can also sign everything anew.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use homing_audit::{Log, Options};
use homing_base::{IdentityKey, Wall};
use homing_core::audit::entry::RoleChange;
use homing_core::audit::note::KeyType;
use homing_core::audit::tiles::{parse_bundle, push_entry, tile_bytes};
use homing_core::audit::{
    Checkpoint, Entry, Fact, Frontier, Hash, NoteKey, NoteSigner, PURPOSE_LOG, UnverifiedEntry,
};

use crate::support::Home;

const BEGUN: Wall = Wall(1_700_000_000_000);
const ENTRIES: u64 = 40;
/// The entry that is tampered with.
const AT: usize = 17;

fn identity() -> IdentityKey {
    IdentityKey::from_seed([7; 32])
}

fn fact(n: u64) -> Fact {
    Fact::Role(RoleChange { role: format!("role {n}"), on: true })
}

/// A home with a log of forty entries that was begun at `begun`.
fn logged(begun: Wall) -> Home {
    let home = Home::new();
    let log = Log::open(&home.path("audit"), &identity(), begun, Options::default()).unwrap();
    let (acks, acked) = mpsc::channel();
    for n in 0..ENTRIES {
        let acks = acks.clone();
        log.record(Wall(BEGUN.0 + n), fact(n), move |ack| {
            let _ = acks.send(ack.unwrap());
        });
    }
    drop(acks);
    assert_eq!(acked.iter().count() as u64, ENTRIES);
    home
}

/// An exported log, and what a tamperer does with it.
struct Export {
    home: Home,
    dir: PathBuf,
}

impl Export {
    fn new() -> Self {
        let home = logged(BEGUN);
        let dir = home.path("export");
        home.json(&["audit", "export", dir.to_str().unwrap()]);
        let export = Self { home, dir };
        let good = export.home.json(&["audit", "verify", export.dir()]);
        assert_eq!(good["entries"], ENTRIES, "untouched, it is good");
        export
    }

    fn dir(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    fn bundle(&self) -> PathBuf {
        self.dir.join(format!("tile/entries/000.p/{ENTRIES}"))
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.bundle()).unwrap();
        parse_bundle(&bytes).unwrap().into_iter().map(<[u8]>::to_vec).collect()
    }

    /// An outsider: the entries are others, nothing else is.
    fn put(&self, entries: &[Vec<u8>]) {
        std::fs::write(self.bundle(), bundled(entries)).unwrap();
    }

    /// The owner: tiles and head are made anew around these entries.
    fn sign_anew(&self, entries: &[Vec<u8>]) {
        let count = entries.len() as u64;
        std::fs::remove_dir_all(self.dir.join("tile")).unwrap();
        let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
        let mut frontier = Frontier::default();
        leaves.iter().for_each(|leaf| frontier.push(*leaf));
        write(&self.dir.join(format!("tile/entries/000.p/{count}")), &bundled(entries));
        write(&self.dir.join(format!("tile/0/000.p/{count}")), &tile_bytes(&leaves));
        let origin = self.origin();
        let signer = NoteSigner::new(&origin, KeyType::Ed25519, identity().derive(PURPOSE_LOG));
        let head = Checkpoint::new(&origin, count, frontier.root()).sign(&signer.unwrap());
        write(&self.dir.join("checkpoint"), head.to_string().as_bytes());
    }

    fn origin(&self) -> String {
        let key = std::fs::read_to_string(self.dir.join("key")).unwrap();
        key.trim_end().parse::<NoteKey>().unwrap().name
    }

    /// What is said about it.
    #[track_caller]
    fn found(&self, more: &[&str], words: &str) {
        let error = self.home.failure(&[&["audit", "verify", self.dir()], more].concat());
        assert_eq!(error["code"], "audit_chain_broken", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "expected {words:?}: {message}");
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn bundled(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| push_entry(&mut bytes, entry));
    bytes
}

/// The owner signs entries from `AT` on again, chained; `change` sees each before it is signed.
fn signed_again(good: &[Vec<u8>], change: impl Fn(usize, &mut Entry)) -> Vec<Vec<u8>> {
    let mut entries = good[..AT].to_vec();
    for (at, bytes) in good.iter().enumerate().skip(AT) {
        let mut entry = UnverifiedEntry::parse(bytes).unwrap().claimed().clone();
        entry.previous = entries.last().map(|before| Hash::leaf(before));
        change(at, &mut entry);
        entries.push(entry.sign(&identity()).unwrap().bytes().to_vec());
    }
    entries
}

#[test]
fn a_flipped_bit_anywhere_in_an_entry_is_that_entry_changed() {
    let export = Export::new();
    let good = export.entries();
    for byte in 0..good[AT].len() {
        let mut bad = good.clone();
        bad[AT][byte] ^= 1 << (byte % 8);
        export.put(&bad);
        export.found(&[], "entry 17 was changed");
        // Also when the leaf in the tile was made to fit.
        if byte % 16 == 0 {
            let tile = export.dir.join(format!("tile/0/000.p/{ENTRIES}"));
            let kept = std::fs::read(&tile).unwrap();
            let leaves: Vec<Hash> = bad.iter().map(|entry| Hash::leaf(entry)).collect();
            write(&tile, &tile_bytes(&leaves));
            export.found(&[], "entry 17 was changed");
            write(&tile, &kept);
        }
    }
    // The length before the entry.
    let mut bytes = bundled(&good);
    let at = bundled(&good[..AT]).len();
    bytes[at] ^= 0x40;
    std::fs::write(export.bundle(), &bytes).unwrap();
    export.found(&[], "entry 17 is cut off, or its length was changed");
}

#[test]
fn what_was_dropped_moved_repeated_or_cut_off_is_named() {
    let export = Export::new();
    let good = export.entries();
    let without = [&good[..AT], &good[AT + 1..]].concat();
    let mut swapped = good.clone();
    swapped.swap(AT, AT + 1);
    let repeated = [&good[..AT], &good[AT - 1..]].concat();
    for (bad, words) in [
        (&without, "before entry 17 something was dropped"),
        (&swapped, "entry 17 is out of order"),
        (&repeated, "entry 17 is out of order"),
    ] {
        export.put(bad);
        export.found(&[], words);
    }
    let cut = &good[..30];
    export.put(cut);
    export.found(&[], "truncated: entry 30 and later ones up to 40 are missing");
    for (bad, words) in [
        (&without, "before entry 17 something was dropped"),
        (&swapped, "entry 17 is out of order"),
        (&repeated, "entry 17 is out of order"),
    ] {
        let export = Export::new();
        export.sign_anew(bad);
        export.found(&[], words);
    }
}

#[test]
fn what_only_an_earlier_checkpoint_shows_is_shown_by_it() {
    let export = Export::new();
    let good = export.entries();
    let seen = export.home.path("seen").to_str().unwrap().to_owned();
    std::fs::copy(export.dir.join("checkpoint"), &seen).unwrap();
    // Cut short and signed anew: nothing in it is wrong, except for who saw more.
    export.sign_anew(&good[..30]);
    assert_eq!(export.home.json(&["audit", "verify", export.dir()])["entries"], 30);
    export.found(&["--seen", &seen], "truncated: entry 30 and later ones up to 40 are missing");
    // Another history.
    let other = signed_again(&good, |at, entry| entry.fact = fact(1_000 + at as u64));
    export.sign_anew(&other);
    assert_eq!(export.home.json(&["audit", "verify", export.dir()])["entries"], ENTRIES);
    export.found(&["--seen", &seen], "the log was forked before entry 40");
    // A checkpoint of another log says nothing about this one.
    let elsewhere = logged(Wall(BEGUN.0 + 1));
    let dir = elsewhere.path("export").to_str().unwrap().to_owned();
    elsewhere.json(&["audit", "export", &dir]);
    let foreign = format!("{dir}/checkpoint");
    let error = export.home.failure(&["audit", "verify", export.dir(), "--seen", &foreign]);
    assert_eq!(error["code"], "usage", "{error}");
}

#[test]
fn what_was_backdated_or_replayed_is_named() {
    let export = Export::new();
    let good = export.entries();
    let early = signed_again(&good, |at, entry| {
        if at == AT {
            entry.time = Wall(BEGUN.0 - 1);
        }
    });
    export.put(&early);
    export.found(&[], "entry 17 is backdated");
    export.sign_anew(&early);
    export.found(&[], "entry 17 is backdated");
    // A genuine entry of another log of the same owner.
    let elsewhere = logged(Wall(BEGUN.0 + 1));
    let dir = elsewhere.path("export");
    elsewhere.json(&["audit", "export", dir.to_str().unwrap()]);
    let theirs = Export { home: elsewhere, dir }.entries();
    let mut replayed = good.clone();
    replayed[AT] = theirs[AT].clone();
    let export = Export::new();
    export.put(&replayed);
    export.found(&[], "entry 17 was signed for another log");
    export.sign_anew(&replayed);
    export.found(&[], "entry 17 was signed for another log");
}

#[test]
fn a_missing_file_is_named_and_a_foreign_name_is_no_log() {
    for name in ["checkpoint", "key", "delegation", "tile/0/000.p/40"] {
        let export = Export::new();
        std::fs::remove_file(export.dir.join(name)).unwrap();
        export.found(&[], &format!("{name} was damaged: it is missing"));
    }
    // The log's key, delegated under another identity's name.
    let export = Export::new();
    let other = IdentityKey::from_seed([9; 32]);
    let name = export.origin();
    let delegation =
        other.delegate(identity().derive(PURPOSE_LOG).public(), PURPOSE_LOG, &name, BEGUN);
    write(&export.dir.join("delegation"), delegation.bytes());
    export.found(&[], "under another identity's name");
}
