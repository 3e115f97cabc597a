//! A recommendation: the decision process of a fleet's owner, with measured trials for evidence.
//!
//! ```text
//! agents, lifetime ─► turnover per hour ─► trials of the candidates ─► scores on six criteria ─► weights
//!   identities or content · audit duty · what must not be needed         ─► strategy, settings, config.toml
//! ```
//! Larger fleets are simulated at two smaller sizes; latency, upkeep and hops are continued along log2 N, and the
//! report says so. A score is 0 to 10 and names its evidence: a trial of this plan, or a fact about the daemon.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::fleet::Fleet;
use super::run::Job;
use super::sessions::{Lifetimes, Model};
use super::span::Span;
use super::strategy::Strategy;
use super::table::{Row, rows};
use super::trial::Trial;

/// Fleets up to this size are simulated as they are.
const WHOLE_AGENTS_MAX: usize = 1_000;
/// Points between two strategies that the trials do not tell apart.
const TIE: f64 = 0.1;
/// Larger ones at these sizes.
const SIZES: [usize; 2] = [150, 1_000];
/// Chance that all k copies of a record are gone before its owner stores it anew.
const LOSS: f64 = 1e-6;
/// Shortest and longest interval between two stores, in seconds: what the daemon takes, and its default.
const REPUBLISH: (f64, f64) = (60.0, 3_600.0);
/// Shortest and longest life of a record, in seconds.
const RECORD_LIFE: (f64, f64) = (600.0, 86_400.0);

/// What the owner of a fleet says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// How many agents.
    pub agents: usize,
    /// How long half of them live, at least.
    pub lifetime: Span,
    /// The shape of their lives.
    pub model: Model,
    /// Somebody will ask who was where, when.
    pub audit: bool,
    /// What is addressed is content that changes hands, too: checkpoints, artifacts.
    pub content: bool,
    /// No outside service may be needed, such as a chain.
    pub self_contained: bool,
    /// How much each criterion counts.
    pub weights: Weights,
}

/// Weights of the six criteria.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights(pub [f64; 6]);

/// The six criteria, as `--weights` names them.
pub const CRITERIA: [&str; 6] = ["churn", "update", "audit", "crypto", "overhead", "versions"];
const CRITERIA_TOLD: [&str; 6] = [
    "churn resistance",
    "updateability",
    "auditability",
    "cryptographic identity",
    "topology overhead",
    "native versioning",
];

impl Weights {
    /// Churn and identity count most; with an audit duty, auditability does, too.
    #[must_use]
    pub fn usual(audit: bool) -> Self {
        Self([5.0, 2.0, if audit { 5.0 } else { 1.0 }, 5.0, 3.0, if audit { 2.0 } else { 1.0 }])
    }

    /// `churn=5,audit=0`: changes some.
    ///
    /// # Errors
    /// A sentence, when a criterion is unknown or there twice, or a weight is not 0 to 100.
    pub fn changed(mut self, text: &str) -> Result<Self, String> {
        let mut said = [false; CRITERIA.len()];
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let (name, weight) = part
                .split_once('=')
                .ok_or(format!("{part:?}: CRITERION=WEIGHT, such as churn=5"))?;
            let at = CRITERIA.iter().position(|c| *c == name.trim());
            let at = at.ok_or(format!("{name:?} is no criterion: {}", CRITERIA.join(", ")))?;
            if std::mem::replace(&mut said[at], true) {
                return Err(format!("{name} is there twice"));
            }
            let value: f64 =
                weight.trim().parse().map_err(|_| format!("{weight:?} is no number"))?;
            if !(0.0..=100.0).contains(&value) {
                return Err(format!("{name}={weight}: a weight is 0 to 100"));
            }
            self.0[at] = value;
        }
        if self.0.iter().sum::<f64>() > 0.0 { Ok(self) } else { Err("all weights are 0".into()) }
    }
}

/// A score and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Which criterion.
    pub criterion: &'static str,
    /// 0 to 10.
    pub points: f64,
    /// Why.
    pub evidence: String,
}

/// A strategy and its scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Which.
    pub strategy: Strategy,
    /// Weighted mean of the scores, 0 to 10.
    pub total: f64,
    /// In the order of [`CRITERIA`].
    pub scores: Vec<Score>,
}

/// What to expect of the recommended strategy at full size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Expected {
    /// Share of lookups that fail is below this, with 95 % confidence.
    pub failure_below: f64,
    /// Median latency.
    pub latency_p50_ms: f64,
    /// 95 %.
    pub latency_p95_ms: f64,
    /// Upkeep per agent-second.
    pub upkeep_bytes: f64,
    /// Whether latency and upkeep are continued beyond the simulated sizes.
    pub extrapolated: bool,
}

