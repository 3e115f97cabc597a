//! What the local user wants. Every command gets exactly one reply, and all of them may be repeated.

use std::time::Duration;

use homing_base::limits::{CARD_URL_BYTES_MAX, SERVICES_MAX};
use homing_base::record::CardRef;
use homing_base::{InstanceId, Mono, Name, NodeId, Now, Scope, Seq, Service, StatementKind, Wall};

use super::Agent;
use super::lookups::Located;
use super::waits::{Echoes, Stage};
use crate::io::{
    Answer, Command, Failure, LinkId, Output, PeerHint, PeerRef, RequestId, TrustState, Write,
};
use crate::limits::{ALIASES_MAX, COMMANDS_MAX, LOOKUP_TIMEOUT_JOINING, SEEDS_MAX};
use crate::message::{AskKey, ByeReason, Refusal};
use crate::names::Meaning;
use crate::resolve::Landing;
use crate::trust::{Terms, state::says_yes};

type Outcome = Result<Answer, Failure>;

impl Agent {
    pub(super) fn on_command(&mut self, now: Now, request: RequestId, command: Command) {
        self.dirty = true;
        let outcome = match command {
            Command::Handshake { .. }
            | Command::Resolve { .. }
            | Command::Ping { .. }
            | Command::Connect { .. }
            | Command::Send { .. }
            | Command::Alias { peer: Some(_), .. } => return self.begin(now, request, command),
            Command::DhtLookup { key, timeout } => {
                return self.look_up_in_dht(now, request, key, timeout);
            }
            Command::DhtMode(mode) => Ok(self.set_dht_mode(now, mode)),
            Command::ResolveReference { key, timeout } => {
                return self.resolve_reference(now, request, key, timeout);
            }
            Command::Reference(command) => self.on_reference_command(now, command),
            Command::Approve { peer, services, lifetime } => {
                self.approve(now, &peer, services, lifetime)
            }
            Command::Reject { peer } => self.reject(now, &peer),
            Command::Revoke { peer } => self.revoke(now, &peer),
            Command::Authorize { endpoint, service } => self.authorize(now, endpoint, service),
            Command::Alias { name, peer: None } => Ok(self.set_alias(name, None)),
            Command::AddPeer(hint) => self.add_peer(now, hint),
            Command::SetServices(services) => self.set_services(services),
            Command::SetCard(card) => self.set_card(card),
            Command::Offer { record } => self.offer(now, *record),
            Command::Cosign(submission) => Ok(self.cosign_for_registry(now, &submission)),
            Command::Messages(command) => self.on_message_command(now, command),
            Command::NetworkChanged => {
                self.try_all(now);
                self.hurry_everything(now);
                self.ports.on_network_changed(now.mono);
                self.pump_ports(now);
                Ok(Answer::Done { changed: true })
            }
            Command::Stop => self.stop(now),
        };
        self.reply(request, outcome);
    }

    /// Commands that may have to find their peer first.
    fn begin(&mut self, now: Now, request: RequestId, command: Command) {
        if self.waits.len() >= COMMANDS_MAX {
            let failure = Failure::Limit { what: "commands in progress", max: COMMANDS_MAX };
            return self.reply(request, Err(failure));
        }
        let Some(reference) = command.peer().cloned() else { return };
        let patience = command.timeout().unwrap_or(2 * LOOKUP_TIMEOUT_JOINING);
        let ends = now.mono.after(patience);
        match self.locate(&reference) {
            Located::Found(meaning) => self.run(now, request, command, meaning, ends, None),
            Located::Failed(failure) => self.reply(request, Err(failure)),
            Located::Ask(key) => {
                if self.look_up(now, &key) {
                    let command = Box::new(command);
                    return self.wait(now, request, Stage::Find { reference, command }, ends);
                }
                match self.decide(now, &reference, 0) {
                    Ok(meaning) => self.run(now, request, command, meaning, ends, None),
                    Err(failure) => self.reply(request, Err(failure)),
                }
            }
        }
    }

