//! Kademlia with periodic recovery, as a state machine without I/O.
//!
//! ```text
//!            Message / PeerGone / Command / Wakeup
//!                          │ handle
//!   serve ── answers ── drive (lookups) ── recovery (timers)     share: table, flights, values,
//!                          │ poll_output                                  estimates, rates
//!            Send / Done / Newer / Persist
//! ```
//! After Maymounkov & Mazières (IPTPS 2002) with the recovery of Rhea et al. (USENIX ATC 2004). The
//! rules and invariants are in `docs/design/dht.md`, the formats in `spec/08-dht.md`. Contract as for the
//! whole crate: after `handle`, drain `poll_output`; then wait until `next_wakeup` or the next input.
//! Not here: links and dialling, trust, the other discovery layers.

mod answers;
pub mod churn;
mod clustering;
pub mod config;
pub mod contact;
mod drive;
mod flight;
pub mod io;
pub mod limits;
pub mod lookup;
pub mod message;
mod proximity;
pub mod rate;
mod recovery;
mod reunion;
pub mod rtt;
mod serve;
pub mod setting;
pub mod store;
pub mod table;
pub mod value;
pub mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homing_base::{Mono, NodeId, Now};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

pub use config::{Config, Intervals, Mode, Recovery, Unworkable};
pub use contact::{Contact, Distance, Place, Reach};
pub use io::{Class, CommandId, DhtCommand, DhtInput, DhtOutput, Outcome, Report, Stats, Step};
pub use message::{Body, Message, Verdict};
pub use value::{Item, Kind, Slot, Unbelievable, Value};

use churn::Estimates;
use clustering::Roles;
use drive::Lookup;
use flight::{Flights, Purpose};
use proximity::Swaps;
use rate::Rates;
use recovery::Timers;
use rtt::Rtt;
use store::Values;
use table::Table;

use crate::cluster::Topology;

/// Room for outputs that an idle node keeps.
const OUTPUTS_KEPT: usize = 8;

/// One node of the DHT.
#[derive(Debug)]
pub struct Dht<P: Place, V: Value> {
    me: Contact<P>,
    server: bool,
    config: Config,
    chance: ChaCha8Rng,
    table: Table<P>,
    values: Values<V>,
    own: Vec<(Slot, V)>,
    /// Nodes in the network when the one of them was stored that has waited the longest for it to grow.
    own_among: f64,
    rates: Rates,
    rtt: Rtt,
    estimates: Estimates,
    flights: Flights<P>,
    lookups: BTreeMap<u64, Lookup<P, V>>,
    next_lookup: u64,
    verify: VecDeque<Contact<P>>,
    fresh: VecDeque<NodeId>,
    doubted: VecDeque<(u64, Mono)>,
    lost: Vec<Contact<P>>,
    swaps: Swaps,
    topology: Option<Box<Topology>>,
    roles: Roles,
    timers: Timers,
    fill_rounds: u32,
    /// Contacts that were handed out last, to be remembered.
    handed_out: usize,
    started: Mono,
    outputs: VecDeque<DhtOutput<P, V>>,
    stats: Stats,
}

impl<P: Place, V: Value> Dht<P, V> {
    /// A node that knows nobody; `server`: it serves others. Give it [`DhtCommand::Join`].
    ///
    /// # Panics
    /// When [`Config::check`] refuses the settings: check them where they come from.
    #[must_use]
    pub fn new(config: Config, me: Contact<P>, server: bool, seed: [u8; 32], now: Now) -> Self {
        if let Err(unworkable) = config.check() {
            panic!("settings were not checked: {unworkable}");
        }
        let mut chance = ChaCha8Rng::from_seed(seed);
        let mode = config.mode;
        let mut dht = Self {
            table: Table::new(me.id, config.k, config.ip_caps),
            values: Values::new(me.id, config.quota),
            own: Vec::new(),
            own_among: 1.0,
            rates: Rates::new(chance.next_u64(), now.mono),
            rtt: Rtt::default(),
            estimates: Estimates::new(now.mono),
            flights: Flights::new(chance.next_u32()),
            lookups: BTreeMap::new(),
            next_lookup: 1,
            verify: VecDeque::new(),
            fresh: VecDeque::new(),
            doubted: VecDeque::new(),
            lost: Vec::new(),
            swaps: Swaps::default(),
            topology: None,
            roles: Roles::new(now.mono),
            timers: Timers::default(),
            fill_rounds: 0,
            handed_out: 0,
            started: now.mono,
            outputs: VecDeque::new(),
            stats: Stats::default(),
            me,
            server,
            config,
            chance,
        };
        dht.set_mode(mode, now);
        dht
    }

