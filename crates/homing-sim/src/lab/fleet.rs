//! A fleet: what lives in a trial, how it comes and goes, what is measured. One TOML file, or flags.
//!
//! ```toml
//! name = "spot fleet"
//! agents = 1000
//! duration = "30m"
//! strategy = "kademlia"
//! sessions = { model = "weibull", shape = 0.5, median = "40m" }
//! nat = { public = 0.3, mapped = 0.6, symmetric = 0.1 }
//! [[regions]]
//! name = "eu"
//! share = 2
//! rtt = "15ms"
//! ```
//! Everything is checked before anything is simulated. Unknown fields are errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use homing_core::cluster::Bounds;
use homing_core::dht::Config;
use serde::{Deserialize, Serialize};

use super::events::{EventLog, LogError};
use super::limits::{
    AGENT_BYTES, AGENT_SECONDS_MAX, AGENTS_MAX, AGENTS_MIN, DURATION_SECONDS_MAX, FLEET_BYTES_MAX,
    LOOKUPS_PER_MINUTE_MAX, REGIONS_MAX, TEXT_BYTES_MAX,
};
pub use super::place::{NatMix, Region, Route};
use super::sessions::Lifetimes;
use super::span::Span;
use super::strategy::Strategy;

/// A scenario of the lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fleet {
    /// What the report calls it.
    pub name: String,
    /// A sentence for its reader.
    pub about: String,
    /// Agents; the log's own number if there is a log.
    pub agents: usize,
    /// Which strategy they follow.
    pub strategy: Strategy,
    /// Members above which a cluster splits, for the cluster strategy.
    pub cluster_size: u16,
    /// Replicas, width of lookups, length of successor lists.
    pub k: usize,
    /// Requests in flight per lookup.
    pub alpha: usize,
    /// Measured time; [`UNSAID`]: a quarter of an hour, or the whole log if there is one.
    pub duration: Span,
    /// Time under churn before it.
    pub warmup: Span,
    /// How long agents stay; absent: nobody leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Lifetimes>,
    /// Instead of `sessions`: the fleet's own log; a path relative to the scenario's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<PathBuf>,
    /// Share of the agents that die at once at the end, to see how fast the others find together; 0: none.
    pub reclaim: f64,
    /// Agents whose record is stored and looked for; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<usize>,
    /// Lookups per agent and minute.
    pub lookups_per_minute: f64,
    /// Median round trip; between regions without a route, the round trip.
    pub rtt: Span,
    /// Without regions: agents are points of a square, so that some are near. Otherwise all are equally far.
    pub plane: bool,
    /// What a relay adds to a round trip.
    pub relay_rtt: Span,
    /// Share of messages that get lost.
    pub loss: f64,
    /// Each agent's uplink, with a queue of two seconds; absent: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink_bytes_per_second: Option<f64>,
    /// Share of agents that name each other instead of the truth and keep nothing.
    pub adversaries: f64,
    /// Adversaries show forged records, too.
    pub forge: bool,
    /// Parts of the world; none: see `plane`.
    pub regions: Vec<Region>,
    /// Ways between regions.
    pub routes: Vec<Route>,
    /// What stands in front of agents.
    pub nat: NatMix,
}

/// A duration that nobody gave; [`Fleet::check`] decides it.
pub const UNSAID: Span = Span(Duration::MAX);
const DURATION_SECONDS: f64 = 900.0;

impl Default for Fleet {
    fn default() -> Self {
        let config = Config::default();
        Self {
            name: "fleet".into(),
            about: String::new(),
            agents: 300,
            strategy: Strategy::Kademlia,
            cluster_size: Bounds::default().split_above,
            k: config.k,
            alpha: config.alpha,
            duration: UNSAID,
            warmup: Span::seconds(300.0),
            sessions: None,
            events: None,
            reclaim: 0.1,
            records: None,
            lookups_per_minute: 1.0,
            rtt: Span::seconds(0.08),
            plane: true,
            relay_rtt: Span::seconds(0.04),
            loss: 0.0,
            uplink_bytes_per_second: None,
            adversaries: 0.0,
            forge: false,
            regions: Vec::new(),
            routes: Vec::new(),
            nat: NatMix::default(),
        }
    }
}

