//! Our DHT beside `libp2p-kad` and `mainline`: the same jobs, in one process, in interleaved rounds.
//!
//! ```text
//! homing-bench-dht [--nodes 100] [--rounds 5] [--jobs 60] [--only NAME,…]   the tables of docs/bench-dht.md
//! homing-bench-dht --memory NAME [--nodes 100]                             memory of one contender, alone
//! ```
//! The first form starts itself in the second for each contender, so that no memory is another's. What
//! the numbers mean, and what we do not believe of them, is told in `docs/bench-dht.md`.

mod bittorrent;
mod daemons;
mod libp2p_kad;
mod numbers;
mod ours;
mod table;
mod work;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use bittorrent::{Bittorrent, Clients};
use daemons::Daemons;
use libp2p_kad::{Carrier, Libp2p};
use numbers::{Meter, resident, short};
use ours::Ours;
use table::{Idle, Results};
use work::{Contender, Job};

/// In the order of the rounds; the first is what the others are compared with.
const NAMES: [&str; 7] = [
    "ours-udp",
    "ours-udp-alpha3",
    "ours-quic",
    "mainline",
    "mainline-one-client",
    "libp2p-memory",
    "libp2p-tcp",
];
/// Weighed, but there is nothing to ask it.
const APART: &str = "ours-quic-unconnected";
const TASKS: [&str; 4] = ["full lookup", "put", "first value", "full lookup, 8 in parallel"];
/// The task of [`TASKS`] whose measure is jobs per second.
const PARALLEL: usize = 3;
/// A pause in which the process shows what it uses for nothing.
const PAUSE: Duration = Duration::from_secs(2);
/// Jobs of the memory runs, per kind.
const MEMORY_JOBS: u64 = 200;

fn main() -> Result<()> {
    let wishes = Wishes::read(std::env::args().skip(1))?;
    match &wishes.memory {
        Some(name) => memory(name, wishes.nodes),
        None => compare(&wishes),
    }
}

/// The command line.
struct Wishes {
    nodes: usize,
    rounds: u64,
    jobs: u64,
    only: Vec<String>,
    memory: Option<String>,
}

impl Wishes {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut wishes = Self { nodes: 100, rounds: 5, jobs: 60, only: Vec::new(), memory: None };
        while let Some(flag) = args.next() {
            let value = args.next().with_context(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--nodes" => wishes.nodes = value.parse()?,
                "--rounds" => wishes.rounds = value.parse()?,
                "--jobs" => wishes.jobs = value.parse()?,
                "--only" => wishes.only = value.split(',').map(str::to_owned).collect(),
                "--memory" => wishes.memory = Some(value),
                _ => bail!(
                    "{flag} is not known; there are --nodes, --rounds, --jobs, --only, --memory"
                ),
            }
        }
        if let Some(name) = wishes.only.iter().find(|n| !NAMES.contains(&n.as_str())) {
            bail!("no contender is called {name}; there are: {}", NAMES.join(", "));
        }
        Ok(wishes)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|n| n == name)
    }
}

fn start(name: &str, nodes: usize) -> Result<Box<dyn Contender>> {
    Ok(match name {
        "ours-udp" => Box::new(Ours::start(nodes, homing_core::dht::limits::ALPHA_LAST)?),
        "ours-udp-alpha3" => Box::new(Ours::start(nodes, work::ALPHA)?),
        APART => Box::new(Daemons::apart(nodes)?),
        "ours-quic" => Box::new(Daemons::start(nodes)?),
        "mainline" => Box::new(Bittorrent::start(nodes, Clients::All)?),
        "mainline-one-client" => Box::new(Bittorrent::start(nodes, Clients::One)?),
        "libp2p-memory" => Box::new(Libp2p::start(nodes, Carrier::Memory)?),
        "libp2p-tcp" => Box::new(Libp2p::start(nodes, Carrier::Tcp)?),
        _ => bail!("no contender is called {name}; there are: {}", NAMES.join(", ")),
    })
}

/// Speed: everybody in this process, then memory: everybody alone.
fn compare(wishes: &Wishes) -> Result<()> {
    let mut contenders = Vec::new();
    for (who, name) in NAMES.iter().enumerate().filter(|(_, name)| wishes.wants(name)) {
        let begun = Instant::now();
        let contender = start(name, wishes.nodes).with_context(|| format!("starting {name}"))?;
        println!("{name}: {} nodes stand and are warm after {:.1?}", wishes.nodes, begun.elapsed());
        contenders.push((who, contender));
    }
    let mut results = Results::default();
    for round in 0..=wishes.rounds {
        for (who, contender) in &mut contenders {
            rounds(&mut results, wishes, round, *who, contender.as_mut())?;
        }
    }
    println!();
    results.print(&TASKS, &NAMES);
    for (who, contender) in &mut contenders {
        println!("{}: {}", NAMES[*who], contender.remark());
    }
    drop(contenders);
    println!(
        "\n| contender | kB/node after start | kB/node after {} jobs |\n|---|---|---|",
        3 * MEMORY_JOBS
    );
    for name in NAMES.iter().chain([&APART]).filter(|name| wishes.wants(name)) {
        let nodes = wishes.nodes.to_string();
        let args = ["--memory", name, "--nodes", nodes.as_str()];
        let status = Command::new(std::env::current_exe()?).args(args).status()?;
        if !status.success() {
            bail!("the memory of {name} could not be measured");
        }
    }
    Ok(())
}

/// All tasks of one contender in one round; round 0 does not count.
fn rounds(
    results: &mut Results,
    wishes: &Wishes,
    round: u64,
    who: usize,
    contender: &mut dyn Contender,
) -> Result<()> {
    let idle = Meter::read()?;
    std::thread::sleep(PAUSE);
    let idle = Idle::of(idle.used()?);
    for task in 0..TASKS.len() {
        let first = round * wishes.jobs;
        let jobs: Vec<Job> = (first..first + wishes.jobs)
            .map(|n| match task {
                0 => Job::Find(n),
                1 => Job::Put(n),
                2 => Job::Get(n),
                _ => Job::Find(1 << 32 | n),
            })
            .collect();
        if !contender.can(jobs[0]) {
            continue;
        }
        let meter = Meter::read()?;
        let samples = contender.run(&jobs, if task == PARALLEL { work::WIDTH } else { 1 })?;
        let used = meter.used()?;
        if round > 0 {
            results.add(task, who, &samples, used, idle);
        }
    }
    Ok(())
}

/// Resident memory per node of one contender in a process of its own.
fn memory(name: &str, nodes: usize) -> Result<()> {
    let before = resident()?;
    let mut contender = start(name, nodes)?;
    let built = resident()?;
    for make in [Job::Find, Job::Put, Job::Get] {
        let jobs: Vec<Job> = (0..MEMORY_JOBS).map(make).collect();
        if contender.can(jobs[0]) {
            contender.run(&jobs, 1)?;
        }
    }
    let used = resident()?;
    let per_node = |bytes: u64| short((bytes - before) as f64 / 1e3 / nodes as f64);
    println!("| {name} | {} | {} |", per_node(built), per_node(used));
    Ok(())
}
