//! A world of DHT nodes: the real core, simulated messages, uplinks and lives.
//!
//! ```text
//! Wheel ─► Deliver / Wake / Leave / Join ─► Dht::handle ─► outputs ─► uplink, latency ─► Wheel
//! ```
//! A message costs its wire length plus [`OVERHEAD_BYTES`]. A message to the dead is lost. One request is
//! one round trip: connections are taken as standing.

use std::time::Duration;

use homing_base::{Mono, Name, NodeId, Now, Seq, Wall};
use homing_core::dht::contact::id_prefix;
use homing_core::dht::{
    Class, CommandId, Contact, Dht, DhtCommand, DhtInput, DhtOutput, Message, Mode, Outcome,
    Recovery, Report, Slot,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::adversary::{Colluders, Role};
pub use super::nature::Nature;
use super::oracle::Oracle;
use super::report::Miss;
pub use super::traffic::Traffic;
use super::value::{Mint, SimPlace};
use super::wheel::Wheel;

/// IP and UDP headers (28), QUIC header, tag and its share of acknowledgements (52).
pub const OVERHEAD_BYTES: usize = 80;
/// The wall clock at the start of every world.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// Misses that are described.
const MISSES_MAX: usize = 100;

type Msg<V> = Message<SimPlace, <V as homing_core::dht::Value>::Wire>;

enum Event<V: Mint> {
    Deliver { to: u32, from: u32, class: Class, message: Box<Msg<V>> },
    Wake { node: u32 },
    Leave { node: u32 },
    Mode { node: u32 },
    Join,
    Publish { node: u32 },
    Work,
}

/// One node, living or dead.
pub struct Node<V: Mint> {
    /// The machine; `None`: dead.
    pub dht: Option<Box<Dht<SimPlace, V>>>,
    /// Who it is.
    pub contact: Contact<SimPlace>,
    /// What it does with requests.
    pub role: Role,
    /// Under which ID its agent's record is stored: an agent that is no DHT node itself, so that no
    /// node is a holder by birth.
    pub agent: NodeId,
    key: V::Key,
    agent_key: V::Key,
    at: [f32; 2],
    wake: Mono,
    skew_ms: i64,
    born: Mono,
    stored: Mono,
    replicas: usize,
    /// The highest sequence of its agent's record that anybody stored.
    pub newest: Seq,
    uplink_free: Mono,
    /// Its agent's record is stored and may be looked for.
    pub published: bool,
    /// Its join is over.
    pub joined: bool,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Entering the network.
    Join,
    /// Storing one's agent's record.
    Publish,
    /// Looking for the record of another node's agent.
    Find {
        /// Whose.
        whom: u32,
    },
    /// Looking for the claims of the name.
    FindName,
    /// Looking for the closest nodes.
    FindNode {
        /// To what.
        target: NodeId,
    },
}

/// An operation that ended.
pub struct Ended<V> {
    /// Which.
    pub op: Op,
    /// Who did it.
    pub by: u32,
    /// How it ended.
    pub outcome: Outcome<SimPlace, V>,
    /// At what price.
    pub report: Report,
    /// When.
    pub at: Mono,
}

/// A world.
pub struct World<V: Mint> {
    pub(super) nature: Nature,
    chance: ChaCha8Rng,
    queue: Wheel<Event<V>>,
    now: Mono,
    /// Every node that ever lived.
    pub nodes: Vec<Node<V>>,
    /// Who lives, and who is closest.
    pub alive: Oracle,
    /// The adversary's nodes.
    pub colluders: Colluders,
    /// Traffic since the last [`World::take_traffic`].
    pub traffic: Traffic,
    /// Operations that ended since they were last taken.
    pub ended: Vec<Ended<V>>,
    /// The first lookups that found nothing.
    pub misses: Vec<Miss>,
    /// Nodes of odd and even handles do not hear each other.
    pub parted: bool,
    /// The first 64 ID bits of who was born or died since this was last taken, if it is of interest.
    pub lives: Vec<u64>,
    watched: bool,
    ops: Vec<Op>,
    counted_to: Mono,
    churning: bool,
    working: bool,
}

impl<V: Mint> World<V> {
    /// Nobody lives here yet.
    #[must_use]
    pub fn new(nature: Nature, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            watched: nature.config.mode != Mode::Kademlia,
            nature,
            chance: ChaCha8Rng::from_seed(bytes),
            queue: Wheel::default(),
            now: Mono(1),
            nodes: Vec::new(),
            alive: Oracle::default(),
            colluders: Colluders::default(),
            traffic: Traffic::default(),
            ended: Vec::new(),
            misses: Vec::new(),
            parted: false,
            lives: Vec::new(),
            ops: Vec::new(),
            counted_to: Mono(1),
            churning: false,
            working: false,
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.now, wall: Wall(EPOCH_MS + self.now.0 / 1_000) }
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.chance.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    /// A random index below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// The world's chance.
    pub fn chance(&mut self) -> &mut ChaCha8Rng {
        &mut self.chance
    }

    /// Some living node.
    pub fn any(&mut self) -> u32 {
        let at = self.below(self.alive.len());
        self.alive.handles()[at]
    }

    // ---- lives

    /// A node is born with `key` in the /24 `group` and joins through random living nodes.
    pub fn birth(&mut self, key: V::Key, group: u32, role: Role) -> u32 {
        let seeds = self.seeds();
        self.birth_through(key, group, role, seeds)
    }

    /// As [`World::birth`], through these nodes.
    pub fn birth_through(
        &mut self,
        key: V::Key,
        group: u32,
        role: Role,
        seeds: Vec<Contact<SimPlace>>,
    ) -> u32 {
        let handle = u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes");
        let contact = Contact { id: V::id(&key), place: SimPlace { handle, group } };
        let mut seed = [0; 32];
        self.chance.fill_bytes(&mut seed);
        let at = [self.unit() as f32, self.unit() as f32];
        let now = self.now();
        let dht = Dht::new(self.nature.config.clone(), contact.clone(), true, seed, now);
        let agent_key = V::key(&mut self.chance);
        let skew_ms = self.skew();
        self.count_time();
        self.alive.add(&contact.id, handle);
        self.note_life(&contact.id);
        if role.lies() {
            self.colluders.add(&contact);
        }
        self.nodes.push(Node {
            dht: Some(Box::new(dht)),
            contact,
            role,
            agent: V::id(&agent_key),
            key,
            agent_key,
            at,
            wake: Mono::MAX,
            skew_ms,
            born: self.now,
            stored: self.now,
            replicas: 0,
            newest: Seq(0),
            uplink_free: Mono(0),
            published: false,
            joined: false,
        });
        if self.churning {
            self.schedule_leave(handle);
        }
        self.command(handle, Op::Join, DhtCommand::Join { seeds });
        handle
    }

    /// A node with a fresh key in a /24 of its own.
    pub fn birth_anyone(&mut self) -> u32 {
        let key = V::key(&mut self.chance);
        let group = self.chance.next_u32() | 1;
        self.birth(key, group, Role::Honest)
    }

    fn seeds(&mut self) -> Vec<Contact<SimPlace>> {
        let n = self.nature.seeds.min(self.alive.len());
        (0..n)
            .map(|_| {
                let seed = self.any();
                self.nodes[seed as usize].contact.clone()
            })
            .collect()
    }

    /// How far a new clock is off.
    fn skew(&mut self) -> i64 {
        match self.nature.skew_ms {
            0 => 0,
            most => ((2.0 * self.unit() - 1.0) * most as f64) as i64,
        }
    }

    /// What a node's own clocks say.
    fn now_of(&self, node: u32) -> Now {
        let Now { mono, wall } = self.now();
        Now { mono, wall: Wall(wall.0.saturating_add_signed(self.nodes[node as usize].skew_ms)) }
    }

    /// A node dies without a word.
    pub fn kill(&mut self, handle: u32) {
        self.count_time();
        let node = &mut self.nodes[handle as usize];
        if node.dht.take().is_some() {
            let id = node.contact.id;
            self.alive.remove(&id, handle);
            self.note_life(&id);
        }
    }

    fn note_life(&mut self, id: &NodeId) {
        if self.watched {
            self.lives.push(id_prefix(id));
        }
    }

    /// From now on sessions end, and each end is followed by a birth.
    pub fn start_churn(&mut self) {
        self.churning = true;
        for handle in self.alive.handles().to_vec() {
            self.schedule_leave(handle);
        }
    }

    /// All nodes, living and to be born, deal with failures in this way.
    pub fn set_recovery(&mut self, recovery: Recovery) {
        self.nature.config.recovery = recovery;
        for dht in self.nodes.iter_mut().filter_map(|n| n.dht.as_mut()) {
            dht.set_recovery(recovery);
        }
    }

    /// The living node that was born first.
    #[must_use]
    pub fn oldest(&self) -> Option<&Node<V>> {
        let alive = self.alive.handles().iter().map(|h| &self.nodes[*h as usize]);
        alive.min_by_key(|node| node.born)
    }

    /// Whoever is born from now on works in this mode; whoever lives learns of it at a moment of its own within
    /// `window`.
    pub fn migrate(&mut self, mode: Mode, window: Duration) {
        self.nature.config.mode = mode;
        for node in self.alive.handles().to_vec() {
            let at = self.now.after(window.mul_f64(self.unit()));
            self.queue.push(at, Event::Mode { node });
        }
    }

    fn schedule_leave(&mut self, node: u32) {
        let Some((sessions, median)) = self.nature.churn else { return };
        let (u, v) = (self.unit(), self.unit());
        let at = self.now.after(sessions.draw(median, u, v));
        self.queue.push(at, Event::Leave { node });
    }

    // ---- operations

    /// Gives a node a command.
    pub fn command(&mut self, node: u32, op: Op, command: DhtCommand<SimPlace, V>) {
        let id = CommandId(self.ops.len() as u64);
        self.ops.push(op);
        self.handle(node, DhtInput::Command { id, command }, Class::Command);
    }

    /// Something reaches a node from outside the simulated network: an attacker's message.
    pub fn inject(&mut self, node: u32, input: DhtInput<SimPlace, V>, class: Class) {
        self.handle(node, input, class);
    }

    /// A node stores its agent's record.
    pub fn publish(&mut self, node: u32) {
        self.publish_for(node, node, true);
    }

    /// A node stores the record of another node's agent: the same identity, running twice.
    pub fn publish_for(&mut self, node: u32, whom: u32, keep: bool) {
        let wall = self.now_of(node).wall;
        let sequence = Seq(wall.0.max(self.nodes[whom as usize].newest.0 + 1));
        let this = &mut self.nodes[whom as usize];
        this.newest = sequence;
        let value = V::mint(&this.agent_key, sequence, wall);
        let slot = Slot::agent(this.agent);
        self.command(node, Op::Publish, DhtCommand::Put { slot, value, keep });
    }

    /// A node stores a claim of `name` by its agent; `key`: by somebody else.
    pub fn claim(&mut self, node: u32, name: &Name, key: Option<&V::Key>) {
        let wall = self.now_of(node).wall;
        let key = key.unwrap_or(&self.nodes[node as usize].agent_key);
        let value = V::claim(key, name, Seq(wall.0), wall);
        let (slot, keep) = (Slot::name(name), true);
        self.command(node, Op::Publish, DhtCommand::Put { slot, value, keep });
    }

    /// A node looks for the claims of `name`.
    pub fn find_name(&mut self, by: u32, name: &Name) {
        let slot = Slot::name(name);
        self.command(by, Op::FindName, DhtCommand::FindValue { slot });
    }

    /// A node looks for the record of another's agent.
    pub fn find(&mut self, by: u32, whom: u32) {
        let slot = Slot::agent(self.nodes[whom as usize].agent);
        self.command(by, Op::Find { whom }, DhtCommand::FindValue { slot });
    }

    /// A node looks for the nodes closest to a random point.
    pub fn find_node(&mut self, by: u32) {
        let mut target = NodeId([0; 32]);
        self.chance.fill_bytes(&mut target.0);
        self.command(by, Op::FindNode { target }, DhtCommand::FindNode { target });
    }

    /// From now on random nodes look for random published records, at the configured rate.
    pub fn work(&mut self, on: bool) {
        if on && !self.working {
            self.queue.push(self.now, Event::Work);
        }
        self.working = on;
    }

    fn work_once(&mut self) {
        if !self.working || self.alive.is_empty() {
            return;
        }
        let rate = self.nature.work_per_node * self.alive.len() as f64;
        let u = self.unit().max(1e-9);
        self.queue.push(self.now.after(Duration::from_secs_f64(-u.ln() / rate)), Event::Work);
        for _ in 0..64 {
            let (by, whom) = (self.any(), self.any());
            let ready = self.nodes[by as usize].joined && self.nodes[whom as usize].published;
            if ready && by != whom {
                return self.find(by, whom);
            }
        }
    }

    // ---- time

    /// Lets `duration` go by.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        while let Some((at, event)) = self.queue.pop_until(until) {
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = until;
        self.count_time();
    }

    /// Traffic since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        self.count_time();
        std::mem::take(&mut self.traffic)
    }

    fn count_time(&mut self) {
        let elapsed = self.now.since(self.counted_to).as_secs_f64();
        self.traffic.node_seconds += elapsed * self.alive.len() as f64;
        self.counted_to = self.now;
    }

    fn happen(&mut self, event: Event<V>) {
        self.traffic.events += 1;
        match event {
            Event::Deliver { to, from, class, message } => self.deliver(to, from, class, *message),
            Event::Wake { node } => {
                if self.nodes[node as usize].wake <= self.now {
                    self.nodes[node as usize].wake = Mono::MAX;
                    self.handle(node, DhtInput::Wakeup, Class::Maintenance);
                }
            }
            Event::Leave { node } if self.churning && self.nodes[node as usize].dht.is_some() => {
                self.kill(node);
                self.queue.push(self.now, Event::Join);
            }
            Event::Leave { .. } => {}
            Event::Mode { node } => {
                let (mode, now) = (self.nature.config.mode, self.now_of(node));
                if let Some(dht) = &mut self.nodes[node as usize].dht {
                    dht.set_mode(mode, now);
                }
            }
            Event::Join => {
                self.birth_anyone();
            }
            Event::Publish { node } => self.publish(node),
            Event::Work => self.work_once(),
        }
    }

    fn deliver(&mut self, to: u32, from: u32, class: Class, message: Msg<V>) {
        if self.nodes[to as usize].dht.is_none() || (self.parted && (to ^ from) & 1 == 1) {
            return;
        }
        let sender = self.nodes[from as usize].contact.clone();
        let node = &self.nodes[to as usize];
        if node.role.lies() && !message.body.is_answer() {
            let wall = self.now().wall;
            if let Some(body) =
                self.colluders.answer::<V>(node.role, &node.key, &message.body, wall)
            {
                let answer = Message { id: message.id, server: true, body };
                return self.send(to, from, class, answer);
            }
        }
        self.handle(to, DhtInput::Message { from: sender, message }, class);
    }

    fn handle(&mut self, node: u32, input: DhtInput<SimPlace, V>, class: Class) {
        let now = self.now_of(node);
        let Some(mut dht) = self.nodes[node as usize].dht.take() else { return };
        dht.handle(now, input);
        while let Some(output) = dht.poll_output() {
            self.perform(node, output, class);
        }
        let wake = dht.next_wakeup().unwrap_or(Mono::MAX);
        let this = &mut self.nodes[node as usize];
        this.dht = Some(dht);
        if wake < this.wake {
            this.wake = wake;
            self.queue.push(wake.max(self.now), Event::Wake { node });
        }
    }

    fn perform(&mut self, node: u32, output: DhtOutput<SimPlace, V>, incoming: Class) {
        match output {
            DhtOutput::Send { to, message, class } => {
                let class = if message.body.is_answer() { incoming } else { class };
                self.send(node, to.place.handle, class, message);
            }
            DhtOutput::Done { id, outcome, report } => {
                let op = self.ops[usize::try_from(id.0).expect("an index")];
                self.on_done(node, op, &outcome);
                if let (Op::Find { whom }, Outcome::NotFound) = (op, &outcome) {
                    self.describe_miss(node, whom, &report);
                }
                self.ended.push(Ended { op, by: node, outcome, report, at: self.now });
            }
            DhtOutput::Newer { .. } | DhtOutput::Persist { .. } => {}
        }
    }

    fn describe_miss(&mut self, by: u32, whom: u32, report: &Report) {
        if self.misses.len() >= MISSES_MAX {
            return;
        }
        let (now, record) = (self.now(), &self.nodes[whom as usize]);
        let slot = Slot::agent(record.agent);
        let closest = self.alive.closest(&slot.key, self.nature.config.k, None);
        let holds = |h: &&u32| {
            let dht = self.nodes[**h as usize].dht.as_ref();
            dht.is_some_and(|d| d.values().find(&slot, now).next().is_some())
        };
        let since = |at: Mono| self.now.since(at).as_secs_f64();
        let miss = Miss {
            asker_age: since(self.nodes[by as usize].born),
            record_age: since(record.stored),
            owner_alive: record.dht.is_some(),
            replicas: record.replicas,
            holders: closest.iter().filter(holds).count(),
            requests: report.requests,
            timeouts: report.timeouts,
        };
        self.misses.push(miss);
    }

    fn on_done(&mut self, node: u32, op: Op, outcome: &Outcome<SimPlace, V>) {
        let this = &mut self.nodes[node as usize];
        match op {
            Op::Join => {
                this.joined = true;
                if self.nature.publish && this.role == Role::Honest {
                    self.queue.push(self.now, Event::Publish { node });
                }
            }
            Op::Publish => {
                this.stored = self.now;
                if let Outcome::Stored { replicas, .. } = outcome {
                    this.replicas = *replicas;
                    this.published |= *replicas > 0;
                }
            }
            _ => {}
        }
    }

    /// Puts a message on the sender's uplink and, unless dropped there, on its way.
    fn send(&mut self, from: u32, to: u32, class: Class, message: Msg<V>) {
        let bytes = OVERHEAD_BYTES + message.wire_len::<V>();
        self.traffic.messages += 1;
        match class {
            Class::Maintenance => {
                self.traffic.maintenance_bytes += bytes as u64;
                self.traffic.by_kind[message.body.kind()] += bytes as u64;
            }
            Class::Command => self.traffic.command_bytes += bytes as u64,
        }
        let mut leaves = self.now;
        if let Some(uplink) = self.nature.uplink {
            let free = &mut self.nodes[from as usize].uplink_free;
            let Some(at) = uplink.leaves(bytes, *free, self.now) else {
                self.traffic.dropped += 1;
                return;
            };
            (*free, leaves) = (at, at);
        }
        let wobble = 2.0 * self.unit() - 1.0;
        let (a, b) = (self.nodes[from as usize].at, self.nodes[to as usize].at);
        let mut way = self.nature.latency.one_way(a, b, self.nature.rtt_ms, wobble);
        if self.nodes[from as usize].role == Role::Slow && message.body.is_answer() {
            way += self.nature.slow;
        }
        let message = Box::new(message);
        self.queue.push(leaves.after(way), Event::Deliver { to, from, class, message });
    }
}
