//! A scenario: what kind of world, what happens in it, what is measured. One TOML file each.
//!
//! Phases, in order, each only if its fields ask for it: join and settle · sybils · publish · forge and
//! flood · newcomers · claims · partition · churned prefix · find nodes · idle · kill and join at once ·
//! find values · repair · converge · a cluster's loss · a record's loss · a crowd · churn with work, migrations.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homing_core::cluster::Bounds;
use homing_core::dht::{Config, Mode};
use serde::{Deserialize, Serialize};

use super::churn::Sessions;
use super::latency::{Latency, Uplink};
use super::world::Nature;

/// Most nodes that one world may begin with.
pub const NODES_MAX: usize = 200_000;
/// What a file of this kind says about itself.
pub const WORLD: &str = "dht";

/// A scenario. Unknown fields are errors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Always `"dht"`: tells these files from those of worlds of whole agents.
    pub world: String,
    /// What it shows, for the reader of the report.
    pub about: String,
    /// Nodes at the start.
    pub nodes: usize,
    /// Real signed records and keys instead of tokens.
    pub signed: bool,
    /// Where round trips come from.
    pub latency: Latency,
    /// Median round trip.
    pub rtt_ms: f64,
    /// Uplink of every node; absent: unlimited.
    pub uplink_bytes_per_second: Option<f64>,
    /// Longest wait in front of an uplink.
    pub uplink_queue_ms: u64,
    /// Joins per second at the start.
    pub join_per_second: f64,
    /// Quiet time after the last join.
    pub settle_seconds: f64,
    /// Replicas, bucket size, width.
    pub k: usize,
    /// Requests in flight per lookup.
    pub alpha: usize,
    /// Requests in flight once a lookup gets no closer.
    pub alpha_last: usize,
    /// Disjoint paths of value lookups.
    pub paths: usize,
    /// Disjoint paths of the lookups before storing.
    pub put_paths: usize,
    /// Value lookups that find nothing search once more, elsewhere.
    pub second_search: bool,
    /// Proximity neighbour selection.
    pub proximity: bool,
    /// Region query.
    pub region_query: bool,
    /// Caps per /24.
    pub ip_caps: bool,
    /// Members above which a cluster splits; 0: plain Kademlia.
    pub cluster: u16,
    /// Reactive instead of periodic recovery, from the start of churn on.
    pub reactive: bool,
    /// Factor on all churn-dependent intervals.
    pub pace: f64,
    /// Session times; absent: nobody leaves by itself.
    pub churn: Option<Sessions>,
    /// Their median.
    pub median_session_seconds: f64,
    /// Churn before measuring.
    pub churn_warmup_seconds: f64,
    /// Churn while measuring.
    pub churn_seconds: f64,
    /// Value lookups per node and second during churn.
    pub lookups_per_node_second: f64,
    /// A world that needs more events has diverged and ends.
    pub events_max: u64,
    /// Nodes that store their record.
    pub publishers: usize,
    /// FindNode operations.
    pub find_nodes: usize,
    /// Time without commands in which maintenance is weighed.
    pub idle_seconds: f64,
    /// Share of nodes that die at once.
    pub kill: f64,
    /// Nodes that join at once, as a share of all.
    pub join: f64,
    /// Share of one cluster that dies at once; the records that lived there are looked for.
    pub kill_cluster: f64,
    /// All k holders of one record die at once but so many; 0: not done.
    pub spared_holders: usize,
    /// Nodes that come within [`Scenario::crowd_seconds`], as a multiple of those that are there.
    pub crowd: f64,
    /// How long the crowd comes.
    pub crowd_seconds: f64,
    /// During churn the network chooses its mode itself, by what its oldest node measures.
    pub auto: bool,
    /// How often the whole network changes its mode during churn; it begins plain, `cluster` says the size.
    pub migrations: usize,
    /// Nodes learn of such a change within this time, each at a moment of its own.
    pub migrate_seconds: f64,
    /// FindValue operations.
    pub finds: usize,
    /// They begin within this time.
    pub find_window_seconds: f64,
    /// How long to wait for 99 % of leafsets to be right again.
    pub converge_seconds: f64,
    /// After the values were looked for: time to repair, then placement and lookups once more.
    pub repair_seconds: f64,
    /// Length of one sample under churn.
    pub sample_seconds: f64,
    /// Seeds that a joining node is given.
    pub seeds_per_join: usize,
    /// Nodes that join late, through poisoned seeds.
    pub newcomers: usize,
    /// How many of their seeds lie.
    pub poisoned_seeds: usize,
    /// Share of nodes that answer truly but late.
    pub slow: f64,
    /// How late.
    pub slow_ms: u64,
    /// Clocks are off by up to this much, either way.
    pub skew_seconds: f64,
    /// Honest claimants of one name.
    pub claimants: usize,
    /// Sybils that claim it, too.
    pub claim_flood: usize,
    /// The sybils come first.
    pub flood_first: bool,
    /// How long the world is cut in two halves, which both go on publishing.
    pub partition_seconds: f64,
    /// How long after the cut has healed values are looked for.
    pub heal_seconds: f64,
    /// An adversary's nodes at one prefix at any time.
    pub churners: usize,
    /// How long each of them lives.
    pub churner_seconds: f64,
    /// How long this goes on.
    pub churned_seconds: f64,
    /// Share of nodes that lie.
    pub liars: f64,
    /// They also show forged values.
    pub liars_forge: bool,
    /// They all live in one /24.
    pub liars_in_one_group: bool,
    /// Keys that sybils gather around.
    pub sybil_targets: usize,
    /// Sybils around each.
    pub sybils_per_target: usize,
    /// First bits that a sybil's ID shares with its target.
    pub sybil_bits: usize,
    /// Forged stores per publisher, sent to the nodes closest to its key.
    pub forged_stores: usize,
    /// Valid stores that one node throws at one other.
    pub flood_stores: usize,
}

