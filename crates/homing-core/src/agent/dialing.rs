//! Who should be connected, and the attempts to get there.
//!
//! A goal is wanted (peers with mutual trust, undelivered word or a waiting command; relays and
//! hints; main doors) and either reached, or being tried, or waiting for its next attempt. One attempt
//! uses everything known at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use homing_base::{Mono, NodeId, Now, Record, RelayRef};
use tracing::debug;

use super::Agent;
use crate::io::{DialError, DialId, DialTarget, Door, LinkId, Output, PeerHint, PeerRef};
use crate::limits::{DIALS_MAX, MAIN_PATIENCE, SEEDS_MAX, TRUSTED_CONNECTED_MAX};
use crate::links::redial::{Goal, Redial, backoff};
use crate::message::AskKey;

/// A configured way in.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    target: SeedTarget,
    /// Who was found there.
    pub(super) peer: Option<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SeedTarget {
    Relay(RelayRef),
    Hint(PeerHint),
}

/// One thing to dial, with words for people.
pub(super) type Try = (DialTarget, String);

impl Agent {
    pub(super) fn plant_seeds(&mut self, now: Now) {
        for relay in self.settings.relays.clone() {
            self.seeds.push(Seed { target: SeedTarget::Relay(relay), peer: None });
        }
        for hint in self.settings.peers.clone() {
            self.plant_hint(now, hint);
        }
        self.seeds.truncate(SEEDS_MAX);
    }

    /// `false`: it was there already.
    pub(super) fn plant_hint(&mut self, now: Now, hint: PeerHint) -> bool {
        let target = SeedTarget::Hint(hint.clone());
        if self.seeds.iter().any(|seed| seed.target == target) {
            return false;
        }
        let peer = match &hint {
            PeerHint::Ticket { record, .. } => Some(record.node_id()),
            PeerHint::At { peer: Some(PeerRef::NodeId(id)), .. } => Some(*id),
            PeerHint::At { .. } => None,
        };
        self.seeds.push(Seed { target, peer });
        if let PeerHint::Ticket { record, .. } = hint
            && record.node_id() != self.me
            && record.check_lifetime(now).is_ok()
        {
            self.absorb(now, *record, None);
        }
        self.dirty = true;
        true
    }

    pub(super) fn seeds_of(&self, peer: NodeId) -> Vec<usize> {
        let theirs = self.seeds.iter().enumerate().filter(|(_, s)| s.peer == Some(peer));
        theirs.map(|(index, _)| index).collect()
    }

    pub(super) fn mark_seed_as_self(&mut self, id: LinkId) {
        let dial = self.links.link(id).and_then(|l| l.dial);
        if let Some(Goal::Seed(index)) = dial.and_then(|d| self.dials.get(&d)).copied() {
            self.seeds[index].peer = Some(self.me);
        }
    }

    /// Whether the peer on this link is the one that the hint behind its dial named.
    pub(super) fn is_expected(&self, peer: NodeId, id: LinkId) -> bool {
        let dial = self.links.link(id).and_then(|l| l.dial);
        match dial.and_then(|d| self.dials.get(&d)) {
            None | Some(Goal::Peer(_)) => true,
            Some(Goal::Main(expected) | Goal::Dht(expected)) => *expected == peer,
            Some(Goal::Seed(index)) => match &self.seeds[*index].target {
                SeedTarget::Relay(_) => true,
                SeedTarget::Hint(PeerHint::Ticket { record, .. }) => record.node_id() == peer,
                SeedTarget::Hint(PeerHint::At { peer: None, .. }) => true,
                SeedTarget::Hint(PeerHint::At { peer: Some(named), .. }) => {
                    self.answers_to(peer, named)
                }
            },
        }
    }

