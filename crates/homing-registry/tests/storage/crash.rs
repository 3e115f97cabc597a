//! `kill -9` under load: what was acknowledged is there, nothing is torn, the index agrees.
//!
//! The parent starts this test binary again with `HOMING_CRASH_FOLDER` set: that child registers as fast as
//! it can and writes a line for each answer *after* it came. The parent kills it at a random moment, opens
//! the file, and looks for every line. `HOMING_CRASH_ROUNDS` says how often (10 unless told).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use homing_registry::storage::{Put, Query, Storage};

use crate::backend;
use crate::fixtures::{at, draft, key};

const FOLDER: &str = "HOMING_CRASH_FOLDER";
const ROUNDS: &str = "HOMING_CRASH_ROUNDS";
const WRITERS: u32 = 16;
/// Identities of one round; a child that is not killed in time ends by itself.
const PER_ROUND: u32 = 20_000;
/// A number in a line of the child.
const ACKNOWLEDGED: &str = "acknowledged ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return child(Path::new(&folder)).await;
    }
    let rounds = std::env::var(ROUNDS).map_or(10, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut chance = std::process::id().wrapping_mul(2_654_435_761) | 1;
    println!("seed {chance}");
    let mut all = Vec::new();
    for round in 0..rounds {
        // xorshift (Marsaglia 2003): only the moment of death hangs on it.
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        let acknowledged =
            one_life(folder.path(), round, Duration::from_millis(u64::from(chance % 400)));
        all.extend(acknowledged);
        let store = backend::open(folder.path());
        store.check().await.unwrap_or_else(|e| panic!("round {round}: {e}"));
        let totals = store.totals(at(0)).await.unwrap();
        assert!(totals.entities >= all.len() as u64, "round {round}: {totals:?}, {}", all.len());
        assert_eq!(totals.entities, totals.changes, "round {round}: one change for each");
        for n in &all {
            let kept = store.entity(&key(*n).node_id()).await.unwrap();
            assert_eq!(kept.expect("acknowledged").listing.title, title(*n), "round {round}");
        }
        if let Some(n) = all.last() {
            let query = Query { text: title(*n), limit: 1, ..Query::default() };
            assert_eq!(store.search(at(0), &query).await.unwrap().total, 1);
        }
    }
    assert!(all.len() > rounds as usize, "only {} were acknowledged", all.len());
    println!("{rounds} deaths, {} acknowledged registrations, none lost", all.len());
}

fn title(n: u32) -> String {
    format!("agent{n}")
}

/// Starts a child, kills it some time after its first answer, and returns what it acknowledged.
fn one_life(folder: &Path, round: u32, delay: Duration) -> Vec<u32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::what_was_acknowledged_survives_kill_9", "--nocapture"])
        .env(FOLDER, folder)
        .env("HOMING_CRASH_FIRST", (round * PER_ROUND).to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (first, started) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse().ok());
        let told = numbers.inspect(|_| {
            // Only the first is waited for.
            let _ = first.send(());
        });
        told.collect()
    });
    started.recv_timeout(Duration::from_secs(60)).expect("the child answers");
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

async fn child(folder: &Path) {
    let store: Arc<dyn Storage> = Arc::new(backend::open(folder));
    let first: u32 = std::env::var("HOMING_CRASH_FIRST").unwrap().parse().unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in (first + writer..first + PER_ROUND).step_by(WRITERS as usize) {
                    let registration = draft(n, 0).title(&title(n)).with_card(&[b'c'; 700]).done();
                    assert_eq!(store.put(at(0), registration).await.unwrap(), Put::Created);
                    // One write: a line is there whole or not at all.
                    std::io::stdout().write_all(format!("{ACKNOWLEDGED}{n}\n").as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}
