//! Driving lookups: asking, listening, ending, storing, repairing; and the region query.
//!
//! ```text
//! Searching ──k closest answered──► done        (FindNode)
//!     │                        ├──► Storing     (Put: one copy each)
//!     │                        ├──► Region ──► Searching again among all it found (too close together)
//!     │                        └──► Searching once more, 8 disjoint paths from elsewhere (no value found)
//!     └──verified value──► done, Settling: late answers may still show a newer one
//! ```

use std::cmp::Ordering;
use std::time::Duration;

use homing_base::{Mono, NodeId, Now};

use super::contact::{Contact, Distance, Place, flip_bit};
use super::flight::Purpose;
use super::io::{Class, CommandId, DhtOutput, Outcome, Report, Step};
use super::limits::{
    LOOKUP_TIME_MAX, LOOKUPS_MAX, PATHS_MAX, REGION_LEVELS_MAX, REGION_NODES_MAX,
    VALUES_PER_ANSWER_MAX,
};
use super::lookup::{Candidates, Shape, State};
use super::message::{Body, Verdict};
use super::value::{Kind, Slot, Value};
use super::{Dht, Outcome::NotFound};

/// Holders of a name's claims that must have answered before the claims are believed complete.
const NAME_HOLDERS: usize = 3;
/// Holders of a reference that must have answered: one that lags, or wants to, is outvoted by the newest.
const REFERENCE_HOLDERS: usize = 5;
/// The k closest are suspicious if they lie within this share of where chance would put them:
/// p < 2·10⁻⁴ for k = 20, an estimate of the network's size that is 25 % off included.
const SUSPICIOUS_SHARE: f64 = 0.3;

/// What a lookup is for.
#[derive(Clone, Debug)]
pub(super) enum Goal<V> {
    /// The k closest nodes.
    Nodes,
    /// The values of a slot.
    Find(Slot),
    /// A value at the k closest nodes.
    Put(Slot, V),
    /// Entering the network.
    Join,
    /// Just to learn contacts.
    Fill,
    /// Our own neighbourhood on the other side of what was a partition.
    Reunite {
        /// Contacts in the table before.
        known: usize,
    },
    /// A subtree of another lookup's region.
    Part(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Searching,
    Region { parts: usize },
    Storing { left: usize, kept: usize, asked: usize },
    Settling,
}

/// A node that showed values, and which.
type Holder<P, V> = (Contact<P>, Vec<V>);

/// One lookup under way.
#[derive(Clone, Debug)]
pub(super) struct Lookup<P, V> {
    goal: Goal<V>,
    target: NodeId,
    command: Option<CommandId>,
    class: Class,
    phase: Phase,
    candidates: Candidates<P>,
    started: Mono,
    report: Report,
    best: Vec<V>,
    holders: Vec<Holder<P, V>>,
    gathered: Vec<Contact<P>>,
    /// Nothing was found at first: this is the second search.
    again: bool,
}

impl<P: Place, V: Value> Lookup<P, V> {
    fn question(&self) -> Body<P, V::Wire> {
        match &self.goal {
            Goal::Find(slot) => Body::FindValue { slot: *slot },
            _ => Body::FindNode { target: self.target },
        }
    }

    pub(super) fn is_reunion(&self) -> bool {
        matches!(self.goal, Goal::Reunite { .. })
    }

    /// Keeps the newest value per signer; `true` if `value` is news.
    fn learn(&mut self, value: &V) -> bool {
        let full = self.best.len() >= VALUES_PER_ANSWER_MAX;
        match self.best.iter_mut().find(|b| b.signer() == value.signer()) {
            Some(best) if value.precedence(best) == Ordering::Greater => *best = value.clone(),
            Some(_) => return false,
            None if full => return false,
            None => self.best.push(value.clone()),
        }
        true
    }

