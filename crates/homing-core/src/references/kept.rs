//! References of others: what is kept alive for them, and what is remembered only.
//!
//! Nobody but the owner can change or extend one, so a keeper's work is to find the newest and to see that
//! enough others have it. A copy counts for as long as its owner signed.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{Mono, NodeId, Now, Reference, Wall};
use minicbor::bytes::ByteVec;

use super::limits::{
    HEARD_PER_PEER_MAX, KEPT_MAX, KEPT_PER_PEER_MAX, KNOWN_MAX, RESOLVED_MAX, SHOWN_PER_PEER_MAX,
    START_WAIT,
};
use super::own::first_name;
use super::wire::{Ask, Held, Note, Show};
use super::{References, ReferencesOutput, Spread, Standing};
use crate::io::{
    Answer, Failure, Keep, KnownReference, ReferenceEvent, ReferenceKey, ReferenceView,
    ReferenceWrite, Slot, StoredReferences,
};

/// One reference of another.
pub(super) struct Known {
    pub(super) known: KnownReference,
    /// Where its IPNS name is found.
    pub(super) point: Option<NodeId>,
    /// When it is looked for and announced again; `None`: it is only remembered.
    pub(super) announce_at: Option<Mono>,
    pub(super) spread: Spread,
    pub(super) told: BTreeMap<NodeId, Wall>,
    /// End of the newest record that a public neighbour holds.
    pub(super) held: Option<Wall>,
    /// Who showed it, while it is only remembered.
    shown_by: Option<NodeId>,
    /// When the local user last resolved it: what others show never drives it out.
    resolved: Option<Wall>,
    /// A trusted peer told it, so trusted peers are told.
    pub(super) heard: bool,
    /// When it is passed on, and when it last was.
    pub(super) pass_at: Option<Mono>,
    pub(super) passed: Option<Mono>,
}

impl Known {
    fn new(known: KnownReference) -> Self {
        let point = known.reference.as_ref().map(|r| r.record.name().point());
        Self {
            known,
            point,
            announce_at: None,
            spread: Spread::default(),
            told: BTreeMap::new(),
            held: None,
            shown_by: None,
            resolved: None,
            heard: false,
            pass_at: None,
            passed: None,
        }
    }

    fn is_spare(&self) -> bool {
        self.known.kept.is_none() && self.resolved.is_none()
    }

    pub(super) fn ends(&self) -> Wall {
        self.known.reference.as_ref().map_or(Wall(0), |r| r.record.ends())
    }

    pub(super) fn on_stored(&mut self, now: Now, replicas: usize, asked: usize, wait: Duration) {
        let next = self.spread.on_stored(now, (replicas, asked), self.ends(), wait);
        if self.known.kept.is_some() {
            self.announce_at = next.or(self.announce_at);
        }
    }

    pub(super) fn view(&self, now: Now) -> Option<ReferenceView> {
        let kept = self.known.kept.as_ref()?;
        let ends = self.known.reference.as_ref().map(|r| r.record.ends());
        Some(ReferenceView {
            key: kept.key.clone(),
            reference: self.known.reference.clone(),
            own: false,
            lifetime: ends.map_or(Duration::ZERO, |ends| ends.since(self.known.since)),
            keepers: Vec::new(),
            replicas: self.spread.replicas,
            // The keeper itself is one who holds it.
            outside: ends,
            next: self.announce_at.map(|at| now.wall.after(at.since(now.mono))),
            history: Vec::new(),
            away: None,
            settling: false,
        })
    }
}

impl References {
    pub(super) fn restore(&mut self, stored: StoredReferences, now: Now) {
        self.restore_own(stored.own, now);
        for known in stored.known.into_iter().take(KEPT_MAX + RESOLVED_MAX) {
            let kept = known.kept.is_some();
            let mut entry = Known::new(known);
            entry.announce_at = kept.then(|| now.mono.after(START_WAIT));
            // Nothing else is stored.
            entry.resolved = (!kept).then_some(entry.known.since);
            self.known.insert(entry.known.slot, entry);
        }
    }

