//! References of this identity: publishing, signing anew, withdrawing, and telling others.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::ipns::{IpnsContent, validity_text};
use homing_base::limits::IPNS_VALUE_BYTES_MAX;
use homing_base::reference::{Binding, EMPTY_PATH, SignedBinding};
use homing_base::{IdentityKey, IpnsName, Mono, NodeId, Now, Reference, ReferenceName, Seq, Wall};
use minicbor::bytes::ByteVec;

use super::gossip::tell;
use super::limits::{
    AWAY_SHARE, HISTORY_MAX, KEEPERS_MAX, LIFETIME_MAX, LIFETIME_MIN, OWN_MAX, RENEW_SHARE,
    SETTLE_TIME, START_WAIT, TTL_DEFAULT,
};
use super::wire::{Held, Note, Show};
use super::{References, ReferencesOutput, Spread};
use crate::io::{
    Answer, Failure, OwnReference, ReferenceEvent, ReferenceKey, ReferenceView, ReferenceWrite,
    Slot, Version,
};

/// What a user says beside name and value; `None`: as before, or the default.
pub(super) struct Terms {
    pub(super) lifetime: Option<Duration>,
    pub(super) ttl: Option<Duration>,
    pub(super) keepers: Option<Vec<NodeId>>,
}

/// One reference of ours.
pub(super) struct Own {
    pub(super) stored: OwnReference,
    /// When it is signed anew; `None`: it is withdrawn.
    pub(super) renew_at: Option<Mono>,
    /// When it is announced again; `None`: a tombstone that nobody needs any more.
    pub(super) announce_at: Option<Mono>,
    pub(super) spread: Spread,
    /// End of the record that each connected peer was told of.
    pub(super) told: BTreeMap<NodeId, Wall>,
    /// What peers said they hold.
    pub(super) held: BTreeMap<NodeId, Held>,
    /// How long nobody was here to sign it anew, seen at the last start.
    away: Option<Duration>,
    /// Since when this run has it.
    since: Mono,
}

