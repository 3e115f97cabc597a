//! Gossip: every record everywhere, along a tree while all is well, by comparing when it was not.
//!
//! ```text
//! PeerUp/PeerDown · Message · Publish · Wakeup
//!        │ handle
//!   push       Plumtree: push to eager links, announce to lazy ones, graft what did not come
//!   pull       what is announced and unknown is asked for, from one peer at a time, in a window
//!   reconcile  range-based comparison with one random peer per round, at once on a new link
//!   accept     the only door: known? in budget? signed? then table, horizon, forward
//!        │ poll_output
//! Persist/Forget · Accepted · Equivocation · Muted · Send
//! ```
//! After Leitão, Pereira & Rodrigues (*Epidemic Broadcast Trees*, SRDS 2007) and Meyer (*Range-Based Set
//! Reconciliation*, SRDS 2023). Rules and invariants: `docs/design/gossip.md`, formats: `spec/09-gossip.md`.
//! Contract as for the whole crate: after `handle`, drain `poll_output`; then wait until
//! `next_wakeup` or the next input. Not here: links, who may gossip, the other discovery layers.

mod accept;
mod announcements;
pub mod config;
pub mod io;
pub mod limits;
pub mod message;
mod peer;
mod pull;
mod push;
mod rate;
mod reconcile;
pub mod table;
pub mod value;
pub mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homing_base::{Mono, NodeId, Now, Wall};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

pub use config::{Capacity, Config};
pub use io::{GossipInput, GossipOutput, Stats};
pub use message::{Carried, Item, Message, Range, RangeBody, Ranges};
pub use table::{Entry, Table};
pub use value::{Claim, Unbelievable, Value};

use limits::{FIRST_PATIENCE, PEERS_MAX, RECEDE_INTERVAL, RESTLESS, SWEEP, VERIFIES};
use peer::Peer;
use pull::Wanted;
use rate::Tokens;

/// A record that is passed on but not kept.
#[derive(Clone, Debug)]
struct Passing<V> {
    value: V,
    mark: u64,
    hops: u8,
}

/// Who sent what nobody honest sends.
#[derive(Clone, Copy, Debug, Default)]
struct Offence {
    forged: u8,
    muted_until: Mono,
}

/// One node's gossip.
#[derive(Debug)]
pub struct Gossip<V: Value> {
    me: NodeId,
    config: Config,
    chance: ChaCha8Rng,
    table: Table<V>,
    passing: BTreeMap<NodeId, Passing<V>>,
    passing_order: VecDeque<NodeId>,
    peers: BTreeMap<NodeId, Peer<V::Wire>>,
    offenders: BTreeMap<NodeId, Offence>,
    /// By prefix.
    wanted: BTreeMap<u64, Wanted>,
    /// Requests under way, oldest first: deadline, prefix, of whom.
    asked: VecDeque<(Mono, u64, NodeId)>,
    /// Announced; may still be pushed until then.
    delayed: VecDeque<(Mono, u64, NodeId)>,
    verifies: Tokens,
    round_at: Mono,
    restless_until: Mono,
    sweep_at: Mono,
    recede_at: Mono,
    /// Pushes or prunings were collected.
    unflushed: bool,
    /// Work waits for a budget.
    tick_at: Option<Mono>,
    /// No peer is due earlier.
    peers_at: Mono,
    outputs: VecDeque<GossipOutput<V>>,
    changed: Option<Wall>,
    stats: Stats,
}

impl<V: Value> Gossip<V> {
    /// A node that knows nothing; `seed` feeds its jitter, its choices and its salts.
    #[must_use]
    pub fn new(config: Config, me: NodeId, seed: [u8; 32], now: Now) -> Self {
        Self {
            me,
            chance: ChaCha8Rng::from_seed(seed),
            table: Table::new(me, config.capacity),
            passing: BTreeMap::new(),
            passing_order: VecDeque::new(),
            peers: BTreeMap::new(),
            offenders: BTreeMap::new(),
            wanted: BTreeMap::new(),
            asked: VecDeque::new(),
            delayed: VecDeque::new(),
            verifies: Tokens::full(VERIFIES, now.mono),
            round_at: now.mono.after(config.round),
            restless_until: now.mono,
            sweep_at: now.mono.after(SWEEP),
            recede_at: now.mono.after(RECEDE_INTERVAL),
            unflushed: false,
            tick_at: None,
            peers_at: Mono::MAX,
            outputs: VecDeque::new(),
            changed: None,
            stats: Stats::default(),
            config,
        }
    }

    /// Puts back what an earlier run persisted; nothing is sent. `local`: published by this node.
    pub fn restore(&mut self, now: Now, values: impl IntoIterator<Item = (V, bool)>) {
        for (value, local) in values {
            if value.expires() > now.wall {
                self.table.put(now, value, 0, local);
            }
        }
        self.table.shed(now);
    }

