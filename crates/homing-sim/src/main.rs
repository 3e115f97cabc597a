//! `cargo sim`: runs worlds by seed and says whether they held.
//!
//! Results go to stdout, the reproduce line of a failure to stderr; exit code 1 when a world failed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a face")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use homing_sim::dht::{self, StudyArgs};
use homing_sim::references::{self, Month};
use homing_sim::swarm::{Outcome, run_with};
use homing_sim::sweep::{FIRST_SEED, sweep};
use homing_sim::{Canary, Scenario};

/// Seeded worlds that run the real core.
#[derive(Parser)]
#[command(name = "sim", about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One seed of one world: `run scenarios/calm.toml`, `run scenarios/dht/kill.toml`.
    Run {
        /// The scenario, a TOML file. One that says `world = "dht"` is a world of DHT nodes.
        file: Option<PathBuf>,
        /// Change a field of a DHT scenario: `--set nodes=500`.
        #[arg(long = "set", value_name = "FIELD=VALUE")]
        changes: Vec<String>,
        /// The seed, decimal or 0x….
        #[arg(long, value_parser = seed, default_value_t = FIRST_SEED)]
        seed: u64,
        #[command(flatten)]
        world: WorldArgs,
        /// Print every input and output.
        #[arg(long)]
        trace: bool,
        /// Break a rule on purpose: older-records, forget-persist or keep-streams.
        #[arg(long, value_parser = canary)]
        canary: Option<Canary>,
    },
    /// Many seeds.
    Sweep {
        /// How many.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        #[command(flatten)]
        world: WorldArgs,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// A month of one reference whose owner is on for an hour a day: who found it, and what was said.
    References {
        /// The seed.
        #[arg(long, value_parser = seed, default_value_t = 2_026)]
        seed: u64,
        /// Trusted peers that keep it alive, each a node of the DHT.
        #[arg(long, default_value_t = 0)]
        keepers: usize,
        /// Nodes of the DHT that nobody asked.
        #[arg(long, default_value_t = 12)]
        helpers: usize,
        /// Share of both that leaves per hour.
        #[arg(long, default_value_t = 0.2)]
        turnover: f64,
        /// Life of a record, in hours.
        #[arg(long, default_value_t = 12)]
        lifetime_hours: u64,
        /// Length, in days.
        #[arg(long, default_value_t = 30)]
        days: u64,
    },
    /// A family of DHT worlds behind one figure: a table and a plot.
    Study(StudyArgs),
}

#[derive(clap::Args)]
struct WorldArgs {
    /// A built-in scenario, or the path of a TOML file.
    #[arg(long, default_value = "swarm")]
    scenario: String,
    /// Agents, instead of the scenario's number.
    #[arg(long)]
    agents: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a seed is a number, decimal or 0x…".into())
}

fn canary(text: &str) -> Result<Canary, String> {
    match text {
        "older-records" => Ok(Canary::AcceptOlderRecords),
        "forget-persist" => Ok(Canary::ForgetPersist),
        "keep-streams" => Ok(Canary::KeepStreamsAfterRevoke),
        _ => Err("there are: older-records, forget-persist, keep-streams".into()),
    }
}

