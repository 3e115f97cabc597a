//! What was measured.

use std::fmt;
use std::time::Duration;

use homing_core::gossip::Stats;
use serde::Serialize;

use super::world::{Harm, Traffic};
use crate::dht::report::at_share;

/// How long something took to be everywhere, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Pairs of a record and an honest node that were still missing when patience ended.
    pub missing: usize,
    /// Honest nodes whose table is not exactly right, counted anew.
    pub wrong: usize,
    /// From the event that began it to the last node's last record, in seconds.
    pub seconds: f64,
    /// Per record: from publication to the last node, median, in seconds.
    pub record_p50: f64,
    /// … the slowest.
    pub record_max: f64,
    /// Bytes per node-second, overhead included.
    pub bytes_per_node_second: f64,
    /// Bytes sent, per record and node.
    pub bytes_per_delivery: f64,
    /// … pushed, pulled or repeated, announced and asked for, compared.
    pub bytes_by_kind: [f64; 4],
}

/// Nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Idle {
    /// Bytes per node-second, overhead included.
    pub bytes_per_node_second: f64,
    /// Bytes that one peer sends another in 30 seconds, overhead included.
    pub bytes_per_peer_30s: f64,
}

/// Late arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Join {
    /// Joiners that have everything.
    pub complete: usize,
    /// Seconds until the last of them had.
    pub seconds: f64,
    /// Rounds that it took the slowest: 1 is the comparison that a new link begins at once.
    pub rounds_max: u32,
}

/// Everything that a scenario asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Honest nodes at the end.
    pub honest: usize,
    /// Links at the end.
    pub links: usize,
    /// Events handled.
    pub events: u64,
    /// Records published at the start.
    pub publish: Option<Spread>,
    /// Under attack.
    pub attack: Option<Spread>,
    /// What adversaries achieved.
    pub harm: Option<Harm>,
    /// Nothing changes.
    pub idle: Option<Idle>,
    /// After the partition.
    pub heal: Option<Spread>,
    /// Late arrivals.
    pub join: Option<Join>,
    /// What the tree and its repair did, over all honest nodes and the whole time.
    pub repair: Repair,
}

/// What the tree and its repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Repair {
    /// Records that came again.
    pub duplicates: u64,
    /// Records sent once more because nobody acknowledged them.
    pub resent: u64,
    /// Links made lazy.
    pub prunes: u64,
    /// Links made eager.
    pub grafts: u64,
    /// Comparisons begun.
    pub rounds: u64,
}

impl Repair {
    pub(super) fn add(&mut self, stats: &Stats) {
        self.duplicates += stats.duplicates;
        self.resent += stats.resent;
        self.prunes += stats.prunes;
        self.grafts += stats.grafts;
        self.rounds += stats.rounds;
    }
}

impl Spread {
    pub(super) fn of(
        (missing, wrong): (usize, usize),
        took: Duration,
        times: &[Duration],
        traffic: Traffic,
        deliveries: usize,
    ) -> Self {
        let at = |share: f64| at_share(times, share).map_or(0.0, |time| time.as_secs_f64());
        let per_delivery = |bytes: u64| bytes as f64 / deliveries.max(1) as f64;
        let Traffic { push_bytes, records_bytes, have_bytes, ranges_bytes, .. } = traffic;
        Self {
            missing,
            wrong,
            seconds: took.as_secs_f64(),
            record_p50: at(0.5),
            record_max: at(1.0),
            bytes_per_node_second: traffic.bytes as f64 / traffic.node_seconds.max(1e-9),
            bytes_per_delivery: per_delivery(traffic.bytes),
            bytes_by_kind: [push_bytes, records_bytes, have_bytes, ranges_bytes].map(per_delivery),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, wrong, seconds, record_p50, record_max, .. } = self;
        let [push, records, have, ranges] = self.bytes_by_kind;
        write!(
            f,
            "{missing} missing, {wrong} nodes wrong, last after {seconds:.1} s (record p50 {record_p50:.2} s, max \
             {record_max:.2} s), {:.0} bytes per node-second, {:.0} per delivery ({push:.0} \
             pushed, {records:.0} pulled or repeated, {have:.0} announced, {ranges:.0} compared)",
            self.bytes_per_node_second, self.bytes_per_delivery
        )
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} honest nodes, {} links, {} events", self.honest, self.links, self.events)?;
        for (what, spread) in
            [("publish", self.publish), ("attack", self.attack), ("heal", self.heal)]
        {
            if let Some(spread) = spread {
                writeln!(f, "{what:9} {spread}")?;
            }
        }
        if let Some(Harm { sent, accepted, mutes, equivocations }) = self.harm {
            writeln!(
                f,
                "harm      {sent} hostile records sent, {accepted} times accepted, {mutes} mutes, {equivocations} \
                 equivocations"
            )?;
        }
        if let Some(idle) = self.idle {
            writeln!(
                f,
                "idle      {:.1} bytes per node-second, {:.0} bytes per peer in 30 s",
                idle.bytes_per_node_second, idle.bytes_per_peer_30s
            )?;
        }
        let Repair { duplicates, resent, prunes, grafts, rounds } = self.repair;
        writeln!(
            f,
            "repair    {duplicates} duplicates, {resent} resent, {prunes} prunes, {grafts} grafts, {rounds} comparisons"
        )?;
        if let Some(join) = self.join {
            writeln!(
                f,
                "join      {} complete, the last after {:.1} s and {} rounds",
                join.complete, join.seconds, join.rounds_max
            )?;
        }
        Ok(())
    }
}
