//! Forty real daemons that follow a network's choice of a DHT mode, while they die and are born.
//!
//! ```text
//! N daemons of `dht.mode = auto`; a steady one owns the choice, another asks from outside
//!   ── four times N an hour: the oldest is killed by signal 9, a new identity is born ──►
//!   kademlia ── publish ──► cluster/16 ── publish ──► kademlia        lookups all the while
//! ```
//! A lookup asks the DHT for the record of a living agent that is older than [`SETTLED`]. It fails if the answer
//! is not that record. The same without processes is the simulator's `scenarios/dht/migration.toml`.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::daemon::{Daemon, agents_or, in_scratch};

/// Agents, unless `HOMING_SWARM` says another number.
pub(super) const AGENTS: usize = 40;
/// Births and deaths per agent and hour: 400 %.
pub(super) const TURNOVER: f64 = 4.0;
/// Under this choice forty agents are three clusters or four.
const CLUSTERED: &str = "/homing/dht/cluster/16";
const PLAIN: &str = "/homing/dht/kademlia";
/// How long each mode is watched.
const PHASES: [(&str, &str, Duration); 3] = [
    ("plain", PLAIN, Duration::from_secs(60)),
    ("to clusters, and in them", CLUSTERED, Duration::from_secs(150)),
    ("back to plain", PLAIN, Duration::from_secs(90)),
];
/// Who is younger is not asked for: its record is on its way.
pub(super) const SETTLED: Duration = Duration::from_secs(30);
pub(super) const JOIN_MAX: Duration = Duration::from_secs(120);
/// Processes that ask at once.
const ASKERS: usize = 2;

struct Agent {
    daemon: Daemon,
    id: String,
    born: Instant,
}

/// What one phase showed.
#[derive(Default)]
struct Count {
    asked: usize,
    failed: Vec<String>,
    slowest: Duration,
}

/// Prints what was measured.
pub fn measure(binary: &Path) -> Result<()> {
    in_scratch(|scratch| measure_in(binary, scratch))
}

fn measure_in(binary: &Path, scratch: &Path) -> Result<()> {
    let count = agents_or(AGENTS)?;
    ensure!(count >= 10, "fewer than ten agents are one neighbourhood");
    let began = Instant::now();
    let mut owner = Daemon::new(binary, scratch, "owner")?;
    // The first start makes its key, which its configuration then names.
    owner.start(&["--listen", "127.0.0.1:0"])?;
    let key = owner.json(&["info"])?["node_id"].as_str().context("an ID")?.to_owned();
    owner.kill()?;
    owner.configure(&config(&key))?;
    owner.start(&["--listen", "127.0.0.1:0"])?;
    let ticket = owner.json(&["info"])?["ticket"].as_str().context("a ticket")?.to_owned();
    let born = Nursery { binary, scratch, key: &key, ticket: &ticket };
    let outside = born.birth("outside")?;
    let mut agents = VecDeque::new();
    for i in 0..count - 2 {
        agents.push_back(born.birth(&i.to_string())?);
    }
    row(&format!("{count} have joined (s)"), began.elapsed().as_secs_f64());
    std::thread::sleep(SETTLED);
    for (what, choice, length) in PHASES {
        owner.json(&["publish", "dht-setting", choice])?;
        let began = Instant::now();
        let counted = churn(&born, &outside.daemon, &mut agents, length)?;
        println!("{what}, {:.0} s", began.elapsed().as_secs_f64());
        row("  lookups", counted.asked as f64);
        row("  failed", counted.failed.len() as f64);
        row(
            "  found (%)",
            100.0 - 100.0 * counted.failed.len() as f64 / counted.asked.max(1) as f64,
        );
        row("  the slowest, its process included (s)", counted.slowest.as_secs_f64());
        counted.failed.iter().take(5).for_each(|why| println!("    {why}"));
        row("  agents that work as chosen (%)", 100.0 * following(&agents, choice));
    }
    Ok(())
}

