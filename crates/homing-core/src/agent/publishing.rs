//! Records: our own goes out, others' come in, and those who watch hear of it.

use std::net::SocketAddr;

use homing_base::{Mono, NodeId, Now, Record, RecordError, UnverifiedRecord};
use minicbor::bytes::ByteVec;
use tracing::{debug, info, warn};

use super::Agent;
use crate::dht::Reach;
use crate::io::{EndpointFacts, Event, LinkId, Write};
use crate::limits::{RECORDS_CACHED_MAX, RECORDS_SWEEP, WATCHES_MAX};
use crate::links::redial::Goal;
use crate::message::{AskKey, ByeReason, Message};
use crate::records::known::Novelty;
use crate::records::own::{OwnSeen, Signed};

/// An address went and another one came: links made over the old one may have stayed behind.
fn has_moved(old: &[SocketAddr], new: &[SocketAddr]) -> bool {
    let lacks = |list: &[SocketAddr], other: &[SocketAddr]| other.iter().any(|a| !list.contains(a));
    lacks(new, old) && lacks(old, new)
}

impl Agent {
    pub(super) fn on_facts(&mut self, now: Now, facts: EndpointFacts) {
        let was_online = self.facts.as_ref().is_some_and(|facts| facts.online);
        if facts.online && !was_online {
            // Whatever failed while we were cut off is worth another try now.
            self.hurry_everything(now);
        }
        let moved = self.facts.as_ref().is_some_and(|old| has_moved(&old.direct, &facts.direct));
        self.facts = Some(facts);
        self.dirty = true;
        self.tend_role(now);
        self.publish_if_due(now);
        for peer in self.links.peers().collect::<Vec<_>>() {
            self.tell_candidates(now, peer);
        }
        if moved {
            self.try_all(now);
        }
    }

    pub(super) fn publish_if_due(&mut self, now: Now) {
        let Some(facts) = self.facts_to_publish() else { return };
        let due = self.own.due(now, &self.key, &self.settings, facts);
        if !due || !self.own.may_publish(now) {
            return;
        }
        if let Some(signed) = self.sign_own(now) {
            self.persist(vec![Write::OwnRecord(signed.record.clone())]);
            self.keep_own(now, signed);
        }
    }

    /// Make before break: a taking-over run is silent until it answers.
    fn facts_to_publish(&self) -> Option<&EndpointFacts> {
        let facts = self.facts.as_ref().filter(|_| self.active())?;
        let begins = !self.settings.takeover || facts.online;
        (begins || self.own.record().is_some()).then_some(facts)
    }

    pub(super) fn sign_own(&self, now: Now) -> Option<Signed> {
        let facts = self.facts_to_publish()?;
        match self.own.sign(now, &self.key, &self.settings, facts) {
            Ok(signed) => Some(signed),
            Err(error) => {
                warn!(%error, "the own record cannot be signed");
                None
            }
        }
    }

    /// The own record was persisted: everybody on a link hears of it.
    pub(super) fn keep_own(&mut self, now: Now, signed: Signed) {
        let sequence = signed.record.sequence;
        self.audit_record(now, &signed.record);
        self.own.keep(now, signed);
        let ids: Vec<LinkId> = self.links.iter().map(|l| l.id).collect();
        let links = self.links.proven().count();
        for id in ids {
            let is_new = self.links.link(id).is_some_and(|l| l.told.record.is_none());
            if is_new { self.greet(id) } else { self.tell_own_record(id) }
        }
        self.publish_in_dht(now);
        self.publish_in_gossip(now);
        info!(seq = sequence.0, links, "own record published");
        self.notify(Event::Published { sequence, links });
        self.dirty = true;
    }

    /// Tells a proven link our newest record, unless it knows.
    pub(super) fn tell_own_record(&mut self, id: LinkId) {
        let Some(record) = self.own.record() else { return };
        let Some(link) = self.links.link_mut(id).filter(|l| l.proven.is_some()) else { return };
        if link.told.record.is_some_and(|told| told < record.sequence) {
            link.told.record = Some(record.sequence);
            let bytes = record.bytes().to_vec();
            self.send(id, Message::Records(vec![bytes.into()]));
        }
    }

    pub(super) fn own_deadline(&self, now: Now) -> Option<Mono> {
        let facts = self.facts_to_publish()?;
        if self.own.due(now, &self.key, &self.settings, facts) {
            return self.own.not_before();
        }
        self.own.deadline(now, &self.settings)
    }

