//! How DHT messages reach their peers: over any proven link, or over a *brief* one that is dialled for
//! them.
//!
//! ```text
//! Send ──a link of that node stands──► Message::Dht
//!   └──none──► call: queue ≤ 8, dial as `Goal::Dht` ──proven, same node ID──► the queue leaves
//!                                └──2.5 s, refused, another identity──► PeerGone
//! ```
//! A brief link is not probed (the DHT has timeouts of its own), is nobody's neighbour, shows in no
//! list of peers and notifies nobody. It becomes an ordinary link when anything else here wants the peer.
//! Answers never dial: whoever asked has a link, or has gone. Not here: what is said.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use homing_base::{InstanceId, Mono, NodeId, Now};
use tracing::debug;

use super::Agent;
use super::dialing::Try;
use super::finding::envelope;
use crate::dht::{Body, Class, Contact, DhtInput, Reach, wire};
use crate::io::{DialTarget, Door, Event, LinkId};
use crate::limits::{
    DHT_CALLS_MAX, DHT_DIAL_PATIENCE, DHT_DIALS_MAX, DHT_DIALS_OPEN_MAX, DHT_LINK_IDLE,
    DHT_LINK_SILENCE, DHT_LINKS_INBOUND_MAX, DHT_LINKS_MAX, DHT_QUEUE_MAX, DHT_UNREACHABLE,
    DHT_UNREACHABLE_MAX,
};
use crate::links::Link;
use crate::links::redial::Goal;
use crate::message::{ByeReason, Message};

/// A peer that is to be dialled, and what is to be said then.
#[derive(Debug)]
struct Call {
    contact: Contact<Reach>,
    queue: VecDeque<Message>,
    since: Mono,
    /// Dials that have not ended; `None`: not begun.
    dials: Option<usize>,
    class: Class,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<NodeId, Call>,
    /// Instances that could not be reached a moment ago.
    unreachable: BTreeMap<NodeId, (InstanceId, Mono)>,
}

impl Calls {
    fn begun(&self) -> usize {
        self.open.values().filter(|c| c.dials.is_some()).count()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.open.values().map(|c| c.since.after(DHT_DIAL_PATIENCE)).min()
    }

    fn is_unreachable(&self, now: Mono, contact: &Contact<Reach>) -> bool {
        self.unreachable.get(&contact.id).is_some_and(|(instance, at)| {
            *instance == contact.place.instance && now.since(*at) < DHT_UNREACHABLE
        })
    }

    /// Whoever has nobody left asks everybody again.
    pub(super) fn forget_unreachable(&mut self) {
        self.unreachable.clear();
    }

    fn remember_unreachable(&mut self, now: Mono, contact: &Contact<Reach>) {
        if self.unreachable.len() >= DHT_UNREACHABLE_MAX {
            self.unreachable.retain(|_, (_, at)| now.since(*at) < DHT_UNREACHABLE);
        }
        if self.unreachable.len() < DHT_UNREACHABLE_MAX {
            self.unreachable.insert(contact.id, (contact.place.instance, now));
        }
    }

    /// Whom to dial next: commands before upkeep, then whoever waits longest.
    fn next(&self) -> Option<NodeId> {
        let waiting = self.open.iter().filter(|(_, c)| c.dials.is_none());
        let first = waiting.min_by_key(|(id, c)| (c.class != Class::Command, c.since, **id));
        first.map(|(id, _)| *id)
    }
}

impl Agent {
    pub(super) fn carry_dht(
        &mut self,
        now: Now,
        to: Contact<Reach>,
        message: &wire::RealMessage,
        class: Class,
    ) {
        let expects = !message.body.is_answer() && !matches!(message.body, Body::Leaving);
        let envelope = envelope(message);
        if let Some(id) = self.dht_link(to.id) {
            return self.send_dht(now, id, envelope, expects);
        }
        if !expects {
            self.counters.dht_undelivered += 1;
            return;
        }
        self.call(now, to, envelope, class);
    }

    /// The link to use: the best of those whose peer takes part.
    fn dht_link(&self, peer: NodeId) -> Option<LinkId> {
        let links = self.links.of(peer).filter(|l| l.dht.is_some());
        let best = links.max_by_key(|l| (!l.brief, l.is_confirmed(), l.pulse.heard, l.id));
        best.map(|l| l.id)
    }

    fn send_dht(&mut self, now: Now, id: LinkId, message: Message, expects: bool) {
        if let Some(link) = self.links.link_mut(id) {
            link.dht_sent = now.mono;
            if expects && link.brief {
                let since = *link.dht_waits.get_or_insert(now.mono);
                self.wake_by(since.after(DHT_LINK_SILENCE));
            }
        }
        self.send(id, message);
    }