    fn has_enough(&self, slot: &Slot) -> bool {
        let needed = match slot.kind {
            Kind::Name => NAME_HOLDERS,
            Kind::Reference | Kind::Bound => REFERENCE_HOLDERS,
            Kind::Agent | Kind::Address => 1,
        };
        self.holders.iter().filter(|(_, values)| !values.is_empty()).count() >= needed
    }
}

impl<P: Place, V: Value> Dht<P, V> {
    // ---- commands

    pub(super) fn find_node(&mut self, id: CommandId, target: NodeId, now: Now) {
        self.start(Some(id), Goal::Nodes, target, Vec::new(), Class::Command, now);
    }

    /// First our own values, then the network.
    pub(super) fn find_value(&mut self, id: CommandId, slot: Slot, now: Now) {
        let here = self.held_here(&slot, now);
        let is_moving = matches!(slot.kind, Kind::Reference | Kind::Bound);
        if !here.is_empty() && slot.kind != Kind::Name && !is_moving {
            return self.finish(id, Outcome::Values(here), Report::default());
        }
        // Of something that moves, our own copy is one voice among several.
        let voice = if is_moving { here } else { Vec::new() };
        let goal = Goal::Find(slot);
        self.start_knowing(Some(id), goal, slot.key, Vec::new(), Class::Command, voice, now);
    }

    pub(super) fn put(
        &mut self,
        id: Option<CommandId>,
        slot: Slot,
        value: V,
        class: Class,
        now: Now,
    ) {
        self.start(id, Goal::Put(slot, value), slot.key, Vec::new(), class, now);
    }

    pub(super) fn start(
        &mut self,
        command: Option<CommandId>,
        goal: Goal<V>,
        target: NodeId,
        seeds: Vec<Contact<P>>,
        class: Class,
        now: Now,
    ) {
        self.start_knowing(command, goal, target, seeds, class, Vec::new(), now);
    }

    /// As [`Self::start`], with values that we hold ourselves.
    #[expect(clippy::too_many_arguments, reason = "one lookup, spelled out")]
    fn start_knowing(
        &mut self,
        command: Option<CommandId>,
        goal: Goal<V>,
        target: NodeId,
        seeds: Vec<Contact<P>>,
        class: Class,
        here: Vec<V>,
        now: Now,
    ) {
        if self.lookups.len() >= LOOKUPS_MAX {
            self.stats.shed += 1;
            if let Some(id) = command {
                self.finish(id, Outcome::Refused, Report::default());
            }
            return;
        }
        let candidates = self.candidates(&goal, target, seeds);
        let holders = match here.is_empty() {
            true => Vec::new(),
            false => vec![(self.me.clone(), here.clone())],
        };
        let lookup = Lookup {
            goal,
            target,
            command,
            class,
            phase: Phase::Searching,
            candidates,
            started: now.mono,
            report: Report::default(),
            best: here,
            holders,
            gathered: Vec::new(),
            again: false,
        };
        let id = self.next_lookup;
        self.next_lookup += 1;
        self.lookups.insert(id, lookup);
        self.advance(id, now);
    }

    fn shape(&self, goal: &Goal<V>) -> Shape {
        let finding = matches!(goal, Goal::Find(_));
        let paths = match goal {
            Goal::Find(_) => self.config.paths,
            Goal::Put(..) => self.config.put_paths,
            _ => 1,
        };
        Shape {
            k: self.config.k,
            alpha: self.config.alpha,
            alpha_last: self.config.alpha_last,
            paths,
            caps: self.config.ip_caps,
            proximity: self.rtt.smoothed().filter(|_| finding && self.config.proximity),
        }
    }

