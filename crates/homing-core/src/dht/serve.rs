//! Answering requests. Never asks anything back: whom a request made us curious about is queued.

use homing_base::{NodeId, Now, Wall};

use super::contact::{Contact, Distance, Place, id_prefix};
use super::io::Class;
use super::limits::{
    CACHE_LIFE_MAX, CACHE_LIFE_MIN, FRESH_MAX, GROUP_PER_QUEUE, K_MAX, KNOWN_MAX, OFFER_MAX,
    VALUES_PER_ANSWER_MAX, VERIFY_QUEUE_MAX, contact_bytes_max,
};
use super::message::{Body, Message, Verdict};
use super::table::Entry;
use super::value::{Slot, Unbelievable, Value};
use super::wire::contact_len;
use super::{Dht, Recovery};
use crate::cluster::Leaf;

impl<P: Place, V: Value> Dht<P, V> {
    pub(super) fn on_request(&mut self, from: Contact<P>, message: Message<P, V::Wire>, now: Now) {
        self.meet(&from, message.server, now);
        let (id, body) = (message.id, message.body);
        let storing = matches!(body, Body::Store { .. });
        let granted = match storing {
            true => self.rates.store(&from.id, now.mono),
            false => self.rates.question(&from.id, now.mono),
        };
        if !granted || (!self.server && !matches!(body, Body::Ping)) {
            self.stats.shed += 1;
            return self.tell(from, id, Body::Busy, Class::Maintenance);
        }
        let answer = match body {
            Body::Ping => Body::Pong,
            Body::FindNode { target } => Body::Nodes { contacts: self.near(&target, &from.id) },
            Body::FindValue { slot } => Body::Values {
                values: self.find_here(&slot, now),
                contacts: self.near(&slot.key, &from.id),
            },
            Body::Store { slot, value } => {
                Body::Stored { verdict: self.store(slot, &value, from.id, now) }
            }
            Body::Exchange { known, fresh, session_s, leaf } => {
                if self.table.entry(&from.id).is_some() {
                    self.estimates.hear(from.id, session_s);
                    self.hear_leaf(&from, leaf, now);
                }
                self.compare_siblings(&from, &known, fresh, leaf, now)
            }
            Body::Offer { digests } => {
                let digests = &digests[..digests.len().min(OFFER_MAX)];
                Body::Wanted { digests: self.values.missing(digests, now.mono) }
            }
            Body::Leaving => return self.on_leaving(&from.id),
            _ => return,
        };
        self.tell(from, id, answer, Class::Maintenance);
    }

    /// A request shows that a known contact lives; an unknown one is queued for verification when it
    /// would be of use.
    fn meet(&mut self, from: &Contact<P>, server: bool, now: Now) {
        if !server {
            return;
        }
        if let Some(entry) = self.table.entry_mut(&from.id) {
            (entry.heard, entry.failures) = (now.mono, 0);
            entry.contact.place = from.place.clone();
        } else if self.table.has_room_for(from) {
            self.queue_verification(from);
        } else {
            self.table.add_spare(from, None);
        }
    }

    /// Queues a ping; the timer sends it.
    pub(super) fn queue_verification(&mut self, contact: &Contact<P>) {
        let queued = self.verify.iter().any(|c| c.id == contact.id)
            || self.flights.to(&contact.id).next().is_some();
        if !queued && !self.queue_is_crowded(contact) && self.verify.len() < VERIFY_QUEUE_MAX {
            self.verify.push_back(contact.clone());
        }
    }

    /// Hearsay must not aim us at one network: see [`GROUP_PER_QUEUE`].
    fn queue_is_crowded(&self, contact: &Contact<P>) -> bool {
        let Some(group) = contact.place.group().filter(|_| self.config.ip_caps) else {
            return false;
        };
        let same = |c: &Contact<P>| c.place.group() == Some(group);
        let waiting = self.verify.iter().filter(|c| same(c)).count();
        waiting + self.flights.pings().filter(|f| same(&f.to)).count() >= GROUP_PER_QUEUE
    }

    /// A goodbye is believed of a contact that we know, and only as far as doubting it.
    fn on_leaving(&mut self, from: &NodeId) {
        match self.table.entry_mut(from) {
            Some(entry) => entry.failures = entry.failures.max(1),
            None => self.stats.unsolicited += 1,
        }
    }

    /// The closest that we know, closest first: k of them, or as many as an answer has room for.
    fn near(&self, target: &NodeId, asker: &NodeId) -> Vec<Contact<P>> {
        self.fitting(self.table.closest(target, self.config.k, Some(asker)))
    }

    /// Cuts a list to what one answer may carry.
    fn fitting(&self, mut contacts: Vec<Contact<P>>) -> Vec<Contact<P>> {
        let mut left = contact_bytes_max(self.config.k);
        let room = |c: &Contact<P>| {
            let len = contact_len(c);
            left = left.checked_sub(len)?;
            Some(len)
        };
        let fitting = contacts.iter().map_while(room).count();
        contacts.truncate(fitting);
        contacts
    }

    fn find_here(&self, slot: &Slot, now: Now) -> Vec<V::Wire> {
        let own =
            self.own.iter().filter(|(_, v)| v.fits(slot) && v.is_current(now)).map(|(_, v)| v);
        let mut found: Vec<&V> = Vec::new();
        for value in self.values.find(slot, now).chain(own) {
            if !found.iter().any(|f| f.signer() == value.signer()) {
                found.push(value);
            }
        }
        found.into_iter().take(VALUES_PER_ANSWER_MAX).map(Value::wire).collect()
    }

