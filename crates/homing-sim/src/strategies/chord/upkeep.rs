//! Periodic upkeep: stabilisation, fingers, the predecessor, copies of records, republishing.

use homing_base::Now;
use homing_core::dht::contact::id_prefix;
use homing_core::dht::{Class, Value};

use super::lookup::Purpose;
use super::message::{Body, Message};
use super::ring::{Peer, between};
use super::{Asked, Chord, FINGERS, REPUBLISH, REPUBLISH_FIRST};
use crate::dht::value::Token;

/// Every so many rounds all successors are sent what they should hold.
const COPY_ROUNDS: u32 = 10;
/// Fingers refreshed per interval.
const FINGERS_AT_ONCE: usize = 1;

impl Chord {
    pub(super) fn upkeep(&mut self, now: Now) {
        self.records.retain(|_, record| record.is_current(now));
        match self.successors.first().copied() {
            Some(first) => {
                self.request(now, first, Asked::Links, Class::Maintenance, Body::AskLinks);
            }
            None => self.rejoin(now),
        }
        if let Some(before) = self.predecessor {
            self.request(now, before, Asked::Predecessor, Class::Maintenance, Body::Ping);
        }
        for _ in 0..FINGERS_AT_ONCE {
            self.refresh_finger(now);
        }
        self.republish(now);
    }

    /// Alone: whoever is still known, or a seed, may know the ring.
    fn rejoin(&mut self, now: Now) {
        let known = self.fingers.iter().flatten().copied().chain(self.predecessor);
        let known: Vec<Peer> = known.collect();
        self.seeds.splice(0..0, known.into_iter().take(4));
        self.seeds.truncate(8);
        let underway = !self.lookups.is_empty();
        if !self.seeds.is_empty() && !underway {
            self.begin(now, Purpose::Join, None, self.me.at.wrapping_add(1));
        }
    }

    fn refresh_finger(&mut self, now: Now) {
        let Some(first) = self.successors.first() else { return };
        // Fingers that begin before the successor are the successor.
        let gap = first.at.wrapping_sub(self.me.at).max(1);
        let lowest = gap.ilog2() as usize;
        if self.next_finger <= lowest || self.next_finger >= FINGERS {
            self.next_finger = FINGERS;
        }
        self.next_finger -= 1;
        let i = self.next_finger.max(lowest);
        self.begin(now, Purpose::Finger(i), None, self.me.at.wrapping_add(1 << i));
    }

    /// More often while young: a ring that was still forming may have kept it in the wrong place.
    fn republish(&mut self, now: Now) {
        let Some((record, stored)) = self.own else { return };
        let interval = stored.since(self.born).clamp(REPUBLISH_FIRST, REPUBLISH);
        if now.mono.since(stored) >= interval {
            self.own = Some((record, now.mono));
            self.begin(now, Purpose::Put(record), None, id_prefix(&record.signer()));
        }
    }

    pub(super) fn notify(&mut self, peer: Peer) {
        let id = self.number();
        self.send(peer, Class::Maintenance, Message { id, body: Body::Notify });
    }

    /// Somebody says that it stands right before us.
    pub(super) fn on_notify(&mut self, now: Now, from: Peer) {
        let nearer = self
            .predecessor
            .is_none_or(|p| from.handle != p.handle && between(from.at, p.at, self.me.at));
        if self.successors.is_empty() && from.handle != self.me.handle {
            self.successors.push(from);
        }
        if nearer && from.handle != self.me.handle {
            self.predecessor = Some(from);
            // What it owns now, it gets from us.
            let theirs = |t: &&Token| !between(id_prefix(&t.signer()), from.at, self.me.at);
            let records: Vec<Token> = self.records.values().filter(theirs).copied().collect();
            self.copy_to(now, from, &records);
        }
    }

    fn copy_to(&mut self, now: Now, to: Peer, records: &[Token]) {
        for record in records {
            let body = Body::Store { record: *record };
            self.request(now, to, Asked::Predecessor, Class::Maintenance, body);
        }
    }

    /// The successor's neighbours: take over its list, or the node between us.
    pub(super) fn on_links(
        &mut self,
        now: Now,
        from: Peer,
        predecessor: Option<Peer>,
        theirs: &[Peer],
    ) {
        let me = self.me;
        let mut list = vec![from];
        let nearer =
            |p: &Peer| p.handle != me.handle && p.at != from.at && between(p.at, me.at, from.at);
        if let Some(p) = predecessor.filter(nearer) {
            list.insert(0, p);
        }
        list.extend(theirs.iter().filter(|p| p.handle != me.handle && p.handle != from.handle));
        list.truncate(self.k);
        let fresh: Vec<Peer> = list
            .iter()
            .filter(|p| !self.successors.iter().any(|s| s.handle == p.handle))
            .copied()
            .collect();
        self.successors = list;
        if let Some(first) = self.successors.first().copied() {
            self.notify(first);
        }
        // New successors get copies of what is ours, and all of them now and then.
        let Some(before) = self.predecessor else { return };
        let ours = |t: &&Token| between(id_prefix(&t.signer()), before.at, me.at);
        let records: Vec<Token> = self.records.values().filter(ours).copied().collect();
        self.rounds += 1;
        let whole = self.rounds.is_multiple_of(COPY_ROUNDS);
        let targets = if whole { self.successors.clone() } else { fresh };
        for peer in targets {
            self.copy_to(now, peer, &records);
        }
    }
}