    fn candidates(&self, goal: &Goal<V>, target: NodeId, seeds: Vec<Contact<P>>) -> Candidates<P> {
        let shape = self.shape(goal);
        let mut start = Vec::new();
        let wanted = self.config.k * shape.paths.min(3);
        // Seeds stand for a network that the table may know nothing of: behind k known ones they would
        // never be asked.
        let elsewhere = matches!(goal, Goal::Reunite { .. } | Goal::Join) && !seeds.is_empty();
        if !elsewhere {
            self.table.visit_closest(&target, |e| {
                if e.failures == 0 {
                    start.push((e.contact.clone(), e.rtt.smoothed()));
                }
                start.len() < wanted
            });
        }
        let seeds = seeds.into_iter().map(|c| (c, None));
        Candidates::new(self.me.id, target, shape, start.into_iter().chain(seeds))
    }

    /// Whom to ask when the closest we knew led to nothing: others, on [`PATHS_MAX`] disjoint paths.
    /// `None`: there is nobody else.
    fn elsewhere(&self, lookup: &Lookup<P, V>) -> Option<Candidates<P>> {
        let shape = Shape { paths: PATHS_MAX, ..self.shape(&lookup.goal) };
        let mut start = Vec::new();
        self.table.visit_closest(&lookup.target, |e| {
            let asked =
                lookup.candidates.get(&e.contact.id).is_some_and(|c| c.state != State::Fresh);
            if e.failures == 0 && !asked {
                start.push((e.contact.clone(), e.rtt.smoothed()));
            }
            start.len() < self.config.k * 3
        });
        let start = Some(start).filter(|s| !s.is_empty())?;
        Some(Candidates::new(self.me.id, lookup.target, shape, start.into_iter()))
    }

    // ---- moving on

    /// Asks whoever may be asked now; ends the lookup if nobody is left.
    fn advance(&mut self, id: u64, now: Now) {
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        if lookup.phase == Phase::Searching {
            while let Some(contact) = lookup.candidates.ask_next() {
                let purpose = Purpose::Step { lookup: id, class: lookup.class };
                let peer = contact.id;
                if self.ask(contact, lookup.question(), purpose, now) {
                    lookup.report.requests += 1;
                } else {
                    lookup.candidates.mark(&peer, State::Failed);
                }
            }
            if lookup.candidates.is_finished() {
                return self.on_searched(id, lookup, now);
            }
        }
        if lookup.phase == Phase::Settling && !self.flights.busy_with(id) {
            return self.settle(&lookup, now);
        }
        self.lookups.insert(id, lookup);
    }

    pub(super) fn on_step(
        &mut self,
        id: u64,
        from: &Contact<P>,
        values: Vec<V::Wire>,
        contacts: Vec<Contact<P>>,
        now: Now,
    ) {
        self.learn_from(id, &contacts);
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        self.trace(&mut lookup, &from.id, true, now);
        lookup.candidates.on_answer(&from.id, contacts);
        if let Goal::Find(slot) = lookup.goal {
            self.on_values(&mut lookup, &slot, from, &values, now);
            if lookup.phase == Phase::Searching && lookup.has_enough(&slot) {
                let depth = lookup.candidates.get(&from.id).map_or(0, |c| c.depth);
                lookup.report.hops = depth;
                self.conclude(&mut lookup, now);
            }
        }
        self.lookups.insert(id, lookup);
        self.advance(id, now);
    }

    /// Hearsay from answers: all of it when we search near ourselves, a random part otherwise.
    fn learn_from(&mut self, id: u64, contacts: &[Contact<P>]) {
        let Some(lookup) = self.lookups.get(&id) else { return };
        let all = matches!(lookup.goal, Goal::Join | Goal::Fill | Goal::Reunite { .. });
        let sample = 3.min(contacts.len());
        for i in 0..if all { contacts.len() } else { sample } {
            let at = if all { i } else { self.below(contacts.len()) };
            self.hear_of(&contacts[at]);
        }
    }

    fn on_values(
        &mut self,
        lookup: &mut Lookup<P, V>,
        slot: &Slot,
        from: &Contact<P>,
        wires: &[V::Wire],
        now: Now,
    ) {
        let mut shown = Vec::new();
        for wire in wires.iter().take(VALUES_PER_ANSWER_MAX) {
            let Ok(value) = self.believe(wire, slot, now) else { continue };
            let news = lookup.learn(&value);
            if let (true, Phase::Settling, Some(id)) = (news, lookup.phase, lookup.command) {
                self.outputs.push_back(DhtOutput::Newer { id, value: value.clone() });
            }
            shown.push(value);
        }
        lookup.holders.push((from.clone(), shown));
    }

