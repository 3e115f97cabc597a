//! A world of gossiping nodes.
//!
//! ```text
//! Wheel ─► Deliver / Wake / Publish / Attack ─► Gossip::handle ─► outputs ─► loss, latency ─► Wheel
//! ```
//! A message costs its wire length plus [`OVERHEAD_BYTES`]. A link keeps the order of its messages and loses
//! those under way when it breaks. The world knows the newest note of every signer and counts who
//! has it.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::limits::RECORDS_PER_MESSAGE_MAX;
use homing_base::{Mono, NodeId, Now, Seq, Wall};
use homing_core::gossip::{
    Carried, Config, Gossip, GossipInput, GossipOutput, Message, Ranges, Value,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::graph::below;
use super::note::{LIFE, Note};
use crate::dht::wheel::Wheel;

/// IP and UDP headers (28), QUIC header, tag and its share of acknowledgements (52).
pub const OVERHEAD_BYTES: usize = 80;
const EPOCH_MS: u64 = 1_800_000_000_000;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What it should.
    Honest,
    /// Pushes records in others' names.
    Forger,
    /// Pushes what it heard long ago.
    Replayer,
    /// Pushes records of made-up identities.
    Flooder,
    /// Takes everything, passes on nothing, claims that nothing differs.
    Withholder,
}

enum Event {
    Deliver { to: u32, from: u32, epoch: u32, message: Message<Note> },
    Wake { node: u32 },
    Publish { node: u32, note: Note },
    Attack { node: u32 },
}

/// One node.
pub struct Node {
    /// The machine.
    pub gossip: Box<Gossip<Note>>,
    /// Who it is.
    pub id: NodeId,
    /// What it does.
    pub role: Role,
    /// Notes that are the newest of their signers, and that it has.
    pub current: usize,
    /// What a replayer has heard first.
    heard: BTreeMap<NodeId, Note>,
    wake: Mono,
}

/// What is known of one signer's newest note.
struct Truth {
    note: Note,
    holders: usize,
    published: Mono,
    everywhere: Option<Mono>,
}

#[derive(Clone, Copy)]
struct Link {
    latency: Duration,
    /// Counts its ups.
    epoch: u32,
    up: bool,
}

/// Counted traffic of honest nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Traffic {
    /// Messages sent.
    pub messages: u64,
    /// Bytes sent, overhead included.
    pub bytes: u64,
    /// Bytes of messages with records that were pushed.
    pub push_bytes: u64,
    /// … that were asked for, or sent once more.
    pub records_bytes: u64,
    /// … of announcements and questions.
    pub have_bytes: u64,
    /// … of comparisons.
    pub ranges_bytes: u64,
    /// Node-seconds.
    pub node_seconds: f64,
}

/// What adversaries achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Harm {
    /// Hostile records sent.
    pub sent: u64,
    /// … accepted by honest nodes, all of them together.
    pub accepted: u64,
    /// Honest nodes that do not listen to somebody any more.
    pub mutes: u64,
    /// Honest nodes that were told of an equivocation.
    pub equivocations: u64,
}

/// A world.
pub struct World {
    config: Config,
    loss: f64,
    latency_ms: (u64, u64),
    chance: ChaCha8Rng,
    queue: Wheel<Event>,
    now: Mono,
    /// Everybody, in order of birth.
    pub nodes: Vec<Node>,
    by_id: BTreeMap<NodeId, u32>,
    links: BTreeMap<(u32, u32), Link>,
    truths: BTreeMap<NodeId, Truth>,
    /// (signer, node) pairs of the truth that are still missing.
    missing: usize,
    honest: usize,
    /// Traffic since the last [`World::take_traffic`].
    pub traffic: Traffic,
    /// What adversaries achieved.
    pub harm: Harm,
    /// Events handled.
    pub events: u64,
    counted_to: Mono,
    attack: Option<(Mono, Duration)>,
}

