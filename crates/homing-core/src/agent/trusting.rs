//! Statements come, are given and run out; and what follows when trust begins or ends.
//!
//! The order of every transition is the same: one `Persist` batch; then streams and doors close
//! or open; then the peer is told.

use homing_base::limits::DIRECT_ADDRESSES_MAX;
use homing_base::statement::SignedStatement;
use homing_base::{Mono, NodeId, Now, Seq, StatementError, StatementKind, Wall};
use tracing::{debug, info};

use super::Agent;
use crate::io::{Event, LinkId, Output, TrustState, Write};
use crate::limits::{CLOCK_EVENT_INTERVAL, REDIAL_MAX, TRUST_REPEAT_FIRST};
use crate::links::Link;
use crate::links::redial::Goal;
use crate::message::{ByeReason, Candidates, Message, TrustSync};
use crate::trust::{Lesson, Refused, Terms, Trust, is_undelivered};

impl Agent {
    pub(super) fn on_trust(&mut self, now: Now, id: LinkId, peer: NodeId, sync: &TrustSync) {
        let mutual = self.trust.is_mutual(now, peer);
        let Some(link) = self.links.link_mut(id) else { return };
        if !mutual && !link.statements.take(now.mono) {
            self.counters.messages_shed += 1;
            return;
        }
        let floor = self.own.floor;
        let confirmed = |trust: &Trust| trust.pair(peer).is_some_and(|pair| pair.confirmed);
        let before = confirmed(&self.trust);
        let mut lesson = self.trust.learn(now, self.me, peer, sync, floor);
        for refused in std::mem::take(&mut lesson.refused) {
            self.on_statement_refused(now, id, peer, refused);
        }
        self.hold_back(peer, sync, &mut lesson);
        self.take_lesson(now, peer, lesson);
        self.settle_trust(now, peer);
        self.tell_trust(now, peer);
        if !before && confirmed(&self.trust) {
            // What was told before the peer believed our word, it had to ignore.
            for id in self.links.ids_of(peer) {
                if let Some(link) = self.links.link_mut(id) {
                    link.told.candidates = None;
                }
            }
            self.tell_candidates(now, peer);
        }
    }

    pub(super) fn take_lesson(&mut self, now: Now, peer: NodeId, lesson: Lesson) {
        let Lesson { theirs, restored, void, .. } = lesson;
        let revoked = void.and_then(|void| self.answer_void(now, peer, &void));
        let ours = revoked.or(restored.clone());
        let mut batch: Vec<Write> =
            [&theirs, &ours].into_iter().flatten().cloned().map(Write::Statement).collect();
        if batch.is_empty() {
            return;
        }
        batch.extend(self.write_record_of(peer));
        self.persist(batch);
        if let Some(statement) = theirs {
            self.counters.statements_accepted += 1;
            self.trust.keep_theirs(peer, statement);
        }
        if let Some(statement) = ours {
            self.trust.keep_ours(statement);
        }
        if let (Some(_), Some(pair)) = (restored, self.trust.pair_mut(peer)) {
            pair.confirmed = true;
            info!(peer = %peer.fmt_short(), "own statement restored from the peer's copy");
            self.notify(Event::TrustRestored { peer });
        }
    }

    /// A consent of ours from before the floor: it was taken back, whatever the peer believes.
    fn answer_void(
        &self,
        now: Now,
        peer: NodeId,
        void: &SignedStatement,
    ) -> Option<SignedStatement> {
        let terms = Terms { above: void.sequence, ..Terms::no(StatementKind::Revoke) };
        self.trust.sign(now, &self.key, peer, terms).ok()
    }

    fn on_statement_refused(&mut self, now: Now, id: LinkId, peer: NodeId, refused: Refused) {
        self.counters.statements_refused += 1;
        debug!(peer = %peer.fmt_short(), ?refused, "statement refused");
        match refused {
            Refused::Invalid(what) => self.notify(Event::Misbehaviour { link: id, what }),
            Refused::Clock(ms) => self.complain_about_clocks(now, Some(peer), Some(ms)),
            Refused::Full => {}
        }
    }

    pub(super) fn complain_about_clocks(
        &mut self,
        now: Now,
        peer: Option<NodeId>,
        offset_ms: Option<i64>,
    ) {
        let recent = |at: Mono| now.mono.since(at) < CLOCK_EVENT_INTERVAL;
        if !self.clock_event_at.is_some_and(recent) {
            self.clock_event_at = Some(now.mono);
            self.notify(Event::ClockSkew { peer, offset_ms });
        }
    }

