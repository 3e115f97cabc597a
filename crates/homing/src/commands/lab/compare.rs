//! `homing lab compare`: strategies × turnovers × seeds.

use std::path::PathBuf;

use clap::Args;
use homing_sim::lab::limits::TRIALS_MAX;
use homing_sim::lab::report::Page;
use homing_sim::lab::table::{COLUMNS, Mean, Row, cells, charts, rows};
use homing_sim::lab::{Job, Strategy};
use serde_json::json;

use super::super::{OK, Outcome};
use super::course::{Done, RunFlags, table};
use super::fleet::FleetFlags;
use crate::session::Session;

/// Set strategies beside each other over a range of churn
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing lab compare --agents 300 --turnover 5%,20%,100%,400% --html compare.html\n  homing lab compare --strategies kademlia,cluster,chord --seeds 10 --run churn-study\n  homing lab compare --resume churn-study --json"
)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    fleet: FleetFlags,
    #[command(flatten)]
    run: RunFlags,
    /// Which: kademlia, kademlia-no-pns, reactive, cluster, chord, ipns, ipns-kept
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "kademlia,cluster,chord"
    )]
    strategies: Vec<Strategy>,
    /// Shares of the fleet that leave per hour
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = turnover, default_value = "5%,20%,100%,400%")]
    turnover: Vec<f64>,
    /// Seeds 1 to this for each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=TRIALS_MAX as u64))]
    seeds: u64,
    /// Go on with an interrupted run; it knows what it compares
    #[arg(long, value_name = "DIR", conflicts_with_all = ["FleetFlags", "run", "strategies", "turnover", "seeds"])]
    resume: Option<PathBuf>,
}

/// The largest share without `%`: beyond it somebody meant per cent.
const BARE_SHARE_MAX: f64 = 4.0;

/// `20%` or `0.2`.
fn turnover(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map_err(|_| format!("{text:?} is no share, such as 20%"))?;
    if factor == 1.0 && share > BARE_SHARE_MAX {
        let meant = 100.0 * share;
        return Err(format!(
            "write {share}% for {share} in a hundred, {meant}% for {share} times the fleet"
        ));
    }
    let share = (share * factor * 1e6).round() / 1e6;
    if (0.001..=100.0).contains(&share) { Ok(share) } else { Err("0.1% to 10000%".to_owned()) }
}

/// Each of them once.
fn once<T: Copy + PartialEq>(all: &[T]) -> Vec<T> {
    let mut kept = Vec::new();
    all.iter().for_each(|one| {
        if !kept.contains(one) {
            kept.push(*one);
        }
    });
    kept
}

impl CompareArgs {
    fn jobs(&self) -> Vec<Job> {
        let (turnovers, strategies) = (once(&self.turnover), once(&self.strategies));
        let mut jobs = Vec::new();
        for seed in 1..=self.seeds {
            for turnover in &turnovers {
                for strategy in &strategies {
                    let turnover = Some(*turnover);
                    jobs.push(Job { strategy: *strategy, turnover, agents: None, seed });
                }
            }
        }
        jobs
    }
}

pub(crate) async fn run(session: &Session, args: &CompareArgs) -> Outcome {
    let done = match &args.resume {
        Some(dir) => args.run.resume(session, "compare", dir).await?,
        None => {
            args.fleet.check_compared()?;
            let mut fleet = args.fleet.fleet()?;
            if fleet.events.is_some() {
                let message = "the scenario's log has one turnover, its own; compare varies it";
                return Err(homing_api::ApiError::new(homing_api::Code::Usage, message).hint(
                    "homing lab simulate --events FILE --strategy STRATEGY, once per strategy",
                ));
            }
            if let Some(sessions) = &mut fleet.sessions
                && sessions.median.or(sessions.mean).is_none()
            {
                // A shape alone: each trial has its turnover, this is the first.
                *sessions = sessions.at_turnover(args.turnover[0]);
            }
            args.run.begin(session, "compare", (fleet, args.jobs(), json!(null)), None).await?
        }
    };
    let mut rows = rows(&done.trials);
    rows.sort_by(|a, b| a.turnover.total_cmp(&b.turnover));
    let answer = json!({
        "schema": "homing.lab_comparison/v1",
        "scenario": done.fleet,
        "rows": rows,
        "trials": done.trials.iter().map(|(_, t)| t).collect::<Vec<_>>(),
    });
    let names = || done.trials.iter().map(|(_, t)| t.figures.trace.clone()).collect();
    args.run.report(&done, || page(&done, &rows))?;
    session.out.result(&answer, names, || table(&rows));
    Ok(OK)
}

/// Which of these is best, if its band tells it from all others.
fn best<'a>(
    rows: &[&'a Row],
    figure: impl Fn(&Row) -> Mean,
    is_better: impl Fn(f64, f64) -> bool,
) -> Option<&'a Row> {
    let beats = |a: &Row, b: &Row| {
        let (a, b) = (figure(a), figure(b));
        a.differs(&b) && is_better(a.mean, b.mean)
    };
    let wins = |a: &&&Row| rows.iter().all(|b| std::ptr::eq(**a, *b) || beats(a, b));
    rows.iter().find(wins).copied()
}

/// Which strategy is best where, as far as the bands tell them apart.
fn verdicts(rows: &[Row]) -> Vec<String> {
    let mut turnovers: Vec<f64> = rows.iter().map(|r| r.turnover).collect();
    turnovers.dedup();
    turnovers.into_iter().filter_map(|turnover| verdict(rows, turnover)).collect()
}

fn verdict(rows: &[Row], turnover: f64) -> Option<String> {
    let is_here = |r: &&Row| r.turnover == turnover && !r.strategy.is_reference();
    let here: Vec<&Row> = rows.iter().filter(is_here).collect();
    if here.len() < 2 {
        return None;
    }
    let low = |a: f64, b: f64| a < b;
    let said = |row: Option<&Row>, what: &str, none: &str| match row {
        Some(row) => format!("{} {what}", row.strategy),
        None => format!("no difference in {none}"),
    };
    let surest = best(&here, |r| r.success.unwrap_or_default(), |a, b| a > b);
    Some(format!(
        "{} % per hour: {}; {}; {}.",
        (1e6 * turnover).round() / 1e4,
        said(surest, "finds most", "success"),
        said(best(&here, |r| r.latency_p95_ms, low), "is fastest at p95", "p95"),
        said(best(&here, |r| r.upkeep_bytes, low), "is cheapest", "upkeep"),
    ))
}

fn page(done: &Done, rows: &[Row]) -> Page {
    let name = format!("Strategies compared: {}", done.fleet.name);
    let mut page = Page::new(&name, &done.fleet.about);
    let verdicts = verdicts(rows);
    if !verdicts.is_empty() {
        page.lead(&verdicts.join(" "));
    }
    page.heading("Over turnover");
    page.charts(&charts(&done.trials));
    page.soft("Dots are seeds, lines their means. Courses (latency, convergence, changes) are those of the last turnover and seed. Reference strategies are a week of one reference whose owner is there an hour a day, and have no network figures of their own.");
    page.heading("Figures");
    page.table(&COLUMNS, &rows.iter().map(cells).collect::<Vec<_>>());
    page.soft(
        "Means over seeds with 95 % bands; one seed has none, and no verdict. Chord and reactive recovery exist in the lab only.",
    );
    page.heading("Scenario");
    page.code(&serde_json::to_string_pretty(&done.fleet).expect("a fleet is JSON"));
    page
}