impl World {
    /// Nobody lives here yet.
    #[must_use]
    pub fn new(config: Config, loss: f64, latency_ms: (u64, u64), seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            config,
            loss,
            latency_ms,
            chance: ChaCha8Rng::from_seed(bytes),
            queue: Wheel::default(),
            now: Mono(1),
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            links: BTreeMap::new(),
            truths: BTreeMap::new(),
            missing: 0,
            honest: 0,
            traffic: Traffic::default(),
            harm: Harm::default(),
            events: 0,
            counted_to: Mono(1),
            attack: None,
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.now, wall: Wall(EPOCH_MS + self.now.0 / 1_000) }
    }

    /// The world's chance.
    pub fn chance(&mut self) -> &mut ChaCha8Rng {
        &mut self.chance
    }

    fn some_id(&mut self) -> NodeId {
        let mut id = NodeId([0; 32]);
        self.chance.fill_bytes(&mut id.0);
        id
    }

    // ---- nodes and links

    /// A node is born.
    pub fn birth(&mut self, role: Role) -> u32 {
        self.count_time();
        let handle = u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes");
        let id = self.some_id();
        let mut seed = [0; 32];
        self.chance.fill_bytes(&mut seed);
        let gossip = Box::new(Gossip::new(self.config, id, seed, self.now()));
        self.by_id.insert(id, handle);
        let (heard, wake) = (BTreeMap::new(), Mono::MAX);
        self.nodes.push(Node { gossip, id, role, current: 0, heard, wake });
        if role == Role::Honest {
            self.honest += 1;
            self.missing += self.truths.len();
            self.truths.values_mut().for_each(|t| t.everywhere = None);
        }
        handle
    }

    /// Two nodes are linked, for the first time or again.
    pub fn link(&mut self, a: u32, b: u32) {
        let span = self.latency_ms.1 - self.latency_ms.0 + 1;
        let ms = self.latency_ms.0 + self.chance.next_u64() % span;
        let fresh = Link { latency: Duration::from_millis(ms), epoch: 0, up: false };
        let link = self.links.entry((a.min(b), a.max(b))).or_insert(fresh);
        if a == b || link.up {
            return;
        }
        (link.up, link.epoch) = (true, link.epoch + 1);
        for (at, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other as usize].id;
            self.handle(at, GossipInput::PeerUp { peer });
        }
    }

    /// A link breaks.
    pub fn unlink(&mut self, a: u32, b: u32) {
        let Some(link) = self.links.get_mut(&(a.min(b), a.max(b))).filter(|l| l.up) else { return };
        link.up = false;
        for (at, other) in [(a, b), (b, a)] {
            let peer = self.nodes[other as usize].id;
            self.handle(at, GossipInput::PeerDown { peer });
        }
    }

    /// Links across `border`: from a node below it to one at or above it.
    #[must_use]
    pub fn crossing(&self, border: u32) -> Vec<(u32, u32)> {
        self.links.keys().filter(|(a, b)| *a < border && *b >= border).copied().collect()
    }

    /// Links that are up.
    #[must_use]
    pub fn links_up(&self) -> usize {
        self.links.values().filter(|l| l.up).count()
    }

    fn neighbours(&self, node: u32) -> Vec<u32> {
        let up = self.links.iter().filter(|(_, l)| l.up);
        up.filter_map(|((a, b), _)| match node {
            n if n == *a => Some(*b),
            n if n == *b => Some(*a),
            _ => None,
        })
        .collect()
    }

    /// Honest nodes.
    #[must_use]
    pub fn honest(&self) -> usize {
        self.honest
    }

    // ---- notes

    /// `node` publishes a note of a new signer after `delay`.
    pub fn publish_later(&mut self, node: u32, delay: Duration) {
        let signer = self.some_id();
        self.publish_note(node, signer, delay);
    }

    /// `node` publishes a newer note of `signer` after `delay`.
    pub fn publish_note(&mut self, node: u32, signer: NodeId, delay: Duration) {
        let wall = self.now().wall.after(delay);
        let note = Note::sealed(signer, Seq(wall.0), wall.after(LIFE), 0);
        self.queue.push(self.now.after(delay), Event::Publish { node, note });
    }

    /// The signers that published something.
    #[must_use]
    pub fn signers(&self) -> Vec<NodeId> {
        self.truths.keys().copied().collect()
    }

    /// Pairs of a signer and an honest node that lacks its newest note.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// From publication to the last honest node, of every note that is everywhere, sorted.
    #[must_use]
    pub fn times(&self) -> Vec<Duration> {
        let times = self.truths.values().filter_map(|t| Some(t.everywhere?.since(t.published)));
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        times
    }

    fn on_publish(&mut self, node: u32, note: Note) {
        let honest = self.honest();
        if let Some(old) = self.truths.get(&note.signer()) {
            self.missing -= honest - old.holders;
        }
        self.missing += honest;
        let (published, everywhere) = (self.now, None);
        let truth = Truth { note: note.clone(), holders: 0, published, everywhere };
        self.truths.insert(note.signer(), truth);
        self.handle(node, GossipInput::Publish(note.clone()));
        self.on_held(node, &note);
    }

    fn on_held(&mut self, node: u32, note: &Note) {
        let this = &mut self.nodes[node as usize];
        if this.role != Role::Honest {
            return;
        }
        match self.truths.get_mut(&note.signer()) {
            Some(truth) if truth.note == *note => {
                truth.holders += 1;
                self.missing -= 1;
                this.current += 1;
                if truth.holders >= self.honest {
                    truth.everywhere = Some(self.now);
                }
            }
            // A note that was the newest when it was sent.
            Some(truth) if note.sequence() < truth.note.sequence() => {}
            _ => self.harm.accepted += 1,
        }
    }

    /// Nodes whose table disagrees with the truth, counted anew. Zero when `missing` is zero.
    #[must_use]
    pub fn wrong(&self) -> usize {
        let honest = self.nodes.iter().filter(|n| n.role == Role::Honest);
        let right = |n: &&Node| {
            let holds = |(id, t): (&NodeId, &Truth)| {
                n.gossip.table().entry(id).is_some_and(|e| e.value == t.note)
            };
            self.truths.iter().all(holds)
        };
        honest.filter(|n| !right(n)).count()
    }

    // ---- attacks

    /// Adversaries begin, each with a message per `pause` and link, until `duration` is over.
    pub fn attack_for(&mut self, duration: Duration, pause: Duration) {
        self.attack = Some((self.now.after(duration), pause));
        for node in 0..u32::try_from(self.nodes.len()).expect("fewer than 2^32") {
            let role = self.nodes[node as usize].role;
            if !matches!(role, Role::Honest | Role::Withholder) {
                self.queue.push(self.now, Event::Attack { node });
            }
        }
    }

    fn on_attack(&mut self, node: u32) {
        let Some((until, pause)) = self.attack.filter(|(until, _)| *until > self.now) else {
            return;
        };
        self.attack = Some((until, pause));
        for to in self.neighbours(node) {
            let list: Vec<_> = (0..RECORDS_PER_MESSAGE_MAX)
                .filter_map(|_| self.weapon(node))
                .map(|wire| Carried { hops: 1, wire })
                .collect();
            self.harm.sent += list.len() as u64;
            if !list.is_empty() {
                self.transmit(node, to, Message::Push(list));
            }
        }
        self.queue.push(self.now.after(pause), Event::Attack { node });
    }

    fn weapon(&mut self, node: u32) -> Option<Note> {
        let wall = self.now().wall;
        let victims = self.signers();
        let signer = (!victims.is_empty()).then(|| victims[below(&mut self.chance, victims.len())]);
        match self.nodes[node as usize].role {
            Role::Forger => Some(Note::forged(signer?, Seq(wall.0 + 1), wall.after(LIFE))),
            Role::Replayer => self.nodes[node as usize].heard.get(&signer?).cloned(),
            Role::Flooder => {
                let id = self.some_id();
                Some(Note::sealed(id, Seq(wall.0), wall.after(LIFE), 1))
            }
            Role::Honest | Role::Withholder => None,
        }
    }

    // ---- time

    /// Lets `duration` go by.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }

    /// Lets time go by until `done` or `patience` is over; checked whenever something happened.
    pub fn run_until(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let (begin, until) = (self.now, self.now.after(patience));
        while !done(self) {
            let Some((at, event)) = self.queue.pop_until(until) else {
                self.now = until;
                break;
            };
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.count_time();
        self.now.since(begin)
    }

    /// Traffic since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        self.count_time();
        std::mem::take(&mut self.traffic)
    }

    fn count_time(&mut self) {
        let elapsed = self.now.since(self.counted_to).as_secs_f64();
        self.traffic.node_seconds += elapsed * self.honest() as f64;
        self.counted_to = self.now;
    }

    fn happen(&mut self, event: Event) {
        self.events += 1;
        match event {
            Event::Deliver { to, from, epoch, message } => {
                let link = self.links.get(&(from.min(to), from.max(to)));
                if link.is_some_and(|l| l.up && l.epoch == epoch) {
                    self.deliver(to, from, message);
                }
            }
            Event::Wake { node } => {
                if self.nodes[node as usize].wake <= self.now {
                    self.nodes[node as usize].wake = Mono::MAX;
                    self.handle(node, GossipInput::Wakeup);
                }
            }
            Event::Publish { node, note } => self.on_publish(node, note),
            Event::Attack { node } => self.on_attack(node),
        }
    }

    fn deliver(&mut self, to: u32, from: u32, message: Message<Note>) {
        let sender = self.nodes[from as usize].id;
        match (self.nodes[to as usize].role, message) {
            (Role::Withholder, Message::Ranges(ranges)) => {
                let nothing = Ranges { ranges: Vec::new(), ..ranges };
                self.transmit(to, from, Message::Ranges(nothing));
            }
            (Role::Withholder, _) => {}
            (_, message) => self.handle(to, GossipInput::Message { from: sender, message }),
        }
    }

    fn handle(&mut self, node: u32, input: GossipInput<Note>) {
        let now = self.now();
        self.nodes[node as usize].gossip.handle(now, input);
        while let Some(output) = self.nodes[node as usize].gossip.poll_output() {
            self.perform(node, output);
        }
        let this = &mut self.nodes[node as usize];
        let wake = this.gossip.next_wakeup().unwrap_or(Mono::MAX);
        if wake < this.wake {
            this.wake = wake;
            self.queue.push(wake.max(self.now), Event::Wake { node });
        }
    }

    fn perform(&mut self, node: u32, output: GossipOutput<Note>) {
        let honest = self.nodes[node as usize].role == Role::Honest;
        match output {
            GossipOutput::Send { to, message } => {
                let to = self.by_id[&to];
                self.transmit(node, to, message);
            }
            GossipOutput::Accepted { value, kept, .. } => {
                let this = &mut self.nodes[node as usize];
                if this.role == Role::Replayer {
                    this.heard.entry(value.signer()).or_insert_with(|| value.clone());
                }
                if kept {
                    self.on_held(node, &value);
                }
            }
            GossipOutput::Muted { .. } => self.harm.mutes += u64::from(honest),
            GossipOutput::Equivocation { .. } => self.harm.equivocations += u64::from(honest),
            GossipOutput::Persist { .. } | GossipOutput::Forget(_) => {}
        }
    }

    fn transmit(&mut self, from: u32, to: u32, message: Message<Note>) {
        if self.nodes[from as usize].role == Role::Honest {
            let len = (message.wire_len::<Note>() + OVERHEAD_BYTES) as u64;
            self.traffic.messages += 1;
            self.traffic.bytes += len;
            let kind = match message {
                Message::Push(_) => &mut self.traffic.push_bytes,
                Message::Records(_) => &mut self.traffic.records_bytes,
                Message::Ranges(_) => &mut self.traffic.ranges_bytes,
                Message::Have { .. } | Message::Want { .. } | Message::Prune => {
                    &mut self.traffic.have_bytes
                }
            };
            *kind += len;
        }
        let Some(link) = self.links.get(&(from.min(to), from.max(to))).copied() else { return };
        let lost = f64::from(self.chance.next_u32()) < self.loss * f64::from(u32::MAX);
        if link.up && !lost {
            let event = Event::Deliver { to, from, epoch: link.epoch, message };
            self.queue.push(self.now.after(link.latency), event);
        }
    }
}
