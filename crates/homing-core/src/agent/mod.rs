//! One agent: the only place where two protocols meet.
//!
//! ```text
//! Input ─► greeting   LinkUp, Hello, LinkDown, Bye, duplicates, liveness
//!       ─► messages   what proven peers (and strangers) may say
//!       ─► trusting   statements, and what follows when trust begins or ends
//!       ─► restoring  the same for a run that has its key and nothing else
//!       ─► publishing the own record, others' records, watchers, giving way
//!       ─► lookups    references: the layers in their order
//!       ─► finding    the DHT; dht_links carries its messages, dht_joining enters it and takes a
//!       │             role, dht_errands acts for those who may not be seen
//!       ─► gossiping with whom to gossip, what to tell, what to do with what is heard
//!       ─► messaging messages between agents: who may, over which link
//!       ─► witnessing the audit log's witnesses, and being one
//!       ─► auditing   what of all this goes into the audit log
//!       ─► referring  references: to whom they are shown, and the DHT
//!       ─► commands   what the local user wants; waits for what takes time
//!       ─► dialing    who should be connected, and the attempts to get there
//!                        └─► Outputs, in order; views: reads without effect
//! ```
//! After every input `Agent::settle` does whatever has become due, and computes the next wakeup.

mod auditing;
mod commands;
mod dht_errands;
mod dht_joining;
mod dht_links;
mod dialing;
mod finding;
mod gossiping;
mod greeting;
mod lookups;
mod messages;
mod messaging;
mod predicting;
mod publishing;
mod referring;
mod restoring;
#[cfg(test)]
mod tests;
mod trusting;
mod views;
mod waits;
mod witnessing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use homing_base::{
    IdentityKey, InstanceId, Mono, Name, NodeId, Now, Record, RelayRef, StatementKind, Wall,
};

use crate::chance::Chance;
use crate::io::{
    Batch, DialId, EndpointFacts, Event, Failure, Input, LinkId, Output, PeerRef, RequestId,
    Settings, Stored, Write,
};
use crate::limits::{
    EXPIRY_RECHECK, LATE_MAX, RECORDS_PRIVATE_MAX, RECORDS_PUBLIC_MAX, RECORDS_SWEEP,
};
use crate::links::admission::Admission;
use crate::links::redial::{Goal, Redial};
use crate::links::{Links, hello};
use crate::message::{ByeReason, Message, Network};
use crate::names::Names;
use crate::records::known::Known;
use crate::records::own::Own;
use crate::resolve::Resolver;
use crate::trust::Trust;
use crate::view::{Counters, DhtView, GossipView, PeerView};
use dialing::Seed;
use finding::Finding;
use gossiping::Gossiping;
use messaging::Messaging;
use referring::Referring;
use restoring::Restoring;
use waits::Wait;

/// One agent. See the crate's documentation for the contract.
pub struct Agent {
    settings: Settings,
    key: IdentityKey,
    me: NodeId,
    facts: Option<EndpointFacts>,
    /// Binds the main door's endpoint to this run; `None`: one door.
    main_proof: Option<Vec<u8>>,
    own: Own,
    known: Known,
    trust: Trust,
    names: Names,
    links: Links,
    admission: Admission,
    candidates: BTreeMap<NodeId, MainDoor>,
    goals: BTreeMap<Goal, Redial>,
    dials: BTreeMap<DialId, Goal>,
    next_dial: u64,
    seeds: Vec<Seed>,
    resolver: Resolver,
    /// `None`: this agent takes no part in the DHT.
    finding: Option<Box<Finding>>,
    /// `None`: this agent does not gossip.
    gossiping: Option<Box<Gossiping>>,
    messaging: Box<Messaging>,
    referring: Box<Referring>,
    ports: Box<crate::ports::Ports>,
    waits: BTreeMap<RequestId, Wait>,
    /// `None`: this run began with what earlier ones knew, or has nobody to ask.
    restoring: Option<Box<Restoring>>,
    last_addresses: BTreeMap<NodeId, Vec<SocketAddr>>,
    last_seen: BTreeMap<NodeId, Wall>,
    outputs: VecDeque<Output>,
    counters: Counters,
    chance: Chance,
    wakeup: Option<Mono>,
    /// The clocks at the last input, to notice sleep.
    last: Now,
    /// Something changed that [`Agent::settle`] must look at.
    dirty: bool,
    stopped: bool,
    drained: bool,
    clock_event_at: Option<Mono>,
    swept_at: Mono,
    /// Whose logs this node cosigns, and who cosigns its own.
    witness: Box<crate::audit::witness::Witness>,
    /// Digest of the endpoints that the audit log has newest.
    audited_endpoints: Option<crate::audit::Hash>,
}

