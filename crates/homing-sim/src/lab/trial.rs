//! One trial: a fleet, a strategy, a seed, and what was measured.
//!
//! ```text
//! join ─► settle ─► churn: warm-up ─► churn: measured ─► a share dies at once ─► convergence
//! ```
//! The figures are exact for their seed. Only [`Trial::cpu_seconds`] and [`Trial::memory_peak_bytes`] are the machine's.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::events::EventLog;
use super::fleet::Fleet;
use super::kademlia::Kademlia;
use super::limits::{EVENTS_MIN, EVENTS_PER_AGENT_SECOND_MAX, LOOKED_AT_MAX};
use super::machine::Machine;
use super::strategy::Strategy;
use super::world::{Counts, Found, World};
use crate::dht::clusters::Regions;
use crate::dht::report::at_share;
use crate::price::{memory_peak_bytes, thread_cpu_seconds};
use crate::strategies::chord::Chord;

/// Quiet time after the last join.
const SETTLE_SECONDS: f64 = 60.0;
/// Joins are spread over this time.
const JOIN_SECONDS: f64 = 100.0;
/// Between two looks at the stop flag, at divergence and at clusters.
const STEP_SECONDS: f64 = 5.0;
/// Samples over the measured time.
const SAMPLES: f64 = 30.0;
/// How long neighbours have to find together after a share has died, and how often they are looked at.
const CONVERGE_SECONDS: f64 = 300.0;
const LOOK_SECONDS: f64 = 10.0;
/// Lookups that begin in this time after a share has died are counted by themselves.
const SHOCK_SECONDS: f64 = 30.0;
/// Points of a latency distribution.
const QUANTILES: u32 = 40;
/// Neighbours count as found together at this share.
const CONVERGED: f64 = 0.99;

/// What a trial measured, without what one machine says about another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Agents alive at the end of the measured time.
    pub agents: usize,
    /// Simulated seconds.
    pub simulated_seconds: f64,
    /// Share of the fleet that left per hour.
    pub turnover_per_hour: f64,
    /// Agents that came, and that left, while measured.
    pub joins: u64,
    /// See `joins`.
    pub leaves: u64,
    /// Lookups of records of agents that lived at the end of the lookup.
    pub lookups: usize,
    /// Those that found the right record, in any version.
    pub found: usize,
    /// Their share; 1 without lookups.
    pub success: f64,
    /// Those that found the newest version.
    pub newest: usize,
    /// Those that were shown only what nobody signed.
    pub poisoned: usize,
    /// Mean steps of successful lookups.
    pub hops: f64,
    /// Requests per lookup.
    pub requests: f64,
    /// Requests per lookup that nobody answered in time.
    pub timeouts: f64,
    /// Latency of successful lookups in milliseconds, at 0, 1/40, … 40/40 of them.
    pub latency_ms: Vec<f64>,
    /// Median latency.
    pub latency_p50_ms: f64,
    /// 95 %.
    pub latency_p95_ms: f64,
    /// 99 %.
    pub latency_p99_ms: f64,
    /// Bytes per agent-second that keep tables and replicas right.
    pub upkeep_bytes: f64,
    /// Bytes per agent-second of lookups and stores.
    pub command_bytes: f64,
    /// Messages per agent-second.
    pub messages: f64,
    /// Messages dropped at full uplinks.
    pub dropped: u64,
    /// Changes of topology while measured: regions that became divided or whole; without clusters, every join and leave is one.
    pub topology_changes: u64,
    /// Joins and leaves per change of topology.
    pub events_per_change: f64,
    /// Records of living agents that nobody held at the end of the measured time.
    pub records_lost: usize,
    /// Sample by sample.
    pub samples: Vec<Sample>,
    /// After a share had died: seconds, and the share of true neighbours that nodes know.
    pub convergence: Vec<(f64, f64)>,
    /// Seconds until 99 % of true neighbours were known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub converged_seconds: Option<f64>,
    /// Share of lookups that succeeded in the 30 s after a share had died.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shock_success: Option<f64>,
    /// It needed more events than any sound network, and was ended.
    pub diverged: bool,
    /// Events of the simulator.
    pub simulator_events: u64,
    /// Equal for equal scenarios, strategies and seeds.
    pub trace: String,
}

/// Some seconds of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Their end, in seconds of the measured time.
    pub at: f64,
    /// Agents alive then.
    pub agents: usize,
    /// All bytes per agent-second.
    pub bytes: f64,
    /// Share of lookups that succeeded.
    pub success: f64,
    /// Joins and leaves so far.
    pub events: u64,
    /// Changes of topology so far.
    pub changes: u64,
}

/// A trial and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Which strategy.
    pub strategy: Strategy,
    /// Which seed.
    pub seed: u64,
    /// Turnover per hour that was asked for, where it was varied.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub turnover: Option<f64>,
    /// What was measured.
    pub figures: Figures,
    /// CPU time of it.
    pub cpu_seconds: f64,
    /// Peak memory of the whole process.
    pub memory_peak_bytes: u64,
}

