//! Resolution: local → gossip (what it brought here, then neighbours) → DHT, until a layer knows.
//!
//! ```text
//! lookup(key) ──missed a moment ago──────────────────────────► over, nothing asked
//!     ├──a flight for this key is up──► share it
//!     ├──gossip has it here──────────────────────────────────► over, nothing asked (names go on)
//!     └──ask up to 16 neighbours──all answered, found, or 700 ms──► the DHT, or over
//! ```
//! A flight brings records in by the same door as any other message, verified; here only the
//! bookkeeping: whom we asked, who answered, when it is over. A node ID is found with the first
//! answer; a name only when everybody has spoken, since two claimants must not look like one.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{Mono, NodeId};

use crate::io::{Layer, LinkId};
use crate::limits::{LOOKUP_NEIGHBOURS_MAX, LOOKUPS_MAX, MISS_MEMORY, MISSES_MAX};
use crate::message::{Ask, AskKey};

/// One shared lookup.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    deadline: Mono,
    /// The layer that is being asked, and since when.
    layer: Layer,
    entered: Mono,
    /// It has said all that it will say.
    exhausted: bool,
    /// Something is known already: only a newer record is an answer.
    wants_news: bool,
    /// Layers asked so far and the time that each took.
    pub spent: Vec<(Layer, Duration)>,
    /// The layer that answered.
    pub found_in: Option<Layer>,
    /// How many DHT nodes had shown it.
    pub replicas: Option<u32>,
    /// Questions without an answer yet.
    open: BTreeMap<u32, LinkId>,
    /// Neighbours asked so far.
    pub asked: Vec<NodeId>,
    /// Who answered with something.
    pub found_by: Option<NodeId>,
    /// It became known by another way meanwhile.
    known: bool,
}

/// What is known about a flight that is over.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    pub key: AskKey,
    pub flight: Flight,
}

/// Flights and recent misses.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    flights: BTreeMap<AskKey, Flight>,
    misses: BTreeMap<AskKey, Mono>,
    next_id: u32,
}

impl Flight {
    /// Notes the time that the layer took, if it was asked at all.
    fn close_layer(&mut self, now: Mono) {
        // What was over at once because there was nobody to ask took no part.
        if self.layer != Layer::Neighbours || !self.asked.is_empty() {
            self.spent.push((self.layer, now.since(self.entered)));
        }
    }
}

impl Resolver {
    pub(crate) fn is_flying(&self, key: &AskKey) -> bool {
        self.flights.contains_key(key)
    }

    /// Whether a lookup of `key` found nothing a moment ago.
    pub(crate) fn missed(&self, now: Mono, key: &AskKey) -> bool {
        self.misses.get(key).is_some_and(|at| now.since(*at) < MISS_MEMORY)
    }

    /// Begins a flight in `layer`. `false`: too many are up.
    pub(crate) fn begin(
        &mut self,
        now: Mono,
        key: &AskKey,
        layer: Layer,
        patience: Duration,
        wants_news: bool,
    ) -> bool {
        if self.flights.len() >= LOOKUPS_MAX {
            return false;
        }
        self.flights.entry(key.clone()).or_insert_with(|| Flight {
            deadline: now.after(patience),
            layer,
            entered: now,
            exhausted: false,
            wants_news,
            spent: Vec::new(),
            found_in: None,
            replicas: None,
            open: BTreeMap::new(),
            asked: Vec::new(),
            found_by: None,
            known: false,
        });
        true
    }

    /// The layer that a flight is asking.
    pub(crate) fn layer_of(&self, key: &AskKey) -> Option<Layer> {
        self.flights.get(key).map(|f| f.layer)
    }

    pub(crate) fn wants_news(&self, key: &AskKey) -> bool {
        self.flights.get(key).is_some_and(|f| f.wants_news)
    }