    pub(super) fn on_records(&mut self, now: Now, id: LinkId, list: &[ByteVec]) {
        for bytes in list {
            match self.read_record(now, bytes) {
                Ok(Some(record)) if record.node_id() == self.me => self.on_own_seen(now, &record),
                Ok(Some(record)) => {
                    let peer = record.node_id();
                    let speaker = self.links.link(id).and_then(|l| l.peer()) == Some(peer);
                    if speaker || self.settings.public || self.is_related(peer) {
                        self.absorb(now, record, Some(id));
                    }
                }
                Ok(None) => {}
                Err(error) => self.on_record_refused(id, &error),
            }
        }
    }

    /// Verifies a record; `None`: these very bytes are known. Our own may have expired: its
    /// sequence and its floor count all the same.
    pub(super) fn read_record(
        &self,
        now: Now,
        bytes: &[u8],
    ) -> Result<Option<Record>, RecordError> {
        let unverified = UnverifiedRecord::parse(bytes)?;
        let peer = unverified.claimed_node_id();
        if peer == self.me {
            return unverified.verify_signature().map(Some);
        }
        if self.known.record(peer).is_some_and(|known| known.bytes() == bytes) {
            return Ok(None);
        }
        unverified.verify(now).map(Some)
    }

    pub(super) fn on_record_refused(&mut self, id: LinkId, error: &RecordError) {
        self.count_refused(error);
        debug!(link = id.0, %error, "record refused");
        // What ran out, or lies ahead of our clock, may have been forwarded in good faith.
        if !matches!(error, RecordError::Expired { .. } | RecordError::FromTheFuture { .. }) {
            self.notify(Event::Misbehaviour { link: id, what: error.to_string() });
        }
    }

    pub(super) fn count_refused(&mut self, error: &RecordError) {
        let reason = match error {
            RecordError::Encoding(_) => "encoding",
            RecordError::Signature { .. } => "signature",
            RecordError::Key { .. } => "key",
            RecordError::Expired { .. } => "expired",
            RecordError::FromTheFuture { .. } => "from_the_future",
            RecordError::Lifetime { .. } => "lifetime",
            _ => "limit",
        };
        *self.counters.records_refused.entry(reason).or_default() += 1;
    }

    /// Takes another identity's verified record: keeps it if it is the newest, and does what
    /// follows from that.
    pub(super) fn absorb(&mut self, now: Now, record: Record, from: Option<LinkId>) {
        let peer = record.node_id();
        if let Some(first) = self.known.equivocation(&record) {
            let second = record.clone();
            self.notify(Event::Equivocation { peer, sequence: record.sequence });
            self.audit_equivocation(now, &first, &second);
            self.persist(vec![Write::Evidence { first, second }]);
        }
        let old = match self.known.novelty(&record) {
            Novelty::Same | Novelty::Older => return,
            Novelty::First => None,
            Novelty::Newer { old } => Some(*old),
        };
        self.dirty = true;
        let durable = self.settings.public || self.is_related(peer);
        if durable {
            self.persist(vec![Write::Record(record.clone())]);
        }
        self.watch_for_moved_name(&record, old.as_ref());
        self.known.keep(record.clone(), durable);
        self.make_room();
        debug!(peer = %peer.fmt_short(), seq = record.sequence.0, "record kept");
        self.note_place(peer, record.instance, &Reach::of(&record));
        self.note_guest(now, peer);
        if old.is_some_and(|old| old.instance != record.instance) {
            self.on_moved(now, &record);
        }
        self.forward(&record, from);
        self.resolver.on_known(&AskKey::NodeId(peer));
        self.resolver.on_known(&AskKey::Address(homing_base::Address::of(&peer).prefix()));
        if let Some(goal) = self.goals.get_mut(&Goal::Peer(peer)) {
            goal.hurry(now.mono);
        }
    }

    fn make_room(&mut self) {
        let related = self.related();
        let is_related = |peer| related.contains(&peer);
        let mut gone = self.known.make_room(is_related);
        if !self.settings.public {
            self.known.trim_cache(RECORDS_CACHED_MAX);
        }
        self.persist(gone.drain(..).map(Write::ForgetRecord).collect());
    }

    /// A pinned name is claimed by somebody else now: said once, when the claim appears.
    fn watch_for_moved_name(&mut self, record: &Record, old: Option<&Record>) {
        let Some(name) = &record.name else { return };
        let is_new = old.is_none_or(|old| old.name.as_ref() != Some(name));
        let Some(pinned) = self.names.pins().get(name).copied() else { return };
        if is_new && pinned != record.node_id() {
            let claimant = record.node_id();
            self.notify(Event::NameMoved { name: name.clone(), pinned, claimant });
        }
    }

