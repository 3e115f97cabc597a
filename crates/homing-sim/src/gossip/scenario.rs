//! A scenario: what kind of world, what happens in it, what is measured. One TOML file each.
//!
//! Phases, in order, each only if its fields ask for it: link and settle · publish · attack · idle ·
//! partition and heal · join.

use anyhow::{Context, Result, ensure};
use homing_core::gossip::limits::{ENTRIES_PUBLIC_MAX, ENTRY_BYTES_PUBLIC_MAX};
use homing_core::gossip::{Capacity, Config};
use serde::{Deserialize, Serialize};

use super::graph::Graph;

/// A scenario. Unknown fields are errors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, for the reader of the report.
    pub about: String,
    /// Nodes at the start.
    pub nodes: usize,
    /// Who is linked with whom.
    pub graph: Graph,
    /// Links that each node of a random graph begins.
    pub links: usize,
    /// One-way latency of a link, between this …
    pub latency_ms_min: u64,
    /// … and this.
    pub latency_ms_max: u64,
    /// Share of messages that vanish.
    pub loss: f64,
    /// Records published, by random nodes.
    pub records: usize,
    /// … within this time.
    pub publish_seconds: f64,
    /// How long everything may take to arrive.
    pub patience_seconds: f64,
    /// Quiet time in which the cost is measured.
    pub idle_seconds: f64,
    /// How long both halves cannot talk to each other.
    pub partition_seconds: f64,
    /// Records published meanwhile, half on each side.
    pub partition_records: usize,
    /// Nodes that come last.
    pub joiners: usize,
    /// … so long after the rest.
    pub join_after_seconds: f64,
    /// Links that each of them begins.
    pub join_links: usize,
    /// Entries of a table.
    pub capacity_entries: usize,
    /// Nodes that push records in others' names.
    pub forgers: usize,
    /// Nodes that push what they heard long ago.
    pub replayers: usize,
    /// Nodes that push records of made-up identities.
    pub flooders: usize,
    /// Nodes that take everything, pass on nothing and claim that nothing differs.
    pub withholders: usize,
    /// Messages of 32 records that each attacker sends per second over each link.
    pub attack_per_second: f64,
    /// How long they attack; half of the records change before the replay.
    pub attack_seconds: f64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            about: String::new(),
            nodes: 50,
            graph: Graph::Random,
            links: 3,
            latency_ms_min: 10,
            latency_ms_max: 60,
            loss: 0.0,
            records: 50,
            publish_seconds: 10.0,
            patience_seconds: 600.0,
            idle_seconds: 0.0,
            partition_seconds: 0.0,
            partition_records: 0,
            joiners: 0,
            join_after_seconds: 3_600.0,
            join_links: 3,
            capacity_entries: ENTRIES_PUBLIC_MAX,
            forgers: 0,
            replayers: 0,
            flooders: 0,
            withholders: 0,
            attack_per_second: 10.0,
            attack_seconds: 0.0,
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
        table.remove("world");
        let scenario: Self = table.try_into().context("not a gossip scenario")?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        let hostile = self.forgers + self.replayers + self.flooders + self.withholders;
        ensure!((2..=100_000).contains(&self.nodes), "nodes: 2 to 100000");
        ensure!(hostile < self.nodes, "somebody must be honest");
        ensure!((0.0..1.0).contains(&self.loss), "loss is a share below 1, not {}", self.loss);
        ensure!(self.links > 0 && self.join_links > 0, "links: at least 1");
        ensure!(
            self.latency_ms_min <= self.latency_ms_max,
            "latency_ms_min is above latency_ms_max"
        );
        ensure!(self.capacity_entries > 0, "capacity_entries: at least 1");
        ensure!(self.attack_per_second > 0.0, "attack_per_second must be positive");
        Ok(())
    }

    /// The settings of every node.
    #[must_use]
    pub fn config(&self) -> Config {
        let capacity = Capacity { entries: self.capacity_entries, bytes: ENTRY_BYTES_PUBLIC_MAX };
        Config { capacity, ..Config::of(true) }
    }
}