    /// Decides; queues outputs.
    pub fn handle(&mut self, now: Now, input: DhtInput<P, V>) {
        match input {
            DhtInput::Message { from, message } if from.id == self.me.id => drop(message),
            DhtInput::Message { from, message } if message.body.is_answer() => {
                self.on_answer(from, message, now);
            }
            DhtInput::Message { from, message } => self.on_request(from, message, now),
            DhtInput::PeerGone { peer } => self.on_peer_gone(&peer, now),
            DhtInput::Dialling { peer } => self.flights.hold(&peer, now.mono),
            DhtInput::Connected { peer } => self.flights.release(&peer, now.mono),
            DhtInput::Moved { contact } => self.table.relocate(&contact),
            DhtInput::Stranger { contact } => self.on_stranger(contact, now),
            DhtInput::Command { id, command } => self.on_command(id, command, now),
            DhtInput::Wakeup => self.on_wakeup(now),
        }
        self.arm_verification(now);
    }

    /// The next output, in order.
    pub fn poll_output(&mut self) -> Option<DhtOutput<P, V>> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() && self.outputs.capacity() > OUTPUTS_KEPT {
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When [`DhtInput::Wakeup`] is due.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        let next = self.timers.next().min(self.flights.next_deadline());
        (next < Mono::MAX).then_some(next)
    }

    /// Who we are.
    #[must_use]
    pub fn me(&self) -> &Contact<P> {
        &self.me
    }

    /// The role changed: reachability was proven, or lost.
    pub fn set_server(&mut self, server: bool) {
        self.server = server;
    }

    /// For experiments: deal with failures in another way from now on.
    pub fn set_recovery(&mut self, recovery: Recovery) {
        self.config.recovery = recovery;
    }

    /// The routing table.
    #[must_use]
    pub fn table(&self) -> &Table<P> {
        &self.table
    }

    /// The values held for others.
    #[must_use]
    pub fn values(&self) -> &Values<V> {
        &self.values
    }

    /// What was observed about the network.
    #[must_use]
    pub fn estimates(&self) -> &Estimates {
        &self.estimates
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The intervals in force.
    #[must_use]
    pub fn intervals(&self) -> Intervals {
        let members = self.table.members().len();
        let intervals =
            Intervals::of(self.estimates.session(), self.table.len() - members, &self.config);
        if self.sharing_members().is_some() { intervals.shared() } else { intervals }
    }

    fn on_command(&mut self, id: CommandId, command: DhtCommand<P, V>, now: Now) {
        match command {
            DhtCommand::FindNode { target } => self.find_node(id, target, now),
            DhtCommand::FindValue { slot } => self.find_value(id, slot, now),
            DhtCommand::Put { slot, value, keep } => {
                if keep {
                    self.own.retain(|(s, _)| *s != slot);
                    let others = if self.own.is_empty() { f64::INFINITY } else { self.own_among };
                    self.own_among = others.min(self.size());
                    self.own.push((slot, value.clone()));
                }
                self.put(Some(id), slot, value, Class::Command, now);
            }
            DhtCommand::Join { seeds } => self.join(id, seeds, now),
            DhtCommand::Leave => self.leave(id),
        }
    }

    fn leave(&mut self, id: CommandId) {
        let siblings: Vec<_> = self.table.siblings().map(|e| e.contact.clone()).collect();
        for to in siblings {
            self.tell(to, 0, Body::Leaving, Class::Maintenance);
        }
        self.finish(id, Outcome::Refused, Report::default());
    }

    fn finish(&mut self, id: CommandId, outcome: Outcome<P, V>, report: Report) {
        self.outputs.push_back(DhtOutput::Done { id, outcome, report });
    }

    /// Sends a message that expects no answer.
    fn tell(&mut self, to: Contact<P>, id: u32, body: Body<P, V::Wire>, class: Class) {
        let message = Message { id, server: self.server, body };
        self.outputs.push_back(DhtOutput::Send { to, message, class });
    }

    /// Sends a request; `false` if too many are under way.
    fn ask(&mut self, to: Contact<P>, body: Body<P, V::Wire>, purpose: Purpose, now: Now) -> bool {
        let entry = self.table.entry(&to.id);
        let (rtt, failures) = entry.map_or((Rtt::default(), 0), |e| (e.rtt, e.failures));
        let timeout = rtt.timeout(failures, &self.rtt);
        let class = purpose.class();
        let Some(id) = self.flights.depart(to.clone(), purpose, timeout, now.mono) else {
            self.stats.shed += 1;
            return false;
        };
        self.stats.requests += 1;
        self.tell(to, id, body, class);
        true
    }

    /// `interval` ± 25 %.
    fn jittered(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(0.75 + 0.5 * self.unit())
    }

    /// A random number in 0..1.
    fn unit(&mut self) -> f64 {
        f64::from(self.chance.next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    /// A random index below `n`, which is not zero.
    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}
