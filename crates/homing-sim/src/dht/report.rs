//! What a scenario measured, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Serialize;

use super::clusters::Clusters;

/// Everything measured; what the scenario did not ask for is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Nodes alive at the end.
    pub nodes: usize,
    /// Simulated seconds.
    pub seconds: f64,
    /// Events handled.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// All bytes per node and second, from the first birth on.
    pub bytes_per_node_second: f64,
    /// Network size as the median node estimates it.
    pub size_estimate: f64,
    /// Contacts of the median node.
    pub contacts: usize,
    /// FindNode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub find_node: Option<FindNode>,
    /// Storing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publish>,
    /// FindValue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub find_value: Option<FindValue>,
    /// Maintenance without commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Upkeep>,
    /// Convergence after a mass event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converge: Option<Convergence>,
    /// FindValue under churn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<FindValue>,
    /// Maintenance under churn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn_upkeep: Option<Upkeep>,
    /// Sample by sample under churn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// The churn run needed more events than allowed.
    pub diverged: bool,
    /// Forged and excessive stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<Attack>,
    /// FindValue by nodes that joined through poisoned seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newcomers: Option<FindValue>,
    /// Claims of one name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claims>,
    /// FindValue after a partition, across it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healed: Option<FindValue>,
    /// Maintenance of everybody while one prefix is churned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churned_upkeep: Option<Upkeep>,
    /// FindValue of the record at the churned prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churned: Option<FindValue>,
    /// Living owners' records after churn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn_placement: Option<Placement>,
    /// FindValue of a cluster's records right after most of it died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_loss: Option<FindValue>,
    /// FindValue of a record right after all but few of its holders died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_loss: Option<FindValue>,
    /// That record one repair period later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_repaired: Option<Placement>,
    /// FindValue while a crowd comes, and for a minute after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crowd: Option<FindValue>,
    /// Modes that the network chose itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// Clusters under churn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Clusters>,
    /// Placement one repair period after a mass event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired: Option<Placement>,
    /// FindValue one repair period after a mass event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_repaired: Option<FindValue>,
    /// The first lookups that found nothing, and what was true then; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Miss>,
}

/// A mode that the network chose.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Simulated seconds since the first birth.
    pub at_s: f64,
    /// The mode, as its setting says it.
    pub mode: String,
}

/// Where replicas are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Placement {
    /// Records looked at.
    pub records: usize,
    /// Mean replicas among the true k closest living nodes.
    pub placed: f64,
    /// The worst of them.
    pub placed_min: usize,
    /// Records that no living node holds.
    pub lost: usize,
}

/// What became of the claims of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Claims {
    /// Honest claimants.
    pub honest: usize,
    /// Sybils that claimed the name after them.
    pub flood: usize,
    /// Lookups of the name.
    pub lookups: usize,
    /// Lookups that showed all honest claims.
    pub complete: usize,
    /// Claims in the fullest slot of any node.
    pub held_max: usize,
}

/// A lookup that found nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Miss {
    /// Seconds since the asker was born.
    pub asker_age: f64,
    /// Seconds since the record was last stored.
    pub record_age: f64,
    /// Holders among the true k closest.
    pub holders: usize,
    /// Requests sent.
    pub requests: u32,
    /// Requests without an answer in time.
    pub timeouts: u32,
    /// Nodes that said they keep it, when it was stored.
    pub replicas: usize,
    /// Whether the node that stored it lives.
    pub owner_alive: bool,
}

/// Percentiles of a latency, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
}

/// What so large a share of sorted values is not above; `None`: there are no values.
pub(crate) fn at_share<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied()
}

impl Latencies {
    /// Of these, in any order.
    #[must_use]
    pub fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| at_share(&ms, share).unwrap_or(0.0);
        Self { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) }
    }
}

/// FindNode operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FindNode {
    /// Operations.
    pub count: usize,
    /// Share of the true k closest living nodes in the answer.
    pub recall: f64,
    /// Share of operations that found the closest node.
    pub closest: f64,
    /// Requests per operation.
    pub requests: f64,
    /// Mean steps.
    pub hops: f64,
    /// Latency.
    pub latency_ms: Latencies,
}

/// Put operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Publish {
    /// Operations.
    pub count: usize,
    /// Mean replicas among the true k closest living nodes.
    pub placed: f64,
    /// The worst of them.
    pub placed_min: usize,
    /// Requests per operation, stores included.
    pub requests: f64,
    /// Latency.
    pub latency_ms: Latencies,
}

/// FindValue operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FindValue {
    /// Operations.
    pub count: usize,
    /// Those that found the right value.
    pub found: usize,
    /// Their share.
    pub success: f64,
    /// Those that ended with a value that its owner never signed.
    pub poisoned: usize,
    /// Those that found the newest version.
    pub newest: usize,
    /// Mean steps of the successful.
    pub hops: f64,
    /// Requests per operation.
    pub requests: f64,
    /// Timeouts per operation.
    pub timeouts: f64,
    /// Share that made a region query.
    pub regions: f64,
    /// Latency of the successful.
    pub latency_ms: Latencies,
}

/// The price of staying in shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Upkeep {
    /// Maintenance bytes per node and second.
    pub maintenance_bytes: f64,
    /// … by kind of exchange ([`homing_core::dht::Body::KINDS`]).
    pub by_kind: BTreeMap<&'static str, f64>,
    /// Bytes of commands per node and second.
    pub command_bytes: f64,
    /// Messages per node and second.
    pub messages: f64,
    /// Messages dropped at full uplinks.
    pub dropped: u64,
}

