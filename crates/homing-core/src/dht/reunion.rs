//! After a partition: the lost are called now and then, and one that answers leads back.
//!
//! Both halves of a parted network evict each other and would stay apart for good. So a node remembers
//! some of those it evicted ([`LOST_MAX`], chosen at random, so that an hour of ordinary deaths does not
//! wash out the other half) and calls one every [`super::limits::REUNITE_INTERVAL`]. Bamboo does the same
//! (`partition_check`). Whoever answers is asked for our neighbourhood *there*: a lookup of ourselves that
//! begins with it alone, since our own table knows only this side.

use homing_base::Now;

use super::Dht;
use super::contact::{Contact, Place};
use super::drive::Goal;
use super::flight::Purpose;
use super::io::Class;
use super::limits::LOST_MAX;
use super::message::Body;
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

    /// One of the lost is back. If it is not the only one, the others are found through it.
    pub(super) fn on_found_again(&mut self, from: &Contact<P>, named: Vec<Contact<P>>, now: Now) {
        self.lost.retain(|c| c.id != from.id);
        self.doubted.clear();
        let strangers = named.iter().filter(|c| self.table.entry(&c.id).is_none()).count();
        if strangers > 0 {
            let mut seeds = named;
            seeds.push(from.clone());
            self.start(None, Goal::Reunite, self.me.id, seeds, Class::Maintenance, now);
        }
    }
}
