//! Port prediction: a direct path between a symmetric NAT and one that lets in only whom it wrote to.
//!
//! ```text
//! easy (its port is known)                      hard (symmetric: another port for every destination)
//!   Measure ⇒ its address from outside
//!     Offer {secret, address}     ──────────►     Fan ⇒ 256 sockets, each sends there
//!     Knock ⇒ 2,048 random ports  ◄──────────   Ready {its NAT's address}
//!   …probes, not messages: one of the random ports is one of the 256 …
//!   Through                                     Through          both shells have the pair of ports
//!     whoever dialled the link:   Through {entry} ───►  Show: the stack tries it as a path
//! ```
//! States of the one attempt: `Preparing` (the shell measures or opens), `Offered` (easy waits for
//! `Ready`), `Working` (probes). Afterwards the pair is `open` until the shell says that it ended.
//! Messages: [`wire`]. Timers: the end of each state, and when the next pair may be tried.
//!
//! Invariants: one attempt at a time; only with a peer of [`Ports::pairs`] (mutual trust, relayed, one side
//! symmetric, both take part), and it is dropped when its peer leaves them; each attempt, in either
//! role, is counted before anything is sent; probes go to nothing but a public IPv4 address that the
//! peer named among its candidates as well. Limits: [`limits`].
//!
//! Sources: the birthday paradox against NATs, [D. Anderson, "How NAT traversal works"](https://tailscale.com/blog/how-nat-traversal-works);
//! terms of RFC 4787. Not here: sockets, probes and the forwarder (the shell's), whom links belong to.

pub mod limits;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use homing_base::{InstanceId, Mono, NodeId};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::io::{PortNews, PortOrder};
use limits::{
    ANSWER_MAX, ATTEMPTS_PER_HOUR, ATTEMPTS_PER_PEER_AND_HOUR, GOOD_PATH, HOUR, PORT_MIN,
    PREPARE_MAX, RELAYED_FOR, RETRY_FIRST, RETRY_MAX, WORK_MAX,
};
use wire::{Offer, Ready, Through, Word};

/// Which of the two NATs is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One public port, whoever is spoken to. It begins.
    Easy,
    /// Another public port for every destination.
    Hard,
}

/// A peer with which prediction makes sense now.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub role: Role,
    /// Since when the link is there, and relayed.
    pub since: Mono,
    /// The peer's main door.
    pub endpoint: InstanceId,
    /// We dialled the link.
    pub dialled: bool,
    /// Addresses that the peer names as its own.
    pub named: BTreeSet<Ipv4Addr>,
}

/// What the machine asks for, in order.
#[derive(Debug, PartialEq)]
pub(crate) enum PortsOutput {
    /// Say this to the peer.
    Send(NodeId, Word),
    /// For the shell.
    Order(PortOrder),
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Attempts, both roles.
    pub attempts: u64,
    /// Those that found a port.
    pub found: u64,
    /// Offers of peers that were declined.
    pub declined: u64,
}

#[derive(Debug)]
struct Attempt {
    id: u64,
    peer: NodeId,
    pair: Pair,
    stage: Stage,
    ends: Mono,
    /// The peer was through before us, and enters here.
    entry: Option<SocketAddrV4>,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Preparing,
    Offered([u8; 32]),
    Working,
}

#[derive(Debug)]
struct Open {
    peer: NodeId,
    since: Mono,
    /// The peer dialled, and has not said yet where it enters.
    awaits_entry: bool,
}

/// How a peer did so far.
#[derive(Debug, Default)]
struct Standing {
    failures: u32,
    next: Mono,
}

/// The machine.
pub(crate) struct Ports {
    pairs: BTreeMap<NodeId, Pair>,
    standings: BTreeMap<NodeId, Standing>,
    current: Option<Attempt>,
    open: BTreeMap<u64, Open>,
    /// Addresses of the peers that were pairs lately.
    named: BTreeMap<NodeId, BTreeSet<Ipv4Addr>>,
    /// Attempts of the last hour.
    recent: VecDeque<(Mono, NodeId)>,
    out: VecDeque<PortsOutput>,
    counts: PortCounts,
    chance: ChaCha8Rng,
}

