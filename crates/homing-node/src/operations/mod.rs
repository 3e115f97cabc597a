//! What a face can ask of a node, in API types: HTTP, the command line and embedding programs use
//! the same methods of [`Node`]. No face has private powers.

mod agent;
mod content;
mod dht;
mod find;
mod gossip;
mod messages;
mod network;
mod peers;
pub(crate) mod references;
mod trust;

use homing_api::Stamp;
use homing_api::network::NetworkFacts;
use homing_api::peers::{Path, PathKind, PeerStatus, PeerSummary};
use homing_api::trust::{TrustFacts, TrustState as ApiTrustState};
use homing_base::statement::SignedStatement;
use homing_base::{NodeId, Now, Service, StatementKind, Wall};
use homing_core::Agent;
use homing_core::io::TrustState;
use homing_core::view::{PeerView, TrustView};

use crate::events::summary_of;
use crate::node::{Node, Shared};
use crate::paths::{self, Circumstances, Reason};

/// Where trust stands, in API form.
pub(crate) fn state_of(state: TrustState) -> ApiTrustState {
    match state {
        TrustState::None => ApiTrustState::None,
        TrustState::Requested => ApiTrustState::Requested,
        TrustState::Pending => ApiTrustState::Pending,
        TrustState::Mutual => ApiTrustState::Mutual,
        TrustState::Expired => ApiTrustState::Expired,
        TrustState::RejectedByUs => ApiTrustState::RejectedByUs,
        TrustState::RejectedByPeer => ApiTrustState::RejectedByPeer,
        TrustState::RevokedByUs => ApiTrustState::RevokedByUs,
        TrustState::RevokedByPeer => ApiTrustState::RevokedByPeer,
    }
}

/// Trust in brief.
fn trust_facts(trust: &TrustView) -> TrustFacts {
    let says_yes =
        |s: &&SignedStatement| matches!(s.kind, StatementKind::Request | StatementKind::Grant);
    let services = |statement: &Option<SignedStatement>| -> Option<Vec<Service>> {
        match statement.as_ref().filter(says_yes) {
            Some(statement) => statement.services.clone(),
            None => Some(Vec::new()),
        }
    };
    let ends = [&trust.ours, &trust.theirs];
    let expires = ends.iter().filter_map(|s| s.as_ref().filter(says_yes)?.expires).min();
    TrustFacts {
        state: state_of(trust.state),
        allowed: services(&trust.ours),
        allowed_by_peer: services(&trust.theirs),
        expires: expires.map(Stamp),
    }
}

/// A peer's whole status, with the reason for its path.
fn status_of(shared: &Shared, peer: &PeerView, now: Now) -> PeerStatus {
    let best = paths::best(peer, &shared.transport);
    let path = explained(shared, peer, now, best.path);
    let reason = reason(shared, peer, now);
    let (streams, received_bytes, sent_bytes) = shared.streams.traffic(peer.node_id);
    let record = peer.record.as_ref();
    let heard = best.link.map(|_| now.wall);
    PeerStatus {
        peer: summary_of(peer),
        path,
        rtt_ms: best.rtt.map(millis),
        last_seen: heard.or(peer.last_seen).map(Stamp),
        trust: trust_facts(&peer.trust),
        received_bytes,
        sent_bytes,
        streams,
        why: reason.as_ref().map(|r| r.text.clone()),
        why_code: reason.as_ref().map(|r| r.code.to_owned()),
        hint: reason.and_then(|r| r.hint),
        instance: record.map(|r| r.instance),
        sequence: record.map(|r| r.sequence.0),
        record_expires: record.map(|r| Stamp(r.expires)),
        relays: record.map(|r| r.relays.clone()).unwrap_or_default(),
        software: peer.software.clone(),
        dht: false,
    }
}

/// A path with the reason why it is what it is.
fn explained(shared: &Shared, peer: &PeerView, now: Now, path: Path) -> Path {
    let reason = match path.kind {
        PathKind::Direct if paths::is_predicted(&path) => Some(Reason::predicted()),
        PathKind::Direct => Some(Reason::direct()),
        _ => reason(shared, peer, now),
    };
    let (reason, reason_text) = reason.map(|r| (r.code.to_owned(), r.text)).unzip();
    Path { reason, reason_text, ..path }
}

/// Why a peer's path is not direct; `None` when it is.
fn reason(shared: &Shared, peer: &PeerView, now: Now) -> Option<Reason> {
    // Relay nodes and passers-by: nobody asked for a direct path with them.
    let is_related = peer.trust.state != TrustState::None;
    let reason = reason_if_asked(shared, peer, now);
    reason.filter(|reason| is_related || reason.code == OFFLINE)
}

/// The same also for those whom nobody expects to be reached directly.
fn reason_if_asked(shared: &Shared, peer: &PeerView, now: Now) -> Option<Reason> {
    let best = paths::best(peer, &shared.transport);
    let label = summary_of(peer).label();
    match best.path.kind {
        PathKind::Direct => None,
        PathKind::Offline => Some(why_offline(peer, &label, now.wall)),
        PathKind::Relay | PathKind::Connecting => Some(paths::why_relayed(&Circumstances {
            peer: &label,
            trust: peer.trust.state,
            ours: shared.transport.facts().network,
            theirs: peer.network,
            age: paths::age(best.link, now.mono),
        })),
    }
}

/// The code of a peer that is not connected.
const OFFLINE: &str = "offline";

fn why_offline(peer: &PeerView, label: &str, now: Wall) -> Reason {
    let record = match &peer.record {
        None => "its record is not known here".to_owned(),
        Some(record) if record.is_withdrawn() => "it has withdrawn its record".to_owned(),
        Some(record) if record.expires <= now => {
            format!("its record expired at {}", record.expires)
        }
        Some(_) => "it does not answer at the places its record names".to_owned(),
    };
    let hint = Some(format!("homing wait online {label}"));
    Reason { code: OFFLINE, text: record, hint }
}

fn network_of(shared: &Shared) -> NetworkFacts {
    paths::facts_of(shared.transport.facts().network)
}

fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// A peer by what the agent knows, found by node ID.
fn view_of(agent: &Agent, peer: NodeId, now: Now) -> Option<PeerView> {
    agent.peers(now).into_iter().find(|view| view.node_id == peer)
}

impl Node {
    fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Who a peer is.
    pub(crate) async fn summary(&self, peer: NodeId) -> Result<PeerSummary, homing_api::ApiError> {
        let now = self.now();
        self.query(move |agent| crate::events::summary(agent, peer, now)).await
    }
}