    fn answers_to(&self, peer: NodeId, named: &PeerRef) -> bool {
        match named {
            PeerRef::NodeId(id) => *id == peer,
            PeerRef::Address(address) => address.matches(&peer),
            PeerRef::Name(name) => match self.find_known(named) {
                Ok(id) => id == peer,
                Err(_) => {
                    let record = self.known.record(peer);
                    record.is_some_and(|r| r.name.as_ref() == Some(name))
                        || peer.to_string().starts_with(name.as_str())
                }
            },
        }
    }

    fn wanted(&self, now: Now) -> BTreeSet<Goal> {
        if !self.active() || self.own.record().is_none() {
            return BTreeSet::new();
        }
        let trusted: Vec<NodeId> = self.mutual_peers(now).collect();
        let lasting = trusted.iter().copied().take(TRUSTED_CONNECTED_MAX);
        let waited = self.waits.values().filter_map(super::waits::Wait::wants_link);
        let peers = lasting.chain(self.trust.undelivered(now)).chain(waited);
        let mut goals: BTreeSet<Goal> =
            peers.filter(|peer| *peer != self.me).map(Goal::Peer).collect();
        goals.extend((0..self.seeds.len()).map(Goal::Seed));
        let doors =
            trusted.iter().filter(|p| self.candidates.contains_key(p) && self.links.carries(**p));
        goals.extend(doors.map(|peer| Goal::Main(*peer)));
        goals
    }

