//! Gossip as this agent uses it: with whom, what goes out, and what becomes of what comes in.
//!
//! ```text
//! own record, Command::Offer ──► Publish ─┐                 ┌─► Persist   table gossip_entries
//! Message::Gossip ────────────────────────┼─► Gossip ─► pump┼─► Send      over the best link
//! links and trust: PeerUp, PeerDown ──────┘                 └─► Heard     to whoever lists records
//! ```
//! Two agents gossip when they trust each other or one of them serves the public. A record that
//! concerns this agent, or is being looked for, also takes the door of all records
//! ([`super::publishing`]); the others stay in the table of gossip until somebody asks. Not here:
//! the order of the layers ([`super::lookups`]), the protocol ([`crate::gossip`]).

use std::collections::BTreeSet;

use homing_base::{Address, Mono, NodeId, Now, Record};
use tracing::debug;

use super::Agent;
use crate::dht::{DhtCommand, Slot};
use crate::gossip::{Config, Gossip, GossipInput, GossipOutput, wire};
use crate::io::{
    Answer, Batch, Event, Failure, GossipSettings, GossipView, LinkId, Output, Settings, Write,
};
use crate::limits::ANSWER_RECORDS_MAX;
use crate::message::{AskKey, Message};

/// This agent's part of gossip.
pub(super) struct Gossiping {
    gossip: Gossip<Record>,
    /// Peers that gossip was told of.
    up: BTreeSet<NodeId>,
}

impl Gossiping {
    pub(super) fn new(
        settings: &Settings,
        me: NodeId,
        stored: Vec<(Record, bool)>,
        seed: [u8; 32],
        now: Now,
    ) -> Option<Box<Self>> {
        let GossipSettings { round } = settings.gossip?;
        let usual = Config::of(settings.public);
        let round_restless = usual.round_restless.min(round);
        let config = Config { round, round_restless, ..usual };
        let mut gossip = Gossip::new(config, me, seed, now);
        gossip.restore(now, stored.into_iter().filter(|(record, _)| record.node_id() != me));
        Some(Box::new(Self { gossip, up: BTreeSet::new() }))
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.gossip.next_wakeup()
    }
}

impl Agent {
    /// Gossip, while this agent may take part.
    fn gossiping(&mut self) -> Option<&mut Gossiping> {
        let active = self.active();
        self.gossiping.as_deref_mut().filter(|_| active)
    }

    fn tell_gossip(&mut self, now: Now, input: GossipInput<Record>) {
        if let Some(gossiping) = self.gossiping() {
            gossiping.gossip.handle(now, input);
            self.pump_gossip(now);
        }
    }

    // ---- with whom

    /// The link over which `peer` gossips with us, if it may.
    fn gossip_link(&self, now: Now, peer: NodeId) -> Option<LinkId> {
        let may =
            self.settings.public || self.is_neighbour(peer) || self.trust.is_mutual(now, peer);
        let main = self.candidates.get(&peer).map(|door| door.endpoint);
        let link = self.links.best(peer, main).filter(|_| may && self.links.has_lasting(peer))?;
        (!link.brief && link.told.record.is_some()).then_some(link.id)
    }

    /// Tells gossip whose links came and went, and that time has passed.
    pub(super) fn tend_gossip(&mut self, now: Now) {
        if self.gossiping().is_none() {
            return;
        }
        let peers: Vec<NodeId> = self.links.peers().collect();
        let up: BTreeSet<NodeId> =
            peers.into_iter().filter(|peer| self.gossip_link(now, *peer).is_some()).collect();
        let Some(gossiping) = self.gossiping() else { return };
        let before = std::mem::replace(&mut gossiping.up, up.clone());
        for peer in before.difference(&up) {
            gossiping.gossip.handle(now, GossipInput::PeerDown { peer: *peer });
        }
        for peer in up.difference(&before) {
            gossiping.gossip.handle(now, GossipInput::PeerUp { peer: *peer });
        }
        if gossiping.deadline().is_some_and(|at| at <= now.mono) {
            gossiping.gossip.handle(now, GossipInput::Wakeup);
        }
        self.pump_gossip(now);
    }

    pub(super) fn on_gossip_message(&mut self, now: Now, id: LinkId, peer: NodeId, bytes: &[u8]) {
        let is_up = |g: &mut Gossiping| g.up.contains(&peer);
        if !self.gossiping().is_some_and(is_up) {
            // Trust, or the greeting, may be a moment old.
            self.tend_gossip(now);
        }
        if !self.gossiping().is_some_and(is_up) {
            self.counters.gossip_ignored += 1;
            return;
        }
        match wire::decode(bytes) {
            Ok(message) => self.tell_gossip(now, GossipInput::Message { from: peer, message }),
            Err(_) => {
                self.counters.gossip_shed += 1;
                self.on_garbage(now, id);
            }
        }
    }

    // ---- what goes out

    /// A new own record is told.
    pub(super) fn publish_in_gossip(&mut self, now: Now) {
        if let Some(record) = self.own.record().cloned() {
            self.tell_gossip(now, GossipInput::Publish(record));
        }
    }

    /// A registry on this node accepted a record: it is told and stored like our own.
    pub(super) fn offer(&mut self, now: Now, record: Record) -> Result<Answer, Failure> {
        record.check_lifetime(now).map_err(|error| Failure::Invalid(error.to_string()))?;
        if self.gossiping().is_none() && self.finding().is_none() {
            return Err(Failure::Disabled { what: "gossip and the DHT" });
        }
        let known = self.gossiped(&record.node_id()).is_some_and(|known| *known == record);
        if self.is_related(record.node_id()) {
            self.absorb(now, record.clone(), None);
        }
        if let Some(finding) = self.finding() {
            let name = record.name.as_ref().map(Slot::name);
            for slot in [Some(Slot::agent(record.node_id())), name].into_iter().flatten() {
                let put = DhtCommand::Put { slot, value: record.clone().into(), keep: false };
                finding.want(super::finding::Want::Nothing, put);
            }
            self.pump_dht(now);
        }
        self.tell_gossip(now, GossipInput::Publish(record));
        Ok(Answer::Done { changed: !known })
    }