    /// A command whose peer is known by node ID.
    pub(super) fn run(
        &mut self,
        now: Now,
        request: RequestId,
        command: Command,
        meaning: Meaning,
        ends: Mono,
        landing: Option<&Landing>,
    ) {
        let peer = meaning.peer;
        let until = self.recalls_until(now, peer, &command);
        if let Some(until) = until.filter(|_| ends > now.mono) {
            let stage = Stage::Word { peer, command: Box::new(command), until };
            return self.wait(now, request, stage, ends);
        }
        let reference = command.peer().cloned();
        if let (true, Some(PeerRef::Name(name))) = (meaning.pin && peer != self.me, reference) {
            self.persist(vec![Write::Pin { name: name.clone(), peer }]);
            self.names.keep_pin(name, peer);
        }
        let outcome = match command {
            Command::Resolve { .. } => return self.resolve(now, request, peer, ends, landing),
            _ if peer == self.me => Err(Failure::Myself),
            Command::Handshake { reason, services, lifetime, .. } => {
                self.handshake(now, peer, reason, services, lifetime)
            }
            Command::Alias { name, .. } => self.alias(name, peer),
            Command::Send { draft, .. } => self.send_message(now, peer, draft),
            Command::Ping { .. } => match self.check_trusted(now, peer) {
                Ok(()) => {
                    let stage = Stage::Echo { peer, echoes: Echoes::default() };
                    return self.wait_for_peer(now, request, peer, stage, ends);
                }
                Err(failure) => Err(failure),
            },
            Command::Connect { service, .. } => match self.check_scope(now, peer, &service) {
                Ok(()) => {
                    let stage = Stage::Path { peer, service };
                    return self.wait_for_peer(now, request, peer, stage, ends);
                }
                Err(failure) => Err(failure),
            },
            _ => Err(Failure::Invalid("this command names no peer".into())),
        };
        self.reply(request, outcome);
    }

    fn wait_for_peer(
        &mut self,
        now: Now,
        request: RequestId,
        peer: NodeId,
        stage: Stage,
        ends: Mono,
    ) {
        self.wait(now, request, stage, ends);
        self.hurry(now.mono, peer);
    }

    fn resolve(
        &mut self,
        now: Now,
        request: RequestId,
        peer: NodeId,
        ends: Mono,
        landing: Option<&Landing>,
    ) {
        if peer == self.me {
            let own = self.own.superseded().or(self.own.record()).cloned();
            let what = peer.to_string();
            let outcome = own.ok_or(Failure::NotFound { what, asked: 0 });
            return self.reply(request, outcome.map(|record| Answer::local(now, record)));
        }
        let key = AskKey::NodeId(peer);
        let is_known = self.known.valid(now, peer).is_some();
        // What is known is served at once; a fresh one is fetched unless the peer itself tells us.
        let asks = !self.links.is_connected(peer) && landing.is_none() && self.look_up(now, &key);
        if is_known || landing.is_some() || !asks {
            return self.finish_record(now, request, peer, landing);
        }
        self.wait(now, request, Stage::Record { peer }, ends);
    }

    pub(super) fn check_active(&self) -> Result<(), Failure> {
        match self.superseded_by() {
            Some(by) => Err(Failure::Superseded { by }),
            None => Ok(()),
        }
    }

    fn handshake(
        &mut self,
        now: Now,
        peer: NodeId,
        reason: Option<String>,
        services: Option<Vec<Service>>,
        lifetime: Option<Duration>,
    ) -> Outcome {
        self.check_active()?;
        let state = self.trust.state(now, peer);
        let name = self.settings.name.clone();
        let expires = end_of(now, lifetime)?;
        let services = checked_services(services)?;
        let kind = StatementKind::Request;
        let terms = Terms { kind, services, expires, reason, name, above: Seq(0) };
        if state == TrustState::Mutual || self.already_asks(peer, state, &terms, lifetime) {
            return Ok(Answer::Trust { peer, state, changed: false });
        }
        self.give(now, peer, terms)
    }

    /// The same request is on its way already.
    fn already_asks(
        &self,
        peer: NodeId,
        state: TrustState,
        terms: &Terms,
        lifetime: Option<Duration>,
    ) -> bool {
        let ours = self.trust.pair(peer).and_then(|p| p.ours.as_ref());
        state == TrustState::Requested
            && ours.is_some_and(|s| {
                s.kind == StatementKind::Request
                    && s.services == terms.services
                    && s.reason == terms.reason
                    && s.expires.map(|end| end.since(s.issued)) == lifetime
            })
    }

    fn give(&mut self, now: Now, peer: NodeId, terms: Terms) -> Outcome {
        self.give_word(now, peer, terms).map_err(|e| Failure::Invalid(e.to_string()))?;
        Ok(Answer::Trust { peer, state: self.trust.state(now, peer), changed: true })
    }

