//! Does the lab foretell what daemons do? Forty of them live, look each other up and die; then the lab plays the log
//! of who came and went, and both answers stand beside each other.
//!
//! ```text
//! N daemons in clusters of 16 ── four times N an hour: the oldest is killed by signal 9, a new one is born ──► log
//!        each asks the DHT once a minute for another one's record; bytes by their own counters
//! homing lab simulate --events LOG ── the same strategy, three seeds ──► found, bytes per agent-second
//! ```
//! What the daemons count is everything that their DHT sent, so the lab's upkeep and commands are added.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::clusters::{AGENTS, JOIN_MAX, SETTLED, TURNOVER};
use super::daemon::{Daemon, agents_or, in_scratch};

const LENGTH: Duration = Duration::from_secs(300);
/// Pause between two lookups of one agent.
const ASKS_EVERY: Duration = Duration::from_secs(60);
const CONFIG: &str =
    "[dht]\nmode = \"cluster\"\ncluster_size = 16\nserver = \"always\"\n[log]\nlevel = \"error\"\n";

struct Agent {
    daemon: Daemon,
    id: String,
    name: String,
    born: Instant,
}

/// What the daemons did.
struct Fleet<'a> {
    binary: &'a Path,
    scratch: &'a Path,
    began: Instant,
    living: VecDeque<Agent>,
    births: usize,
    log: String,
    bytes: u64,
    agent_seconds: f64,
    asked: usize,
    found: usize,
}

/// Prints what was foretold and what came.
pub fn measure(binary: &Path) -> Result<()> {
    in_scratch(|scratch| {
        let count = agents_or(AGENTS)?;
        ensure!(count >= 10, "fewer than ten agents are one neighbourhood");
        let mut fleet = Fleet {
            binary,
            scratch,
            began: Instant::now(),
            living: VecDeque::new(),
            births: 0,
            log: String::new(),
            bytes: 0,
            agent_seconds: 0.0,
            asked: 0,
            found: 0,
        };
        fleet.live(count)?;
        let log = scratch.join("log.jsonl");
        std::fs::write(&log, &fleet.log)?;
        let (success, bytes) = foretold(binary, &log)?;
        let (found, sent) = (
            fleet.found as f64 / fleet.asked.max(1) as f64,
            fleet.bytes as f64 / fleet.agent_seconds,
        );
        println!("{:<44} {:>10} {:>10} {:>8}", "", "daemons", "lab", "ratio");
        row("found", found, success);
        row("bytes sent per agent-second", sent, bytes);
        println!("{} agents, {} births, {} lookups", count, fleet.births, fleet.asked);
        Ok(())
    })
}

fn row(what: &str, came: f64, foretold: f64) {
    println!("{what:<44} {came:>10.3} {foretold:>10.3} {:>8.2}", came / foretold);
}

impl Fleet<'_> {
    fn live(&mut self, count: usize) -> Result<()> {
        let ticket = self.birth(None)?;
        for _ in 1..count {
            self.birth(Some(&ticket))?;
        }
        let death = Duration::from_secs_f64(3_600.0 / TURNOVER / count as f64);
        let ask = ASKS_EVERY / u32::try_from(count)?;
        let (mut deaths, mut asks) = (1, 1);
        while self.began.elapsed() < LENGTH {
            let (dies, asked) = (death * deaths, ask * asks);
            std::thread::sleep(dies.min(asked).saturating_sub(self.began.elapsed()));
            if dies < asked {
                deaths += 1;
                // The first one stays: the others were told of it.
                let oldest = self.living.remove(1).context("there are agents")?;
                self.end(oldest)?;
                self.birth(Some(&ticket))?;
            } else {
                asks += 1;
                self.ask(usize::try_from(asks)?);
            }
        }
        while let Some(last) = self.living.pop_back() {
            self.count(&last)?;
        }
        Ok(())
    }

    /// Answers the ticket of the first.
    fn birth(&mut self, ticket: Option<&str>) -> Result<String> {
        let name = self.births.to_string();
        let mut daemon = Daemon::new(self.binary, self.scratch, &name)?;
        daemon.configure(CONFIG)?;
        let born = Instant::now();
        let info = daemon.enter(ticket, JOIN_MAX)?;
        let text = |field: &str| info[field].as_str().map(str::to_owned).context("no such field");
        let (id, own) = (text("node_id")?, text("ticket")?);
        self.note(born, "join", &name)?;
        self.births += 1;
        self.living.push_back(Agent { daemon, id, name, born });
        Ok(own)
    }

    fn end(&mut self, mut agent: Agent) -> Result<()> {
        self.count(&agent)?;
        agent.daemon.kill()?;
        self.note(Instant::now(), "leave", &agent.name)
    }

    fn count(&mut self, agent: &Agent) -> Result<()> {
        let stats = agent.daemon.json(&["dht", "stats"])?;
        self.bytes += stats["traffic"]["sent_bytes"].as_u64().context("no counter")?;
        self.agent_seconds += agent.born.elapsed().as_secs_f64();
        Ok(())
    }

    fn note(&mut self, at: Instant, event: &str, agent: &str) -> Result<()> {
        let at = at.duration_since(self.began).as_secs_f64();
        let line = serde_json::json!({ "at": at, "event": event, "agent": agent });
        writeln!(self.log, "{line}").context("a line of the log")
    }

    fn ask(&mut self, turn: usize) {
        let settled = |agent: &&Agent| agent.born.elapsed() > SETTLED;
        let old: Vec<&Agent> = self.living.iter().skip(2).filter(settled).collect();
        let Some(whom) = old.get(turn * 7 % old.len().max(1)) else { return };
        let asker = &self.living[turn % self.living.len()];
        let found = asker.daemon.json(&["dht", "lookup", &whom.id]).is_ok();
        self.asked += 1;
        self.found += usize::from(found);
    }
}

/// What the lab says of the same log: the share that is found, bytes per agent-second.
fn foretold(binary: &Path, log: &Path) -> Result<(f64, f64)> {
    let mut command = Command::new(binary);
    command.args(["lab", "simulate", "--json", "--strategy", "cluster", "--cluster-size", "16"]);
    command.args(["--warmup", "1s", "--rtt", "2ms", "--lookups", "1", "--reclaim", "0"]);
    let output = command.args(["--seeds", "3", "--events"]).arg(log).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let trials = answer["trials"].as_array().context("no trials")?;
    let mean = |field: &str| {
        let values = trials.iter().filter_map(|t| t["figures"][field].as_f64());
        values.sum::<f64>() / trials.len().max(1) as f64
    };
    Ok((mean("success"), mean("upkeep_bytes") + mean("command_bytes")))
}