impl Default for Scenario {
    fn default() -> Self {
        let config = Config::default();
        Self {
            world: WORLD.into(),
            about: String::new(),
            nodes: 100,
            signed: false,
            latency: Latency::Constant,
            rtt_ms: 50.0,
            uplink_bytes_per_second: None,
            uplink_queue_ms: 2_000,
            join_per_second: 20.0,
            settle_seconds: 120.0,
            k: config.k,
            alpha: config.alpha,
            alpha_last: config.alpha_last,
            paths: config.paths,
            put_paths: config.put_paths,
            second_search: config.second_search,
            proximity: true,
            region_query: true,
            ip_caps: true,
            cluster: 0,
            reactive: false,
            pace: 1.0,
            churn: None,
            median_session_seconds: 3_600.0,
            churn_warmup_seconds: 0.0,
            churn_seconds: 0.0,
            lookups_per_node_second: 1.0 / 60.0,
            events_max: u64::MAX,
            publishers: 0,
            find_nodes: 0,
            idle_seconds: 0.0,
            kill: 0.0,
            join: 0.0,
            kill_cluster: 0.0,
            spared_holders: 0,
            crowd: 0.0,
            crowd_seconds: 60.0,
            auto: false,
            migrations: 0,
            migrate_seconds: 60.0,
            finds: 0,
            find_window_seconds: 1.0,
            converge_seconds: 0.0,
            repair_seconds: 0.0,
            sample_seconds: 60.0,
            seeds_per_join: 3,
            newcomers: 0,
            poisoned_seeds: 0,
            slow: 0.0,
            slow_ms: 900,
            skew_seconds: 0.0,
            claimants: 0,
            claim_flood: 0,
            flood_first: false,
            partition_seconds: 0.0,
            heal_seconds: 60.0,
            churners: 0,
            churner_seconds: 20.0,
            churned_seconds: 600.0,
            liars: 0.0,
            liars_forge: false,
            liars_in_one_group: false,
            sybil_targets: 0,
            sybils_per_target: 25,
            sybil_bits: 24,
            forged_stores: 0,
            flood_stores: 0,
        }
    }
}

