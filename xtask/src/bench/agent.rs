//! What a user meets: how fast an agent starts, what it weighs, how long a move is felt.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::daemon::{Daemon, in_scratch};

const STARTS: usize = 9;
const MOVES: usize = 11;
const IDLE_PEERS: usize = 12;

/// Prints the table.
pub fn measure(binary: &Path) -> Result<()> {
    in_scratch(|scratch| measure_in(binary, scratch))
}

fn measure_in(binary: &Path, scratch: &Path) -> Result<()> {
    println!("{:<52} {:>10} {:>10}", "what", "median", "worst");
    let mut relay = Daemon::new(binary, scratch, "relay")?;
    let url = serve_relay(&mut relay)?;
    starts(binary, scratch, &url)?;
    idle_memory(binary, scratch, &url)?;
    peer_memory(binary, scratch, &url)?;
    moves(binary, scratch, &url)
}

/// Starts a relay on loopback and returns what to pass to `--relay`.
fn serve_relay(relay: &mut Daemon) -> Result<String> {
    let flags = ["--listen", "127.0.0.1:0", "--quic-port", "0", "--hostname", "127.0.0.1"];
    relay.spawn(&[&["relay", "serve"], flags.as_slice()].concat())?;
    relay.until_ok(&["info"], Duration::from_secs(10))?;
    let info = relay.json(&["info"])?;
    let url = info["serving_relay"]["relay"].as_str().context("the relay names its URL")?;
    Ok(url.to_owned())
}

fn starts(binary: &Path, scratch: &Path, url: &str) -> Result<()> {
    let (mut commands, mut online) = (Vec::new(), Vec::new());
    for i in 0..STARTS {
        let daemon = Daemon::new(binary, scratch, &format!("start-{i}"))?;
        let began = Instant::now();
        daemon.json(&["daemon", "start", "--hostname", "starter", "--relay", url])?;
        commands.push(began.elapsed());
        daemon.json(&["wait", "online", "--timeout", "10s"])?;
        online.push(began.elapsed());
        daemon.json(&["daemon", "stop"])?;
    }
    row_ms("`daemon start` returns (ms)", &mut commands);
    row_ms("`daemon start` to reachable through the relay (ms)", &mut online);
    Ok(())
}

fn idle_memory(binary: &Path, scratch: &Path, url: &str) -> Result<()> {
    let mut daemon = Daemon::new(binary, scratch, "idle")?;
    daemon.start(&["--hostname", "idle", "--relay", url])?;
    std::thread::sleep(Duration::from_secs(5));
    let with_relay = daemon.memory_bytes()?;
    row("idle daemon with one relay (MB)", with_relay as f64 / 1e6);
    let mut alone = Daemon::new(binary, scratch, "alone")?;
    alone.start(&["--hostname", "alone"])?;
    std::thread::sleep(Duration::from_secs(5));
    row("idle daemon without relay (MB)", alone.memory_bytes()? as f64 / 1e6);
    Ok(())
}

fn peer_memory(binary: &Path, scratch: &Path, url: &str) -> Result<()> {
    let mut hub = Daemon::new(binary, scratch, "hub")?;
    hub.start(&["--hostname", "hub", "--relay", url])?;
    std::thread::sleep(Duration::from_secs(2));
    let before = hub.memory_bytes()?;
    let mut peers = Vec::new();
    for i in 0..IDLE_PEERS {
        let name = format!("peer-{i}");
        let mut peer = Daemon::new(binary, scratch, &name)?;
        peer.start(&["--hostname", &name, "--relay", url])?;
        befriend(&peer, &hub, "hub")?;
        peers.push(peer);
    }
    std::thread::sleep(Duration::from_secs(5));
    let grown = hub.memory_bytes()?.saturating_sub(before);
    row("memory per idle trusted peer (kB)", grown as f64 / 1e3 / IDLE_PEERS as f64);
    Ok(())
}

/// The same identity on a fresh home each time, after a `kill -9`: from the new daemon's start to
/// the first answered ping of a peer that was never reconfigured.
fn moves(binary: &Path, scratch: &Path, url: &str) -> Result<()> {
    let mut watcher = Daemon::new(binary, scratch, "watcher")?;
    watcher.start(&["--hostname", "watcher", "--relay", url])?;
    let mut mover = Daemon::new(binary, scratch, "mover-0")?;
    mover.start(&["--hostname", "mover", "--relay", url])?;
    befriend(&mover, &watcher, "watcher")?;
    watcher.until_ok(&["ping", "mover", "-c", "1"], Duration::from_secs(10))?;
    let mut gaps = Vec::new();
    for i in 1..=MOVES {
        mover.kill()?;
        let mut next = mover.reborn(scratch, &format!("mover-{i}"))?;
        let began = Instant::now();
        next.spawn(&["daemon", "run", "--hostname", "mover", "--relay", url])?;
        watcher.until_ok(&["ping", "mover", "-c", "1"], Duration::from_secs(30))?;
        gaps.push(began.elapsed());
        mover = next;
        std::thread::sleep(Duration::from_millis(500));
    }
    row_ms("move: new daemon's start to first answered ping (ms)", &mut gaps);
    Ok(())
}

/// `asker` asks `owner` for trust, `owner` approves.
fn befriend(asker: &Daemon, owner: &Daemon, owner_name: &str) -> Result<()> {
    asker.until_ok(&["handshake", owner_name], Duration::from_secs(10))?;
    let id = asker.json(&["info"])?["node_id"].as_str().context("a node ID")?.to_owned();
    owner.until_ok(&["approve", &id], Duration::from_secs(10))?;
    asker.json(&["wait", "trusted", owner_name, "--timeout", "10s"])?;
    Ok(())
}

fn row(what: &str, value: f64) {
    println!("{what:<52} {value:>10.1}");
}

fn row_ms(what: &str, times: &mut [Duration]) {
    times.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let (median, worst) = (ms(times[times.len() / 2]), ms(times[times.len() - 1]));
    println!("{what:<52} {median:>10.0} {worst:>10.0}");
}
