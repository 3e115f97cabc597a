//! After a partition: the lost are called now and then, and one that answers leads back.
//!
//! Both halves of a parted network evict each other and would stay apart for good. So a node remembers
//! some of those it evicted ([`LOST_MAX`], chosen at random, so that an hour of ordinary deaths does not
//! wash out the other half) and calls one every [`super::limits::REUNITE_INTERVAL`]. Bamboo does the same
//! (`partition_check`). Whoever answers is asked for our neighbourhood *there*: a lookup of ourselves that
//! begins with it alone, since our own table knows only this side.
//!
//! A stranger that comes to us is asked the same one question: it is either new here, and names whom we
//! know, or a messenger of another network, and names many near us whom we do not ([`REUNITE_STRANGERS`]).
//! Only then do we look for ourselves there: every birth is met by k siblings, and none of them searches.

use homing_base::Now;

use super::Dht;
use super::contact::{Contact, Place};
use super::drive::{Goal, Lookup};
use super::flight::Purpose;
use super::io::Class;
use super::limits::{LOST_MAX, REUNITE_STRANGERS};
use super::message::Body;
use super::recovery::Timer;
use super::value::Value;

impl<P: Place, V: Value> Dht<P, V> {
    /// Remembers a contact that was evicted; a full memory gives up one at random.
    pub(super) fn mourn(&mut self, contact: Contact<P>) {
        if self.lost.iter().any(|c| c.id == contact.id) {
            return;
        }
        if self.lost.len() < LOST_MAX {
            self.lost.push(contact);
        } else {
            let at = self.below(LOST_MAX);
            self.lost[at] = contact;
        }
    }

    /// Asks one of the lost who is close to us where it is.
    pub(super) fn call_lost(&mut self, now: Now) {
        if self.lost.is_empty() {
            return;
        }
        let at = self.below(self.lost.len());
        let to = self.lost[at].clone();
        if self.table.entry(&to.id).is_some() {
            self.lost.swap_remove(at);
            return;
        }
        self.ask(to, Body::FindNode { target: self.me.id }, Purpose::Reunite, now);
    }

    /// Asks who is close to us where a stranger comes from.
    pub(super) fn on_stranger(&mut self, stranger: Contact<P>, now: Now) {
        if stranger.id != self.me.id && self.table.entry(&stranger.id).is_none() {
            self.ask(stranger, Body::FindNode { target: self.me.id }, Purpose::Reunite, now);
        }
    }

    /// One of the lost is back, or a stranger answered. If many are with it, they are found through it.
    pub(super) fn on_found_again(&mut self, from: &Contact<P>, named: Vec<Contact<P>>, now: Now) {
        if let Some(at) = self.lost.iter().position(|c| c.id == from.id) {
            self.lost.remove(at);
            self.doubted.clear();
        }
        let near = |id| self.table.is_sibling(id) && self.table.entry(id).is_none();
        let strangers = named.iter().filter(|c| c.id != self.me.id && near(&c.id)).count();
        if strangers < REUNITE_STRANGERS || self.lookups.values().any(Lookup::is_reunion) {
            return named.iter().for_each(|c| self.hear_of(c));
        }
        let mut seeds = named;
        seeds.push(from.clone());
        let goal = Goal::Reunite { known: self.table.len() };
        self.start(None, goal, self.me.id, seeds, Class::Maintenance, now);
    }

    /// The others are found. What is ours belongs to those closest to it among all.
    pub(super) fn on_reunited(&mut self, known: usize, now: Now) {
        if self.table.len() >= known + REUNITE_STRANGERS.max(known / 4) {
            self.timers.set(Timer::Republish, now.mono);
        }
    }
}