impl Scenario {
    /// Reads a scenario; each of `changes` is `field=value` and wins over the file.
    ///
    /// # Errors
    /// When the text is not TOML, a field is unknown or out of bounds.
    pub fn parse(text: &str, changes: &[String]) -> Result<Self> {
        let mut table: toml::Table = text.parse().context("the scenario is not TOML")?;
        for change in changes {
            let (field, _) = change.split_once('=').context("a change is field=value")?;
            let changed: toml::Table =
                change.parse().with_context(|| format!("the change of {field} is not TOML"))?;
            table.extend(changed);
        }
        let scenario: Self = table.try_into().context("not a DHT scenario")?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        let share = |what, value: f64| {
            ensure!((0.0..=1.0).contains(&value), "{what} is a share between 0 and 1, not {value}");
            Ok(())
        };
        ensure!((2..=NODES_MAX).contains(&self.nodes), "nodes: 2 to {NODES_MAX}");
        ensure!(self.world == WORLD, "world is {:?}, not {WORLD:?}", self.world);
        self.config().check()?;
        ensure!((1..=32).contains(&self.seeds_per_join), "seeds_per_join: 1 to 32");
        ensure!(self.poisoned_seeds <= self.seeds_per_join, "more poisoned seeds than seeds");
        ensure!(self.poisoned_seeds == 0 || self.liars > 0.0, "poisoned_seeds need liars");
        ensure!(self.newcomers == 0 || self.publishers > 0, "newcomers need publishers");
        ensure!(self.sample_seconds >= 1.0, "sample_seconds: at least 1");
        ensure!(self.join_per_second > 0.0, "join_per_second must be positive");
        ensure!(self.rtt_ms >= 2.0, "rtt_ms: at least 2");
        ensure!(self.churn_seconds == 0.0 || self.churn.is_some(), "churn_seconds needs churn");
        ensure!(self.publishers <= self.nodes, "more publishers than nodes");
        let names = self.claimants + self.claim_flood > 0;
        ensure!(self.finds == 0 || self.publishers > 0 || names, "finds need publishers");
        ensure!(2 * self.claimants <= self.nodes, "more than half of the nodes are claimants");
        ensure!(self.kill_cluster == 0.0 || self.cluster > 0, "kill_cluster needs clusters");
        ensure!(
            !self.auto || self.migrations == 0 && self.cluster == 0,
            "auto chooses the mode itself: no cluster, no migrations"
        );
        ensure!(self.migrations == 0 || self.cluster > 0, "migrations need clusters to go to");
        ensure!((0.0..=20.0).contains(&self.crowd), "crowd: at most 20 times the nodes");
        ensure!(self.crowd_seconds >= 1.0, "crowd_seconds: at least 1");
        share("kill_cluster", self.kill_cluster)?;
        share("kill", self.kill)?;
        share("liars", self.liars)?;
        share("slow", self.slow)?;
        share("join", self.join)
    }

    fn config(&self) -> Config {
        Config {
            k: self.k,
            alpha: self.alpha,
            alpha_last: self.alpha_last,
            paths: self.paths,
            put_paths: self.put_paths,
            second_search: self.second_search,
            proximity: self.proximity,
            ip_caps: self.ip_caps,
            region_query: self.region_query,
            pace: self.pace,
            mode: if self.migrations > 0 { Mode::Kademlia } else { self.clustered() },
            ..Config::default()
        }
    }

    /// The mode that `cluster` asks for.
    #[must_use]
    pub fn clustered(&self) -> Mode {
        match self.cluster {
            0 => Mode::Kademlia,
            split_above => Mode::Cluster(Bounds { split_above }),
        }
    }

    /// The world that the scenario plays in.
    #[must_use]
    pub fn nature(&self) -> Nature {
        let queue = Duration::from_millis(self.uplink_queue_ms);
        let median = Duration::from_secs_f64(self.median_session_seconds);
        Nature {
            config: self.config(),
            seeds: self.seeds_per_join,
            slow: Duration::from_millis(self.slow_ms),
            skew_ms: (self.skew_seconds * 1e3) as i64,
            latency: self.latency,
            rtt_ms: self.rtt_ms,
            uplink: self.uplink_bytes_per_second.map(|rate| Uplink { rate, queue }),
            churn: self.churn.map(|c| (c, median)),
            work_per_node: self.lookups_per_node_second,
            publish: self.churn_seconds > 0.0,
        }
    }
}
