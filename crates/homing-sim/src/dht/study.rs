//! Families of scenarios behind one claim each: run, tabulate, fit, plot.
//!
//! ```text
//! convergence  converge-leave.toml, N = 100 … 10,000 at k = 20, k = 5 … 40 at N = 1,000
//! recovery     recovery.toml, three uplinks, periodic and reactive
//! pace         churn.toml, intervals from a quarter to eighty times the usual
//! ```
//! The table is Markdown for `docs/design/dht.md`, the plot an SVG.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::fit::Line;
use super::plot::{Axis, Chart, Look, Series, svg};
use super::report::Measured;
use super::{Scenario, play};

/// What can be studied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Study {
    /// Exchange rounds until 99 % of leafsets are right after 10 % of the nodes left, against N and k
    Convergence,
    /// Reactive against periodic recovery on uplinks of 64 kB/s, 256 kB/s and 1 MB/s
    Recovery,
    /// All churn-dependent intervals together, from a quarter to eighty times the usual
    Pace,
}

/// Runs a family of scenarios, prints a table, draws a plot.
#[derive(Clone, Debug, clap::Args)]
pub struct StudyArgs {
    /// Which
    pub study: Study,
    /// Seeds 1 to this
    #[arg(long, default_value_t = 5)]
    pub seeds: u64,
    /// Where the scenarios are
    #[arg(long, default_value = "scenarios/dht")]
    pub scenarios: PathBuf,
    /// Write the plot to this SVG file
    #[arg(long)]
    pub plot: Option<PathBuf>,
}

/// Runs the study; `progress` hears of every run. Returns the table.
///
/// # Errors
/// When a scenario cannot be read or the plot cannot be written.
pub fn study(args: &StudyArgs, progress: &mut dyn FnMut(&str)) -> Result<String> {
    let mut runs = Runs { args, progress };
    let (table, charts) = match args.study {
        Study::Convergence => convergence(&mut runs)?,
        Study::Recovery => recovery(&mut runs)?,
        Study::Pace => pace(&mut runs)?,
    };
    if let Some(path) = &args.plot {
        std::fs::write(path, svg(&charts))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(table)
}

struct Runs<'a> {
    args: &'a StudyArgs,
    progress: &'a mut dyn FnMut(&str),
}

impl Runs<'_> {
    fn run(&mut self, file: &str, seed: u64, changes: &[String]) -> Result<Measured> {
        let path: PathBuf = Path::new(&self.args.scenarios).join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let measured = play(&Scenario::parse(&text, changes)?, seed);
        (self.progress)(&format!(
            "{file} seed {seed} {}: {} events",
            changes.join(" "),
            measured.events
        ));
        Ok(measured)
    }

    fn seeds(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.args.seeds
    }
}

fn axis(label: &'static str, log: bool, ticks: &[f64]) -> Axis {
    Axis { label, log, ticks: ticks.to_vec() }
}

// ---- convergence

const SIZES: [usize; 5] = [100, 300, 1_000, 3_000, 10_000];
const WIDTHS: [usize; 4] = [5, 10, 20, 40];
const WIDTHS_AT: usize = 1_000;
const WIDTH: usize = 20;