    fn call(&mut self, now: Now, to: Contact<Reach>, message: Message, class: Class) {
        let takes_no_part = self.links.is_connected(to.id);
        let Some(finding) = self.finding() else { return };
        let peer = to.id;
        let calls = &mut finding.calls;
        if let Some(call) = calls.open.get_mut(&peer) {
            if call.queue.len() < DHT_QUEUE_MAX {
                call.queue.push_back(message);
                return finding.tell(DhtInput::Dialling { peer });
            }
            self.counters.dht_undelivered += 1;
            return;
        }
        let full = calls.open.len() >= DHT_CALLS_MAX;
        if takes_no_part || full || calls.is_unreachable(now.mono, &to) {
            finding.tell(DhtInput::PeerGone { peer });
            self.counters.dht_undelivered += 1;
            return;
        }
        let queue = VecDeque::from([message]);
        let call = Call { contact: to, queue, since: now.mono, dials: None, class };
        calls.open.insert(peer, call);
        finding.tell(DhtInput::Dialling { peer });
        self.begin_calls(now);
    }

    /// Dials for calls that wait, as far as the bounds allow.
    fn begin_calls(&mut self, now: Now) {
        loop {
            let open = self.dials.values().filter(|g| matches!(g, Goal::Dht(_))).count();
            let Some(finding) = self.finding() else { return };
            if finding.calls.begun() >= DHT_DIALS_MAX || open >= DHT_DIALS_OPEN_MAX {
                return;
            }
            let Some(peer) = finding.calls.next() else { return };
            let contact = finding.calls.open[&peer].contact.clone();
            let ways = self.ways_to_contact(now, &contact);
            for (target, _) in &ways {
                self.dial(Goal::Dht(peer), target.clone());
            }
            let Some(finding) = self.finding() else { return };
            if let Some(call) = finding.calls.open.get_mut(&peer) {
                call.dials = Some(ways.len());
            }
            if ways.is_empty() {
                self.give_up_call(now, peer);
            }
        }
    }

    /// How to reach a contact without showing a stranger more of us than any other dial would.
    fn ways_to_contact(&self, now: Now, contact: &Contact<Reach>) -> Vec<Try> {
        let place = &contact.place;
        let one_door = self.settings.main == self.settings.instance;
        let hides = !one_door && !self.trust.is_mutual(now, contact.id);
        if let Some(record) = self.known.valid(now, contact.id)
            && record.instance == place.instance
        {
            let mut ways = self.ways_to(now, contact.id);
            ways.retain(|(target, _)| !hides || comes_from_front(target));
            return ways;
        }
        let relays: Vec<_> = place.relay.iter().map(|r| r.as_ref().clone()).collect();
        // Whoever hides its own address asks those behind relays only; see `dht_errands`.
        let direct: Vec<_> = place.direct.into_iter().filter(|_| !hides).collect();
        let mut ways = Vec::new();
        if relays.is_empty() && direct.is_empty() {
            return ways;
        }
        let from = if hides { Door::Front } else { Door::Main };
        let endpoint = place.instance;
        let target = DialTarget::Endpoint { endpoint, from, relays, direct: direct.clone() };
        ways.push((target, "its place in the DHT".to_owned()));
        // Whoever restarted while we were away has another key at the same address.
        let alone = self.finding.as_deref().is_some_and(|f| f.dht.table().is_empty());
        if alone && one_door && !direct.is_empty() {
            ways.push((DialTarget::Sockets { direct }, "its last address".to_owned()));
        }
        ways
    }

    /// A dial for the DHT ended without the link that was wanted.
    pub(super) fn on_dht_dial_failed(&mut self, now: Now, peer: NodeId) {
        let Some(finding) = self.finding() else { return };
        let Some(call) = finding.calls.open.get_mut(&peer) else { return };
        let left = call.dials.map_or(0, |n| n.saturating_sub(1));
        call.dials = Some(left);
        if left == 0 {
            self.give_up_call(now, peer);
            self.begin_calls(now);
        }
        self.pump_dht(now);
    }

    fn give_up_call(&mut self, now: Now, peer: NodeId) {
        let Some(finding) = self.finding() else { return };
        let Some(call) = finding.calls.open.remove(&peer) else { return };
        finding.calls.remember_unreachable(now.mono, &call.contact);
        finding.tell(DhtInput::PeerGone { peer });
        self.counters.dht_undelivered += call.queue.len() as u64;
        debug!(peer = %peer.fmt_short(), "a DHT contact cannot be reached");
    }