    /// The layer before did not know: now `layer` is asked.
    pub(crate) fn enter(&mut self, now: Mono, key: &AskKey, layer: Layer, patience: Duration) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.close_layer(now);
        flight.layer = layer;
        flight.entered = now;
        flight.deadline = now.after(patience);
        flight.open.clear();
    }

    /// The DHT has answered; `replicas`: so many nodes had shown what was wanted.
    pub(crate) fn on_dht(&mut self, key: &AskKey, replicas: Option<u32>) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.exhausted = flight.layer == Layer::Dht;
        if replicas.is_some() && flight.found_in.is_none() {
            flight.found_in = Some(Layer::Dht);
            flight.replicas = replicas;
        }
    }

    /// Gossip knew, or has just heard.
    pub(crate) fn on_gossip(&mut self, key: &AskKey) {
        if let Some(flight) = self.flights.get_mut(key).filter(|f| f.found_in.is_none()) {
            flight.found_in = Some(Layer::Gossip);
        }
    }

    /// The question to send to one more neighbour; `None`: it was asked, or enough were.
    pub(crate) fn question(&mut self, key: &AskKey, link: LinkId, peer: NodeId) -> Option<Ask> {
        let flight = self.flights.get_mut(key)?;
        let late = flight.layer != Layer::Neighbours;
        if late || flight.asked.contains(&peer) || flight.asked.len() >= LOOKUP_NEIGHBOURS_MAX {
            return None;
        }
        self.next_id = self.next_id.wrapping_add(1);
        flight.asked.push(peer);
        flight.open.insert(self.next_id, link);
        Some(Ask { id: self.next_id, key: key.clone(), errand: None })
    }

    /// The question to a neighbour that asks the DHT for us.
    pub(crate) fn errand(&mut self, key: &AskKey, link: LinkId) -> Option<Ask> {
        let flight = self.flights.get_mut(key)?;
        self.next_id = self.next_id.wrapping_add(1);
        flight.open.insert(self.next_id, link);
        Some(Ask { id: self.next_id, key: key.clone(), errand: Some(true) })
    }

    /// Keys in flight, for a neighbour that has just come up.
    pub(crate) fn keys(&self) -> Vec<AskKey> {
        self.flights.keys().cloned().collect()
    }

    /// The key that question `id` over `link` was about, while the flight is up.
    pub(crate) fn key_of(&self, link: LinkId, id: u32) -> Option<AskKey> {
        let asked = |f: &Flight| f.open.get(&id) == Some(&link);
        self.flights.iter().find(|(_, f)| asked(f)).map(|(key, _)| key.clone())
    }

    /// A neighbour answered, with or without something.
    pub(crate) fn on_answer(&mut self, key: &AskKey, id: u32, peer: NodeId, found: bool) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.open.remove(&id);
            if found && flight.found_in.is_none() {
                flight.found_in = Some(flight.layer);
                flight.found_by = Some(peer);
            }
        }
    }

    /// A link is gone, with every answer that was to come over it.
    pub(crate) fn on_link_gone(&mut self, link: LinkId) {
        for flight in self.flights.values_mut() {
            flight.open.retain(|_, over| *over != link);
        }
    }

    /// What was wanted has become known by another way.
    pub(crate) fn on_known(&mut self, key: &AskKey) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.known = true;
        }
        self.misses.remove(key);
    }

    /// Flights whose layer is through. `joining`: neighbours may yet come up, so a flight that
    /// could ask nobody waits for its deadline.
    pub(crate) fn over(&self, now: Mono, joining: bool) -> Vec<AskKey> {
        let is_over = |key: &AskKey, f: &Flight| {
            let first_counts = !matches!(key, AskKey::Name(_));
            let all_spoke = match f.layer {
                Layer::Neighbours => f.open.is_empty() && !(joining && f.asked.is_empty()),
                _ => f.exhausted && f.open.is_empty(),
            };
            let found = first_counts && f.found_in.is_some();
            f.known || f.deadline <= now || all_spoke || found
        };
        let over = self.flights.iter().filter(|(key, f)| is_over(key, f));
        over.map(|(key, _)| key.clone()).collect()
    }

    /// Whether what was wanted is known now.
    pub(crate) fn has_found(&self, key: &AskKey) -> bool {
        self.flights.get(key).is_some_and(|f| f.known || f.found_in.is_some())
    }

    /// Ends a flight; a miss is remembered.
    pub(crate) fn land(&mut self, now: Mono, key: &AskKey) -> Option<Landing> {
        let mut flight = self.flights.remove(key)?;
        flight.close_layer(now);
        // Nobody was asked: nothing is known about this key.
        let was_asked = !flight.asked.is_empty() || flight.layer == Layer::Dht;
        if was_asked && flight.found_in.is_none() && !flight.known {
            self.remember_miss(now, key.clone());
        }
        Some(Landing { key: key.clone(), flight })
    }

    fn remember_miss(&mut self, now: Mono, key: AskKey) {
        if self.misses.len() >= MISSES_MAX {
            self.misses.retain(|_, at| now.since(*at) < MISS_MEMORY);
        }
        if self.misses.len() < MISSES_MAX {
            self.misses.insert(key, now);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.flights.values().map(|f| f.deadline).min()
    }
}