    // ---- what the user wants

    pub(super) fn keep(&mut self, now: Now, key: ReferenceKey) -> Result<Answer, Failure> {
        if matches!(&key, ReferenceKey::Bound { owner, .. } if *owner == self.me) {
            return Err(Failure::Myself);
        }
        let slot = key.slot();
        self.keep_slot(now, slot, Keep { key, asked: false })?;
        let view = self.known.get(&slot).and_then(|known| known.view(now));
        Ok(Answer::Reference(Box::new(view.expect("it is kept from now on"))))
    }

    fn keep_slot(&mut self, now: Now, slot: Slot, keep: Keep) -> Result<(), Failure> {
        let kept = self.known.values().filter(|k| k.known.kept.is_some()).count();
        let known = self.known.get(&slot).map(|k| k.known.kept.clone());
        match known {
            Some(Some(before)) if !before.asked || keep.asked => return Ok(()),
            Some(Some(_)) => {}
            _ if kept >= KEPT_MAX => {
                return Err(Failure::Limit { what: "references kept for others", max: KEPT_MAX });
            }
            _ => {}
        }
        let empty = KnownReference { slot, reference: None, since: now.wall, kept: None };
        let entry = self.known.entry(slot).or_insert_with(|| Known::new(empty));
        entry.known.kept = Some(keep);
        entry.shown_by = None;
        entry.announce_at = Some(now.mono);
        let write = ReferenceWrite::Known(Box::new(entry.known.clone()));
        self.persist(write);
        Ok(())
    }

    pub(super) fn unkeep(&mut self, now: Now, key: &ReferenceKey) -> Answer {
        let slot = key.slot();
        let Some(entry) = self.known.get_mut(&slot).filter(|k| k.known.kept.is_some()) else {
            return Answer::Done { changed: false };
        };
        entry.known.kept = None;
        entry.announce_at = None;
        let write = match entry.known.reference {
            // What was known of it is not unlearned.
            Some(_) => ReferenceWrite::Known(Box::new(entry.known.clone())),
            None => {
                self.known.remove(&slot);
                ReferenceWrite::Forget(slot)
            }
        };
        self.persist(write);
        self.note_use(now, slot);
        Answer::Done { changed: true }
    }

    /// A verified record that a registry's client brought.
    pub(super) fn offer(&mut self, now: Now, reference: Reference) -> Answer {
        let slot = Slot::reference(&reference);
        let changed = self.remember(now, slot, &reference, None);
        if changed {
            if let Some(known) = self.known.get_mut(&slot).filter(|_| reference.binding.is_some()) {
                known.pass_on(now, None);
            }
            self.outputs.push_back(ReferencesOutput::Put(Box::new(reference)));
        }
        Answer::Done { changed }
    }

    // ---- what others show

    pub(super) fn on_show(&mut self, now: Now, from: NodeId, standing: Standing, show: &Show) {
        let reference = match Reference::verify(&show.reference, now) {
            Ok(reference) if standing.trusted || self.public => reference,
            _ => {
                self.refused += 1;
                return;
            }
        };
        let slot = Slot::reference(&reference);
        if self.is_own(&slot) {
            return self.follow_delegate(now, &reference);
        }
        let owner = reference.owner().map(|(owner, name)| (owner, name.clone()));
        if let Some((owner, name)) = owner
            && owner == from
            && show.keep == Some(true)
            && standing.trusted
            && self.settings.keep_for_trusted
            && self.asked_by(from) < KEPT_PER_PEER_MAX
        {
            let key = ReferenceKey::Bound { owner, name };
            // No room is no error: the answer says that it is not kept.
            let _ = self.keep_slot(now, slot, Keep { key, asked: true });
        }
        let news = self.remember(now, slot, &reference, Some(from));
        let passes = news && self.gossips(standing);
        let Some(known) = self.known.get_mut(&slot) else { return };
        if passes {
            known.pass_on(now, Some(from));
        }
        let (ends, keeps) = (known.ends(), known.known.kept.is_some());
        let stale = known.spread.stored < Some(ends);
        let held = Held { kind: slot.kind as u8, key: slot.key, ends, keeps };
        self.send(from, Note::Held(held));
        self.tend_passing(now);
        if (news || stale) && self.public && !keeps {
            self.outputs.push_back(ReferencesOutput::Put(Box::new(reference)));
        }
    }

