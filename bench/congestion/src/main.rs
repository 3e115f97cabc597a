//! Congestion controllers over links in userspace ([`link`]): throughput, what a neighbour feels, and
//! how two share.
//!
//! ```text
//! cargo xtask bench congestion [SECONDS [ROUNDS]]
//! ```
//! Both ends and the link are on this machine, so the case without delay measures the machine. Rounds are
//! interleaved, the table shows medians. Only the sender's controller matters: the client sends. The controllers are the
//! product's, by their words in `transport.congestion`.

// A bench is a face: its table is its answer.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "../../../crates/homing-node/src/transport/congestion/mod.rs"]
mod congestion;
#[path = "../../../crates/homing-node/tests/congestion/ends.rs"]
mod ends;
mod link;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use congestion::Congestion;
use link::{Bottleneck, Conditions, Link};
use noq::{Connection, Endpoint};

const CHUNK_BYTES: usize = 64 * 1024;
/// A home uplink of a good kind.
const NARROW_BITS_PER_SECOND: f64 = 50e6;
/// A port of an old switch.
const NEAR_BITS_PER_SECOND: f64 = 100e6;
const LOSS: u64 = 10;

struct Case {
    name: &'static str,
    conditions: Conditions,
    /// The buffer of the narrow place, where there is one.
    buffer: Option<Duration>,
}

fn cases() -> Vec<Case> {
    let link = |millis, loss_permille, rate| Conditions {
        delay: Duration::from_millis(millis),
        loss_permille,
        rate,
    };
    let narrow = Some(NARROW_BITS_PER_SECOND);
    let buffer = |millis| Some(Duration::from_millis(millis));
    vec![
        Case { name: "0 ms, 0 %", conditions: link(0, 0, None), buffer: None },
        Case { name: "0 ms, 1 %", conditions: link(0, LOSS, None), buffer: None },
        Case {
            name: "0 ms, 0 %, 100 Mbit/s, buffer 100 ms",
            conditions: link(0, 0, Some(NEAR_BITS_PER_SECOND)),
            buffer: buffer(100),
        },
        Case { name: "50 ms, 0 %", conditions: link(25, 0, None), buffer: None },
        Case { name: "50 ms, 1 %", conditions: link(25, LOSS, None), buffer: None },
        Case {
            name: "50 ms, 0 %, 50 Mbit/s, buffer 50 ms",
            conditions: link(25, 0, narrow),
            buffer: buffer(50),
        },
        Case {
            name: "50 ms, 0 %, 50 Mbit/s, buffer 250 ms",
            conditions: link(25, 0, narrow),
            buffer: buffer(250),
        },
        Case {
            name: "50 ms, 1 %, 50 Mbit/s, buffer 50 ms",
            conditions: link(25, LOSS, narrow),
            buffer: buffer(50),
        },
    ]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|a| a.parse::<u64>().ok());
    let seconds = Duration::from_secs(arguments.next().unwrap_or(5));
    let rounds = arguments.next().unwrap_or(3);
    println!("{seconds:?} each, medians of {rounds} interleaved rounds");
    println!(
        "\n{:<38} {:>8} {:>9} {:>14}",
        "link (round trip, loss)", "sender", "Mbit/s", "neighbour ms"
    );
    for case in cases() {
        let mut samples = vec![Vec::new(); Congestion::ALL.len()];
        for round in 0..rounds {
            for (column, one) in Congestion::ALL.into_iter().enumerate() {
                samples[column].push(alone(&case, one, seconds, round).await);
            }
        }
        for (one, samples) in Congestion::ALL.into_iter().zip(samples) {
            let name = one.word();
            let (rates, pings) = samples.into_iter().unzip();
            let ping = case.buffer.map_or_else(String::new, |_| format!("{:.0}", median(pings)));
            println!("{:<38} {name:>8} {:>9.1} {ping:>14}", case.name, median(rates));
        }
    }
    shares(seconds, rounds).await;
}

/// Two senders through one narrow place.
async fn shares(seconds: Duration, rounds: u64) {
    println!("\ntwo senders, 50 ms, 50 Mbit/s, buffer 50 ms: Mbit/s of each");
    let pairs = [
        (Congestion::Cubic, Congestion::Cubic),
        (Congestion::Auto, Congestion::Auto),
        (Congestion::Auto, Congestion::Cubic),
    ];
    for (first, second) in pairs {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let (a, b) = together(first, second, seconds * 2, round).await;
            ours.push(a);
            theirs.push(b);
        }
        let (first, second) = (first.word(), second.word());
        println!("{first:>8} {:>6.1}   {second:>8} {:>6.1}", median(ours), median(theirs));
    }
}

