//! Worlds of references: an owner that is mostly away, keepers that come and go, readers that know nobody.
//!
//! ```text
//! owner ── note ──► keepers (each a node of the DHT) ◄── Find ── reader
//!   on for an hour a day         leave and return, 20 % an hour        a fresh one every half hour
//! ```
//! Real [`References`] and real [`Dht`] machines with simulated messages, disks and weeks. Links, trust and
//! NATs are not here: the owner has a link with every keeper that is up.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::{IdentityKey, Mono, NodeId, Now, Reference, ReferenceName, Wall};
use homing_core::dht::{
    CommandId, Config, Contact, Dht, DhtCommand, DhtInput, DhtOutput, Item, Message, Outcome, Slot,
};
use homing_core::io::{
    ReferenceCommand, ReferenceKey, ReferenceSettings, ReferenceView, ReferenceWrite, RequestId,
    StoredReferences,
};
use homing_core::references::wire::Note;
use homing_core::references::{References, ReferencesInput, ReferencesOutput, Standing};
use homing_core::{Answer, Failure};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::dht::value::SimPlace;

type Bytes = std::sync::Arc<[u8]>;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
/// When the simulated clocks begin: 2026-01-01.
const EPOCH_MS: u64 = 1_767_225_600_000;
const OWNER: usize = 0;
const READER: usize = 1;
/// How long a keeper stays away.
const ABSENCE: u64 = 600 * SECOND;
/// A reader asks so often.
const SAMPLE: u64 = HOUR / 2;

/// A month of one reference.
#[derive(Clone, Copy, Debug)]
pub struct Month {
    /// Reproduces it.
    pub seed: u64,
    /// Keepers, each a node of the DHT.
    pub keepers: usize,
    /// Nodes of the DHT that nobody asked to keep anything.
    pub helpers: usize,
    /// Share of both that leave per hour.
    pub turnover: f64,
    /// How long a record is valid.
    pub lifetime: Duration,
    /// Length.
    pub days: u64,
    /// The owner comes for an hour on each of the first so many days.
    pub owner_days: u64,
}

impl Default for Month {
    /// A month in which the owner comes for an hour a day, without keepers, among 12 nodes of the DHT.
    fn default() -> Self {
        let lifetime = Duration::from_secs(12 * 3_600);
        let (keepers, helpers, turnover) = (0, 0, 0.2);
        Self { seed: 2_026, keepers, helpers, turnover, lifetime, days: 30, owner_days: 30 }
    }
}

/// What readers found, and what was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Readers that asked.
    pub asked: u64,
    /// … and found the newest value.
    pub newest: u64,
    /// … and found an older one.
    pub older: u64,
    /// … and found it expired or nothing.
    pub dark: u64,
    /// … of these, while the last record that the owner signed was valid.
    pub dark_early: u64,
    /// Readers that found it although that record had ended.
    pub found_late: u64,
    /// When a reader last found it, in hours since the start.
    pub last_found_hour: u64,
    /// When the last record that the owner signed ended, in hours since the start.
    pub ended_hour: u64,
    /// When a view of the owner first said that nobody else holds it, if one did.
    pub alone_hour: Option<u64>,
    /// When a keeper's view first had less than half of the life left, if one did.
    pub expiring_hour: Option<u64>,
    /// When the owner was first told that it was away and nobody keeps it, if it was.
    pub unkept_hour: Option<u64>,
    /// Departures of keepers.
    pub departures: u64,
}

enum Event {
    Dht { to: usize, from: usize, message: Message<SimPlace, Bytes> },
    Note { to: usize, from: usize, note: Note },
    Wake { node: usize },
    Arrive { node: usize },
    Depart { node: usize },
    Publish,
    Sample,
}

struct Running {
    dht: Dht<SimPlace, Item>,
    references: References,
    wants: BTreeMap<u64, (Slot, bool)>,
    wake_at: u64,
}

struct Node {
    key: IdentityKey,
    disk: StoredReferences,
    running: Option<Running>,
}

struct World {
    month: Month,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    next_command: u64,
    nodes: Vec<Node>,
    random: ChaCha8Rng,
    value: u64,
    published_at: u64,
    /// End of the last record that the owner signed.
    ends: Wall,
    seen: Seen,
}

