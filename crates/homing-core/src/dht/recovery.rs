//! What is done on timers: leafset exchange, probes, samples, refresh, value sync, republish, sweep.
//!
//! After Rhea et al. (USENIX ATC 2004): failures never trigger traffic, every interval is jittered
//! and follows the estimated session time ([`super::config::Intervals`]). Pings leave from here only.

use std::collections::VecDeque;
use std::time::Duration;

use homing_base::{Mono, NodeId, Now};
use rand_core::Rng;

use super::Dht;
use super::contact::{Contact, Distance, Place, flip_bit, id_prefix};
use super::drive::Goal;
use super::flight::Purpose;
use super::io::{Class, CommandId, DhtOutput, Outcome, Report};
use super::limits::{
    FRESH_MAX, K_MAX, KNOWN_MAX, OFFER_MAX, PERSIST_INTERVAL, PERSIST_MAX, REUNITE_INTERVAL,
};
use super::message::Body;
use super::store::digest;
use super::value::{Slot, Value};

/// Verification pings per second: while joining, and later.
const VERIFY_JOINING: Duration = Duration::from_millis(50);
const VERIFY_STEADY: Duration = Duration::from_millis(500);
/// A node counts as joining for so long after its start.
pub(super) const JOINING: Duration = Duration::from_secs(60);
/// Pings of one probe tick: suspects, then one stale entry.
const SUSPECTS_PER_TICK: usize = 2;
/// Siblings probed with each exchange, as a share of k: whoever is silent is found out within four.
const SIBLINGS_SHARE: usize = 5;
/// Holders of a value, closest first, that offer it to a newcomer.
const HANDING_ON: usize = 2;
/// Refreshes right after joining, one per second.
const FILL_ROUNDS_MAX: u32 = 40;
/// A network that has grown so many times over since is another one.
const GROWTH: f64 = 4.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Exchange,
    Probe,
    Refresh,
    Sync,
    Verify,
    Republish,
    Sweep,
    Persist,
    Reunite,
}

const TIMERS: [Timer; 9] = [
    Timer::Exchange,
    Timer::Probe,
    Timer::Refresh,
    Timer::Sync,
    Timer::Verify,
    Timer::Republish,
    Timer::Sweep,
    Timer::Persist,
    Timer::Reunite,
];

/// One deadline per timer; all rest until the node joins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers([Mono; TIMERS.len()]);

impl Default for Timers {
    fn default() -> Self {
        Self([Mono::MAX; TIMERS.len()])
    }
}

impl Timers {
    pub(super) fn next(&self) -> Mono {
        self.0.iter().copied().min().unwrap_or(Mono::MAX)
    }

    pub(super) fn set(&mut self, timer: Timer, at: Mono) {
        self.0[timer as usize] = at;
    }

    fn due(&self, now: Mono) -> Option<Timer> {
        TIMERS.into_iter().find(|t| self.0[*t as usize] <= now)
    }
}

impl<P: Place, V: Value> Dht<P, V> {
    pub(super) fn on_wakeup(&mut self, now: Now) {
        self.expire_flights(now);
        while let Some(timer) = self.timers.due(now.mono) {
            let interval = self.tick(timer, now);
            let next = now.mono.after(self.jittered(interval).max(Duration::from_millis(1)));
            self.timers.set(timer, next);
        }
        self.end_old_lookups(now);
    }

    /// The verification timer rests while its queue is empty.
    pub(super) fn arm_verification(&mut self, now: Now) {
        let resting = self.timers.0[Timer::Verify as usize] == Mono::MAX;
        if self.verify.is_empty() {
            // Most nodes rest most of the time: the queue's room goes too.
            self.verify = VecDeque::new();
            self.timers.set(Timer::Verify, Mono::MAX);
        } else if resting {
            let at = now.mono.after(self.verify_interval(now));
            self.timers.set(Timer::Verify, at);
        }
    }

    fn verify_interval(&self, now: Now) -> Duration {
        if now.mono.since(self.started) < JOINING { VERIFY_JOINING } else { VERIFY_STEADY }
    }