    /// Whom a reference to a pending request means.
    fn requester(&self, now: Now, reference: &PeerRef) -> Result<NodeId, Failure> {
        match self.decide(now, reference, 0) {
            Ok(meaning) if meaning.peer == self.me => Err(Failure::Myself),
            Ok(meaning) => Ok(meaning.peer),
            Err(Failure::NotFound { what, .. }) => Err(Failure::NoRequest { what }),
            Err(failure) => Err(failure),
        }
    }

    fn approve(
        &mut self,
        now: Now,
        reference: &PeerRef,
        services: Option<Vec<Service>>,
        lifetime: Option<Duration>,
    ) -> Outcome {
        self.check_active()?;
        let peer = self.requester(now, reference)?;
        let state = self.trust.state(now, peer);
        let pair = self.trust.pair(peer).cloned().unwrap_or_default();
        let asked = pair.theirs.filter(|s| s.consents(now));
        let renews = state == TrustState::Expired && asked.is_some();
        let base = match state {
            TrustState::Pending => asked,
            TrustState::Expired if renews => asked,
            TrustState::Mutual => {
                let same_services = services.is_none()
                    || services == pair.ours.as_ref().and_then(|s| s.services.clone());
                if same_services && lifetime.is_none() {
                    return Ok(Answer::Trust { peer, state, changed: false });
                }
                pair.ours
            }
            _ => return Err(Failure::NoRequest { what: reference.to_string() }),
        };
        let services = match checked_services(services)? {
            None => base.as_ref().and_then(|s| s.services.clone()),
            given => given,
        };
        let expires = end_of(now, lifetime)?.or(base.and_then(|s| s.expires));
        let name = self.settings.name.clone();
        let kind = StatementKind::Grant;
        let terms = Terms { kind, services, expires, reason: None, name, above: Seq(0) };
        let given = self.give(now, peer, terms)?;
        if state == TrustState::Mutual {
            let scope = self.allowed(peer);
            self.outputs.push_back(Output::Confine { peer, scope });
        }
        Ok(given)
    }

    fn reject(&mut self, now: Now, reference: &PeerRef) -> Outcome {
        self.check_active()?;
        let peer = self.requester(now, reference)?;
        match self.trust.state(now, peer) {
            TrustState::Pending => self.give(now, peer, Terms::no(StatementKind::Reject)),
            state @ TrustState::RejectedByUs => Ok(Answer::Trust { peer, state, changed: false }),
            _ => Err(Failure::NoRequest { what: reference.to_string() }),
        }
    }

    fn revoke(&mut self, now: Now, reference: &PeerRef) -> Outcome {
        self.check_active()?;
        let peer = self.decide(now, reference, 0)?.peer;
        if peer == self.me {
            return Err(Failure::Myself);
        }
        let ours = self.trust.pair(peer).and_then(|p| p.ours.as_ref());
        let changed = ours.is_some_and(|s| says_yes(s));
        if changed {
            self.take_back(now, peer).map_err(|e| Failure::Invalid(e.to_string()))?;
        }
        Ok(Answer::Trust { peer, state: self.trust.state(now, peer), changed })
    }

    fn authorize(&self, now: Now, endpoint: InstanceId, service: Service) -> Outcome {
        let unproven = Failure::Unproven { endpoint };
        let peer = self.admission.owner(endpoint).ok_or(unproven)?;
        match self.trust.state(now, peer) {
            TrustState::Mutual => {}
            TrustState::Expired => {
                return Err(Failure::Refused { peer, refusal: Refusal::TrustExpired });
            }
            state => return Err(Failure::NotTrusted { peer, state }),
        }
        if self.allows(peer, &service) {
            Ok(Answer::Authorized { peer })
        } else {
            Err(Failure::ScopeDenied { peer, service, scope: self.allowed(peer) })
        }
    }

    /// Whether what we granted to a peer covers a service.
    pub(super) fn allows(&self, peer: NodeId, service: &Service) -> bool {
        self.allowed(peer).admits(service)
    }

    fn allowed(&self, peer: NodeId) -> Scope {
        let ours = self.trust.pair(peer).and_then(|p| p.ours.as_ref());
        ours.map_or(Scope::Only([].into()), |s| s.scope())
    }