    pub(super) fn on_step_failed(&mut self, id: u64, peer: &NodeId, state: State, now: Now) {
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        if state == State::Slow
            || lookup.candidates.get(peer).is_some_and(|c| c.state == State::Asked)
        {
            lookup.report.timeouts += 1;
            self.trace(&mut lookup, peer, false, now);
        }
        lookup.candidates.mark(peer, state);
        self.lookups.insert(id, lookup);
        self.advance(id, now);
    }

    fn trace(&self, lookup: &mut Lookup<P, V>, peer: &NodeId, answered: bool, now: Now) {
        if self.config.trace {
            let depth = lookup.candidates.get(peer).map_or(0, |c| c.depth);
            let at = now.mono.since(lookup.started);
            lookup.report.steps.push(Step { peer: *peer, depth, at, answered });
        }
    }

    // ---- ending

    /// The k closest have answered.
    fn on_searched(&mut self, id: u64, mut lookup: Lookup<P, V>, now: Now) {
        let hops = lookup.candidates.answered().take(self.config.k).map(|c| c.depth).max();
        lookup.report.hops = hops.unwrap_or(0);
        let suspicious = self.judge(&lookup);
        let retry = matches!(lookup.goal, Goal::Find(_) | Goal::Put(..)) && !lookup.report.region;
        if suspicious && retry && self.config.region_query {
            return self.search_region(id, lookup, now);
        }
        let in_vain = matches!(lookup.goal, Goal::Find(_)) && lookup.best.is_empty();
        let may = in_vain && !lookup.again && self.config.second_search;
        if may && let Some(candidates) = self.elsewhere(&lookup) {
            (lookup.again, lookup.candidates) = (true, candidates);
            self.lookups.insert(id, lookup);
            return self.advance(id, now);
        }
        match lookup.goal.clone() {
            Goal::Put(slot, value) => self.copy_out(id, lookup, slot, &value, now),
            Goal::Part(parent) => self.on_part(parent, &lookup, now),
            _ => self.conclude(&mut lookup, now),
        }
    }

    /// Reports the end of a lookup.
    fn conclude(&mut self, lookup: &mut Lookup<P, V>, now: Now) {
        lookup.report.elapsed = now.mono.since(lookup.started);
        let holders = lookup.holders.iter().filter(|(_, values)| !values.is_empty()).count();
        lookup.report.holders = u32::try_from(holders).unwrap_or(u32::MAX);
        let agrees = |(_, values): &&Holder<P, V>| {
            !values.is_empty() && values.iter().all(|v| lookup.best.contains(v))
        };
        let agreed = lookup.holders.iter().filter(agrees).count();
        lookup.report.agreed = u32::try_from(agreed).unwrap_or(u32::MAX);
        lookup.phase = Phase::Settling;
        let report = lookup.report.clone();
        let answered = lookup.candidates.answered().take(self.config.k);
        let outcome = match &lookup.goal {
            Goal::Join => return self.on_joined(lookup.command, report),
            Goal::Reunite { known } => return self.on_reunited(*known, now),
            Goal::Find(_) if lookup.best.is_empty() => NotFound,
            Goal::Find(_) => Outcome::Values(lookup.best.clone()),
            _ => Outcome::Nodes(answered.map(|c| c.contact.clone()).collect()),
        };
        if let Some(id) = lookup.command {
            self.finish(id, outcome, report);
        }
    }

