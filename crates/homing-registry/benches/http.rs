//! The registry over HTTP/1.1 with keep-alive, the load generator in the same process on the same cores.
//!
//! ```text
//! hello     a bare axum route behind axum::serve, 5 bytes
//! resolve   GET /v1/entities/{node ID}: a local hit, the whole answer with its signed record
//! register  POST /v1/entities: verified, durable in SQLite before the answer, every record another identity
//! ```
//! Rounds are interleaved, medians are printed; CPU time per answer (server and generator together) also where the machine
//! is busy with something else. `BENCH_SECONDS` (3) per round, `BENCH_ROUNDS` (3), `BENCH_CONNECTIONS` (32).

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use homing_base::{AgentRecord, IdentityKey, InstanceId, Record, Seq, Wall};
use homing_registry::cards::{Fetcher, FetcherConfig};
use homing_registry::http::{Registry, Settings, serve};
use homing_registry::network::Alone;
use homing_registry::storage::sqlite::SqliteStorage;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ENTITIES: u64 = 1_000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let (seconds, rounds) = (setting("BENCH_SECONDS", 3), setting("BENCH_ROUNDS", 3));
    let connections = usize::try_from(setting("BENCH_CONNECTIONS", 32)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(folder.path()).await;
    let bare = bare().await;
    let known: Vec<Vec<u8>> = (0..ENTITIES).map(|n| registration(&record(n))).collect();
    let took = burst(registry, known, connections).await;
    println!("filled with {ENTITIES} entities in {:.2} s", took.as_secs_f64());
    let resolves: Vec<Vec<u8>> = (0..ENTITIES)
        .map(|n| {
            format!("GET /v1/entities/{} HTTP/1.1\r\nHost: x\r\n\r\n", key(n).node_id()).into()
        })
        .collect();
    let hello = vec![b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()];
    let time = Duration::from_secs(seconds);
    let (mut hellos, mut hits, mut registrations) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        hellos.push(flood(bare, hello.clone(), connections, time).await);
        hits.push(flood(registry, resolves.clone(), connections, time).await);
        let first = 1_000_000 * (round + 1);
        let fresh: Vec<_> = (first..first + 3_000).map(|n| registration(&record(n))).collect();
        let count = fresh.len();
        let took = burst(registry, fresh, connections).await;
        registrations.push(count as f64 / took.as_secs_f64());
    }
    let (hello, hello_us) = medians(hellos);
    let (hit, hit_us) = medians(hits);
    println!("hello     {hello:>9.0} /s   {hello_us:.1} µs of CPU each");
    println!(
        "resolve   {hit:>9.0} /s   {hit_us:.1} µs of CPU each   {:.2} of hello (target 20000 /s)",
        hit / hello
    );
    println!("register  {:>9.0} /s   durable", median(registrations));
}

fn medians(values: Vec<(f64, f64)>) -> (f64, f64) {
    let (rates, costs) = values.into_iter().unzip();
    (median(rates), median(costs))
}

/// CPU time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn key(n: u64) -> IdentityKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    IdentityKey::from_seed(seed)
}

fn record(n: u64) -> Record {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (key, wall) = (key(n), Wall::default().after(now));
    let mut content = AgentRecord::new(key.public(), InstanceId([9; 32]), Seq(wall.0), wall);
    content.name = Some(format!("agent-{n}").parse().unwrap());
    content.tags = vec!["bench".into(), "weather".into()];
    content.sign(&key).unwrap()
}

fn registration(record: &Record) -> Vec<u8> {
    let bytes = record.bytes();
    let head = format!(
        "POST /v1/entities HTTP/1.1\r\nHost: x\r\nContent-Type: application/cose\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    [head.as_bytes(), bytes].concat()
}

async fn registry(folder: &std::path::Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let storage = Arc::new(SqliteStorage::open(folder.join("registry.db")).unwrap());
    let network = Arc::new(Alone { node_id: key(u64::MAX).node_id() });
    let settings = Settings { per_address: None, per_key: None, ..Settings::default() };
    let cards = Fetcher::new(FetcherConfig::default());
    let registry = Registry::new(storage, network, cards, settings);
    tokio::spawn(serve(listener, registry, std::future::pending()));
    address
}

async fn bare() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/", get(|| async { "hello" }));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

/// Answers per second while every connection asks again as soon as it has its answer, and µs of CPU per answer.
async fn flood(
    at: SocketAddr,
    asks: Vec<Vec<u8>>,
    connections: usize,
    time: Duration,
) -> (f64, f64) {
    let cpu = cpu_seconds();
    let (asks, answered) = (Arc::new(asks), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|first| {
            let (asks, answered) = (Arc::clone(&asks), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut client = Client::open(at).await;
                for n in (first..).step_by(connections) {
                    if began.elapsed() >= time {
                        return;
                    }
                    assert_eq!(client.ask(&asks[n % asks.len()]).await, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let answers = answered.load(Ordering::Relaxed) as f64;
    let cpu_us = (cpu_seconds() - cpu) * 1e6;
    (answers / began.elapsed().as_secs_f64(), cpu_us / answers)
}

/// How long it takes until each ask was answered once.
async fn burst(at: SocketAddr, asks: Vec<Vec<u8>>, connections: usize) -> Duration {
    let asks = Arc::new(asks);
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (asks, next) = (Arc::clone(&asks), Arc::clone(&next));
            tokio::spawn(async move {
                let mut client = Client::open(at).await;
                loop {
                    let n = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(ask) = asks.get(n) else { return };
                    assert_eq!(client.ask(ask).await, 201);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    began.elapsed()
}

/// One connection that asks one thing at a time.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn open(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(16 * 1_024) }
    }

    async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the connection was closed");
            if let Some(status) = whole(&self.buffer) {
                return status;
            }
        }
    }
}

/// The status of an answer that is there completely.
fn whole(bytes: &[u8]) -> Option<u16> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    let length: usize = length.parse().unwrap();
    (bytes.len() >= end + length).then(|| head[9..12].parse().unwrap())
}
