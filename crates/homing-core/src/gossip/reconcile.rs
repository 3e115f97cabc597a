//! Range-based set reconciliation with one peer: compare sums of ranges, split what differs, list what is
//! small, then offer and ask.
//!
//! ```text
//! A                                         B
//!   Ranges{salt, cut, depth, [all: n, Σ]} ─►     equal: Ranges{[]}, and that was it
//!   ◄─ Ranges{[16 parts: n, Σ]}                  else split …
//!   Ranges{[one part: list]} ─►                  … until small enough to list
//!   ◄─ Have{…}  ◄─► Want · Records               each asks for what it lacks
//! ```
//! Each step depends on its message alone: no state is kept for a peer that begins. Whoever began and hears
//! nothing begins anew, a few times, ever more rarely. Both compare the intersection of their
//! horizons; a message that assumed another one is answered by a fresh sum over the right one.
//! After Meyer (SRDS 2023) and his sums over a random key instead of a tree of hashes.

use homing_base::limits::CLOCK_SKEW_MAX;
use homing_base::{NodeId, Now, Wall};
use rand_core::Rng;

use super::Gossip;
use super::limits::{
    BEGINS_MAX, BRANCHES, BULK_MIN, DEPTH_MAX, ITEMS_MAX, LEAF, OFFERS_MAX, RANGES_MAX,
    RECEDE_PART, SETTLED, UNDER_WAY,
};
use super::message::{Item, Message, Range, RangeBody, Ranges};
use super::table::{Scope, horizon};
use super::value::Value;

/// What one incoming message leads to.
#[derive(Default)]
struct Step {
    reply: Vec<Range>,
    items: usize,
    offers: Vec<Item>,
    wants: Vec<Item>,
    differs: bool,
}

impl Step {
    fn answer(&mut self, scope: Scope, body: RangeBody) {
        let items = if let RangeBody::List(items) = &body { items.len() } else { 0 };
        if self.reply.len() < RANGES_MAX && self.items + items <= ITEMS_MAX {
            self.items += items;
            self.reply.push(Range { from: scope.from, to: scope.to, body });
        }
    }

    fn offer(&mut self, items: Vec<Item>) {
        let room = OFFERS_MAX - self.offers.len();
        self.offers.extend(items.into_iter().take(room));
    }
}

impl<V: Value> Gossip<V> {
    /// Begins what is due: first on new links, then one random peer per round.
    pub(super) fn reconcile_due(&mut self, now: Now) {
        let due = self.peers.iter().filter(|(_, p)| p.due.is_some_and(|at| at <= now.mono));
        let due: Vec<NodeId> = due.map(|(id, _)| *id).collect();
        due.into_iter().for_each(|peer| self.begin(now, peer));
        if self.round_at > now.mono {
            return;
        }
        let restless = self.restless_until > now.mono;
        let round = if restless { self.config.round_restless } else { self.config.round };
        self.round_at = now.mono.after(self.jitter(round));
        let willing: Vec<NodeId> =
            self.peers.keys().filter(|id| !self.is_muted(now, id)).copied().collect();
        if !willing.is_empty() {
            self.stats.timed_rounds += 1;
            let chosen = self.chance.next_u64() % willing.len() as u64;
            self.begin(now, willing[usize::try_from(chosen).expect("below a length")]);
        }
    }

    /// Begins a reconciliation with `with`.
    pub(super) fn begin(&mut self, now: Now, with: NodeId) {
        let salt = self.chance.next_u64();
        let cut = now.wall.after(self.table.life_min());
        let muted = self.is_muted(now, &with);
        let Some(peer) = self.peers.get_mut(&with) else { return };
        if muted {
            peer.due = None;
            return;
        }
        (peer.salt, peer.pulled) = (Some(salt), 0);
        peer.begins += 1;
        peer.due = (peer.begins < BEGINS_MAX)
            .then(|| now.mono.after(peer.returns.timeout() * (1 << peer.begins)));
        if peer.due.is_none() {
            peer.begins = 0;
        }
        let depth = peer.depth;
        let scope = self.common(&with, depth, cut);
        let ranges = scope.map(|scope| self.summarised(scope, salt)).into_iter().collect();
        self.stats.rounds += 1;
        let depth = self.table.depth();
        self.send(with, Message::Ranges(Ranges { salt, cut, depth, ranges }));
    }

    fn summarised(&self, scope: Scope, salt: u64) -> Range {
        let (count, fingerprint) = self.table.summary(scope, salt);
        let body = RangeBody::Summary { count, fingerprint };
        Range { from: scope.from, to: scope.to, body }
    }

    /// The intersection of both horizons, if there is one.
    fn common(&self, peer: &NodeId, depth: u8, cut: Wall) -> Option<Scope> {
        let (mine, theirs) = (horizon(&self.me, self.table.depth()), horizon(peer, depth));
        let (from, to) = (mine.0.max(theirs.0), mine.1.min(theirs.1));
        (from <= to).then_some(Scope { from, to, cut })
    }

