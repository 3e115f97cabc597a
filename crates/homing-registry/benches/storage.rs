//! Storage in numbers: `cargo bench -p homing-registry --bench storage [-- --records 100000] [--sqlite]`.
//!
//! ```text
//! import     real signed records with cards of generated text (Zipf words): durable and found
//! search     a mixed set of queries, one after the other, median and 99th percentile
//! open       a new process opens the file and answers; its memory after all queries
//! durable    registrations per second, each waited for, by 1, 16 and 64 writers; synced
//! ```
//! SQLite in a temporary folder; PostgreSQL in a private cluster with `fsync` on, or skipped. Not asserted.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for one reader")]

#[path = "../tests/storage/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod postgres_server;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use homing_base::record::CardRef;
use homing_base::{AgentRecord, IdentityKey, InstanceId, Mono, Now, Seq, Wall};
use homing_registry::entity::{Source, StoredCard};
use homing_registry::listing::{EntityKind, Listing, Skill};
use homing_registry::storage::{Filter, Put, Query, Registration, SqliteStorage, Storage};
use nix::sys::resource::{UsageWho, getrusage};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

const T0: u64 = 1_780_000_000_000;
const VOCABULARY: u64 = 20_000;
const QUERIES: usize = 4_000;
const DURABLE: Duration = Duration::from_secs(3);
const OPEN: &str = "HOMING_BENCH_OPEN";

fn now() -> Now {
    Now { mono: Mono(0), wall: Wall(T0) }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if let Ok(path) = std::env::var(OPEN) {
        return reopened(Path::new(&path)).await;
    }
    let args: Vec<_> = std::env::args().collect();
    let records = args.iter().position(|a| a == "--records").and_then(|n| args.get(n + 1));
    let records = records.map_or(100_000, |n| n.parse().unwrap());
    let begun = Instant::now();
    let cards = generate(0, records);
    let spare = generate(records, 60_000);
    println!("{} records signed in {:.1} s", records + 60_000, begun.elapsed().as_secs_f64());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let sqlite: Arc<dyn Storage> = Arc::new(SqliteStorage::open(&path).unwrap());
    println!("-- SQLite");
    import(&sqlite, cards.clone()).await;
    search(&sqlite).await;
    drop(sqlite);
    println!("file: {} MiB", std::fs::metadata(&path).unwrap().len() >> 20);
    open_elsewhere(&path);
    let sqlite: Arc<dyn Storage> = Arc::new(SqliteStorage::open(&path).unwrap());
    durable(&sqlite, &spare).await;
    drop(sqlite);

    postgres_server::SYNCED.store(true, Ordering::Relaxed);
    if args.iter().any(|a| a == "--sqlite") {
        return;
    }
    if let Some(postgres) = postgres_server::storage("bench").await {
        println!("-- PostgreSQL");
        import(&postgres, cards).await;
        search(&postgres).await;
        durable(&postgres, &spare).await;
    }
}

async fn import(store: &Arc<dyn Storage>, cards: Vec<Registration>) {
    let (count, begun, cpu) = (cards.len(), Instant::now(), cpu_seconds());
    let answers = store.put_many(now(), cards).await.unwrap();
    assert!(answers.iter().all(|a| matches!(a, Ok(Put::Created))));
    let seconds = begun.elapsed().as_secs_f64();
    let (rate, cpu) = (count as f64 / seconds, cpu_seconds() - cpu);
    println!(
        "import: {count} cards in {seconds:.2} s ({rate:.0}/s), {cpu:.2} s of CPU here (target: 100000 in < 5 s)"
    );
}

async fn search(store: &Arc<dyn Storage>) {
    let queries = queries();
    for query in queries.iter().take(100) {
        store.search(now(), query).await.unwrap();
    }
    let (mut all, mut hits, cpu) = (Vec::new(), 0, cpu_seconds());
    for query in &queries {
        let begun = Instant::now();
        hits += store.search(now(), query).await.unwrap().hits.len();
        all.push((begun.elapsed(), query));
    }
    all.sort_by_key(|(time, _)| *time);
    let ms = |n: usize| all[n].0.as_secs_f64() * 1e3;
    let (p50, p99, max) = (ms(all.len() / 2), ms(all.len() * 99 / 100), ms(all.len() - 1));
    println!(
        "search: {QUERIES} queries, {hits} hits, p50 {p50:.2} ms, p99 {p99:.2} ms (target < 10), max {max:.2} ms, \
         {:.2} ms of CPU here each",
        (cpu_seconds() - cpu) * 1e3 / QUERIES as f64
    );
    let slow = all.last().unwrap().1;
    println!("slowest: {:?} {:?}", slow.text, slow.filter.tags);
}

