//! Chord, for comparison: a ring of nodes with fingers and successor lists.
//!
//! ```text
//!  key ─► successor(key) holds it, and the next k − 1 nodes hold copies
//!  me: predecessor · k successors · finger i = successor(me + 2^i)
//!  every interval: stabilise (successor's predecessor and list), refresh one finger, ping the predecessor
//! ```
//! After Stoica et al., SIGCOMM 2001 and ToN 2003: iterative lookups, 30 s between two stabilisations; here the
//! interval is a sixtieth of the mean session if that is shorter, so that churn does not outrun it, and not below 4 s;
//! a young node begins at one second. Copies go to successors as in DHash. A lookup that meets the dead steps back and
//! names them. Positions are the first 64 bits of node IDs. Not here: virtual nodes, proximity, defence against liars.

mod lookup;
mod message;
mod ring;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homing_base::{Mono, NodeId, Now};
use homing_core::dht::contact::id_prefix;
use homing_core::dht::{Class, Contact, Value};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::dht::adversary::Colluders;
use crate::dht::oracle::Oracle;
use crate::dht::value::{SimPlace, Token};
use crate::lab::machine::{Act, Done, Machine, Setup};
use lookup::{Lookup, Purpose};
pub(crate) use message::{Body, Message};
use ring::{Peer, between};

/// Fingers: one per bit of a position.
const FINGERS: usize = 64;
/// The published interval, and the shortest.
const INTERVAL: (f64, f64) = (4.0, 30.0);
/// Stabilisations per mean session, at least.
const PER_SESSION: f64 = 60.0;
/// Intervals grow to their length until a node is so many of them old.
const YOUTH: u32 = 8;
/// Owners store their record anew this often in the end.
const REPUBLISH: Duration = Duration::from_secs(3_600);
/// The first time; then at twice the age each time.
const REPUBLISH_FIRST: Duration = Duration::from_secs(10);
/// How long an answer may take before anything is known about round trips, at least, and at most.
const PATIENCE: (f64, f64, f64) = (1.0, 0.1, 5.0);
/// Most records that one node holds.
const RECORDS_MAX: usize = 100_000;

/// A request under way.
struct Flight {
    to: Peer,
    sent: Mono,
    deadline: Mono,
    what: Asked,
}

/// What an answer is for.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Lookup(u32),
    Links,
    Predecessor,
    Store(u32),
}

/// One node of the ring.
pub(crate) struct Chord {
    me: Peer,
    k: usize,
    interval: Duration,
    predecessor: Option<Peer>,
    successors: Vec<Peer>,
    fingers: Vec<Option<Peer>>,
    next_finger: usize,
    records: BTreeMap<NodeId, Token>,
    own: Option<(Token, Mono)>,
    flights: BTreeMap<u32, Flight>,
    lookups: BTreeMap<u32, Lookup>,
    next: u32,
    rounds: u32,
    seeds: Vec<Peer>,
    srtt: f64,
    deviation: f64,
    born: Mono,
    due: Mono,
    chance: ChaCha8Rng,
    out: VecDeque<Act<Message>>,
}

impl Chord {
    fn request(&mut self, now: Now, to: Peer, what: Asked, class: Class, body: Body) {
        let id = self.number();
        let deadline = now.mono.after(self.patience());
        self.flights.insert(id, Flight { to, sent: now.mono, deadline, what });
        self.send(to, class, Message { id, body });
    }

    fn send(&mut self, to: Peer, class: Class, message: Message) {
        self.out.push_back(Act::Send { to: to.handle, class, message });
    }

    fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// After RFC 6298, over all peers together.
    fn patience(&self) -> Duration {
        let (first, least, most) = PATIENCE;
        let seconds = if self.srtt == 0.0 { first } else { self.srtt + 4.0 * self.deviation };
        Duration::from_secs_f64(seconds.clamp(least, most))
    }

    fn measured(&mut self, rtt: f64) {
        if self.srtt == 0.0 {
            (self.srtt, self.deviation) = (rtt, rtt / 2.0);
        } else {
            self.deviation += ((rtt - self.srtt).abs() - self.deviation) / 4.0;
            self.srtt += (rtt - self.srtt) / 8.0;
        }
    }

