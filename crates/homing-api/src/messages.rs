//! Messages between agents: `send`, `outbox`, `recv`, `topic`.
//!
//! ```text
//! POST /v1/messages            SendRequest → Sent          durable when it is answered
//! GET  /v1/outbox/{id}         OutboxMessage               poll it to learn what became of it
//! GET  /v1/inbox               Inbox                       stays until POST /v1/inbox/ack
//! GET  /v1/inbox/events        SSE: event: ready, then event: message  data: InboxMessage
//! GET  /v1/topics/events       the same for one topic; it is subscribed as long as the response is read
//! ```
//! At least once: whoever reads a message acknowledges it afterwards; until then it is shown again.

use homing_base::{MessageId, NodeId, Topic};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::peers::PeerSummary;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// `POST /v1/messages`: exactly one of `text`, `json` and `file`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SendRequest {
    /// To whom: name, address or node ID.
    pub peer: String,
    /// A text, at most 32 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A JSON value, at most 32 KiB as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Absolute path of a file that stays where it is until it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Given up after this long, at most 30 days; 7 days if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_ms: Option<u64>,
}

/// The message is in the outbox, durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// `homing.sent/v1`.
    pub schema: Schema<Sent>,
    /// For `GET /v1/outbox/{id}`.
    pub id: MessageId,
    /// For whom.
    pub to: PeerSummary,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// UTF-8 text.
    Text,
    /// A JSON value.
    Json,
    /// A file.
    File,
    /// An event of a topic.
    Event,
}

impl BodyKind {
    /// As JSON writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::File => "file",
            Self::Event => "event",
        }
    }
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The peer is away.
    Waiting,
    /// On its way, not answered yet.
    Sending,
    /// The receiver does not take it now; `why` says why. It is tried again.
    Refused,
    /// The receiver fetches the file.
    Fetching,
    /// The receiver has it.
    Delivered,
    /// It will not be delivered; `why` says why.
    Failed,
}

impl DeliveryState {
    /// As JSON writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Refused => "refused",
            Self::Fetching => "fetching",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// Nothing changes any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed)
    }
}

/// One message of this agent's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// `homing.outbox_message/v1`.
    pub schema: Schema<OutboxMessage>,
    /// Its ID.
    pub id: MessageId,
    /// For whom.
    pub to: PeerSummary,
    /// How far it is.
    pub state: DeliveryState,
    /// `inbox_full`, `not_trusted`, `scope_denied`, `too_large`, `file_changed`, `file_corrupt`, `gave_up`,
    /// `expired` or `cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it is; unknown once it has left the outbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<BodyKind>,
    /// Of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Stamp>,
    /// When it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Stamp>,
    /// Bytes of the body, or of the file.
    pub size_bytes: u64,
    /// Bytes of the file that the receiver has fetched in this run.
    pub fetched_bytes: u64,
}

/// `GET /v1/outbox`: what is not delivered yet, oldest first per peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxList {
    /// `homing.outbox/v1`.
    pub schema: Schema<OutboxList>,
    /// The messages.
    pub messages: Vec<OutboxMessage>,
}

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceivedFile {
    /// What the sender calls it. Not a path.
    pub name: String,
    /// Bytes.
    pub size_bytes: u64,
    /// SHA-256 of its content, verified; 64 hexadecimal digits.
    pub sha256: String,
    /// Where it is on this machine.
    pub path: String,
}

/// One message that arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InboxMessage {
    /// `homing.message/v1`.
    pub schema: Schema<InboxMessage>,
    /// Its ID, drawn by the sender.
    pub id: MessageId,
    /// Who sent it, proven.
    pub from: PeerSummary,
    /// What it is.
    pub kind: BodyKind,
    /// Of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// By the sender's clock.
    pub created: Stamp,
    /// By this machine's clock.
    pub received: Stamp,
    /// Of a text or event; of a JSON body that is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Of a JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<ReceivedFile>,
}

/// `GET /v1/inbox[?from=][&topic=]`: what nobody has acknowledged, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InboxList {
    /// `homing.inbox/v1`.
    pub schema: Schema<InboxList>,
    /// The messages.
    pub messages: Vec<InboxMessage>,
    /// Files that are offered and not here yet; they are fetched from now on, however large.
    #[serde(default)]
    pub fetching: u64,
}

/// First event of a stream of messages: from now on nothing is missed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FollowReady {
    /// `homing.follow_ready/v1`.
    pub schema: Schema<FollowReady>,
}

/// A message as its receiver names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRef {
    /// Who sent it.
    pub from: NodeId,
    /// Its ID.
    pub id: MessageId,
}

/// `POST /v1/inbox/ack`: these were read and leave the inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// At most 1,024.
    pub messages: Vec<MessageRef>,
}

/// `POST /v1/topics/publish`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// About what.
    pub topic: Topic,
    /// What happened, at most 32 KiB.
    pub text: String,
}

/// The event is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// `homing.published/v1`.
    pub schema: Schema<Published>,
    /// To so many subscribers.
    pub peers: u64,
}

/// `POST /v1/topics/keep`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepRequest {
    /// Which.
    pub topic: Topic,
    /// Hear of it also while this agent is away, or no more.
    pub keep: bool,
}

/// Somebody's subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicSubscription {
    /// Which.
    pub topic: Topic,
    /// Also what is published while the subscriber is away.
    pub keep: bool,
    /// Who; absent for this agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerSummary>,
}

/// `GET /v1/topics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicList {
    /// `homing.topics/v1`.
    pub schema: Schema<TopicList>,
    /// What this agent hears of.
    pub subscriptions: Vec<TopicSubscription>,
    /// Who hears of what this agent publishes.
    pub subscribers: Vec<TopicSubscription>,
}

described! {
    Sent => "homing.sent/v1",
    OutboxMessage => "homing.outbox_message/v1",
    OutboxList => "homing.outbox/v1",
    InboxMessage => "homing.message/v1",
    InboxList => "homing.inbox/v1",
    FollowReady => "homing.follow_ready/v1",
    Published => "homing.published/v1",
    TopicList => "homing.topics/v1",
}
