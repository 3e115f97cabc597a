//! One seed, one world, one verdict: build, befriend, misfortune, heal, demand convergence.
//!
//! ```text
//! 0–1.2 s start │ 1.2–2.5 s requests │ misfortune: faults from the seed's subset │ heal │ converge │ pings
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use homing_core::io::{DhtSettings, GossipSettings};
use serde::Serialize;

use crate::alarm::Alarm;
use crate::chance::Chance;
use crate::fault::Carry;
use crate::link::{Loss, RelayIx};
use crate::nat::NatKind;
use crate::price::thread_cpu_seconds;
use crate::run::AgentIx;
use crate::scenario::{Fault, Scenario, Weather};
use crate::world::{Canary, World};

/// Messages that one agent may send in an hour: 8 links, each probed every 0.8 s from both sides,
/// and as much again for everything else.
const MESSAGES_PER_AGENT_HOUR_MAX: u64 = 8 * 2 * 4_500 * 2;
/// DHT messages that one run may send: it joins, fills its table and stores its record, and answers as many
/// others who do.
const DHT_MESSAGES_PER_RUN_MAX: u64 = 3_000;
/// Messages of gossip that one run may send: every run that starts and every relay that changes is a new record,
/// which goes to each friend and relay, is acknowledged and announced.
const GOSSIP_MESSAGES_PER_RUN_MAX: u64 = 3_000;
/// When agents have started.
const STARTED: Duration = Duration::from_millis(1_200);
/// When trust has been asked for.
const ASKED: Duration = Duration::from_millis(2_500);
/// Pairs that must answer pings in the end, at most.
const PINGS_MAX: usize = 40;
/// Why it reads a clock: to tell how fast worlds run. Nothing inside a world sees it.
type Stopwatch = Instant;

/// What came of a seed.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The scenario.
    pub scenario: String,
    /// Agents, without those that serve relays.
    pub agents: usize,
    /// Events that happened.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Length of the history in the world's time.
    pub virtual_ms: u64,
    /// How long the world took to heal.
    pub healed_ms: Option<u64>,
    /// Pairs that asked for trust, and those that had it on both sides.
    pub pairs: (usize, usize),
    /// CPU time in seconds.
    pub cpu_s: f64,
    /// SHA-256 of the history.
    pub trace: String,
    /// What was found wrong; empty: passed.
    pub findings: Vec<String>,
}

impl Outcome {
    /// Whether nothing was found.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// The command that repeats this history.
    #[must_use]
    pub fn reproduce(&self) -> String {
        let Self { seed, scenario, agents, .. } = self;
        format!("reproduce: cargo sim run --seed {seed:#x} --scenario {scenario} --agents {agents}")
    }
}

/// Runs one seed of a scenario.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Outcome {
    run_with(scenario, seed, None, false).0
}

/// Runs one seed, with a broken rule or with the history as text.
#[must_use]
pub fn run_with(
    scenario: &Scenario,
    seed: u64,
    canary: Option<Canary>,
    lines: bool,
) -> (Outcome, World) {
    let (alarm, watch, cpu) = (Alarm::default(), Stopwatch::now(), thread_cpu_seconds());
    let (mut world, healed) = alarm.listen(|| {
        let mut world = World::new(seed);
        if lines {
            world.trace.keep_lines();
        }
        world.options.canary = canary;
        let healed = Swarm::new(scenario, seed).play(&mut world);
        (world, healed)
    });
    for error in alarm.take() {
        world.found_anywhere(format!("error!: {error}"));
    }
    let spent = cpu.zip(thread_cpu_seconds()).map(|(before, after)| after - before);
    let cpu_s = spent.unwrap_or_else(|| watch.elapsed().as_secs_f64());
    (outcome(scenario, &world, healed, cpu_s), world)
}

fn outcome(scenario: &Scenario, world: &World, healed: Option<Duration>, cpu_s: f64) -> Outcome {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Outcome {
        seed: world.seed,
        scenario: scenario.name.clone(),
        agents: scenario.agents,
        events: world.events(),
        messages: world.runs.iter().map(|run| run.messages).sum(),
        virtual_ms: world.now().0 / 1_000,
        healed_ms: healed.map(ms),
        pairs: (world.pairs.len(), world.pairs.iter().filter(|p| p.established).count()),
        cpu_s,
        trace: world.trace.hash().to_string(),
        findings: world.findings().iter().map(ToString::to_string).collect(),
    }
}

/// The plan of one seed.
struct Swarm<'s> {
    scenario: &'s Scenario,
    chance: Chance,
    faults: Vec<Fault>,
    networks: Vec<NatKind>,
    agents: Vec<AgentIx>,
    relays: Vec<RelayIx>,
    wiped: BTreeSet<AgentIx>,
}

impl<'s> Swarm<'s> {
    fn new(scenario: &'s Scenario, seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed_5eed);
        let (faults, networks) = (scenario.possible_faults(), scenario.possible_networks());
        let (faults, networks) = if scenario.swarm {
            (subset(&faults, &mut chance), subset(&networks, &mut chance))
        } else {
            (faults, networks)
        };
        let (agents, relays, wiped) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { scenario, chance, faults, networks, agents, relays, wiped }
    }

