//! Resolving: the DHT and peers are asked at once, the newest counts.
//!
//! The DHT answers with several replicas, and a peer may know a newer one: so a replica that lags, or lies by
//! leaving out, is outvoted by one honest answer. What was resolved once is remembered, and nothing older
//! is believed afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use homing_base::{Mono, NodeId, Now, Reference};
use minicbor::bytes::ByteVec;

use super::limits::{
    ASKED_MAX, DHT_PATIENCE, ERRAND_PATIENCE, ERRANDS_MAX, ERRANDS_PER_PEER_MAX, PEER_PATIENCE,
    RESOLUTIONS_MAX,
};
use super::wire::{Answer as NoteAnswer, Ask, Note, slot};
use super::{References, ReferencesOutput, Standing};
use crate::io::{Answer, Failure, Layer, ReferenceKey, ReferenceResolution, RequestId, Slot};

/// A question of the local user.
pub(super) struct Resolution {
    key: ReferenceKey,
    started: Mono,
    ends: Mono,
    /// Questions that are not answered yet.
    asked: Vec<(u32, NodeId)>,
    /// Peers that were asked.
    asked_peers: usize,
    /// What the DHT said: replicas, and those that agreed; `None`: it has not yet.
    replicas: Option<(u32, u32)>,
    best: Option<(Reference, Layer)>,
    /// Peers that had the newest.
    peers: BTreeSet<NodeId>,
    /// The owner itself has answered.
    owner_told: bool,
}

impl Resolution {
    pub(super) fn deadline(&self) -> Mono {
        let told = !self.peers.is_empty();
        let patience = match (self.replicas.is_some(), self.best.is_some()) {
            // Nobody knows better than the owner: the DHT is only asked who agrees.
            (false, true) if self.owner_told => PEER_PATIENCE,
            (false, true) if told => DHT_PATIENCE,
            (false, _) => return self.ends,
            (true, true) => PEER_PATIENCE,
            (true, false) => ERRAND_PATIENCE,
        };
        self.started.after(patience).min(self.ends)
    }

    fn is_over(&self, now: Now) -> bool {
        let complete = self.replicas.is_some() && self.asked.is_empty();
        complete || self.deadline() <= now.mono
    }

    fn learn(&mut self, reference: &Reference, layer: Layer, peer: Option<NodeId>) {
        let order = self.best.as_ref().map(|(best, _)| reference.precedence(best));
        match order {
            Some(std::cmp::Ordering::Less) => return,
            Some(std::cmp::Ordering::Equal) => {}
            _ => {
                self.peers.clear();
                // Those replicas had an older one.
                self.replicas = self.replicas.map(|(replicas, _)| (replicas, 0));
                self.best = Some((reference.clone(), layer));
            }
        }
        self.peers.extend(peer);
    }
}

/// A question of a neighbour, which this node asks the DHT.
pub(super) struct Errand {
    pub(super) from: NodeId,
    pub(super) slot: Slot,
    pub(super) ends: Mono,
    id: u32,
}

impl References {
    /// Finds the newest of a reference; the answer comes as [`ReferencesOutput::Reply`].
    pub fn resolve(&mut self, now: Now, request: RequestId, key: ReferenceKey, timeout: Duration) {
        self.begin_resolution(now, request, key, timeout);
        self.due = self.soonest();
    }

    fn begin_resolution(
        &mut self,
        now: Now,
        request: RequestId,
        key: ReferenceKey,
        timeout: Duration,
    ) {
        let place = key.slot();
        if self.resolutions.len() >= RESOLUTIONS_MAX {
            let what = "references being resolved";
            let full = Failure::Limit { what, max: RESOLUTIONS_MAX };
            return self.answer(request, Err(full));
        }
        let mut resolution = Resolution {
            key,
            started: now.mono,
            ends: now.mono.after(timeout),
            asked: Vec::new(),
            asked_peers: 0,
            replicas: None,
            best: None,
            peers: BTreeSet::new(),
            owner_told: false,
        };
        if let Some(known) = self.newest(&place) {
            let heard = self.known.get(&place).is_some_and(|known| known.heard);
            let layer = if heard { Layer::Gossip } else { Layer::Local };
            resolution.learn(&known, layer, None);
        }
        if self.is_own(&place) {
            // Nobody can know it better than we do.
            resolution.replicas = Some((0, 0));
            self.resolutions.insert(request, resolution);
            return self.finish_resolutions(now);
        }
        for peer in self.whom_to_ask(&resolution.key) {
            let id = self.ask_id();
            resolution.asked.push((id, peer));
            resolution.asked_peers += 1;
            let ask = Ask { id, kind: place.kind as u8, key: place.key };
            self.send(peer, Note::Ask(ask));
        }
        self.resolutions.insert(request, resolution);
        self.outputs.push_back(ReferencesOutput::Find(place));
    }

    /// The owner, then public neighbours, then other trusted peers.
    fn whom_to_ask(&self, key: &ReferenceKey) -> Vec<NodeId> {
        let owner = match key {
            ReferenceKey::Bound { owner, .. } => Some(*owner),
            ReferenceKey::Ipns(_) => None,
        };
        let mut peers: Vec<(NodeId, Standing)> =
            self.peers.iter().map(|(peer, standing)| (*peer, *standing)).collect();
        peers.retain(|(_, s)| s.trusted || s.public);
        peers.sort_by_key(|(peer, s)| (Some(*peer) != owner, !s.public));
        peers.into_iter().map(|(peer, _)| peer).take(ASKED_MAX).collect()
    }

    // ---- answers

