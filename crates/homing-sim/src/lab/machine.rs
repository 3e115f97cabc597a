//! What a world drives: a node of some strategy, without time or sockets of its own.

use std::time::Duration;

use homing_base::{Mono, NodeId, Now};
use homing_core::dht::{Class, Config, Contact};

use crate::dht::adversary::Colluders;
use crate::dht::oracle::Oracle;
use crate::dht::value::{SimPlace, Token};

/// What every node of a world starts with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    /// The session that an agent has to expect.
    pub(crate) session: Duration,
}

/// What a node wants done.
pub(crate) enum Act<M> {
    Send { to: u32, class: Class, message: M },
    Done { op: u32, done: Done },
}

/// How an operation ended.
pub(crate) struct Done {
    pub(crate) found: Vec<Token>,
    pub(crate) stored: usize,
    pub(crate) hops: u32,
    pub(crate) requests: u32,
    pub(crate) timeouts: u32,
    pub(crate) elapsed: Duration,
}

/// A node.
pub(crate) trait Machine: Sized {
    type Message;

    fn new(setup: &Setup, me: Contact<SimPlace>, server: bool, seed: [u8; 32], now: Now) -> Self;
    fn join(&mut self, now: Now, op: u32, seeds: Vec<Contact<SimPlace>>);
    fn publish(&mut self, now: Now, op: u32, record: Token);
    fn find(&mut self, now: Now, op: u32, agent: NodeId);
    fn receive(&mut self, now: Now, from: Contact<SimPlace>, message: Self::Message);
    fn wake(&mut self, now: Now);
    fn poll(&mut self) -> Option<Act<Self::Message>>;
    fn next_wakeup(&self) -> Option<Mono>;
    /// Whom it holds for the nodes next to it.
    fn neighbours(&self) -> Vec<u32>;
    /// Whether it holds the record of this agent.
    fn holds(&self, now: Now, agent: &NodeId) -> bool;
    /// How deep its cluster stands, where there are clusters.
    fn depth(&self) -> Option<u8>;

    /// Who really is next to `me`.
    fn truth(serving: &Oracle, me: &Contact<SimPlace>, k: usize) -> Vec<u32>;
    fn is_answer(message: &Self::Message) -> bool;
    fn wire_len(message: &Self::Message) -> usize;
    /// What a liar answers; `None`: what everybody would.
    fn lie(
        message: &Self::Message,
        colluders: &Colluders,
        me: &NodeId,
        forge: bool,
        now: Now,
    ) -> Option<Self::Message>;
}