    /// The peer runs at a new instance: links with the old one are of no use.
    fn on_moved(&mut self, now: Now, new: &Record) {
        let peer = new.node_id();
        info!(peer = %peer.fmt_short(), seq = new.sequence.0, "peer moved");
        self.candidates.remove(&peer);
        self.referring.peers_changed();
        let stands = |endpoint| self.links.iter().any(|link| link.remote == endpoint);
        self.admission.drain(now.mono, peer, new.instance, stands);
        if let Some(pair) = self.trust.pair_mut(peer) {
            // The new run may have lost its store: what the old one confirmed is said once more.
            pair.confirmed = false;
        }
        if self.is_related(peer) {
            self.notify(Event::PeerMoved { peer, sequence: new.sequence });
        }
        let stale = |id: &LinkId| {
            let proven = self.links.link(*id).and_then(|l| l.proven);
            proven.is_some_and(|p| p.instance != new.instance)
        };
        let stale: Vec<LinkId> = self.links.ids_of(peer).into_iter().filter(stale).collect();
        for id in stale {
            self.send(id, Message::Records(vec![new.bytes().to_vec().into()]));
            self.close(now, id, ByeReason::Superseded);
        }
    }

    fn forward(&mut self, record: &Record, from: Option<LinkId>) {
        let peer = record.node_id();
        let watchers = self.links.proven().filter(|(link, proven)| {
            Some(link.id) != from && link.watches.contains(&peer) && proven.peer != peer
        });
        let watchers: Vec<LinkId> = watchers.map(|(link, _)| link.id).collect();
        for id in watchers {
            self.send(id, Message::Records(vec![record.bytes().to_vec().into()]));
        }
    }

    /// A record of our own identity that is not of this run.
    pub(super) fn on_own_seen(&mut self, now: Now, seen: &Record) {
        if self.own.raise_floor(seen.trust_floor) {
            self.dirty = true;
        }
        let before = self.superseded_by();
        match self.own.on_seen(now, seen, &self.settings) {
            OwnSeen::Known | OwnSeen::Old => {}
            OwnSeen::Outbid => {
                info!(seq = seen.sequence.0, "an older run's sequence is higher: outbidding it");
                self.publish_if_due(now);
            }
            OwnSeen::Superseded => {
                self.persist(vec![Write::OwnRecord(seen.clone())]);
                if before != Some(seen.instance) {
                    warn!(
                        seq = seen.sequence.0,
                        "a newer instance of this identity runs elsewhere"
                    );
                    self.audit_superseded(now, seen.instance, seen.sequence);
                    self.notify(Event::Superseded { by: seen.instance });
                    self.give_way(now, seen);
                }
            }
        }
    }

    /// Stops publishing and dialling; links with trusted peers may carry streams and stay for a while.
    fn give_way(&mut self, now: Now, newer: &Record) {
        self.dirty = true;
        self.goals.clear();
        let all: Vec<(LinkId, Option<NodeId>)> =
            self.links.iter().map(|l| (l.id, l.peer())).collect();
        for (id, peer) in all {
            self.send(id, Message::Records(vec![newer.bytes().to_vec().into()]));
            if !peer.is_some_and(|peer| self.trust.is_mutual(now, peer)) {
                self.close(now, id, ByeReason::Idle);
            }
        }
    }

    pub(super) fn sweep_records(&mut self, now: Now) {
        if now.mono.since(self.swept_at) < RECORDS_SWEEP {
            return;
        }
        self.swept_at = now.mono;
        let related = self.related();
        let gone = self.known.sweep(now, |peer| related.contains(&peer));
        self.persist(gone.into_iter().map(Write::ForgetRecord).collect());
    }

    /// Tells public neighbours whose moves we want to hear of.
    pub(super) fn tell_watches(&mut self) {
        let public = self.links.proven().filter(|(link, proven)| proven.public && !link.brief);
        let ids: Vec<LinkId> = public.map(|(link, _)| link.id).collect();
        if ids.is_empty() || !self.active() {
            return;
        }
        let wanted: Vec<NodeId> = self.related().into_iter().take(WATCHES_MAX).collect();
        for id in ids {
            let Some(link) = self.links.link_mut(id) else { continue };
            let nothing = wanted.is_empty() && link.told.watch.is_none();
            if !nothing && link.told.watch.as_ref() != Some(&wanted) {
                link.told.watch = Some(wanted.clone());
                self.send(id, Message::Watch(wanted.clone()));
            }
        }
    }
}