/// Settings of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// `dht.mode`.
    pub mode: &'static str,
    /// `dht.cluster_size`.
    pub cluster_size: u16,
    /// `dht.k`.
    pub k: usize,
    /// `dht.alpha`.
    pub alpha: usize,
    /// `dht.republish_interval_seconds`.
    pub republish_s: u64,
    /// `record_lifetime` and `dht.expiry_seconds`.
    pub record_lifetime_s: u64,
    /// `references.lifetime`, in days.
    pub reference_days: u64,
    /// `audit.enabled`.
    pub audit: bool,
}

/// A recommendation.
#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    /// What was asked.
    pub wish: Wish,
    /// Share of the fleet that leaves per hour.
    pub turnover_per_hour: f64,
    /// The best strategy for identities; of two that are as good, the default.
    pub strategy: Strategy,
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Of the best strategy.
    pub expected: Expected,
    /// What the daemons should run with.
    pub settings: Settings,
    /// Trials that were done, of all that were meant to be.
    pub trials: (usize, usize),
    /// The steps of the decision, as sentences.
    pub steps: Vec<String>,
    /// What the figures do not cover.
    pub limits: Vec<String>,
}

impl Wish {
    /// Their lives.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes { model: self.model, shape: None, median: Some(self.lifetime), mean: None }
    }

    /// The fleet that is simulated, at its largest size.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        let sizes = self.sizes();
        let warmup = self.lifetimes().mean_seconds().clamp(120.0, 600.0);
        Fleet {
            name: "plan".into(),
            agents: sizes[sizes.len() - 1],
            sessions: Some(self.lifetimes()),
            warmup: Span::seconds(warmup),
            duration: Span::seconds(600.0),
            ..Fleet::default()
        }
    }

    fn sizes(&self) -> Vec<usize> {
        if self.agents <= WHOLE_AGENTS_MAX { vec![self.agents] } else { SIZES.to_vec() }
    }

    /// What is simulated, the most telling first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        let job = |strategy, agents, seed| Job { strategy, turnover: None, agents, seed };
        let mut jobs = Vec::new();
        for seed in 1..=2 {
            for size in self.sizes().into_iter().rev() {
                for strategy in [Strategy::Kademlia, Strategy::Cluster] {
                    jobs.push(job(strategy, Some(size), seed));
                }
            }
            if seed == 1 {
                jobs.push(job(Strategy::IpnsKept, None, seed));
                jobs.push(job(Strategy::Ipns, None, seed));
            }
        }
        jobs
    }

    /// The recommendation that follows from these trials.
    ///
    /// # Errors
    /// A sentence, when the trials of one strategy are missing: there was no time for them.
    pub fn advice(&self, trials: &[(Job, Trial)]) -> Result<Advice, String> {
        let rows = rows(trials);
        let turnover = self.lifetimes().turnover_per_hour();
        let mut candidates = Vec::new();
        for strategy in [Strategy::Kademlia, Strategy::Cluster, Strategy::IpnsKept, Strategy::Ipns]
        {
            let mine: Vec<&Row> = rows.iter().filter(|r| r.strategy == strategy).collect();
            let Some(largest) = mine.iter().max_by_key(|r| r.agents) else {
                if strategy.is_reference() {
                    continue;
                }
                return Err(format!("no trial of {strategy} was done in time"));
            };
            candidates.push(self.candidate(strategy, largest, expected(self.agents, &mine)));
        }
        candidates.sort_by(|a, b| b.total.total_cmp(&a.total));
        let (strategy, lead) = chosen(&candidates);
        let mine: Vec<&Row> = rows.iter().filter(|r| r.strategy == strategy).collect();
        let expected = expected(self.agents, &mine);
        let settings = self.settings(strategy, &mine);
        let steps = self.steps(turnover, strategy, lead);
        let limits = self.limits(&expected, &mine);
        let (wish, trials) = (self.clone(), (trials.len(), self.jobs().len()));
        Ok(Advice {
            wish,
            turnover_per_hour: turnover,
            strategy,
            candidates,
            expected,
            settings,
            trials,
            steps,
            limits,
        })
    }

    fn candidate(&self, strategy: Strategy, row: &Row, expected: Expected) -> Candidate {
        let reference = strategy.is_reference();
        let failed = if reference {
            (row.failed.max(3) as f64 / row.lookups.max(1) as f64).min(1.0)
        } else {
            expected.failure_below
        };
        let nines = (-(failed.max(1e-5)).log10() * 2.0).clamp(0.0, 10.0);
        let of = if reference {
            "a week of one reference whose owner is there an hour a day"
        } else {
            "trials"
        };
        let churn = format!("{} of {} lookups failed in {of}", row.failed, row.lookups);
        let newest = format!("{:.2} % of what was found was the newest", 100.0 * row.newest);
        let (overhead, price) = if reference {
            (9.0, "few messages of its own; it needs the DHT, whose price comes on top".to_owned())
        } else {
            let bytes = expected.upkeep_bytes.max(1.0);
            let points = (10.0 - 3.0 * (bytes / 10.0).log10()).clamp(0.0, 10.0);
            (points, format!("{bytes:.0} bytes of upkeep per agent-second"))
        };
        let versions = if reference {
            (6.0, "sequence numbers, and a history where the audit log is on")
        } else {
            (2.0, "the newest record only; older ones are refused")
        };
        let points = [
            (nines, churn),
            (10.0 * row.newest, newest),
            (
                8.0,
                "the daemon's audit log: a signed Merkle log with witnesses; anchors are optional"
                    .into(),
            ),
            (10.0, "addresses are keys, every record is signed and checked by every holder".into()),
            (overhead, price),
            (versions.0, versions.1.to_owned()),
        ];
        let scores: Vec<Score> = CRITERIA_TOLD
            .into_iter()
            .zip(points)
            .map(|(criterion, (points, evidence))| Score { criterion, points, evidence })
            .collect();
        let weights = self.weights.0;
        let sum: f64 = scores.iter().zip(weights).map(|(s, w)| s.points * w).sum();
        Candidate { strategy, total: sum / weights.iter().sum::<f64>(), scores }
    }

    fn settings(&self, strategy: Strategy, rows: &[&Row]) -> Settings {
        let mean = self.lifetimes().mean_seconds();
        let timeouts = rows.iter().map(|r| r.timeouts.mean).fold(0.0, f64::max);
        let lost = rows.iter().any(|r| r.records_lost > 0);
        let k = if lost { 30 } else { 20 };
        // All k copies are gone after Δ with probability (1 − e^(−Δ/T))^k.
        let bound = -mean * (1.0 - LOSS.powf(1.0 / k as f64)).ln();
        let republish = bound.clamp(REPUBLISH.0, REPUBLISH.1);
        let life = (2.0 * mean).max(4.0 * republish).clamp(RECORD_LIFE.0, RECORD_LIFE.1);
        Settings {
            mode: if strategy == Strategy::Cluster { "cluster" } else { "kademlia" },
            cluster_size: Fleet::default().cluster_size,
            k,
            alpha: if timeouts > 0.5 { 5 } else { 3 },
            republish_s: republish as u64,
            record_lifetime_s: life as u64,
            reference_days: 7,
            audit: true,
        }
    }

    fn steps(&self, turnover: f64, strategy: Strategy, lead: f64) -> Vec<String> {
        let why = if lead.abs() < TIE {
            "the trials below do not tell the two modes apart, and it is the default"
        } else {
            "the better one in the trials below, by the given weights"
        };
        let mut steps = vec![
            format!(
                "Churn: half of the agents live less than {}, so {:.*} % of the fleet leaves per hour, {:.0} of {} agents.",
                self.lifetime,
                usize::from(turnover < 0.1),
                100.0 * turnover,
                turnover * self.agents as f64,
                self.agents
            ),
            format!("Addresses: identities are found through the DHT in {strategy} mode: {why}."),
        ];
        steps.push(if self.content {
            "Content: checkpoints and artifacts get references, kept alive by peers (references.keep), since a reference that only its owner renews is dark when the owner is away.".into()
        } else {
            "Content: none was asked for; references cost nothing until one is published.".into()
        });
        steps.push(match (self.audit, self.self_contained) {
            (true, false) => "Audit: the log is on. Anchor it where your auditor can look: set audit.anchor.kind and its keys.".into(),
            (true, true) => "Audit: the log is on, with trusted peers as witnesses; no anchor, since nothing outside may be needed.".into(),
            (false, _) => "Audit: not a duty; the log stays on, it costs a few bytes per change.".into(),
        });
        steps.push("Infrastructure: the daemons themselves, and one relay of your own if agents sit behind translators.".into());
        steps
    }

    fn limits(&self, expected: &Expected, rows: &[&Row]) -> Vec<String> {
        let mut limits = Vec::new();
        let sizes: Vec<_> = rows.iter().map(|r| r.agents.to_string()).collect();
        if expected.extrapolated {
            limits.push(format!("Simulated were {} agents; latency and upkeep at {} are continued along log2 N, success is taken as it was at the largest size.", sizes.join(" and "), self.agents));
        }
        limits.push("Lookups failing less often than once in some thousands are not told apart: more seeds with homing lab compare do.".into());
        limits.push("Round trips of 80 ms, all agents reachable, nobody lies, no lost packets. Put your regions, NATs and losses into a scenario for homing lab simulate.".into());
        limits
    }
}