fn convergence(runs: &mut Runs<'_>) -> Result<(String, Vec<Chart>)> {
    let mut table = String::from(
        "| N | k | rounds, by seed | mean | most | seconds, mean |\n|---|---|---|---|---|---|\n",
    );
    let shapes = SIZES.iter().map(|n| (*n, WIDTH));
    let widths = WIDTHS.iter().filter(|k| **k != WIDTH).map(|k| (WIDTHS_AT, *k));
    let (mut by_size, mut by_width) = (Vec::new(), Vec::new());
    for (n, k) in shapes.chain(widths) {
        let mut rounds = Vec::new();
        let mut seconds = 0.0;
        for seed in runs.seeds() {
            let joins = (n / 100).max(50);
            let changes = [
                format!("nodes={n}"),
                format!("k={k}"),
                format!("alpha_last={}", k.min(10)),
                format!("join_per_second={joins}"),
            ];
            let converged = runs.run("converge-leave.toml", seed, &changes)?.converge;
            let Some(made) = converged.and_then(|c| c.rounds) else {
                let _ = writeln!(table, "| {n} | {k} | seed {seed}: never | – | – | – |");
                continue;
            };
            seconds += converged.and_then(|c| c.seconds).unwrap_or(0.0);
            rounds.push(made);
            if k == WIDTH {
                by_size.push((n as f64, made));
            }
            if n == WIDTHS_AT {
                by_width.push((k as f64, made));
            }
        }
        let count = rounds.len().max(1) as f64;
        let each: Vec<_> = rounds.iter().map(|r| format!("{r:.1}")).collect();
        let _ = writeln!(
            table,
            "| {n} | {k} | {} | {:.1} | {:.1} | {:.0} |",
            each.join(", "),
            rounds.iter().sum::<f64>() / count,
            rounds.iter().copied().fold(0.0, f64::max),
            seconds / count
        );
    }
    let charts = vec![
        fitted(&mut table, "N", "nodes, k = 20", &by_size, &SIZES),
        fitted(&mut table, "k", "k, N = 1,000", &by_width, &WIDTHS),
    ];
    Ok((table, charts))
}

/// Fits rounds against the logarithm of x, notes the line below the table and draws both.
fn fitted(
    table: &mut String,
    what: &str,
    label: &'static str,
    points: &[(f64, f64)],
    ticks: &[usize],
) -> Chart {
    let ticks: Vec<_> = ticks.iter().map(|t| *t as f64).collect();
    let logs: Vec<_> = points.iter().map(|(x, y)| (x.log2(), *y)).collect();
    let mut series = vec![Series {
        name: "one seed".into(),
        points: points.to_vec(),
        look: Look::Dots,
        colour: 0,
    }];
    if let Some(line) = Line::through(&logs) {
        let _ = writeln!(
            table,
            "\nrounds = {:.2} {:+.2}·log2 {what}, R² = {:.2}, {} runs",
            line.intercept,
            line.slope,
            line.r_squared,
            points.len()
        );
        let points = ticks.iter().map(|x| (*x, line.at(x.log2()))).collect();
        let name = format!(
            "{:.2} {:+.2} log2 {what}, R² = {:.2}",
            line.intercept, line.slope, line.r_squared
        );
        series.push(Series { name, points, look: Look::Line, colour: 1 });
    }
    Chart {
        title: format!("Rounds after 10 % left, against {what}"),
        x: axis(label, true, &ticks),
        y: axis("exchange rounds until 99 % are right", false, &[]),
        series,
    }
}

// ---- recovery

const UPLINKS: [(u64, &str); 3] =
    [(64_000, "64 kB/s"), (256_000, "256 kB/s"), (1_000_000, "1 MB/s")];

