//! Links come, prove themselves, fall silent, are one too many, and go.

use homing_base::{Now, Record, RecordError};
use tracing::debug;

use super::Agent;
use crate::dht::{DhtInput, Reach};
use crate::io::{Event, LinkId, LinkUp, Output, Write};
use crate::limits::{
    DRAIN, GARBAGE_MAX, HELLO_TIMEOUT, LINK_IDLE, LINK_STABLE, LINKS_MAX, LINKS_PER_PEER_MAX,
    LINKS_STRANGERS_MAX, LINKS_UNPROVEN_MAX,
};
use crate::links::hello::{self, HelloError};
use crate::links::liveness::Verdict;
use crate::links::redial::Goal;
use crate::links::{Link, Proven, duplicates};
use crate::message::{ByeReason, Hello, MESH_VERSION, Message};
use crate::records::known::Novelty;
use homing_base::{Mono, NodeId};

impl Agent {
    pub(super) fn on_link_up(&mut self, now: Now, up: LinkUp) {
        self.dirty = true;
        let two_doors = self.settings.main != self.settings.instance;
        let main_here = !two_doors || up.door == crate::io::Door::Main;
        let crowded = self.links.len() >= LINKS_MAX
            || (up.dial.is_none() && self.links.unproven_inbound() >= LINKS_UNPROVEN_MAX);
        self.links.insert(Link::new(now.mono, up, main_here));
        if self.stopped {
            self.close(now, up.link, ByeReason::Stopping);
        } else if crowded {
            self.close(now, up.link, ByeReason::Overload);
        } else if let Some(newer) = self.own.superseded().cloned() {
            self.send(up.link, Message::Records(vec![newer.bytes().to_vec().into()]));
            self.close(now, up.link, ByeReason::Idle);
        } else {
            self.greet(up.link);
        }
    }

    /// Says who we are, as soon as there is a record to say it with.
    pub(super) fn greet(&mut self, id: LinkId) {
        let Some(record) = self.own.record() else { return };
        let dht = self.dht_word();
        let Some(link) = self.links.link(id) else { return };
        let brief = self.is_dht_dial(link);
        let Some(link) = self.links.link_mut(id) else { return };
        link.brief |= brief && link.proven.is_none();
        link.told.record = Some(record.sequence);
        self.referring.peers_changed();
        let hello = Hello {
            version: MESH_VERSION,
            record: record.bytes().to_vec(),
            proof: self.main_proof.clone().filter(|_| link.main_here),
            public: self.settings.public.then_some(true),
            software: Some(self.settings.software.clone()),
            dht,
            brief: link.brief.then_some(true).filter(|_| link.dial.is_some()),
        };
        self.send(id, Message::Hello(hello));
    }

    pub(super) fn on_hello(&mut self, now: Now, id: LinkId, hello: &Hello) {
        let Some(link) = self.links.link(id) else { return };
        if link.proven.is_some() {
            // Said again: the record can be news, or the role in the DHT.
            let peer = link.peer();
            if let Some(link) = self.links.link_mut(id) {
                let stopped = link.dht == Some(true) && hello.dht != Some(true);
                link.dht = hello.dht;
                if let (true, Some(peer), Some(finding)) = (stopped, peer, self.finding()) {
                    finding.tell(DhtInput::PeerGone { peer });
                }
            }
            self.on_records(now, id, &[hello.record.clone().into()]);
            return peer.into_iter().for_each(|peer| self.meet_server(id, peer));
        }
        let record = match hello::verify(now, hello, link.remote) {
            Ok(record) => record,
            Err(error) => return self.refuse_hello(now, id, &error),
        };
        if record.node_id() == self.me {
            return self.on_own_instance(now, id, &record);
        }
        let known = self.known.record(record.node_id());
        if let Some(known) = known
            && known.instance != record.instance
            && self.known.novelty(&record) == Novelty::Older
        {
            let newer = known.bytes().to_vec();
            self.absorb(now, record, Some(id));
            self.send(id, Message::Records(vec![newer.into()]));
            return self.close(now, id, ByeReason::Superseded);
        }
        // An identity that lost its store must learn how far its word is void.
        if let Some(known) = known.filter(|k| k.trust_floor > record.trust_floor) {
            let older = known.bytes().to_vec();
            self.send(id, Message::Records(vec![older.into()]));
        }
        self.absorb(now, record.clone(), Some(id));
        if let Some(link) = self.links.link_mut(id) {
            link.brief |= link.dial.is_none() && hello.brief == Some(true);
            link.dht = hello.dht;
            link.place = Some(Reach::of(&record));
            link.software = hello.software.as_deref().map(hello::software);
        }
        self.on_proven(now, id, &record, hello.public == Some(true));
    }