impl Own {
    fn new(stored: OwnReference, since: Mono) -> Self {
        Self {
            since,
            stored,
            renew_at: None,
            announce_at: None,
            spread: Spread::default(),
            told: BTreeMap::new(),
            held: BTreeMap::new(),
            away: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.renew_at.into_iter().chain(self.announce_at).min()
    }

    fn ends(&self) -> Wall {
        self.stored.reference.record.ends()
    }

    pub(super) fn on_stored(&mut self, now: Now, replicas: usize, asked: usize, wait: Duration) {
        let next = self.spread.on_stored(now, (replicas, asked), self.ends(), wait);
        self.announce_at = next.or(self.announce_at);
    }

    /// End of the newest record that somebody else holds.
    fn outside(&self) -> Option<Wall> {
        self.held.values().map(|h| h.ends).chain(self.spread.stored).max()
    }

    pub(super) fn view(&self, me: NodeId, name: &ReferenceName, now: Now) -> ReferenceView {
        let holds = |peer: &NodeId| self.held.get(peer).filter(|h| h.keeps).map(|h| h.ends);
        let keepers = self.stored.keepers.iter().map(|peer| (*peer, holds(peer)));
        let next = self.renew_at.or(self.announce_at);
        ReferenceView {
            key: ReferenceKey::Bound { owner: me, name: name.clone() },
            reference: Some(self.stored.reference.clone()),
            own: true,
            lifetime: self.stored.lifetime,
            keepers: keepers.collect(),
            replicas: self.spread.replicas,
            outside: self.outside(),
            next: next.map(|at| now.wall.after(at.since(now.mono))),
            history: self.stored.history.clone(),
            settling: self.outside().is_none() && now.mono.since(self.since) < SETTLE_TIME,
            away: self.away.filter(|_| !self.held.values().any(|h| h.keeps)),
        }
    }
}

impl References {
    pub(super) fn publish(
        &mut self,
        now: Now,
        name: ReferenceName,
        value: String,
        terms: Terms,
    ) -> Result<Answer, Failure> {
        let before = self.own.get(&name).map(|own| own.stored.clone());
        let fresh = before.as_ref().is_none_or(|b| b.reference.is_withdrawn());
        if before.is_none() && self.own.len() >= OWN_MAX {
            return Err(Failure::Limit { what: "references", max: OWN_MAX });
        }
        let usual = before.as_ref().map_or(self.settings.lifetime, |b| b.lifetime);
        let lifetime = terms.lifetime.unwrap_or(usual);
        // Only a time that somebody chose is refused when it does not fit.
        let usual_ttl = before.as_ref().map_or(TTL_DEFAULT, |b| b.ttl).min(lifetime);
        let ttl = terms.ttl.unwrap_or(usual_ttl);
        let keepers = terms.keepers.or_else(|| before.as_ref().map(|b| b.keepers.clone()));
        let mut keepers = keepers.unwrap_or_default();
        keepers.retain(|peer| *peer != self.me);
        keepers.sort();
        keepers.dedup();
        check(&value, lifetime, ttl, &keepers)?;

        let same = |b: &&OwnReference| b.reference.record.value == value.as_bytes();
        let unchanged = !fresh && before.as_ref().is_some_and(|b| same(&b));
        let generation = before.as_ref().map_or(0, |b| b.generation + u32::from(fresh));
        let sequence = match &before {
            Some(b) if unchanged => b.reference.record.sequence,
            Some(b) if !fresh => next_sequence(now, &b.reference),
            // Higher than whatever an earlier store, now lost, had published.
            _ => now.wall.0,
        };
        let key = name.derive_key(&self.key, generation);
        let bound = before.as_ref().filter(|_| !fresh).and_then(|b| b.reference.binding.clone());
        let old = before.as_ref().and_then(|b| b.reference.binding.as_ref().map(|b| b.sequence));
        let binding = bound.unwrap_or_else(|| self.bind(now, &name, &key, old, false));
        let content = content(&value, sequence, now.wall.after(lifetime), ttl);
        let record = content.sign(&key).map_err(|e| Failure::Invalid(e.to_string()))?;
        let reference = Reference { record, binding: Some(binding) };
        let history = before.map_or(Vec::new(), |b| b.history);
        let stored = OwnReference { generation, lifetime, ttl, keepers, reference, history };
        let version = (!unchanged).then(|| self.version(now, &stored, &value, fresh));
        self.settle_own(now, &name, stored, version);
        self.own_answer(now, &name)
    }

    /// Somebody who has this reference's key published a newer version: a delegate. Ours follows, and is signed anew
    /// from there.
    pub(super) fn follow_delegate(&mut self, now: Now, reference: &Reference) {
        let Some(name) = reference.owner().map(|(_, name)| name.clone()) else { return };
        let Some(own) = self.own.get(&name) else { return };
        let ours = &own.stored.reference;
        if reference.binding != ours.binding || !reference.precedence(ours).is_gt() {
            return;
        }
        let moved = reference.record.sequence != ours.record.sequence;
        let mut stored = own.stored.clone();
        stored.reference = reference.clone();
        let value = reference.record.value_text();
        let version = moved.then(|| self.version(now, &stored, &value, false));
        self.settle_own(now, &name, stored, version);
    }

    /// A binding of `name`, newer than `old`.
    fn bind(
        &self,
        now: Now,
        name: &ReferenceName,
        key: &IdentityKey,
        old: Option<Seq>,
        withdrawn: bool,
    ) -> SignedBinding {
        let sequence = Seq(old.map_or(0, |old| old.0 + 1).max(now.wall.0));
        let binding = Binding {
            owner: self.key.public(),
            name: name.clone(),
            key: key.public(),
            sequence,
            issued: now.wall,
            withdrawn: withdrawn.then_some(true),
        };
        binding.sign(&self.key)
    }

