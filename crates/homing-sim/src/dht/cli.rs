//! `homing-sim dht SCENARIO.toml --seed S [--json] [--set field=value]`

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Scenario, play};

/// Plays one DHT scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct DhtArgs {
    /// The scenario, a TOML file
    pub scenario: PathBuf,
    /// One seed is one history
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the measurements as JSON
    #[arg(long)]
    pub json: bool,
    /// Change a field of the scenario: `--set nodes=500`
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub changes: Vec<String>,
}

/// Plays it and returns what to print.
///
/// # Errors
/// When the scenario cannot be read or is out of bounds.
pub fn run(args: &DhtArgs) -> Result<String> {
    let path = args.scenario.display();
    let text =
        std::fs::read_to_string(&args.scenario).with_context(|| format!("reading {path}"))?;
    let scenario = Scenario::parse(&text, &args.changes).with_context(|| format!("in {path}"))?;
    let before = cpu_seconds();
    let measured = play(&scenario, args.seed);
    let cpu = cpu_seconds() - before;
    let (speed, memory) = (measured.events as f64 / cpu.max(0.01), memory_peak_bytes());
    if args.json {
        let price = serde_json::json!({
            "cpu_seconds": cpu, "events_per_cpu_second": speed, "memory_peak_bytes": memory,
        });
        let all = serde_json::json!({
            "seed": args.seed, "scenario": scenario, "measured": measured, "price": price,
        });
        return serde_json::to_string_pretty(&all).context("writing JSON");
    }
    let megabytes = memory as f64 / 1e6;
    Ok(format!(
        "{}\n{measured}{cpu:.1} CPU-seconds, {speed:.0} events per CPU-second, {megabytes:.0} MB at most",
        scenario.about
    ))
}

/// User time of this process; 0 where `/proc` is missing.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(11).and_then(|t| t.parse::<f64>().ok());
    ticks.unwrap_or(0.0) / 100.0
}

/// Peak resident memory of this process; 0 where `/proc` is missing.
fn memory_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1_024
}