    /// All answers are in: stale holders are repaired, the nearest node that had nothing caches it.
    fn settle(&mut self, lookup: &Lookup<P, V>, now: Now) {
        let Goal::Find(slot) = lookup.goal else { return };
        if slot.kind == Kind::Address {
            return;
        }
        for best in &lookup.best {
            let same = |v: &&V| v.signer() == best.signer();
            for (holder, values) in &lookup.holders {
                let stale = values.iter().find(same).is_some_and(|v| v.precedence(best).is_lt());
                if stale {
                    self.push(holder, slot, best, now);
                }
            }
            let empty = |c: &Contact<P>| {
                lookup
                    .holders
                    .iter()
                    .any(|(h, values)| h.id == c.id && !values.iter().any(|v| same(&v)))
            };
            let nearest = lookup.candidates.answered().map(|c| &c.contact).find(|c| empty(c));
            if let Some(nearest) = nearest {
                self.push(nearest, slot, best, now);
            }
        }
    }

    fn push(&mut self, to: &Contact<P>, slot: Slot, value: &V, now: Now) {
        let value = value.wire();
        self.ask(to.clone(), Body::Store { slot, value }, Purpose::Push, now);
    }

    pub(super) fn end_old_lookups(&mut self, now: Now) {
        let old = |l: &Lookup<P, V>| now.mono.since(l.started) > LOOKUP_TIME_MAX;
        let ids: Vec<_> = self.lookups.iter().filter(|(_, l)| old(l)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut lookup) = self.lookups.remove(&id) else { continue };
            match lookup.phase {
                Phase::Storing { kept, asked, .. } => self.stored(&mut lookup, kept, asked, now),
                Phase::Settling => {}
                _ => self.conclude(&mut lookup, now),
            }
        }
    }

    // ---- storing

    /// One copy to each of the k closest (ourselves included, if we are one and serve), or to every
    /// node of the region.
    fn copy_out(&mut self, id: u64, mut lookup: Lookup<P, V>, slot: Slot, value: &V, now: Now) {
        let answered = lookup.candidates.answered().map(|c| c.contact.clone());
        let mut to: Vec<_> = if lookup.report.region {
            answered.take(REGION_NODES_MAX).collect()
        } else {
            answered.take(self.config.k).collect()
        };
        let mut kept = 0;
        let ours = Distance::between(&self.me.id, &slot.key);
        let last = to.last().map(|c| Distance::between(&c.id, &slot.key));
        let among = to.len() < self.config.k || last.is_some_and(|last| ours < last);
        if self.server && among {
            if to.len() >= self.config.k && !lookup.report.region {
                to.pop();
            }
            self.store(slot, &value.wire(), self.me.id, now);
            kept = 1;
        }
        let asked = to.len() + kept;
        lookup.phase = Phase::Storing { left: to.len(), kept, asked };
        if to.is_empty() {
            return self.stored(&mut lookup, kept, asked, now);
        }
        // A region has many nodes: k copies at once, each answer sends the next. No burst fills an uplink.
        to.reverse();
        lookup.gathered = to;
        for _ in 0..self.config.k {
            self.copy_next(id, &mut lookup, now);
        }
        self.lookups.insert(id, lookup);
    }

    /// Sends one more copy, to the closest node that has none.
    fn copy_next(&mut self, id: u64, lookup: &mut Lookup<P, V>, now: Now) {
        let (Goal::Put(slot, value), Some(to)) = (&lookup.goal, lookup.gathered.pop()) else {
            return;
        };
        let body = Body::Store { slot: *slot, value: value.wire() };
        let purpose = Purpose::Copy { lookup: id, class: lookup.class };
        lookup.report.requests += u32::from(self.ask(to, body, purpose, now));
    }

    pub(super) fn on_copied(&mut self, id: u64, verdict: Option<Verdict>, now: Now) {
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        let Phase::Storing { left, kept, asked } = lookup.phase else {
            self.lookups.insert(id, lookup);
            return;
        };
        let good = matches!(verdict, Some(Verdict::Kept | Verdict::Same | Verdict::Stale));
        let (left, kept) = (left.saturating_sub(1), kept + usize::from(good));
        lookup.phase = Phase::Storing { left, kept, asked };
        if left == 0 {
            return self.stored(&mut lookup, kept, asked, now);
        }
        self.copy_next(id, &mut lookup, now);
        self.lookups.insert(id, lookup);
    }

