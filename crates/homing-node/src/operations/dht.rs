//! `dht peers`, `dht lookup`, `dht stats`, and what `info` and metrics say of the DHT.

use std::sync::atomic::Ordering;
use std::time::Duration;

use homing_api::dht::{
    DhtBrief, DhtCluster, DhtConvergence, DhtIntervals, DhtKeyKind, DhtLookup, DhtLookupRequest,
    DhtPeer, DhtPeerState, DhtPeers, DhtRole, DhtStats, DhtStep, DhtTraffic, DhtValue,
};
use homing_api::{ApiError, Schema, Stamp};
use homing_base::{NodeId, Record};
use homing_core::dht::{Intervals, Mode, Reach, Step};
use homing_core::io::{DhtKey, DhtLookup as Found, PeerRef};
use homing_core::view::{Convergence, Counters, DhtContactView, DhtView};
use homing_core::{Answer, Command};

use super::millis;
use super::peers::within;
use crate::events::summary;
use crate::node::{Node, peer_ref, unexpected};
use crate::problem;

impl Node {
    /// The routing table, nearest first.
    ///
    /// # Errors
    /// `dht_disabled`.
    pub async fn dht_peers(&self) -> Result<DhtPeers, ApiError> {
        let (now, k) = (self.now(), self.shared.config.dht.k);
        let peers = self.query(move |agent| {
            let view = agent.dht_view(now)?;
            let mut well = 0;
            let rows = view.contacts.iter().map(|contact| {
                let is_well = contact.failures == 0;
                well += usize::from(is_well);
                let peer = summary(agent, contact.contact.id, now);
                dht_peer(contact, peer, is_well && well <= k)
            });
            Some(rows.collect())
        });
        let peers = peers.await?.ok_or_else(problem::dht_disabled)?;
        Ok(DhtPeers { schema: Schema::new(), peers })
    }

