//! What a user would notice, as it happens: the core's notices and the transport's, in API form.
//!
//! A subscriber that falls more than [`BACKLOG_MAX`] events behind is told so (`lagged`) and goes
//! on with the newest.

use homing_api::events::Event as ApiEvent;
use homing_api::peers::PeerSummary;
use homing_api::{Schema, Stamp};
use homing_base::{Address, NodeId, Now, RelayRef};
use homing_core::Agent;
use homing_core::io::{Event, MessageEvent, ReferenceEvent};
use homing_core::view::PeerView;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use crate::clock;
use crate::operations::state_of;
use crate::transport::PathView;

/// Events kept for slow subscribers.
pub(crate) const BACKLOG_MAX: usize = 1_024;

/// Everybody who listens.
#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<ApiEvent>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG_MAX) }
    }
}

impl Events {
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<ApiEvent> {
        self.sender.subscribe()
    }

    /// Whether anybody listens; describing peers for nobody is wasted.
    pub(crate) fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// A relay stopped answering (`error`) or answers again.
    pub(crate) fn relay(&self, relay: &RelayRef, error: Option<&str>) {
        let name = relay.authority();
        let (kind, message) = match error {
            Some(error) => ("relay_down", format!("relay {name} does not answer: {error}")),
            None => ("relay_up", format!("relay {name} answers")),
        };
        self.publish(kind, None, message, json!({"relay": relay.to_string(), "error": error}));
    }

    /// The agent entered the DHT, or nobody of it answers any more.
    pub(crate) fn dht_joined(&self, joined: bool, contacts: usize) {
        let (kind, message) = match joined {
            true => ("dht_joined", format!("in the DHT, with {contacts} contacts")),
            false => ("dht_lost", "nobody of the DHT answers any more".to_owned()),
        };
        self.publish(kind, None, message, json!({"contacts": contacts}));
    }

    /// The agent began or ceased to serve the DHT.
    pub(crate) fn dht_role(&self, serving: bool) {
        let role = if serving { "server" } else { "client" };
        let message = format!("this node is now a {role} of the DHT");
        self.publish("dht_role", None, message, json!({"role": role}));
    }

    /// The path of a link changed.
    pub(crate) fn path(&self, peer: &PeerView, path: &PathView) {
        let path = crate::paths::of_view(path);
        let peer = summary_of(peer);
        let message = format!("{} is now reached {}", peer.label(), crate::paths::words(&path));
        self.publish("path_changed", Some(peer), message, json!({"path": path}));
    }

    /// Something the core noticed.
    pub(crate) fn notice(&self, event: &Event, agent: &Agent, now: Now) {
        if !self.is_heard() {
            return;
        }
        let who = |peer: &NodeId| summary(agent, *peer, now);
        let (kind, peer, message, detail) = describe(event, &who);
        self.publish(kind, peer, message, detail);
    }

    fn publish(&self, kind: &str, peer: Option<PeerSummary>, message: String, detail: Value) {
        let detail = match detail {
            Value::Object(map) => map.into_iter().filter(|(_, v)| !v.is_null()).collect(),
            _ => Map::new(),
        };
        let at = Stamp(clock::wall());
        let schema = Schema::new();
        let _ = self.sender.send(ApiEvent { schema, at, kind: kind.into(), peer, message, detail });
    }
}

/// An event that tells a subscriber how many it missed.
pub(crate) fn lagged(missed: u64) -> ApiEvent {
    ApiEvent {
        schema: Schema::new(),
        at: Stamp(clock::wall()),
        kind: "lagged".into(),
        peer: None,
        message: format!("{missed} events were missed"),
        detail: Map::from_iter([("missed".to_owned(), json!(missed))]),
    }
}

