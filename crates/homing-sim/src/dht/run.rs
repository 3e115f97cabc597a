//! Plays a scenario and measures. The attacks and accidents are in [`super::trials`].

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{Record, Seq};
use homing_core::dht::setting::Advisor;
use homing_core::dht::{Body, Outcome, Recovery, Slot};
use rand_core::Rng;

use super::adversary::Role;
use super::clusters::Regions;
use super::report::{
    Convergence, FindNode, FindValue, Latencies, Measured, Placement, Publish, Sample, Upkeep,
};
use super::scenario::Scenario;
use super::value::{Mint, Token};
use super::world::{Ended, Op, Traffic, World};

/// The /24 that an eclipse attempt comes from.
const ECLIPSE_GROUP: u32 = 0x0a0b_0c00;
/// What maintenance consists of.
const KINDS: [&str; 7] = Body::<(), ()>::KINDS;
/// How often divergence is looked for.
const STEP_SECONDS: f64 = 0.25;
/// How often clusters are looked at.
const WATCH_SECONDS: f64 = 5.0;
/// As long must a reason to change the mode last.
const PATIENCE: Duration = Duration::from_secs(600);
/// Most leafsets looked at per check.
const LEAFSETS_CHECKED_MAX: usize = 2_000;

/// Plays `scenario` with `seed`. Equal arguments give equal results.
#[must_use]
pub fn play(scenario: &Scenario, seed: u64) -> Measured {
    if scenario.signed {
        Play::<Record>::new(scenario, seed).play()
    } else {
        Play::<Token>::new(scenario, seed).play()
    }
}

pub(super) struct Play<'s, V: Mint> {
    pub(super) scenario: &'s Scenario,
    pub(super) world: World<V>,
    pub(super) measured: Measured,
    pub(super) regions: Regions,
    pub(super) advisor: Advisor,
    total: Traffic,
}

impl<'s, V: Mint> Play<'s, V> {
    fn new(scenario: &'s Scenario, seed: u64) -> Self {
        let world = World::new(scenario.nature(), seed);
        let (measured, total) = (Measured::default(), Traffic::default());
        let (regions, advisor) = (Regions::default(), Advisor::new(PATIENCE));
        Self { scenario, world, measured, regions, advisor, total }
    }

    fn play(mut self) -> Measured {
        self.join();
        self.sybils();
        self.publish();
        self.attack();
        self.newcomers();
        self.claims();
        self.partition();
        self.churned_prefix();
        self.find_nodes();
        self.idle();
        self.mass_event();
        self.lose_cluster();
        self.lose_holders();
        self.crowd();
        self.churn();
        self.finish()
    }

    /// Lets time go by, unless the world has diverged: then nothing happens any more.
    pub(super) fn run(&mut self, seconds: f64) {
        let mut left = seconds;
        while left > 0.0 && !self.measured.diverged {
            let step = left.min(STEP_SECONDS);
            self.world.run_for(Duration::from_secs_f64(step));
            left -= step;
            self.measured.diverged =
                self.total.events + self.world.traffic.events > self.scenario.events_max;
        }
    }

    pub(super) fn traffic(&mut self) -> Traffic {
        let traffic = self.world.take_traffic();
        add(&mut self.total, traffic);
        traffic
    }

    pub(super) fn ended(&mut self) -> Vec<Ended<V>> {
        std::mem::take(&mut self.world.ended)
    }

    fn join(&mut self) {
        let share = |share: f64| (self.scenario.nodes as f64 * share) as usize;
        let (mut liars, mut slow) = (share(self.scenario.liars), share(self.scenario.slow));
        for i in 0..self.scenario.nodes {
            let left = (self.scenario.nodes - i) as f64;
            // The first nodes are honest: somebody has to be there to be attacked.
            let draw = if i > 3 { self.world.unit() * left } else { left };
            if draw < liars as f64 {
                liars -= 1;
                self.birth_liar();
            } else if draw < (liars + slow) as f64 {
                slow -= 1;
                let (key, group) = self.stranger();
                self.world.birth(key, group, Role::Slow);
            } else {
                self.world.birth_anyone();
            }
            self.run(1.0 / self.scenario.join_per_second);
        }
        self.run(self.scenario.settle_seconds);
        self.ended();
        self.traffic();
    }

