//! Iterative lookups: ask the next on the way, step back from the dead, then fetch or store.

use homing_base::{Mono, NodeId, Now};
use homing_core::dht::Class;

use super::message::Body;
use super::ring::Peer;
use super::{Asked, Chord};
use crate::dht::value::Token;
use crate::lab::machine::{Act, Done};

/// Steps after which a lookup has lost its way.
const STEPS_MAX: u32 = 64;
/// Dead nodes that are named to others.
const AVOID_MAX: usize = 16;

/// What a lookup is for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Purpose {
    Join,
    Finger(usize),
    Put(Token),
    Get(NodeId),
}

/// A lookup under way.
pub(super) struct Lookup {
    purpose: Purpose,
    op: Option<u32>,
    key: u64,
    began: Mono,
    path: Vec<Peer>,
    avoid: Vec<u32>,
    holders: Vec<Peer>,
    waiting: usize,
    stored: usize,
    hops: u32,
    requests: u32,
    timeouts: u32,
}

impl Chord {
    pub(super) fn begin(&mut self, now: Now, purpose: Purpose, op: Option<u32>, key: u64) {
        let id = self.number();
        let lookup = Lookup {
            purpose,
            op,
            key,
            began: now.mono,
            path: Vec::new(),
            avoid: Vec::new(),
            holders: Vec::new(),
            waiting: 0,
            stored: 0,
            hops: 0,
            requests: 0,
            timeouts: 0,
        };
        self.lookups.insert(id, lookup);
        self.restart(now, id);
    }

    /// From our own knowledge, or through a seed.
    fn restart(&mut self, now: Now, id: u32) {
        let Some(lookup) = self.lookups.get(&id) else { return };
        let (key, avoid) = (lookup.key, lookup.avoid.clone());
        if lookup.purpose == Purpose::Join || self.successors.is_empty() {
            let seed = self.seeds.iter().find(|s| !avoid.contains(&s.handle)).copied();
            return match seed {
                Some(seed) => self.ask(now, id, seed),
                None => self.end(now, id, Vec::new()),
            };
        }
        let Body::Next { done, peers } = self.step(key, &avoid) else { return };
        self.follow(now, id, done, peers);
    }

    fn class(lookup: &Lookup) -> Class {
        match lookup.purpose {
            Purpose::Put(_) | Purpose::Get(_) => Class::Command,
            Purpose::Join | Purpose::Finger(_) => Class::Maintenance,
        }
    }

    fn ask(&mut self, now: Now, id: u32, peer: Peer) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.requests += 1;
        if lookup.requests > STEPS_MAX {
            return self.end(now, id, Vec::new());
        }
        let (class, key, avoid) = (Self::class(lookup), lookup.key, lookup.avoid.clone());
        self.request(now, peer, Asked::Lookup(id), class, Body::Step { key, avoid });
    }

    fn follow(&mut self, now: Now, id: u32, done: bool, peers: Vec<Peer>) {
        if done {
            return self.arrive(now, id, peers);
        }
        match peers.first() {
            Some(next) if next.handle != self.me.handle => self.ask(now, id, *next),
            _ => self.end(now, id, Vec::new()),
        }
    }

    /// An answer to a step or a fetch, or silence.
    pub(super) fn on_step(&mut self, now: Now, id: u32, from: Peer, answer: Option<Body>) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        match answer {
            Some(Body::Next { done, peers }) => {
                lookup.path.push(from);
                lookup.hops += 1;
                self.follow(now, id, done, peers);
            }
            Some(Body::Value { record: Some(record) }) => self.end(now, id, vec![record]),
            Some(Body::Value { record: None }) => self.fetch(now, id),
            Some(_) => {}
            None => {
                lookup.timeouts += 1;
                if lookup.avoid.len() < AVOID_MAX {
                    lookup.avoid.push(from.handle);
                }
                if !lookup.holders.is_empty() {
                    return self.fetch(now, id);
                }
                match lookup.path.pop() {
                    Some(back) => self.ask(now, id, back),
                    None if lookup.timeouts as usize > AVOID_MAX => self.end(now, id, Vec::new()),
                    None => self.restart(now, id),
                }
            }
        }
    }

    /// The nodes that hold the key are known.
    fn arrive(&mut self, now: Now, id: u32, peers: Vec<Peer>) {
        let me = self.me;
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        match lookup.purpose {
            Purpose::Join => {
                let others = peers.into_iter().filter(|p| p.handle != me.handle);
                self.successors = others.take(self.k).collect();
                if let Some(first) = self.successors.first().copied() {
                    self.notify(first);
                }
                self.end(now, id, Vec::new());
            }
            Purpose::Finger(i) => {
                self.fingers[i] = peers.first().copied().filter(|p| p.handle != me.handle);
                self.end(now, id, Vec::new());
            }
            Purpose::Put(record) => self.put(now, id, record, &peers),
            Purpose::Get(_) => {
                lookup.holders = peers.into_iter().rev().collect();
                self.fetch(now, id);
            }
        }
    }

    fn put(&mut self, now: Now, id: u32, record: Token, peers: &[Peer]) {
        let k = self.k;
        let holders: Vec<_> = peers.iter().take(k).copied().collect();
        if let Some(lookup) = self.lookups.get_mut(&id) {
            lookup.waiting = holders.len();
        }
        if holders.is_empty() {
            return self.end(now, id, Vec::new());
        }
        for holder in holders {
            if holder.handle == self.me.handle {
                self.keep(record, now);
                self.on_stored(now, id, true);
            } else {
                self.request(now, holder, Asked::Store(id), Class::Command, Body::Store { record });
            }
        }
    }

    pub(super) fn on_stored(&mut self, now: Now, id: u32, kept: bool) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.waiting = lookup.waiting.saturating_sub(1);
        lookup.stored += usize::from(kept);
        if lookup.waiting == 0 {
            self.end(now, id, Vec::new());
        }
    }

    /// From the next of those that should hold it.
    fn fetch(&mut self, now: Now, id: u32) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        let Purpose::Get(agent) = lookup.purpose else { return };
        let Some(holder) = lookup.holders.pop() else { return self.end(now, id, Vec::new()) };
        if holder.handle == self.me.handle {
            return self.fetch(now, id);
        }
        lookup.requests += 1;
        self.request(now, holder, Asked::Lookup(id), Class::Command, Body::Fetch { agent });
    }

    fn end(&mut self, now: Now, id: u32, found: Vec<Token>) {
        let Some(lookup) = self.lookups.remove(&id) else { return };
        let Some(op) = lookup.op else { return };
        let done = Done {
            found,
            stored: lookup.stored,
            hops: lookup.hops + 1,
            requests: lookup.requests,
            timeouts: lookup.timeouts,
            elapsed: now.mono.since(lookup.began),
        };
        self.out.push_back(Act::Done { op, done });
    }
}