    fn refuse_hello(&mut self, now: Now, id: LinkId, error: &HelloError) {
        debug!(link = id.0, %error, "hello refused");
        if let HelloError::Record(e) = error {
            self.count_refused(e);
        }
        if let HelloError::Record(RecordError::FromTheFuture { issued, now: ours }) = error {
            let ahead = i64::try_from(issued.since(*ours).as_millis()).unwrap_or(i64::MAX);
            self.complain_about_clocks(now, None, Some(-ahead));
        }
        if error.is_misbehaviour() {
            self.notify(Event::Misbehaviour { link: id, what: error.to_string() });
        }
        self.close(now, id, error.bye());
    }

    /// Somebody speaks for our own identity: ourselves, or another instance.
    fn on_own_instance(&mut self, now: Now, id: LinkId, record: &Record) {
        if record.instance == self.settings.instance {
            debug!(link = id.0, "dialled ourselves");
            self.mark_seed_as_self(id);
            return self.close(now, id, ByeReason::Idle);
        }
        self.on_own_seen(now, record);
        let newest = self.own.superseded().or(self.own.record()).cloned();
        if let Some(newest) = newest.filter(|n| n.precedence(record).is_gt()) {
            self.send(id, Message::Records(vec![newest.bytes().to_vec().into()]));
            return self.close(now, id, ByeReason::Superseded);
        }
        self.close(now, id, ByeReason::Idle);
    }

    fn on_proven(&mut self, now: Now, id: LinkId, record: &Record, public: bool) {
        let peer = record.node_id();
        let Some((dial, remote)) = self.links.link(id).map(|l| (l.dial, l.remote)) else { return };
        let is_first = !self.links.has_lasting(peer) && !self.is_brief(id);
        if let Err(reason) = self.room_for(peer, id) {
            return self.close(now, id, reason);
        }
        let proven =
            Proven { peer, instance: record.instance, public, at: now.mono, confirmed: false };
        self.links.prove(id, proven);
        self.referring.peers_changed();
        self.counters.links_proven += 1;
        self.last_seen.insert(peer, now.wall);
        if let Some(dial) = dial {
            self.on_dial_landed(dial, peer);
        }
        debug!(peer = %peer.fmt_short(), link = id.0, "link proven");
        if is_first {
            self.notify(Event::PeerConnected { peer, link: id });
        }
        let trusted = self.trust.is_mutual(now, peer);
        if self.admission.note(remote, peer, trusted) {
            self.outputs.push_back(Output::Admit { endpoint: remote, peer });
        }
        self.tell_own_record(id);
        self.tell_trust(now, peer);
        self.tell_candidates(now, peer);
        self.ask_new_neighbour(now, id, peer);
        self.on_dht_link(now, id, peer);
        self.note_guest(now, peer);
        self.note_reached(id);
        self.meet_server(id, peer);
        self.pump_dht(now);
        self.drop_duplicates(now, peer);
        self.dirty = true;
    }

    fn room_for(&self, peer: NodeId, id: LinkId) -> Result<(), ByeReason> {
        if !self.is_expected(peer, id) {
            debug!(peer = %peer.fmt_short(), link = id.0, "another peer than expected answered");
            return Err(ByeReason::Idle);
        }
        if self.links.of(peer).count() >= LINKS_PER_PEER_MAX {
            return Err(ByeReason::Duplicate);
        }
        if self.settings.public || self.is_brief(id) || self.is_related(peer) {
            return Ok(());
        }
        let lasting = self.links.peers().filter(|p| self.links.has_lasting(*p));
        let strangers = lasting.filter(|p| !self.is_related(*p)).count();
        if strangers >= LINKS_STRANGERS_MAX { Err(ByeReason::Overload) } else { Ok(()) }
    }