/// How identities should be found, and by how many points clusters are better.
fn chosen(candidates: &[Candidate]) -> (Strategy, f64) {
    let total = |strategy| candidates.iter().find(|c| c.strategy == strategy).map(|c| c.total);
    let [kademlia, cluster] = [Strategy::Kademlia, Strategy::Cluster].map(total);
    let lead = cluster.unwrap_or_default() - kademlia.unwrap_or_default();
    (if lead >= TIE { Strategy::Cluster } else { Strategy::Kademlia }, lead)
}

/// At `agents`, from what was measured at the sizes of `rows`.
fn expected(agents: usize, rows: &[&Row]) -> Expected {
    let (small, large) = match rows {
        [] => return Expected::default(),
        rows => (
            rows.iter().min_by_key(|r| r.agents).expect("one"),
            rows.iter().max_by_key(|r| r.agents).expect("one"),
        ),
    };
    let log = |n: usize| (n.max(2) as f64).log2();
    let extrapolated = agents > large.agents + large.agents / 10;
    let along = |f: fn(&Row) -> f64| {
        let (at_small, at_large) = (f(small), f(large));
        let steps = log(large.agents) - log(small.agents);
        let slope = if steps > 0.1 { (at_large - at_small) / steps } else { 0.0 };
        let rest = if extrapolated { log(agents) - log(large.agents) } else { 0.0 };
        (at_large + slope * rest).max(0.0)
    };
    let (lookups, failed): (usize, usize) =
        rows.iter().fold((0, 0), |(l, f), r| (l + r.lookups, f + r.failed));
    // The rule of three, and two standard deviations beyond it.
    let bound = (failed as f64 + 2.0 * (failed as f64).sqrt()).max(3.0);
    Expected {
        failure_below: (bound / lookups.max(1) as f64).min(1.0),
        latency_p50_ms: along(|r| r.latency_p50_ms.mean),
        latency_p95_ms: along(|r| r.latency_p95_ms.mean),
        upkeep_bytes: along(|r| r.upkeep_bytes.mean),
        extrapolated,
    }
}