    /// Announces a changed state and does what it entails.
    pub(super) fn settle_trust(&mut self, now: Now, peer: NodeId) {
        let Some(pair) = self.trust.pair_mut(peer) else { return };
        let to = pair.state(now);
        let from = pair.announced.replace(to).unwrap_or(TrustState::None);
        if from == to {
            return;
        }
        self.dirty = true;
        self.referring.peers_changed();
        self.audit_trust(now, peer, from, to);
        if from == TrustState::Mutual {
            self.shut_out(peer);
        }
        info!(peer = %peer.fmt_short(), ?from, ?to, "trust changed");
        self.notify(Event::TrustChanged { peer, from, to });
        if from == TrustState::Mutual {
            self.tell_trust(now, peer);
            let links = self.links.ids_of(peer);
            links.into_iter().for_each(|id| self.close(now, id, ByeReason::Idle));
        }
        if to == TrustState::Mutual {
            self.let_in(now, peer);
        }
    }

    fn shut_out(&mut self, peer: NodeId) {
        self.outputs.push_back(Output::Sever { peer });
        for endpoint in self.admission.expel(peer) {
            self.outputs.push_back(Output::Expel { endpoint });
        }
        self.candidates.remove(&peer);
    }

    fn let_in(&mut self, now: Now, peer: NodeId) {
        for endpoint in self.admission.admit(peer) {
            self.outputs.push_back(Output::Admit { endpoint, peer });
        }
        self.tell_trust(now, peer);
        self.tell_candidates(now, peer);
        if let Some(goal) = self.goals.get_mut(&Goal::Peer(peer)) {
            goal.hurry(now.mono);
        }
    }

    /// Shows the peer both directions, over every link that has not heard it yet.
    pub(super) fn tell_trust(&mut self, now: Now, peer: NodeId) {
        let sync = self.trust.sync(peer);
        let nothing = sync.mine.is_none() && sync.yours.is_none();
        for id in self.links.ids_of(peer) {
            let Some(link) = self.links.link_mut(id) else { continue };
            if link.told.trust.as_ref() == Some(&sync) || (nothing && link.told.trust.is_none()) {
                continue;
            }
            link.told.trust = Some(sync.clone());
            link.told.trust_at = now.mono;
            link.told.trust_repeats = 0;
            self.send(id, Message::Trust(sync.clone()));
        }
    }

    /// Says again what a live peer has not confirmed.
    pub(super) fn repeat_trust(&mut self, now: Now) {
        let due = |link: &Link| self.trust_repeat_at(now, link).is_some_and(|at| at <= now.mono);
        let due: Vec<LinkId> = self.links.iter().filter(|l| due(l)).map(|l| l.id).collect();
        for id in due {
            let Some(link) = self.links.link_mut(id) else { continue };
            link.told.trust_at = now.mono;
            link.told.trust_repeats += 1;
            if let Some(sync) = link.told.trust.clone() {
                self.send(id, Message::Trust(sync));
            }
        }
    }

    pub(super) fn trust_repeat_at(&self, now: Now, link: &Link) -> Option<Mono> {
        let pair = self.trust.pair(link.peer()?)?;
        link.told.trust.as_ref().filter(|_| is_undelivered(now, pair))?;
        let wait = TRUST_REPEAT_FIRST.saturating_mul(1 << link.told.trust_repeats.min(8));
        Some(link.told.trust_at.after(wait.min(REDIAL_MAX)))
    }

    /// Tells a trusted peer where our main door is, over every link that has not heard it yet.
    pub(super) fn tell_candidates(&mut self, now: Now, peer: NodeId) {
        if !self.trust.is_mutual(now, peer) || !self.active() || self.own.record().is_none() {
            return;
        }
        let Some(facts) = &self.facts else { return };
        let told = Candidates {
            endpoint: self.settings.main,
            proof: self.main_proof.clone(),
            direct: facts.direct.iter().take(DIRECT_ADDRESSES_MAX).copied().collect(),
            relays: facts.relays.iter().take(homing_base::limits::RELAYS_MAX).cloned().collect(),
            network: facts.network,
            port_prediction: self.settings.port_prediction.then_some(true),
        };
        for id in self.links.ids_of(peer) {
            let Some(link) = self.links.link_mut(id) else { continue };
            if link.told.candidates.as_ref() != Some(&told) {
                link.told.candidates = Some(told.clone());
                self.send(id, Message::Candidates(told.clone()));
            }
        }
    }