    fn version(&self, now: Now, stored: &OwnReference, value: &str, first: bool) -> Version {
        let last = stored.history.last().filter(|v| !first || !v.withdrawn);
        Version {
            sequence: stored.reference.record.sequence,
            value: value.to_owned(),
            previous: last.map(|v| v.value.clone()),
            at: now.wall,
            ipns: *stored.reference.record.name(),
            withdrawn: stored.reference.is_withdrawn(),
        }
    }

    /// Persists a signed record, then tells everybody.
    fn settle_own(
        &mut self,
        now: Now,
        name: &ReferenceName,
        mut stored: OwnReference,
        version: Option<Version>,
    ) {
        let renew = self.renew_after(now, &stored);
        if let Some(version) = &version {
            stored.history.push(version.clone());
            let over = stored.history.len().saturating_sub(HISTORY_MAX);
            stored.history.drain(..over);
        }
        self.persist(ReferenceWrite::Own(Box::new(stored.clone())));
        let event = match version {
            Some(version) => {
                let write =
                    ReferenceWrite::Version { name: name.clone(), version: version.clone() };
                self.persist(write);
                let reference = Box::new(stored.reference.clone());
                ReferenceEvent::Updated { name: name.clone(), version, reference }
            }
            None => {
                let ends = stored.reference.record.ends();
                ReferenceEvent::Renewed { name: name.clone(), ends }
            }
        };
        self.outputs.push_back(ReferencesOutput::Notify(event));
        let own =
            self.own.entry(name.clone()).or_insert_with(|| Own::new(stored.clone(), now.mono));
        if own.stored.generation != stored.generation {
            own.spread = Spread::default();
            own.held.clear();
        }
        own.stored = stored;
        own.renew_at = renew;
        own.told.clear();
        self.announce_own(now, name);
    }

    /// When a record is due to be signed anew: a share of its life after it was signed.
    fn renew_after(&mut self, now: Now, stored: &OwnReference) -> Option<Mono> {
        if stored.reference.is_withdrawn() {
            return None;
        }
        let interval = self.settings.renew.min(stored.lifetime / RENEW_SHARE);
        let interval = self.jitter(interval);
        let left = stored.reference.record.ends().since(now.wall);
        let age = stored.lifetime.saturating_sub(left);
        Some(now.mono.after(interval.saturating_sub(age)))
    }

    /// The owner's references of an earlier run; what was signed long ago is signed anew at once.
    pub(super) fn restore_own(&mut self, stored: Vec<OwnReference>, now: Now) {
        for reference in stored {
            let Some((owner, name)) = reference.reference.owner() else { continue };
            if owner != self.me || self.own.len() >= OWN_MAX {
                continue;
            }
            let name = name.clone();
            let renew_at =
                self.renew_after(now, &reference).map(|at| at.max(now.mono.after(START_WAIT)));
            let over = reference.reference.record.ends() <= now.wall;
            let mut own = Own::new(reference, now.mono);
            let gone = own.stored.reference.is_withdrawn() && over;
            own.announce_at = (!gone).then(|| now.mono.after(START_WAIT));
            own.renew_at = renew_at;
            let left = own.ends().since(now.wall);
            let age = own.stored.lifetime.saturating_sub(left);
            let usual = self.settings.renew.min(own.stored.lifetime / RENEW_SHARE);
            own.away = (age > AWAY_SHARE * usual && renew_at.is_some()).then_some(age);
            self.own.insert(name, own);
        }
    }

    pub(super) fn renew_now(&mut self, now: Now, name: &ReferenceName) -> Result<Answer, Failure> {
        let own = self.own.get(name).ok_or_else(|| unknown(name))?;
        if own.stored.reference.is_withdrawn() {
            return Err(Failure::ReferenceOver { what: name.to_string(), ends: None });
        }
        self.sign_anew(now, name);
        self.own_answer(now, name)
    }

