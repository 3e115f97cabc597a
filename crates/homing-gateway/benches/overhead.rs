//! What the gateway adds to a small request: one connection, one request after the other, interleaved rounds.
//!
//! ```text
//! direct   client ─────────────────────────► service
//! path     client ──/@agent-b/app/──► gateway ──► service
//! proxy    client ──http://app.agent-b.agent.internal/──► gateway ──► service
//! ```
//! The mesh is a TCP connection here, so that what is measured is the gateway and not the transport. Medians over rounds; the
//! load generator runs on the same machine. Not asserted anywhere.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Instant;

use homing_gateway::Settings;
use support::{World, head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: usize = 21;
const REQUESTS: usize = 2_000;

/// Microseconds per request over one kept connection.
async fn round(to: SocketAddr, target: &str) -> f64 {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let mut whole = 0;
    let mut buffer = vec![0; 4_096];
    let mut start = Instant::now();
    for n in 0..=REQUESTS {
        stream.write_all(request.as_bytes()).await.unwrap();
        if n == 0 {
            // The first opens the stream to the service, and tells how long answers are.
            let head = head(&mut stream).await;
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
            let length: usize = length.parse().unwrap();
            stream.read_exact(&mut buffer[..length]).await.unwrap();
            whole = head.len() + length;
            start = Instant::now();
        } else {
            stream.read_exact(&mut buffer[..whole]).await.unwrap();
        }
    }
    start.elapsed().as_secs_f64() * 1e6 / REQUESTS as f64
}

fn median(list: &mut [f64]) -> f64 {
    list.sort_by(f64::total_cmp);
    list[list.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let world = World::new(Settings::default()).await;
    let ways = [
        ("direct", world.app, "/"),
        ("path", world.gateway, "/@agent-b/app/"),
        ("proxy", world.gateway, "http://app.agent-b.agent.internal/"),
    ];
    let mut spent = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (list, (_, to, target)) in spent.iter_mut().zip(ways) {
            list.push(round(to, target).await);
        }
    }
    let direct = median(&mut spent[0]);
    for (list, (name, ..)) in spent.iter_mut().zip(ways) {
        let one = median(list);
        let (more, ratio) = (one - direct, one / direct);
        println!("{name:<8} {one:>7.1} µs per request   +{more:>6.1} µs   {ratio:.2} × direct");
    }
}
