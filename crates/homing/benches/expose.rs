//! Small HTTP requests to a service behind `expose`, through two real daemons, beside the same server without them.
//!
//! ```text
//! direct    load ─────────────────────────────────────────────► server
//! forward   load ──► homing forward ──► daemon ══QUIC══► daemon ──► server
//! gateway   load ──► daemon's gateway          ══QUIC══► daemon ──► server
//! ```
//! All on one machine, load generator and server included, HTTP/1.1 with keep-alive. Rounds of the three ways alternate;
//! what is printed are medians over rounds and ratios to the direct way of the same run. Not asserted anywhere.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Instant;

use support::{agent, befriend, relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const ROUNDS: usize = 7;
/// Connections at once, and requests of each in one round.
const WIDE: (usize, usize) = (64, 400);
/// The same for the time that one request takes.
const NARROW: (usize, usize) = (1, 2_000);
const BODY: &str = "a small answer, as of a health check or a tool call\n";

struct Forward(Child);

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that answers every head with [`BODY`]; on a thread of its own.
fn server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream));
            }
        });
    });
    place
}

async fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let said = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    let (mut seen, mut buffer) = (Vec::new(), [0; 4_096]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..read]);
        while let Some(end) = end_of_head(&seen) {
            seen.drain(..end);
            if stream.write_all(said.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Seconds that `requests` on each of `connections` take.
async fn round(to: SocketAddr, path: &str, (connections, requests): (usize, usize)) -> f64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let mut open = JoinSet::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // Whatever the first has to open is open then.
        one(&mut stream, &request).await;
        open.spawn(async move { stream });
    }
    let streams = open.join_all().await;
    let began = Instant::now();
    let mut load = JoinSet::new();
    for mut stream in streams {
        let request = request.clone();
        load.spawn(async move {
            for _ in 0..requests {
                one(&mut stream, &request).await;
            }
        });
    }
    load.join_all().await;
    began.elapsed().as_secs_f64()
}

/// One request, and the whole answer.
async fn one(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut seen, mut buffer) = (Vec::with_capacity(512), [0; 2_048]);
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "closed: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..read]);
        if end_of_head(&seen).is_some_and(|head| seen.len() >= head + BODY.len()) {
            assert!(seen.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&seen));
            return;
        }
    }
}

fn median(list: &mut [f64]) -> f64 {
    list.sort_by(f64::total_cmp);
    list[list.len() / 2]
}

fn main() {
    let server = server();
    let (_relay, url) = relay();
    let (a, b) = (agent("agent-a", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    b.json(&["expose", &format!("http://{server}"), "--name", "web"]);
    let gateway: SocketAddr =
        a.json(&["info"])["gateway"]["listen"].as_str().unwrap().parse().unwrap();
    let mut command = a.command(&["forward", "0", "agent-b:web", "-o", "name"]);
    let mut forward = Forward(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut place = String::new();
    BufReader::new(forward.0.stdout.take().unwrap()).read_line(&mut place).unwrap();
    let ways = [
        ("direct", server, "/"),
        ("forward", place.trim().parse().unwrap(), "/"),
        ("gateway", gateway, "/@agent-b/web/"),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let measured = |shape| {
        let mut spent = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (list, (_, to, path)) in spent.iter_mut().zip(ways) {
                list.push(runtime.block_on(round(to, path, shape)));
            }
        }
        spent.map(|mut list| median(&mut list))
    };
    println!("{} connections, {} requests each, {ROUNDS} rounds", WIDE.0, WIDE.1);
    let wide = measured(WIDE);
    for (took, (name, ..)) in wide.iter().zip(ways) {
        let per_second = (WIDE.0 * WIDE.1) as f64 / took;
        println!("{name:<8} {per_second:>9.0} requests/s   {:.3} × direct", wide[0] / took);
    }
    println!("1 connection, one request after the other, {ROUNDS} rounds of {}", NARROW.1);
    let narrow = measured(NARROW).map(|took| took * 1e6 / NARROW.1 as f64);
    for (took, (name, ..)) in narrow.iter().zip(ways) {
        println!("{name:<8} {took:>9.1} µs per request   +{:.1} µs", took - narrow[0]);
    }
    println!("the gateway beside a stream that only carries: {:+.1} µs", narrow[2] - narrow[1]);
}