    fn play(mut self, world: &mut World) -> Option<Duration> {
        self.build(world);
        self.befriend(world);
        self.misfortune(world);
        world.run_for(ASKED + Duration::from_secs(self.scenario.misfortune_s));
        self.heal(world);
        let healed = world.demand_convergence(Duration::from_secs(self.scenario.bound_s));
        if world.findings().is_empty() {
            world.demand_pings(PINGS_MAX);
            self.check_totals(world);
        }
        healed
    }

    fn build(&mut self, world: &mut World) {
        let wireless = match self.scenario.weather {
            Weather::Calm => false,
            Weather::Wireless => true,
            Weather::Either => self.chance.happens(500),
        };
        if wireless {
            world.options.loss = Loss::WIRELESS;
            world.options.ghosts = 5;
        }
        world.options.dht = self.scenario.dht.then(DhtSettings::default);
        world.options.gossip = self.scenario.gossip.then(GossipSettings::default);
        world.options.echo_close = self.chance.happens(500);
        self.relays = (0..self.scenario.relays).map(|_| world.add_relay()).collect();
        for _ in 0..self.scenario.agents {
            let kind = self.chance.pick(&self.networks);
            let host = world.add_host(kind);
            let first = self.chance.index(self.relays.len());
            let second = (first + 1) % self.relays.len();
            let agent = world.add_agent(host, &[self.relays[first], self.relays[second]]);
            self.agents.push(agent);
            let when = self.chance.between(Duration::ZERO, STARTED / 2);
            world.start_later(agent, when);
        }
    }

    /// Every agent asks one other for trust, every fourth asks two: 2.5 trusted peers on average.
    fn befriend(&mut self, world: &mut World) {
        for i in 0..self.agents.len() {
            let asks = 1 + usize::from(i % 4 == 0);
            for _ in 0..asks {
                let a = self.agents[i];
                let b = self.another(a);
                let when = self.chance.between(STARTED, ASKED);
                let short = self.faults.contains(&Fault::Expire) && self.chance.happens(50);
                let lifetime = short.then(|| Duration::from_secs(6 + self.chance.below(20)));
                world.plan(when, move |world| ask(world, a, b, lifetime, 3));
                if self.chance.happens(250) {
                    let open = when + Duration::from_secs(2 + self.chance.below(6));
                    world.plan(open, move |world| open_stream(world, a, b));
                }
            }
        }
    }

    fn another(&mut self, not: AgentIx) -> AgentIx {
        loop {
            let other = self.chance.pick(&self.agents);
            if other != not {
                return other;
            }
        }
    }

    fn misfortune(&mut self, world: &mut World) {
        if self.faults.is_empty() {
            return;
        }
        let length = Duration::from_secs(self.scenario.misfortune_s);
        let count = self.scenario.agents * self.scenario.faults_per_hundred as usize / 100;
        for _ in 0..count {
            // The first moments too: handshakes are where half-done things would show.
            let when = self.chance.between(STARTED, ASKED + length);
            let fault = self.chance.pick(&self.faults);
            self.plan_fault(world, when, fault);
        }
    }

    fn plan_fault(&mut self, world: &mut World, when: Duration, fault: Fault) {
        let victim = self.chance.pick(&self.agents);
        let pause = self.chance.between(Duration::from_millis(50), Duration::from_secs(4));
        let kind = self.chance.pick(&self.networks);
        let number = self.chance.number();
        match fault {
            Fault::MoveIdentityOnly => {
                if self.may_wipe(victim) {
                    world.plan(when, move |w| w.wipe_and_move(victim, kind));
                }
            }
            Fault::RelayRestart | Fault::RelayDeath => {
                // The last relay stays, so that a world without any is a scenario of its own.
                let doomed = &self.relays[..self.relays.len() - 1];
                if let Some(relay) = doomed.get((number as usize) % doomed.len().max(1)).copied() {
                    let back = (fault == Fault::RelayRestart).then_some(pause);
                    world.plan(when, move |w| w.kill_relay(relay, back));
                }
            }
            Fault::Hostile => {
                let relays = self.relays.clone();
                world.plan(when, move |w| {
                    if w.identities.iter().filter(|i| i.hostile).count() < 3 {
                        w.add_hostile(&relays);
                    }
                });
            }
            // Given with the request, see `befriend`.
            Fault::Expire => {}
            _ => world.plan(when, move |w| strike(w, fault, victim, pause, kind, number)),
        }
    }

    /// Two peers that both lose their stores lose their trust; the world wipes far fewer.
    fn may_wipe(&mut self, victim: AgentIx) -> bool {
        self.wiped.len() < self.agents.len() / 10 && self.wiped.insert(victim)
    }

