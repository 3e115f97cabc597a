//! Streams against what they stand on: Homing, a bare iroh stream and a raw TCP stream, interleaved
//! in one run over loopback, so that only the ratios matter.
//!
//! ```text
//! cargo bench -p homing-node --bench streams
//! ```
//! Each round moves [`BULK_BYTES`] one way and then plays [`PINGS`] ping-pongs of 64 bytes; the table
//! shows medians over [`ROUNDS`] rounds and the median of the per-round ratios.

// A bench is a face: its table is its answer.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use iroh::endpoint::presets;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

mod homing_pair;

const ROUNDS: usize = 7;
const BULK_BYTES: usize = 256 * 1024 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;
const PINGS: usize = 2_000;
const ALPN: &[u8] = b"homing-bench/bare";

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Both ends of one established stream.
pub(crate) struct Pair {
    near: (Writer, Reader),
    far: (Writer, Reader),
    /// Whatever must stay alive for the stream to live.
    _keep: Box<dyn std::any::Any + Send>,
}

struct Sample {
    mib_per_s: f64,
    rtt_us: f64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
    runtime.shutdown_timeout(Duration::from_secs(2));
}

async fn run() {
    let mut homing = homing_pair::open().await;
    let mut bare = bare_iroh().await;
    let mut tcp = raw_tcp().await;
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let samples =
            [measure(&mut homing).await, measure(&mut bare).await, measure(&mut tcp).await];
        // Round 0 warms congestion windows and caches.
        if round > 0 {
            rounds.push(samples);
        }
    }
    report(&rounds);
}

fn report(rounds: &[[Sample; 3]]) {
    println!(
        "{:<12} {:>12} {:>12} {:>12} {:>12}",
        "stream", "MiB/s", "x bare iroh", "rtt us", "x bare iroh"
    );
    for (column, name) in ["homing", "bare iroh", "raw tcp"].into_iter().enumerate() {
        let of = |f: &dyn Fn(&[Sample; 3]) -> f64| median(rounds.iter().map(f).collect());
        println!(
            "{name:<12} {:>12.0} {:>12.3} {:>12.0} {:>12.3}",
            of(&|r| r[column].mib_per_s),
            of(&|r| r[column].mib_per_s / r[1].mib_per_s),
            of(&|r| r[column].rtt_us),
            of(&|r| r[column].rtt_us / r[1].rtt_us),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(pair: &mut Pair) -> Sample {
    let mib_per_s = bulk(pair).await;
    Sample { mib_per_s, rtt_us: ping_pong(pair).await }
}

async fn bulk(pair: &mut Pair) -> f64 {
    let (write, read) = (&mut pair.near.0, &mut pair.far.1);
    let started = Instant::now();
    let sender = async {
        let chunk = vec![7u8; CHUNK_BYTES];
        for _ in 0..BULK_BYTES / CHUNK_BYTES {
            write.write_all(&chunk).await.unwrap();
        }
        write.flush().await.unwrap();
    };
    let receiver = async {
        let mut buffer = vec![0u8; CHUNK_BYTES];
        let mut left = BULK_BYTES;
        while left > 0 {
            let n = read.read(&mut buffer[..CHUNK_BYTES.min(left)]).await.unwrap();
            assert!(n > 0, "the stream ended early");
            left -= n;
        }
    };
    tokio::join!(sender, receiver);
    (BULK_BYTES / (1024 * 1024)) as f64 / started.elapsed().as_secs_f64()
}

async fn ping_pong(pair: &mut Pair) -> f64 {
    let (near, far) = (&mut pair.near, &mut pair.far);
    let mut trips = Vec::with_capacity(PINGS);
    let asker = async {
        let mut buffer = [0u8; 64];
        for _ in 0..PINGS {
            let started = Instant::now();
            near.0.write_all(&[1u8; 64]).await.unwrap();
            near.0.flush().await.unwrap();
            near.1.read_exact(&mut buffer).await.unwrap();
            trips.push(started.elapsed().as_secs_f64() * 1e6);
        }
    };
    let answerer = async {
        let mut buffer = [0u8; 64];
        for _ in 0..PINGS {
            far.1.read_exact(&mut buffer).await.unwrap();
            far.0.write_all(&buffer).await.unwrap();
            far.0.flush().await.unwrap();
        }
    };
    tokio::join!(asker, answerer);
    median(trips)
}

async fn bare_iroh() -> Pair {
    let bind = || async {
        iroh::Endpoint::builder(presets::Minimal)
            .alpns(vec![ALPN.to_vec()])
            .relay_mode(iroh::RelayMode::Disabled)
            .clear_ip_transports()
            .bind_addr("127.0.0.1:0")
            .unwrap()
            .bind()
            .await
            .unwrap()
    };
    let (a, b) = (bind().await, bind().await);
    let target = iroh::EndpointAddr::new(b.id()).with_ip_addr(b.bound_sockets()[0]);
    let accept = tokio::spawn({
        let b = b.clone();
        async move { b.accept().await.unwrap().accept().unwrap().await.unwrap() }
    });
    let near = a.connect(target, ALPN).await.unwrap();
    let far = accept.await.unwrap();
    let (mut near_send, near_recv) = near.open_bi().await.unwrap();
    near_send.write_all(b"!").await.unwrap();
    let (far_send, mut far_recv) = far.accept_bi().await.unwrap();
    far_recv.read_exact(&mut [0u8; 1]).await.unwrap();
    Pair {
        near: (Box::new(near_send), Box::new(near_recv)),
        far: (Box::new(far_send), Box::new(far_recv)),
        _keep: Box::new((a, b, near, far)),
    }
}

async fn raw_tcp() -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    Pair {
        near: (Box::new(near_write), Box::new(near_read)),
        far: (Box::new(far_write), Box::new(far_read)),
        _keep: Box::new(()),
    }
}
