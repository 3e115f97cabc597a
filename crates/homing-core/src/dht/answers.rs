//! Answers to our requests, and requests that got none.

use std::time::Duration;

use homing_base::{NodeId, Now};

use super::contact::{Contact, Place, id_prefix};
use super::flight::{Flight, Purpose};
use super::limits::CONTACTS_PER_ANSWER_MAX;
use super::lookup::State;
use super::message::{Body, Message};
use super::table::Admission;
use super::value::Value;
use super::{Dht, Recovery};

/// Siblings found dead that we tell others about.
const DOUBTED_MAX: usize = 16;
/// … and for how long: two exchanges at the slowest pace.
const DOUBT_TIME: Duration = Duration::from_secs(120);

impl<P: Place, V: Value> Dht<P, V> {
    pub(super) fn on_answer(&mut self, from: Contact<P>, message: Message<P, V::Wire>, now: Now) {
        let Some(flight) = self.flights.land(message.id, &from.id) else {
            self.stats.unsolicited += 1;
            return;
        };
        let rtt = now.mono.since(flight.sent);
        if message.server {
            self.welcome(&from, &flight, rtt, now);
        }
        match (message.body, flight.purpose) {
            (Body::Busy, Purpose::Step { lookup, .. }) => {
                self.on_step_failed(lookup, &from.id, State::Failed, now);
            }
            (Body::Nodes { contacts }, Purpose::Step { lookup, .. }) => {
                self.on_step(lookup, &from, Vec::new(), capped(contacts), now);
            }
            (Body::Values { values, contacts }, Purpose::Step { lookup, .. }) => {
                self.on_step(lookup, &from, values, capped(contacts), now);
            }
            (Body::Nodes { contacts }, Purpose::Refresh) => {
                for contact in capped(contacts) {
                    self.hear_of(&contact);
                }
            }
            (Body::Nodes { contacts }, Purpose::Reunite) => {
                self.on_found_again(&from, capped(contacts), now);
            }
            (Body::Stored { verdict }, Purpose::Copy { lookup, .. }) => {
                self.on_copied(lookup, Some(verdict), now);
            }
            (_, Purpose::Copy { lookup, .. }) => self.on_copied(lookup, None, now),
            (Body::Siblings { contacts, doubted, session_s, leaf }, Purpose::Exchange) => {
                self.hear_leaf(&from, leaf, now);
                self.estimates.hear(from.id, session_s);
                self.on_siblings(capped(contacts), &doubted);
            }
            (Body::Wanted { digests }, Purpose::Offer) => self.on_wanted(&from, &digests, now),
            (_, Purpose::Step { lookup, .. }) => {
                self.on_step_failed(lookup, &from.id, State::Failed, now);
            }
            _ => {}
        }
    }

    /// A direct answer: the only way into the table.
    fn welcome(&mut self, from: &Contact<P>, flight: &Flight<P>, rtt: Duration, now: Now) {
        self.rtt.sample(rtt);
        self.doubted.retain(|(p, _)| *p != id_prefix(&from.id));
        let admission = self.table.admit(from, now.mono);
        if admission == Admission::Spare && flight.purpose == Purpose::Sample {
            self.consider_faster(from, rtt, now);
        }
        if let Some(entry) = self.table.entry_mut(&from.id) {
            entry.rtt.sample(rtt);
        }
        if admission == Admission::Entered {
            self.persist_growth();
            if self.table.is_sibling(&from.id) {
                self.on_new_sibling(from, now);
            }
        }
    }

    fn on_siblings(&mut self, contacts: Vec<Contact<P>>, doubted: &[u64]) {
        for contact in contacts {
            self.hear_of(&contact);
        }
        self.check_doubted(doubted);
    }

    fn on_wanted(&mut self, from: &Contact<P>, digests: &[u64], now: Now) {
        for digest in digests.iter().take(super::limits::OFFER_MAX) {
            let Some((slot, value)) = self.values.by_digest(*digest) else { continue };
            let value = value.wire();
            self.ask(from.clone(), Body::Store { slot, value }, Purpose::Push, now);
        }
    }

    /// Requests whose time is over.
    pub(super) fn expire_flights(&mut self, now: Now) {
        while let Some(flight) = self.flights.overdue(now.mono) {
            let peer = flight.to.id;
            if flight.late {
                match flight.purpose {
                    Purpose::Step { lookup, .. } => {
                        self.on_step_failed(lookup, &peer, State::Failed, now);
                    }
                    Purpose::Copy { lookup, .. } => self.on_copied(lookup, None, now),
                    _ => {}
                }
                continue;
            }
            self.stats.timeouts += 1;
            self.on_silence(&peer, now);
            if let Purpose::Step { lookup, .. } = flight.purpose {
                self.on_step_failed(lookup, &peer, State::Slow, now);
            }
        }
    }

    /// A contact did not answer in time. It is marked; nothing else happens (invariant 2), unless
    /// the reactive mode was chosen for comparison.
    fn on_silence(&mut self, peer: &NodeId, now: Now) {
        self.table.drop_spare(peer);
        let Some(entry) = self.table.entry_mut(peer) else { return };
        entry.failures = entry.failures.saturating_add(1);
        if self.config.recovery == Recovery::Reactive {
            self.react(peer, now);
        }
    }

    /// Nothing that is under way to this peer will be answered; that counts as one failure.
    pub(super) fn on_peer_gone(&mut self, peer: &NodeId, now: Now) {
        self.table.drop_spare(peer);
        if let Some(entry) = self.table.entry_mut(peer) {
            entry.failures = entry.failures.saturating_add(1);
        }
        for flight in self.flights.abandon(peer) {
            match flight.purpose {
                Purpose::Step { lookup, .. } => {
                    self.on_step_failed(lookup, peer, State::Failed, now);
                }
                Purpose::Copy { lookup, .. } => self.on_copied(lookup, None, now),
                _ => {}
            }
        }
    }

    pub(super) fn doubt(&mut self, peer: &NodeId, now: Now) {
        if self.doubted.len() == DOUBTED_MAX {
            self.doubted.pop_front();
        }
        self.doubted.push_back((id_prefix(peer), now.mono));
    }

    /// Doubts end: whoever came back, or was doubted wrongly, must be let in when others name it.
    pub(super) fn forget_doubts(&mut self, now: Now) {
        self.doubted.retain(|(_, at)| now.mono.since(*at) < DOUBT_TIME);
    }

    pub(super) fn is_doubted(&self, prefix: u64) -> bool {
        self.doubted.iter().any(|(p, _)| *p == prefix)
    }
}

fn capped<P>(mut contacts: Vec<Contact<P>>) -> Vec<Contact<P>> {
    contacts.truncate(CONTACTS_PER_ANSWER_MAX);
    contacts
}
