//! Counters in the Prometheus text format (0.0.4), over the local API only: nothing is sent anywhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use homing_api::ApiError;
use homing_base::Now;
use homing_core::Agent;
use homing_core::io::TrustState;
use homing_core::view::{Counters, DhtView};

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
        self.dht_metrics(&mut text).await?;
        self.gossip_metrics(&mut text).await?;
        self.reference_metrics(&mut text).await?;
        self.content_metrics(&mut text);
        self.stream_metrics(&mut text);
        self.relay_metrics(&mut text);
        self.tun_metrics(&mut text);
        self.anchor_metrics(&mut text, now);
        process_metrics(&mut text);
        Ok(text.0)
    }

    fn content_metrics(&self, text: &mut Text) {
        let content = &self.shared.content;
        let (counts, (serving, fetching)) = (&content.counts, content.active());
        let total = |name: &str| format!("homing_content_{name}_total");
        text.gauge("homing_content_serving", "Requests of peers being answered.", serving);
        text.gauge("homing_content_fetching", "Fetches under way.", fetching);
        let counters = [
            ("served_bytes", "Bytes sent to peers, with their proofs.", &counts.served_bytes),
            ("served", "Requests answered with content.", &counts.served),
            ("busy", "Requests beyond what is answered at once.", &counts.busy),
            ("fetched_bytes", "Verified bytes of peers.", &counts.fetched_bytes),
            ("fetched", "Fetches that ended well.", &counts.fetched),
            ("fetches_failed", "Fetches that did not.", &counts.failed),
            ("holders_asked", "Peers asked for content.", &counts.asked),
            ("holders_blamed", "Peers that sent something else.", &counts.blamed),
        ];
        for (name, about, count) in counters {
            text.counter(&total(name), about, count.now());
        }
    }

    fn anchor_metrics(&self, text: &mut Text, now: Now) {
        let Some(w) = self.shared.anchored.waiting() else { return };
        let lag = w.since_ms.map_or(0, |since| now.wall.0.saturating_sub(since) / 1_000);
        text.gauge("homing_anchor_waiting", "Entries or updates not anchored yet.", w.entries);
        text.gauge("homing_anchor_lag_seconds", "Age of the oldest of them.", lag);
        text.counter("homing_anchor_confirmed_total", "Anchors that are final.", w.marks);
        text.counter("homing_anchor_sent_total", "Transactions and requests.", w.sent);
        text.counter("homing_anchor_removed_total", "Anchors a chain took back.", w.removed);
        text.counter("homing_anchor_reverted_total", "Transactions without effect.", w.reverted);
        text.counter("homing_anchor_duplicates_total", "Updates anchored twice.", w.duplicates);
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
        let bytes = self.shared.transport.message_bytes();
        text.by("homing_message_bytes_received_total", "Their bytes.", "kind", &bytes.received);
        text.by("homing_message_bytes_sent_total", "Their bytes.", "kind", &bytes.sent);
        text.by("homing_records_refused_total", "Agent records.", "reason", &c.records_refused);
        text.by("homing_links_closed_total", "Links closed here.", "reason", &c.links_closed);
        let p = &c.ports;
        text.counter("homing_port_predictions_total", "Attempts, both sides.", p.attempts);
        text.counter("homing_port_predictions_found_total", "Those that found a port.", p.found);
        text.counter("homing_port_predictions_declined_total", "Offers declined.", p.declined);
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

    /// All of them are there, and zero, when this node takes no part.
    async fn dht_metrics(&self, text: &mut Text) -> Result<(), ApiError> {
        let (view, counters) = self.dht_numbers().await?;
        text.gauge("homing_dht_enabled", "1: takes part.", u8::from(view.is_some()));
        let serving = view.as_ref().is_some_and(|v| v.serving);
        text.head("homing_dht_role", "gauge", "1 for the role that this node has.");
        for (role, has) in [("server", serving), ("client", view.is_some() && !serving)] {
            let _ = writeln!(text.0, "homing_dht_role{{role=\"{role}\"}} {}", u8::from(has));
        }
        self.dht_table_metrics(text, view.as_ref());
        self.dht_traffic_metrics(text, view.as_ref(), &counters);
        Ok(())
    }

    fn dht_table_metrics(&self, text: &mut Text, view: Option<&DhtView>) {
        let number = |look: fn(&DhtView) -> f64| view.map_or(0.0, look);
        let suspects = |v: &DhtView| v.contacts.iter().filter(|c| c.failures > 0).count() as f64;
        let gauges: [(&str, &str, f64); 11] = [
            ("contacts", "Contacts in the table.", number(|v| v.contacts.len() as f64)),
            ("contacts_suspect", "Contacts in doubt.", view.map_or(0.0, suspects)),
            ("links", "Links that only the DHT uses.", number(|v| v.links as f64)),
            ("values", "Records held for others.", number(|v| v.values as f64)),
            ("values_bytes", "Their bytes.", number(|v| v.value_bytes as f64)),
            ("network_size", "Estimate; 0: none.", number(|v| v.network_size.unwrap_or(0.0))),
            ("session_seconds", "Estimate.", number(|v| v.session.as_secs_f64())),
            (
                "convergence_seconds",
                "Until the leafset settled, the last time.",
                number(|v| v.convergence.last.unwrap_or_default().as_secs_f64()),
            ),
            (
                "convergence_rounds",
                "The same in exchange rounds.",
                number(|v| v.convergence.last_rounds.unwrap_or(0.0)),
            ),
            (
                "convergence_rounds_ongoing",
                "Rounds of the change under way.",
                number(|v| v.convergence.ongoing_rounds.unwrap_or(0.0)),
            ),
            ("convergence_rounds_expected", "At most.", number(|v| v.convergence.bound_rounds)),
        ];
        for (name, about, value) in gauges {
            text.gauge(&format!("homing_dht_{name}"), about, value);
        }
    }

    fn dht_traffic_metrics(&self, text: &mut Text, view: Option<&DhtView>, c: &Counters) {
        let bytes = self.shared.transport.message_bytes();
        let of_dht =
            |by_kind: &BTreeMap<&'static str, u64>| by_kind.get("dht").copied().unwrap_or(0);
        let s = view.map(|v| v.stats).unwrap_or_default();
        let counters: [(&str, &str, u64); 16] = [
            ("messages_received_total", "DHT messages.", of_dht(&c.messages_in)),
            ("messages_sent_total", "DHT messages.", of_dht(&c.messages_out)),
            ("bytes_received_total", "Their bytes.", of_dht(&bytes.received)),
            ("bytes_sent_total", "Their bytes.", of_dht(&bytes.sent)),
            ("requests_total", "Requests sent.", s.requests),
            ("timeouts_total", "Requests not answered in time.", s.timeouts),
            ("exchanges_total", "Leafset exchanges begun.", s.exchanges),
            ("evicted_total", "Contacts that stayed silent.", s.evicted),
            ("replaced_total", "Contacts replaced by faster ones.", s.replaced),
            ("region_queries_total", "Crowded keys looked into.", s.regions),
            ("unsolicited_total", "Answers to nothing asked.", s.unsolicited),
            ("unverified_total", "Values that did not verify.", s.unverified),
            ("shed_total", "Beyond rates or quotas.", s.shed + c.dht_shed),
            ("ignored_total", "Messages while taking no part.", c.dht_ignored),
            ("undelivered_total", "Messages nobody could take.", c.dht_undelivered),
            (
                "lookups_total",
                "Asked by the local user.",
                self.shared.dht_lookups.load(Ordering::Relaxed),
            ),
        ];
        for (name, about, value) in counters {
            text.counter(&format!("homing_dht_{name}"), about, value);
        }
    }

    /// All of them are there, and zero, when this node takes no part.
    async fn gossip_metrics(&self, text: &mut Text) -> Result<(), ApiError> {
        let s = self.gossip_stats().await?;
        let (records, rounds, traffic) = (s.records, s.reconciliations, s.traffic);
        let changed = s.changed.map_or(0.0, |at| at.0.0 as f64 / 1_000.0);
        let gauges: [(&str, &str, f64); 7] = [
            ("enabled", "1: takes part.", f64::from(u8::from(s.enabled))),
            ("peers", "Peers that gossip with this node.", s.peers as f64),
            ("peers_eager", "Those that records are pushed to.", s.peers_eager as f64),
            ("entries", "Records held.", s.entries as f64),
            ("entries_bytes", "Their signed bytes.", s.entries_bytes as f64),
            ("depth_bits", "Bits of the ID that a full table keeps.", f64::from(s.depth_bits)),
            ("changed_timestamp_seconds", "Last record; 0: none in this run.", changed),
        ];
        for (name, about, value) in gauges {
            text.gauge(&format!("homing_gossip_{name}"), about, value);
        }
        let counters: [(&str, &str, u64); 17] = [
            ("pushed_total", "Records pushed.", records.pushed),
            ("resent_total", "Records sent once more.", records.resent),
            ("heard_total", "New records heard.", records.heard),
            ("duplicates_total", "Records heard again.", records.duplicates),
            ("stale_total", "Records older than known ones.", records.stale),
            ("forged_total", "Records signed by nobody.", records.forged),
            ("untimely_total", "Records expired or of the future.", records.untimely),
            ("dropped_total", "Records a full table let go.", records.dropped),
            ("reconciliations_total", "Comparisons begun here.", rounds.begun),
            ("reconciliations_timed_total", "Those because it was time.", rounds.timed),
            ("differences_total", "Those that found something.", rounds.differences),
            ("messages_received_total", "Messages.", traffic.received_messages),
            ("messages_sent_total", "Messages.", traffic.sent_messages),
            ("bytes_received_total", "Their bytes.", traffic.received_bytes),
            ("bytes_sent_total", "Their bytes.", traffic.sent_bytes),
            ("shed_total", "Beyond rates, or unreadable.", traffic.shed),
            ("ignored_total", "Of peers that do not gossip here.", traffic.ignored),
        ];
        for (name, about, value) in counters {
            text.counter(&format!("homing_gossip_{name}"), about, value);
        }
        Ok(())
    }

    /// Own references, and those kept for others; names have no characters that need escaping.
    async fn reference_metrics(&self, text: &mut Text) -> Result<(), ApiError> {
        let list = self.references().await?.references;
        let (own, kept): (Vec<_>, Vec<_>) = list.iter().partition(|r| r.own);
        text.gauge("homing_references", "References of this agent.", own.len());
        text.gauge("homing_references_kept", "References kept alive for others.", kept.len());
        let name = "homing_reference_remaining_seconds";
        text.head(name, "gauge", "How long others can resolve it if nothing more happens.");
        for r in own.iter().chain(&kept) {
            let owner = u8::from(r.own);
            let _ = writeln!(
                text.0,
                "{name}{{reference=\"{}\",own=\"{owner}\"}} {}",
                r.reference, r.remaining_s
            );
        }
        Ok(())
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

    fn tun_metrics(&self, text: &mut Text) {
        let Some(tun) = &self.shared.tun else { return };
        let (counts, drops) = (tun.counts(), "homing_tun_packets_dropped_total");
        let (packets, bytes) = counts.sent.read();
        text.counter("homing_tun_packets_sent_total", "Packets to peers.", packets);
        text.counter("homing_tun_bytes_sent_total", "Their bytes.", bytes);
        let (packets, bytes) = counts.received.read();
        text.counter("homing_tun_packets_received_total", "Packets of peers.", packets);
        text.counter("homing_tun_bytes_received_total", "Their bytes.", bytes);
        text.by(drops, "Packets that were not carried.", "reason", &counts.drops());
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