/// One sender alone: its rate, and the median round trip of a quiet neighbour on the same narrow place.
async fn alone(case: &Case, one: Congestion, seconds: Duration, round: u64) -> (f64, f64) {
    let narrow = narrow(case);
    let sender = Flow::open(one, case.conditions, narrow.clone(), round * 2).await;
    let Some(_) = &narrow else { return (sender.rate(seconds).await, 0.0) };
    let quiet = Conditions { loss_permille: 0, ..case.conditions };
    let neighbour = Flow::open(Congestion::Cubic, quiet, narrow, round * 2 + 1).await;
    tokio::join!(sender.rate(seconds), neighbour.ping(seconds))
}

async fn together(
    first: Congestion,
    second: Congestion,
    seconds: Duration,
    round: u64,
) -> (f64, f64) {
    let case = cases().into_iter().find(|case| case.name.contains("50 Mbit/s")).unwrap();
    let narrow = narrow(&case);
    let a = Flow::open(first, case.conditions, narrow.clone(), round * 2).await;
    let b = Flow::open(second, case.conditions, narrow, round * 2 + 1).await;
    tokio::join!(a.rate(seconds), b.rate(seconds))
}

fn narrow(case: &Case) -> Option<Arc<Bottleneck>> {
    Some(Bottleneck::new(case.conditions.rate?, case.buffer?))
}

/// A connection over a link of its own.
struct Flow {
    near: Connection,
    far: Connection,
    _keep: (Endpoint, Endpoint, Link),
}

impl Flow {
    async fn open(
        one: Congestion,
        conditions: Conditions,
        narrow: Option<Arc<Bottleneck>>,
        seed: u64,
    ) -> Self {
        let local: SocketAddr = ([127, 0, 0, 1], 0).into();
        let (server_config, client_config) = ends::configurations(one.factory());
        let server = Endpoint::server(server_config, local).unwrap();
        let link = Link::open(server.local_addr().unwrap(), conditions, narrow, seed).unwrap();
        let client = Endpoint::client(local).unwrap();
        let connecting = client.connect_with(client_config, link.entrance, "localhost").unwrap();
        let accepting = async { server.accept().await.unwrap().await.unwrap() };
        let (near, far) = tokio::join!(async { connecting.await.unwrap() }, accepting);
        Self { near, far, _keep: (server, client, link) }
    }

    /// Mbit/s received in the last four fifths of the time: the first fifth is the start.
    async fn rate(&self, time: Duration) -> f64 {
        let end = Instant::now() + time;
        let sender = async {
            let mut stream = self.near.open_uni().await.unwrap();
            let chunk = vec![7; CHUNK_BYTES];
            while Instant::now() < end {
                stream.write_all(&chunk).await.unwrap();
            }
            stream.reset(0_u32.into()).ok();
        };
        let receiver = async {
            let mut stream = self.far.accept_uni().await.unwrap();
            let (begin, mut bytes) = (end - time * 4 / 5, 0);
            let mut buffer = vec![0; CHUNK_BYTES];
            while let Ok(Some(length)) = stream.read(&mut buffer).await {
                let now = Instant::now();
                bytes += if now > begin && now < end { length } else { 0 };
            }
            bytes as f64 * 8.0 / 1e6 / (time.as_secs_f64() * 0.8)
        };
        tokio::join!(sender, receiver).1
    }

    /// The median round trip in milliseconds of small messages.
    async fn ping(&self, time: Duration) -> f64 {
        let end = Instant::now() + time;
        let asker = async {
            let (mut send, mut recv) = self.near.open_bi().await.unwrap();
            let (mut trips, mut answer) = (Vec::new(), [0; 64]);
            while Instant::now() < end {
                let started = Instant::now();
                send.write_all(&[1; 64]).await.unwrap();
                recv.read_exact(&mut answer).await.unwrap();
                trips.push(started.elapsed().as_secs_f64() * 1e3);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            send.finish().unwrap();
            median(trips)
        };
        let answerer = async {
            let (mut send, mut recv) = self.far.accept_bi().await.unwrap();
            let mut question = [0; 64];
            while recv.read_exact(&mut question).await.is_ok() {
                send.write_all(&question).await.unwrap();
            }
        };
        tokio::join!(asker, answerer).0
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