/// Why a scenario cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not TOML, or not a scenario.
    #[error("{path} is no scenario: {what}")]
    NoScenario {
        /// Which.
        path: PathBuf,
        /// What the parser says.
        what: String,
    },
    /// A field is out of bounds, or contradicts another.
    #[error("{field}: {what}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// It does not fit into memory.
    #[error("{agents} agents take up to {needed_mb} MB, {free_mb} MB are free")]
    Memory {
        /// Agents.
        agents: usize,
        /// What they take.
        needed_mb: u64,
        /// What there is.
        free_mb: u64,
    },
    /// The event log is broken.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn ensure(holds: bool, field: &'static str, what: impl Into<String>) -> Result<(), FleetError> {
    if holds { Ok(()) } else { Err(FleetError::Field { field, what: what.into() }) }
}

impl Fleet {
    /// Reads a scenario file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`FleetError`]; bounds are checked by [`Fleet::check`].
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        let unreadable = |error| FleetError::Unreadable { path: path.to_owned(), error };
        let no_scenario = |what| FleetError::NoScenario { path: path.to_owned(), what };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FLEET_BYTES_MAX {
            return Err(no_scenario(format!("larger than {FLEET_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut fleet: Self = toml::from_str(&text).map_err(|e| no_scenario(told(&e, &text)))?;
        if let (Some(events), Some(folder)) = (&fleet.events, path.parent()) {
            fleet.events = Some(folder.join(events));
        }
        Ok(fleet)
    }

    /// Checks everything, reads the event log if there is one, and decides what was left open.
    ///
    /// # Errors
    /// [`FleetError`], naming the first field that is wrong.
    pub fn check(&mut self) -> Result<Option<EventLog>, FleetError> {
        let both = self.sessions.is_some() && self.events.is_some();
        ensure(
            !both,
            "events",
            "contradicts sessions: a log says who leaves; give one of the two",
        )?;
        let log = self.events.as_deref().map(EventLog::read).transpose()?;
        if let Some(log) = &log {
            self.follow(log)?;
        } else if self.duration == UNSAID {
            self.duration = Span::seconds(DURATION_SECONDS);
        }
        self.check_without_log()?;
        Ok(log)
    }

    /// As [`Fleet::check`], but the log has been read before.
    pub(crate) fn check_without_log(&self) -> Result<(), FleetError> {
        let short = |text: &str| text.len() <= TEXT_BYTES_MAX;
        ensure(short(&self.name) && !self.name.is_empty(), "name", "1 to 500 bytes")?;
        ensure(short(&self.about), "about", "at most 500 bytes")?;
        self.check_strategy()?;
        self.check_place()?;
        if let Some(fault) = self.sessions.and_then(|s| s.fault()) {
            return Err(FleetError::Field { field: "sessions", what: fault });
        }
        self.check_size()
    }

    /// The log decides how many there are and how long it takes.
    fn follow(&mut self, log: &EventLog) -> Result<(), FleetError> {
        self.agents = log.most;
        let length = Span((log.length() + Duration::from_secs(1)).max(Duration::from_secs(60)));
        let most = DURATION_SECONDS_MAX.min(AGENT_SECONDS_MAX / log.most.max(1) as f64).floor();
        let most = Span::seconds(most - self.warmup.as_seconds());
        if self.duration > length {
            let whole = self.duration != UNSAID || length < most;
            self.duration = if whole { length } else { most };
        }
        ensure(log.most >= AGENTS_MIN, "events", "never two agents at the same time in this log")
    }

    fn check_strategy(&self) -> Result<(), FleetError> {
        let config = self.config();
        let k = config.check().map_err(|e| e.to_string());
        k.map_err(|what| FleetError::Field { field: "k, alpha, cluster_size", what })?;
        let reference = self.strategy.is_reference();
        ensure(!reference, "strategy", "references are compared by `homing lab compare` only")?;
        let chord = self.strategy == Strategy::Chord && self.forge;
        ensure(!chord, "forge", "not with chord: records are sealed, its liars keep silent")
    }

    fn check_place(&self) -> Result<(), FleetError> {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        let rtt = |s: Span| (0.002..=10.0).contains(&s.as_seconds());
        ensure(rtt(self.rtt), "rtt", "2ms to 10s")?;
        ensure(self.relay_rtt.as_seconds() <= 10.0, "relay_rtt", "at most 10s")?;
        ensure((0.0..=0.5).contains(&self.loss), "loss", "a share between 0 and 0.5")?;
        ensure(share(self.reclaim) && self.reclaim < 1.0, "reclaim", "a share from 0 to below 1")?;
        ensure((0.0..=0.5).contains(&self.adversaries), "adversaries", "a share from 0 to 0.5")?;
        ensure(!self.forge || self.adversaries > 0.0, "forge", "needs adversaries")?;
        let uplink = self.uplink_bytes_per_second.is_none_or(|u| (1e3..=1e12).contains(&u));
        ensure(uplink, "uplink_bytes_per_second", "1000 or more")?;
        ensure(self.nat.is_sound(), "nat", "shares are not negative, and one is positive")?;
        ensure(self.regions.len() <= REGIONS_MAX, "regions", format!("at most {REGIONS_MAX}"))?;
        for (i, region) in self.regions.iter().enumerate() {
            let sound = region.share > 0.0 && region.share.is_finite() && rtt(region.rtt);
            ensure(
                sound,
                "regions",
                format!("{}: a positive share, an rtt of 2ms to 10s", region.name),
            )?;
            let twice = self.regions[..i].iter().any(|r| r.name == region.name);
            ensure(!twice, "regions", format!("{} is there twice", region.name))?;
        }
        for route in &self.routes {
            let known = |name: &str| self.regions.iter().any(|r| r.name == name);
            let named = format!("{} to {} is no way between two regions", route.from, route.to);
            ensure(
                known(&route.from) && known(&route.to) && route.from != route.to,
                "routes",
                named,
            )?;
            ensure(rtt(route.rtt), "routes", "an rtt of 2ms to 10s")?;
        }
        for (i, route) in self.routes.iter().enumerate() {
            let twice = self.routes[..i].iter().any(|r| r.joins(&route.from, &route.to));
            let named = format!("{} to {} is there twice", route.from, route.to);
            ensure(!twice, "routes", named)?;
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), FleetError> {
        let (n, total) = (self.agents, self.total_seconds());
        let agents = (AGENTS_MIN..=AGENTS_MAX).contains(&n);
        ensure(agents, "agents", format!("{AGENTS_MIN} to {AGENTS_MAX}, not {n}"))?;
        let long = self.duration.as_seconds() >= 30.0 && total <= DURATION_SECONDS_MAX;
        ensure(long, "duration", "30s or more, and at most a week with the warm-up")?;
        let work = total * n as f64;
        let fits = work <= AGENT_SECONDS_MAX;
        ensure(
            fits,
            "duration",
            format!("{n} agents for {total:.0} s: days of work; take fewer or less"),
        )?;
        let records = self.records.is_none_or(|r| (1..=n).contains(&r));
        ensure(records, "records", format!("1 to {n}, the number of agents"))?;
        let rate = self.lookups_per_minute;
        let sound = (0.0..=LOOKUPS_PER_MINUTE_MAX).contains(&rate);
        ensure(sound, "lookups_per_minute", format!("0 to {LOOKUPS_PER_MINUTE_MAX}"))
    }

    /// Whether `jobs` trials of it fit into `free_bytes` at once.
    ///
    /// # Errors
    /// [`FleetError::Memory`] when not even one does.
    pub fn jobs_that_fit(&self, jobs: usize, free_bytes: u64) -> Result<usize, FleetError> {
        let each = self.agents as u64 * AGENT_BYTES + (64 << 20);
        match usize::try_from(free_bytes / each).unwrap_or(usize::MAX) {
            0 => Err(FleetError::Memory {
                agents: self.agents,
                needed_mb: each >> 20,
                free_mb: free_bytes >> 20,
            }),
            fitting => Ok(jobs.min(fitting).max(1)),
        }
    }

    /// Warm-up and measured time, in seconds.
    #[must_use]
    pub fn total_seconds(&self) -> f64 {
        self.warmup.as_seconds() + self.duration.as_seconds()
    }

    /// What its nodes run with.
    pub(crate) fn config(&self) -> Config {
        let base = Config {
            k: self.k,
            alpha: self.alpha,
            alpha_last: Config::default().alpha_last.min(self.k),
            ..Config::default()
        };
        self.strategy.config(base, self.cluster_size)
    }

    /// The median session that nodes have to expect.
    pub(crate) fn session_hint(&self, log: Option<&EventLog>) -> Duration {
        let of_log = log.map(EventLog::turnover_per_hour).filter(|t| *t > 0.0);
        let seconds = match (of_log, self.sessions) {
            (Some(turnover), _) => 3_600.0 / turnover,
            (None, Some(sessions)) => sessions.mean_seconds(),
            (None, None) => 86_400.0,
        };
        Duration::from_secs_f64(seconds)
    }
}

/// The parser's words with the line they are about.
fn told(error: &toml::de::Error, text: &str) -> String {
    let what = error.message().replace('\n', " ");
    match error.span() {
        Some(span) => {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            format!("line {line}: {what}")
        }
        None => what,
    }
}
