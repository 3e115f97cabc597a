//! `homing lab simulate`: one fleet, one strategy, some seeds.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use homing_api::{ApiError, Code};
use homing_sim::lab::limits::TRIALS_MAX;
use homing_sim::lab::report::Page;
use homing_sim::lab::table::{COLUMNS, Row, cells, charts, rows};
use homing_sim::lab::{Fleet, Job, Span, Trial};
use serde_json::json;

use super::super::{OK, Outcome};
use super::course::{Done, RunFlags, seconds, table};
use super::fleet::FleetFlags;
use crate::output;
use crate::session::Session;

/// Play a fleet: its churn, regions, NATs, losses and liars, against the daemon's own DHT
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing lab simulate --agents 300 --median 1h\n  homing lab simulate --events fleet.jsonl --html report.html\n  homing lab simulate --agents 500 --mean 30m --region eu=2:15ms --region us=1:20ms --route eu,us=90ms --nat public=3,mapped=6,symmetric=1\n  homing lab simulate --resume run-1 --json"
)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    fleet: FleetFlags,
    #[command(flatten)]
    run: RunFlags,
    /// The first seed; equal seeds give equal histories
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// So many seeds, one trial each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=TRIALS_MAX as u64))]
    seeds: u64,
    /// Go on with an interrupted run; it knows its scenario
    #[arg(long, value_name = "DIR", conflicts_with_all = ["FleetFlags", "run", "seed", "seeds"])]
    resume: Option<PathBuf>,
}

pub(crate) async fn run(session: &Session, args: &SimulateArgs) -> Outcome {
    let done = match &args.resume {
        Some(dir) => args.run.resume(session, "simulate", dir).await?,
        None => {
            let fleet = args.fleet.fleet()?;
            let job = |seed| Job { strategy: fleet.strategy, turnover: None, agents: None, seed };
            let last = args.seed.checked_add(args.seeds - 1).ok_or_else(|| {
                let message = format!(
                    "--seed {} with {} seeds: the last is too large",
                    args.seed, args.seeds
                );
                ApiError::new(Code::Usage, message).hint(format!("seeds go to {}", u64::MAX))
            })?;
            let jobs: Vec<Job> = (args.seed..=last).map(job).collect();
            args.run.begin(session, "simulate", (fleet, jobs, json!(null)), None).await?
        }
    };
    if let Some(note) = played(&done) {
        output::say(&format!("note: {note}"));
    }
    let rows = rows(&done.trials);
    let answer = json!({
        "schema": "homing.lab_simulation/v1",
        "scenario": done.fleet,
        "summary": rows,
        "trials": done.trials.iter().map(|(_, t)| t).collect::<Vec<_>>(),
    });
    let names = || done.trials.iter().map(|(_, t)| t.figures.trace.clone()).collect();
    args.run.report(&done, || page(&done, &rows))?;
    session.out.result(&answer, names, || text(&done, &rows));
    Ok(OK)
}

fn text(done: &Done, rows: &[Row]) -> String {
    let mut text = table(rows);
    for (job, trial) in &done.trials {
        let figures = &trial.figures;
        text.push_str(&format!(
            "seed {}  trace {}\n  {} events in {} of CPU, {:.0} per CPU-second, {} MB at most\n",
            job.seed,
            figures.trace,
            figures.simulator_events,
            seconds(Duration::from_secs_f64(trial.cpu_seconds.max(0.0))),
            trial.speed(),
            trial.memory_peak_bytes / 1_000_000
        ));
    }
    text.push_str(&verdict(&done.fleet, &done.trials));
    text.push('\n');
    text
}

/// How much of the log was played, unless it was all of it.
fn played(done: &Done) -> Option<String> {
    let (log, played) = (done.log_length?, done.fleet.duration);
    (played.0 < log).then(|| format!("played {played} of {} of the log", Span(log)))
}

/// What it comes to, in a sentence.
fn verdict(fleet: &Fleet, trials: &[(Job, Trial)]) -> String {
    let sum = |f: &dyn Fn(&Trial) -> usize| trials.iter().map(|(_, t)| f(t)).sum::<usize>();
    let (lookups, found) = (sum(&|t| t.figures.lookups), sum(&|t| t.figures.found));
    let lost = sum(&|t| t.figures.records_lost);
    let turnover = trials.first().map_or(0.0, |(_, t)| t.figures.turnover_per_hour);
    let diverged = trials.iter().filter(|(_, t)| t.figures.diverged).count();
    if diverged > 0 {
        return format!(
            "{diverged} of {} trials diverged: the network does more and more and gets nothing done",
            trials.len()
        );
    }
    let looked = match lookups {
        0 => "no lookups".to_owned(),
        _ => format!("{found} of {lookups} lookups succeeded"),
    };
    format!(
        "{} agents, {:.0} % turnover per hour: {looked}, {lost} records lost",
        fleet.agents,
        100.0 * turnover
    )
}

fn page(done: &Done, rows: &[Row]) -> Page {
    let mut page = Page::new(&done.fleet.name, &done.fleet.about);
    page.lead(&verdict(&done.fleet, &done.trials));
    page.soft(&played(done).unwrap_or_default());
    page.heading("Figures");
    page.table(&COLUMNS, &rows.iter().map(cells).collect::<Vec<_>>());
    page.soft("Means over seeds with 95 % bands, of which one seed has none; upkeep per agent-second; converged: seconds until 99 % of true neighbours are known after a share of the fleet died at once; lost: records of living agents that nobody held.");
    page.heading("Courses");
    page.charts(&charts(&done.trials));
    page.heading("Scenario");
    page.code(&serde_json::to_string_pretty(&done.fleet).expect("a fleet is JSON"));
    let seeds: Vec<_> = done
        .trials
        .iter()
        .map(|(j, t)| format!("seed {}: trace {}", j.seed, t.figures.trace))
        .collect();
    page.code(&seeds.join("\n"));
    page
}
