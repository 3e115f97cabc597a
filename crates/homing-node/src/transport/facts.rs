//! What this node knows about its own reachability, told to the core at start and on every change.
//!
//! Relays: the one the front door is connected with first, then the other configured ones that answer.
//! Direct: the main door's local and reflexive addresses; loopback only when there is nothing else.
//! Online: the front door's relay connection stands (until iroh has chosen one: the self check was
//! answered), or there is no relay to wait for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use homing_base::limits::{DIRECT_ADDRESSES_MAX, RELAYS_MAX};
use homing_base::{Address, RelayRef};
use homing_core::io::{EndpointFacts, Input};
use homing_core::message::Network;
use iroh::Watcher;
use iroh::endpoint::RelayStatus;

use super::doors::{Doors, Pair};
use super::tasks::Tasks;
use super::{Shared, TransportConfig, TransportEvent, mapping};

/// What is known before anything was measured.
pub(super) fn at_start(doors: &Doors, config: &TransportConfig) -> EndpointFacts {
    let main = doors.pair().map(|pair| pair.main.addr());
    let direct = main.iter().flat_map(|addr| addr.ip_addrs().copied()).collect();
    EndpointFacts {
        relays: config.relays.iter().take(RELAYS_MAX).cloned().collect(),
        direct: useful(direct, own(config)),
        publish_direct: publishes(config),
        online: config.relays.is_empty(),
        network: Network::default(),
    }
}

/// Tells the facts now and whenever they change.
pub(super) fn spawn(shared: &Arc<Shared>, config: &TransportConfig, tasks: &Tasks) {
    tasks.spawn(watch(shared.clone(), publishes(config), own(config)));
}

fn publishes(config: &TransportConfig) -> bool {
    config.publish_addresses || config.public || config.relays.is_empty()
}

/// The agent's own address: on a network interface of ours it looks like a way to this machine, and is one through
/// this very transport.
fn own(config: &TransportConfig) -> Option<IpAddr> {
    config.identity.as_ref().map(|key| Address::of(&key.node_id()).ip().into())
}

async fn watch(shared: Arc<Shared>, publish_direct: bool, own: Option<IpAddr>) {
    let Some(Pair { main, front }) = shared.doors.pair() else { return };
    let mut addrs = main.watch_addr();
    let mut report = main.net_report();
    let mut homes = front.home_relay_status();
    let mut health = shared.health.changes();
    let mut reached = shared.reached.subscribe();
    let mut mapping = MappingWatch::default();
    let first = shared.facts.borrow().clone();
    if !shared.tell(TransportEvent::Input(Input::Endpoint(Box::new(first)))).await {
        return;
    }
    loop {
        let mut direct: Vec<_> = addrs.get().ip_addrs().copied().collect();
        let shown = shared.ports.shown();
        direct.retain(|addr| !shown.contains(addr));
        let measured = report.get();
        mapping.look(&shared, measured.as_ref().and_then(|r| r.global_v4.map(SocketAddr::V4)));
        let at_home = homes.get().iter().any(RelayStatus::is_connected);
        if at_home && *reached.borrow() {
            shared.reached.send_replace(false);
        }
        let facts = EndpointFacts {
            relays: relays(&shared, &homes.get()),
            direct: useful(direct, own),
            publish_direct,
            online: shared.book.configured().is_empty() || at_home || *reached.borrow(),
            network: measured.map(|r| network(&r, mapping.varies)).unwrap_or_default(),
        };
        if facts != *shared.facts.borrow() {
            shared.facts.send_replace(facts.clone());
            if !shared.tell(TransportEvent::Input(Input::Endpoint(Box::new(facts)))).await {
                return;
            }
        }
        tokio::select! {
            changed = addrs.updated() => if changed.is_err() { return },
            changed = report.updated() => if changed.is_err() { return },
            changed = homes.updated() => if changed.is_err() { return },
            changed = reached.changed() => if changed.is_err() { return },
            changed = health.changed() => if changed.is_err() { return },
            varies = mapping.answer() => mapping.varies = varies,
        }
    }
}

fn network(report: &iroh::unstable_net_report::NetReport, varies: Option<bool>) -> Network {
    Network {
        udp_v4: Some(report.udp_v4),
        udp_v6: Some(report.udp_v6),
        mapping_varies: match report.mapping_varies_by_dest_ipv4 {
            Some(true) => Some(true),
            other => varies.or(other),
        },
    }
}

/// The shortest round trip measured to each relay, over UDP or HTTPS.
pub(super) fn relay_latencies(shared: &Shared) -> Vec<(RelayRef, Duration)> {
    let mut found: Vec<(RelayRef, Duration)> = Vec::new();
    let doors = shared.doors.pair();
    for door in doors.iter().flat_map(|pair| [&pair.main, &pair.front]) {
        let Some(report) = door.net_report().get() else { continue };
        for (_, url, latency) in report.relay_latency.iter() {
            let relay = shared.book.relay(url);
            match found.iter_mut().find(|(known, _)| *known == relay) {
                Some((_, least)) => *least = latency.min(*least),
                None => found.push((relay, latency)),
            }
        }
    }
    found
}

/// Home relay first, then those that answer, then, if none does, all.
fn relays(shared: &Shared, homes: &[RelayStatus]) -> Vec<RelayRef> {
    let connected = homes.iter().filter(|h| h.is_connected()).map(|h| shared.book.relay(h.url()));
    let mut relays: Vec<RelayRef> = connected.collect();
    for relay in shared.health.usable(shared.book.configured()) {
        if !relays.contains(&relay) {
            relays.push(relay);
        }
    }
    relays.truncate(RELAYS_MAX);
    relays
}

/// Sorted, without the agent's own address, without loopback unless nothing else is there, bounded.
fn useful(mut addrs: Vec<SocketAddr>, own: Option<IpAddr>) -> Vec<SocketAddr> {
    addrs.retain(|a| Some(a.ip()) != own);
    addrs.sort_unstable();
    addrs.dedup();
    if addrs.iter().any(|a| !a.ip().is_loopback()) {
        addrs.retain(|a| !a.ip().is_loopback());
    }
    addrs.truncate(DIRECT_ADDRESSES_MAX);
    addrs
}

/// Asks about the NAT mapping once per public address.
#[derive(Default)]
struct MappingWatch {
    asked_at: Option<SocketAddr>,
    asking: Option<tokio::task::JoinHandle<Option<bool>>>,
    varies: Option<bool>,
}

impl MappingWatch {
    fn look(&mut self, shared: &Shared, public: Option<SocketAddr>) {
        let ip = |a: Option<SocketAddr>| a.map(|a| a.ip());
        if public.is_none() || ip(public) == ip(self.asked_at) || self.asking.is_some() {
            return;
        }
        self.asked_at = public;
        let book = shared.book.clone();
        self.asking = Some(tokio::spawn(async move { mapping::varies(&book).await }));
    }

    /// The answer when it comes; never, when nothing was asked.
    async fn answer(&mut self) -> Option<bool> {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        let varies = asking.await.ok().flatten();
        self.asking = None;
        varies
    }
}