    /// Asks the DHT, whatever the other layers know.
    ///
    /// # Errors
    /// `dht_disabled`, `usage`, `timeout`, `limit_reached`.
    pub async fn dht_lookup(&self, request: DhtLookupRequest) -> Result<DhtLookup, ApiError> {
        let (timeout, text) = (within(request.timeout_ms)?, request.key.trim().to_owned());
        let (kind, key) = match peer_ref(&text)? {
            PeerRef::NodeId(id) => (DhtKeyKind::NodeId, DhtKey::NodeId(id)),
            PeerRef::Address(address) => (DhtKeyKind::Address, DhtKey::Address(address)),
            PeerRef::Name(name) => (DhtKeyKind::Name, DhtKey::Name(name)),
        };
        match self.command(&text, Command::DhtLookup { key, timeout }).await? {
            Answer::DhtLookup(found) => {
                self.shared.dht_lookups.fetch_add(1, Ordering::Relaxed);
                self.found(text, kind, *found).await
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn found(
        &self,
        key: String,
        kind: DhtKeyKind,
        found: Found,
    ) -> Result<DhtLookup, ApiError> {
        let now = self.now();
        self.query(move |agent| {
            let who = |id: NodeId| summary(agent, id, now);
            DhtLookup {
                schema: Schema::new(),
                key,
                kind,
                target: found.point,
                values: found.values.iter().map(|record| value(record, who)).collect(),
                replicas: found.holders,
                nodes: found.nodes.iter().copied().map(who).collect(),
                hops: found.hops.into(),
                requests: found.requests,
                timeouts: found.timeouts,
                elapsed_ms: millis(found.elapsed),
                steps: found.steps.iter().map(|step| step_of(step, who)).collect(),
            }
        })
        .await
    }

    /// Role, estimates, intervals, counts.
    ///
    /// # Errors
    /// `dht_disabled`.
    pub async fn dht_stats(&self) -> Result<DhtStats, ApiError> {
        let (view, counters) = self.dht_numbers().await?;
        let view = view.ok_or_else(problem::dht_disabled)?;
        let config = &self.shared.config.dht;
        Ok(DhtStats {
            schema: Schema::new(),
            brief: brief(&view),
            mode: mode(view.mode).to_owned(),
            chosen_by: self.shared.config.dht.network_key,
            cluster: cluster(&view),
            server: config.server.as_str().to_owned(),
            k: config.k as u32,
            alpha: config.alpha as u32,
            suspects: view.contacts.iter().filter(|c| c.failures > 0).count() as u64,
            links: view.links as u64,
            size_estimate: view.network_size.map(|size| size.round() as u64),
            session_estimate_s: view.session.as_secs(),
            intervals: intervals(&view.intervals, config),
            values: view.values as u64,
            values_bytes: view.value_bytes as u64,
            traffic: self.dht_traffic(&view, &counters),
            convergence: convergence(&view.convergence),
        })
    }

    /// What the core knows of its DHT, and its counters.
    pub(crate) async fn dht_numbers(&self) -> Result<(Option<DhtView>, Counters), ApiError> {
        let now = self.now();
        self.query(move |agent| (agent.dht_view(now), agent.counters().clone())).await
    }

    /// In one line of `info`; `None`: this node takes no part.
    pub(super) async fn dht_brief(&self) -> Result<Option<DhtBrief>, ApiError> {
        Ok(self.dht_numbers().await?.0.as_ref().map(brief))
    }

    fn dht_traffic(&self, view: &DhtView, counters: &Counters) -> DhtTraffic {
        let bytes = self.shared.transport.message_bytes();
        let of_dht = |by_kind: &std::collections::BTreeMap<&'static str, u64>| {
            by_kind.get("dht").copied().unwrap_or_default()
        };
        DhtTraffic {
            received_messages: of_dht(&counters.messages_in),
            sent_messages: of_dht(&counters.messages_out),
            received_bytes: of_dht(&bytes.received),
            sent_bytes: of_dht(&bytes.sent),
            requests: view.stats.requests,
            timeouts: view.stats.timeouts,
            unsolicited: view.stats.unsolicited,
            unverified: view.stats.unverified,
            shed: view.stats.shed + counters.dht_shed,
            evicted: view.stats.evicted,
        }
    }
}

fn brief(view: &DhtView) -> DhtBrief {
    DhtBrief {
        role: if view.serving { DhtRole::Server } else { DhtRole::Client },
        contacts: view.contacts.len() as u64,
        joined: view.joined,
    }
}

fn dht_peer(view: &DhtContactView, peer: super::PeerSummary, leafset: bool) -> DhtPeer {
    let (place, relayed) = place(&view.contact.place);
    DhtPeer {
        peer,
        place,
        relayed,
        bucket: view.bucket as u16,
        leafset,
        rtt_ms: view.rtt.map(millis),
        heard: Stamp(view.heard),
        failures: view.failures.into(),
        state: if view.failures == 0 { DhtPeerState::Good } else { DhtPeerState::Suspect },
        linked: view.linked,
    }
}

/// `ip:port`, or `host:port` of the relay.
fn place(reach: &Reach) -> (Option<String>, bool) {
    match (&reach.direct, &reach.relay) {
        (Some(addr), _) => (Some(addr.to_string()), false),
        (None, Some(relay)) => (Some(relay.authority().to_owned()), true),
        (None, None) => (None, false),
    }
}

fn value(record: &Record, who: impl Fn(NodeId) -> super::PeerSummary) -> DhtValue {
    let mut peer = who(record.node_id());
    peer.name = peer.name.or_else(|| record.name.clone());
    DhtValue {
        peer,
        sequence: record.sequence.0,
        issued: Stamp(record.issued),
        expires: Stamp(record.expires),
        withdrawn: record.is_withdrawn(),
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Kademlia => "kademlia",
        Mode::Cluster(_) => "cluster",
    }
}

fn cluster(view: &DhtView) -> Option<DhtCluster> {
    let (Mode::Cluster(bounds), Some(leaf)) = (view.mode, view.leaf) else { return None };
    Some(DhtCluster {
        depth: leaf.depth.into(),
        members: leaf.members.into(),
        split_above: bounds.split_above.into(),
        splits: view.changes.splits,
        merges: view.changes.merges,
        follows: view.changes.follows,
    })
}

fn step_of(step: &Step, who: impl Fn(NodeId) -> super::PeerSummary) -> DhtStep {
    DhtStep {
        peer: who(step.peer),
        hop: step.depth.into(),
        at_ms: millis(step.at),
        answered: step.answered,
    }
}

fn intervals(every: &Intervals, config: &crate::config::DhtConfig) -> DhtIntervals {
    let seconds = |d: Duration| (d.as_secs_f64() * 1_000.0).round() / 1_000.0;
    DhtIntervals {
        exchange_s: seconds(every.exchange),
        probe_s: seconds(every.probe),
        stale_s: seconds(every.stale),
        refresh_s: seconds(every.refresh),
        sync_s: seconds(every.sync),
        republish_s: seconds(config.republish),
        expiry_s: seconds(config.expiry),
    }
}

fn convergence(c: &Convergence) -> DhtConvergence {
    let tenths = |rounds: f64| (rounds * 10.0).round() / 10.0;
    DhtConvergence {
        last_rounds: c.last_rounds.map(tenths),
        last_s: c.last.map(|last| last.as_secs_f64()),
        ongoing_rounds: c.ongoing_rounds.map(tenths),
        rounds_max: tenths(c.bound_rounds),
        slow: c.is_slow(),
    }
}