/// Plays a month.
#[must_use]
pub fn play(month: Month) -> Seen {
    let mut world = World::new(month);
    world.run();
    world.seen
}

impl World {
    fn new(month: Month) -> Self {
        let random = ChaCha8Rng::seed_from_u64(month.seed);
        let mut world = Self {
            month,
            now: SECOND,
            queue: BTreeMap::new(),
            events: 0,
            next_command: 0,
            nodes: Vec::new(),
            random,
            value: 0,
            published_at: 0,
            ends: Wall(0),
            seen: Seen::default(),
        };
        let nodes = 2 + month.keepers + month.helpers;
        for _ in 0..nodes {
            let mut seed = [0; 32];
            world.random.fill_bytes(&mut seed);
            let key = IdentityKey::from_seed(seed);
            world.nodes.push(Node { key, disk: StoredReferences::default(), running: None });
        }
        // Somebody is there to join through.
        world.at(60 * SECOND, Event::Arrive { node: READER });
        for node in 2..nodes {
            world.at(3 * SECOND + node as u64 * SECOND, Event::Arrive { node });
        }
        for day in 0..month.owner_days {
            let from = (day * 24 + 1) * HOUR;
            world.at(from, Event::Arrive { node: OWNER });
            world.at(from + 600 * SECOND, Event::Publish);
            world.at(from + HOUR, Event::Depart { node: OWNER });
        }
        for sample in 0..(month.days * 24 - 2) * HOUR / SAMPLE {
            world.at(2 * HOUR + 60 * SECOND + sample * SAMPLE, Event::Sample);
        }
        world
    }

    fn at(&mut self, when: u64, event: Event) {
        self.events += 1;
        self.queue.insert((when, self.events), event);
    }