    pub(super) fn on_answer(&mut self, now: Now, from: NodeId, answer: NoteAnswer) {
        let reference = match answer.reference.map(|bytes| Reference::verify(&bytes, now)) {
            Some(Ok(reference)) => Some(reference),
            Some(Err(_)) => {
                self.refused += 1;
                None
            }
            None => None,
        };
        let asked = |r: &Resolution| r.asked.contains(&(answer.id, from));
        if let Some(resolution) = self.resolutions.values_mut().find(|r| asked(r)) {
            resolution.asked.retain(|(id, _)| *id != answer.id);
            let wanted = resolution.key.slot();
            if let Some(reference) = in_slot(reference, wanted) {
                resolution.learn(&reference, Layer::Neighbours, Some(from));
                let owner = reference.owner().map(|(owner, _)| owner);
                resolution.owner_told |= owner == Some(from);
            }
            return self.finish_resolutions(now);
        }
        // The owner of something that we keep.
        if let Some(reference) = reference {
            self.adopt(now, Slot::reference(&reference), &reference);
        }
    }

    pub(super) fn on_peer_silent(&mut self, now: Now, peer: NodeId) {
        for resolution in self.resolutions.values_mut() {
            resolution.asked.retain(|(_, asked)| *asked != peer);
        }
        self.finish_resolutions(now);
    }

    /// The DHT has answered.
    pub(super) fn on_replicas(
        &mut self,
        now: Now,
        place: Slot,
        newest: Option<&Reference>,
        counts: (u32, u32),
    ) {
        for resolution in self.resolutions.values_mut().filter(|r| r.key.slot() == place) {
            let Some(reference) = newest else {
                resolution.replicas = Some((0, 0));
                continue;
            };
            let before = resolution.best.as_ref().map(|(best, _)| reference.precedence(best));
            let outdated = before.is_some_and(std::cmp::Ordering::is_lt);
            resolution.learn(reference, Layer::Dht, None);
            if let Some((_, layer @ Layer::Local)) = &mut resolution.best
                && !outdated
            {
                *layer = Layer::Dht;
            }
            let agreed = if outdated { 0 } else { counts.1 };
            resolution.replicas = Some((counts.0, agreed));
        }
        self.finish_resolutions(now);
    }

    pub(super) fn finish_resolutions(&mut self, now: Now) {
        let over: Vec<RequestId> =
            self.resolutions.iter().filter(|(_, r)| r.is_over(now)).map(|(id, _)| *id).collect();
        for request in over {
            let Some(resolution) = self.resolutions.remove(&request) else { continue };
            let answer = self.conclude(now, resolution);
            self.answer(request, answer);
        }
    }

    fn conclude(&mut self, now: Now, resolution: Resolution) -> Result<Answer, Failure> {
        let what = resolution.key.to_string();
        let (replicas, agreed) = resolution.replicas.unwrap_or_default();
        let Some((reference, layer)) = resolution.best else {
            return Err(Failure::NotFound { what, asked: resolution.asked_peers });
        };
        let slot = resolution.key.slot();
        if !self.is_own(&slot) {
            self.note_resolved(now, slot, &reference);
        }
        if reference.is_withdrawn() {
            return Err(Failure::ReferenceOver { what, ends: None });
        }
        let ends = reference.record.ends();
        if ends <= now.wall {
            return Err(Failure::ReferenceOver { what, ends: Some(ends) });
        }
        Ok(Answer::ReferenceResolved(Box::new(ReferenceResolution {
            reference,
            layer,
            replicas,
            agreed,
            peers: resolution.peers.into_iter().collect(),
            elapsed: now.mono.since(resolution.started),
        })))
    }

    fn answer(&mut self, request: RequestId, answer: Result<Answer, Failure>) {
        self.outputs.push_back(ReferencesOutput::Reply { request, answer });
    }

    // ---- questions of others

    pub(super) fn on_ask(&mut self, now: Now, from: NodeId, standing: Standing, ask: Ask) {
        let Some(place) = slot(ask.kind, ask.key).filter(|_| standing.trusted || self.public)
        else {
            self.refused += 1;
            return;
        };
        let is_own = self.is_own(&place);
        let of_peer = self.errands.iter().filter(|errand| errand.from == from).count();
        let room = self.errands.len() < ERRANDS_MAX && of_peer < ERRANDS_PER_PEER_MAX;
        if self.public && !is_own && room {
            let ends = now.mono.after(ERRAND_PATIENCE);
            self.errands.push(Errand { from, slot: place, ends, id: ask.id });
            return self.outputs.push_back(ReferencesOutput::Find(place));
        }
        self.reply_with_known(now, from, ask.id, place);
    }

    pub(super) fn finish_errands(&mut self, now: Now, over: impl Fn(&Errand) -> bool) {
        let (done, open) = std::mem::take(&mut self.errands).into_iter().partition(over);
        self.errands = open;
        for Errand { from, slot, id, .. } in done {
            self.reply_with_known(now, from, id, slot);
        }
    }

    fn reply_with_known(&mut self, now: Now, to: NodeId, id: u32, place: Slot) {
        let newest = self.newest(&place).filter(|r| r.record.ends() > now.wall);
        let reference = newest.map(|r| ByteVec::from(r.to_bytes()));
        self.send(to, Note::Answer(NoteAnswer { id, reference }));
    }
}

/// The reference as it belongs into a slot: a bound one also answers for its IPNS name.
fn in_slot(reference: Option<Reference>, place: Slot) -> Option<Reference> {
    let reference = reference?;
    if Slot::reference(&reference) == place {
        return Some(reference);
    }
    let plain = reference.unbound();
    (Slot::reference(&plain) == place).then_some(plain)
}
