//! A world of one strategy: lives, places, packets, work. Generic over the [`Machine`] it drives.
//!
//! ```text
//! Wheel ─► Deliver / Wake / Leave / Arrive / Work ─► Machine ─► Act ─► uplink, loss, way ─► Wheel
//!             └────────────── every event and every result ──────────────► trace hash
//! ```
//! A message costs its wire length plus [`OVERHEAD_BYTES`]; one to the dead is lost.

use std::time::Duration;

use homing_base::{Mono, NodeId, Now, Seq, Wall};
use homing_core::dht::contact::id_prefix;
use homing_core::dht::{Class, Contact, Value};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::kademlia::class_of;
use super::machine::{Act, Done, Machine, Setup};
use super::place::{Door, Map, Spot};
use super::trace::Trace;
use super::{EventLog, Fleet, Lifetimes};
use crate::dht::adversary::Colluders;
use crate::dht::latency::Uplink;
use crate::dht::oracle::Oracle;
use crate::dht::value::{Mint, SimPlace, Token};
use crate::dht::wheel::Wheel;
use crate::dht::world::OVERHEAD_BYTES;

/// The wall clock at the start of every world.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// What waits longer in front of an uplink is dropped.
const UPLINK_QUEUE: Duration = Duration::from_secs(2);
/// Nodes that a joining node is told.
const SEEDS: usize = 3;
/// Tries to find somebody suitable at random.
const TRIES: usize = 64;

enum Event<M> {
    Deliver { to: u32, from: u32, class: Class, message: M },
    Wake { node: u32 },
    Leave { node: u32 },
    Arrive { agent: u32 },
    Depart { agent: u32 },
    Work,
}

/// An agent, over all its lives.
pub(crate) struct Agent {
    /// The ID its record is under; not its node's, so that no node is a holder by birth.
    pub(crate) record: NodeId,
    node_id: NodeId,
    spot: Spot,
    pub(crate) newest: Seq,
    /// Its record is stored and may be looked for.
    pub(crate) published: bool,
    publishes: bool,
    pub(crate) node: Option<u32>,
}

/// One life of an agent.
struct Node<M> {
    machine: Option<Box<M>>,
    contact: Contact<SimPlace>,
    agent: u32,
    spot: Spot,
    serves: bool,
    liar: bool,
    joined: bool,
    wake: Mono,
    uplink_free: Mono,
}

#[derive(Clone, Copy)]
enum Op {
    Join,
    Publish { sequence: Seq },
    Find { agent: u32 },
}

/// A lookup that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) right: bool,
    pub(crate) poisoned: bool,
    pub(crate) newest: bool,
    pub(crate) alive: bool,
    pub(crate) hops: u32,
    pub(crate) requests: u32,
    pub(crate) timeouts: u32,
    pub(crate) ms: f64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) messages: u64,
    pub(crate) upkeep_bytes: u64,
    pub(crate) command_bytes: u64,
    pub(crate) dropped: u64,
    pub(crate) joins: u64,
    pub(crate) leaves: u64,
    pub(crate) agent_seconds: f64,
}

pub(crate) struct World<M: Machine> {
    setup: Setup,
    map: Map,
    uplink: Option<Uplink>,
    sessions: Option<Lifetimes>,
    replayed: bool,
    forge: bool,
    adversaries: f64,
    work_per_agent: f64,
    all_serve: bool,
    publishers_left: usize,
    chance: ChaCha8Rng,
    queue: Wheel<Event<M::Message>>,
    now: Mono,
    nodes: Vec<Node<M>>,
    pub(crate) agents: Vec<Agent>,
    alive: Oracle,
    pub(crate) serving: Oracle,
    colluders: Colluders,
    ops: Vec<Op>,
    pub(crate) counts: Counts,
    pub(crate) found: Vec<Found>,
    /// The first 64 ID bits of who was born or died since this was last taken.
    pub(crate) lives: Vec<u64>,
    counted_to: Mono,
    churning: bool,
    working: bool,
    pub(crate) trace: Trace,
}