    fn on_answer(&mut self, now: Now, id: u32, body: Body) {
        let Some(flight) = self.flights.remove(&id) else { return };
        self.measured(now.mono.since(flight.sent).as_secs_f64());
        match (flight.what, body) {
            (Asked::Lookup(lookup), body) => self.on_step(now, lookup, flight.to, Some(body)),
            (Asked::Links, Body::Links { predecessor, successors }) => {
                self.on_links(now, flight.to, predecessor, &successors);
            }
            (Asked::Store(lookup), Body::Stored) => self.on_stored(now, lookup, true),
            _ => {}
        }
    }

    fn on_request(&mut self, now: Now, from: Peer, id: u32, body: Body) {
        let answer = match body {
            Body::Step { key, avoid } => self.step(key, &avoid),
            Body::Fetch { agent } => Body::Value { record: self.holding(&agent, now) },
            Body::Store { record } => {
                self.keep(record, now);
                Body::Stored
            }
            Body::Notify => return self.on_notify(now, from),
            Body::AskLinks => {
                Body::Links { predecessor: self.predecessor, successors: self.successors.clone() }
            }
            Body::Ping => Body::Pong,
            _ => return,
        };
        self.send(from, Class::Maintenance, Message { id, body: answer });
    }

    fn holding(&self, agent: &NodeId, now: Now) -> Option<Token> {
        self.records.get(agent).filter(|t| t.is_current(now)).copied()
    }

    fn keep(&mut self, record: Token, now: Now) {
        let Ok(record) = Token::verify(&record, now) else { return };
        let held = self.records.get(&record.signer());
        let newer = held.is_none_or(|h| h.sequence() < record.sequence());
        if newer && (held.is_some() || self.records.len() < RECORDS_MAX) {
            self.records.insert(record.signer(), record);
        }
    }

    fn on_silence(&mut self, now: Now) {
        let over = |f: &Flight| f.deadline <= now.mono;
        let late: Vec<u32> =
            self.flights.iter().filter(|(_, f)| over(f)).map(|(i, _)| *i).collect();
        for id in late {
            let Some(flight) = self.flights.remove(&id) else { continue };
            self.forget(&flight.to);
            match flight.what {
                Asked::Lookup(lookup) => self.on_step(now, lookup, flight.to, None),
                Asked::Store(lookup) => self.on_stored(now, lookup, false),
                Asked::Links | Asked::Predecessor => {}
            }
        }
    }

    /// A node that did not answer leaves every list; periodic upkeep fills the gaps.
    fn forget(&mut self, peer: &Peer) {
        self.successors.retain(|s| s.handle != peer.handle);
        for finger in &mut self.fingers {
            finger.take_if(|f| f.handle == peer.handle);
        }
        self.predecessor.take_if(|p| p.handle == peer.handle);
    }
}

impl Machine for Chord {
    type Message = Message;

    fn new(setup: &Setup, me: Contact<SimPlace>, _: bool, seed: [u8; 32], now: Now) -> Self {
        let mut chance = ChaCha8Rng::from_seed(seed);
        let (least, most) = INTERVAL;
        let interval = (setup.session.as_secs_f64() / PER_SESSION).clamp(least, most);
        let interval = Duration::from_secs_f64(interval);
        let first = interval.mul_f64(f64::from(chance.next_u32()) / f64::from(u32::MAX));
        Self {
            me: Peer::of(&me),
            k: setup.config.k,
            interval,
            predecessor: None,
            successors: Vec::new(),
            fingers: vec![None; FINGERS],
            next_finger: 0,
            records: BTreeMap::new(),
            own: None,
            flights: BTreeMap::new(),
            lookups: BTreeMap::new(),
            next: 0,
            rounds: 0,
            seeds: Vec::new(),
            srtt: 0.0,
            deviation: 0.0,
            born: now.mono,
            due: now.mono.after(first.min(Duration::from_secs(1))),
            chance,
            out: VecDeque::new(),
        }
    }