    /// Does what is due; returns the interval until the next time.
    fn tick(&mut self, timer: Timer, now: Now) -> Duration {
        let every = self.intervals();
        match timer {
            Timer::Exchange => {
                self.exchange(now);
                every.exchange
            }
            Timer::Probe => {
                self.probe(every.stale, now);
                every.probe
            }
            Timer::Refresh => {
                self.refresh(now);
                if self.fill_rounds > 0 { Duration::from_secs(1) } else { every.refresh }
            }
            Timer::Sync => {
                self.sync(now);
                every.sync
            }
            Timer::Verify => {
                self.verify_one(now);
                self.verify_interval(now)
            }
            Timer::Republish => {
                self.republish(now);
                self.config.republish
            }
            Timer::Sweep => {
                self.values.sweep(now);
                self.own.retain(|(_, v)| v.is_current(now));
                self.config.sweep
            }
            Timer::Persist => {
                self.persist();
                PERSIST_INTERVAL
            }
            Timer::Reunite => {
                self.call_lost(now);
                REUNITE_INTERVAL
            }
        }
    }

    /// Looks ourselves up through the seeds; the timers begin.
    pub(super) fn join(&mut self, id: CommandId, seeds: Vec<Contact<P>>, now: Now) {
        for timer in TIMERS {
            let interval = match timer {
                Timer::Exchange => Duration::from_secs(4),
                Timer::Probe => self.intervals().probe,
                Timer::Refresh => Duration::from_secs(1),
                Timer::Sync => self.intervals().sync,
                Timer::Verify => VERIFY_JOINING,
                Timer::Republish => self.config.republish,
                Timer::Sweep => self.config.sweep,
                Timer::Persist => PERSIST_INTERVAL,
                Timer::Reunite => REUNITE_INTERVAL,
            };
            // A node that joins again does not put off what it was going to do.
            let at = now.mono.after(self.jittered(interval)).min(self.timers.0[timer as usize]);
            self.timers.set(timer, at);
        }
        self.fill_rounds = FILL_ROUNDS_MAX;
        self.start(Some(id), Goal::Join, self.me.id, seeds, Class::Maintenance, now);
    }

    pub(super) fn on_joined(&mut self, id: Option<CommandId>, report: Report) {
        self.fill_rounds = self.fill_rounds.min(2 * (self.table.deepest_bucket() as u32 + 1));
        let contacts = self.table.len();
        if let Some(id) = id {
            self.finish(id, Outcome::Joined { contacts }, report);
        }
        self.persist();
    }

    /// A node that was among the first knew hardly anybody when it joined: killed before the timer, it
    /// would come back with nobody to ask. So every doubling is worth remembering.
    pub(super) fn persist_growth(&mut self) {
        if self.handed_out < PERSIST_MAX && self.table.len() >= 2 * self.handed_out {
            self.persist();
        }
    }

    fn persist(&mut self) {
        let mut entries: Vec<_> = self.table.entries().iter().filter(|e| e.failures == 0).collect();
        entries.sort_by_key(|e| e.since);
        let contacts: Vec<_> =
            entries.iter().take(PERSIST_MAX).map(|e| e.contact.clone()).collect();
        self.handed_out = contacts.len();
        if !contacts.is_empty() {
            self.outputs.push_back(DhtOutput::Persist { contacts });
        }
    }

    // ---- leafset exchange

    fn exchange(&mut self, now: Now) {
        self.estimates.observe(self.table.len(), now.mono);
        self.forget_doubts(now);
        self.sample_own_size();
        self.follow_growth(now);
        self.tend_cluster(now);
        let siblings: Vec<_> = self.table.siblings().map(|e| e.contact.clone()).collect();
        let Some(partner) = self.partner(&siblings) else { return };
        let body = self.exchange_body(&siblings, FRESH_MAX);
        self.stats.exchanges += 1;
        self.ask(partner.clone(), body, Purpose::Exchange, now);
        let mut quiet: Vec<_> = self
            .table
            .siblings()
            .filter(|e| e.contact.id != partner.id)
            .map(|e| (e.heard, e.contact.clone()))
            .collect();
        quiet.sort_by_key(|(heard, _)| *heard);
        for spare in self.table.spare_siblings() {
            self.queue_verification(&spare);
        }
        let recent = self.intervals().exchange;
        for (heard, contact) in quiet.into_iter().take(self.probed_per_exchange()) {
            if now.mono.since(heard) > recent {
                self.queue_verification(&contact);
            }
        }
    }