impl WorldArgs {
    fn scenario(&self) -> anyhow::Result<Scenario> {
        let path = Path::new(&self.scenario);
        let mut scenario = if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?;
            Scenario::parse(&text).with_context(|| format!("in {}", path.display()))?
        } else {
            Scenario::named(&self.scenario)?
        };
        if let Some(agents) = self.agents {
            anyhow::ensure!(agents >= 2, "a world has at least 2 agents");
            scenario.agents = agents;
        }
        Ok(scenario)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let outcomes = match Cli::parse().command {
        Command::Study(args) => {
            println!("{}", dht::study(&args, &mut |line| eprintln!("{line}"))?);
            return Ok(ExitCode::SUCCESS);
        }
        Command::References { seed, keepers, helpers, turnover, lifetime_hours, days } => {
            let lifetime = std::time::Duration::from_secs(lifetime_hours * 3_600);
            let owner_days = days;
            let month = Month { seed, keepers, helpers, turnover, lifetime, days, owner_days };
            println!("{:#?}", references::play(month));
            return Ok(ExitCode::SUCCESS);
        }
        Command::Run { file, changes, seed, mut world, trace, canary } => {
            if let Some(file) = file {
                let file = dht::located(&file);
                let text = std::fs::read_to_string(&file)
                    .with_context(|| format!("reading {}", file.display()))?;
                if dht::is_dht(&text) {
                    let whole_agents = trace || canary.is_some() || world.agents.is_some();
                    anyhow::ensure!(
                        !whole_agents,
                        "--agents, --trace and --canary are for worlds of whole agents; try --set nodes=…"
                    );
                    println!("{}", dht::run(&file, &text, &changes, seed, world.json)?);
                    return Ok(ExitCode::SUCCESS);
                }
                if homing_sim::gossip::is_gossip(&text) {
                    let told = homing_sim::gossip::run(&file, &text, &changes, seed, world.json)?;
                    println!("{told}");
                    return Ok(ExitCode::SUCCESS);
                }
                world.scenario = file.to_string_lossy().into_owned();
            }
            anyhow::ensure!(changes.is_empty(), "--set is for DHT scenarios");
            let (outcome, played) = run_with(&world.scenario()?, seed, canary, trace);
            for line in played.trace.lines() {
                println!("{line}");
            }
            show(&outcome, world.json)?;
            vec![outcome]
        }
        Command::Sweep { seeds, world, jobs } => {
            let start = Instant::now();
            let outcomes = sweep(&world.scenario()?, seeds, jobs);
            for outcome in outcomes.iter().filter(|o| world.json || !o.passed()) {
                show(outcome, world.json)?;
            }
            if !world.json {
                total(&outcomes, start.elapsed().as_secs_f64());
            }
            outcomes
        }
    };
    for failed in outcomes.iter().filter(|outcome| !outcome.passed()) {
        eprintln!("{}", failed.reproduce());
    }
    let passed = outcomes.iter().all(Outcome::passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(outcome: &Outcome, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(outcome)?);
        return Ok(());
    }
    let verdict = if outcome.passed() { "pass" } else { "FAIL" };
    println!("seed {:#x}  {}  {verdict}", outcome.seed, outcome.scenario);
    println!("  trace     {}", outcome.trace);
    println!(
        "  events    {} ({} per CPU-second)",
        outcome.events,
        rate(outcome.events, outcome.cpu_s)
    );
    println!("  messages  {}", outcome.messages);
    println!("  pairs     {} asked, {} trusted", outcome.pairs.0, outcome.pairs.1);
    let healed = outcome.healed_ms.map_or("never".into(), |ms| format!("in {ms} ms"));
    println!("  time      {} ms, healed {healed}", outcome.virtual_ms);
    for finding in &outcome.findings {
        println!("  finding   {finding}");
    }
    Ok(())
}

fn total(outcomes: &[Outcome], wall_s: f64) {
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let events = outcomes.iter().map(|outcome| outcome.events).sum();
    let messages: u64 = outcomes.iter().map(|outcome| outcome.messages).sum();
    let cpu: f64 = outcomes.iter().map(|outcome| outcome.cpu_s).sum();
    let slowest = outcomes.iter().filter_map(|outcome| outcome.healed_ms).max().unwrap_or(0);
    println!("{} seeds, {failed} failed", outcomes.len());
    println!("  events    {events} ({} per CPU-second)", rate(events, cpu));
    println!("  messages  {messages}");
    println!("  healed    slowest in {slowest} ms");
    println!("  time      {wall_s:.1} s wall, {cpu:.1} s CPU");
}

fn rate(events: u64, cpu_s: f64) -> u64 {
    (events as f64 / cpu_s.max(1e-9)) as u64
}
