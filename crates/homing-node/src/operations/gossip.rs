//! `gossip stats`, and what metrics say of gossip.

use std::collections::BTreeMap;

use homing_api::gossip::{GossipReconciliations, GossipRecords, GossipStats, GossipTraffic};
use homing_api::{ApiError, Schema, Stamp};
use homing_core::view::GossipView;

use crate::node::Node;

impl Node {
    /// Peers, entries, records and traffic of gossip; zeros when this node takes no part.
    ///
    /// # Errors
    /// Only when the node has stopped.
    pub async fn gossip_stats(&self) -> Result<GossipStats, ApiError> {
        let numbers = |agent: &homing_core::Agent| (agent.gossip_view(), agent.counters().clone());
        let (view, counters) = self.query(numbers).await?;
        let bytes = self.shared.transport.message_bytes();
        let stats = view.map(|view| view.stats).unwrap_or_default();
        let of = |look: fn(&GossipView) -> usize| view.as_ref().map_or(0, look) as u64;
        Ok(GossipStats {
            schema: Schema::new(),
            enabled: view.is_some(),
            peers: of(|v| v.peers),
            peers_eager: of(|v| v.eager),
            entries: of(|v| v.entries),
            entries_bytes: of(|v| v.entry_bytes),
            depth_bits: view.map_or(0, |v| v.depth.into()),
            changed: view.and_then(|v| v.changed).map(Stamp),
            records: GossipRecords {
                pushed: stats.pushed,
                resent: stats.resent,
                heard: stats.accepted,
                duplicates: stats.duplicates,
                stale: stats.stale,
                forged: stats.forged,
                untimely: stats.untimely,
                dropped: stats.behind,
            },
            reconciliations: GossipReconciliations {
                begun: stats.rounds,
                timed: stats.timed_rounds,
                differences: stats.differences,
            },
            traffic: GossipTraffic {
                received_messages: of_gossip(&counters.messages_in),
                sent_messages: of_gossip(&counters.messages_out),
                received_bytes: of_gossip(&bytes.received),
                sent_bytes: of_gossip(&bytes.sent),
                shed: stats.shed + counters.gossip_shed,
                ignored: stats.muted + counters.gossip_ignored,
            },
        })
    }
}

fn of_gossip(by_kind: &BTreeMap<&'static str, u64>) -> u64 {
    by_kind.get("gossip").copied().unwrap_or_default()
}