    pub(super) fn drop_duplicates(&mut self, now: Now, peer: NodeId) {
        let links: Vec<&Link> = self.links.of(peer).collect();
        if links.len() < 2 {
            return;
        }
        let main = self.candidates.get(&peer).map(|c| c.endpoint);
        for id in duplicates::redundant(now.mono, &links, self.me, peer, main) {
            self.close(now, id, ByeReason::Duplicate);
        }
    }

    pub(super) fn on_link_down(&mut self, now: Now, link: LinkId, reason: &str) {
        self.drop_link(now, link, reason);
    }

    /// The peer says goodbye.
    pub(super) fn on_bye(&mut self, now: Now, id: LinkId, reason: ByeReason) {
        let peer = self.links.link(id).and_then(Link::peer);
        debug!(link = id.0, reason = reason.label(), "peer says goodbye");
        if reason == ByeReason::ClockSkew {
            self.complain_about_clocks(now, peer, None);
        }
        self.outputs.push_back(Output::Close { link: id, reason });
        self.drop_link(now, id, reason.label());
    }

    /// The link is gone; everything that counted on it is told.
    pub(super) fn drop_link(&mut self, now: Now, id: LinkId, reason: &str) {
        let Some(link) = self.links.remove(id) else { return };
        self.dirty = true;
        self.referring.peers_changed();
        let was_shown = !link.brief && link.proven.is_some_and(|p| !self.links.has_lasting(p.peer));
        self.resolver.on_link_gone(id);
        if self.links.iter().all(|other| other.remote != link.remote) {
            self.admission.on_link_gone(link.remote);
        }
        let Some(proven) = link.proven else {
            if let Some(dial) = link.dial {
                self.dial_came_to_nothing(now, dial);
            }
            return;
        };
        let peer = proven.peer;
        // What was under way over it may be lost, whichever link is there besides.
        self.witness.peer_down(peer);
        if self.links.is_connected(peer) {
            self.referring.forget_link(peer);
        }
        let stopping = reason == ByeReason::Stopping.label();
        let was_stable = now.mono.since(proven.at) >= LINK_STABLE && !stopping;
        self.on_goal_lost(now, Goal::Main(peer), was_stable);
        if was_shown {
            self.notify(Event::PeerDisconnected { peer, reason: reason.to_owned() });
        }
        if self.links.is_connected(peer) {
            return;
        }
        self.on_goal_lost(now, Goal::Peer(peer), was_stable);
        for index in self.seeds_of(peer) {
            self.on_goal_lost(now, Goal::Seed(index), was_stable);
        }
        if self.is_related(peer) {
            let at = self.last_seen.get(&peer).copied().unwrap_or(now.wall);
            self.persist(vec![Write::LastSeen { peer, at }]);
        } else {
            self.last_seen.remove(&peer);
        }
    }

    fn is_brief(&self, id: LinkId) -> bool {
        self.links.link(id).is_some_and(|l| l.brief)
    }

    pub(super) fn on_garbage(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.link_mut(id) else { return };
        link.garbage += 1;
        // Kinds of a later version cannot be read either: some are forgiven, once proven.
        if link.proven.is_none() || link.garbage > GARBAGE_MAX {
            let what = "unreadable messages".to_owned();
            self.notify(Event::Misbehaviour { link: id, what });
            self.close(now, id, ByeReason::Protocol);
        }
    }