    pub(super) fn on_ranges(&mut self, now: Now, from: NodeId, message: &Ranges) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if !peer.budget.ranges_in.take(1, now.mono) {
            self.stats.shed += 1;
            return;
        }
        let began = peer.salt == Some(message.salt);
        peer.depth = message.depth.min(DEPTH_MAX);
        (peer.due, peer.begins) = (None, 0);
        let (depth, salt) = (peer.depth, message.salt);
        let own_cut = now.wall.after(self.table.life_min());
        // Two clocks, or two moments, are no reason to begin anew.
        let stricter = self.table.is_aged() && own_cut > message.cut.after(CLOCK_SKEW_MAX);
        let cut = if stricter { own_cut } else { message.cut };
        let mut step = Step::default();
        if let Some(common) = self.common(&from, depth, cut) {
            for range in &message.ranges {
                self.compare(range, common, cut != message.cut, salt, &mut step);
            }
        }
        self.conclude(now, from, Ranges { salt, cut, depth: 0, ranges: vec![] }, began, step);
    }

    fn conclude(&mut self, now: Now, with: NodeId, head: Ranges, began: bool, step: Step) {
        self.stats.differences += u64::from(began && step.differs);
        let Some(peer) = self.peers.get(&with) else { return };
        let later = now.mono.since(peer.since) >= SETTLED && step.wants.len() < BULK_MIN;
        for item in step.wants {
            self.want(now, with, item, true, later);
        }
        self.offer(now, &with, &step.offers);
        // Whoever began need not say that nothing is left.
        if !began || !step.reply.is_empty() {
            let depth = self.table.depth();
            let reply = Message::Ranges(Ranges { depth, ranges: step.reply, ..head });
            let len = reply.wire_len::<V>();
            let Some(peer) = self.peers.get_mut(&with) else { return };
            if began {
                peer.due = Some(now.mono.after(peer.returns.timeout() * 2));
            }
            if peer.budget.bytes_out.take(len, now.mono) {
                self.send(with, reply);
            }
        }
        self.ask(now, with);
    }

    /// Announces what the peer lacks, other than what is on its way to it.
    fn offer(&mut self, now: Now, with: &NodeId, items: &[Item]) {
        let Some(peer) = self.peers.get_mut(with) else { return };
        let old = now.mono.0.saturating_sub(UNDER_WAY.as_micros() as u64).max(peer.since.0);
        let table = &self.table;
        let is_old = |place: &u64| table.at(*place).any(|(_, entry)| entry.heard.0 <= old);
        let lacking: Vec<u64> = items.iter().map(|item| item.prefix).filter(is_old).collect();
        if !lacking.is_empty() {
            peer.offer(now.mono, lacking);
            self.stir(now);
        }
    }

    /// One range of theirs against ours. `anew`: their sums are about something else.
    fn compare(&self, range: &Range, common: Scope, anew: bool, salt: u64, step: &mut Step) {
        let scope = Scope {
            from: range.from.max(common.from),
            to: range.to.min(common.to),
            cut: common.cut,
        };
        if scope.from > scope.to {
            return;
        }
        let clipped = (scope.from, scope.to) != (range.from, range.to);
        match &range.body {
            RangeBody::Summary { .. } if anew || clipped => {
                step.answer(scope, self.summarised(scope, salt).body);
            }
            RangeBody::Summary { count, fingerprint } => {
                self.compare_sum(scope, (*count, *fingerprint), salt, step);
            }
            RangeBody::List(theirs) => self.compare_list(scope, theirs, step),
        }
    }

    fn compare_sum(&self, scope: Scope, theirs: (u32, u64), salt: u64, step: &mut Step) {
        let mine = self.table.summary(scope, salt);
        if mine == theirs {
            return;
        }
        step.differs = true;
        let count = mine.0 as usize;
        if theirs.0 == 0 {
            step.offer(self.table.items(scope, OFFERS_MAX));
        } else if count <= LEAF {
            step.answer(scope, RangeBody::List(self.table.items(scope, LEAF)));
        } else {
            let parts = (2 * count).div_ceil(LEAF).clamp(2, BRANCHES);
            for (part, count, fingerprint) in self.table.split(scope, salt, parts) {
                step.answer(part, RangeBody::Summary { count, fingerprint });
            }
        }
    }

    fn compare_list(&self, scope: Scope, theirs: &[Item], step: &mut Step) {
        let mine = self.table.items(scope, OFFERS_MAX);
        let newer_than = |item: &Item, others: &[Item]| {
            let others = others.iter().filter(|other| other.prefix == item.prefix);
            others.into_iter().all(|other| {
                (other.sequence, other.mark) != (item.sequence, item.mark)
                    && other.sequence <= item.sequence
            })
        };
        let in_scope = |item: &&Item| (scope.from..=scope.to).contains(&item.prefix);
        let offers: Vec<Item> =
            mine.iter().filter(|item| newer_than(item, theirs)).copied().collect();
        let wants = theirs.iter().filter(in_scope).filter(|item| newer_than(item, &mine)).copied();
        step.wants.extend(wants);
        step.differs |= !offers.is_empty() || !step.wants.is_empty();
        step.offer(offers);
    }
}

const _: () = assert!(RECEDE_PART > 2, "one step back doubles the table");
