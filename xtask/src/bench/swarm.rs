//! A DHT of real processes on loopback: how fast they join, what survives signal 9, what idling costs.
//!
//! ```text
//! N daemons, three of them told to the rest ──► all joined ──► idle: memory, traffic
//!   ──► half of them killed at once: every survivor's record, asked of another survivor
//!   ──► one restarted with its own store and nobody named, all that it was told of gone
//! ```
//! The same with fewer agents, asserted, is in `crates/homing-node/tests/dht`.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::daemon::{Daemon, agents_or, in_scratch};

/// Agents, unless `HOMING_SWARM` says another number.
const AGENTS: usize = 50;
/// Those that the others are told of.
const BOOTSTRAPS: usize = 3;
/// Queries at once: each is a process of its own, and the machine is busy enough.
const WORKERS: usize = 4;
const JOIN_MAX: Duration = Duration::from_secs(60);
const FIND_MAX: Duration = Duration::from_secs(30);
/// How long the idle swarm is watched.
const IDLE: Duration = Duration::from_secs(60);

struct Agent {
    daemon: Daemon,
    id: String,
}

/// Prints what was measured.
pub fn measure(binary: &Path) -> Result<()> {
    in_scratch(|scratch| measure_in(binary, scratch))
}

fn measure_in(binary: &Path, scratch: &Path) -> Result<()> {
    let count = agents_or(AGENTS)?;
    ensure!(count > 2 * BOOTSTRAPS, "a swarm has more than {} agents", 2 * BOOTSTRAPS);
    let mut agents = join(binary, scratch, count)?;
    idle(&agents)?;
    let returning = agents.pop().context("there are agents")?;
    kill_half(&mut agents)?;
    rejoin(&agents, returning)
}

fn join(binary: &Path, scratch: &Path, count: usize) -> Result<Vec<Agent>> {
    let began = Instant::now();
    let mut tickets: Vec<String> = Vec::new();
    let mut daemons = Vec::new();
    for i in 0..count {
        let mut daemon = Daemon::new(binary, scratch, &i.to_string())?;
        let mut args = vec!["daemon", "run", "--listen", "127.0.0.1:0"];
        let told = tickets.get(if i < BOOTSTRAPS { 0 } else { i % BOOTSTRAPS });
        if let Some(ticket) = told {
            args.extend(["--peer", ticket]);
        }
        daemon.spawn(&args)?;
        if i < BOOTSTRAPS {
            daemon.until_ok(&["wait", "online", "--timeout", "10s"], JOIN_MAX)?;
            let info = daemon.json(&["info"])?;
            tickets.push(info["ticket"].as_str().context("a ticket")?.to_owned());
        }
        daemons.push(daemon);
    }
    row("all processes started (s)", began.elapsed());
    let wanted = (count as u64 - 1).min(20);
    each(&daemons, |_, daemon| {
        until(JOIN_MAX, || {
            let stats = daemon.json(&["dht", "stats"])?;
            Ok(stats["contacts"].as_u64().unwrap_or(0) >= wanted)
        })
    })?;
    row(&format!("{count} have {wanted} contacts or more (s)"), began.elapsed());
    let mut agents = Vec::new();
    for daemon in daemons {
        let id = daemon.json(&["info"])?["node_id"].as_str().context("an ID")?.to_owned();
        agents.push(Agent { daemon, id });
    }
    let worst = everybody_finds_the_next(&agents)?;
    row("each record found in the DHT by another (s)", began.elapsed());
    row("  the slowest lookup, its process included (s)", worst);
    Ok(agents)
}