/// What a trusted peer told about its main door.
#[derive(Clone, Debug)]
struct MainDoor {
    endpoint: InstanceId,
    direct: Vec<SocketAddr>,
    relays: Vec<RelayRef>,
    network: Network,
    port_prediction: bool,
}

impl Agent {
    /// An agent with the state of its earlier runs; `seed` feeds its jitter and tokens.
    #[must_use]
    pub fn new(
        settings: Settings,
        key: IdentityKey,
        stored: Stored,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let me = key.node_id();
        let mut own = Own::new(now, &settings, stored.own_record.as_ref());
        // A revocation raises the floor even if no record was ever published with it.
        let revocations = stored.statements.iter().filter(|s| s.kind == StatementKind::Revoke);
        own.raise_floor(revocations.filter(|s| s.from == key.public()).map(|s| s.issued).max());
        let lost_store = stored.own_record.is_none() && stored.statements.is_empty();
        let witness = crate::audit::witness::Witness::new(&key, stored.heads, stored.forks.clone());
        let witness = Box::new(witness);
        let audited_endpoints =
            stored.own_record.as_ref().map(|record| crate::audit::entry::endpoints_digest(record));
        let joins = !settings.relays.is_empty() || !settings.peers.is_empty();
        let records_max = if settings.public { RECORDS_PUBLIC_MAX } else { RECORDS_PRIVATE_MAX };
        let two_doors = settings.main != settings.instance;
        let mut chance = Chance::new(seed);
        let dht_seed = chance.bytes();
        let finding = Finding::new(&settings, me, stored.dht_contacts, dht_seed, now);
        let gossiping = settings.gossip.is_some().then(|| chance.bytes());
        let gossiping =
            gossiping.and_then(|seed| Gossiping::new(&settings, me, stored.gossip, seed, now));
        let messaging = Messaging::new(me, stored.messages, chance.bytes(), now);
        let seed = chance.bytes();
        let referring = Referring::new(&settings, &key, stored.references, seed, now);
        let seed = if settings.port_prediction { chance.bytes() } else { [0; 32] };
        let ports = Box::new(crate::ports::Ports::new(seed));
        let mut agent = Self {
            main_proof: two_doors
                .then(|| hello::sign_proof(&key, settings.instance, settings.main)),
            me,
            facts: None,
            own,
            known: Known::new(
                stored.records.into_iter().filter(|r| r.node_id() != me).collect(),
                records_max,
            ),
            trust: Trust::new(now, me, stored.statements),
            names: Names::new(stored.aliases, stored.pins),
            links: Links::default(),
            admission: Admission::default(),
            candidates: BTreeMap::new(),
            goals: BTreeMap::new(),
            dials: BTreeMap::new(),
            next_dial: 0,
            seeds: Vec::new(),
            resolver: Resolver::default(),
            finding,
            gossiping,
            messaging,
            referring,
            ports,
            waits: BTreeMap::new(),
            restoring: (lost_store && joins).then(|| Box::new(Restoring::new(now))),
            last_addresses: stored.last_addresses.into_iter().collect(),
            last_seen: stored.last_seen.into_iter().collect(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            chance,
            wakeup: None,
            last: now,
            dirty: true,
            stopped: false,
            drained: false,
            clock_event_at: None,
            swept_at: now.mono,
            audited_endpoints,
            witness,
            settings,
            key,
        };
        agent.plant_seeds(now);
        for fork in stored.forks {
            if let Some((owner, _)) = crate::audit::witness::proves_fork(&fork) {
                agent.notify(Event::LogForked { owner });
            }
        }
        agent.begin_restoring(now);
        agent.wakeup = agent.earliest_deadline(now);
        agent
    }

    /// Decides about one input; the results wait in [`Agent::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        self.notice_sleep(now);
        match input {
            Input::LinkUp(up) => self.on_link_up(now, up),
            Input::LinkDown { link, reason } => self.on_link_down(now, link, &reason),
            Input::Message { link, message } => self.on_message(now, link, *message),
            Input::Garbage { link } => self.on_garbage(now, link),
            Input::DialFailed { dial, error } => self.on_dial_failed(now, dial, &error),
            Input::Endpoint(facts) => self.on_facts(now, *facts),
            Input::Command { request, command } => self.on_command(now, request, command),
            Input::Audit(news) => self.on_log_news(now, *news),
            Input::Ports(news) => self.on_port_news(now, news),
            Input::Wakeup => {}
        }
        if self.dirty || self.wakeup.is_some_and(|at| at <= now.mono) {
            self.settle(now);
        }
    }