    fn join(&mut self, now: Now, op: u32, seeds: Vec<Contact<SimPlace>>) {
        self.seeds = seeds.iter().map(Peer::of).collect();
        self.begin(now, Purpose::Join, Some(op), self.me.at.wrapping_add(1));
    }

    fn publish(&mut self, now: Now, op: u32, record: Token) {
        self.own = Some((record, now.mono));
        self.begin(now, Purpose::Put(record), Some(op), id_prefix(&record.signer()));
    }

    fn find(&mut self, now: Now, op: u32, agent: NodeId) {
        if let Some(record) = self.holding(&agent, now) {
            let done = Done {
                found: vec![record],
                stored: 0,
                hops: 0,
                requests: 0,
                timeouts: 0,
                elapsed: Duration::ZERO,
            };
            return self.out.push_back(Act::Done { op, done });
        }
        self.begin(now, Purpose::Get(agent), Some(op), id_prefix(&agent));
    }

    fn receive(&mut self, now: Now, from: Contact<SimPlace>, message: Message) {
        let from = Peer::of(&from);
        if message.body.is_answer() {
            self.on_answer(now, message.id, message.body);
        } else {
            self.on_request(now, from, message.id, message.body);
        }
    }

    fn wake(&mut self, now: Now) {
        self.on_silence(now);
        if self.due <= now.mono {
            let jitter = 0.75 + f64::from(self.chance.next_u32()) / f64::from(u32::MAX) / 2.0;
            let young = now.mono.since(self.born) / YOUTH;
            let interval = young.clamp(Duration::from_secs(1), self.interval);
            self.due = now.mono.after(interval.mul_f64(jitter));
            self.upkeep(now);
        }
    }

    fn poll(&mut self) -> Option<Act<Message>> {
        self.out.pop_front()
    }

    fn next_wakeup(&self) -> Option<Mono> {
        let flights = self.flights.values().map(|f| f.deadline).min();
        Some(flights.map_or(self.due, |f| f.min(self.due)))
    }

    fn neighbours(&self) -> Vec<u32> {
        self.successors.iter().map(|s| s.handle).collect()
    }

    fn holds(&self, now: Now, agent: &NodeId) -> bool {
        self.holding(agent, now).is_some()
    }

    fn depth(&self) -> Option<u8> {
        None
    }

    fn truth(serving: &Oracle, me: &Contact<SimPlace>, k: usize) -> Vec<u32> {
        serving.after(&me.id, k)
    }

    fn is_answer(message: &Message) -> bool {
        message.body.is_answer()
    }

    fn wire_len(message: &Message) -> usize {
        message.wire_len()
    }

    /// Says that it holds nothing and keeps nothing; names itself as the end of the way.
    fn lie(message: &Message, _: &Colluders, _: &NodeId, _: bool, _: Now) -> Option<Message> {
        let body = match message.body {
            Body::Fetch { .. } => Body::Value { record: None },
            Body::Store { .. } => Body::Stored,
            Body::Step { .. } => Body::Next { done: true, peers: Vec::new() },
            _ => return None,
        };
        Some(Message { id: message.id, body })
    }
}

impl Chord {
    /// The next step towards `key`, as far as this node knows: its successors, if one of them holds the key.
    fn step(&self, key: u64, avoid: &[u32]) -> Body {
        let sound = |p: &&Peer| !avoid.contains(&p.handle);
        let Some(first) = self.successors.iter().find(sound) else {
            return Body::Next { done: true, peers: vec![self.me] };
        };
        if between(key, self.me.at, first.at) {
            let peers = self.successors.iter().filter(sound).copied().collect();
            return Body::Next { done: true, peers };
        }
        let known = self.fingers.iter().flatten().chain(&self.successors).filter(sound);
        let before = known.filter(|p| p.at != key && between(p.at, self.me.at, key));
        let best = before.max_by_key(|p| p.at.wrapping_sub(self.me.at));
        Body::Next { done: false, peers: vec![*best.unwrap_or(first)] }
    }
}