impl<M: Machine> World<M> {
    pub(crate) fn new(fleet: &Fleet, log: Option<&EventLog>, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let public = fleet.nat.public_share() * fleet.agents as f64;
        let rate = fleet.uplink_bytes_per_second;
        Self {
            setup: Setup { config: fleet.config(), session: fleet.session_hint(log) },
            map: Map::new(fleet),
            uplink: rate.map(|rate| Uplink { rate, queue: UPLINK_QUEUE }),
            sessions: fleet.sessions,
            replayed: log.is_some(),
            forge: fleet.forge,
            adversaries: fleet.adversaries,
            work_per_agent: fleet.lookups_per_minute / 60.0,
            all_serve: public < fleet.k as f64,
            publishers_left: fleet.records.unwrap_or(usize::MAX),
            chance: ChaCha8Rng::from_seed(bytes),
            queue: Wheel::default(),
            now: Mono(1),
            nodes: Vec::new(),
            agents: Vec::new(),
            alive: Oracle::default(),
            serving: Oracle::default(),
            colluders: Colluders::default(),
            ops: Vec::new(),
            counts: Counts::default(),
            found: Vec::new(),
            lives: Vec::new(),
            counted_to: Mono(1),
            churning: false,
            working: false,
            trace: Trace::default(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.now, wall: Wall(EPOCH_MS + self.now.0 / 1_000) }
    }

    pub(crate) fn living(&self) -> usize {
        self.alive.len()
    }

    fn unit(&mut self) -> f64 {
        f64::from(self.chance.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    fn any(&mut self) -> u32 {
        let at = self.below(self.alive.len());
        self.alive.handles()[at]
    }

    // ---- lives

    /// An agent that never was.
    pub(crate) fn new_agent(&mut self) -> u32 {
        let agent = u32::try_from(self.agents.len()).expect("fewer than 2^32 agents");
        let (record, node_id) = (Token::key(&mut self.chance), Token::key(&mut self.chance));
        let spot = self.map.spot(&mut self.chance);
        let publishes = self.publishers_left > 0;
        self.publishers_left = self.publishers_left.saturating_sub(1);
        self.agents.push(Agent {
            record,
            node_id,
            spot,
            newest: Seq(0),
            published: false,
            publishes,
            node: None,
        });
        agent
    }

    /// An agent starts, and joins through random others.
    pub(crate) fn arrive(&mut self, agent: u32) {
        let handle = u32::try_from(self.nodes.len()).expect("fewer than 2^32 lives");
        let seeds = self.seeds();
        let place = SimPlace { handle, group: self.chance.next_u32() | 1 };
        let of = &self.agents[agent as usize];
        let (contact, spot) = (Contact { id: of.node_id, place }, of.spot);
        let mut seed = [0; 32];
        self.chance.fill_bytes(&mut seed);
        // Whoever comes first is who the others join through.
        let serves = self.all_serve || spot.door == Door::Public || self.serving.is_empty();
        // The first nodes are honest: somebody has to be there to be attacked.
        let liar = serves && self.nodes.len() > 3 && self.unit() < self.adversaries;
        let machine = M::new(&self.setup, contact.clone(), serves, seed, self.now());
        self.count_time();
        self.counts.joins += 1;
        self.alive.add(&contact.id, handle);
        if serves {
            self.serving.add(&contact.id, handle);
            self.lives.push(id_prefix(&contact.id));
        }
        if liar {
            self.colluders.add(&contact);
        }
        let (machine, wake) = (Some(Box::new(machine)), Mono::MAX);
        let uplink_free = Mono(0);
        self.nodes.push(Node {
            machine,
            contact,
            agent,
            spot,
            serves,
            liar,
            joined: false,
            wake,
            uplink_free,
        });
        self.agents[agent as usize].node = Some(handle);
        if self.churning {
            let session = self.sessions.map(|s| s.draw(&mut self.chance));
            self.end_after(handle, session);
        }
        let op = self.op(Op::Join);
        self.with(handle, Class::Maintenance, |machine, now| machine.join(now, op, seeds));
    }

    fn end_after(&mut self, node: u32, session: Option<Duration>) {
        if let Some(session) = session.filter(|_| !self.replayed) {
            self.queue.push(self.now.after(session), Event::Leave { node });
        }
    }

    fn seeds(&mut self) -> Vec<Contact<SimPlace>> {
        let n = SEEDS.min(self.serving.len());
        (0..n)
            .map(|_| {
                let at = self.below(self.serving.len());
                self.nodes[self.serving.handles()[at] as usize].contact.clone()
            })
            .collect()
    }

    /// A node dies without a word.
    pub(crate) fn kill(&mut self, handle: u32) {
        self.count_time();
        let node = &mut self.nodes[handle as usize];
        if node.machine.take().is_none() {
            return;
        }
        let (id, agent, serves) = (node.contact.id, node.agent, node.serves);
        self.counts.leaves += 1;
        self.alive.remove(&id, handle);
        if serves {
            self.serving.remove(&id, handle);
            self.lives.push(id_prefix(&id));
        }
        self.agents[agent as usize].node = None;
    }

    /// So many random agents die at once.
    pub(crate) fn kill_share(&mut self, share: f64) {
        for _ in 0..(self.alive.len() as f64 * share) as usize {
            let victim = self.any();
            self.kill(victim);
        }
    }

    /// From now on sessions end, and each end is followed by a birth.
    pub(crate) fn start_churn(&mut self) {
        self.churning = true;
        for handle in self.alive.handles().to_vec() {
            let rest = self.sessions.map(|s| s.draw_rest(&mut self.chance));
            self.end_after(handle, rest);
        }
    }

    /// Nobody leaves by itself any more.
    pub(crate) fn stop_churn(&mut self) {
        self.churning = false;
    }

    /// From now on the log happens.
    pub(crate) fn replay(&mut self, log: &EventLog) {
        self.churning = true;
        for change in &log.changes {
            let (at, agent) = (self.now.after(change.at), change.agent);
            let event =
                if change.joins { Event::Arrive { agent } } else { Event::Depart { agent } };
            self.queue.push(at, event);
        }
    }

    // ---- operations

    fn op(&mut self, op: Op) -> u32 {
        self.ops.push(op);
        u32::try_from(self.ops.len() - 1).expect("fewer than 2^32 operations")
    }

    fn publish(&mut self, node: u32) {
        let now = self.now();
        let agent = self.nodes[node as usize].agent;
        let this = &mut self.agents[agent as usize];
        if !this.publishes {
            return;
        }
        let sequence = Seq(now.wall.0.max(this.newest.0 + 1));
        this.newest = sequence;
        let record = Token::mint(&this.record, sequence, now.wall);
        let op = self.op(Op::Publish { sequence });
        self.with(node, Class::Command, |machine, now| machine.publish(now, op, record));
    }

    /// From now on random agents look for random live agents.
    pub(crate) fn work(&mut self, on: bool) {
        if on && !self.working && self.work_per_agent > 0.0 {
            self.queue.push(self.now, Event::Work);
        }
        self.working = on;
    }

    fn work_once(&mut self) {
        if !self.working {
            return;
        }
        let rate = self.work_per_agent * self.alive.len().max(1) as f64;
        let u = self.unit().max(1e-9);
        self.queue.push(self.now.after(Duration::from_secs_f64(-u.ln() / rate)), Event::Work);
        if self.alive.len() < 2 {
            return;
        }
        for _ in 0..TRIES {
            let (by, whom) = (self.any(), self.any());
            let (asker, agent) = (&self.nodes[by as usize], self.nodes[whom as usize].agent);
            let asks = asker.joined && !asker.liar && by != whom;
            if asks && self.agents[agent as usize].published {
                return self.find(by, agent);
            }
        }
    }

    fn find(&mut self, by: u32, agent: u32) {
        let record = self.agents[agent as usize].record;
        let op = self.op(Op::Find { agent });
        self.with(by, Class::Command, |machine, now| machine.find(now, op, record));
    }

    fn on_done(&mut self, node: u32, op: u32, done: &Done) {
        let (Some(kind), now) = (self.ops.get(op as usize).copied(), self.now.0) else { return };
        self.trace.note(&[b'D', u8::from(!done.found.is_empty())], node, op, now);
        match kind {
            Op::Join => {
                self.nodes[node as usize].joined = true;
                self.publish(node);
            }
            Op::Publish { sequence } => {
                let agent = self.nodes[node as usize].agent;
                let this = &mut self.agents[agent as usize];
                this.published |= done.stored > 0 && this.newest >= sequence;
            }
            Op::Find { agent } => {
                let of = &self.agents[agent as usize];
                let genuine = |v: &&Token| v.signer() == of.record && v.sequence() != Seq(u64::MAX);
                let newest = done.found.iter().filter(genuine).map(Value::sequence).max();
                let found = Found {
                    right: newest.is_some(),
                    poisoned: newest.is_none() && !done.found.is_empty(),
                    newest: newest == Some(of.newest),
                    alive: of.node.is_some(),
                    hops: done.hops,
                    requests: done.requests,
                    timeouts: done.timeouts,
                    ms: done.elapsed.as_secs_f64() * 1e3,
                };
                self.found.push(found);
            }
        }
    }

    // ---- time

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        while let Some((at, event)) = self.queue.pop_until(until) {
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = until;
        self.count_time();
    }

    pub(crate) fn take_counts(&mut self) -> Counts {
        self.count_time();
        std::mem::take(&mut self.counts)
    }

    fn count_time(&mut self) {
        let elapsed = self.now.since(self.counted_to).as_secs_f64();
        self.counts.agent_seconds += elapsed * self.alive.len() as f64;
        self.counted_to = self.now;
    }

    fn happen(&mut self, event: Event<M::Message>) {
        self.counts.events += 1;
        match event {
            Event::Deliver { to, from, class, message } => self.deliver(to, from, class, message),
            Event::Wake { node } => {
                if self.nodes[node as usize].wake <= self.now {
                    self.nodes[node as usize].wake = Mono::MAX;
                    self.trace.note(b"W", node, 0, self.now.0);
                    self.with(node, Class::Maintenance, Machine::wake);
                }
            }
            Event::Leave { node }
                if self.churning && self.nodes[node as usize].machine.is_some() =>
            {
                self.trace.note(b"L", node, 0, self.now.0);
                self.kill(node);
                let agent = self.new_agent();
                self.arrive(agent);
            }
            Event::Leave { .. } => {}
            Event::Arrive { agent } if self.churning => {
                self.trace.note(b"A", agent, 0, self.now.0);
                self.arrive(agent);
            }
            Event::Depart { agent } if self.churning => {
                self.trace.note(b"L", agent, 0, self.now.0);
                if let Some(node) = self.agents[agent as usize].node {
                    self.kill(node);
                }
            }
            Event::Arrive { .. } | Event::Depart { .. } => {}
            Event::Work => self.work_once(),
        }
    }

    fn deliver(&mut self, to: u32, from: u32, class: Class, message: M::Message) {
        if self.nodes[to as usize].machine.is_none() {
            return;
        }
        self.trace.note(b"M", to, from, self.now.0);
        let (sender, now) = (self.nodes[from as usize].contact.clone(), self.now());
        let node = &self.nodes[to as usize];
        if node.liar && !M::is_answer(&message) {
            let lie = M::lie(&message, &self.colluders, &node.contact.id, self.forge, now);
            if let Some(lie) = lie {
                return self.send(to, from, class, lie);
            }
        }
        self.with(to, class, |machine, now| machine.receive(now, sender, message));
    }

    /// Lets a node act and does what it wants.
    fn with(&mut self, node: u32, class: Class, act: impl FnOnce(&mut M, Now)) {
        let now = self.now();
        let Some(mut machine) = self.nodes[node as usize].machine.take() else { return };
        act(&mut machine, now);
        let mut ended = Vec::new();
        while let Some(output) = machine.poll() {
            match output {
                Act::Send { to, class: own, message } => {
                    let class = class_of(M::is_answer(&message), own, class);
                    self.send(node, to, class, message);
                }
                Act::Done { op, done } => ended.push((op, done)),
            }
        }
        let wake = machine.next_wakeup().unwrap_or(Mono::MAX);
        let this = &mut self.nodes[node as usize];
        this.machine = Some(machine);
        if wake < this.wake {
            this.wake = wake;
            self.queue.push(wake.max(self.now), Event::Wake { node });
        }
        for (op, done) in ended {
            self.on_done(node, op, &done);
        }
    }

    fn send(&mut self, from: u32, to: u32, class: Class, message: M::Message) {
        let bytes = OVERHEAD_BYTES + M::wire_len(&message);
        self.counts.messages += 1;
        match class {
            Class::Maintenance => self.counts.upkeep_bytes += bytes as u64,
            Class::Command => self.counts.command_bytes += bytes as u64,
        }
        let mut leaves = self.now;
        if let Some(uplink) = self.uplink {
            let free = &mut self.nodes[from as usize].uplink_free;
            let Some(at) = uplink.leaves(bytes, *free, self.now) else {
                self.counts.dropped += 1;
                return;
            };
            (*free, leaves) = (at, at);
        }
        if self.map.loss > 0.0 && self.unit() < self.map.loss {
            return;
        }
        let wobble = 2.0 * self.unit() - 1.0;
        let (a, b) = (&self.nodes[from as usize].spot, &self.nodes[to as usize].spot);
        let way = self.map.one_way(a, b, wobble);
        self.queue.push(leaves.after(way), Event::Deliver { to, from, class, message });
    }

    // ---- looking at it

    /// The share of true neighbours that nodes know, over at most `most` nodes.
    pub(crate) fn neighbours_right(&self, most: usize) -> f64 {
        let all = self.serving.handles();
        let step = all.len().div_ceil(most).max(1);
        let (mut known, mut true_ones) = (0, 0);
        for handle in all.iter().step_by(step) {
            let node = &self.nodes[*handle as usize];
            let truth = M::truth(&self.serving, &node.contact, self.setup.config.k);
            let seen = node.machine.iter().flat_map(|m| m.neighbours()).collect::<Vec<_>>();
            known += truth.iter().filter(|t| seen.contains(t)).count();
            true_ones += truth.len();
        }
        if true_ones == 0 { 1.0 } else { known as f64 / true_ones as f64 }
    }

    /// Where everybody stands, where there are clusters.
    pub(crate) fn depths(&self) -> Vec<(u64, u8)> {
        let depth = |h: &u32| {
            let node = &self.nodes[*h as usize];
            Some((id_prefix(&node.contact.id), node.machine.as_ref()?.depth()?))
        };
        self.serving.handles().iter().filter_map(depth).collect()
    }

    /// Records of living agents that no living node holds.
    pub(crate) fn records_lost(&self) -> usize {
        let now = self.now();
        let held = |agent: &&Agent| {
            let near = self.serving.closest(&agent.record, 4 * self.setup.config.k, None);
            let holds = |h: &u32| {
                let machine = self.nodes[*h as usize].machine.as_ref();
                machine.is_some_and(|m| m.holds(now, &agent.record))
            };
            near.iter().any(holds) || self.serving.handles().iter().any(holds)
        };
        let living = self.agents.iter().filter(|a| a.node.is_some() && a.published);
        living.filter(|a| !held(a)).count()
    }
}
