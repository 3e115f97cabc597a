//! Counters in the Prometheus text format (0.0.4), over the local API only: nothing is sent anywhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use homing_api::ApiError;
use homing_base::Now;
use homing_core::Agent;
use homing_core::io::TrustState;
use homing_core::view::Counters;

use crate::VERSION;
use crate::node::Node;

/// The text under construction.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, about: &str) {
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn one(&mut self, name: &str, kind: &str, about: &str, value: impl std::fmt::Display) {
        self.head(name, kind, about);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, about: &str, value: u64) {
        self.one(name, "counter", about, value);
    }

    fn gauge(&mut self, name: &str, about: &str, value: impl std::fmt::Display) {
        self.one(name, "gauge", about, value);
    }

    /// Label values are our own words: no escaping needed.
    fn by(&mut self, name: &str, about: &str, label: &str, values: &BTreeMap<&'static str, u64>) {
        self.head(name, "counter", about);
        for (key, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{key}\"}} {value}");
        }
    }
}

/// What the agent itself counts.
struct Snapshot {
    counters: Counters,
    peers: usize,
    trusted: usize,
    links: usize,
}

fn snapshot(agent: &Agent, now: Now) -> Snapshot {
    let peers = agent.peers(now);
    Snapshot {
        counters: agent.counters().clone(),
        trusted: peers.iter().filter(|p| p.trust.state == TrustState::Mutual).count(),
        links: peers.iter().map(|p| p.links.len()).sum(),
        peers: peers.len(),
    }
}

impl Node {
    /// All counters as text.
    ///
    /// # Errors
    /// Only when the node has stopped.
    pub async fn metrics(&self) -> Result<String, ApiError> {
        let now = self.shared.clock.now();
        let snapshot = self.query(move |agent| snapshot(agent, now)).await?;
        let mut text = Text::default();
        let (name, about) = ("homing_build_info", "Program version.");
        text.head(name, "gauge", about);
        let _ = writeln!(text.0, "{name}{{version=\"{VERSION}\"}} 1");
        let uptime = now.wall.since(self.shared.started).as_secs();
        text.gauge("homing_uptime_seconds", "Age of this run.", uptime);
        self.agent_metrics(&mut text, &snapshot);
        self.stream_metrics(&mut text);
        self.relay_metrics(&mut text);
        process_metrics(&mut text);
        Ok(text.0)
    }

    fn agent_metrics(&self, text: &mut Text, snapshot: &Snapshot) {
        let c = &snapshot.counters;
        let facts = self.shared.transport.facts();
        text.gauge("homing_online", "1 when the front door is reachable.", u8::from(facts.online));
        text.gauge("homing_peers", "Peers with a relation or a link.", snapshot.peers);
        text.gauge("homing_peers_trusted", "Peers with mutual trust.", snapshot.trusted);
        text.gauge("homing_links", "Live links whose peer is proven.", snapshot.links);
        text.by("homing_messages_received_total", "Mesh messages.", "kind", &c.messages_in);
        text.by("homing_messages_sent_total", "Mesh messages.", "kind", &c.messages_out);
        text.by("homing_records_refused_total", "Agent records.", "reason", &c.records_refused);
        text.by("homing_links_closed_total", "Links closed here.", "reason", &c.links_closed);
        text.counter("homing_links_proven_total", "Links whose peer was proven.", c.links_proven);
        text.counter("homing_links_dead_total", "Links that fell silent.", c.links_dead);
        text.counter("homing_dials_total", "Attempts to connect.", c.dials);
        text.counter("homing_dials_failed_total", "Attempts that came to nothing.", c.dials_failed);
        text.counter(
            "homing_messages_shed_total",
            "Messages of too fast senders.",
            c.messages_shed,
        );
        let (accepted, refused) = (c.statements_accepted, c.statements_refused);
        text.counter("homing_statements_accepted_total", "Trust statements of peers.", accepted);
        text.counter("homing_statements_refused_total", "Trust statements refused.", refused);
        text.counter("homing_asks_answered_total", "Questions of others.", c.asks_answered);
        let store = &self.shared.store_counts;
        text.counter("homing_store_batches_total", "Durable transactions.", store.batches());
        text.counter("homing_store_writes_total", "Writes inside them.", store.writes());
        text.gauge("homing_health_items", "Conditions that last.", self.health().len());
    }

    fn stream_metrics(&self, text: &mut Text) {
        let streams = &self.shared.streams;
        let (open, received, sent) = streams.traffic_of_all();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &streams.counts;
        text.gauge("homing_streams", "Application streams open now.", open);
        text.counter("homing_streams_opened_total", "Streams to peers.", count(&counts.opened));
        text.counter("homing_streams_accepted_total", "Streams of peers.", count(&counts.accepted));
        text.counter("homing_streams_refused_total", "Streams refused.", count(&counts.refused));
        text.counter("homing_streams_severed_total", "Ended with trust.", count(&counts.severed));
        text.counter("homing_stream_bytes_received_total", "From peers.", received);
        text.counter("homing_stream_bytes_sent_total", "To peers.", sent);
        text.gauge("homing_services", "Services exposed now.", streams.services().len());
    }

    fn relay_metrics(&self, text: &mut Text) {
        let relays = self.shared.transport.relays();
        let up = relays.iter().filter(|relay| relay.error.is_none()).count();
        text.gauge("homing_relays", "Relays configured.", relays.len());
        text.gauge("homing_relays_up", "Relays that answer.", up);
        let Some(role) = &self.shared.relay else { return };
        let counts = role.counts();
        text.gauge("homing_relay_clients", "Clients of the relay served here.", counts.clients);
        text.counter("homing_relay_clients_total", "Clients accepted.", counts.accepted);
        text.counter("homing_relay_bytes_received_total", "From clients.", counts.bytes_received);
        text.counter("homing_relay_bytes_sent_total", "To clients.", counts.bytes_sent);
        text.counter("homing_relay_bytes_limited_total", "Held back.", counts.bytes_limited);
    }
}

fn process_metrics(text: &mut Text) {
    if let Some(bytes) = resident_bytes() {
        text.gauge("process_resident_memory_bytes", "Resident memory.", bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open file descriptors.", open.count());
    }
}

/// Resident memory of this process, from `/proc/self/statm`.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}