fn idle(agents: &[Agent]) -> Result<()> {
    let bytes = |agent: &Agent| -> Result<(f64, f64)> {
        let traffic = agent.daemon.json(&["dht", "stats"])?["traffic"].take();
        let number = |key: &str| traffic[key].as_f64().unwrap_or(0.0);
        Ok((number("sent_bytes"), number("received_bytes")))
    };
    let sums = || -> Result<(f64, f64)> {
        let all: Result<Vec<_>> = agents.iter().map(bytes).collect();
        Ok(all?.into_iter().fold((0.0, 0.0), |(s, r), (sent, received)| (s + sent, r + received)))
    };
    let cpu =
        |agents: &[Agent]| -> Result<f64> { agents.iter().map(|a| a.daemon.cpu_seconds()).sum() };
    let (before, cpu_before, began) = (sums()?, cpu(agents)?, Instant::now());
    std::thread::sleep(IDLE);
    let (after, cpu_after) = (sums()?, cpu(agents)?);
    let node_seconds = began.elapsed().as_secs_f64() * agents.len() as f64;
    number("idle: DHT bytes sent per node-second", (after.0 - before.0) / node_seconds);
    number("idle: DHT bytes received per node-second", (after.1 - before.1) / node_seconds);
    number("idle: CPU per node (% of one core)", (cpu_after - cpu_before) / node_seconds * 100.0);
    let memory: Result<Vec<_>> = agents.iter().map(|a| a.daemon.memory_bytes()).collect();
    let mut memory = memory?;
    memory.sort_unstable();
    number("idle: resident memory, median (MB)", memory[memory.len() / 2] as f64 / 1e6);
    number("idle: resident memory, most (MB)", memory[memory.len() - 1] as f64 / 1e6);
    Ok(())
}

/// Every second one goes, with all bootstrap nodes but one.
fn kill_half(agents: &mut Vec<Agent>) -> Result<()> {
    let (mut i, before) = (0, agents.len());
    let began = Instant::now();
    let doomed = agents.extract_if(.., |_| {
        i += 1;
        i % 2 == 1
    });
    for mut agent in doomed {
        agent.daemon.kill()?;
    }
    row(
        &format!("{} of {before} killed by signal 9 within (s)", before - agents.len()),
        began.elapsed(),
    );
    let worst = everybody_finds_the_next(agents)?;
    row("every survivor's record found by another after (s)", began.elapsed());
    row("  the slowest lookup, its process included (s)", worst);
    Ok(())
}

fn rejoin(agents: &[Agent], mut returning: Agent) -> Result<()> {
    returning.daemon.kill()?;
    let began = Instant::now();
    returning.daemon.start(&["--listen", "127.0.0.1:0"])?;
    let wanted = &agents[agents.len() / 2].id;
    find(&returning.daemon, wanted)?;
    row("restarted with its store alone, finds another after (s)", began.elapsed());
    find(&agents[0].daemon, &returning.id)?;
    row("  and is found after (s)", began.elapsed());
    Ok(())
}

/// Each asks the DHT for another's record; the slowest answer.
fn everybody_finds_the_next(agents: &[Agent]) -> Result<Duration> {
    let worst = Mutex::new(Duration::ZERO);
    each(agents, |i, agent| {
        let took = find(&agent.daemon, &agents[(i + 3) % agents.len()].id)?;
        let mut worst = worst.lock().expect("nobody panics with it");
        *worst = took.max(*worst);
        Ok(())
    })?;
    let worst = *worst.lock().expect("nobody panics with it");
    Ok(worst)
}

fn find(daemon: &Daemon, id: &str) -> Result<Duration> {
    let began = Instant::now();
    daemon.until_ok(&["dht", "lookup", id], FIND_MAX)?;
    Ok(began.elapsed())
}

fn until(limit: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    loop {
        if look().unwrap_or(false) {
            return Ok(());
        }
        if began.elapsed() > limit {
            bail!("waited {} s in vain", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Does something with all of them, [`WORKERS`] at a time.
fn each<T: Sync>(all: &[T], work: impl Fn(usize, &T) -> Result<()> + Sync) -> Result<()> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(i) else { return };
                    if let Err(error) = work(i, one) {
                        failure.lock().expect("nobody panics with it").get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    failure.into_inner().expect("nobody panics with it").map_or(Ok(()), Err)
}

fn row(what: &str, took: Duration) {
    println!("{what:<60} {:>10.2}", took.as_secs_f64());
}

fn number(what: &str, value: f64) {
    println!("{what:<60} {value:>10.1}");
}