    /// The next thing to do, in order; `None`: wait for [`Agent::next_wakeup`] or an input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Agent::handle`] with [`Input::Wakeup`] at the latest.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.wakeup
    }

    /// Who this is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.me
    }

    /// The newest own record of this run; `None` before its first publication.
    #[must_use]
    pub fn own_record(&self) -> Option<&Record> {
        self.own.record()
    }

    /// The newer instance of this identity, if one runs elsewhere.
    #[must_use]
    pub fn superseded_by(&self) -> Option<InstanceId> {
        self.own.superseded().map(|r| r.instance)
    }

    /// Every peer with a relation or a link, by node ID.
    #[must_use]
    pub fn peers(&self, now: Now) -> Vec<PeerView> {
        self.peer_views(now)
    }

    /// One identity, whether there is a relation with it or not.
    #[must_use]
    pub fn peer(&self, now: Now, peer: NodeId) -> PeerView {
        self.peer_view(now, peer)
    }

    /// Who `reference` means by what is known here. Asks nobody, pins nothing.
    ///
    /// # Errors
    /// [`Failure::NotFound`], [`Failure::Ambiguous`], [`Failure::NameMoved`].
    pub fn meaning(&self, now: Now, reference: &PeerRef) -> Result<NodeId, Failure> {
        self.decide(now, reference, 0).map(|meaning| meaning.peer)
    }

    /// Aliases, by name.
    #[must_use]
    pub fn aliases(&self) -> Vec<(Name, NodeId)> {
        self.names.aliases().iter().map(|(name, peer)| (name.clone(), *peer)).collect()
    }

    /// Pinned names, by name.
    #[must_use]
    pub fn pins(&self) -> Vec<(Name, NodeId)> {
        self.names.pins().iter().map(|(name, peer)| (name.clone(), *peer)).collect()
    }

    /// This agent's part of the DHT; `None`: it takes no part.
    #[must_use]
    pub fn dht_view(&self, now: Now) -> Option<DhtView> {
        self.view_of_dht(now)
    }

    /// This agent's gossip; `None`: it does not gossip.
    #[must_use]
    pub fn gossip_view(&self) -> Option<GossipView> {
        self.view_of_gossip()
    }

    /// At most `max` records that gossip holds, tombstones included, by node ID, from `after` on.
    #[must_use]
    pub fn gossip_records(&self, after: Option<NodeId>, max: usize) -> Vec<Record> {
        self.gossip_after(after, max)
    }

    /// Counts since the start of this run.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whom a reference means by local knowledge only.
    ///
    /// # Errors
    /// [`Failure::NotFound`], [`Failure::Ambiguous`], [`Failure::NameMoved`].
    pub fn find_known(&self, peer: &PeerRef) -> Result<NodeId, Failure> {
        self.decide(self.last, peer, 0).map(|meaning| meaning.peer)
    }

    /// Whatever has become due.
    fn settle(&mut self, now: Now) {
        self.dirty = false;
        self.publish_if_due(now);
        self.renew_words_from_the_future(now);
        for peer in self.trust.unannounced(now) {
            self.settle_trust(now, peer);
        }
        self.tend_links(now);
        for (endpoint, admitted) in self.admission.leave(now.mono) {
            if admitted {
                self.outputs.push_back(Output::Expel { endpoint });
            }
        }
        self.finish_draining(now);
        self.sweep_records(now);
        self.tend_dht(now);
        self.tend_gossip(now);
        self.tend_messages(now);
        self.tend_references(now);
        self.tend_witness(now);
        self.tend_ports(now);
        self.land_lookups(now);
        self.reconcile_goals(now);
        self.advance_waits(now);
        // A wait that ended or began changes who is wanted.
        self.reconcile_goals(now);
        self.tell_watches();
        self.wakeup = self.earliest_deadline(now);
        self.dirty = false;
    }

    fn earliest_deadline(&self, now: Now) -> Option<Mono> {
        let expiry = self.trust.next_expiry(now).map(|left| {
            let left = left.max(Duration::from_millis(1));
            now.mono.after(left.min(EXPIRY_RECHECK))
        });
        let own = self.own_deadline(now);
        let sweep = (self.known.len() > 0).then(|| self.swept_at.after(RECORDS_SWEEP));
        let all = [
            expiry,
            own,
            sweep,
            self.links_deadline(now),
            self.admission.deadline(),
            self.drain_deadline(),
            self.resolver.deadline(),
            self.finding.as_deref().filter(|_| self.active()).and_then(Finding::deadline),
            self.gossiping.as_deref().filter(|_| self.active()).and_then(Gossiping::deadline),
            Some(&self.messaging).filter(|_| self.active()).and_then(|m| m.deadline()),
            self.references_deadline(),
            Some(&self.witness).filter(|_| self.active()).and_then(|w| w.next_wakeup()),
            self.ports.deadline(),
            self.goals.values().filter_map(Redial::deadline).min(),
            self.waits.values().map(|w| w.deadline()).min(),
        ];
        // Whatever is left over from this round must not become a hot loop.
        let soonest = now.mono.after(Duration::from_millis(1));
        all.into_iter().flatten().min().map(|at| at.max(soonest))
    }

    /// Something has to be done at `at`, at the latest.
    fn wake_by(&mut self, at: Mono) {
        self.wakeup = Some(self.wakeup.map_or(at, |wakeup| wakeup.min(at)));
    }

    /// A wakeup that comes late, or a wall clock that ran ahead of the monotonic one, means that
    /// this machine slept: the silence of the peers was ours.
    fn notice_sleep(&mut self, now: Now) {
        let late = self.wakeup.is_some_and(|at| now.mono.since(at) > LATE_MAX);
        let mono = now.mono.since(self.last.mono);
        let jumped = now.wall.since(self.last.wall) > mono + Duration::from_secs(3);
        self.last = now;
        if late || jumped {
            tracing::debug!(late, jumped, "woke up late, probing every link");
            self.probe_all(now);
        }
    }

    fn send(&mut self, link: LinkId, message: Message) {
        *self.counters.messages_out.entry(message.kind()).or_default() += 1;
        self.outputs.push_back(Output::Send { link, message });
    }

    fn notify(&mut self, event: Event) {
        tracing::debug!(?event, "event");
        self.outputs.push_back(Output::Notify(event));
    }

    /// One atomic batch; an empty one is nothing.
    fn persist(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.counters.batches += 1;
            self.outputs.push_back(Output::Persist(batch));
        }
    }

    /// Says goodbye and closes; the link is forgotten here at once.
    fn close(&mut self, now: Now, link: LinkId, reason: ByeReason) {
        if self.links.link(link).is_none() {
            return;
        }
        self.send(link, Message::Bye(reason));
        self.outputs.push_back(Output::Close { link, reason });
        *self.counters.links_closed.entry(reason.label()).or_default() += 1;
        self.drop_link(now, link, reason.label());
    }

    /// Whether the user or a configured hint has to do with this peer.
    fn is_related(&self, peer: NodeId) -> bool {
        self.trust.pair(peer).is_some()
            || self.names.mentions(peer)
            || self.seeds.iter().any(|seed| seed.peer == Some(peer))
            || self.waits.values().any(|wait| wait.peer() == Some(peer))
    }

    /// Peers that this agent cares about: their moves are watched.
    fn related(&self) -> BTreeSet<NodeId> {
        let pairs = self.trust.iter().map(|(peer, _)| peer);
        let named = self.names.aliases().values().chain(self.names.pins().values()).copied();
        let waited = self.waits.values().filter_map(Wait::peer);
        pairs.chain(named).chain(waited).filter(|peer| *peer != self.me).collect()
    }

    fn active(&self) -> bool {
        !self.stopped && self.own.superseded().is_none()
    }

    fn write_record_of(&mut self, peer: NodeId) -> Option<Write> {
        if self.known.is_durable(peer) {
            return None;
        }
        let record = self.known.record(peer)?.clone();
        self.known.mark_durable(peer);
        Some(Write::Record(record))
    }
}