    /// What is known here, for a local lookup.
    pub(super) fn held_here(&self, slot: &Slot, now: Now) -> Vec<V> {
        let own =
            self.own.iter().filter(|(_, v)| v.fits(slot) && v.is_current(now)).map(|(_, v)| v);
        self.values.find(slot, now).chain(own).cloned().collect()
    }

    /// Verifies and keeps a value, for as long as our distance to it allows.
    pub(super) fn store(&mut self, slot: Slot, wire: &V::Wire, by: NodeId, now: Now) -> Verdict {
        if !self.rates.verify(now.mono) {
            self.stats.shed += 1;
            return Verdict::Full;
        }
        let value = match self.believe(wire, &slot, now) {
            Ok(value) => value,
            Err(_) => return Verdict::Refused,
        };
        let Some(until) = self.life_here(&slot, now) else { return Verdict::Full };
        let verdict = self.values.put(slot, value, by, until, now);
        self.stats.shed += u64::from(verdict == Verdict::Full);
        verdict
    }

    /// The door for every value that comes from outside.
    pub(super) fn believe(
        &mut self,
        wire: &V::Wire,
        slot: &Slot,
        now: Now,
    ) -> Result<V, Unbelievable> {
        let verified = V::verify(wire, now);
        let fitting =
            verified.and_then(|v| if v.fits(slot) { Ok(v) } else { Err(Unbelievable::Forged) });
        self.stats.unverified += u64::from(fitting.is_err());
        fitting
    }

    /// Among the 2k closest: as long as the origin says. Farther out it is a cached copy whose life
    /// shrinks with the number of nodes in between (Kademlia §2.3).
    fn life_here(&self, slot: &Slot, now: Now) -> Option<Wall> {
        let replicas = 2 * self.config.k;
        if self.table.count_closer(&slot.key, &self.me.id, replicas) < replicas {
            return Some(now.wall.after(self.config.expiry));
        }
        let share = Distance::between(&self.me.id, &slot.key).share();
        let between = (self.estimates.size().unwrap_or(0.0) * share).max(replicas as f64);
        let life = CACHE_LIFE_MAX.mul_f64(self.config.k as f64 / between);
        (life >= CACHE_LIFE_MIN).then(|| now.wall.after(life))
    }

    /// The answering half of a leafset exchange.
    fn compare_siblings(
        &mut self,
        from: &Contact<P>,
        known: &[u64],
        fresh: Vec<Contact<P>>,
        leaf: Option<Leaf>,
        now: Now,
    ) -> Body<P, V::Wire> {
        let trusted = self.table.entry(&from.id).is_some();
        let limit = if self.config.recovery == Recovery::Reactive { K_MAX } else { FRESH_MAX };
        for contact in fresh.into_iter().take(limit) {
            self.hear_of(&contact);
        }
        let known = &known[..known.len().min(KNOWN_MAX)];
        let contacts = self.lacking(&from.id, known, leaf);
        if trusted {
            contacts.iter().for_each(|c| self.settle_dispute(c, now));
        }
        let doubted = known.iter().filter(|p| self.doubts(**p)).copied().collect();
        Body::Siblings { contacts, doubted, session_s: self.session_s(), leaf: self.leaf() }
    }

    /// Whom the asker lacks: nodes within the reach of its leafset that it did not list. Those it did list
    /// are left out before the answer is cut to k, else they fill it whenever they are nearer.
    fn lacking(&self, asker: &NodeId, known: &[u64], leaf: Option<Leaf>) -> Vec<Contact<P>> {
        let distance = |prefix: u64| prefix ^ id_prefix(asker);
        let whole = known.len() >= self.config.k;
        let reach = known.iter().map(|p| distance(*p)).max().filter(|_| whole).unwrap_or(u64::MAX);
        let reach = reach.max(Self::reach_of(leaf));
        let mut lacking = Vec::new();
        self.table.visit_closest(asker, |e| {
            let prefix = id_prefix(&e.contact.id);
            if distance(prefix) >= reach {
                return false;
            }
            let told = known.contains(&prefix) || e.contact.id == *asker || e.failures > 0;
            if !told {
                lacking.push(e.contact.clone());
            }
            lacking.len() < self.config.k
        });
        self.fitting(lacking)
    }

    /// A sibling leaves out somebody whom we would name to it: one of us is wrong, and a ping tells
    /// who. So news of a death travels against the direction of the question, too.
    fn settle_dispute(&mut self, contact: &Contact<P>, now: Now) {
        let recent = self.intervals().exchange;
        let quiet = |e: &Entry<P>| now.mono.since(e.heard) > recent;
        if self.table.is_sibling(&contact.id) && self.table.entry(&contact.id).is_some_and(quiet) {
            self.queue_verification(contact);
        }
    }

    fn doubts(&self, prefix: u64) -> bool {
        self.is_doubted(prefix)
            || self
                .table
                .entries()
                .iter()
                .any(|e| e.failures > 0 && id_prefix(&e.contact.id) == prefix)
    }

    pub(super) fn session_s(&self) -> u32 {
        u32::try_from(self.estimates.own_session().as_secs()).unwrap_or(u32::MAX)
    }

    /// Hearsay about one node: queued for a ping if it would be of use, else kept as a spare.
    pub(super) fn hear_of(&mut self, contact: &Contact<P>) {
        if self.table.entry(&contact.id).is_some() || self.is_doubted(id_prefix(&contact.id)) {
            return;
        }
        if self.table.has_room_for(contact) {
            self.queue_verification(contact);
        } else {
            let replace = self.below(4 * super::limits::SPARES_PER_BUCKET);
            self.table.add_spare(contact, Some(replace));
        }
    }
}
