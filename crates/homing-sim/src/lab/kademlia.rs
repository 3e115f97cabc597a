//! The daemon's own DHT as a machine of the lab, in each of its modes.

use homing_base::{Mono, NodeId, Now};
use homing_core::dht::{
    Class, CommandId, Contact, Dht, DhtCommand, DhtInput, DhtOutput, Message, Outcome, Slot, Value,
};

use super::machine::{Act, Done, Machine, Setup};
use crate::dht::adversary::{Colluders, Role};
use crate::dht::oracle::Oracle;
use crate::dht::value::{SimPlace, Token};

pub(crate) struct Kademlia {
    dht: Box<Dht<SimPlace, Token>>,
}

impl Kademlia {
    fn command(&mut self, now: Now, op: u32, command: DhtCommand<SimPlace, Token>) {
        let id = CommandId(u64::from(op));
        self.dht.handle(now, DhtInput::Command { id, command });
    }
}

impl Machine for Kademlia {
    type Message = Box<Message<SimPlace, <Token as Value>::Wire>>;

    fn new(setup: &Setup, me: Contact<SimPlace>, server: bool, seed: [u8; 32], now: Now) -> Self {
        Self { dht: Box::new(Dht::new(setup.config.clone(), me, server, seed, now)) }
    }

    fn join(&mut self, now: Now, op: u32, seeds: Vec<Contact<SimPlace>>) {
        self.command(now, op, DhtCommand::Join { seeds });
    }

    fn publish(&mut self, now: Now, op: u32, record: Token) {
        let slot = Slot::agent(record.signer());
        self.command(now, op, DhtCommand::Put { slot, value: record, keep: true });
    }

    fn find(&mut self, now: Now, op: u32, agent: NodeId) {
        self.command(now, op, DhtCommand::FindValue { slot: Slot::agent(agent) });
    }

    fn receive(&mut self, now: Now, from: Contact<SimPlace>, message: Self::Message) {
        self.dht.handle(now, DhtInput::Message { from, message: *message });
    }

    fn wake(&mut self, now: Now) {
        self.dht.handle(now, DhtInput::Wakeup);
    }

    fn poll(&mut self) -> Option<Act<Self::Message>> {
        loop {
            return Some(match self.dht.poll_output()? {
                DhtOutput::Send { to, message, class } => {
                    Act::Send { to: to.place.handle, class, message: Box::new(message) }
                }
                DhtOutput::Done { id, outcome, report } => {
                    let (found, stored) = match outcome {
                        Outcome::Values(values) => (values, 0),
                        Outcome::Stored { replicas, .. } => (Vec::new(), replicas),
                        _ => (Vec::new(), 0),
                    };
                    let done = Done {
                        found,
                        stored,
                        hops: u32::from(report.hops),
                        requests: report.requests,
                        timeouts: report.timeouts,
                        elapsed: report.elapsed,
                    };
                    Act::Done { op: u32::try_from(id.0).unwrap_or(u32::MAX), done }
                }
                DhtOutput::Newer { .. } | DhtOutput::Persist { .. } => continue,
            });
        }
    }

    fn next_wakeup(&self) -> Option<Mono> {
        self.dht.next_wakeup()
    }

    fn neighbours(&self) -> Vec<u32> {
        self.dht.table().siblings().map(|e| e.contact.place.handle).collect()
    }

    fn holds(&self, now: Now, agent: &NodeId) -> bool {
        self.dht.values().find(&Slot::agent(*agent), now).next().is_some()
    }

    fn depth(&self) -> Option<u8> {
        self.dht.leaf().map(|leaf| leaf.depth)
    }

    fn truth(serving: &Oracle, me: &Contact<SimPlace>, k: usize) -> Vec<u32> {
        serving.closest(&me.id, k, Some(me.place.handle))
    }

    fn is_answer(message: &Self::Message) -> bool {
        message.body.is_answer()
    }

    fn wire_len(message: &Self::Message) -> usize {
        message.wire_len::<Token>()
    }

    fn lie(
        message: &Self::Message,
        colluders: &Colluders,
        me: &NodeId,
        forge: bool,
        now: Now,
    ) -> Option<Self::Message> {
        let role = if forge { Role::Forger } else { Role::Liar };
        let body = colluders.answer::<Token>(role, me, &message.body, now.wall)?;
        Some(Box::new(Message { id: message.id, server: true, body }))
    }
}

/// A message that answers costs what its request was for.
pub(crate) fn class_of(answer: bool, own: Class, asked: Class) -> Class {
    if answer { asked } else { own }
}