    pub(super) fn mutual_peers(&self, now: Now) -> impl Iterator<Item = NodeId> {
        let mutual = move |state| state == TrustState::Mutual;
        self.trust.iter().filter(move |(_, p)| mutual(p.state(now))).map(|(peer, _)| peer)
    }

    /// Peers that have our consent, answered or not.
    fn consents(&self, now: Now) -> impl Iterator<Item = NodeId> {
        let given = |state| matches!(state, TrustState::Mutual | TrustState::Requested);
        self.trust.iter().filter(move |(_, p)| given(p.state(now))).map(|(peer, _)| peer)
    }

    /// Signs and persists our word about `peer`, and does what follows from it.
    pub(super) fn give_word(
        &mut self,
        now: Now,
        peer: NodeId,
        terms: Terms,
    ) -> Result<(), StatementError> {
        let statement = self.trust.sign(now, &self.key, peer, terms)?;
        let mut batch = vec![Write::Statement(statement.clone())];
        batch.extend(self.write_record_of(peer));
        self.persist(batch);
        self.trust.keep_ours(statement);
        self.settle_trust(now, peer);
        self.tell_trust(now, peer);
        self.dirty = true;
        Ok(())
    }

    /// Takes trust back: the revocation, the grants that stay (signed anew above the floor), and
    /// the record that carries the floor become durable together.
    pub(super) fn take_back(&mut self, now: Now, peer: NodeId) -> Result<(), StatementError> {
        let ours = self.trust.pair(peer).and_then(|p| p.ours.as_ref());
        // Above the consent that is taken back, even if a wrong clock put that into the future.
        let after = ours.map_or(Wall(0), |s| Wall(s.issued.0.saturating_add(1)));
        let floor = now.wall.max(after);
        let no = Terms::no(StatementKind::Revoke);
        let revocation = self.trust.sign(now, &self.key, peer, no)?;
        let stay: Vec<NodeId> = self.consents(now).filter(|p| *p != peer).collect();
        let mut statements = vec![revocation];
        for other in &stay {
            statements.extend(self.sign_anew(now, *other));
        }
        self.own.raise_floor(Some(floor));
        let mut batch: Vec<Write> = statements.iter().cloned().map(Write::Statement).collect();
        let record = self.sign_own(now);
        batch.extend(record.as_ref().map(|r| Write::OwnRecord(r.record.clone())));
        self.persist(batch);
        statements.into_iter().for_each(|s| self.trust.keep_ours(s));
        self.settle_trust(now, peer);
        self.tell_trust(now, peer);
        stay.into_iter().for_each(|other| self.tell_trust(now, other));
        if let Some(record) = record {
            self.keep_own(now, record);
        }
        self.dirty = true;
        Ok(())
    }

    /// The same word with a new date; a consent that both sides gave is a grant by now.
    fn sign_anew(&self, now: Now, peer: NodeId) -> Option<SignedStatement> {
        let pair = self.trust.pair(peer)?;
        let ours = pair.ours.as_deref()?;
        let mutual = pair.state(now) == TrustState::Mutual;
        let misdated = crate::trust::is_misdated(now, ours);
        let life = ours.expires.map(|end| end.since(ours.issued));
        let redated = life.filter(|_| misdated).map(|life| now.wall.after(life));
        let terms = Terms {
            kind: if mutual { StatementKind::Grant } else { ours.kind },
            services: ours.services.clone(),
            expires: redated.or(ours.expires),
            reason: ours.reason.clone().filter(|_| !mutual),
            name: ours.name.clone(),
            above: Seq(0),
        };
        self.trust.sign(now, &self.key, peer, terms).ok()
    }

    /// Words given while our clock ran ahead, which was set right since: no peer believes them before
    /// their time has come, so they are given again, to end as long after their new date as before.
    pub(super) fn renew_words_from_the_future(&mut self, now: Now) {
        if !self.active() {
            return;
        }
        let renewed: Vec<SignedStatement> =
            self.trust.misdated(now).filter_map(|peer| self.sign_anew(now, peer)).collect();
        self.persist(renewed.iter().cloned().map(Write::Statement).collect());
        for statement in renewed {
            let peer = statement.to;
            self.trust.keep_ours(statement);
            self.settle_trust(now, peer);
            self.tell_trust(now, peer);
        }
    }
}