    fn asked_by(&self, peer: NodeId) -> usize {
        let by_peer = |keep: &Keep| {
            keep.asked && matches!(&keep.key, ReferenceKey::Bound { owner, .. } if *owner == peer)
        };
        self.known.values().filter(|k| k.known.kept.as_ref().is_some_and(by_peer)).count()
    }

    /// Keeps the newest in memory, and in the store if it is kept alive. `true`: it is news.
    pub(super) fn remember(
        &mut self,
        now: Now,
        slot: Slot,
        reference: &Reference,
        from: Option<NodeId>,
    ) -> bool {
        if !self.known.contains_key(&slot) && !self.make_room(from) {
            return false;
        }
        let empty = KnownReference { slot, reference: None, since: now.wall, kept: None };
        let entry = self.known.entry(slot).or_insert_with(|| Known::new(empty));
        if entry.is_spare() {
            entry.shown_by = from.or(entry.shown_by);
        }
        self.adopt(now, slot, reference)
    }

    /// Makes room for one that is only remembered; `false`: this peer has its share.
    fn make_room(&mut self, from: Option<NodeId>) -> bool {
        let shown = |k: &&Known| from.is_some() && k.shown_by == from;
        let trusted = from.and_then(|from| self.peers.get(&from)).is_some_and(|s| s.trusted);
        let share = if trusted { HEARD_PER_PEER_MAX } else { SHOWN_PER_PEER_MAX };
        if self.known.values().filter(shown).count() >= share {
            return false;
        }
        let spare = self.known.iter().filter(|(_, k)| k.is_spare());
        if spare.clone().count() >= KNOWN_MAX
            && let Some(slot) =
                spare.min_by_key(|(_, k)| (k.heard, k.known.since)).map(|(slot, _)| *slot)
        {
            self.known.remove(&slot);
        }
        true
    }

    /// The local user resolved one more: the one resolved longest ago is forgotten if need be.
    fn note_use(&mut self, now: Now, slot: Slot) -> bool {
        let Some(entry) = self.known.get_mut(&slot) else { return false };
        let first = entry.resolved.replace(now.wall).is_none();
        entry.shown_by = None;
        let resolved = self.known.iter().filter(|(_, k)| k.known.kept.is_none());
        let resolved = resolved.filter_map(|(slot, k)| Some((k.resolved?, *slot)));
        if first
            && resolved.clone().count() > RESOLVED_MAX
            && let Some((_, oldest)) = resolved.min()
        {
            self.known.remove(&oldest);
            self.persist(ReferenceWrite::Forget(oldest));
        }
        first
    }

    /// The newest of something we keep or remember; `true`: it is news.
    pub(super) fn adopt(&mut self, now: Now, slot: Slot, reference: &Reference) -> bool {
        let Some(entry) = self.known.get_mut(&slot) else { return false };
        let newer = |known: &Reference| reference.precedence(known).is_gt();
        if entry.known.reference.as_ref().is_some_and(|known| !newer(known)) {
            return false;
        }
        let before = entry.known.reference.as_ref().map(|r| r.record.sequence);
        entry.known.reference = Some(reference.clone());
        entry.told.clear();
        entry.point = Some(reference.record.name().point());
        entry.known.since = now.wall;
        let kept = entry.known.kept.clone();
        if let Some(keep) = kept {
            let write = ReferenceWrite::Known(Box::new(entry.known.clone()));
            self.persist(write);
            let sequence = reference.record.sequence;
            if before != Some(sequence) {
                let event = ReferenceEvent::Moved { key: keep.key, sequence };
                self.outputs.push_back(ReferencesOutput::Notify(event));
            }
            if let Some(entry) = self.known.get_mut(&slot) {
                entry.announce_at = Some(now.mono);
            }
        }
        true
    }