    /// The same value and sequence with a later end (IPNS specification, "Record Selection").
    fn sign_anew(&mut self, now: Now, name: &ReferenceName) {
        let Some(own) = self.own.get(name) else { return };
        let mut stored = own.stored.clone();
        let record = &stored.reference.record;
        let key = name.derive_key(&self.key, stored.generation);
        // A clock that was set back must not make the newer record lose.
        let ends = now.wall.after(stored.lifetime).max(Wall(record.ends().0 + 1));
        let content =
            IpnsContent { validity: validity_text(ends), ttl: stored.ttl, ..(**record).clone() };
        match content.sign(&key) {
            Ok(record) => stored.reference.record = record,
            Err(error) => return tracing::warn!(%name, %error, "a reference cannot be signed anew"),
        }
        self.settle_own(now, name, stored, None);
    }

    pub(super) fn withdraw(&mut self, now: Now, name: &ReferenceName) -> Result<Answer, Failure> {
        let own = self.own.get(name).ok_or_else(|| unknown(name))?;
        let mut stored = own.stored.clone();
        if stored.reference.is_withdrawn() {
            return self.own_answer(now, name);
        }
        let key = name.derive_key(&self.key, stored.generation);
        let old = stored.reference.binding.as_ref().map(|b| b.sequence);
        let record = &stored.reference.record;
        // It must outlive whatever was signed before.
        let ends = now.wall.after(stored.lifetime).max(Wall(record.ends().0 + 1));
        let sequence = next_sequence(now, &stored.reference);
        let content = content(EMPTY_PATH, sequence, ends, stored.ttl);
        let record = content.sign(&key).map_err(|e| Failure::Invalid(e.to_string()))?;
        let binding = self.bind(now, name, &key, old, true);
        stored.reference = Reference { record, binding: Some(binding) };
        let version = self.version(now, &stored, EMPTY_PATH, false);
        self.settle_own(now, name, stored, Some(version));
        self.own_answer(now, name)
    }

    fn own_answer(&self, now: Now, name: &ReferenceName) -> Result<Answer, Failure> {
        let own = self.own.get(name).ok_or_else(|| unknown(name))?;
        Ok(Answer::Reference(Box::new(own.view(self.me, name, now))))
    }

    pub(super) fn tend_own(&mut self, now: Now) {
        let due = |at: Option<Mono>| at.is_some_and(|at| at <= now.mono);
        let renew: Vec<_> =
            self.own.iter().filter(|(_, o)| due(o.renew_at)).map(|(n, _)| n.clone()).collect();
        renew.iter().for_each(|name| self.sign_anew(now, name));
        let announce: Vec<_> =
            self.own.iter().filter(|(_, o)| due(o.announce_at)).map(|(n, _)| n.clone()).collect();
        for name in &announce {
            self.announce_own(now, name);
            // A delegate that is no peer of ours may have published since.
            let slot = self.own.get(name).map(|own| Slot::reference(&own.stored.reference));
            self.outputs.extend(slot.map(ReferencesOutput::Find));
        }
    }

    /// Tells keepers, public neighbours and trusted peers, and the DHT.
    fn announce_own(&mut self, now: Now, name: &ReferenceName) {
        let announce = self.settings.announce;
        let Some(own) = self.own.get_mut(name) else { return };
        if own.ends() <= now.wall {
            own.announce_at = None;
            return;
        }
        own.announce_at = Some(now.mono.after(own.spread.retry(announce)));
        // A peer that only gossips has it already.
        let (all, keepers) = (&self.peers, &own.stored.keepers);
        own.told.retain(|p, _| !keepers.contains(p) && all.get(p).is_some_and(|s| !s.public));
        let reference = own.stored.reference.clone();
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.show_own(peer, name));
        self.outputs.push_back(ReferencesOutput::Put(Box::new(reference)));
    }

