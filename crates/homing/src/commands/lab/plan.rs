//! `homing lab plan`: which strategy and settings a fleet needs, with evidence.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use homing_api::{ApiError, Code};
use homing_sim::lab::report::Page;
use homing_sim::lab::table::{COLUMNS, cells, charts, rows};
use homing_sim::lab::{Advice, Job, Model, Span, Trial, Weights, Wish};
use serde_json::json;

use super::super::{OK, Outcome};
use super::course::{Done, RunFlags};
use crate::args::OutputWord;
use crate::output::{self, Format};
use crate::render::Table;
use crate::session::Session;

/// Largest fleet that is planned for: figures are continued from 1,000 simulated agents.
const AGENTS_MAX: u64 = 10_000_000;

/// Recommend a strategy and settings for a fleet, from short simulations of it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing lab plan --agents 200 --lifetime 7d\n  homing lab plan --agents 5000 --lifetime 40m --html plan.html\n  homing lab plan --agents 50000 --lifetime 10m --audit -o toml\n  homing lab plan --agents 300 --lifetime 1h --weights churn=5,overhead=5,audit=0"
)]
pub(crate) struct PlanArgs {
    /// How many agents live at the same time
    #[arg(long, value_name = "N", required_unless_present = "resume", value_parser = clap::value_parser!(u64).range(2..=AGENTS_MAX))]
    agents: Option<u64>,
    /// Half of them live less than this
    #[arg(long, value_name = "TIME", required_unless_present = "resume")]
    lifetime: Option<Span>,
    /// The shape of their lives: exponential, weibull, log-normal, pareto or fixed
    #[arg(long, value_name = "MODEL", default_value = "exponential")]
    model: Model,
    /// Who was where, when, must be proven to somebody
    #[arg(long)]
    audit: bool,
    /// Content is addressed, too: checkpoints, artifacts
    #[arg(long)]
    content: bool,
    /// Nothing outside the fleet may be needed, such as a chain or a time-stamp authority
    #[arg(long)]
    self_contained: bool,
    /// How much criteria count: churn, update, audit, crypto, overhead, versions, 0 to 100 each
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    weights: String,
    /// No trial begins later than this
    #[arg(long, value_name = "TIME", default_value = "90s")]
    budget: Span,
    /// auto, table, json, jsonl or name; toml: a config.toml for the daemons
    #[arg(id = "output", long, short = 'o', value_name = "FORMAT", value_parser = format)]
    output: Option<OutputWord>,
    #[command(flatten)]
    run: RunFlags,
    /// Go on with an interrupted plan; it knows its fleet
    #[arg(long, value_name = "DIR", conflicts_with_all = ["agents", "lifetime", "model", "audit", "content", "self_contained", "weights", "run"])]
    resume: Option<PathBuf>,
}

fn format(text: &str) -> Result<OutputWord, String> {
    if text == "toml" {
        return Ok(OutputWord::Toml);
    }
    Format::from_str(text, true).map(OutputWord::Format)
}

impl PlanArgs {
    fn wish(&self) -> Result<Wish, ApiError> {
        let usage = |what: String| ApiError::new(Code::Usage, what).hint("homing lab plan --help");
        let lifetime = self.lifetime.unwrap_or_default();
        if !(60.0..=3.2e8).contains(&lifetime.as_seconds()) {
            return Err(usage(format!("--lifetime {lifetime}: 1m to 10 years")));
        }
        let weights = Weights::usual(self.audit).changed(&self.weights);
        Ok(Wish {
            agents: usize::try_from(self.agents.unwrap_or_default()).unwrap_or(usize::MAX),
            lifetime,
            model: self.model,
            audit: self.audit,
            content: self.content,
            self_contained: self.self_contained,
            weights: weights.map_err(|e| usage(format!("--weights: {e}")))?,
        })
    }
}

