//! A thousand streams at once between two daemons as they are started by anybody: with the usual limit of open files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Home, PATIENCE, Running, befriend, listening, relay};

const STREAMS: usize = 1_000;
/// The soft limit that most systems start programs with.
const USUAL_FILES: u64 = 1_024;

/// Here both ends of every connection are open. Whether that many files can be.
fn many_files() -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 4 * STREAMS as u64;
    if hard < wanted {
        let why = format!("{hard} open files at most, {wanted} are wanted");
        let line = format!("SKIPPED: a_thousand_streams_are_open_at_once: {why}\n");
        // Not captured, so that it is counted.
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        return false;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).unwrap();
    true
}

/// Runs with `USUAL_FILES` for what is started by it from now on.
fn usual_files<T>(start: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, USUAL_FILES, hard).unwrap();
    let started = start();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    started
}

fn agent(name: &str, url: &str) -> Home {
    let mut home = Home::new();
    home.start(&["--hostname", name, "--listen", "127.0.0.1:0", "--relay", url]);
    home
}

/// A server that sends back what it is sent, with a small thread per connection.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let echo = move || {
                let mut to = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut to);
            };
            thread::Builder::new().stack_size(64 * 1_024).spawn(echo).unwrap();
        }
    });
    place
}

/// Everybody speaks before anybody listens, so that all are open at once; twice.
fn converse(to: SocketAddr) {
    let mut open: Vec<TcpStream> = (0..STREAMS).map(|_| TcpStream::connect(to).unwrap()).collect();
    for turn in 0..2 {
        let said = |n: usize| format!("turn {turn} of stream {n}");
        for (n, stream) in open.iter_mut().enumerate() {
            stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
            stream.write_all(said(n).as_bytes()).unwrap();
        }
        for (n, stream) in open.iter_mut().enumerate() {
            let mut heard = vec![0; said(n).len()];
            stream.read_exact(&mut heard).unwrap_or_else(|e| panic!("stream {n}: {e}"));
            assert_eq!(heard, said(n).as_bytes());
        }
    }
}

/// A thousand connections of local programs through `forward` to what the peer exposes, and as many to what it listens to.
#[test]
fn a_thousand_streams_are_open_at_once() {
    if !many_files() {
        return;
    }
    let (_relay, url) = relay();
    let (a, b) = usual_files(|| (agent("agent-a", &url), agent("agent-b", &url)));
    befriend(&a, &b, "agent-b");
    let echo = echo_server().to_string();
    b.json(&["expose", &echo, "--name", "exposed", "--tcp"]);
    let _listener = usual_files(|| listening(&b, &["listened", "--to", &echo]));
    for service in ["exposed", "listened"] {
        let target = format!("agent-b:{service}");
        let mut forward = a.command(&["forward", "0", &target, "-o", "name", "--timeout", "60s"]);
        let forward = usual_files(|| forward.stdout(Stdio::piped()).spawn());
        let mut forward = Running(forward.unwrap());
        let mut place = String::new();
        BufReader::new(forward.0.stdout.take().unwrap()).read_line(&mut place).unwrap();
        converse(place.trim().parse().unwrap());
        println!("{service}: {STREAMS} streams answered");
    }
    // What the daemons had open for them is closed again.
    let deadline = std::time::Instant::now() + 2 * PATIENCE;
    loop {
        let streams = b.json(&["status"])["peers"][0]["streams"].as_u64().unwrap();
        if streams == 0 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{streams} streams are still open");
        thread::sleep(Duration::from_millis(50));
    }
}
