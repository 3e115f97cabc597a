//! What arrives over a link, and who may say it.
//!
//! Before its `Hello` a link may say goodbye, ping, and show records (they prove themselves). A
//! stranger may ask for trust; a public node answers its questions, too. Everything else needs mutual
//! trust.

use std::collections::BTreeSet;

use homing_base::limits::{DIRECT_ADDRESSES_MAX, RECORDS_PER_MESSAGE_MAX, RELAYS_MAX};
use homing_base::{NodeId, Now, Service};

use super::{Agent, MainDoor};
use crate::io::{Event, LinkId, Output, TrustState, Write};
use crate::limits::{ANSWER_RECORDS_MAX, WATCHES_MAX};
use crate::links::hello;
use crate::message::{Ask, AskAnswer, AskKey, ByeReason, Candidates, EchoReply, Message, Refusal};

impl Agent {
    pub(super) fn on_message(&mut self, now: Now, id: LinkId, message: Message) {
        let Some(link) = self.links.link_mut(id) else { return };
        *self.counters.messages_in.entry(message.kind()).or_default() += 1;
        if matches!(message, Message::Dht(_)) {
            if !link.dht_messages.take(now.mono) {
                self.counters.dht_shed += 1;
                return;
            }
        } else if matches!(message, Message::Gossip(_)) {
            if !link.gossip_messages.take(now.mono) {
                self.counters.gossip_shed += 1;
                return;
            }
        } else if matches!(message, Message::Mail(_)) {
            if !link.mail.take(now.mono) {
                self.counters.mail_shed += 1;
                return;
            }
        } else if matches!(message, Message::Reference(_)) {
            if !link.references.take(now.mono) {
                self.counters.references_shed += 1;
                return;
            }
        } else if !link.messages.take(now.mono) {
            self.counters.messages_shed += 1;
            return self.close(now, id, ByeReason::Overload);
        }
        link.pulse.on_heard(now.mono);
        if let Some(peer) = link.peer() {
            self.last_seen.insert(peer, now.wall);
        }
        let first_proof = !matches!(message, Message::Hello(_) | Message::Records(_));
        if first_proof && !matches!(message, Message::Bye(_) | Message::Ping(_)) {
            self.confirm(now, id);
        }
        let Some(link) = self.links.link(id) else { return };
        match (message, link.peer()) {
            (Message::Ping(token), _) => self.send(id, Message::Pong(token)),
            (Message::Pong(token), peer) => {
                if let Some(link) = self.links.link_mut(id) {
                    link.pulse.on_pong(now.mono, token);
                }
                if let Some(peer) = peer {
                    self.drop_duplicates(now, peer);
                }
            }
            (Message::Dht(bytes), Some(peer)) => self.on_dht_message(now, id, peer, &bytes),
            (Message::Gossip(bytes), Some(peer)) => self.on_gossip_message(now, id, peer, &bytes),
            (Message::Mail(bytes), Some(peer)) => self.on_mail(now, id, peer, &bytes),
            (Message::Reference(bytes), Some(peer)) => self.on_note(now, id, peer, &bytes),
            (message, peer) => {
                self.dirty = true;
                self.on_substance(now, id, peer, message);
            }
        }
    }

    fn on_substance(&mut self, now: Now, id: LinkId, peer: Option<NodeId>, message: Message) {
        match (message, peer) {
            (Message::Hello(hello), _) => self.on_hello(now, id, &hello),
            (Message::Bye(reason), _) => self.on_bye(now, id, reason),
            (Message::Records(list), _) => {
                if list.len() > RECORDS_PER_MESSAGE_MAX {
                    return self.punish(now, id, "too many records in one message");
                }
                self.on_records(now, id, &list);
            }
            (Message::Trust(sync), Some(peer)) => self.on_trust(now, id, peer, &sync),
            (Message::Candidates(c), Some(peer)) => self.on_candidates(now, id, peer, c),
            (Message::Ask(ask), Some(peer)) => self.on_ask(now, id, peer, &ask),
            (Message::Answer(answer), Some(peer)) => self.on_answer(now, id, peer, &answer),
            (Message::Watch(keys), Some(peer)) => self.on_watch(now, id, peer, keys),
            (Message::Echo(token), Some(peer)) => self.on_echo(now, id, peer, token),
            (Message::Audit(bytes), Some(peer)) => self.on_audit_word(now, id, peer, &bytes),
            (Message::Port(bytes), Some(peer)) => self.on_port_word(now, id, peer, &bytes),
            (Message::EchoReply(reply), Some(peer)) => self.on_echo_reply(now, id, peer, reply),
            (_, None)
            | (Message::Ping(_) | Message::Pong(_), _)
            | (Message::Dht(_) | Message::Gossip(_) | Message::Mail(_), _)
            | (Message::Reference(_), _) => {}
        }
    }