    /// What was resolved is remembered durably: an older one is not believed later.
    pub(super) fn note_resolved(&mut self, now: Now, slot: Slot, reference: &Reference) {
        let news = self.remember(now, slot, reference, None);
        let first = self.note_use(now, slot);
        if (news || first)
            && let Some(known) = self.known.get(&slot).filter(|k| k.known.kept.is_none())
        {
            let write = ReferenceWrite::Known(Box::new(known.known.clone()));
            self.persist(write);
        }
    }

    // ---- keeping alive

    pub(super) fn tend_kept(&mut self, now: Now) {
        let announce = self.settings.announce;
        let due = |k: &Known| k.announce_at.is_some_and(|at| at <= now.mono);
        let slots: Vec<Slot> =
            self.known.iter().filter(|(_, k)| due(k)).map(|(slot, _)| *slot).collect();
        for slot in slots {
            let Some(entry) = self.known.get_mut(&slot) else { continue };
            entry.announce_at = Some(now.mono.after(entry.spread.retry(announce)));
            if let Some(keep) = entry.known.kept.clone() {
                self.ask_owner(&keep.key);
            }
            self.outputs.push_back(ReferencesOutput::Find(slot));
        }
    }

    fn ask_owner(&mut self, key: &ReferenceKey) {
        let ReferenceKey::Bound { owner, .. } = key else { return };
        if self.peers.contains_key(owner) {
            let Slot { kind, key } = key.slot();
            let id = self.ask_id();
            self.send(*owner, Note::Ask(Ask { id, kind: kind as u8, key }));
        }
    }

    /// The network was asked for the newest: now others are to have it, too.
    pub(super) fn announce_kept(&mut self, now: Now, slot: Slot) {
        let Some(entry) = self.known.get_mut(&slot) else { return };
        let kept = entry.known.kept.is_some();
        let current = entry.known.reference.clone().filter(|r| r.record.ends() > now.wall);
        let Some(reference) = current.filter(|_| kept) else { return };
        let ends = reference.record.ends();
        self.outputs.push_back(ReferencesOutput::Put(Box::new(reference.clone())));
        let public = self.peers.iter().filter(|(_, s)| s.public).map(|(peer, _)| *peer);
        for peer in public.collect::<Vec<_>>() {
            let Some(entry) = self.known.get_mut(&slot) else { return };
            entry.told.insert(peer, ends);
            let show = Show { reference: ByteVec::from(reference.to_bytes()), keep: None };
            self.send(peer, Note::Show(show));
        }
    }

    /// An owner is back: what we keep for it may have moved.
    pub(super) fn ask_for_kept_of(&mut self, peer: NodeId) {
        let of_peer =
            |key: &ReferenceKey| matches!(key, ReferenceKey::Bound { owner, .. } if *owner == peer);
        let kept = self.known.values().filter_map(|k| k.known.kept.as_ref().map(|k| &k.key));
        let keys: Vec<ReferenceKey> = kept.filter(|k| of_peer(k)).cloned().collect();
        keys.iter().for_each(|key| self.ask_owner(key));
    }

    /// The IPNS name of a reference of ours: what it has, or what its first version will have.
    #[must_use]
    pub fn ipns_name(&self, name: &homing_base::ReferenceName) -> homing_base::IpnsName {
        let own = self.own.get(name).map(|own| *own.stored.reference.record.name());
        own.unwrap_or_else(|| first_name(&self.key, name))
    }
}
