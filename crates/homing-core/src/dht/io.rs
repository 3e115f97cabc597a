//! What can happen to a DHT node, and what it asks for.

use std::time::Duration;

use homing_base::NodeId;

use super::contact::Contact;
use super::message::Message;
use super::value::{Slot, Value};

/// Names a command in its [`DhtOutput::Done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// What can happen.
#[derive(Clone, Debug)]
pub enum DhtInput<P, V: Value> {
    /// A message of a peer whose identity and place are proven.
    Message {
        /// Who.
        from: Contact<P>,
        /// What.
        message: Message<P, V::Wire>,
    },
    /// A peer cannot be reached, or its connection broke.
    PeerGone {
        /// Who.
        peer: NodeId,
    },
    /// What was to be sent to a peer waits for a connection.
    Dialling {
        /// Who.
        peer: NodeId,
    },
    /// The connection stands, and what waited for it leaves now.
    Connected {
        /// Who.
        peer: NodeId,
    },
    /// A peer is known to be elsewhere now.
    Moved {
        /// Who, and where.
        contact: Contact<P>,
    },
    /// Somebody who serves and whom the table does not hold: perhaps of another network.
    Stranger {
        /// Who, and where.
        contact: Contact<P>,
    },
    /// The agent wants something.
    Command {
        /// Names the answer.
        id: CommandId,
        /// What.
        command: DhtCommand<P, V>,
    },
    /// A deadline passed.
    Wakeup,
}

/// What the agent can want.
#[derive(Clone, Debug)]
pub enum DhtCommand<P, V> {
    /// The k nodes closest to a point.
    FindNode {
        /// The point.
        target: NodeId,
    },
    /// The values of a slot.
    FindValue {
        /// The slot.
        slot: Slot,
    },
    /// Store a value at the k closest nodes.
    Put {
        /// Where.
        slot: Slot,
        /// What.
        value: V,
        /// Store it anew every republish interval.
        keep: bool,
    },
    /// Enter the network through these nodes.
    Join {
        /// Nodes believed to be there; none of them is trusted more than others.
        seeds: Vec<Contact<P>>,
    },
    /// Say goodbye to the siblings.
    Leave,
}

/// What the node asks for, in order.
#[derive(Clone, Debug)]
pub enum DhtOutput<P, V: Value> {
    /// Send a message; dial first if needed.
    Send {
        /// To whom.
        to: Contact<P>,
        /// What.
        message: Message<P, V::Wire>,
        /// What for.
        class: Class,
    },
    /// A command came to its end.
    Done {
        /// Which.
        id: CommandId,
        /// How.
        outcome: Outcome<P, V>,
        /// At what price.
        report: Report,
    },
    /// After the end of a `FindValue`, a replica showed a newer value.
    Newer {
        /// Which command.
        id: CommandId,
        /// The value.
        value: V,
    },
    /// Contacts to remember for the next start, best first.
    Persist {
        /// At most 64.
        contacts: Vec<Contact<P>>,
    },
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Keeping the table and the replicas right.
    Maintenance,
    /// A command.
    Command,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<P, V> {
    /// The k closest live nodes, closest first.
    Nodes(Vec<Contact<P>>),
    /// Verified values: the newest per signer.
    Values(Vec<V>),
    /// Everybody who should hold it was asked; nobody did.
    NotFound,
    /// Stored.
    Stored {
        /// Nodes that keep it now.
        replicas: usize,
        /// Nodes that were asked to.
        asked: usize,
    },
    /// In the network (or alone, if no seed answered).
    Joined {
        /// Contacts in the table.
        contacts: usize,
    },
    /// Too many lookups at once, or nothing to do.
    Refused,
}

/// The price of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps from our own table to the answer.
    pub hops: u8,
    /// Requests sent.
    pub requests: u32,
    /// Requests not answered in time.
    pub timeouts: u32,
    /// From command to end.
    pub elapsed: Duration,
    /// A region query was needed.
    pub region: bool,
    /// Nodes that had shown a value when the lookup ended.
    pub holders: u32,
    /// Of these, the ones that had shown the newest.
    pub agreed: u32,
    /// Each answered or failed request, if asked for by [`super::Config::trace`].
    pub steps: Vec<Step>,
}

/// One request of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whom.
    pub peer: NodeId,
    /// Steps from our own table.
    pub depth: u8,
    /// When, after the start.
    pub at: Duration,
    /// Whether an answer came.
    pub answered: bool,
}

/// Counters since the start. Monotone, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests sent.
    pub requests: u64,
    /// Requests not answered within their RTO.
    pub timeouts: u64,
    /// Answers to nothing we asked.
    pub unsolicited: u64,
    /// Values that did not verify, in answers or stores.
    pub unverified: u64,
    /// Requests refused because of rate or quota.
    pub shed: u64,
    /// Contacts evicted.
    pub evicted: u64,
    /// Contacts replaced by faster ones.
    pub replaced: u64,
    /// Region queries made.
    pub regions: u64,
    /// Leafset exchanges begun.
    pub exchanges: u64,
}