fn config(key: &str) -> String {
    format!("[dht]\nmode = \"auto\"\nnetwork_key = \"{key}\"\nserver = \"always\"\n")
}

/// Where agents come from.
struct Nursery<'a> {
    binary: &'a Path,
    scratch: &'a Path,
    key: &'a str,
    ticket: &'a str,
}

impl Nursery<'_> {
    fn birth(&self, name: &str) -> Result<Agent> {
        let mut daemon = Daemon::new(self.binary, self.scratch, name)?;
        daemon.configure(&config(self.key))?;
        let info = daemon.enter(Some(self.ticket), JOIN_MAX)?;
        let id = info["node_id"].as_str().context("an ID")?.to_owned();
        Ok(Agent { daemon, id, born: Instant::now() })
    }
}

/// Deaths and births at the turnover, lookups as fast as the askers get answers.
fn churn(
    born: &Nursery,
    outside: &Daemon,
    agents: &mut VecDeque<Agent>,
    length: Duration,
) -> Result<Count> {
    let every = Duration::from_secs_f64(3_600.0 / TURNOVER / agents.len() as f64);
    let living = Mutex::new(settled(agents));
    let (over, count) = (AtomicBool::new(false), Mutex::new(Count::default()));
    std::thread::scope(|scope| {
        for nth in 0..ASKERS {
            let (living, over, count) = (&living, &over, &count);
            scope.spawn(move || ask(outside, nth, living, over, count));
        }
        let result = live_and_die(born, agents, length, every, &living);
        over.store(true, Ordering::Relaxed);
        result
    })?;
    Ok(count.into_inner().expect("nobody panics with it"))
}

fn settled(agents: &VecDeque<Agent>) -> Vec<String> {
    // The next to die is not asked for: an answer may take as long as it lives.
    let old = agents.iter().skip(1).filter(|a| a.born.elapsed() > SETTLED);
    old.map(|a| a.id.clone()).collect()
}

fn live_and_die(
    born: &Nursery,
    agents: &mut VecDeque<Agent>,
    length: Duration,
    every: Duration,
    living: &Mutex<Vec<String>>,
) -> Result<()> {
    let (began, mut deaths) = (Instant::now(), 0);
    while began.elapsed() < length {
        *living.lock().expect("nobody panics with it") = settled(agents);
        std::thread::sleep(every.mul_f64(f64::from(deaths + 1)).saturating_sub(began.elapsed()));
        let mut oldest = agents.pop_front().context("there are agents")?;
        oldest.daemon.kill()?;
        deaths += 1;
        let name = format!("{}-{deaths}", oldest.id);
        agents.push_back(born.birth(&name[48..])?);
    }
    Ok(())
}

fn ask(
    outside: &Daemon,
    nth: usize,
    living: &Mutex<Vec<String>>,
    over: &AtomicBool,
    count: &Mutex<Count>,
) {
    for turn in (nth..).step_by(ASKERS) {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let id = {
            let living = living.lock().expect("nobody panics with it");
            living.get(turn * 7 % living.len().max(1)).cloned()
        };
        let Some(id) = id else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let began = Instant::now();
        let found = outside.json(&["dht", "lookup", &id]);
        let mut count = count.lock().expect("nobody panics with it");
        count.asked += 1;
        count.slowest = count.slowest.max(began.elapsed());
        if let Err(error) = found {
            count.failed.push(format!("{id}: {error}"));
        }
    }
}

fn following(agents: &VecDeque<Agent>, choice: &str) -> f64 {
    let wanted = if choice == PLAIN { "kademlia" } else { "cluster" };
    let works = |agent: &&Agent| {
        agent.daemon.json(&["dht", "stats"]).is_ok_and(|stats| stats["mode"] == wanted)
    };
    agents.iter().filter(works).count() as f64 / agents.len().max(1) as f64
}

fn row(what: &str, value: f64) {
    println!("{what:<60} {value:>10.2}");
}