    // ---- what comes out

    fn pump_gossip(&mut self, now: Now) {
        let mut batch = Batch::new();
        while let Some(output) = self.gossiping().and_then(|g| g.gossip.poll_output()) {
            match output {
                GossipOutput::Persist { value, local } if value.node_id() != self.me => {
                    batch.push(Write::GossipEntry { record: value, local });
                }
                GossipOutput::Persist { .. } => {}
                GossipOutput::Forget(peer) => batch.push(Write::ForgetGossip(peer)),
                GossipOutput::Send { to, message } => {
                    // What was taken is durable before anybody hears of it from us.
                    self.persist(std::mem::take(&mut batch));
                    if let Some(link) = self.gossip_link(now, to) {
                        self.send(link, Message::Gossip(wire::encode(&message)));
                    }
                }
                GossipOutput::Accepted { value, from, hops, .. } => {
                    self.on_heard(now, value, from, hops);
                }
                GossipOutput::Equivocation { kept, other } => {
                    let (peer, sequence) = (kept.node_id(), kept.sequence);
                    self.notify(Event::Equivocation { peer, sequence });
                    batch.push(Write::Evidence { first: kept, second: other });
                }
                GossipOutput::Muted { peer } => self.on_muted(now, peer),
            }
        }
        self.persist(batch);
        if let Some(at) = self.gossiping.as_deref().and_then(Gossiping::deadline) {
            self.wake_by(at);
        }
    }

    fn on_heard(&mut self, now: Now, record: Record, from: NodeId, hops: u8) {
        let peer = record.node_id();
        debug!(peer = %peer.fmt_short(), seq = record.sequence.0, hops, "record heard");
        if peer == self.me {
            return self.on_own_seen(now, &record);
        }
        self.outputs.push_back(Output::Heard { record: Box::new(record.clone()), from, hops });
        let by_name = record.name.clone().filter(|_| !record.is_withdrawn()).map(AskKey::Name);
        let by_id = [AskKey::NodeId(peer), AskKey::Address(Address::of(&peer).prefix())];
        let mut sought: Vec<AskKey> = by_id.into_iter().chain(by_name).collect();
        sought.retain(|key| self.resolver.is_flying(key) && self.is_answer(key, &record));
        if self.is_related(peer) || !sought.is_empty() {
            sought.iter().for_each(|key| self.resolver.on_gossip(key));
            self.absorb(now, record, None);
        }
    }

    fn on_muted(&mut self, now: Now, peer: NodeId) {
        if let Some(link) = self.gossip_link(now, peer) {
            let what = "gossiped forged records".to_owned();
            self.notify(Event::Misbehaviour { link, what });
        }
    }

    // ---- questions

    fn gossiped(&self, peer: &NodeId) -> Option<&Record> {
        let entry = self.gossiping.as_deref()?.gossip.table().current(self.last, peer)?;
        Some(&entry.value)
    }

    /// Records in the table of gossip that answer `key`, tombstones left out.
    pub(super) fn gossiped_about(&self, key: &AskKey) -> Vec<Record> {
        let Some(gossiping) = self.gossiping.as_deref().filter(|_| self.active()) else {
            return Vec::new();
        };
        let table = gossiping.gossip.table();
        let ids = match key {
            AskKey::NodeId(id) => vec![*id],
            AskKey::Address(prefix) => {
                table.by_address(&Address::from_prefix(*prefix)).into_iter().collect()
            }
            AskKey::Name(name) => table.claimants(self.last, name),
        };
        let records = ids.iter().filter_map(|id| self.gossiped(id));
        let live = records.filter(|r| !r.is_withdrawn() && r.node_id() != self.me);
        live.take(ANSWER_RECORDS_MAX).cloned().collect()
    }

    /// What gossip brought here answers a lookup. Whether it does; what it knew is then known here.
    pub(super) fn find_in_gossip(&mut self, now: Now, key: &AskKey) -> bool {
        let records = self.gossiped_about(key);
        let found = records.iter().any(|record| self.is_answer(key, record));
        if found {
            self.resolver.on_gossip(key);
        }
        records.into_iter().for_each(|record| self.absorb(now, record, None));
        found
    }

    pub(super) fn view_of_gossip(&self) -> Option<GossipView> {
        let gossiping = self.gossiping.as_deref()?;
        let table = gossiping.gossip.table();
        let (peers, eager) = gossiping
            .gossip
            .peers()
            .fold((0, 0), |(all, eager), (_, is_eager)| (all + 1, eager + usize::from(is_eager)));
        Some(GossipView {
            entries: table.len(),
            entry_bytes: table.bytes(),
            depth: table.depth(),
            peers,
            eager,
            changed: gossiping.gossip.changed(),
            stats: *gossiping.gossip.stats(),
        })
    }

    pub(super) fn gossip_after(&self, after: Option<NodeId>, max: usize) -> Vec<Record> {
        let Some(gossiping) = self.gossiping.as_deref() else { return Vec::new() };
        let all = gossiping.gossip.table().iter_after(after);
        let live = all.filter(|(_, entry)| entry.value.expires > self.last.wall);
        live.take(max).map(|(_, entry)| entry.value.clone()).collect()
    }
}