    fn time(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(EPOCH_MS + self.now / 1_000) }
    }

    fn run(&mut self) {
        let end = self.month.days * 24 * HOUR;
        while let Some(((when, _), event)) = self.queue.pop_first() {
            if when > end {
                return;
            }
            self.now = when;
            match event {
                Event::Dht { to, from, message } => {
                    let from = self.contact(from);
                    self.dht(to, DhtInput::Message { from, message });
                }
                Event::Note { to, from, note } => {
                    let from = self.nodes[from].key.node_id();
                    self.refer(to, ReferencesInput::Note { from, note });
                }
                Event::Wake { node } => self.wake(node),
                Event::Arrive { node } => self.arrive(node),
                Event::Depart { node } => self.depart(node),
                Event::Publish => self.publish(),
                Event::Sample => self.sample(),
            }
        }
    }

    fn contact(&self, node: usize) -> Contact<SimPlace> {
        let handle = u32::try_from(node).expect("few nodes");
        Contact { id: self.nodes[node].key.node_id(), place: SimPlace { handle, group: 0 } }
    }

    fn serves_the_dht(node: usize) -> bool {
        node >= 2
    }

    fn keepers(&self) -> std::ops::Range<usize> {
        2..2 + self.month.keepers
    }

    // ---- coming and going

    fn arrive(&mut self, node: usize) {
        let (now, me) = (self.time(), self.contact(node));
        let (mut first, mut second) = ([0; 32], [0; 32]);
        self.random.fill_bytes(&mut first);
        self.random.fill_bytes(&mut second);
        let config = Config { ip_caps: false, ..Config::default() };
        let state = &mut self.nodes[node];
        let settings = ReferenceSettings { lifetime: self.month.lifetime, ..Default::default() };
        let (key, disk) = (state.key.clone(), state.disk.clone());
        state.running = Some(Running {
            dht: Dht::new(config, me, Self::serves_the_dht(node), first, now),
            references: References::new(settings, key, false, disk, second, now),
            wants: BTreeMap::new(),
            wake_at: u64::MAX,
        });
        let up =
            |(i, n): (usize, &Node)| (Self::serves_the_dht(i) && n.running.is_some()).then_some(i);
        let seeds: Vec<usize> = self.nodes.iter().enumerate().filter_map(up).collect();
        let seeds = seeds.into_iter().filter(|i| *i != node).map(|i| self.contact(i)).collect();
        self.command(node, None, DhtCommand::Join { seeds });
        self.link(node);
        if Self::serves_the_dht(node) {
            let session = HOUR as f64 / self.month.turnover * -(1.0 - self.unit()).ln();
            self.at(self.now + session as u64, Event::Depart { node });
        }
    }

    /// The owner has a link with every keeper that is up.
    fn link(&mut self, node: usize) {
        let standing = Standing { trusted: true, public: false };
        let others: Vec<usize> = match node {
            OWNER => self.keepers().collect(),
            _ if self.keepers().contains(&node) => vec![OWNER],
            _ => Vec::new(),
        };
        for other in others {
            if self.nodes[other].running.is_none() {
                continue;
            }
            for (here, there) in [(node, other), (other, node)] {
                let peer = self.nodes[there].key.node_id();
                self.refer(here, ReferencesInput::PeerUp { peer, standing });
            }
        }
    }

    fn depart(&mut self, node: usize) {
        self.nodes[node].running = None;
        let peer = self.nodes[node].key.node_id();
        for other in (0..self.nodes.len()).filter(|other| *other != READER) {
            self.refer(other, ReferencesInput::PeerDown { peer });
        }
        if Self::serves_the_dht(node) {
            self.seen.departures += 1;
            self.at(self.now + ABSENCE, Event::Arrive { node });
        }
    }

    fn unit(&mut self) -> f64 {
        f64::from(self.random.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    // ---- what machines do

    fn dht(&mut self, node: usize, input: DhtInput<SimPlace, Item>) {
        let now = self.time();
        if let Some(running) = &mut self.nodes[node].running {
            running.dht.handle(now, input);
            self.drain(node);
        }
    }

    fn refer(&mut self, node: usize, input: ReferencesInput) {
        let now = self.time();
        if let Some(running) = &mut self.nodes[node].running {
            running.references.handle(now, input);
            self.drain(node);
        }
    }

    fn command(
        &mut self,
        node: usize,
        want: Option<(Slot, bool)>,
        command: DhtCommand<SimPlace, Item>,
    ) {
        self.next_command += 1;
        let (now, id) = (self.time(), self.next_command);
        let Some(running) = &mut self.nodes[node].running else { return };
        if let Some(want) = want {
            running.wants.insert(id, want);
        }
        running.dht.handle(now, DhtInput::Command { id: CommandId(id), command });
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        loop {
            let Some(running) = &mut self.nodes[node].running else { return };
            if let Some(output) = running.references.poll_output() {
                self.on_reference(node, output);
            } else if let Some(output) = running.dht.poll_output() {
                self.on_dht(node, output);
            } else {
                return self.set_alarm(node);
            }
        }
    }

    fn on_reference(&mut self, node: usize, output: ReferencesOutput) {
        match output {
            ReferencesOutput::Persist(write) => {
                if let ReferenceWrite::Own(own) = &write {
                    self.ends = own.reference.record.ends();
                }
                self.nodes[node].disk.apply(write);
            }
            ReferencesOutput::Send { to, note } => {
                let to = self.nodes.iter().position(|n| n.key.node_id() == to);
                let delay = self.delay();
                if let Some(to) = to {
                    self.at(self.now + delay, Event::Note { to, from: node, note });
                }
            }
            ReferencesOutput::Put(reference) => self.put(node, *reference),
            ReferencesOutput::Find(slot) => {
                self.command(node, Some((slot, false)), DhtCommand::FindValue { slot });
            }
            ReferencesOutput::Reply { answer, .. } => self.on_reply(answer),
            ReferencesOutput::Notify(_) => {}
        }
    }

    fn put(&mut self, node: usize, reference: Reference) {
        let plain = reference.unbound();
        for value in [plain, reference] {
            let slot = Slot::reference(&value);
            let want = value.binding.is_some().then_some((slot, true));
            let value = Item::Reference(value.into());
            self.command(node, want, DhtCommand::Put { slot, value, keep: false });
        }
    }

    fn on_dht(&mut self, node: usize, output: DhtOutput<SimPlace, Item>) {
        match output {
            DhtOutput::Send { to, message, .. } => {
                let (to, delay) = (to.place.handle as usize, self.delay());
                self.at(self.now + delay, Event::Dht { to, from: node, message });
            }
            DhtOutput::Done { id: CommandId(id), outcome, report } => {
                let Some(running) = &mut self.nodes[node].running else { return };
                let Some((slot, stored)) = running.wants.remove(&id) else { return };
                let input = match (stored, outcome) {
                    (true, Outcome::Stored { replicas, asked }) => {
                        ReferencesInput::Stored { slot, replicas, asked }
                    }
                    (true, _) => ReferencesInput::Stored { slot, replicas: 0, asked: 0 },
                    (false, Outcome::Values(values)) => {
                        let values = values.into_iter().filter_map(reference).collect();
                        let (replicas, agreed) = (report.holders, report.agreed);
                        ReferencesInput::Found { slot, values, replicas, agreed }
                    }
                    (false, _) => {
                        let values = Vec::new();
                        ReferencesInput::Found { slot, values, replicas: 0, agreed: 0 }
                    }
                };
                self.refer(node, input);
            }
            DhtOutput::Newer { .. } | DhtOutput::Persist { .. } => {}
        }
    }

    /// 20 to 80 ms.
    fn delay(&mut self) -> u64 {
        20_000 + u64::from(self.random.next_u32() % 60_000)
    }

    fn set_alarm(&mut self, node: usize) {
        let Some(running) = &mut self.nodes[node].running else { return };
        let due = [running.dht.next_wakeup(), running.references.next_wakeup()];
        let Some(due) = due.into_iter().flatten().min() else { return };
        let due = due.0.max(self.now + 1_000);
        if due < running.wake_at || running.wake_at <= self.now {
            running.wake_at = due;
            self.at(due, Event::Wake { node });
        }
    }

    fn wake(&mut self, node: usize) {
        let now = self.time();
        let Some(running) = &mut self.nodes[node].running else { return };
        if running.wake_at > self.now {
            return;
        }
        running.wake_at = u64::MAX;
        if running.dht.next_wakeup().is_some_and(|at| at <= now.mono) {
            running.dht.handle(now, DhtInput::Wakeup);
        }
        if running.references.next_wakeup().is_some_and(|at| at <= now.mono) {
            running.references.handle(now, ReferencesInput::Wakeup);
        }
        self.drain(node);
    }

    // ---- what people do

    fn publish(&mut self) {
        let now = self.time();
        self.value += 1;
        self.published_at = self.now;
        let keepers: Vec<NodeId> =
            self.nodes[self.keepers()].iter().map(|n| n.key.node_id()).collect();
        let publish = ReferenceCommand::Publish {
            name: name(),
            value: format!("/checkpoints/{}", self.value),
            lifetime: Some(self.month.lifetime),
            ttl: None,
            keepers: Some(keepers.into_iter().take(16).collect()),
        };
        let Some(running) = &mut self.nodes[OWNER].running else { return };
        running.references.command(now, publish).expect("within every limit");
        self.drain(OWNER);
    }

    /// A reader that has never asked before; nobody but the DHT is there to answer.
    fn sample(&mut self) {
        self.look_at_views();
        let (now, owner) = (self.time(), self.nodes[OWNER].key.node_id());
        let key = self.nodes[READER].key.clone();
        let settings = ReferenceSettings::default();
        let Some(running) = &mut self.nodes[READER].running else { return };
        let disk = StoredReferences::default();
        running.references = References::new(settings, key, false, disk, [7; 32], now);
        let key = ReferenceKey::Bound { owner, name: name() };
        running.references.resolve(now, RequestId(1), key, Duration::from_secs(10));
        self.drain(READER);
    }

    fn on_reply(&mut self, answer: Result<Answer, Failure>) {
        let newest = format!("/checkpoints/{}", self.value);
        let valid = self.ends > self.time().wall;
        self.seen.asked += 1;
        match answer {
            Ok(Answer::ReferenceResolved(found)) => {
                self.seen.found_late += u64::from(!valid);
                self.seen.last_found_hour = self.now / HOUR;
                if found.reference.record.value_text() == newest {
                    self.seen.newest += 1;
                } else {
                    self.seen.older += 1;
                }
            }
            _ => {
                self.seen.dark += 1;
                self.seen.dark_early += u64::from(valid);
            }
        }
    }

    /// What the owner's and the keepers' health would say.
    fn look_at_views(&mut self) {
        let (now, hour) = (self.time(), self.now / HOUR);
        for (i, node) in self.nodes.iter().enumerate() {
            let Some(running) = &node.running else { continue };
            for view in running.references.views(now) {
                let ends = view.reference.as_ref().map_or(0, |r| r.record.ends().0);
                let ended = ends.saturating_sub(EPOCH_MS) / 3_600_000;
                self.seen.ended_hour = self.seen.ended_hour.max(ended);
                if i == OWNER && view.away.is_some() {
                    self.seen.unkept_hour.get_or_insert(hour);
                }
                if i == OWNER && view.outside.is_none() {
                    self.seen.alone_hour.get_or_insert(hour);
                }
                if self.keepers().contains(&i) && is_expiring(&view, now) {
                    self.seen.expiring_hour.get_or_insert(hour);
                }
            }
        }
    }
}

fn is_expiring(view: &ReferenceView, now: Now) -> bool {
    view.reference.is_some() && view.remaining(now.wall) < view.lifetime / 2
}

fn name() -> ReferenceName {
    "planner/checkpoint".parse().expect("a name")
}

fn reference(item: Item) -> Option<Reference> {
    match item {
        Item::Reference(reference) => Some(std::sync::Arc::unwrap_or_clone(reference)),
        Item::Agent(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600;

    fn month() -> Month {
        let lifetime = Duration::from_secs(2 * DAY);
        let month = Month { keepers: 12, lifetime, ..Month::default() };
        println!("HOMING seed {}", month.seed);
        month
    }

    #[test]
    fn kept_by_peers_it_resolves_to_the_newest_for_a_month_though_its_owner_is_mostly_away() {
        let seen = play(month());
        println!("{seen:?}");
        assert!(seen.asked > 1_400 && seen.departures > 1_000, "{seen:?}");
        assert_eq!((seen.newest, seen.older, seen.dark), (seen.asked, 0, 0), "{seen:?}");
    }

    #[test]
    fn without_keepers_it_is_dark_while_its_owner_is_away_and_its_owner_was_told() {
        let seen = play(Month { keepers: 0, ..month() });
        println!("{seen:?}");
        assert_eq!((seen.dark, seen.newest), (seen.asked, 0), "{seen:?}");
        assert!(seen.alone_hour.is_some_and(|hour| hour <= 26), "{seen:?}");
    }

    #[test]
    fn without_keepers_the_dht_alone_goes_dark_with_each_record_and_its_owner_was_told() {
        let seen = play(Month { helpers: 12, ..Month::default() });
        println!("{seen:?}");
        assert!(seen.newest > 0 && seen.older == 0 && seen.departures > 1_000, "{seen:?}");
        // The record lives 12 of 24 hours: dark for the rest of each day, and not a moment longer valid.
        assert!(seen.dark - seen.dark_early > seen.asked / 3, "{seen:?}");
        assert_eq!(seen.found_late, 0, "{seen:?}");
        // At the first return it is said, before the second night.
        assert_eq!(seen.unkept_hour, Some(25), "{seen:?}");
    }

    #[test]
    fn without_keepers_an_owner_that_never_returns_had_been_told_before_it_went_dark() {
        let lifetime = Duration::from_secs(2 * DAY);
        let seen =
            play(Month { helpers: 12, lifetime, days: 8, owner_days: 3, ..Month::default() });
        println!("{seen:?}");
        assert!(seen.newest > 0 && seen.found_late == 0, "{seen:?}");
        assert!(seen.last_found_hour <= 50 + 48 && seen.dark > 0, "{seen:?}");
        assert_eq!(seen.unkept_hour, Some(25), "{seen:?}");
        // With keepers nothing of the kind is said.
        let kept =
            play(Month { keepers: 12, lifetime, days: 8, owner_days: 3, ..Month::default() });
        assert_eq!((kept.unkept_hour, kept.dark_early), (None, 0), "{kept:?}");
    }

    #[test]
    fn when_its_owner_never_returns_keepers_serve_it_to_its_end_and_say_so_before() {
        let seen = play(Month { days: 8, owner_days: 3, ..month() });
        println!("{seen:?}");
        let (found, ended) = (seen.last_found_hour, seen.ended_hour);
        assert!(seen.dark > 0 && seen.older == 0, "{seen:?}");
        assert!(found <= ended && ended - found <= 1, "{seen:?}");
        let said = seen.expiring_hour.expect("a keeper says it");
        assert!(said + 20 < ended, "{seen:?}");
    }
}
