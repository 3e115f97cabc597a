//! From a reference to a peer: local knowledge first, then gossip, neighbours, the DHT, until one knows.

use std::collections::BTreeSet;
use std::time::Duration;

use homing_base::{Name, NodeId, Now, Record};
use tracing::debug;

use super::Agent;
use crate::io::{Failure, Layer, LinkId, PeerRef};
use crate::limits::{
    ANSWER_RECORDS_MAX, LOOKUP_NEIGHBOURS_MAX, LOOKUP_TIMEOUT, LOOKUP_TIMEOUT_JOINING,
};
use crate::message::{AskAnswer, AskKey, Message};
use crate::names::{self, Claims, Meaning};
use crate::resolve::Landing;

/// What local knowledge says about a reference.
pub(super) enum Located {
    /// It means this peer.
    Found(Meaning),
    /// Others should be asked.
    Ask(AskKey),
    /// It means nothing, whoever is asked.
    Failed(Failure),
}

impl Agent {
    pub(super) fn locate(&self, reference: &PeerRef) -> Located {
        match (self.decide(self.last, reference, 0), reference) {
            (Ok(meaning), _) if meaning.settled => Located::Found(meaning),
            (Ok(_) | Err(Failure::NotFound { .. }), _) => Located::Ask(ask_key(reference)),
            (Err(failure), _) => Located::Failed(failure),
        }
    }

    /// What `reference` means by everything known here; `asked` neighbours had nothing to add.
    pub(super) fn decide(
        &self,
        now: Now,
        reference: &PeerRef,
        asked: usize,
    ) -> Result<Meaning, Failure> {
        let not_found = || Failure::NotFound { what: reference.to_string(), asked };
        let settled = |peer| Meaning { peer, settled: true, pin: false };
        match reference {
            PeerRef::NodeId(id) if *id == self.me || self.knows(*id) => Ok(settled(*id)),
            PeerRef::NodeId(_) => Err(not_found()),
            PeerRef::Address(address) => {
                let mut ids = self.known_ids().into_iter().chain([self.me]);
                ids.find(|id| address.matches(id)).map(settled).ok_or_else(not_found)
            }
            PeerRef::Name(name) => {
                if let Some(meaning) = self.names.meaning(name, &self.claims(now, name))? {
                    return Ok(meaning);
                }
                let ids = self.known_ids().into_iter().chain([self.me]);
                match names::by_prefix(name, ids) {
                    Some(found) => found.map(settled),
                    None => Err(not_found()),
                }
            }
        }
    }

    /// Who claims `name`: by a valid record, by its last record if trusted, by its request.
    fn claims(&self, now: Now, name: &Name) -> Claims {
        let mut all: BTreeSet<NodeId> = self.known.claimants(now, name).into_iter().collect();
        let mut trusted = Vec::new();
        for (peer, pair) in self.trust.iter() {
            if self.claimed_name(peer).as_ref() != Some(name) {
                continue;
            }
            match pair.state(now) {
                crate::io::TrustState::Mutual => {
                    trusted.push(peer);
                    all.insert(peer);
                }
                crate::io::TrustState::None => {}
                _ => {
                    all.insert(peer);
                }
            }
        }
        if self.settings.name.as_ref() == Some(name) {
            all.insert(self.me);
        }
        Claims { trusted, all: all.into_iter().collect() }
    }

    /// What a peer calls itself: by its record, or by what it signed to us.
    pub(super) fn claimed_name(&self, peer: NodeId) -> Option<Name> {
        if let Some(record) = self.known.record(peer) {
            return record.name.clone();
        }
        self.trust.pair(peer)?.theirs.as_ref()?.name.clone()
    }

    fn knows(&self, peer: NodeId) -> bool {
        self.is_related(peer)
            || self.known.record(peer).is_some()
            || self.last_addresses.contains_key(&peer)
    }

    fn known_ids(&self) -> BTreeSet<NodeId> {
        let seeds = self.seeds.iter().filter_map(|seed| seed.peer);
        self.known.ids().chain(self.related()).chain(seeds).collect()
    }

    /// Asks gossip and neighbours about `key`, or joins those who do. `false`: there is nobody to ask, or a
    /// moment ago nobody knew.
    pub(super) fn look_up(&mut self, now: Now, key: &AskKey) -> bool {
        if self.resolver.is_flying(key) {
            return true;
        }
        let neighbours = self.neighbours(now);
        let joining = self.is_joining();
        let missed = self.resolver.missed(now.mono, key) && !joining;
        let alone = neighbours.is_empty() && !joining;
        let deeper = self.may_ask_dht(now, key) || !self.gossiped_about(key).is_empty();
        if missed || (alone && !deeper) || !self.active() {
            return false;
        }
        let patience = if joining { LOOKUP_TIMEOUT_JOINING } else { LOOKUP_TIMEOUT };
        let patience = if alone { Duration::ZERO } else { patience };
        let is_known = matches!(key, AskKey::NodeId(id) if self.known.valid(now, *id).is_some());
        let gossips = self.gossiping.is_some();
        let first = if gossips { Layer::Gossip } else { Layer::Neighbours };
        if !self.resolver.begin(now.mono, key, first, patience, is_known) {
            return false;
        }
        // Whoever claims a name counts, so for names neighbours are asked all the same.
        if self.find_in_gossip(now, key) && !matches!(key, AskKey::Name(_)) {
            return true;
        }
        if gossips {
            self.resolver.enter(now.mono, key, Layer::Neighbours, patience);
        }
        for (link, peer) in neighbours {
            self.ask(link, peer, key);
        }
        true
    }