    /// Siblings that one exchange probes. Each member of a cluster is watched by all others, who tell each other:
    /// the more there are, the fewer each of them probes, and still somebody probes each member as often as
    /// if it had k siblings.
    fn probed_per_exchange(&self) -> usize {
        let most = self.config.k.div_ceil(SIBLINGS_SHARE);
        self.sharing_members()
            .map_or(most, |members| (most * self.config.k).div_ceil(members).max(1))
    }

    /// Whom to exchange with: any sibling, and every other time anybody of the bucket that the leafset
    /// ends in. A leafset goes wrong at that edge, and the nodes of that subtree know each other best,
    /// also those of them that are not our siblings.
    fn partner(&mut self, siblings: &[Contact<P>]) -> Option<Contact<P>> {
        if let Some(partner) = self.sibling_partner() {
            return Some(partner);
        }
        let edge = self.table.bucket(self.table.bucket_of(&siblings.last()?.id));
        let beyond: Vec<_> = edge.filter(|at| self.table.entries()[*at].failures == 0).collect();
        if self.below(2) == 0 && !beyond.is_empty() {
            let at = beyond[self.below(beyond.len())];
            return Some(self.table.entries()[at].contact.clone());
        }
        siblings.get(self.below(siblings.len())).cloned()
    }

    pub(super) fn exchange_body(
        &mut self,
        siblings: &[Contact<P>],
        fresh_max: usize,
    ) -> Body<P, V::Wire> {
        let known = siblings.iter().take(KNOWN_MAX).map(|c| id_prefix(&c.id)).collect();
        let is_fresh = |c: &&Contact<P>| fresh_max > FRESH_MAX || self.fresh.contains(&c.id);
        let fresh = siblings.iter().filter(is_fresh).take(fresh_max).cloned().collect();
        Body::Exchange { known, fresh, session_s: self.session_s(), leaf: self.leaf() }
    }

    fn sample_own_size(&mut self) {
        let last = self.table.siblings().enumerate().last();
        let sample =
            last.map(|(i, e)| (i + 1, Distance::between(&self.me.id, &e.contact.id).share()));
        if let Some((rank, share)) = sample {
            self.estimates.sample_size(rank, share);
        }
    }

    /// A sibling says that some of our siblings are dead: they are probed first, not believed dead.
    pub(super) fn check_doubted(&mut self, doubted: &[u64]) {
        let listed: Vec<_> = self
            .table
            .siblings()
            .filter(|e| doubted.contains(&id_prefix(&e.contact.id)))
            .map(|e| e.contact.clone())
            .collect();
        for contact in listed {
            self.queue_verification(&contact);
        }
    }

    /// A node entered our leafset: the next exchanges carry it, and it gets the values that it should
    /// hold from whoever is closest to them.
    pub(super) fn on_new_sibling(&mut self, contact: &Contact<P>, now: Now) {
        if self.fresh.len() == FRESH_MAX {
            self.fresh.pop_front();
        }
        self.fresh.push_back(contact.id);
        let mine = self.offers_for(contact, true, now.mono);
        self.offer(contact, mine, now);
    }

    // ---- probes

    /// The dead go, suspects and the stalest entry are pinged, one spare is tried for its speed.
    fn probe(&mut self, stale: Duration, now: Now) {
        self.evict_dead(now);
        let suspects: Vec<_> = self
            .table
            .entries()
            .iter()
            .filter(|e| e.failures > 0)
            .map(|e| e.contact.clone())
            .take(4 * SUSPECTS_PER_TICK)
            .collect();
        let mut left = SUSPECTS_PER_TICK;
        for contact in suspects {
            if left > 0 && self.ping(contact, Purpose::Probe, now) {
                left -= 1;
            }
        }
        // Members of our cluster are looked after by the exchange.
        let members = self.sharing_members().unwrap_or(0);
        let stalest = self.table.entries()[members..].iter().min_by_key(|e| e.heard);
        let stalest =
            stalest.filter(|e| now.mono.since(e.heard) > stale).map(|e| e.contact.clone());
        if let Some(contact) = stalest {
            self.ping(contact, Purpose::Probe, now);
        }
        if self.config.proximity {
            self.sample(now);
        }
    }