fn recovery(runs: &mut Runs<'_>) -> Result<(String, Vec<Chart>)> {
    let mut table = String::from(
        "| uplink | recovery | seed | bytes per node-second, first 10 s, most, all | dropped | from | lookups found | end |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut charts = Vec::new();
    for (rate, name) in UPLINKS {
        let mut series = Vec::new();
        for (reactive, mode) in [(false, "periodic"), (true, "reactive")] {
            for seed in runs.seeds() {
                let changes =
                    [format!("uplink_bytes_per_second={rate}"), format!("reactive={reactive}")];
                let measured = runs.run("recovery.toml", seed, &changes)?;
                recovery_row(&mut table, name, mode, seed, &measured);
                let points = measured.samples.iter().map(|s| (s.at, s.bytes.max(1.0))).collect();
                let name = if seed == 1 { mode.into() } else { String::new() };
                let colour = usize::from(reactive);
                series.push(Series { name, points, look: Look::Line, colour });
            }
        }
        charts.push(Chart {
            title: format!("Uplink {name}"),
            x: axis("seconds of churn", false, &[]),
            y: axis("bytes per node-second", true, &[100.0, 1e3, 1e4, 1e5, 1e6]),
            series,
        });
    }
    Ok((table, charts))
}

fn recovery_row(table: &mut String, uplink: &str, mode: &str, seed: u64, measured: &Measured) {
    let samples = &measured.samples;
    let (first, last) = (samples.first().copied(), samples.last().copied());
    let most = samples.iter().map(|s| s.bytes).fold(0.0, f64::max);
    let upkeep = measured.churn_upkeep.clone().unwrap_or_default();
    let from = samples.iter().find(|s| s.dropped > 0).map(|s| format!("{:.0} s", s.at));
    let found = measured.churn.unwrap_or_default();
    let end = if measured.diverged { "ended by the limit of events" } else { "stood" };
    let _ = writeln!(
        table,
        "| {uplink} | {mode} | {seed} | {:.0}, {most:.0}, {:.0} | {} | {} | {} of {} | {end}, {:.0} s |",
        first.map_or(0.0, |s| s.bytes),
        upkeep.maintenance_bytes + upkeep.command_bytes,
        upkeep.dropped,
        from.unwrap_or_else(|| "–".into()),
        found.found,
        found.count,
        last.map_or(0.0, |s| s.at)
    );
}

// ---- pace

const PACES: [f64; 8] = [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 80.0];
/// Nodes of this study: what is compared are intervals, not sizes.
const PACE_NODES: u32 = 300;
/// The median session of this study, in seconds.
const PACE_SESSION: u32 = 600;

fn pace(runs: &mut Runs<'_>) -> Result<(String, Vec<Chart>)> {
    let mut table = String::from(
        "| pace | exchange, probe of an entry, sync, as shares of the mean session | timeouts per lookup | p90 | p99 | found | upkeep, bytes per node-second |\n|---|---|---|---|---|---|---|\n",
    );
    let mut points: [Vec<(f64, f64)>; 3] = Default::default();
    for pace in PACES {
        let (mut timeouts, mut p90, mut p99, mut upkeep) = (0.0, 0.0, 0.0, 0.0);
        let (mut found, mut count) = (0, 0);
        for seed in runs.seeds() {
            let changes = [
                format!("pace={pace:?}"),
                format!("nodes={PACE_NODES}"),
                format!("median_session_seconds={PACE_SESSION}"),
                "churn_seconds=900".into(),
            ];
            let measured = runs.run("churn.toml", seed, &changes)?;
            let (churn, price) =
                (measured.churn.unwrap_or_default(), measured.churn_upkeep.unwrap_or_default());
            (timeouts, upkeep) = (timeouts + churn.timeouts, upkeep + price.maintenance_bytes);
            (p90, p99) = (p90 + churn.latency_ms.p90, p99 + churn.latency_ms.p99);
            (found, count) = (found + churn.found, count + churn.count);
            let shown = [churn.timeouts, churn.latency_ms.p90, price.maintenance_bytes];
            points.iter_mut().zip(shown).for_each(|(list, y)| list.push((pace, y)));
        }
        let seeds = runs.args.seeds.max(1) as f64;
        let _ = writeln!(
            table,
            "| {pace} | {:.3}, {:.2}, {:.2} | {:.2} | {:.0} ms | {:.0} ms | {:.2} % | {:.0} |",
            pace / 80.0,
            pace / 5.0,
            pace / 10.0,
            timeouts / seeds,
            p90 / seeds,
            p99 / seeds,
            100.0 * f64::from(u32::try_from(found).unwrap_or(0)) / (count.max(1) as f64),
            upkeep / seeds
        );
    }
    let panel = |title: &str, label, points: &Vec<(f64, f64)>| Chart {
        title: title.into(),
        x: axis("pace: 1 is usual; at 5 an entry is probed once per mean session", true, &PACES),
        y: axis(label, false, &[]),
        series: vec![Series {
            name: "one seed".into(),
            points: points.clone(),
            look: Look::Dots,
            colour: 0,
        }],
    };
    let [timeouts, p90, upkeep] = &points;
    let charts = vec![
        panel("Timeouts", "timeouts per lookup", timeouts),
        panel("Latency", "FindValue p90, ms", p90),
        panel("Price", "upkeep, bytes per node-second", upkeep),
    ];
    Ok((table, charts))
}