    fn ask(&mut self, link: LinkId, peer: NodeId, key: &AskKey) {
        // Nobody knows better where a peer is than it does; it would not be looked for.
        if *key == AskKey::NodeId(peer) {
            return;
        }
        if let Some(ask) = self.resolver.question(key, link, peer) {
            self.send(link, Message::Ask(ask));
        }
    }

    /// Peers that may be asked: public ones, those of hints, trusted ones, in this order.
    fn neighbours(&self, now: Now) -> Vec<(LinkId, NodeId)> {
        let mut ranked: Vec<(u8, LinkId, NodeId)> = Vec::new();
        for peer in self.links.peers().filter(|peer| self.links.has_lasting(*peer)) {
            let main = self.candidates.get(&peer).map(|c| c.endpoint);
            let Some(link) = self.links.best(peer, main) else { continue };
            if let Some(rank) = self.neighbour_rank(now, peer) {
                ranked.push((rank, link.id, peer));
            }
        }
        ranked.sort_unstable();
        ranked.truncate(LOOKUP_NEIGHBOURS_MAX);
        ranked.into_iter().map(|(_, link, peer)| (link, peer)).collect()
    }

    fn neighbour_rank(&self, now: Now, peer: NodeId) -> Option<u8> {
        let public = self.links.of(peer).any(|l| l.proven.is_some_and(|p| p.public));
        if public {
            Some(0)
        } else if !self.seeds_of(peer).is_empty() {
            Some(1)
        } else {
            self.trust.is_mutual(now, peer).then_some(2)
        }
    }

    pub(super) fn is_neighbour(&self, peer: NodeId) -> bool {
        self.links.of(peer).any(|l| l.proven.is_some_and(|p| p.public))
    }

    /// A neighbour came up while lookups are in flight: it may know.
    pub(super) fn ask_new_neighbour(&mut self, now: Now, link: LinkId, peer: NodeId) {
        let lasting = self.links.link(link).is_some_and(|l| !l.brief);
        if lasting && self.neighbour_rank(now, peer).is_some() {
            for key in self.resolver.keys() {
                self.ask(link, peer, &key);
            }
        }
    }

    pub(super) fn on_answer(&mut self, now: Now, id: LinkId, peer: NodeId, answer: &AskAnswer) {
        let Some(key) = self.resolver.key_of(id, answer.id) else { return };
        let mut found = false;
        for bytes in answer.records.iter().take(ANSWER_RECORDS_MAX) {
            match self.read_record(now, bytes) {
                Ok(None) => found |= !self.resolver.wants_news(&key),
                Ok(Some(record)) if !key.is_about(&record) => {
                    debug!(link = id.0, "an answer to another question");
                }
                Ok(Some(record)) if record.node_id() == self.me => {
                    found = true;
                    self.on_own_seen(now, &record);
                }
                Ok(Some(record)) => {
                    found |= self.is_answer(&key, &record);
                    self.absorb(now, record, Some(id));
                }
                Err(error) => self.on_record_refused(id, &error),
            }
        }
        self.resolver.on_answer(&key, answer.id, peer, found);
    }

    /// Whether a record answers a lookup: any does when nothing was known, a newer one otherwise.
    pub(super) fn is_answer(&self, key: &AskKey, record: &Record) -> bool {
        let newer = |known: &Record| record.precedence(known).is_gt();
        !self.resolver.wants_news(key) || self.known.record(record.node_id()).is_none_or(newer)
    }

    /// The layers before did not know: the DHT is asked. `false`: there is none, or it was.
    fn ask_deeper(&mut self, now: Now, key: &AskKey) -> bool {
        let asked_so_far = self.resolver.layer_of(key);
        // There our own word would answer.
        let own = *key == AskKey::NodeId(self.me);
        if own || asked_so_far.is_none_or(|layer| layer == Layer::Dht) {
            return false;
        }
        let Some(patience) = self.ask_dht(now, key) else { return false };
        self.resolver.enter(now.mono, key, Layer::Dht, patience);
        self.send_errands(key);
        self.pump_dht(now);
        true
    }

    /// Lookups that are over: whoever waited goes on.
    pub(super) fn land_lookups(&mut self, now: Now) {
        let joining = self.is_joining();
        for key in self.resolver.over(now.mono, joining) {
            if !self.resolver.has_found(&key) && self.ask_deeper(now, &key) {
                continue;
            }
            let Some(landing) = self.resolver.land(now.mono, &key) else { continue };
            if landing.key == AskKey::NodeId(self.me) {
                self.finish_restoring(now);
            }
            self.resume_waits(now, &landing);
        }
    }
}

/// What to ask about a reference.
pub(super) fn ask_key(reference: &PeerRef) -> AskKey {
    match reference {
        PeerRef::NodeId(id) => AskKey::NodeId(*id),
        PeerRef::Address(address) => AskKey::Address(address.prefix()),
        PeerRef::Name(name) => AskKey::Name(name.clone()),
    }
}

/// Whether the answer came from a neighbour.
pub(super) fn came_from(landing: Option<&Landing>) -> Option<NodeId> {
    landing.and_then(|l| l.flight.found_by)
}