impl Trial {
    /// Events of the simulator per CPU-second.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.figures.simulator_events as f64 / self.cpu_seconds.max(0.01)
    }
}

/// How a trial is stopped, and how far it is.
#[derive(Debug, Default)]
pub struct Stop {
    /// Set: it ends at the next step, without figures.
    pub now: AtomicBool,
    /// Thousandths done.
    pub progress: AtomicU32,
}

/// Plays one trial of a checked fleet; `None`: it was stopped. Equal arguments give equal figures.
#[must_use]
pub fn play(fleet: &Fleet, log: Option<&EventLog>, seed: u64, stop: &Stop) -> Option<Trial> {
    let before = thread_cpu_seconds();
    let figures = match fleet.strategy {
        Strategy::Chord => Course::<Chord>::new(fleet, log, seed, stop).run()?,
        _ => Course::<Kademlia>::new(fleet, log, seed, stop).run()?,
    };
    Some(Trial {
        strategy: fleet.strategy,
        seed,
        turnover: None,
        figures,
        cpu_seconds: before.zip(thread_cpu_seconds()).map_or(0.0, |(before, now)| now - before),
        memory_peak_bytes: memory_peak_bytes(),
    })
}

struct Course<'a, M: Machine> {
    fleet: &'a Fleet,
    log: Option<&'a EventLog>,
    stop: &'a Stop,
    world: World<M>,
    figures: Figures,
    regions: Regions,
    total: Counts,
    events_max: u64,
    events: u64,
    elapsed: f64,
    length: f64,
}

impl<'a, M: Machine> Course<'a, M> {
    fn new(fleet: &'a Fleet, log: Option<&'a EventLog>, seed: u64, stop: &'a Stop) -> Self {
        let converge = if fleet.reclaim > 0.0 { CONVERGE_SECONDS } else { 0.0 };
        let length = JOIN_SECONDS + SETTLE_SECONDS + fleet.total_seconds() + converge;
        let most = length * fleet.agents as f64 * EVENTS_PER_AGENT_SECOND_MAX;
        Self {
            fleet,
            log,
            stop,
            world: World::new(fleet, log, seed),
            figures: Figures::default(),
            regions: Regions::default(),
            total: Counts::default(),
            events_max: (most as u64).max(EVENTS_MIN),
            events: 0,
            elapsed: 0.0,
            length,
        }
    }

    fn run(mut self) -> Option<Figures> {
        self.join()?;
        self.churn()?;
        self.shock()?;
        self.figures.simulated_seconds = self.world.now().mono.0 as f64 / 1e6;
        self.figures.simulator_events = self.events;
        self.figures.trace = self.world.trace.hash();
        Some(self.figures)
    }

    /// Lets time go by; nothing happens in a world that has diverged.
    fn pass(&mut self, seconds: f64) -> Option<()> {
        let mut left = seconds;
        while left > 0.0 && !self.figures.diverged {
            if self.stop.now.load(Ordering::Relaxed) {
                return None;
            }
            let step = left.min(STEP_SECONDS);
            self.world.run_for(Duration::from_secs_f64(step));
            left -= step;
            self.elapsed += step;
            let done = (1_000.0 * self.elapsed / self.length).min(999.0) as u32;
            self.stop.progress.store(done, Ordering::Relaxed);
            self.figures.diverged = self.events + self.world.counts.events > self.events_max;
            self.watch();
        }
        Some(())
    }

    fn watch(&mut self) {
        let lives = std::mem::take(&mut self.world.lives);
        if self.fleet.strategy == Strategy::Cluster {
            let depths = self.world.depths();
            self.regions.observe(&lives, &depths);
        }
    }

    fn counts(&mut self) -> Counts {
        let counts = self.world.take_counts();
        self.events += counts.events;
        counts
    }

    fn join(&mut self) -> Option<()> {
        let starters = match self.log {
            Some(log) => {
                (0..log.agents).for_each(|_| {
                    self.world.new_agent();
                });
                log.present.clone()
            }
            None => (0..self.fleet.agents).map(|_| self.world.new_agent()).collect(),
        };
        let rate = (starters.len() as f64 / JOIN_SECONDS).max(1.0);
        for agent in starters {
            self.world.arrive(agent);
            self.world.run_for(Duration::from_secs_f64(1.0 / rate));
            if self.stop.now.load(Ordering::Relaxed) {
                return None;
            }
        }
        self.elapsed += JOIN_SECONDS;
        self.pass(SETTLE_SECONDS)
    }

    fn churn(&mut self) -> Option<()> {
        if let Some(log) = self.log {
            self.world.replay(log);
        } else if self.fleet.sessions.is_some() {
            self.world.start_churn();
        }
        if self.log.is_none() {
            self.pass(self.fleet.warmup.as_seconds())?;
        }
        self.counts();
        self.world.found.clear();
        self.regions = Regions::default();
        self.watch();
        self.world.work(true);
        let length = self.fleet.duration.as_seconds();
        let samples = SAMPLES.min((length / STEP_SECONDS).floor()).max(1.0);
        let mut all = Vec::new();
        for nth in 1..=samples as u32 {
            self.pass(length / samples)?;
            let found = std::mem::take(&mut self.world.found);
            let at = f64::from(nth) * length / samples;
            self.sample(at, &found);
            all.extend(found);
            if self.figures.diverged {
                break;
            }
        }
        self.sum_up(&all);
        Some(())
    }

