//! Trials put together: means over seeds with 95 % bands, tables, the charts of the report.

use serde::Serialize;

use super::run::Job;
use super::strategy::Strategy;
use super::trial::Trial;
use crate::dht::plot::{Axis, Chart, Look, Series};

/// Student's t at 97.5 % for 1 to 9 degrees of freedom; 2.0 and less beyond.
const STUDENT: [f64; 9] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];

/// A mean over seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Half of the width of its 95 % confidence interval; none for one seed, which says nothing about others.
    pub band: Option<f64>,
}

impl Mean {
    /// Of these.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        if values.len() < 2 {
            return Self { mean, band: None };
        }
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let t = STUDENT.get(values.len() - 2).copied().unwrap_or(2.0);
        Self { mean, band: Some(t * (variance / n).sqrt()) }
    }

    /// Whether the bands tell the two apart.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        let Some((a, b)) = self.band.zip(other.band) else { return false };
        (self.mean - other.mean).abs() > a + b
    }
}

impl std::fmt::Display for Mean {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$}", self.mean)?;
        self.band.map_or(Ok(()), |band| write!(f, " ± {band:.digits$}"))
    }
}

/// All seeds of one strategy at one turnover and size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which strategy.
    pub strategy: Strategy,
    /// Turnover per hour that was asked for, or measured.
    pub turnover: f64,
    /// Agents that were simulated.
    pub agents: usize,
    /// Seeds.
    pub seeds: usize,
    /// Lookups in all.
    pub lookups: usize,
    /// Those that failed.
    pub failed: usize,
    /// Success; none without lookups.
    pub success: Option<Mean>,
    /// Share of found records that were the newest.
    pub newest: f64,
    /// Median latency.
    pub latency_p50_ms: Mean,
    /// 95 %.
    pub latency_p95_ms: Mean,
    /// Steps.
    pub hops: Mean,
    /// Timeouts per lookup.
    pub timeouts: Mean,
    /// Upkeep per agent-second.
    pub upkeep_bytes: Mean,
    /// Joins and leaves per change of topology.
    pub events_per_change: Mean,
    /// Seconds until 99 % of neighbours were right again; of those seeds where they were.
    pub converged_seconds: Option<f64>,
    /// Success right after a share had died.
    pub shock_success: Option<f64>,
    /// Records that nobody held.
    pub records_lost: usize,
    /// Seeds that diverged.
    pub diverged: usize,
}