    /// A fresh key and a /24 of its own.
    pub(super) fn stranger(&mut self) -> (V::Key, u32) {
        (V::key(self.world.chance()), self.world.chance().next_u32() | 1)
    }

    fn birth_liar(&mut self) {
        let key = V::key(self.world.chance());
        let one = self.scenario.liars_in_one_group;
        let group = if one { ECLIPSE_GROUP } else { self.world.chance().next_u32() | 1 };
        let role = if self.scenario.liars_forge { Role::Forger } else { Role::Liar };
        self.world.birth(key, group, role);
    }

    fn sybils(&mut self) {
        let honest = self.honest();
        let targets = honest.len().min(self.scenario.sybil_targets);
        for whom in &honest[..targets] {
            let target = self.world.nodes[*whom as usize].agent;
            for _ in 0..self.scenario.sybils_per_target {
                let key = V::key_near(&target, self.scenario.sybil_bits, self.world.chance());
                let group = self.world.chance().next_u32() | 1;
                self.world.birth(key, group, Role::Liar);
                self.run(1.0 / self.scenario.join_per_second);
            }
        }
        if targets > 0 {
            self.run(self.scenario.settle_seconds);
        }
    }

    pub(super) fn honest(&self) -> Vec<u32> {
        let honest = |h: &&u32| self.world.nodes[**h as usize].role == Role::Honest;
        let mut all: Vec<_> = self.world.alive.handles().iter().filter(honest).copied().collect();
        all.sort_unstable();
        all
    }

    fn publish(&mut self) {
        let honest = self.honest();
        let count = self.scenario.publishers.min(honest.len());
        if count == 0 {
            return;
        }
        self.ended();
        for whom in &honest[..count] {
            self.world.publish(*whom);
            self.run(0.02);
        }
        self.run(10.0);
        let ended = self.ended();
        let placed: Vec<_> = honest[..count].iter().map(|whom| self.placed(*whom)).collect();
        let of = |f: &dyn Fn(&Ended<V>) -> f64| {
            ended.iter().filter(|e| e.op == Op::Publish).map(f).collect::<Vec<_>>()
        };
        self.measured.publish = Some(Publish {
            count,
            placed: placed.iter().sum::<usize>() as f64 / count as f64,
            placed_min: placed.iter().copied().min().unwrap_or(0),
            requests: mean(&of(&|e| f64::from(e.report.requests))),
            latency_ms: Latencies::of(of(&|e| e.report.elapsed.as_secs_f64() * 1e3)),
        });
    }

    /// Replicas of a record at the true k closest living nodes.
    pub(super) fn placed(&self, whom: u32) -> usize {
        let id = self.world.nodes[whom as usize].agent;
        let (slot, now) = (Slot::agent(id), self.world.now());
        let holders = self.world.alive.closest(&id, self.scenario.k, None);
        let holds = |h: &&u32| {
            let dht = self.world.nodes[**h as usize].dht.as_ref();
            dht.is_some_and(|d| d.values().find(&slot, now).next().is_some())
        };
        holders.iter().filter(holds).count()
    }

    // ---- questions