    fn evict_dead(&mut self, now: Now) {
        for id in self.table.dead() {
            if let Some(contact) = self.table.evict(&id) {
                self.mourn(contact);
            }
            self.estimates.death();
            self.stats.evicted += 1;
            self.doubt(&id, now);
            let bucket = self.table.bucket_of(&id);
            let spare = self.table.spares_of(bucket).next().cloned();
            if let Some(spare) = spare {
                self.queue_verification(&spare);
            }
        }
    }

    /// At most one ping per bucket is in flight. `false`: not now.
    pub(super) fn ping(&mut self, contact: Contact<P>, purpose: Purpose, now: Now) -> bool {
        let bucket = self.table.bucket_of(&contact.id);
        let busy = self.flights.pings().any(|f| self.table.bucket_of(&f.to.id) == bucket);
        !busy && self.ask(contact, Body::Ping, purpose, now)
    }

    fn verify_one(&mut self, now: Now) {
        for _ in 0..self.verify.len().min(8) {
            let Some(contact) = self.verify.pop_front() else { return };
            let known = self.table.entry(&contact.id).is_some();
            if !known && !self.table.has_room_for(&contact) {
                self.table.add_spare(&contact, None);
                continue;
            }
            if self.ping(contact.clone(), Purpose::Verify, now) {
                return;
            }
            self.verify.push_back(contact);
        }
    }

    // ---- refresh

    /// One question about a random ID of one bucket to the contact closest to it.
    fn refresh(&mut self, now: Now) {
        self.fill_rounds = self.fill_rounds.saturating_sub(1);
        let buckets = self.table.deepest_bucket() + 1;
        let first = self.below(buckets);
        let emptiest = (0..buckets).map(|i| (first + i) % buckets).min_by_key(|b| {
            let len = self.table.bucket(*b).len();
            if *b + 5 > buckets { self.config.k } else { len }
        });
        let bucket = if self.fill_rounds > 0 { emptiest.unwrap_or(first) } else { first };
        self.queue_spares(bucket);
        let target = self.random_in_bucket(bucket);
        if let Some(to) = self.table.closest(&target, 1, None).pop() {
            self.ask(to, Body::FindNode { target }, Purpose::Refresh, now);
        }
    }

    fn queue_spares(&mut self, bucket: usize) {
        let room = self.config.k.saturating_sub(self.table.bucket(bucket).len());
        let spares: Vec<_> = self.table.spares_of(bucket).take(room).cloned().collect();
        for spare in spares {
            self.queue_verification(&spare);
        }
    }

    pub(super) fn random_in_bucket(&mut self, bucket: usize) -> NodeId {
        let mut random = [0; 32];
        self.chance.fill_bytes(&mut random);
        let mut id = flip_bit(&self.me.id, bucket);
        for bit in bucket + 1..256 {
            let mask = 0x80 >> (bit % 8);
            id.0[bit / 8] = (id.0[bit / 8] & !mask) | (random[bit / 8] & mask);
        }
        id
    }

    // ---- values

    /// Takes one held value at random and offers one of the nodes closest to its key what that node
    /// should hold. So a copy that the growing network has left behind finds its way, too.
    fn sync(&mut self, now: Now) {
        if self.values.is_empty() {
            return;
        }
        let nth = self.below(self.values.len());
        let Some(key) = self.values.iter().nth(nth).map(|(slot, _)| slot.key) else { return };
        let mut near = self.table.closest(&key, self.config.k, None);
        if near.is_empty() {
            return;
        }
        let partner = near.swap_remove(self.below(near.len()));
        let digests = self.offers_for(&partner, false, now.mono);
        self.offer(&partner, digests, now);
    }