impl Advice {
    /// One sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let references = if self.wish.content { ", references kept by peers" } else { "" };
        let audit = if self.wish.audit { ", the audit log on" } else { "" };
        // Rounded up: nothing takes less than 0 ms.
        let half = self.expected.latency_p50_ms.ceil().max(1.0);
        format!(
            "Run the DHT in {} mode (k = {}, α = {}){references}{audit}: fewer than {:.2} % of lookups fail, half take less than {half:.0} ms, {:.0} bytes of upkeep per agent-second.",
            self.settings.mode,
            self.settings.k,
            self.settings.alpha,
            100.0 * self.expected.failure_below,
            self.expected.upkeep_bytes
        )
    }

    /// A `config.toml` that the daemon takes.
    #[must_use]
    pub fn config(&self) -> String {
        let s = &self.settings;
        let mut text = format!(
            "# homing lab plan: {} agents, median life {}, {:.0} % turnover per hour\n",
            self.wish.agents,
            self.wish.lifetime,
            100.0 * self.turnover_per_hour
        );
        let (done, all) = self.trials;
        if done < all {
            let _ = writeln!(text, "# only {done} of {all} trials were done");
        }
        let _ = writeln!(text, "record_lifetime = \"{}s\"\n", s.record_lifetime_s);
        let _ = writeln!(text, "[dht]\nenabled = true\nmode = \"{}\"", s.mode);
        if s.mode == "cluster" {
            let _ = writeln!(text, "cluster_size = {}", s.cluster_size);
        }
        let _ = writeln!(text, "k = {}\nalpha = {}", s.k, s.alpha);
        let _ = writeln!(text, "republish_interval_seconds = {}", s.republish_s);
        let _ = writeln!(text, "expiry_seconds = {}\n", s.record_lifetime_s);
        let _ = writeln!(text, "[gossip]\nenabled = true\n");
        let _ = writeln!(
            text,
            "[references]\nlifetime = \"{}d\"\nkeep_for_trusted = true\n",
            s.reference_days
        );
        let _ = writeln!(text, "[audit]\nenabled = {}", s.audit);
        if self.wish.audit && !self.wish.self_contained {
            text.push_str(
                "# to anchor: audit.anchor.kind = \"rfc3161\" or \"evm\", and its keys\n",
            );
        }
        text
    }
}