    fn find_nodes(&mut self) {
        let count = self.scenario.find_nodes;
        if count == 0 {
            return;
        }
        self.ended();
        let honest = self.honest();
        for _ in 0..count {
            let by = honest[self.world.below(honest.len())];
            self.world.find_node(by);
            self.run(0.02);
        }
        self.run(10.0);
        let ended = self.ended();
        let (mut recalls, mut closest) = (Vec::new(), 0);
        for e in &ended {
            let (Op::FindNode { target }, Outcome::Nodes(nodes)) = (e.op, &e.outcome) else {
                continue;
            };
            let truth = self.world.alive.closest(&target, self.scenario.k, Some(e.by));
            let found = |h: &&u32| nodes.iter().any(|c| c.place.handle == **h);
            recalls.push(truth.iter().filter(found).count() as f64 / truth.len() as f64);
            closest += usize::from(truth.first().as_ref().is_some_and(found));
        }
        let of = |f: &dyn Fn(&Ended<V>) -> f64| ended.iter().map(f).collect::<Vec<_>>();
        self.measured.find_node = Some(FindNode {
            count,
            recall: mean(&recalls),
            closest: closest as f64 / count as f64,
            requests: mean(&of(&|e| f64::from(e.report.requests))),
            hops: mean(&of(&|e| f64::from(e.report.hops))),
            latency_ms: Latencies::of(of(&|e| e.report.elapsed.as_secs_f64() * 1e3)),
        });
    }

    fn idle(&mut self) {
        if self.scenario.idle_seconds > 0.0 {
            self.traffic();
            self.run(self.scenario.idle_seconds);
            self.measured.idle = Some(upkeep(self.traffic()));
        }
    }

    /// Nodes die and are born in one moment; values are looked for before anything can be repaired.
    fn mass_event(&mut self) {
        let before = self.rounds();
        let alive = self.world.alive.len();
        let (kills, joins) = (alive as f64 * self.scenario.kill, alive as f64 * self.scenario.join);
        let published = self.honest();
        for _ in 0..kills as usize {
            let victim = self.world.any();
            self.world.kill(victim);
        }
        for _ in 0..joins as usize {
            self.world.birth_anyone();
        }
        let (start, at_once) = (self.world.now().mono, self.leafsets_right());
        if self.scenario.finds > 0 && self.scenario.publishers > 0 {
            let found = self.find_values(&published);
            self.measured.find_value = Some(found);
        }
        self.repair(&published);
        if self.scenario.converge_seconds > 0.0 {
            self.converge(start, at_once, &before);
        }
    }

    /// One repair period later: where the replicas are now, and whether they are found.
    fn repair(&mut self, published: &[u32]) {
        if self.scenario.repair_seconds == 0.0 {
            return;
        }
        self.run(self.scenario.repair_seconds);
        self.measured.repaired = Some(self.placement(published));
        let found = self.find_values(published);
        self.measured.found_repaired = Some(found);
    }

    pub(super) fn placement(&self, published: &[u32]) -> Placement {
        let records = published.iter().filter(|h| self.world.nodes[**h as usize].published);
        let placed: Vec<_> = records.map(|h| self.placed(*h)).collect();
        Placement {
            records: placed.len(),
            placed: placed.iter().sum::<usize>() as f64 / placed.len().max(1) as f64,
            placed_min: placed.iter().copied().min().unwrap_or(0),
            lost: placed.iter().filter(|p| **p == 0).count(),
        }
    }

    pub(super) fn find_values(&mut self, candidates: &[u32]) -> FindValue {
        let askers = self.honest();
        self.find_values_by(&askers, candidates)
    }

    /// `finds` lookups by random `askers`, within the time window.
    pub(super) fn find_values_by(&mut self, askers: &[u32], candidates: &[u32]) -> FindValue {
        self.ended();
        let published: Vec<_> = candidates
            .iter()
            .filter(|h| self.world.nodes[**h as usize].published)
            .copied()
            .collect();
        let sybils = self.scenario.sybil_targets;
        let published =
            if sybils > 0 { &published[..sybils.min(published.len())] } else { &published[..] };
        for _ in 0..self.scenario.finds {
            let whom = published[self.world.below(published.len())];
            let by = askers[self.world.below(askers.len())];
            if by != whom {
                self.world.find(by, whom);
            }
            self.run(self.scenario.find_window_seconds / self.scenario.finds as f64);
        }
        self.run(31.0);
        let ended = self.ended();
        self.judge(&ended, |_| true)
    }