async fn durable(store: &Arc<dyn Storage>, spare: &[Registration]) {
    let next = Arc::new(AtomicUsize::new(0));
    let spare: Arc<[Registration]> = spare.into();
    for writers in [1, 16, 64] {
        let (first, begun) = (next.load(Ordering::Relaxed), Instant::now());
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let (store, next, spare) = (store.clone(), next.clone(), spare.clone());
                tokio::spawn(async move {
                    while begun.elapsed() < DURABLE {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let Some(registration) = spare.get(n) else { return };
                        store.put(now(), registration.clone()).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let done = next.load(Ordering::Relaxed).min(spare.len()) - first;
        let rate = done as f64 / begun.elapsed().as_secs_f64();
        println!("durable: {writers:>2} writers, {rate:.0} registrations/s");
    }
}

fn open_elsewhere(path: &Path) {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let status = again.env(OPEN, path).status().unwrap();
    assert!(status.success());
}

/// In a process that has done nothing else.
async fn reopened(path: &Path) {
    let begun = Instant::now();
    let store: Arc<dyn Storage> = Arc::new(SqliteStorage::open(path).unwrap());
    let query = Query { text: word(3), limit: 10, ..Query::default() };
    assert!(!store.search(now(), &query).await.unwrap().hits.is_empty());
    let took = begun.elapsed().as_secs_f64() * 1e3;
    println!(
        "open, index and first answer: {took:.0} ms, {:.2} s of CPU (target < 1 s)",
        cpu_seconds()
    );
    println!("memory: {} MiB after opening", resident());
    for query in queries() {
        store.search(now(), &query).await.unwrap();
    }
    println!("memory: {} MiB after {QUERIES} searches", resident());
}

/// CPU time of this process so far: what the machine's other work does not change.
fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// Resident memory of this process, MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// The n-th most frequent word: syllables, so that words share beginnings.
fn word(n: u64) -> String {
    const SYLLABLES: [&str; 20] = [
        "ra", "ti", "mo", "len", "ka", "sur", "vi", "do", "pre", "ta", "no", "gra", "bel", "co",
        "fi", "han", "lo", "mer", "que", "sta",
    ];
    let (mut rest, mut text) = (n + 400, String::new());
    while rest > 0 {
        text.push_str(SYLLABLES[(rest % 20) as usize]);
        rest /= 20;
    }
    text
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / f64::from(u32::MAX)
}

/// Zipf's law with exponent 1, by the inverse of the continuous distribution.
fn zipf(rng: &mut ChaCha8Rng) -> u64 {
    let n = (VOCABULARY as f64).powf(uniform(rng));
    (n as u64).min(VOCABULARY - 1)
}

fn text(rng: &mut ChaCha8Rng, words: u64) -> String {
    (0..words).map(|_| word(zipf(rng))).collect::<Vec<_>>().join(" ")
}

/// `count` registrations from number `first` on, by two threads.
fn generate(first: u32, count: u32) -> Vec<Registration> {
    let middle = first + count / 2;
    std::thread::scope(|scope| {
        let half = scope.spawn(move || (first..middle).map(registration).collect::<Vec<_>>());
        let rest: Vec<_> = (middle..first + count).map(registration).collect();
        let mut all = half.join().unwrap();
        all.extend(rest);
        all
    })
}

fn registration(n: u32) -> Registration {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(n));
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    let key = IdentityKey::from_seed(seed);
    let listing = listing(&mut rng);
    let card = card(&listing);
    let mut record =
        AgentRecord::new(key.public(), InstanceId(seed), Seq(T0 + u64::from(n % 1_000)), Wall(T0));
    record.name = format!("{}-{n}", word(u64::from(n) % 300)).parse().ok();
    record.tags = listing.tags.iter().take(3).cloned().collect();
    record.card = Some(CardRef { url: format!("https://a{n}.example/card"), sha256: card.sha256 });
    let record = record.sign(&key).unwrap();
    Registration { record, listing, card: Some(card), source: Source::Registered }
}

fn listing(rng: &mut ChaCha8Rng) -> Listing {
    let skills = (0..2 + rng.next_u32() % 3)
        .map(|_| Skill {
            id: format!("{}-{}", word(zipf(rng)), word(zipf(rng))),
            name: text(rng, 2),
            description: text(rng, 10),
            tags: vec![word(zipf(rng)), word(zipf(rng))],
        })
        .collect();
    Listing {
        title: text(rng, 3),
        summary: text(rng, 24).chars().take(200).collect(),
        category: word(u64::from(rng.next_u32() % 24)),
        kind: if rng.next_u32().is_multiple_of(5) {
            EntityKind::Service
        } else {
            EntityKind::Agent
        },
        tags: {
            let mut tags: Vec<_> = (0..5).map(|_| word(zipf(rng))).collect();
            tags.sort();
            tags.dedup();
            tags
        },
        skills,
        protocols: vec!["a2a".into(), "jsonrpc".into()],
        ..Listing::default()
    }
}

fn card(listing: &Listing) -> StoredCard {
    let bytes = serde_json::to_vec_pretty(listing).unwrap();
    let sha256 = Sha256::digest(&bytes).into();
    StoredCard { bytes, sha256, fetched: Wall(T0) }
}

/// One to three words, common and rare, with and without filters, beginnings of words, unknown words.
fn queries() -> Vec<Query> {
    let mut rng = ChaCha8Rng::seed_from_u64(77);
    let mut queries = Vec::with_capacity(QUERIES);
    for n in 0..QUERIES {
        let words = 1 + u64::from(rng.next_u32() % 3);
        let mut query = Query { text: text(&mut rng, words), limit: 10, ..Query::default() };
        match n % 10 {
            0 => query.filter.tags = vec![word(zipf(&mut rng))],
            1 => query.filter.category = Some(word(u64::from(rng.next_u32() % 24))),
            2 => query.filter.kind = Some(EntityKind::Service),
            3 => {
                query = Query {
                    filter: Filter { tags: vec![query.text.clone()], ..Filter::default() },
                    text: String::new(),
                    ..query
                }
            }
            4 => query.text.truncate(query.text.len() - 1),
            5 => query.text.push_str(" unheardof"),
            6 => query.offset = 20,
            _ => {}
        }
        queries.push(query);
    }
    queries
}