    fn alias(&mut self, name: Name, peer: NodeId) -> Outcome {
        let is_new = !self.names.aliases().contains_key(&name);
        if is_new && self.names.aliases().len() >= ALIASES_MAX {
            return Err(Failure::Limit { what: "aliases", max: ALIASES_MAX });
        }
        Ok(self.set_alias(name, Some(peer)))
    }

    fn set_alias(&mut self, name: Name, peer: Option<NodeId>) -> Answer {
        let changed = self.names.aliases().get(&name).copied() != peer;
        if changed {
            let mut batch = vec![Write::Alias { name: name.clone(), peer }];
            batch.extend(peer.and_then(|peer| self.write_record_of(peer)));
            self.persist(batch);
            self.names.keep_alias(name, peer);
        }
        Answer::Done { changed }
    }

    fn add_peer(&mut self, now: Now, hint: PeerHint) -> Outcome {
        if self.seeds.len() >= SEEDS_MAX {
            return Err(Failure::Limit { what: "peers to join through", max: SEEDS_MAX });
        }
        Ok(Answer::Done { changed: self.plant_hint(now, hint) })
    }

    fn set_services(&mut self, services: Vec<Service>) -> Outcome {
        if services.len() > SERVICES_MAX {
            return Err(Failure::Limit { what: "services", max: SERVICES_MAX });
        }
        let changed = self.own.services != services;
        self.own.services = services;
        Ok(Answer::Done { changed })
    }

    /// The card that the next record names; that of the previous run until somebody says otherwise.
    #[must_use]
    pub fn own_card(&self) -> Option<&CardRef> {
        self.own.card.as_ref()
    }

    fn set_card(&mut self, card: Option<CardRef>) -> Outcome {
        if let Some(card) = &card {
            let well_formed = !card.url.chars().any(char::is_control);
            if card.url.len() > CARD_URL_BYTES_MAX || !well_formed {
                let why = format!("a card's URL has at most {CARD_URL_BYTES_MAX} printable bytes");
                return Err(Failure::Invalid(why));
            }
        }
        let changed = self.own.card != card;
        self.own.card = card;
        Ok(Answer::Done { changed })
    }

    fn stop(&mut self, now: Now) -> Outcome {
        self.leave_dht(now);
        let all: Vec<LinkId> = self.links.iter().map(|l| l.id).collect();
        all.into_iter().for_each(|id| self.close(now, id, ByeReason::Stopping));
        self.stopped = true;
        self.goals.clear();
        for request in self.waits.keys().copied().collect::<Vec<_>>() {
            let what = "this node to run on: it stops".to_owned();
            self.reply(request, Err(Failure::Timeout { what }));
        }
        Ok(Answer::Done { changed: true })
    }
}

impl Command {
    /// Whom the command is about, for those that may have to find out first.
    pub(super) fn peer(&self) -> Option<&PeerRef> {
        match self {
            Command::Handshake { peer, .. }
            | Command::Resolve { peer, .. }
            | Command::Ping { peer, .. }
            | Command::Connect { peer, .. }
            | Command::Send { peer, .. }
            | Command::Alias { peer: Some(peer), .. } => Some(peer),
            _ => None,
        }
    }

    fn timeout(&self) -> Option<Duration> {
        match self {
            Command::Resolve { timeout, .. }
            | Command::Ping { timeout, .. }
            | Command::Connect { timeout, .. } => Some(*timeout),
            _ => None,
        }
    }
}

impl Answer {
    fn local(now: Now, record: homing_base::Record) -> Self {
        Answer::Resolved(Box::new(crate::io::Resolution {
            age: now.wall.since(record.issued),
            record,
            layer: crate::io::Layer::Local,
            spent: vec![(crate::io::Layer::Local, Duration::ZERO)],
            from: None,
            replicas: None,
        }))
    }
}

fn end_of(now: Now, lifetime: Option<Duration>) -> Result<Option<Wall>, Failure> {
    match lifetime {
        Some(d) if d < Duration::from_millis(1) => {
            Err(Failure::Invalid("trust lives at least a millisecond".into()))
        }
        _ => Ok(lifetime.map(|d| now.wall.after(d))),
    }
}

fn checked_services(services: Option<Vec<Service>>) -> Result<Option<Vec<Service>>, Failure> {
    let Some(mut list) = services else { return Ok(None) };
    if list.is_empty() {
        return Err(Failure::Invalid("an empty list of services allows nothing".into()));
    }
    list.sort();
    list.dedup();
    Ok(Some(list))
}