    fn heal(&mut self, world: &mut World) {
        for run in &mut world.runs {
            run.crash_at = None;
        }
        world.heal();
        world.options.loss = Loss::NONE;
        world.options.ghosts = 0;
        for ix in 0..world.identities.len() {
            let agent = AgentIx(ix);
            if world.identities[ix].hostile {
                continue;
            }
            let when = self.chance.between(Duration::ZERO, Duration::from_secs(1));
            world.start_later(agent, when);
        }
        world.run_for(Duration::from_secs(1));
        // Requests that misfortune prevented.
        let missing = world.pairs.iter().filter(|pair| !pair.established && !pair.ended);
        let missing: Vec<_> = missing.map(|pair| (pair.a, pair.b)).collect();
        for (a, b) in missing {
            let when = self.chance.between(Duration::ZERO, Duration::from_secs(1));
            world.plan(when, move |world| ask(world, a, b, None, 12));
        }
    }

    fn check_totals(&self, world: &mut World) {
        let all: u64 = world.runs.iter().map(|run| run.messages).sum();
        let dht = world.checks.dht_messages;
        let per_run = dht / (world.runs.len() as u64).max(1);
        if per_run > DHT_MESSAGES_PER_RUN_MAX {
            world.found_anywhere(format!("{per_run} DHT messages per run"));
        }
        let gossip = world.checks.gossip_messages;
        let per_run = gossip / (world.runs.len() as u64).max(1);
        if per_run > GOSSIP_MESSAGES_PER_RUN_MAX {
            world.found_anywhere(format!("{per_run} gossip messages per run"));
        }
        let messages = all - (dht + gossip).min(all);
        let agents = (self.agents.len() + self.relays.len()) as u64;
        let per_hour = messages * 3_600_000 / (agents * (world.now().0 / 1_000).max(1));
        if per_hour > MESSAGES_PER_AGENT_HOUR_MAX {
            world.found_anywhere(format!("{per_hour} messages per agent-hour"));
        }
    }
}

/// About half of `all`, at least one.
fn subset<T: Copy>(all: &[T], chance: &mut Chance) -> Vec<T> {
    let mut some: Vec<T> = all.iter().copied().filter(|_| chance.happens(500)).collect();
    if some.is_empty() {
        some.extend(all.get(chance.index(all.len().max(1))));
    }
    some
}

/// Asks, and asks again when the peer was not found.
fn ask(world: &mut World, a: AgentIx, b: AgentIx, lifetime: Option<Duration>, more: u32) {
    if !world.any_run(a) {
        world.plan(Duration::from_secs(2), move |w| ask(w, a, b, lifetime, more));
        return;
    }
    world.befriend_for(a, b, lifetime);
    if more > 0 {
        world.plan(Duration::from_secs(4), move |w| {
            let ended =
                w.pairs.iter().any(|p| (p.a, p.b) == (a, b) && p.ended && lifetime.is_none());
            let none = w.trust_state(a, b) == homing_core::io::TrustState::None;
            if none && !ended {
                ask(w, a, b, lifetime, more - 1);
            }
        });
    }
}

fn open_stream(world: &mut World, a: AgentIx, b: AgentIx) {
    let run = world.run_of(a);
    if world.runs_agent(run) {
        let peer = world.id(b);
        world.connect(run, peer);
    }
}

/// Faults of one agent or of the network.
fn strike(
    world: &mut World,
    fault: Fault,
    victim: AgentIx,
    pause: Duration,
    kind: NatKind,
    number: u64,
) {
    if !world.any_run(victim) {
        return;
    }
    let host = world.identities[victim.0].host;
    match fault {
        Fault::Kill => world.restart(victim, pause),
        Fault::CrashBetweenOutputs => world.crash_soon(victim, number % 24, pause),
        Fault::Stop => {
            world.stop(victim);
            world.plan(pause, move |w| w.start_if_down(victim));
        }
        Fault::Move => {
            world.move_to_new_ip(victim, kind, Carry::Home);
        }
        Fault::Twin | Fault::Takeover => {
            world.start_twin(victim, kind, fault == Fault::Takeover);
        }
        Fault::Partition | Fault::OneWay => {
            world.partition(fault == Fault::OneWay, number, pause * 3)
        }
        Fault::Address => world.change_address(host, kind),
        Fault::Unplug => {
            world.unplug(host, true);
            world.plan(pause * 3, move |w| w.unplug(host, false));
        }
        Fault::ClockMinutes | Fault::ClockHour => {
            let minutes = if fault == Fault::ClockHour { 60 } else { 1 + number % 8 };
            let skew = i64::try_from(minutes * 60_000).expect("small");
            world.set_clock(host, if number & 64 == 0 { skew } else { -skew });
            world.plan(pause * 2, move |w| w.set_clock(host, 0));
        }
        Fault::Revoke => revoke_some(world, number),
        _ => {}
    }
}

fn revoke_some(world: &mut World, number: u64) {
    if world.pairs.is_empty() {
        return;
    }
    let pair = world.pairs[number as usize % world.pairs.len()];
    let (a, b) = if number & 1024 == 0 { (pair.a, pair.b) } else { (pair.b, pair.a) };
    world.revoke(a, b);
}
