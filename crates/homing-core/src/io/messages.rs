//! Messages between agents as user, shell and store see them. Plain values.
//!
//! The decisions are in `agent::messaging`, the machine in [`crate::messages`].

use std::time::Duration;

use homing_base::{MessageId, NodeId, Topic, Wall};
use minicbor::{Decode, Encode};

use crate::messages::limits;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum MessageKind {
    /// UTF-8 text.
    #[n(1)]
    Text,
    /// JSON, as text.
    #[n(2)]
    Json,
    /// A [`FileOffer`]: the file is fetched by the receiver.
    #[n(3)]
    File,
    /// An event of a topic: text or JSON.
    #[n(4)]
    Event,
}

/// What a message of kind [`MessageKind::File`] says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FileOffer {
    /// What the sender calls it; a hint, never a path.
    #[n(1)]
    pub name: String,
    /// Bytes.
    #[n(2)]
    pub size: u64,
    /// SHA-256 of the content.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

/// Where the sender keeps a file that it has offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Absolute path.
    pub path: String,
    /// Time of the last change in nanoseconds since 1970, when it was hashed.
    pub modified_ns: i64,
}

/// A message that shall be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What the body is.
    pub kind: MessageKind,
    /// At most [`limits::BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// For [`MessageKind::File`].
    pub source: Option<FileSource>,
    /// Given up after this long; at most [`limits::LIFETIME_MAX`].
    pub lifetime: Duration,
}

/// A message as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parcel {
    /// Drawn by the sender.
    #[n(1)]
    pub id: MessageId,
    /// By the sender's clock, in ms since 1970.
    #[n(2)]
    pub created: Wall,
    /// What the body is.
    #[n(3)]
    pub kind: MessageKind,
    /// Of an event.
    #[n(4)]
    pub topic: Option<Topic>,
    /// At most [`limits::BODY_BYTES_MAX`].
    #[cbor(n(5), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Orders this agent's outbox.
    pub number: u64,
    /// For whom.
    pub to: NodeId,
    /// What.
    pub parcel: Parcel,
    /// Given up then, by our clock.
    pub expires: Wall,
    /// For [`MessageKind::File`].
    pub source: Option<FileSource>,
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Orders this agent's inbox.
    pub number: u64,
    /// From whom, proven by the link.
    pub from: NodeId,
    /// What.
    pub parcel: Parcel,
    /// When, by our clock.
    pub received: Wall,
    /// Of a file, once it was fetched and verified: where it is.
    pub file: Option<String>,
}

impl Incoming {
    /// Whether there is something to show: a file must have been fetched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.parcel.kind != MessageKind::File || self.file.is_some()
    }
}

/// What became of a message at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Verdict {
    /// Durable there. A file will be fetched.
    #[n(1)]
    Accepted,
    /// The file was fetched and verified.
    #[n(2)]
    Fetched,
    /// No room now: keep it.
    #[n(3)]
    Full,
    /// There is no mutual trust: keep it.
    #[n(4)]
    NotTrusted,
    /// The trust does not cover it: keep it.
    #[n(5)]
    ScopeDenied,
    /// The file is larger than the receiver takes.
    #[n(6)]
    TooLarge,
    /// The file is no longer what was offered.
    #[n(7)]
    Changed,
    /// What was fetched is not what was offered.
    #[n(8)]
    Corrupt,
    /// The file could not be fetched in time.
    #[n(9)]
    GaveUp,
}

impl Verdict {
    /// The sender keeps the message and tries again.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Full | Self::NotTrusted | Self::ScopeDenied)
    }

    /// The receiver has all there is.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Accepted | Self::Fetched)
    }

    /// In one word, for programs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Fetched => "fetched",
            Self::Full => "inbox_full",
            Self::NotTrusted => "not_trusted",
            Self::ScopeDenied => "scope_denied",
            Self::TooLarge => "too_large",
            Self::Changed => "file_changed",
            Self::Corrupt => "file_corrupt",
            Self::GaveUp => "gave_up",
        }
    }
}