pub(crate) async fn run(session: &Session, args: &PlanArgs) -> Outcome {
    let done = match &args.resume {
        Some(dir) => args.run.resume(session, "plan", dir).await?,
        None => {
            let wish = args.wish()?;
            let budget = Duration::from_secs_f64(args.budget.as_seconds().min(1e6));
            let asked = (wish.fleet(), wish.jobs(), json!(wish));
            args.run.begin(session, "plan", asked, Some(Instant::now() + budget)).await?
        }
    };
    let wish: Wish = serde_json::from_value(done.extra.clone()).map_err(|e| {
        ApiError::new(Code::ConfigInvalid, format!("run.json: {e}")).hint("make the plan anew")
    })?;
    let advice = wish.advice(&done.trials).map_err(|e| {
        done.discard();
        ApiError::new(Code::Timeout, e)
            .hint("give it more time with --budget, or fewer other programs")
    })?;
    let (fitting, all) = advice.trials;
    if fitting < all {
        output::say(&format!("note: {fitting} of {all} trials fit into the budget"));
    }
    args.run.report(&done, || page(&advice, &done.trials))?;
    if matches!(args.output, Some(OutputWord::Toml)) {
        output::print(&advice.config());
    } else {
        show(session, &advice, &done);
    }
    Ok(OK)
}

fn show(session: &Session, advice: &Advice, done: &Done) {
    let answer = json!({
        "schema": "homing.lab_plan/v1",
        "recommendation": advice.sentence(),
        "advice": advice,
        "config": advice.config(),
        "simulated": rows(&done.trials),
    });
    session.out.result(&answer, || vec![advice.strategy.to_string()], || text(advice));
}

fn matrix(advice: &Advice) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut head = vec!["CRITERION", "WEIGHT"];
    head.extend(advice.candidates.iter().map(|c| c.strategy.name()));
    let mut lines = Vec::new();
    for (i, weight) in advice.wish.weights.0.iter().enumerate() {
        let mut line =
            vec![advice.candidates[0].scores[i].criterion.to_owned(), format!("{weight}")];
        line.extend(advice.candidates.iter().map(|c| format!("{:.1}", c.scores[i].points)));
        lines.push(line);
    }
    let mut total = vec!["weighted mean".to_owned(), String::new()];
    total.extend(advice.candidates.iter().map(|c| format!("{:.2}", c.total)));
    lines.push(total);
    (head, lines)
}

fn text(advice: &Advice) -> String {
    let (head, lines) = matrix(advice);
    let mut table = Table::new(&head);
    lines.into_iter().for_each(|line| table.row(line));
    let mut text = format!("{}\n\n{}\n", advice.sentence(), table.render());
    for step in &advice.steps {
        text.push_str(&format!("- {step}\n"));
    }
    text.push_str("\nSettings (homing lab plan … -o toml):\n\n");
    text.push_str(&advice.config().lines().map(|l| format!("  {l}\n")).collect::<String>());
    text.push_str("\nWhat this does not say:\n");
    for limit in &advice.limits {
        text.push_str(&format!("- {limit}\n"));
    }
    text
}

fn page(advice: &Advice, trials: &[(Job, Trial)]) -> Page {
    let wish = &advice.wish;
    let title = format!("A plan for {} agents that live {}", wish.agents, wish.lifetime);
    let mut page =
        Page::new(&title, "Made by homing lab plan from simulations of the daemon's own code.");
    page.lead(&advice.sentence());
    page.heading("How the decision was made");
    advice.steps.iter().for_each(|step| page.text(step));
    page.heading("Scores");
    let (head, lines) = matrix(advice);
    page.table(&head, &lines);
    page.soft("0 to 10 each. The strategy is chosen between kademlia and cluster; references come on top, for content.");
    page.heading("Evidence");
    let evidence = |c: &homing_sim::lab::plan::Candidate| {
        let scores = c.scores.iter();
        let name = c.strategy.to_string();
        scores
            .map(|s| {
                vec![
                    name.clone(),
                    s.criterion.to_owned(),
                    format!("{:.1}", s.points),
                    s.evidence.clone(),
                ]
            })
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = advice.candidates.iter().flat_map(evidence).collect();
    page.table(&["strategy", "criterion", "score", "because"], &lines);
    page.heading("Simulated");
    page.table(&COLUMNS, &rows(trials).iter().map(cells).collect::<Vec<_>>());
    page.charts(&charts(trials));
    page.heading("config.toml");
    page.code(&advice.config());
    page.heading("What this does not say");
    advice.limits.iter().for_each(|limit| page.text(limit));
    page
}