    fn stored(&mut self, lookup: &mut Lookup<P, V>, replicas: usize, asked: usize, now: Now) {
        lookup.report.elapsed = now.mono.since(lookup.started);
        if let Some(id) = lookup.command {
            self.finish(id, Outcome::Stored { replicas, asked }, lookup.report.clone());
        }
    }

    // ---- the region query

    /// Whether the k closest answers are too close together; otherwise they are a sample of the
    /// network's size.
    fn judge(&mut self, lookup: &Lookup<P, V>) -> bool {
        let kth = lookup.candidates.answered().take(self.config.k).enumerate().last();
        let Some((rank, share)) =
            kth.map(|(i, c)| (i + 1, Distance::between(&c.contact.id, &lookup.target).share()))
        else {
            return false;
        };
        let expected = self.estimates.size().unwrap_or(0.0) * share;
        let suspicious = rank == self.config.k
            && expected < SUSPICIOUS_SHARE * rank as f64
            && self.estimates.size().is_some_and(|n| n > 2.0 * self.config.k as f64);
        if !suspicious && rank == self.config.k && !matches!(lookup.goal, Goal::Part(_)) {
            self.estimates.sample_size(rank, share);
        }
        suspicious
    }

    /// Searches the sibling subtrees of the target, from the one that should hold its k closest down.
    fn search_region(&mut self, id: u64, mut lookup: Lookup<P, V>, now: Now) {
        self.stats.regions += 1;
        let size = self.estimates.size().unwrap_or(1.0).max(1.0);
        let top = (size / (2.0 * self.config.k as f64)).log2().max(0.0) as usize;
        let levels: Vec<usize> = (top..256).take(REGION_LEVELS_MAX).collect();
        lookup.report.region = true;
        lookup.phase = Phase::Region { parts: levels.len() };
        lookup.gathered = lookup.candidates.answered().map(|c| c.contact.clone()).collect();
        let (target, class) = (lookup.target, lookup.class);
        self.lookups.insert(id, lookup);
        for level in levels {
            self.start(None, Goal::Part(id), flip_bit(&target, level), Vec::new(), class, now);
        }
    }

    fn on_part(&mut self, parent: u64, part: &Lookup<P, V>, now: Now) {
        let Some(lookup) = self.lookups.get_mut(&parent) else { return };
        lookup.report.requests += part.report.requests;
        lookup.report.timeouts += part.report.timeouts;
        for candidate in part.candidates.answered().take(self.config.k) {
            let known = lookup.gathered.iter().any(|c| c.id == candidate.contact.id);
            if !known && lookup.gathered.len() < REGION_NODES_MAX {
                lookup.gathered.push(candidate.contact.clone());
            }
        }
        let Phase::Region { parts } = lookup.phase else { return };
        lookup.phase = Phase::Region { parts: parts.saturating_sub(1) };
        if parts <= 1 {
            self.on_region(parent, now);
        }
    }

    /// Every node of the region is known: ask them all, then store or conclude as usual.
    fn on_region(&mut self, id: u64, now: Now) {
        let Some(mut lookup) = self.lookups.remove(&id) else { return };
        let shape = Shape {
            k: lookup.gathered.len().max(1),
            alpha: self.config.alpha_last,
            alpha_last: self.config.alpha_last,
            paths: 1,
            caps: false,
            proximity: None,
        };
        let start = std::mem::take(&mut lookup.gathered).into_iter().map(|c| (c, None::<Duration>));
        lookup.candidates = Candidates::new(self.me.id, lookup.target, shape, start);
        lookup.phase = Phase::Searching;
        self.lookups.insert(id, lookup);
        self.advance(id, now);
    }
}