    fn sample(&mut self, at: f64, found: &[Found]) {
        let counts = self.counts();
        add(&mut self.total, counts);
        let bytes = (counts.upkeep_bytes + counts.command_bytes) as f64;
        let events = self.total.joins + self.total.leaves;
        self.figures.samples.push(Sample {
            at,
            agents: self.world.living(),
            bytes: bytes / counts.agent_seconds.max(1.0),
            success: success(found),
            events,
            changes: self.changes(events),
        });
    }

    /// Changes of topology: every life is one, unless clusters absorb it.
    fn changes(&self, events: u64) -> u64 {
        if self.fleet.strategy == Strategy::Cluster { self.regions.changes() } else { events }
    }

    fn sum_up(&mut self, all: &[Found]) {
        let total = self.total;
        let per = |n: u64| n as f64 / total.agent_seconds.max(1.0);
        let living: Vec<_> = all.iter().filter(|f| f.alive).collect();
        let right: Vec<_> = living.iter().filter(|f| f.right).collect();
        // An empty sum is −0.
        let mean = |sum: f64, n: usize| (sum + 0.0) / n.max(1) as f64;
        let at = |ms: &[f64], share| at_share(ms, share).unwrap_or(0.0);
        let mut ms: Vec<f64> = right.iter().map(|f| f.ms).collect();
        ms.sort_unstable_by(f64::total_cmp);
        let events = total.joins + total.leaves;
        let changes = self.changes(events);
        let f = &mut self.figures;
        f.agents = self.world.living();
        (f.joins, f.leaves) = (total.joins, total.leaves);
        f.turnover_per_hour = per(total.leaves) * 3_600.0;
        (f.lookups, f.found, f.success) = (living.len(), right.len(), success(all));
        f.newest = right.iter().filter(|f| f.newest).count();
        f.poisoned = living.iter().filter(|f| f.poisoned).count();
        f.hops = mean(right.iter().map(|f| f64::from(f.hops)).sum(), right.len());
        f.requests = mean(living.iter().map(|f| f64::from(f.requests)).sum(), living.len());
        f.timeouts = mean(living.iter().map(|f| f64::from(f.timeouts)).sum(), living.len());
        f.latency_ms =
            (0..=QUANTILES).map(|q| at(&ms, f64::from(q) / f64::from(QUANTILES))).collect();
        (f.latency_p50_ms, f.latency_p95_ms) = (at(&ms, 0.5), at(&ms, 0.95));
        f.latency_p99_ms = at(&ms, 0.99);
        (f.upkeep_bytes, f.command_bytes) = (per(total.upkeep_bytes), per(total.command_bytes));
        (f.messages, f.dropped) = (per(total.messages), total.dropped);
        f.topology_changes = changes;
        f.events_per_change = events as f64 / changes.max(1) as f64;
        f.records_lost = self.world.records_lost();
    }

    /// A share dies at once; who finds whom, and how soon?
    fn shock(&mut self) -> Option<()> {
        if self.fleet.reclaim == 0.0 || self.figures.diverged {
            return Some(());
        }
        self.world.stop_churn();
        self.world.kill_share(self.fleet.reclaim);
        let mut shocked = Vec::new();
        let mut at = 0.0;
        while at < CONVERGE_SECONDS {
            let share = self.world.neighbours_right(LOOKED_AT_MAX);
            self.figures.convergence.push((at, share));
            if share >= CONVERGED && self.figures.converged_seconds.is_none() {
                self.figures.converged_seconds = Some(at);
            }
            self.pass(LOOK_SECONDS)?;
            at += LOOK_SECONDS;
            let found = std::mem::take(&mut self.world.found);
            if at <= SHOCK_SECONDS {
                shocked.extend(found);
            }
        }
        self.world.work(false);
        self.counts();
        self.figures.shock_success = (!shocked.is_empty()).then(|| success(&shocked));
        Some(())
    }
}

/// Of lookups whose target lives.
fn success(found: &[Found]) -> f64 {
    let living = found.iter().filter(|f| f.alive);
    let (all, right) = living.fold((0, 0), |(n, r), f| (n + 1, r + usize::from(f.right)));
    if all == 0 { 1.0 } else { right as f64 / f64::from(all) }
}

fn add(total: &mut Counts, more: Counts) {
    total.events += more.events;
    total.messages += more.messages;
    total.upkeep_bytes += more.upkeep_bytes;
    total.command_bytes += more.command_bytes;
    total.dropped += more.dropped;
    total.joins += more.joins;
    total.leaves += more.leaves;
    total.agent_seconds += more.agent_seconds;
}