    /// Digests of held values that `contact` is among the k closest for; `closest_only`: and that it is
    /// our turn to hand on.
    pub(super) fn offers_for(
        &self,
        contact: &Contact<P>,
        closest_only: bool,
        now: Mono,
    ) -> Vec<u64> {
        let (mut digests, mut last): (Vec<u64>, Option<(Slot, bool)>) = (Vec::new(), None);
        for (slot, held) in self.values.iter() {
            let wanted = match last {
                Some((same, wanted)) if same == *slot => wanted,
                _ => self.should_offer(slot, contact, closest_only, now),
            };
            last = Some((*slot, wanted));
            if wanted {
                digests.push(digest(slot, &held.value));
            }
            if digests.len() == OFFER_MAX {
                break;
            }
        }
        digests
    }

    fn should_offer(
        &self,
        slot: &Slot,
        contact: &Contact<P>,
        closest_only: bool,
        now: Mono,
    ) -> bool {
        let spare = self.table.entry(&contact.id).is_some_and(|e| !self.is_core(e, now));
        if spare {
            return false;
        }
        if closest_only && !self.is_close_holder(slot, contact) {
            return false;
        }
        self.core_closer(slot, contact, now) < self.config.k
    }

    /// Whether we are among the [`HANDING_ON`] nodes closest to a slot, newcomer not counted.
    fn is_close_holder(&self, slot: &Slot, newcomer: &Contact<P>) -> bool {
        let ours = Distance::between(&self.me.id, &slot.key);
        let mut closer = 0;
        self.table.visit_closest(&slot.key, |e| {
            let before_us = Distance::between(&e.contact.id, &slot.key) < ours;
            closer += usize::from(before_us && e.failures == 0 && e.contact.id != newcomer.id);
            before_us && closer < HANDING_ON
        });
        closer < HANDING_ON
    }

    pub(super) fn offer(&mut self, to: &Contact<P>, digests: Vec<u64>, now: Now) {
        if !digests.is_empty() {
            self.ask(to.clone(), Body::Offer { digests }, Purpose::Offer, now);
        }
    }

    /// Nodes in the network, as far as the table and the estimate tell.
    pub(super) fn size(&self) -> f64 {
        let known = self.table.len() as f64 + 1.0;
        self.estimates.size().unwrap_or(known).max(known)
    }

    /// What was stored when the network had a fourth of its nodes lies where nobody looks for it now: those
    /// who got it may have been the whole network then, and siblings hand on only to siblings.
    fn follow_growth(&mut self, now: Now) {
        if !self.own.is_empty() && self.size() >= GROWTH * self.own_among {
            self.timers.set(Timer::Republish, now.mono);
        }
    }

    /// Own values always; held values that nobody stored or offered for a whole interval, if we are
    /// the closest node we know.
    fn republish(&mut self, now: Now) {
        self.own_among = self.size();
        for (slot, value) in self.own.clone() {
            self.put(None, slot, value, Class::Maintenance, now);
        }
        let interval = self.config.republish;
        let forgotten: Vec<_> = self
            .values
            .iter()
            .filter(|(_, h)| now.mono.since(h.refreshed) >= interval)
            .filter(|(slot, _)| self.table.count_closer(&slot.key, &self.me.id, 1) == 0)
            .map(|(slot, h)| (*slot, h.value.clone()))
            .take(OFFER_MAX)
            .collect();
        for (slot, value) in forgotten {
            self.put(None, slot, value, Class::Maintenance, now);
        }
    }

    // ---- the comparison: reactive recovery

    /// Evicts at once, looks for a replacement, pushes the whole leafset to every sibling.
    pub(super) fn react(&mut self, peer: &NodeId, now: Now) {
        let bucket = self.table.bucket_of(peer);
        self.table.evict(peer);
        self.estimates.death();
        self.stats.evicted += 1;
        let target = self.random_in_bucket(bucket);
        self.start(None, Goal::Fill, target, Vec::new(), Class::Maintenance, now);
        let siblings: Vec<_> = self.table.siblings().map(|e| e.contact.clone()).collect();
        let body = self.exchange_body(&siblings, K_MAX);
        for sibling in &siblings {
            self.ask(sibling.clone(), body.clone(), Purpose::Exchange, now);
        }
    }
}