impl Ports {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            pairs: BTreeMap::new(),
            standings: BTreeMap::new(),
            current: None,
            open: BTreeMap::new(),
            named: BTreeMap::new(),
            recent: VecDeque::new(),
            out: VecDeque::new(),
            counts: PortCounts::default(),
            chance: ChaCha8Rng::from_seed(seed),
        }
    }

    pub(crate) fn counts(&self) -> PortCounts {
        self.counts
    }

    pub(crate) fn poll_output(&mut self) -> Option<PortsOutput> {
        self.out.pop_front()
    }

    /// Who may be tried now; drops the attempt with one who may not any more, and what became due.
    pub(crate) fn tend(&mut self, now: Mono, pairs: BTreeMap<NodeId, Pair>) {
        self.pairs = pairs;
        self.notice_moves();
        if let Some(attempt) = &self.current {
            if !self.pairs.contains_key(&attempt.peer) {
                self.give_up(now, false);
            } else if attempt.ends <= now {
                self.give_up(now, true);
            }
        }
        self.forget_old(now);
        if self.current.is_none()
            && let Some(peer) = self.due(now)
        {
            self.begin(now, peer);
        }
    }

    /// A peer with other addresses is in another network: how it went before says nothing.
    fn notice_moves(&mut self) {
        for (peer, pair) in &self.pairs {
            let before = self.named.insert(*peer, pair.named.clone());
            if before.is_some_and(|before| before != pair.named) {
                self.standings.remove(peer);
                self.open.retain(|_, open| open.peer != *peer);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        if let Some(attempt) = &self.current {
            return Some(attempt.ends);
        }
        self.begun_here().map(|(peer, pair)| self.earliest(*peer, pair)).min()
    }

    /// Everything about the own network may be different: what is open ends, and all may be tried anew.
    pub(crate) fn on_network_changed(&mut self, now: Mono) {
        self.give_up(now, false);
        self.open.clear();
        self.standings.clear();
        self.out.push_back(PortsOutput::Order(PortOrder::EndAll));
    }

    /// The peer said something.
    pub(crate) fn on_word(&mut self, now: Mono, peer: NodeId, word: Word) {
        match word {
            Word::Offer(offer) => self.on_offer(now, peer, offer),
            Word::Ready(ready) => self.on_ready(now, peer, ready),
            Word::No(id) => {
                if self.is_current(id, peer) {
                    self.give_up(now, true);
                }
            }
            Word::Through(through) => self.on_through(peer, through),
        }
    }

    /// The shell did something.
    pub(crate) fn on_news(&mut self, now: Mono, news: PortNews) {
        match news {
            PortNews::Relayed { .. } => {}
            PortNews::Measured { attempt, found } => self.on_measured(now, attempt, found),
            PortNews::Fanned { attempt, ip } => self.on_fanned(now, attempt, ip),
            PortNews::Through { attempt, entry } => self.on_own_through(now, attempt, entry),
            PortNews::Failed { attempt } => {
                if self.current.as_ref().is_some_and(|a| a.id == attempt) {
                    self.give_up(now, true);
                }
            }
            PortNews::Ended { attempt } => {
                if let Some(open) = self.open.remove(&attempt) {
                    let good = now.since(open.since) >= GOOD_PATH;
                    self.settle(now, open.peer, good);
                }
            }
        }
    }

    /// The easy side begins.
    fn begin(&mut self, now: Mono, peer: NodeId) {
        let id = self.chance.next_u64();
        if self.count(now, id, peer, PREPARE_MAX) {
            self.out.push_back(PortsOutput::Order(PortOrder::Measure { attempt: id }));
        }
    }

    fn on_measured(&mut self, now: Mono, id: u64, found: Option<(SocketAddrV4, [u8; 32])>) {
        let Some(attempt) = self.stage(id, &Stage::Preparing, Role::Easy) else {
            // Too late: what was opened for it is of no use.
            return self.out.push_back(PortsOutput::Order(PortOrder::Drop { attempt: id }));
        };
        let Some((at, secret)) = found.filter(|(at, _)| may_be_probed(*at.ip())) else {
            return self.give_up(now, true);
        };
        attempt.stage = Stage::Offered(secret);
        attempt.ends = now.after(ANSWER_MAX);
        let offer = Offer { attempt: id, secret, at: at.into() };
        let peer = attempt.peer;
        self.out.push_back(PortsOutput::Send(peer, Word::Offer(offer)));
    }

    fn on_ready(&mut self, now: Mono, peer: NodeId, ready: Ready) {
        let ip = Ipv4Addr::from(ready.ip);
        let Some(attempt) = self.current.as_mut().filter(|a| a.id == ready.attempt) else { return };
        let Stage::Offered(secret) = attempt.stage else { return };
        if attempt.peer != peer {
            return;
        }
        if !may_be_probed(ip) || !attempt.pair.named.contains(&ip) {
            return self.give_up(now, true);
        }
        attempt.stage = Stage::Working;
        attempt.ends = now.after(WORK_MAX);
        let endpoint = attempt.pair.endpoint;
        let order = PortOrder::Knock { attempt: ready.attempt, endpoint, secret, ip };
        self.out.push_back(PortsOutput::Order(order));
    }

    /// The hard side follows, or not.
    fn on_offer(&mut self, now: Mono, peer: NodeId, offer: Offer) {
        let at = SocketAddrV4::from(offer.at);
        let fits = self.pairs.get(&peer).is_some_and(|pair| {
            pair.role == Role::Hard
                && pair.named.contains(at.ip())
                && may_be_probed(*at.ip())
                && at.port() >= PORT_MIN
        });
        let free = self.current.is_none() && !self.open.contains_key(&offer.attempt);
        if !fits || !free || !self.count(now, offer.attempt, peer, PREPARE_MAX) {
            self.counts.declined += 1;
            return self.out.push_back(PortsOutput::Send(peer, Word::No(offer.attempt)));
        }
        let endpoint = self.pairs[&peer].endpoint;
        let Offer { attempt, secret, .. } = offer;
        self.out.push_back(PortsOutput::Order(PortOrder::Fan { attempt, endpoint, secret, at }));
    }

    fn on_fanned(&mut self, now: Mono, id: u64, ip: Option<Ipv4Addr>) {
        let Some(attempt) = self.stage(id, &Stage::Preparing, Role::Hard) else { return };
        let peer = attempt.peer;
        let Some(ip) = ip else {
            self.out.push_back(PortsOutput::Send(peer, Word::No(id)));
            return self.give_up(now, true);
        };
        attempt.stage = Stage::Working;
        attempt.ends = now.after(WORK_MAX);
        let ready = Ready { attempt: id, ip: ip.octets() };
        self.out.push_back(PortsOutput::Send(peer, Word::Ready(ready)));
    }

    fn on_own_through(&mut self, now: Mono, id: u64, entry: SocketAddrV4) {
        let Some(attempt) = self.current.take_if(|a| a.id == id) else { return };
        self.counts.found += 1;
        let peer = attempt.peer;
        let awaits_entry = !attempt.pair.dialled && attempt.entry.is_none();
        self.open.insert(id, Open { peer, since: now, awaits_entry });
        if attempt.pair.dialled {
            let through = Through { attempt: id, entry: entry.into() };
            self.out.push_back(PortsOutput::Send(peer, Word::Through(through)));
        } else if let Some(entry) = attempt.entry {
            self.show(entry);
        }
    }

    fn on_through(&mut self, peer: NodeId, through: Through) {
        let entry = SocketAddrV4::from(through.entry);
        // Whatever is shown here is told to every peer of ours: on any machine it means that machine.
        if !entry.ip().is_loopback() || entry.port() < PORT_MIN {
            return;
        }
        if self.is_current(through.attempt, peer) {
            if let Some(attempt) = self.current.as_mut() {
                attempt.entry = Some(entry);
            }
        } else if let Some(open) = self.open.get_mut(&through.attempt)
            && open.peer == peer
            && std::mem::take(&mut open.awaits_entry)
        {
            // Once: what is shown, all peers of ours are told, and the stack keeps few of them.
            self.show(entry);
        }
    }

    fn show(&mut self, entry: SocketAddrV4) {
        self.out.push_back(PortsOutput::Order(PortOrder::Show { entry }));
    }

    /// Makes an attempt the current one if the hour still allows it.
    fn count(&mut self, now: Mono, id: u64, peer: NodeId, time: Duration) -> bool {
        let Some(pair) = self.pairs.get(&peer).cloned() else { return false };
        self.forget_old(now);
        let with_peer = self.recent.iter().filter(|(_, who)| *who == peer).count();
        if self.recent.len() >= ATTEMPTS_PER_HOUR || with_peer >= ATTEMPTS_PER_PEER_AND_HOUR {
            return false;
        }
        self.recent.push_back((now, peer));
        self.counts.attempts += 1;
        let (stage, ends) = (Stage::Preparing, now.after(time));
        self.current = Some(Attempt { id, peer, pair, stage, ends, entry: None });
        true
    }

    fn give_up(&mut self, now: Mono, failed: bool) {
        let Some(attempt) = self.current.take() else { return };
        self.out.push_back(PortsOutput::Order(PortOrder::Drop { attempt: attempt.id }));
        if failed {
            self.settle(now, attempt.peer, false);
        }
    }

    /// Notes how an attempt or a path went, for the next one.
    fn settle(&mut self, now: Mono, peer: NodeId, good: bool) {
        let standing = self.standings.entry(peer).or_default();
        standing.failures = if good { 0 } else { standing.failures.saturating_add(1) };
        let wait = match standing.failures {
            0 => Duration::ZERO,
            n => RETRY_FIRST.saturating_mul(4_u32.saturating_pow(n - 1)).min(RETRY_MAX),
        };
        standing.next = now.after(wait);
    }

    fn forget_old(&mut self, now: Mono) {
        while self.recent.front().is_some_and(|(at, _)| now.since(*at) >= HOUR) {
            self.recent.pop_front();
        }
        self.standings.retain(|peer, standing| {
            self.pairs.contains_key(peer) || now.since(standing.next) < HOUR
        });
        let (pairs, open) = (&self.pairs, &self.open);
        self.named.retain(|peer, _| {
            pairs.contains_key(peer) || open.values().any(|open| open.peer == *peer)
        });
    }

    /// The easy pair whose turn it is.
    fn due(&self, now: Mono) -> Option<NodeId> {
        let due = self.begun_here().map(|(peer, pair)| (self.earliest(*peer, pair), *peer));
        due.filter(|(at, _)| *at <= now).min().map(|(_, peer)| peer)
    }

    /// Pairs that are ours to begin with; what was found with a peer is left to prove itself.
    fn begun_here(&self) -> impl Iterator<Item = (&NodeId, &Pair)> {
        let open = |peer: NodeId| self.open.values().any(|open| open.peer == peer);
        self.pairs.iter().filter(move |(peer, pair)| pair.role == Role::Easy && !open(**peer))
    }

    /// When this pair may be tried: by its age, its failures, and what was tried in the last hour.
    fn earliest(&self, peer: NodeId, pair: &Pair) -> Mono {
        let next = self.standings.get(&peer).map(|standing| standing.next).unwrap_or_default();
        let full = |max: usize, all: Vec<Mono>| {
            let oldest = all.len().checked_sub(max).map(|i| all[i].after(HOUR));
            oldest.unwrap_or_default()
        };
        let mine = self.recent.iter().filter(|(_, who)| *who == peer).map(|(at, _)| *at).collect();
        let all = self.recent.iter().map(|(at, _)| *at).collect();
        let hour = full(ATTEMPTS_PER_PEER_AND_HOUR, mine).max(full(ATTEMPTS_PER_HOUR, all));
        pair.since.after(RELAYED_FOR).max(next).max(hour)
    }

    fn is_current(&self, id: u64, peer: NodeId) -> bool {
        self.current.as_ref().is_some_and(|a| a.id == id && a.peer == peer)
    }

    fn stage(&mut self, id: u64, stage: &Stage, role: Role) -> Option<&mut Attempt> {
        let fits = |a: &Attempt| a.id == id && a.stage == *stage && a.pair.role == role;
        self.current.as_mut().filter(|a| fits(a))
    }
}

/// Public as far as an address can tell: probes never go into somebody's own network.
fn may_be_probed(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let own = ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified();
    !(own || shared || ip.is_multicast() || ip.is_broadcast() || a == 0 || a >= 240)
}
