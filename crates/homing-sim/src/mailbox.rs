//! The durable rows of messages between agents, and what must never happen to them.

use std::collections::BTreeMap;

use homing_base::{MessageId, NodeId, Topic};
use homing_core::io::{Incoming, MessageWrite, Outgoing, Seen, StoredMessages};

/// Outbox, inbox, answers, subscriptions; and everything that was ever taken in.
#[derive(Clone, Debug, Default)]
pub struct Mailbox {
    outgoing: BTreeMap<u64, Outgoing>,
    incoming: BTreeMap<u64, Incoming>,
    seen: BTreeMap<(NodeId, MessageId), Seen>,
    subscribers: BTreeMap<(NodeId, Topic), ()>,
    /// Messages in the order in which they became durable, copies included.
    pub arrived: Vec<(NodeId, MessageId)>,
}

impl Mailbox {
    /// Performs one change.
    pub fn write(&mut self, write: MessageWrite) {
        match write {
            MessageWrite::Outgoing(message) => {
                self.outgoing.insert(message.number, message);
            }
            MessageWrite::ForgetOutgoing(number) => {
                self.outgoing.remove(&number);
            }
            MessageWrite::Incoming(message) => {
                let news = (message.from, message.parcel.id);
                if self.incoming.insert(message.number, message).is_none() {
                    self.arrived.push(news);
                }
            }
            MessageWrite::ForgetIncoming(number) => {
                self.incoming.remove(&number);
            }
            MessageWrite::Seen(seen) => {
                self.seen.insert((seen.from, seen.id), seen);
            }
            MessageWrite::ForgetSeen(from, id) => {
                self.seen.remove(&(from, id));
            }
            MessageWrite::Subscriber(peer, topic) => {
                self.subscribers.insert((peer, topic), ());
            }
            MessageWrite::ForgetSubscriber(peer, topic) => {
                self.subscribers.remove(&(peer, topic));
            }
        }
    }

    /// What a new run reads back.
    #[must_use]
    pub fn stored(&self) -> StoredMessages {
        StoredMessages {
            outgoing: self.outgoing.values().cloned().collect(),
            incoming: self.incoming.values().cloned().collect(),
            seen: self.seen.values().copied().collect(),
            subscribers: self.subscribers.keys().cloned().collect(),
        }
    }
}
