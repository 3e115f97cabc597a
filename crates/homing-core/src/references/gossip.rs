//! References that travel from trusted peer to trusted peer, so that they are known where no DHT reaches.
//!
//! ```text
//! link up      Have ─► Want ─► Tell               what we lack or have older
//!                   └────────► Tell               what the other one does
//! news         Tell ─► every other trusted peer   at most every PASS_WAIT per reference, the newest then
//! ```
//! Only bound references travel, tombstones like others, each until its end. What a stranger shows a public node does
//! not. Both ends send Have, and either suffices: the end that is ready first speaks to one that does not listen yet.
//! A peer fills at most its share of what is remembered. Normative: `spec/17-references.md`.

use homing_base::{Mono, NodeId, Now, Reference};
use minicbor::bytes::ByteVec;

use super::kept::Known;
use super::limits::{HAVE_MAX, PASS_WAIT, WANT_MAX};
use super::wire::{Have, Item, Note, Tell, Want};
use super::{References, Standing};
use crate::io::Slot;

impl Item {
    /// What is said of a reference that is held; `None`: nobody owns it.
    fn of(reference: &Reference) -> Option<Self> {
        let binding = reference.binding.as_ref()?;
        Some(Self {
            prefix: prefix(&Slot::reference(reference)),
            binding: binding.sequence.0,
            sequence: reference.record.sequence,
            ends: reference.record.ends(),
        })
    }
}

fn prefix(slot: &Slot) -> u64 {
    u64::from_be_bytes(slot.key.0[..8].try_into().expect("a key has 32 bytes"))
}

impl Known {
    /// Schedules it for everybody but whom it came from, if from anybody.
    pub(super) fn pass_on(&mut self, now: Now, from: Option<NodeId>) {
        self.heard |= from.is_some();
        let ends = self.ends();
        self.told.extend(from.map(|from| (from, ends)));
        let earliest = self.passed.map_or(now.mono, |at| at.after(PASS_WAIT));
        self.pass_at = Some(earliest.max(now.mono));
    }

    fn travels(&self) -> Option<&Reference> {
        let travels = self.heard || self.known.kept.is_some();
        self.known.reference.as_ref().filter(|r| travels && r.binding.is_some())
    }
}

impl References {
    /// Whether references travel to and from this peer.
    pub(super) fn gossips(&self, standing: Standing) -> bool {
        standing.trusted && self.settings.gossip
    }

    /// What this agent would tell a trusted peer.
    fn travelling(&self, now: Now) -> impl Iterator<Item = &Reference> {
        let own = self.own.values().map(|own| &own.stored.reference);
        let known = self.known.values().filter_map(Known::travels);
        own.chain(known).filter(move |r| r.record.ends() > now.wall)
    }

    /// A trusted peer is told what is held here, even if that is nothing: it asks for what it lacks, and tells the rest.
    pub(super) fn greet_with_have(&mut self, now: Now, peer: NodeId) {
        let items: Vec<Item> = self.travelling(now).filter_map(Item::of).take(HAVE_MAX).collect();
        self.send(peer, Note::Have(Have::of(&items)));
    }

    pub(super) fn on_have(&mut self, now: Now, from: NodeId, standing: Standing, have: &Have) {
        let Some(items) = have.items().filter(|_| self.gossips(standing)) else {
            self.refused += 1;
            return;
        };
        let held: Vec<Item> = self.travelling(now).filter_map(Item::of).collect();
        let wanted = newer(&items, &held, now);
        if !wanted.is_empty() {
            self.send(from, Note::Want(Want::of(&wanted)));
        }
        self.tell_all(now, from, &newer(&held, &items, now));
    }

    pub(super) fn on_want(&mut self, now: Now, from: NodeId, standing: Standing, want: &Want) {
        let Some(prefixes) = want.prefixes().filter(|_| self.gossips(standing)) else {
            self.refused += 1;
            return;
        };
        self.tell_all(now, from, &prefixes);
    }

    fn tell_all(&mut self, now: Now, peer: NodeId, prefixes: &[u64]) {
        let is_wanted = |r: &&Reference| prefixes.contains(&prefix(&Slot::reference(r)));
        let told: Vec<_> = self.travelling(now).filter(is_wanted).map(tell).collect();
        told.into_iter().take(WANT_MAX).for_each(|note| self.send(peer, note));
    }

    pub(super) fn on_tell(&mut self, now: Now, from: NodeId, standing: Standing, tell: &Tell) {
        let verified = Reference::verify(&tell.reference, now).ok();
        let bound = verified.filter(|r| self.gossips(standing) && r.binding.is_some());
        let Some(reference) = bound else {
            self.refused += 1;
            return;
        };
        let slot = Slot::reference(&reference);
        if self.is_own(&slot) {
            return self.follow_delegate(now, &reference);
        }
        if !self.remember(now, slot, &reference, Some(from)) {
            return;
        }
        if let Some(known) = self.known.get_mut(&slot) {
            known.pass_on(now, Some(from));
        }
        self.tend_passing(now);
    }

    /// Passes on what is due.
    pub(super) fn tend_passing(&mut self, now: Now) {
        let due = |k: &Known| k.pass_at.is_some_and(|at| at <= now.mono);
        let slots: Vec<Slot> =
            self.known.iter().filter(|(_, k)| due(k)).map(|(slot, _)| *slot).collect();
        for slot in slots {
            let Some(known) = self.known.get_mut(&slot) else { continue };
            (known.pass_at, known.passed) = (None, Some(now.mono));
            let ends = known.ends();
            let Some(reference) = known.travels().filter(|_| ends > now.wall).cloned() else {
                continue;
            };
            let trusted = self.peers.iter().filter(|(_, s)| s.trusted).map(|(peer, _)| *peer);
            let lacking = |peer: &NodeId| known.told.get(peer) != Some(&ends);
            let peers: Vec<NodeId> = trusted.filter(lacking).collect();
            known.told.extend(peers.iter().map(|peer| (*peer, ends)));
            peers.into_iter().for_each(|peer| self.send(peer, tell(&reference)));
        }
    }

    /// When the next one is due.
    pub(super) fn passing_deadline(&self) -> Option<Mono> {
        self.known.values().filter_map(|k| k.pass_at).min()
    }
}

/// What one side has, and the other lacks or has older; as many as one Want asks for.
fn newer(these: &[Item], others: &[Item], now: Now) -> Vec<u64> {
    let is_news = |item: &&Item| {
        let other = others.iter().find(|other| other.prefix == item.prefix);
        item.ends > now.wall && other.is_none_or(|other| item.order() > other.order())
    };
    these.iter().filter(is_news).map(|item| item.prefix).take(WANT_MAX).collect()
}

/// The note that tells a reference.
pub(super) fn tell(reference: &Reference) -> Note {
    Note::Tell(Tell { reference: ByteVec::from(reference.to_bytes()) })
}