type Described = (&'static str, Option<PeerSummary>, String, Value);

fn describe(event: &Event, who: &dyn Fn(&NodeId) -> PeerSummary) -> Described {
    let about = |kind, peer: &NodeId, say: &dyn Fn(&str) -> String, detail| {
        let peer = who(peer);
        let message = say(&peer.label());
        (kind, Some(peer), message, detail)
    };
    match event {
        Event::PeerConnected { peer, .. } => {
            about("peer_connected", peer, &|p| format!("{p} is connected"), json!({}))
        }
        Event::PeerDisconnected { peer, reason } => about(
            "peer_disconnected",
            peer,
            &|p| format!("{p} is gone: {reason}"),
            json!({"reason": reason}),
        ),
        Event::PeerMoved { peer, sequence } => about(
            "peer_moved",
            peer,
            &|p| format!("{p} runs at a new place"),
            json!({"sequence": sequence.0}),
        ),
        Event::TrustChanged { peer, from, to } => {
            let (from, to) = (json!(state_of(*from)), json!(state_of(*to)));
            let say =
                |p: &str| format!("trust with {p} is now {}", to.as_str().unwrap_or("unknown"));
            about("trust_changed", peer, &say, json!({"from": from, "to": to}))
        }
        Event::TrustRestored { peer } => {
            let say = |p: &str| format!("{p} gave the trust statements back");
            about("trust_restored", peer, &say, json!({}))
        }
        Event::Equivocation { peer, sequence } => about(
            "equivocation",
            peer,
            &|p| format!("{p} signed two different records with one sequence"),
            json!({"sequence": sequence.0}),
        ),
        Event::LogForked { owner } => {
            let say = |p: &str| format!("the audit log of {p} shows two histories");
            about("audit_fork", owner, &say, json!({}))
        }
        Event::NameMoved { name, pinned, claimant } => {
            let say = |p: &str| format!("{name} means {p} here, another agent now claims it");
            about("name_moved", pinned, &say, json!({"name": name, "claimant": claimant}))
        }
        Event::Message(event) => describe_message(event, who),
        Event::Reference(event) => describe_reference(event),
        other => describe_general(other, who),
    }
}

/// Bodies are for whoever reads the inbox.
fn describe_message(event: &MessageEvent, who: &dyn Fn(&NodeId) -> PeerSummary) -> Described {
    let about = |kind, peer: &NodeId, say: &str, detail| {
        let peer = who(peer);
        let message = format!("{say} {}", peer.label());
        (kind, Some(peer), message, detail)
    };
    match event {
        MessageEvent::Arrived(message) => about(
            "message_received",
            &message.from,
            "a message arrived from",
            json!({"id": message.parcel.id, "topic": message.parcel.topic}),
        ),
        MessageEvent::Offered { from, id } => {
            about("file_offered", from, "a file is being fetched from", json!({"id": id}))
        }
        MessageEvent::Delivered { to, id } => {
            about("message_delivered", to, "a message was delivered to", json!({"id": id}))
        }
        MessageEvent::Failed { to, id, why } => about(
            "message_failed",
            to,
            "a message was not delivered to",
            json!({"id": id, "why": why}),
        ),
    }
}

fn describe_reference(event: &ReferenceEvent) -> Described {
    match event {
        ReferenceEvent::Updated { name, version, .. } => (
            "reference_updated",
            None,
            match version.withdrawn {
                true => format!("the reference {name} was withdrawn"),
                false => format!("the reference {name} points to {}", version.value),
            },
            json!({"name": name, "sequence": version.sequence, "value": version.value,
                "previous": version.previous, "ipns": version.ipns, "withdrawn": version.withdrawn}),
        ),
        ReferenceEvent::Renewed { name, ends } => (
            "reference_renewed",
            None,
            format!("the reference {name} was signed anew"),
            json!({"name": name, "expires": Stamp(*ends)}),
        ),
        ReferenceEvent::Moved { key, sequence } => (
            "reference_moved",
            None,
            format!("the reference {key} moved on"),
            json!({"reference": key.to_string(), "sequence": sequence}),
        ),
    }
}

fn describe_general(event: &Event, who: &dyn Fn(&NodeId) -> PeerSummary) -> Described {
    match event {
        Event::Published { sequence, links } => (
            "published",
            None,
            format!("the record was published to {links} peers"),
            json!({"sequence": sequence.0, "links": links}),
        ),
        Event::Superseded { by } => (
            "superseded",
            None,
            "a newer instance of this identity runs elsewhere".into(),
            json!({"by": by}),
        ),
        Event::ClockSkew { peer, offset_ms } => (
            "clock_skew",
            peer.as_ref().map(who),
            "the clocks of this machine and a peer differ too much".into(),
            json!({"offset_ms": offset_ms}),
        ),
        Event::Misbehaviour { what, .. } => {
            ("misbehaviour", None, format!("a peer was refused: {what}"), json!({"what": what}))
        }
        other => ("other", None, format!("{other:?}"), json!({})),
    }
}

/// Who a peer is, by what the agent knows.
pub(crate) fn summary(agent: &Agent, peer: NodeId, now: Now) -> PeerSummary {
    let view = agent.peers(now).into_iter().find(|view| view.node_id == peer);
    match view {
        Some(view) => summary_of(&view),
        None => PeerSummary { name: None, address: Address::of(&peer), node_id: peer },
    }
}

/// Who a peer is, by its view.
pub(crate) fn summary_of(view: &PeerView) -> PeerSummary {
    PeerSummary {
        name: view.alias.clone().or_else(|| view.name.clone()),
        address: Address::of(&view.node_id),
        node_id: view.node_id,
    }
}