/// How fast leafsets become right again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Convergence {
    /// Share right just after the event.
    pub right_at_once: f64,
    /// Seconds until 99 % were right; absent: not within the time given.
    pub seconds: Option<f64>,
    /// Exchange rounds per node by then.
    pub rounds: Option<f64>,
    /// Share right at the end.
    pub right_at_end: f64,
}

/// Some seconds under churn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Their end, in seconds of the churn phase.
    pub at: f64,
    /// All bytes per node and second.
    pub bytes: f64,
    /// Dropped messages.
    pub dropped: u64,
    /// Share of lookups that succeeded.
    pub success: f64,
}

/// What attacks achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Attack {
    /// Forged values sent for storing.
    pub forged_sent: usize,
    /// Forged values that a node keeps.
    pub forged_kept: usize,
    /// Valid values thrown at one node.
    pub flood_sent: usize,
    /// Values that it keeps of them.
    pub flood_kept: usize,
}

impl Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "nodes {}  simulated {:.0} s  events {}  messages {}  {:.0} bytes per node-second",
            self.nodes, self.seconds, self.events, self.messages, self.bytes_per_node_second
        )?;
        writeln!(
            f,
            "median node: {} contacts, estimates {:.0} nodes",
            self.contacts, self.size_estimate
        )?;
        if let Some(m) = &self.publish {
            writeln!(
                f,
                "publish     {} × {:.1} requests, replicas at the true k closest {:.2} (worst {}), {}",
                m.count, m.requests, m.placed, m.placed_min, m.latency_ms
            )?;
        }
        if let Some(m) = &self.attack {
            writeln!(
                f,
                "attack      forged stores {} kept {}, flood {} kept {}",
                m.forged_sent, m.forged_kept, m.flood_sent, m.flood_kept
            )?;
        }
        if let Some(m) = &self.find_node {
            writeln!(
                f,
                "find node   {} × {:.1} requests, recall {:.4}, closest {:.4}, {:.2} hops, {}",
                m.count, m.requests, m.recall, m.closest, m.hops, m.latency_ms
            )?;
        }
        if let Some(m) = &self.idle {
            writeln!(f, "idle        {m}")?;
        }
        if let Some(m) = &self.find_value {
            writeln!(f, "find value  {m}")?;
        }
        if let Some(m) = &self.repaired {
            writeln!(
                f,
                "repaired    replicas at the true k closest {:.2} (worst {}), {} of {} records lost",
                m.placed, m.placed_min, m.lost, m.records
            )?;
        }
        if let Some(m) = &self.found_repaired {
            writeln!(f, "then found  {m}")?;
        }
        if let Some(m) = &self.newcomers {
            writeln!(f, "newcomers   {m}")?;
        }
        if let Some(m) = &self.claims {
            writeln!(
                f,
                "claims      {} honest, {} sybils: {}/{} lookups show all honest, {} claims in a slot",
                m.honest, m.flood, m.complete, m.lookups, m.held_max
            )?;
        }
        if let Some(m) = &self.healed {
            writeln!(f, "healed      {m}, newest {}", m.newest)?;
        }
        if let Some(m) = &self.churned {
            writeln!(f, "at prefix   {m}")?;
        }
        if let Some(m) = &self.churned_upkeep {
            writeln!(f, "everywhere  {m}")?;
        }
        if let Some(m) = &self.converge {
            writeln!(f, "converge    {m}")?;
        }
        if let Some(m) = &self.cluster_loss {
            writeln!(f, "of a cluster {m}")?;
        }
        if let Some(m) = &self.holder_loss {
            writeln!(f, "last holders {m}")?;
        }
        if let Some(m) = &self.holder_repaired {
            writeln!(f, "repaired    {:.0} replicas at the true k closest", m.placed)?;
        }
        if let Some(m) = &self.crowd {
            writeln!(f, "in a crowd  {m}")?;
        }
        for Choice { at_s, mode } in &self.choices {
            writeln!(f, "chosen      {mode} after {at_s:.0} s")?;
        }
        if let Some(m) = &self.churn {
            writeln!(f, "under churn {m}")?;
        }
        if let Some(m) = &self.churn_placement {
            writeln!(
                f,
                "records     {} of living owners, {:.2} replicas at the true k closest (worst {}), {} lost",
                m.records, m.placed, m.placed_min, m.lost
            )?;
        }
        if let Some(m) = &self.churn_upkeep {
            writeln!(f, "upkeep      {m}")?;
        }
        if let Some(m) = &self.clusters {
            writeln!(f, "clusters    {m}")?;
        }
        if self.diverged {
            writeln!(f, "diverged: ended at the limit of events")?;
        }
        Ok(())
    }
}

impl Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p95, p99 } = self;
        write!(f, "p50 {p50:.0} p90 {p90:.0} p95 {p95:.0} p99 {p99:.0} ms")
    }
}

impl Display for FindValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{} = {:.4}, poisoned {}, {:.2} hops, {:.1} requests, {:.2} timeouts, regions {:.3}, {}",
            self.found,
            self.count,
            self.success,
            self.poisoned,
            self.hops,
            self.requests,
            self.timeouts,
            self.regions,
            self.latency_ms
        )
    }
}

impl Display for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} maintenance and {:.1} command bytes, {:.2} messages per node-second, {} dropped",
            self.maintenance_bytes, self.command_bytes, self.messages, self.dropped
        )
    }
}

impl Display for Convergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "right {:.3} at once, {:.4} at the end", self.right_at_once, self.right_at_end)?;
        match (self.seconds, self.rounds) {
            (Some(s), Some(r)) => write!(f, ", 99 % after {s:.0} s = {r:.1} exchange rounds"),
            _ => write!(f, ", 99 % never"),
        }
    }
}
