//! `cargo xtask bench audit`: what the log takes, with what the machine gives printed beside it.
//!
//! Entries are signed before the clock starts; `HOMING_BENCH_ENTRIES` sets how many (1 000 000).

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops at the first failure"
)]

use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use homing_audit::{Log, Options, Reader, Source, review};
use homing_base::{IdentityKey, Wall};
use homing_core::audit::entry::ReferenceUpdate;
use homing_core::audit::{Entry, Fact, Hash, SignedEntry, UnverifiedEntry};

const BEGUN: Wall = Wall(1_700_000_000_000);
/// Entries in flight in the throughput parts.
const IN_FLIGHT: usize = 1_024;

fn main() {
    let count = std::env::var("HOMING_BENCH_ENTRIES").ok().and_then(|n| n.parse().ok());
    let count: u64 = count.unwrap_or(1_000_000);
    let dir = tempfile::tempdir_in(std::env::var("HOMING_BENCH_DIR").unwrap_or("/var/tmp".into()));
    let dir = dir.unwrap();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{count} entries, {cores} cores, load {}", load.trim_end());
    println!("fdatasync of 4 KiB appended   {:>10.0} /s", fsyncs(dir.path()));
    let identity = IdentityKey::from_seed([7; 32]);
    let open = |name: &str| {
        Log::open(&dir.path().join(name), &identity, BEGUN, Options::default()).unwrap()
    };
    let preverified = open("preverified");
    let entries = sign(&identity, &preverified.keys().key().name, count);
    let bytes: usize = entries.iter().map(|entry| entry.bytes().len()).sum();
    println!("an entry                      {:>10} bytes", bytes / entries.len());
    println!("Ed25519 strict, one core      {:>10.0} /s", signatures(&entries));
    let append = |log: &Log, some: Vec<SignedEntry>, done| log.append_verified(some, done);
    let took = throughput(&preverified, &entries, append);
    report("preverified, durable", count, &took);
    drop(preverified);
    proofs(&dir.path().join("preverified"), count);
    let begun = Instant::now();
    drop(open("preverified"));
    println!("restart                       {:>10.3} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let mut source = Source::at(&dir.path().join("preverified")).unwrap();
    review(&mut source, &[], |_| {}).unwrap();
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!(
        "whole log verified            {rate:>10.0} /s, {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let verified = open("verified");
    let some = &entries[..entries.len().min(200_000)];
    let parse = |log: &Log, some: Vec<SignedEntry>, done| {
        let parsed = some.iter().map(|e| UnverifiedEntry::parse(e.bytes()).unwrap());
        log.append(parsed.collect(), done);
    };
    let took = throughput(&verified, some, parse);
    report("verified, durable", some.len() as u64, &took);
    drop(verified);
    single(&open("single"));
}

type Done = Box<dyn FnOnce(Result<homing_audit::Ack, homing_audit::LogError>) + Send>;

/// Appends in calls of 16, with so many in flight, and says how long each waited.
fn throughput(
    log: &Log,
    entries: &[SignedEntry],
    append: impl Fn(&Log, Vec<SignedEntry>, Done),
) -> (Duration, Vec<Duration>) {
    let (sender, acked) = mpsc::channel();
    let (mut flying, mut waits) = (0, Vec::new());
    let begun = Instant::now();
    for some in entries.chunks(16) {
        while flying >= IN_FLIGHT {
            waits.push(acked.recv().unwrap());
            flying -= 16;
        }
        let (sent, sender) = (Instant::now(), sender.clone());
        flying += 16;
        append(
            log,
            some.to_vec(),
            Box::new(move |ack| {
                ack.unwrap();
                let _ = sender.send(sent.elapsed());
            }),
        );
    }
    drop(sender);
    waits.extend(acked);
    (begun.elapsed(), waits)
}

fn report(what: &str, count: u64, (took, waits): &(Duration, Vec<Duration>)) {
    let mut waits = waits.clone();
    waits.sort();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1_000.0;
    let rate = count as f64 / took.as_secs_f64();
    println!("{what:<30}{rate:>10.0} /s, ack p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}

fn single(log: &Log) {
    let mut waits = Vec::new();
    for n in 0..2_000 {
        let (sender, acked) = mpsc::channel();
        let begun = Instant::now();
        log.record(Wall(BEGUN.0 + n), fact(n), move |ack| {
            let _ = sender.send(ack.unwrap().size);
        });
        acked.recv().unwrap();
        waits.push(begun.elapsed());
    }
    report("one writer, signed by the log", 2_000, &(waits.iter().sum(), waits));
}

fn proofs(dir: &Path, count: u64) {
    let mut reader = Reader::open(dir).unwrap();
    let begun = Instant::now();
    for n in 0..200 {
        reader.inclusion(n * (count / 200), count).unwrap();
    }
    println!("inclusion proof               {:>10.3} ms", begun.elapsed().as_secs_f64() * 5.0);
}

fn fact(n: u64) -> Fact {
    Fact::Reference(ReferenceUpdate {
        name: "k51qzi5uqu5dkkciu33khkzbcmxtyhn376i1e83tya8kuy7z9euedzyr5nhoew".into(),
        sequence: n,
        previous: Some("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".into()),
        value: "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".into(),
        timestamp: Wall(BEGUN.0 + n),
        signature: vec![7; 64],
        record: Hash::digest(&n.to_be_bytes()),
    })
}

fn sign(identity: &IdentityKey, origin: &str, count: u64) -> Vec<SignedEntry> {
    let log = Hash::digest(origin.as_bytes());
    let (author, mut previous) = (identity.public(), None);
    let sign = |sequence| {
        let time = Wall(BEGUN.0 + sequence);
        let entry = Entry { log, author, sequence, previous, time, fact: fact(sequence) };
        let entry = entry.sign(identity).unwrap();
        previous = Some(entry.leaf());
        entry
    };
    (0..count).map(sign).collect()
}

fn signatures(entries: &[SignedEntry]) -> f64 {
    let parsed: Vec<_> =
        entries.iter().take(5_000).map(|e| UnverifiedEntry::parse(e.bytes()).unwrap()).collect();
    let (count, begun) = (parsed.len(), Instant::now());
    parsed.into_iter().for_each(|entry| assert!(entry.verify().is_ok()));
    count as f64 / begun.elapsed().as_secs_f64()
}

fn fsyncs(dir: &Path) -> f64 {
    let mut file = std::fs::File::create(dir.join("probe")).unwrap();
    let begun = Instant::now();
    for _ in 0..500 {
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
    }
    500.0 / begun.elapsed().as_secs_f64()
}
