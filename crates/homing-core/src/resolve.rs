//! Resolution: local → neighbours → gossip → DHT; the last two answer "not here" until they exist.
//!
//! ```text
//! lookup(key) ──missed a moment ago──────────────────────────► over, nothing asked
//!     ├──a flight for this key is up──► share it
//!     └──ask up to 16 neighbours──all answered, found, or 700 ms──► over
//! ```
//! A flight brings records in by the same door as any other message, verified; here only the
//! bookkeeping: whom we asked, who answered, when it is over. A node ID is found with the first
//! answer; a name only when everybody has spoken, since two claimants must not look like one.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{Mono, NodeId};

use crate::io::LinkId;
use crate::limits::{LOOKUP_NEIGHBOURS_MAX, LOOKUPS_MAX, MISS_MEMORY, MISSES_MAX};
use crate::message::{Ask, AskKey};

/// One shared lookup.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub started: Mono,
    deadline: Mono,
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

impl Resolver {
    pub(crate) fn is_flying(&self, key: &AskKey) -> bool {
        self.flights.contains_key(key)
    }

    /// Whether a lookup of `key` found nothing a moment ago.
    pub(crate) fn missed(&self, now: Mono, key: &AskKey) -> bool {
        self.misses.get(key).is_some_and(|at| now.since(*at) < MISS_MEMORY)
    }

    /// Begins a flight. `false`: too many are up.
    pub(crate) fn begin(&mut self, now: Mono, key: &AskKey, patience: Duration) -> bool {
        if self.flights.len() >= LOOKUPS_MAX {
            return false;
        }
        self.flights.entry(key.clone()).or_insert_with(|| Flight {
            started: now,
            deadline: now.after(patience),
            open: BTreeMap::new(),
            asked: Vec::new(),
            found_by: None,
            known: false,
        });
        true
    }

    /// The question to send to one more neighbour; `None`: it was asked, or enough were.
    pub(crate) fn question(&mut self, key: &AskKey, link: LinkId, peer: NodeId) -> Option<Ask> {
        let flight = self.flights.get_mut(key)?;
        if flight.asked.contains(&peer) || flight.asked.len() >= LOOKUP_NEIGHBOURS_MAX {
            return None;
        }
        self.next_id = self.next_id.wrapping_add(1);
        flight.asked.push(peer);
        flight.open.insert(self.next_id, link);
        Some(Ask { id: self.next_id, key: key.clone() })
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
            if found && flight.found_by.is_none() {
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

    /// Flights that are over; misses are remembered. `joining`: neighbours may yet come up, so
    /// a flight that could ask nobody waits for its deadline.
    pub(crate) fn land(&mut self, now: Mono, joining: bool) -> Vec<Landing> {
        let is_over = |key: &AskKey, f: &Flight| {
            let first_counts = !matches!(key, AskKey::Name(_));
            let all_spoke = f.open.is_empty() && !(joining && f.asked.is_empty());
            f.known || f.deadline <= now || all_spoke || (first_counts && f.found_by.is_some())
        };
        let over: Vec<AskKey> = self
            .flights
            .iter()
            .filter(|(key, f)| is_over(key, f))
            .map(|(key, _)| key.clone())
            .collect();
        let landed = over.into_iter().filter_map(|key| {
            let flight = self.flights.remove(&key)?;
            Some(Landing { key, flight })
        });
        let landed: Vec<Landing> = landed.collect();
        for landing in landed.iter().filter(|l| l.flight.found_by.is_none() && !l.flight.known) {
            // Nobody was asked: nothing is known about this key.
            if !landing.flight.asked.is_empty() {
                self.remember_miss(now, landing.key.clone());
            }
        }
        landed
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
