//! References as this agent uses them: whom they are shown to, and how they reach the DHT.
//!
//! ```text
//! Command::Reference, ResolveReference ─┐                         ┌─► Persist
//! Message::Reference ───────────────────┼─► References ─► pump ───┼─► Send      over the best link
//! links and trust: PeerUp, PeerDown ────┤                         ├─► DHT       Put at both slots, Find
//! ends of Put and Find ─────────────────┘                         └─► Reply, Event::Reference
//! ```
//! A node that hides its address cannot fill the DHT itself: its public neighbours do, as with its record.
//! Not here: the machine ([`crate::references`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homing_base::{IdentityKey, IpnsName, Mono, NodeId, Now, Reference, ReferenceName};

use super::Agent;
use super::finding::{Finding, Want};
use crate::dht::{DhtCommand, Item, Outcome, Reach, Report, Slot};
use crate::io::{
    Answer, Event, Failure, LinkId, ReferenceCommand, ReferenceEvent, ReferenceKey,
    ReferenceSettings, ReferenceView, RequestId, Settings, StoredReferences, Write,
};
use crate::message::Message;
use crate::references::{
    References, ReferencesInput, ReferencesOutput, Standing,
    wire::{self, Note},
};

/// This agent's part of references.
pub(super) struct Referring {
    references: References,
    /// Peers that the machine was told of, and over which link they hear.
    up: BTreeMap<NodeId, (Standing, LinkId)>,
    /// Links, trust or main doors changed since `up` was compared with them.
    stale: bool,
}

impl Referring {
    pub(super) fn new(
        settings: &Settings,
        key: &IdentityKey,
        stored: StoredReferences,
        seed: [u8; 32],
        now: Now,
    ) -> Box<Self> {
        let (gossip, public) = (settings.gossip.is_some(), settings.public);
        let chosen = ReferenceSettings { gossip, ..settings.references };
        let references = References::new(chosen, key.clone(), public, stored, seed, now);
        Box::new(Self { references, up: BTreeMap::new(), stale: true })
    }

    /// Who is up, and how it stands with us, may have changed: a link, trust or a main door did.
    pub(super) fn peers_changed(&mut self) {
        self.stale = true;
    }

    /// One of several links with a peer went: it is told everything anew over another.
    pub(super) fn forget_link(&mut self, peer: NodeId) {
        self.up.remove(&peer);
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.references.next_wakeup()
    }
}

impl Agent {
    // ---- with whom

    /// The link over which `peer` is told something about references.
    fn note_link(&self, peer: NodeId) -> Option<LinkId> {
        let main = self.candidates.get(&peer).map(|door| door.endpoint);
        let link = self.links.best(peer, main).filter(|l| !l.brief && l.told.record.is_some())?;
        link.proven.map(|_| link.id)
    }

    fn standing(&self, now: Now, peer: NodeId) -> Option<(Standing, LinkId)> {
        let trusted = self.trust.is_mutual(now, peer);
        let standing = Standing { trusted, public: self.is_neighbour(peer) };
        let matters = self.settings.public || standing != Standing::default();
        let link = self.note_link(peer).filter(|_| matters)?;
        Some((standing, link))
    }

    /// Tells the machine whose links came and went, and that time has passed. Almost every input settles the agent, and
    /// almost none has to do with references: that must cost nothing.
    pub(super) fn tend_references(&mut self, now: Now) {
        let due = self.referring.deadline().is_some_and(|at| at <= now.mono);
        if !self.active() || !(due || self.referring.stale) {
            return;
        }
        self.tell_references_who_is_up(now);
        // An agent that has not published its own record yet has nobody to tell.
        if due && self.own.record().is_some() {
            self.referring.references.handle(now, ReferencesInput::Wakeup);
        }
        self.pump_references(now);
    }

    fn tell_references_who_is_up(&mut self, now: Now) {
        let peers = self.links.peers();
        let up: BTreeMap<_, _> =
            peers.filter_map(|peer| Some((peer, self.standing(now, peer)?))).collect();
        let Referring { references, up: before, stale } = &mut *self.referring;
        for peer in before.keys().filter(|peer| !up.contains_key(peer)) {
            references.handle(now, ReferencesInput::PeerDown { peer: *peer });
        }
        for (peer, at) in up.iter().filter(|(peer, at)| before.get(peer) != Some(at)) {
            references.handle(now, ReferencesInput::PeerUp { peer: *peer, standing: at.0 });
        }
        (*before, *stale) = (up, false);
    }

    pub(super) fn on_note(&mut self, now: Now, id: LinkId, peer: NodeId, bytes: &[u8]) {
        if !self.active() {
            return;
        }
        let note: Note = match wire::decode(bytes) {
            Ok(note) => note,
            Err(_) => return self.on_garbage(now, id),
        };
        if !self.referring.up.contains_key(&peer) {
            // Trust, or the greeting, may be a moment old.
            self.tell_references_who_is_up(now);
        }
        self.referring.references.handle(now, ReferencesInput::Note { from: peer, note });
        self.pump_references(now);
    }