/// A message that was answered for, so that a copy of it is known as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Orders the memory; the lowest is forgotten first.
    pub number: u64,
    /// Who sent it.
    pub from: NodeId,
    /// Its ID.
    pub id: MessageId,
    /// What was answered.
    pub verdict: Verdict,
}

/// One topic that an agent wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Subscription {
    /// Which.
    #[n(1)]
    pub topic: Topic,
    /// Also what is published while it is away.
    #[n(2)]
    pub keep: bool,
}

/// Durable changes of messages.
#[derive(Clone, Debug, PartialEq)]
pub enum MessageWrite {
    /// A new message in the outbox.
    Outgoing(Outgoing),
    /// It left the outbox.
    ForgetOutgoing(u64),
    /// A message in the inbox, in place of the same one before.
    Incoming(Incoming),
    /// It left the inbox.
    ForgetIncoming(u64),
    /// It was answered for, in place of the answer before.
    Seen(Seen),
    /// No longer remembered.
    ForgetSeen(NodeId, MessageId),
    /// A subscription that is kept; of this agent itself, or of a peer to this agent's topics.
    Subscriber(NodeId, Topic),
    /// It ended.
    ForgetSubscriber(NodeId, Topic),
}

/// What is read back at start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredMessages {
    /// The outbox.
    pub outgoing: Vec<Outgoing>,
    /// The inbox.
    pub incoming: Vec<Incoming>,
    /// What was answered for.
    pub seen: Vec<Seen>,
    /// Kept subscriptions, the own ones and those of peers.
    pub subscribers: Vec<(NodeId, Topic)>,
}

/// What the local user can want of messages, beside [`super::Command::Send`].
#[derive(Clone, Debug)]
pub enum MessageCommand {
    /// Do not send it after all. What is on its way may still arrive.
    Cancel(MessageId),
    /// These were taken in: they leave the inbox.
    Consume(Vec<(NodeId, MessageId)>),
    /// A file was fetched to this path, or will not be.
    Fetched {
        /// Who offered it.
        from: NodeId,
        /// Its message.
        id: MessageId,
        /// Where it is, or why not.
        outcome: Result<String, Verdict>,
    },
    /// These topics are heard now, until the next such list.
    Listen(Vec<Topic>),
    /// A topic is heard from now on, also what is published while this agent is away; or no more.
    Keep(Topic, bool),
    /// Tell everybody who subscribed.
    Publish {
        /// About what.
        topic: Topic,
        /// Text or JSON.
        body: Vec<u8>,
    },
}

/// Something about a message that a user or the shell would notice.
#[derive(Clone, Debug, PartialEq)]
pub enum MessageEvent {
    /// It can be read. Events that nobody keeps are nowhere but here.
    Arrived(Box<Incoming>),
    /// A file waits to be fetched.
    Offered {
        /// By whom.
        from: NodeId,
        /// Its message.
        id: MessageId,
    },
    /// The receiver has it.
    Delivered {
        /// Who.
        to: NodeId,
        /// Which.
        id: MessageId,
    },
    /// It will not be delivered.
    Failed {
        /// To whom.
        to: NodeId,
        /// Which.
        id: MessageId,
        /// `expired`, `cancelled`, or [`Verdict::label`].
        why: &'static str,
    },
}

/// How far a message in the outbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// The peer is away, or its trust is.
    Waiting,
    /// Sent, not answered yet; or it is its turn soon.
    Sending,
    /// The receiver has no room, or does not let us: said with its word.
    Refused(Verdict),
    /// The receiver fetches the file.
    Fetching,
}

/// Counters and sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessagesView {
    /// Messages in the outbox.
    pub outbox: usize,
    /// Their bytes.
    pub outbox_bytes: usize,
    /// Messages in the inbox.
    pub inbox: usize,
    /// Their bytes.
    pub inbox_bytes: usize,
    /// Delivered since the start.
    pub delivered: u64,
    /// Received since the start.
    pub received: u64,
    /// Copies received again.
    pub duplicates: u64,
    /// Refused because of a bound.
    pub refused: u64,
}

/// What a body costs beside its bytes, in every bound that counts bytes.
#[must_use]
pub(crate) fn cost(parcel: &Parcel) -> usize {
    parcel.body.len() + limits::OVERHEAD_BYTES
}