    /// Calls that took too long are given up, those that waited for their turn begin.
    pub(super) fn tend_calls(&mut self, now: Now) {
        let Some(finding) = self.finding() else { return };
        let late = |c: &Call| now.mono.since(c.since) >= DHT_DIAL_PATIENCE;
        let over: Vec<NodeId> =
            finding.calls.open.iter().filter(|(_, c)| late(c)).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|peer| self.give_up_call(now, peer));
        self.begin_calls(now);
    }

    /// A link of this peer was proven: what waited for it leaves.
    pub(super) fn on_dht_link(&mut self, now: Now, id: LinkId, peer: NodeId) {
        let takes_part = self.links.link(id).is_some_and(|l| l.dht.is_some());
        let Some(finding) = self.finding() else { return };
        finding.calls.unreachable.remove(&peer);
        let Some(call) = finding.calls.open.remove(&peer) else { return };
        if !takes_part {
            finding.tell(DhtInput::PeerGone { peer });
            self.counters.dht_undelivered += call.queue.len() as u64;
            return;
        }
        finding.tell(DhtInput::Connected { peer });
        for message in call.queue {
            self.send_dht(now, id, message, true);
        }
    }

    /// Where a link's peer is has changed, or is known for the first time.
    pub(super) fn note_place(&mut self, peer: NodeId, instance: InstanceId, place: &Reach) {
        let ids = self.links.ids_of(peer);
        for id in ids {
            let link = self.links.link_mut(id).filter(|l| l.proven.is_some());
            if let Some(link) = link
                && link.proven.is_some_and(|p| p.instance == instance)
            {
                link.place = Some(place.clone());
            }
        }
        if let Some(finding) = self.finding() {
            let contact = Contact { id: peer, place: place.clone() };
            finding.tell(DhtInput::Moved { contact });
        }
    }

    // ---- brief links

    /// Whether a dial was made for the DHT only.
    pub(super) fn is_dht_dial(&self, link: &Link) -> bool {
        let goal = link.dial.and_then(|dial| self.dials.get(&dial));
        matches!(goal, Some(Goal::Dht(_)))
    }

    /// Something else here wants the peer of a brief link: it is probed and shown from now on.
    pub(super) fn promote_links(&mut self, now: Now) {
        let wanted = |link: &&Link| {
            let peer = link.peer().filter(|_| link.brief);
            peer.is_some_and(|p| {
                self.goals.contains_key(&Goal::Peer(p)) || !self.seeds_of(p).is_empty()
            })
        };
        let promoted: Vec<(LinkId, NodeId)> =
            self.links.iter().filter(wanted).filter_map(|l| Some((l.id, l.peer()?))).collect();
        for (id, peer) in promoted {
            let is_first = !self.links.has_lasting(peer);
            if let Some(link) = self.links.link_mut(id) {
                link.brief = false;
                self.referring.peers_changed();
                link.pulse.forgive(now.mono);
            }
            if is_first {
                self.notify(Event::PeerConnected { peer, link: id });
            }
            self.ask_new_neighbour(now, id, peer);
        }
    }

    /// When a brief link is to be closed.
    pub(super) fn brief_deadline(link: &Link) -> Mono {
        let patience = if link.dial.is_some() { DHT_LINK_IDLE } else { 2 * DHT_LINK_IDLE };
        let silent = link.dht_waits.map_or(Mono::MAX, |at| at.after(DHT_LINK_SILENCE));
        link.dht_used().after(patience).min(silent)
    }

    /// The bounds of brief links: the one that was of use longest ago makes room.
    pub(super) fn trim_dht_links(&mut self, now: Now) {
        for (dialled, max) in [(true, DHT_LINKS_MAX), (false, DHT_LINKS_INBOUND_MAX)] {
            let brief = |l: &&Link| l.brief && l.proven.is_some() && l.dial.is_some() == dialled;
            let mut links: Vec<(Mono, LinkId)> = self
                .links
                .iter()
                .filter(brief)
                .filter(|l| l.dht_waits.is_none())
                .map(|l| (l.dht_used(), l.id))
                .collect();
            if links.len() <= max {
                continue;
            }
            links.sort_unstable();
            let surplus = links.len() - max;
            for (_, id) in links.into_iter().take(surplus) {
                self.close(now, id, ByeReason::Idle);
            }
        }
    }
}

fn comes_from_front(target: &DialTarget) -> bool {
    matches!(target, DialTarget::Endpoint { from: Door::Front, .. })
}