    /// Whoever comes back is told what it has missed.
    pub(super) fn show_own_to(&mut self, now: Now, peer: NodeId) {
        let current = |own: &Own| own.ends() > now.wall;
        let names: Vec<_> =
            self.own.iter().filter(|(_, o)| current(o)).map(|(n, _)| n.clone()).collect();
        names.iter().for_each(|name| self.show_own(peer, name));
    }

    fn show_own(&mut self, peer: NodeId, name: &ReferenceName) {
        let Some(standing) = self.peers.get(&peer).copied() else { return };
        let gossips = self.gossips(standing);
        let Some(own) = self.own.get_mut(name) else { return };
        let keep = standing.trusted && own.stored.keepers.contains(&peer);
        let ends = own.ends();
        let may = keep || standing.public || gossips;
        if !may || own.told.get(&peer) == Some(&ends) {
            return;
        }
        own.told.insert(peer, ends);
        if !(keep || standing.public) {
            let note = tell(&own.stored.reference);
            return self.send(peer, note);
        }
        let reference = ByteVec::from(own.stored.reference.to_bytes());
        self.send(peer, Note::Show(Show { reference, keep: keep.then_some(true) }));
    }

    /// A peer says what it holds of something we showed it.
    pub(super) fn on_held(&mut self, now: Now, from: NodeId, held: Held) {
        let wait = self.jitter(self.settings.announce);
        let slot = super::wire::slot(held.kind, held.key);
        let of_slot = |o: &&mut Own| Some(Slot::reference(&o.stored.reference)) == slot;
        if let Some(own) = self.own.values_mut().find(of_slot) {
            // It was told of this record, or its word is made up.
            if own.told.get(&from) != Some(&held.ends) {
                self.refused += 1;
                return;
            }
            if held.ends >= own.ends() && own.announce_at.is_some() {
                own.announce_at = Some(now.mono.after(wait));
                own.spread.backoff = Duration::ZERO;
            }
            let known = own.held.contains_key(&from) || own.held.len() < 4 * KEEPERS_MAX;
            if known {
                own.held.insert(from, held);
            }
        } else if let Some(known) = slot.and_then(|slot| self.known.get_mut(&slot)) {
            known.held = known.held.max(Some(held.ends));
        }
    }
}

/// Above its last, and above what a delegate published meanwhile and we have not heard of.
fn next_sequence(now: Now, reference: &Reference) -> u64 {
    (reference.record.sequence + 1).max(now.wall.0)
}

fn content(value: &str, sequence: u64, ends: Wall, ttl: Duration) -> IpnsContent {
    IpnsContent { value: value.into(), sequence, validity: validity_text(ends), ttl }
}

fn unknown(name: &ReferenceName) -> Failure {
    Failure::NotFound { what: format!("a reference `{name}` of this agent"), asked: 0 }
}

fn check(
    value: &str,
    lifetime: Duration,
    ttl: Duration,
    keepers: &[NodeId],
) -> Result<(), Failure> {
    let bad = value.len() > IPNS_VALUE_BYTES_MAX || value.chars().any(char::is_control);
    if bad || !value.starts_with('/') {
        let why = format!("a value is a content path of at most {IPNS_VALUE_BYTES_MAX} bytes");
        return Err(Failure::Invalid(why));
    }
    if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime) {
        return Err(Failure::Invalid("a record is valid for 30 seconds to 366 days".into()));
    }
    if ttl > lifetime {
        return Err(Failure::Invalid("readers cannot keep a record beyond its lifetime".into()));
    }
    if keepers.len() > KEEPERS_MAX {
        return Err(Failure::Limit { what: "keepers of one reference", max: KEEPERS_MAX });
    }
    Ok(())
}

/// The IPNS name that `identity` uses for `name` in its first generation.
#[must_use]
pub(super) fn first_name(identity: &IdentityKey, name: &ReferenceName) -> IpnsName {
    IpnsName::of(name.derive_key(identity, 0).public())
}