    pub(super) fn judge(&self, ended: &[Ended<V>], counts: impl Fn(u32) -> bool) -> FindValue {
        let (mut m, mut ms, mut hops) = (FindValue::default(), Vec::new(), 0.0);
        let (mut requests, mut timeouts, mut regions) = (0.0, 0.0, 0);
        for e in ended {
            let Op::Find { whom } = e.op else { continue };
            let Outcome::Values(values) = &e.outcome else {
                m.count += usize::from(counts(whom));
                (requests, timeouts) = (
                    requests + f64::from(e.report.requests),
                    timeouts + f64::from(e.report.timeouts),
                );
                continue;
            };
            let owner = &self.world.nodes[whom as usize];
            let genuine = |v: &&V| v.signer() == owner.agent && v.sequence() != Seq(u64::MAX);
            let newest = values.iter().filter(genuine).map(V::sequence).max();
            let right = newest.is_some();
            m.newest += usize::from(newest == Some(owner.newest));
            m.count += 1;
            m.found += usize::from(right);
            m.poisoned += usize::from(!right);
            ms.push(e.report.elapsed.as_secs_f64() * 1e3);
            hops += f64::from(e.report.hops);
            requests += f64::from(e.report.requests);
            timeouts += f64::from(e.report.timeouts);
            regions += usize::from(e.report.region);
        }
        let count = m.count.max(1) as f64;
        m.success = m.found as f64 / count;
        m.hops = hops / (m.found.max(1) as f64);
        (m.requests, m.timeouts, m.regions) =
            (requests / count, timeouts / count, regions as f64 / count);
        m.latency_ms = Latencies::of(ms);
        m
    }

    // ---- convergence

    /// Exchange rounds begun per living node.
    fn rounds(&self) -> BTreeMap<u32, u64> {
        let round = |h: &u32| {
            let dht = self.world.nodes[*h as usize].dht.as_ref()?;
            Some((*h, dht.stats().exchanges))
        };
        self.world.alive.handles().iter().filter_map(round).collect()
    }

    /// The share of nodes whose k closest, as they see them, are the true ones.
    fn leafsets_right(&self) -> f64 {
        let all = self.world.alive.handles();
        let step = all.len().div_ceil(LEAFSETS_CHECKED_MAX);
        let checked: Vec<_> = all.iter().step_by(step.max(1)).collect();
        let right = |h: &&&u32| {
            let node = &self.world.nodes[***h as usize];
            let mut truth = self.world.alive.closest(&node.contact.id, self.scenario.k, Some(***h));
            let siblings = node.dht.iter().flat_map(|d| d.table().siblings());
            let mut seen: Vec<_> = siblings.map(|e| e.contact.place.handle).collect();
            truth.sort_unstable();
            seen.sort_unstable();
            seen == truth
        };
        checked.iter().filter(right).count() as f64 / checked.len().max(1) as f64
    }

    fn converge(&mut self, start: homing_base::Mono, at_once: f64, before: &BTreeMap<u32, u64>) {
        let mut result = Convergence { right_at_once: at_once, ..Convergence::default() };
        loop {
            let elapsed = self.world.now().mono.since(start).as_secs_f64();
            result.right_at_end = self.leafsets_right();
            if result.right_at_end >= 0.99 {
                let now = self.rounds();
                let made = now.iter().map(|(h, r)| r - before.get(h).copied().unwrap_or(0));
                result.seconds = Some(elapsed);
                result.rounds = Some(made.sum::<u64>() as f64 / now.len().max(1) as f64);
                break;
            }
            if elapsed >= self.scenario.converge_seconds {
                break;
            }
            self.run(1.0);
        }
        self.measured.converge = Some(result);
    }

    // ---- churn