    /// Anything but a greeting shows that the other side has proven us.
    fn confirm(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.link_mut(id) else { return };
        let Some(proven) = link.proven.as_mut().filter(|p| !p.confirmed) else { return };
        proven.confirmed = true;
        let peer = proven.peer;
        self.dirty = true;
        self.drop_duplicates(now, peer);
    }

    pub(super) fn punish(&mut self, now: Now, id: LinkId, what: &str) {
        self.notify(Event::Misbehaviour { link: id, what: what.to_owned() });
        self.close(now, id, ByeReason::Protocol);
    }

    fn on_candidates(&mut self, now: Now, id: LinkId, peer: NodeId, told: Candidates) {
        // Told before trust reached us: it is told again when trust becomes mutual here, too.
        if !self.trust.is_mutual(now, peer) {
            return;
        }
        let Some(record) = self.known.record(peer) else { return };
        let (key, instance) = (record.public_key, record.instance);
        if told.direct.len() > DIRECT_ADDRESSES_MAX
            || told.relays.len() > RELAYS_MAX
            || !told.relays.iter().all(homing_base::RelayRef::is_well_formed)
        {
            return self.punish(now, id, "candidates out of bounds");
        }
        let over = self.links.link(id).and_then(|l| l.proven).map(|p| p.instance);
        if over != Some(instance) {
            return;
        }
        if !hello::binds(&key, instance, told.endpoint, told.proof.as_deref()) {
            return self.punish(now, id, "candidates of a foreign endpoint");
        }
        if !told.direct.is_empty() && self.last_addresses.get(&peer) != Some(&told.direct) {
            self.persist(vec![Write::LastAddresses { peer, direct: told.direct.clone() }]);
            self.last_addresses.insert(peer, told.direct.clone());
        }
        if self.admission.note(told.endpoint, peer, true) {
            self.outputs.push_back(Output::Admit { endpoint: told.endpoint, peer });
        }
        let port_prediction = told.port_prediction == Some(true);
        let Candidates { endpoint, direct, relays, network, .. } = told;
        let door = MainDoor { endpoint, direct, relays, network, port_prediction };
        self.candidates.insert(peer, door);
        self.referring.peers_changed();
        self.drop_duplicates(now, peer);
    }

    fn on_ask(&mut self, now: Now, id: LinkId, peer: NodeId, ask: &Ask) {
        if !self.settings.public && !self.trust.is_mutual(now, peer) {
            return;
        }
        let records = self.records_for(now, &ask.key);
        if records.is_empty() && self.runs_errand(now, id, ask) {
            return;
        }
        self.counters.asks_answered += 1;
        self.send(id, Message::Answer(AskAnswer { id: ask.id, records }));
    }

    pub(super) fn records_for(&self, now: Now, key: &AskKey) -> Vec<minicbor::bytes::ByteVec> {
        let own = self.own.superseded().or(self.own.record());
        let mut found: Vec<&homing_base::Record> = Vec::new();
        match key {
            AskKey::NodeId(id) => found.extend(self.known.valid(now, *id)),
            AskKey::Address(prefix) => {
                found.extend(
                    self.known.by_address(*prefix).and_then(|id| self.known.valid(now, id)),
                );
            }
            AskKey::Name(name) => {
                let ids = self.known.claimants(now, name);
                found.extend(ids.into_iter().filter_map(|id| self.known.valid(now, id)));
            }
        }
        found.extend(own.filter(|r| key.is_about(r)));
        let gossiped = self.gossiped_about(key);
        let is_news = |r: &&homing_base::Record| found.iter().all(|f| f.node_id() != r.node_id());
        let gossiped: Vec<_> = gossiped.iter().filter(is_news).collect();
        found.extend(gossiped);
        found.truncate(ANSWER_RECORDS_MAX);
        found.into_iter().map(|r| r.bytes().to_vec().into()).collect()
    }

    fn on_watch(&mut self, now: Now, id: LinkId, peer: NodeId, keys: Vec<NodeId>) {
        if !self.settings.public && !self.trust.is_mutual(now, peer) {
            return;
        }
        if let Some(link) = self.links.link_mut(id) {
            link.watches = keys.into_iter().take(WATCHES_MAX).collect::<BTreeSet<_>>();
        }
    }

    fn on_echo(&mut self, now: Now, id: LinkId, peer: NodeId, token: u64) {
        let refused = match self.trust.state(now, peer) {
            TrustState::Mutual if self.allows(peer, &ping()) => None,
            TrustState::Mutual => Some(Refusal::ScopeDenied),
            TrustState::Expired => Some(Refusal::TrustExpired),
            _ => Some(Refusal::NotTrusted),
        };
        self.send(id, Message::EchoReply(EchoReply { token, refused }));
    }
}

/// What a peer must be trusted for to have its echoes answered.
fn ping() -> Service {
    Service::PING.parse().expect("a service name")
}
