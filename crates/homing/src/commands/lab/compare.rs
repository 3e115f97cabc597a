//! `homing lab compare`: strategies × turnovers × seeds.

use std::path::PathBuf;

use clap::Args;
use homing_sim::lab::report::Page;
use homing_sim::lab::table::{COLUMNS, Row, cells, charts, rows};
use homing_sim::lab::{Job, Strategy};
use serde_json::json;

use super::super::{OK, Outcome};
use super::course::{Done, RunFlags, table, write_report};
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
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Go on with an interrupted run; it knows what it compares
    #[arg(long, value_name = "DIR", conflicts_with_all = ["FleetFlags", "run", "strategies", "turnover", "seeds"])]
    resume: Option<PathBuf>,
}

/// `20%` or `0.2`.
fn turnover(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map_err(|_| format!("{text:?} is no share, such as 20%"))?;
    let share = (share * factor * 1e6).round() / 1e6;
    if (0.001..=100.0).contains(&share) { Ok(share) } else { Err("0.1% to 10000%".to_owned()) }
}

impl CompareArgs {
    fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for seed in 1..=self.seeds.min(10_000) {
            for turnover in &self.turnover {
                for strategy in &self.strategies {
                    let turnover = Some(*turnover);
                    let job = Job { strategy: *strategy, turnover, agents: None, seed };
                    if !jobs.contains(&job) {
                        jobs.push(job);
                    }
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
            let fleet = args.fleet.fleet()?;
            if fleet.events.is_some() {
                let message = "--events has one turnover, its own; compare varies it";
                return Err(homing_api::ApiError::new(homing_api::Code::Usage, message).hint(
                    "homing lab simulate --events FILE --strategy STRATEGY, once per strategy",
                ));
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
    session.out.result(&answer, names, || table(&rows));
    if let Some(path) = &args.run.html {
        write_report(path, &page(&done, &rows).html())?;
    }
    Ok(OK)
}

/// Which strategy is best where, as far as the bands tell them apart.
fn verdicts(rows: &[Row]) -> Vec<String> {
    let mut turnovers: Vec<f64> = rows.iter().map(|r| r.turnover).collect();
    turnovers.dedup();
    turnovers
        .into_iter()
        .filter_map(|turnover| {
            let here =
                || rows.iter().filter(|r| r.turnover == turnover && !r.strategy.is_reference());
            let cheapest =
                here().min_by(|a, b| a.upkeep_bytes.mean.total_cmp(&b.upkeep_bytes.mean))?;
            let fastest =
                here().min_by(|a, b| a.latency_p95_ms.mean.total_cmp(&b.latency_p95_ms.mean))?;
            let surest = here().max_by(|a, b| a.success.mean.total_cmp(&b.success.mean))?;
            let tied = here().all(|r| {
                r.success.mean + r.success.band >= surest.success.mean - surest.success.band
            });
            let sure = if tied {
                "no difference in success".to_owned()
            } else {
                format!("{} finds most", surest.strategy)
            };
            Some(format!(
                "{:.0} % per hour: {sure}; {} is fastest at p95, {} cheapest.",
                100.0 * turnover,
                fastest.strategy,
                cheapest.strategy
            ))
        })
        .collect()
}

fn page(done: &Done, rows: &[Row]) -> Page {
    let name = format!("Strategies compared: {}", done.fleet.name);
    let mut page = Page::new(&name, &done.fleet.about);
    page.lead(&verdicts(rows).join(" "));
    page.heading("Over turnover");
    page.charts(&charts(&done.trials));
    page.soft("Dots are seeds, lines their means. Courses (latency, convergence, changes) are those of the last turnover and seed. Reference strategies are a week of one reference whose owner is there an hour a day, and have no network figures of their own.");
    page.heading("Figures");
    page.table(&COLUMNS, &rows.iter().map(cells).collect::<Vec<_>>());
    page.soft(
        "Means over seeds with 95 % bands. Chord and reactive recovery exist in the lab only.",
    );
    page.heading("Scenario");
    page.code(&serde_json::to_string_pretty(&done.fleet).expect("a fleet is JSON"));
    page
}