    fn churn(&mut self) {
        if self.scenario.churn_seconds == 0.0 {
            return;
        }
        for whom in self.honest() {
            if !self.world.nodes[whom as usize].published {
                self.world.publish(whom);
            }
            self.run(0.5 / self.scenario.nodes as f64);
        }
        self.run(5.0);
        if self.scenario.reactive {
            self.world.set_recovery(Recovery::Reactive);
        }
        self.world.start_churn();
        self.run(self.scenario.churn_warmup_seconds);
        self.traffic();
        self.ended();
        self.reset_clusters();
        self.world.work(true);
        let (mut total, mut all) = (Traffic::default(), Vec::new());
        let length = self.scenario.sample_seconds;
        let samples = (self.scenario.churn_seconds / length).ceil() as usize;
        for nth in 1..=samples {
            self.migrate(nth, samples);
            self.run_watching(length);
            let (traffic, ended) = (self.traffic(), self.ended());
            self.measured.samples.push(self.sample(nth as f64 * length, traffic, &ended));
            add(&mut total, traffic);
            all.extend(ended);
            if self.measured.diverged {
                break;
            }
        }
        self.world.work(false);
        let alive = |h: u32| self.world.nodes[h as usize].dht.is_some();
        self.measured.churn = Some(self.judge(&all, alive));
        self.measured.churn_placement = Some(self.placement(&self.honest()));
        self.measured.churn_upkeep = Some(upkeep(total));
    }

    fn run_watching(&mut self, seconds: f64) {
        let mut left = seconds;
        while left > 0.0 {
            let step = if self.scenario.cluster > 0 { left.min(WATCH_SECONDS) } else { left };
            self.run(step);
            self.watch_clusters();
            left -= step;
        }
    }

    fn sample(&self, at: f64, traffic: Traffic, ended: &[Ended<V>]) -> Sample {
        let all = (traffic.maintenance_bytes + traffic.command_bytes) as f64;
        Sample {
            at,
            bytes: all / traffic.node_seconds.max(1.0),
            dropped: traffic.dropped,
            success: self.judge(ended, |_| true).success,
        }
    }

    fn finish(mut self) -> Measured {
        self.traffic();
        self.measured.clusters = self.clusters();
        let dhts: Vec<_> = self.world.nodes.iter().filter_map(|n| n.dht.as_ref()).collect();
        let mut contacts: Vec<_> = dhts.iter().map(|d| d.table().len()).collect();
        let mut sizes: Vec<_> = dhts.iter().map(|d| d.estimates().size().unwrap_or(0.0)).collect();
        contacts.sort_unstable();
        sizes.sort_unstable_by(f64::total_cmp);
        let all = (self.total.maintenance_bytes + self.total.command_bytes) as f64;
        Measured {
            nodes: self.world.alive.len(),
            seconds: self.world.now().mono.0 as f64 / 1e6,
            events: self.total.events,
            messages: self.total.messages,
            bytes_per_node_second: all / self.total.node_seconds.max(1.0),
            misses: std::mem::take(&mut self.world.misses),
            contacts: contacts.get(contacts.len() / 2).copied().unwrap_or(0),
            size_estimate: sizes.get(sizes.len() / 2).copied().unwrap_or(0.0),
            ..self.measured
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn add(total: &mut Traffic, more: Traffic) {
    total.events += more.events;
    total.messages += more.messages;
    total.maintenance_bytes += more.maintenance_bytes;
    total.command_bytes += more.command_bytes;
    total.by_kind.iter_mut().zip(more.by_kind).for_each(|(kind, more)| *kind += more);
    total.dropped += more.dropped;
    total.node_seconds += more.node_seconds;
}

pub(super) fn upkeep(traffic: Traffic) -> Upkeep {
    let per = |n: u64| n as f64 / traffic.node_seconds.max(1.0);
    Upkeep {
        maintenance_bytes: per(traffic.maintenance_bytes),
        by_kind: KINDS.into_iter().zip(traffic.by_kind.map(per)).collect(),
        command_bytes: per(traffic.command_bytes),
        messages: per(traffic.messages),
        dropped: traffic.dropped,
    }
}