    /// Probes the silent, gives up the dead, the unproven and the unneeded.
    pub(super) fn tend_links(&mut self, now: Now) {
        let count = self.links.lasting();
        let mut unneeded = Vec::new();
        let (mut dead, mut probes, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for link in self.links.iter_mut() {
            if link.proven.is_none() {
                if now.mono.since(link.up_at) >= HELLO_TIMEOUT {
                    late.push(link.id);
                }
                continue;
            }
            if link.brief {
                if Self::brief_deadline(link) <= now.mono {
                    unneeded.push(link.id);
                }
                continue;
            }
            match link.pulse.verdict(now.mono, count) {
                Verdict::Dead => dead.push(link.id),
                Verdict::Probe => probes.push(link.id),
                Verdict::Doubt => {
                    link.pulse.doubt();
                    self.dirty = true;
                }
                Verdict::Fine => {}
            }
            if link.idle_since.is_some_and(|at| now.mono.since(at) >= LINK_IDLE) {
                unneeded.push(link.id);
            }
        }
        late.into_iter().for_each(|id| self.close(now, id, ByeReason::Protocol));
        for id in dead {
            self.counters.links_dead += 1;
            self.outputs.push_back(Output::Close { link: id, reason: ByeReason::Idle });
            self.drop_link(now, id, "silent for 2 s");
        }
        probes.into_iter().for_each(|id| self.probe(now, id));
        unneeded.into_iter().for_each(|id| self.close(now, id, ByeReason::Idle));
        self.repeat_trust(now);
    }

    fn probe(&mut self, now: Now, id: LinkId) {
        let token = self.chance.token();
        if let Some(link) = self.links.link_mut(id) {
            link.pulse.on_probe(now.mono, token);
            self.send(id, Message::Ping(token));
        }
    }

    /// We slept: look at every link now, blaming none for the past.
    pub(super) fn probe_all(&mut self, now: Now) {
        self.links.iter_mut().for_each(|link| link.pulse.forgive(now.mono));
        self.probe_proven(now);
    }

    /// Our network changed: every link must show soon that it moved along.
    pub(super) fn try_all(&mut self, now: Now) {
        self.links.iter_mut().for_each(|link| link.pulse.put_on_trial(now.mono));
        self.probe_proven(now);
    }

    fn probe_proven(&mut self, now: Now) {
        self.dirty = true;
        let proven: Vec<LinkId> = self.links.proven().map(|(link, _)| link.id).collect();
        proven.into_iter().for_each(|id| self.probe(now, id));
    }

    /// Notes which links that we dialled are needed by nobody here.
    pub(super) fn mark_idle(&mut self, now: Now) {
        for link in self.links.iter_mut().filter(|l| !l.brief) {
            let Some(peer) = link.peer() else { continue };
            let by_seed = self.seeds.iter().any(|seed| seed.peer == Some(peer));
            let needed =
                link.dial.is_none() || by_seed || self.goals.contains_key(&Goal::Peer(peer));
            link.idle_since = if needed { None } else { link.idle_since.or(Some(now.mono)) };
        }
    }

    pub(super) fn links_deadline(&self, now: Now) -> Option<Mono> {
        let count = self.links.lasting();
        let of = |link: &Link| match link.proven {
            None => link.up_at.after(HELLO_TIMEOUT),
            Some(_) if link.brief => {
                Self::brief_deadline(link).min(self.trust_repeat_at(now, link).unwrap_or(Mono::MAX))
            }
            Some(_) => {
                let pulse = link.pulse.deadline(count);
                let idle = link.idle_since.map_or(Mono::MAX, |at| at.after(LINK_IDLE));
                pulse.min(idle).min(self.trust_repeat_at(now, link).unwrap_or(Mono::MAX))
            }
        };
        self.links.iter().map(of).min()
    }

    /// The last streams of a superseded run end.
    pub(super) fn finish_draining(&mut self, now: Now) {
        if self.drained || self.drain_deadline().is_none_or(|at| at > now.mono) {
            return;
        }
        self.drained = true;
        let mutual: Vec<NodeId> = self.mutual_peers(now).collect();
        for peer in mutual {
            self.outputs.push_back(Output::Sever { peer });
        }
        let all: Vec<LinkId> = self.links.iter().map(|l| l.id).collect();
        all.into_iter().for_each(|id| self.close(now, id, ByeReason::Idle));
    }

    pub(super) fn drain_deadline(&self) -> Option<Mono> {
        let superseded = self.own.superseded().is_some() && !self.drained;
        superseded.then(|| self.own.superseded_at().after(DRAIN))
    }
}