/// One row per strategy, turnover and size, in order of first appearance.
#[must_use]
pub fn rows(trials: &[(Job, Trial)]) -> Vec<Row> {
    let mut keys: Vec<(Strategy, Option<f64>, Option<usize>)> = Vec::new();
    for (job, _) in trials {
        let key = (job.strategy, job.turnover, job.agents);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.into_iter()
        .map(|key| {
            let of = |(job, _): &&(Job, Trial)| (job.strategy, job.turnover, job.agents) == key;
            let trials: Vec<&Trial> = trials.iter().filter(of).map(|(_, t)| t).collect();
            row(key.0, key.1, &trials)
        })
        .collect()
}

fn row(strategy: Strategy, turnover: Option<f64>, trials: &[&Trial]) -> Row {
    let each = |f: &dyn Fn(&Trial) -> f64| trials.iter().map(|t| f(t)).collect::<Vec<_>>();
    let mean = |f: &dyn Fn(&Trial) -> f64| Mean::of(&each(f));
    let among = |holds: &dyn Fn(&Trial) -> bool, f: &dyn Fn(&Trial) -> f64| {
        let of: Vec<f64> = trials.iter().filter(|t| holds(t)).map(|t| f(t)).collect();
        (!of.is_empty()).then(|| Mean::of(&of))
    };
    // Who looked for nothing did not succeed; who found nothing took no time for it.
    let looked = |t: &Trial| t.figures.lookups > 0;
    let found_some =
        |f: &dyn Fn(&Trial) -> f64| among(&|t| t.figures.found > 0, f).unwrap_or_default();
    let optional = |f: &dyn Fn(&Trial) -> Option<f64>| {
        let known: Vec<f64> = trials.iter().filter_map(|t| f(t)).collect();
        (!known.is_empty()).then(|| Mean::of(&known).mean)
    };
    let sum = |f: &dyn Fn(&Trial) -> usize| trials.iter().map(|t| f(t)).sum::<usize>();
    let (lookups, found) = (sum(&|t| t.figures.lookups), sum(&|t| t.figures.found));
    Row {
        strategy,
        turnover: turnover.unwrap_or_else(|| mean(&|t| t.figures.turnover_per_hour).mean),
        agents: mean(&|t| t.figures.agents as f64).mean.round() as usize,
        seeds: trials.len(),
        lookups,
        failed: lookups - found,
        success: among(&looked, &|t| t.figures.success),
        newest: sum(&|t| t.figures.newest) as f64 / found.max(1) as f64,
        latency_p50_ms: found_some(&|t| t.figures.latency_p50_ms),
        latency_p95_ms: found_some(&|t| t.figures.latency_p95_ms),
        hops: found_some(&|t| t.figures.hops),
        timeouts: mean(&|t| t.figures.timeouts),
        upkeep_bytes: mean(&|t| t.figures.upkeep_bytes),
        events_per_change: mean(&|t| t.figures.events_per_change),
        converged_seconds: optional(&|t| t.figures.converged_seconds),
        shock_success: optional(&|t| t.figures.shock_success),
        records_lost: sum(&|t| t.figures.records_lost),
        diverged: sum(&|t| usize::from(t.figures.diverged)),
    }
}

/// Column heads of [`cells`].
pub const COLUMNS: [&str; 12] = [
    "strategy",
    "turnover/h",
    "agents",
    "seeds",
    "success",
    "p50 ms",
    "p95 ms",
    "hops",
    "upkeep B/s",
    "events/change",
    "converged s",
    "lost",
];

/// A row as text, in the order of [`COLUMNS`].
#[must_use]
pub fn cells(row: &Row) -> Vec<String> {
    let dash = || "–".to_owned();
    let network = |text: String| if row.strategy.is_reference() { dash() } else { text };
    let found = |text: String| if row.lookups > row.failed { network(text) } else { dash() };
    let success = row.success.map_or_else(dash, |success| {
        let band = success.band.map(|band| format!(" ± {:.3}", 100.0 * band)).unwrap_or_default();
        format!("{:.3} %{band}", 100.0 * success.mean)
    });
    let diverged =
        if row.diverged > 0 { format!(" ({} diverged)", row.diverged) } else { String::new() };
    vec![
        row.strategy.to_string(),
        format!("{:.0} %", 100.0 * row.turnover),
        row.agents.to_string(),
        row.seeds.to_string(),
        success + &diverged,
        found(format!("{:.0}", row.latency_p50_ms)),
        found(format!("{:.0}", row.latency_p95_ms)),
        found(format!("{:.2}", row.hops.mean)),
        network(format!("{:.0}", row.upkeep_bytes)),
        network(format!("{:.0}", row.events_per_change.mean)),
        row.converged_seconds.map_or_else(dash, |s| format!("{s:.0}")),
        row.records_lost.to_string(),
    ]
}

// ---- charts

fn axis(label: &'static str, log: bool) -> Axis {
    Axis { label, log, ticks: Vec::new() }
}

fn strategies(trials: &[(Job, Trial)]) -> Vec<Strategy> {
    let mut all: Vec<_> = trials.iter().map(|(j, _)| j.strategy).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// One line per strategy: the first trial of it, as `points` sees it.
fn first_of_each(
    trials: &[(Job, Trial)],
    points: impl Fn(&Trial) -> Vec<(f64, f64)>,
) -> Vec<Series> {
    let each = strategies(trials).into_iter().filter(|s| !s.is_reference());
    each.enumerate()
        .filter_map(|(colour, strategy)| {
            let (_, trial) = trials.iter().rev().find(|(j, _)| j.strategy == strategy)?;
            Some(Series {
                name: strategy.to_string(),
                points: points(trial),
                look: Look::Line,
                colour,
            })
        })
        .collect()
}

/// Dots for seeds over turnover, a line through the means.
fn over_turnover(trials: &[(Job, Trial)], y: impl Fn(&Trial) -> Option<f64>) -> Vec<Series> {
    let mut series = Vec::new();
    for (colour, strategy) in strategies(trials).into_iter().enumerate() {
        let mine = trials.iter().filter(|(j, _)| j.strategy == strategy);
        let point = |(_, t): &(Job, Trial)| {
            Some((100.0 * t.turnover.unwrap_or(t.figures.turnover_per_hour), y(t)?))
        };
        let points: Vec<(f64, f64)> = mine.filter_map(point).filter(|p| p.0 > 0.0).collect();
        let mut means: Vec<(f64, f64)> = Vec::new();
        for (x, _) in &points {
            if !means.iter().any(|m| m.0 == *x) {
                let at: Vec<f64> = points.iter().filter(|p| p.0 == *x).map(|p| p.1).collect();
                means.push((*x, Mean::of(&at).mean));
            }
        }
        means.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let name = strategy.to_string();
        series.push(Series { name, points: means, look: Look::Line, colour });
        series.push(Series { name: String::new(), points, look: Look::Dots, colour });
    }
    series
}

/// The charts of a report, each by itself.
#[must_use]
pub fn charts(trials: &[(Job, Trial)]) -> Vec<Chart> {
    let turnovers: Vec<_> = trials.iter().filter_map(|(j, _)| j.turnover).collect();
    let varied = turnovers.iter().any(|t| *t != turnovers[0]);
    let mut charts = Vec::new();
    let mut add = |title: &str, x, y, series: Vec<Series>| {
        if series.iter().any(|s| !s.points.is_empty()) {
            charts.push(Chart { title: title.into(), x, y, series });
        }
    };
    let network = |t: &Trial| !t.strategy.is_reference();
    if varied {
        let failed =
            over_turnover(trials, |t| (t.figures.lookups > 0).then_some(100.0 * t.figures.success));
        add("Lookups that succeed", axis("turnover, % per hour", true), axis("%", false), failed);
        let bytes = over_turnover(trials, |t| network(t).then_some(t.figures.upkeep_bytes));
        add(
            "Upkeep",
            axis("turnover, % per hour", true),
            axis("bytes per agent-second", false),
            bytes,
        );
        let p95 = over_turnover(trials, |t| network(t).then_some(t.figures.latency_p95_ms));
        add("Latency, p95", axis("turnover, % per hour", true), axis("ms", false), p95);
    } else {
        let success = first_of_each(trials, |t| {
            let samples = t.figures.samples.iter().filter(|_| t.figures.lookups > 0);
            samples.map(|s| (s.at, 100.0 * s.success)).collect()
        });
        add("Lookups that succeed", axis("seconds", false), axis("%", false), success);
        let bytes =
            first_of_each(trials, |t| t.figures.samples.iter().map(|s| (s.at, s.bytes)).collect());
        add("Traffic", axis("seconds", false), axis("bytes per agent-second", false), bytes);
    }
    let cdf = first_of_each(trials, |t| {
        let all = if t.figures.found > 0 { &t.figures.latency_ms[..] } else { &[] };
        let last = all.len().saturating_sub(1).max(1) as f64;
        all.iter().enumerate().map(|(i, ms)| (*ms, 100.0 * i as f64 / last)).collect()
    });
    add("Latency of lookups", axis("ms", false), axis("% of lookups are faster", false), cdf);
    let converge = first_of_each(trials, |t| {
        t.figures.convergence.iter().map(|(s, v)| (*s, 100.0 * v)).collect()
    });
    let label = "% of true neighbours known";
    add(
        "After a share of the fleet died at once",
        axis("seconds", false),
        axis(label, false),
        converge,
    );
    let changes = first_of_each(trials, |t| {
        t.figures.samples.iter().map(|s| (s.events as f64, s.changes as f64)).collect()
    });
    let x = axis("joins and leaves", false);
    add("Changes of topology", x, axis("changes", false), changes);
    charts
}