    // ---- what the user wants

    pub(super) fn on_reference_command(
        &mut self,
        now: Now,
        command: ReferenceCommand,
    ) -> Result<Answer, Failure> {
        self.check_active()?;
        let answer = self.referring.references.command(now, command);
        self.pump_references(now);
        answer
    }

    pub(super) fn resolve_reference(
        &mut self,
        now: Now,
        request: RequestId,
        key: ReferenceKey,
        timeout: Duration,
    ) {
        if let Err(failure) = self.check_active() {
            return self.reply(request, Err(failure));
        }
        self.referring.references.resolve(now, request, key, timeout);
        self.pump_references(now);
    }

    // ---- what comes out

    /// Nothing is due before the own record is out: there is nobody to tell.
    pub(super) fn references_deadline(&self) -> Option<Mono> {
        let ready = self.active() && self.own.record().is_some();
        self.referring.deadline().filter(|_| ready)
    }

    fn pump_references(&mut self, now: Now) {
        while let Some(output) = self.referring.references.poll_output() {
            match output {
                ReferencesOutput::Persist(write) => self.persist(vec![Write::Reference(write)]),
                ReferencesOutput::Send { to, note } => {
                    if let Some(link) = self.note_link(to) {
                        self.send(link, Message::Reference(wire::encode(&note)));
                    }
                }
                ReferencesOutput::Put(reference) => self.put_reference(now, *reference),
                ReferencesOutput::Find(slot) => self.find_reference(now, slot),
                ReferencesOutput::Reply { request, answer } => self.reply(request, answer),
                ReferencesOutput::Notify(event) => {
                    if let ReferenceEvent::Updated { version, reference, .. } = &event {
                        self.audit_reference(now, version, &reference.record);
                    }
                    self.notify(Event::Reference(event));
                }
            }
        }
        self.pump_dht(now);
        if let Some(at) = self.references_deadline() {
            self.wake_by(at);
        }
    }

    /// Bound, a reference is found by its owner and name, and by its IPNS name.
    fn put_reference(&mut self, now: Now, reference: Reference) {
        let slot = Slot::reference(&reference);
        let joined = |f: &&mut Finding| !f.dht.table().is_empty();
        let Some(finding) = self.finding().filter(joined) else {
            let input = ReferencesInput::Stored { slot, replicas: 0, asked: 0 };
            return self.referring.references.handle(now, input);
        };
        if reference.binding.is_some() {
            let plain = reference.unbound();
            let at = Slot::reference(&plain);
            let value = Item::Reference(Arc::new(plain));
            finding.want(Want::Nothing, DhtCommand::Put { slot: at, value, keep: false });
        }
        let value = Item::Reference(Arc::new(reference));
        finding.want(Want::PutReference(slot), DhtCommand::Put { slot, value, keep: false });
    }

    fn find_reference(&mut self, now: Now, slot: Slot) {
        match self.finding() {
            Some(finding) => {
                finding.want(Want::FindReference(slot), DhtCommand::FindValue { slot });
            }
            None => self.on_reference_found(now, slot, Vec::new(), &Report::default()),
        }
    }

    pub(super) fn on_reference_put(
        &mut self,
        now: Now,
        slot: Slot,
        outcome: &Outcome<Reach, Item>,
    ) {
        let (replicas, asked) = match outcome {
            Outcome::Stored { replicas, asked } => (*replicas, *asked),
            _ => (0, 0),
        };
        let input = ReferencesInput::Stored { slot, replicas, asked };
        self.referring.references.handle(now, input);
        self.pump_references(now);
    }

    pub(super) fn on_reference_found(
        &mut self,
        now: Now,
        slot: Slot,
        values: Vec<Item>,
        report: &Report,
    ) {
        let reference = |item: Item| match item {
            Item::Reference(reference) => Some(Arc::unwrap_or_clone(reference)),
            Item::Agent(_) => None,
        };
        let values: Vec<Reference> = values.into_iter().filter_map(reference).collect();
        let (replicas, agreed) = (report.holders, report.agreed);
        let input = ReferencesInput::Found { slot, values, replicas, agreed };
        self.referring.references.handle(now, input);
        self.pump_references(now);
    }

    // ---- questions

    /// References of this identity and those kept for others.
    #[must_use]
    pub fn references(&self, now: Now) -> Vec<ReferenceView> {
        self.referring.references.views(now)
    }

    /// The newest that is known here of a reference, valid or not.
    #[must_use]
    pub fn known_reference(&self, key: &ReferenceKey) -> Option<Reference> {
        self.referring.references.newest(&key.slot())
    }

    /// Whether trust with a peer is mutual.
    #[must_use]
    pub fn is_trusted(&self, now: Now, peer: NodeId) -> bool {
        self.trust.is_mutual(now, peer)
    }

    /// The IPNS name of a reference of ours, published or not.
    #[must_use]
    pub fn ipns_name(&self, name: &ReferenceName) -> IpnsName {
        self.referring.references.ipns_name(name)
    }
}
