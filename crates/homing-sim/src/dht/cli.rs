//! `homing-sim run scenarios/dht/NAME.toml --seed S [--json] [--set field=value]`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::scenario::WORLD;
use super::{Scenario, play};
use crate::price::{cpu_seconds, memory_peak_bytes};

/// The version of the JSON form: additive within one.
const JSON_VERSION: u32 = 1;

/// Where the scenario of this name is: as given, or in the `dht` folder beside it.
#[must_use]
pub fn located(path: &Path) -> PathBuf {
    let beside = path.parent().unwrap_or(Path::new("")).join(WORLD);
    let within = path.file_name().map(|name| beside.join(name));
    within.filter(|within| !path.exists() && within.exists()).unwrap_or_else(|| path.into())
}

/// Whether a scenario file describes a world of DHT nodes: it says `world = "dht"`.
#[must_use]
pub fn is_dht(text: &str) -> bool {
    let table = text.parse::<toml::Table>().unwrap_or_default();
    table.get("world").and_then(toml::Value::as_str) == Some(WORLD)
}

/// Plays the scenario in `text` and returns what to print.
///
/// # Errors
/// When the scenario is out of bounds.
pub fn run(path: &Path, text: &str, changes: &[String], seed: u64, json: bool) -> Result<String> {
    ensure!(is_dht(text), "{} does not say world = \"dht\"", path.display());
    let scenario =
        Scenario::parse(text, changes).with_context(|| format!("in {}", path.display()))?;
    let before = cpu_seconds();
    let measured = play(&scenario, seed);
    let cpu = cpu_seconds() - before;
    let (speed, memory) = (measured.events as f64 / cpu.max(0.01), memory_peak_bytes());
    if json {
        let price = serde_json::json!({
            "cpu_seconds": cpu, "events_per_cpu_second": speed, "memory_peak_bytes": memory,
        });
        let all = serde_json::json!({
            "version": JSON_VERSION, "seed": seed, "scenario": scenario, "measured": measured,
            "price": price,
        });
        return serde_json::to_string_pretty(&all).context("writing JSON");
    }
    let (about, megabytes) = (&scenario.about, memory as f64 / 1e6);
    Ok(format!(
        "{about}\n{measured}{cpu:.1} CPU-seconds, {speed:.0} events per CPU-second, {megabytes:.0} MB at most"
    ))
}