    fn is_reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::Peer(peer) => self.links.carries(peer),
            Goal::Main(peer) => self.main_link(peer).is_some_and(|l| !l.pulse.is_doubted()),
            Goal::Dht(_) => true,
            Goal::Seed(index) => self.seeds[index]
                .peer
                .is_some_and(|peer| peer == self.me || self.links.carries(peer)),
        }
    }

    /// The link between both main doors; while there are two, the one heard last.
    pub(super) fn main_link(&self, peer: NodeId) -> Option<&crate::links::Link> {
        let endpoint = self.candidates.get(&peer)?.endpoint;
        let links = self.links.of(peer).filter(|l| l.main_here && l.remote == endpoint);
        links.max_by_key(|l| (!l.pulse.is_doubted(), l.is_confirmed(), l.pulse.heard))
    }

    pub(super) fn reconcile_goals(&mut self, now: Now) {
        let wanted = self.wanted(now);
        self.goals.retain(|goal, _| wanted.contains(goal));
        for goal in wanted {
            let patience = match goal {
                Goal::Main(peer) if self.me > peer => MAIN_PATIENCE,
                _ => Duration::ZERO,
            };
            let reached = self.is_reached(goal);
            let redial =
                self.goals.entry(goal).or_insert_with(|| Redial::due_at(now.mono.after(patience)));
            if reached {
                redial.on_reached();
            } else if redial.deadline().is_none() {
                redial.put_off(now.mono);
            }
            if self.goals[&goal].is_due(now.mono) {
                self.attempt(now, goal);
            }
        }
        self.promote_links(now);
        self.mark_idle(now);
    }

    fn attempt(&mut self, now: Now, goal: Goal) {
        let mut tries = match goal {
            Goal::Peer(peer) => self.ways_to(now, peer),
            Goal::Main(peer) => self.way_to_main(peer).into_iter().collect(),
            Goal::Seed(index) => self.ways_to_seed(now, index),
            Goal::Dht(_) => Vec::new(),
        };
        let redial = &self.goals[&goal];
        tries.retain(|(target, _)| !redial.is_flying(target));
        // Dials of the DHT have a bound of their own: trust never waits for them.
        let flying = self.dials.values().filter(|goal| !matches!(goal, Goal::Dht(_))).count();
        if flying + tries.len() > DIALS_MAX {
            let later = now.mono.after(self.chance.jitter(Duration::from_millis(100)));
            return self.with_goal(goal, |redial| redial.put_off(later));
        }
        let words: Vec<String> = tries.iter().map(|(_, words)| words.clone()).collect();
        let dials: Vec<_> = tries.into_iter().map(|(target, _)| self.dial(goal, target)).collect();
        let asked = match goal {
            Goal::Peer(peer) => self.look_up(now, &AskKey::NodeId(peer)),
            _ => false,
        };
        let wait = backoff(self.goals[&goal].failures() + 1);
        let wait = self.chance.jitter(wait);
        self.with_goal(goal, |redial| {
            redial.tried.extend(words);
            redial.tried.extend(asked.then(|| "its record, asked of neighbours".to_owned()));
            redial.on_attempt(now.mono, dials, wait);
        });
    }

    fn with_goal(&mut self, goal: Goal, change: impl FnOnce(&mut Redial)) {
        if let Some(redial) = self.goals.get_mut(&goal) {
            change(redial);
        }
    }

    pub(super) fn dial(&mut self, goal: Goal, target: DialTarget) -> (DialId, DialTarget) {
        self.next_dial += 1;
        let dial = DialId(self.next_dial);
        self.dials.insert(dial, goal);
        self.counters.dials += 1;
        debug!(attempt = dial.0, ?target, "dial");
        self.outputs.push_back(Output::Dial { dial, target: target.clone() });
        (dial, target)
    }

    /// Everything that may lead to a peer now.
    pub(super) fn ways_to(&self, now: Now, peer: NodeId) -> Vec<Try> {
        let trusted = self.trust.is_mutual(now, peer);
        let mut ways: Vec<Try> = Vec::new();
        let main = self.way_to_main(peer).filter(|_| trusted);
        let record = self.known.valid(now, peer);
        let same_endpoint = |r: &Record| {
            self.candidates.get(&peer).is_some_and(|c| c.endpoint == r.instance)
                && self.settings.main == self.settings.instance
        };
        let has_main = main.is_some();
        ways.extend(main);
        if let Some(record) = record.filter(|r| !(has_main && same_endpoint(r))) {
            ways.extend(self.ways_to_instance(record));
        }
        if let Some(direct) = self.last_addresses.get(&peer).filter(|_| trusted && !has_main) {
            ways.extend(sockets(direct));
        }
        ways
    }

    /// The instance that a record names. Over relays the front door dials, so that a stranger does not
    /// see where we are; without a relay there is only the direct way.
    fn ways_to_instance(&self, record: &Record) -> Option<Try> {
        let short = &record.instance.to_string()[..10];
        let hidden = !record.relays.is_empty() && self.has_relay();
        if record.relays.is_empty() && record.direct.is_empty() {
            return None;
        }
        let one_door = self.settings.main == self.settings.instance;
        let direct = if hidden && !one_door { Vec::new() } else { record.direct.clone() };
        let places: Vec<String> = record
            .relays
            .iter()
            .map(|r| r.url.clone())
            .chain(direct.iter().map(SocketAddr::to_string))
            .collect();
        let target = DialTarget::Endpoint {
            endpoint: record.instance,
            from: if hidden { Door::Front } else { Door::Main },
            relays: record.relays.clone(),
            direct,
        };
        Some((target, format!("its instance {short} at {}", places.join(", "))))
    }

    /// Whether relays carry our packets: those that answer now, or those that were chosen, which is
    /// reason enough not to show strangers our address.
    fn has_relay(&self) -> bool {
        !self.settings.relays.is_empty() || self.is_relayed()
    }

    /// A relay carries our packets now.
    pub(super) fn is_relayed(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| !facts.relays.is_empty())
    }

    fn way_to_main(&self, peer: NodeId) -> Option<Try> {
        let door = self.candidates.get(&peer)?;
        if door.direct.is_empty() && door.relays.is_empty() {
            return None;
        }
        let target = DialTarget::Endpoint {
            endpoint: door.endpoint,
            from: Door::Main,
            relays: door.relays.clone(),
            direct: door.direct.clone(),
        };
        Some((target, format!("its main door at {} addresses", door.direct.len())))
    }

    fn ways_to_seed(&self, now: Now, index: usize) -> Vec<Try> {
        match &self.seeds[index].target {
            SeedTarget::Relay(relay) => {
                vec![(DialTarget::Relay(relay.clone()), format!("the relay {}", relay.url))]
            }
            SeedTarget::Hint(PeerHint::At { direct, .. }) => sockets(direct).into_iter().collect(),
            SeedTarget::Hint(PeerHint::Ticket { record, direct }) => {
                let newest = self.known.valid(now, record.node_id());
                let way = newest.and_then(|r| self.ways_to_instance(r));
                way.into_iter().chain(sockets(direct)).collect()
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, now: Now, dial: DialId, error: &DialError) {
        debug!(attempt = dial.0, ?error, "dial failed");
        self.counters.dials_failed += 1;
        self.dial_came_to_nothing(now, dial);
    }

    pub(super) fn dial_came_to_nothing(&mut self, now: Now, dial: DialId) {
        self.dirty = true;
        let Some(goal) = self.dials.remove(&dial) else { return };
        if let Goal::Dht(peer) = goal {
            return self.on_dht_dial_failed(now, peer);
        }
        let Some(redial) = self.goals.get(&goal) else { return };
        if redial.owns(dial) {
            let wait = self.chance.jitter(backoff(redial.failures() + 1));
            self.with_goal(goal, |redial| redial.on_failed(now.mono, dial, wait));
        }
    }

    pub(super) fn on_dial_landed(&mut self, dial: DialId, peer: NodeId) {
        let Some(goal) = self.dials.remove(&dial) else { return };
        self.with_goal(goal, |redial| redial.on_landed(dial));
        if let Goal::Seed(index) = goal {
            self.seeds[index].peer = Some(peer);
            self.dirty = true;
            if let Some(write) = self.write_record_of(peer) {
                self.persist(vec![write]);
            }
        }
    }

    pub(super) fn on_goal_lost(&mut self, now: Now, goal: Goal, was_stable: bool) {
        let Some(redial) = self.goals.get(&goal) else { return };
        let wait = self.chance.jitter(backoff(redial.failures() + 1));
        self.with_goal(goal, |redial| redial.on_lost(now.mono, was_stable, wait));
    }

    /// A user waits for this peer: no pause, unless an attempt is on its way already.
    pub(super) fn hurry(&mut self, now: Mono, peer: NodeId) {
        self.with_goal(Goal::Peer(peer), |redial| {
            if !redial.has_fresh_dials(now) {
                redial.hurry(now);
            }
        });
    }

    pub(super) fn hurry_everything(&mut self, now: Now) {
        for redial in self.goals.values_mut() {
            redial.doubt_flights();
            redial.hurry(now.mono);
        }
        self.dirty = true;
    }

    /// Some configured way in has not been tried to its end yet: neighbours may still come up.
    pub(super) fn is_joining(&self) -> bool {
        self.active()
            && (0..self.seeds.len()).any(|index| {
                let redial = self.goals.get(&Goal::Seed(index));
                !self.is_reached(Goal::Seed(index)) && redial.is_none_or(|r| !r.seasoned)
            })
    }

    /// Nothing is under way to this peer, and there is nothing to try.
    pub(super) fn is_hopeless(&self, now: Now, peer: NodeId) -> bool {
        let tried = |goal: Goal| self.goals.get(&goal).is_none_or(Redial::is_idle);
        let seeds = self.seeds_of(peer);
        !self.links.is_connected(peer)
            && tried(Goal::Peer(peer))
            && seeds.is_empty()
            && self.ways_to(now, peer).is_empty()
            && !self.resolver.is_flying(&AskKey::NodeId(peer))
            && !self.is_joining()
            && self.own.record().is_some()
    }
}

fn sockets(direct: &[SocketAddr]) -> Option<Try> {
    let words: Vec<String> = direct.iter().map(SocketAddr::to_string).collect();
    let target = DialTarget::Sockets { direct: direct.to_vec() };
    (!direct.is_empty()).then(|| (target, format!("its last addresses {}", words.join(", "))))
}