    /// Decides; queues outputs.
    pub fn handle(&mut self, now: Now, input: GossipInput<V>) {
        match input {
            GossipInput::PeerUp { peer } => {
                self.on_peer_up(now, peer);
                self.expect(&peer);
            }
            GossipInput::PeerDown { peer } => self.on_peer_down(now, &peer),
            GossipInput::Message { from, message } => {
                self.on_message(now, from, message);
                self.expect(&from);
            }
            GossipInput::Publish(value) => self.publish(now, value),
            GossipInput::Wakeup => {}
        }
        self.flush_pushes();
        if self.next_wakeup().is_some_and(|at| at <= now.mono) {
            self.wake(now);
            self.flush_pushes();
            self.peers_at = self.first_due();
        }
        debug_assert!(self.peers_at <= self.first_due(), "a peer would be forgotten");
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<GossipOutput<V>> {
        self.outputs.pop_front()
    }

    /// When to call [`Gossip::handle`] with [`GossipInput::Wakeup`] at the latest.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        let all = [
            (self.peers_at < Mono::MAX).then_some(self.peers_at),
            (!self.peers.is_empty()).then_some(self.round_at),
            (!self.table.is_empty()).then_some(self.sweep_at),
            self.tick_at,
            self.asked.front().map(|(at, ..)| *at),
            self.delayed.front().map(|(at, ..)| *at),
        ];
        all.into_iter().flatten().min()
    }

    /// What this node holds.
    #[must_use]
    pub fn table(&self) -> &Table<V> {
        &self.table
    }

    /// Peers that are up, and whether records are pushed to them.
    pub fn peers(&self) -> impl Iterator<Item = (&NodeId, bool)> {
        self.peers.iter().map(|(id, p)| (id, p.eager))
    }

    /// When a value was last taken from a peer or published here, in this run.
    #[must_use]
    pub fn changed(&self) -> Option<Wall> {
        self.changed
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    // ---- peers

    fn on_peer_up(&mut self, now: Now, peer: NodeId) {
        if peer == self.me || self.peers.contains_key(&peer) || self.peers.len() >= PEERS_MAX {
            return;
        }
        if self.peers.is_empty() {
            self.round_at = now.mono.after(self.config.round);
        }
        let patience = if self.me < peer { Duration::ZERO } else { FIRST_PATIENCE };
        self.peers.insert(peer, Peer::new(now.mono, now.mono.after(patience)));
        self.stir(now);
        self.announce_strays(now, &peer);
    }

    fn on_peer_down(&mut self, now: Now, peer: &NodeId) {
        if self.peers.remove(peer).is_some() {
            self.forsake(now, peer);
        }
    }

    fn is_muted(&self, now: Now, peer: &NodeId) -> bool {
        self.offenders.get(peer).is_some_and(|o| o.muted_until > now.mono)
    }

    fn on_message(&mut self, now: Now, from: NodeId, message: Message<V::Wire>) {
        if self.is_muted(now, &from) {
            self.stats.muted += 1;
            return;
        }
        let len = message.wire_len::<V>();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let budget = &mut peer.budget;
        if !budget.messages_in.take(1, now.mono) || !budget.bytes_in.take(len, now.mono) {
            self.stats.shed += 1;
            return;
        }
        match message {
            Message::Push(list) => self.on_push(now, from, list),
            Message::Have { sync, items } => self.on_have(now, from, sync, &items),
            Message::Want { graft, prefixes } => self.on_want(now, from, graft, prefixes),
            Message::Records(list) => self.on_records(now, from, list),
            Message::Prune => peer.eager = false,
            Message::Ranges(ranges) => self.on_ranges(now, from, &ranges),
        }
    }

    fn send(&mut self, to: NodeId, message: Message<V::Wire>) {
        self.outputs.push_back(GossipOutput::Send { to, message });
    }

    // ---- time

    /// `peer` may be due earlier than anybody was.
    fn expect(&mut self, peer: &NodeId) {
        self.peers_at = self.peers_at.min(self.peers.get(peer).map_or(Mono::MAX, Peer::next_due));
    }

    fn first_due(&self) -> Mono {
        self.peers.values().map(Peer::next_due).min().unwrap_or(Mono::MAX)
    }

    fn wake(&mut self, now: Now) {
        self.tick_at = self.tick_at.filter(|at| *at > now.mono);
        self.flush_haves(now);
        self.pull_due(now);
        self.reconcile_due(now);
        if self.sweep_at <= now.mono {
            self.sweep_at = now.mono.after(SWEEP);
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Now) {
        for id in self.table.sweep(now) {
            self.outputs.push_back(GossipOutput::Forget(id));
        }
        self.passing.retain(|_, p| p.value.expires() > now.wall);
        self.passing_order.retain(|id| self.passing.contains_key(id));
        self.offenders.retain(|_, o| o.muted_until > now.mono || o.forged > 0);
        if self.recede_at <= now.mono && self.table.recede() {
            self.recede_at = now.mono.after(RECEDE_INTERVAL);
            self.stir(now);
        }
    }

    /// Something differs somewhere: compare more often for a while.
    fn stir(&mut self, now: Now) {
        self.restless_until = now.mono.after(RESTLESS);
        let soon = now.mono.after(self.jitter(self.config.round_restless));
        self.round_at = self.round_at.min(soon);
    }

    /// `duration` ± 25 %, so that many nodes do not act in step.
    fn jitter(&mut self, duration: Duration) -> Duration {
        duration * (750 + self.chance.next_u32() % 501) / 1_000
    }
}
