//! Messages: `send`, `outbox`, `recv`, `topic`.

use std::time::Duration;

use data_encoding::HEXLOWER;
use homing_api::agent::Done;
use homing_api::messages::{
    AckRequest, BodyKind, DeliveryState, InboxList, InboxMessage, KeepRequest, OutboxList,
    OutboxMessage, PublishRequest, Published, ReceivedFile, SendRequest, Sent, TopicList,
    TopicSubscription,
};
use homing_api::{ApiError, Code, Schema, Stamp};
use homing_base::{MessageId, NodeId, Topic};
use homing_core::io::{
    Draft, Incoming, MessageCommand, MessageKind, Outgoing, OutgoingState, Subscription,
};
use homing_core::messages::limits::{LIFETIME, LIFETIME_MAX};
use homing_core::messages::wire::file_offer;
use homing_core::{Agent, Answer, Command};

use crate::mailroom::{Follower, Wanted};
use crate::node::{Node, peer_ref, unexpected};

/// Messages acknowledged at once.
const ACK_MAX: usize = 1_024;

impl Node {
    /// Sends a message to a trusted peer: durable when this returns, kept until it is delivered.
    ///
    /// # Errors
    /// `usage` when the body is too long or a file cannot be read, `peer_not_trusted`, `scope_denied`,
    /// `limit_reached` when too much waits for the peer already.
    pub async fn send_message(&self, request: SendRequest) -> Result<Sent, ApiError> {
        let SendRequest { peer, text, json, file, lifetime_ms } = request;
        let lifetime = lifetime_ms.map_or(LIFETIME, Duration::from_millis);
        if lifetime.is_zero() || lifetime > LIFETIME_MAX {
            return Err(ApiError::new(Code::Usage, "a message waits at most 30 days"));
        }
        let reference = peer_ref(&peer)?;
        let (kind, body, source) = match (text, json, file) {
            (Some(text), None, None) => (MessageKind::Text, text.into_bytes(), None),
            (None, Some(json), None) => (MessageKind::Json, json.to_string().into_bytes(), None),
            (None, None, Some(path)) => {
                let (offer, source) = crate::files::offer(&path).await?;
                (MessageKind::File, offer, Some(source))
            }
            _ => {
                return Err(ApiError::new(Code::Usage, "a message is a text, JSON or a file")
                    .why("exactly one of them must be given"));
            }
        };
        let draft = Draft { kind, body, source, lifetime };
        match self.command(&peer, Command::Send { peer: reference, draft }).await? {
            Answer::Sent { peer, id } => {
                Ok(Sent { schema: Schema::new(), id, to: self.summary(peer).await? })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// What is not delivered yet.
    ///
    /// # Errors
    /// When the agent has ended.
    pub async fn outbox(&self) -> Result<OutboxList, ApiError> {
        let held = |agent: &Agent| -> Vec<_> {
            agent.outbox().map(|(message, state)| (message.clone(), state)).collect()
        };
        let mut messages = Vec::new();
        for (message, state) in self.query(held).await? {
            messages.push(self.outbox_entry(&message, state).await?);
        }
        Ok(OutboxList { schema: Schema::new(), messages })
    }

    /// What became of one message.
    ///
    /// # Errors
    /// `not_found` when it is not in the outbox and not among the last that left it.
    pub async fn outbox_message(&self, id: MessageId) -> Result<OutboxMessage, ApiError> {
        let held = move |agent: &Agent| agent.outgoing(id).map(|(m, state)| (m.clone(), state));
        if let Some((message, state)) = self.query(held).await? {
            return self.outbox_entry(&message, state).await;
        }
        let outcome = self.shared.mailroom.outcome(id).ok_or_else(|| {
            ApiError::new(Code::NotFound, format!("no message {id} waits here"))
                .why("it was delivered or given up before this daemon started, or never sent here")
                .hint("homing outbox lists what is not delivered yet")
        })?;
        let state = match outcome.failed {
            None => DeliveryState::Delivered,
            Some(_) => DeliveryState::Failed,
        };
        Ok(OutboxMessage {
            schema: Schema::new(),
            id,
            to: self.summary(outcome.to).await?,
            state,
            why: outcome.failed.map(str::to_owned),
            kind: None,
            topic: None,
            created: None,
            expires: None,
            size_bytes: 0,
            fetched_bytes: 0,
        })
    }

    async fn outbox_entry(
        &self,
        message: &Outgoing,
        state: OutgoingState,
    ) -> Result<OutboxMessage, ApiError> {
        let parcel = &message.parcel;
        let (state, why) = match state {
            OutgoingState::Waiting => (DeliveryState::Waiting, None),
            OutgoingState::Sending => (DeliveryState::Sending, None),
            OutgoingState::Refused(verdict) => (DeliveryState::Refused, Some(verdict.label())),
            OutgoingState::Fetching => (DeliveryState::Fetching, None),
        };
        let offer = file_offer(&parcel.body).filter(|_| parcel.kind == MessageKind::File);
        Ok(OutboxMessage {
            schema: Schema::new(),
            id: parcel.id,
            to: self.summary(message.to).await?,
            state,
            why: why.map(str::to_owned),
            kind: Some(kind_of(parcel.kind)),
            topic: parcel.topic.clone(),
            created: Some(Stamp(parcel.created)),
            expires: Some(Stamp(message.expires)),
            size_bytes: offer.map_or(parcel.body.len() as u64, |offer| offer.size),
            fetched_bytes: self.shared.mailroom.fetched(parcel.id),
        })
    }

    /// Takes a message back that was not delivered; what is on its way may still arrive.
    ///
    /// # Errors
    /// `not_found` when it does not wait here.
    pub async fn cancel_message(&self, id: MessageId) -> Result<Done, ApiError> {
        let command = Command::Messages(MessageCommand::Cancel(id));
        match self.command("the message", command).await? {
            Answer::Done { changed: true } => Ok(Done { schema: Schema::new(), changed: true }),
            _ => Err(ApiError::new(Code::NotFound, format!("no message {id} waits here"))
                .hint("homing outbox lists what is not delivered yet")),
        }
    }

    /// What nobody has acknowledged, oldest first; events of topics are left out. Files that wait at their senders
    /// are fetched from now on.
    ///
    /// # Errors
    /// As for finding the peer.
    pub async fn inbox(&self, from: Option<&str>) -> Result<InboxList, ApiError> {
        let wanted = Wanted { from: self.sender(from).await?, topic: None };
        let look = move |agent: &Agent| (wanted.unread(agent), wanted.offered(agent));
        let (unread, offered) = self.query(look).await?;
        let fetching = offered.len() as u64;
        self.shared.mailroom.ask_for(offered);
        let mut messages = Vec::new();
        for message in unread {
            messages.push(self.inbox_message(message).await?);
        }
        Ok(InboxList { schema: Schema::new(), messages, fetching })
    }

    /// Messages that were read leave the inbox.
    ///
    /// # Errors
    /// `usage` for more than 1,024 at once.
    pub async fn acknowledge(&self, request: &AckRequest) -> Result<Done, ApiError> {
        if request.messages.len() > ACK_MAX {
            let message = format!("at most {ACK_MAX} messages are acknowledged at once");
            return Err(ApiError::new(Code::Usage, message));
        }
        let list = request.messages.iter().map(|message| (message.from, message.id)).collect();
        self.done("the inbox", Command::Messages(MessageCommand::Consume(list))).await
    }

    /// The inbox as it is, then what arrives.
    pub(crate) async fn follow(
        &self,
        from: Option<&str>,
        topic: Option<Topic>,
    ) -> Result<Follower, ApiError> {
        let from = self.sender(from).await?;
        Follower::begin(self, Wanted { from, topic }).await
    }

    /// Tells everybody who subscribed to a topic.
    ///
    /// # Errors
    /// `usage` when the text is too long.
    pub async fn publish(&self, request: PublishRequest) -> Result<Published, ApiError> {
        let PublishRequest { topic, text } = request;
        let command = MessageCommand::Publish { topic, body: text.into_bytes() };
        match self.command("the event", Command::Messages(command)).await? {
            Answer::Published { peers } => {
                Ok(Published { schema: Schema::new(), peers: peers as u64 })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Hears of a topic also while this agent is away, or no more.
    ///
    /// # Errors
    /// `limit_reached` for too many topics.
    pub async fn keep_topic(&self, request: KeepRequest) -> Result<Done, ApiError> {
        let command = MessageCommand::Keep(request.topic, request.keep);
        self.done("the topic", Command::Messages(command)).await
    }

    /// Own subscriptions, and others' to own topics.
    ///
    /// # Errors
    /// When the agent has ended.
    pub async fn topics(&self) -> Result<TopicList, ApiError> {
        let look = |agent: &Agent| (agent.subscriptions(), agent.subscribers());
        let (own, others) = self.query(look).await?;
        let of = |Subscription { topic, keep }, peer| TopicSubscription { topic, keep, peer };
        let mut subscribers = Vec::new();
        for (peer, subscription) in others {
            subscribers.push(of(subscription, Some(self.summary(peer).await?)));
        }
        let subscriptions = own.into_iter().map(|subscription| of(subscription, None)).collect();
        Ok(TopicList { schema: Schema::new(), subscriptions, subscribers })
    }

    /// A message for a face.
    pub(crate) async fn inbox_message(&self, message: Incoming) -> Result<InboxMessage, ApiError> {
        let Incoming { from, parcel, received, file, .. } = message;
        let text = String::from_utf8(parcel.body.clone()).ok();
        let json = text.as_deref().filter(|_| parcel.kind == MessageKind::Json);
        let json = json.and_then(|text| serde_json::from_str(text).ok());
        let is_file = parcel.kind == MessageKind::File;
        let offer = file_offer(&parcel.body).filter(|_| is_file);
        Ok(InboxMessage {
            schema: Schema::new(),
            id: parcel.id,
            from: self.summary(from).await?,
            kind: kind_of(parcel.kind),
            topic: parcel.topic,
            created: Stamp(parcel.created),
            received: Stamp(received),
            text: text.filter(|_| json.is_none() && !is_file),
            json,
            file: offer.zip(file).map(|(offer, path)| ReceivedFile {
                name: offer.name,
                size_bytes: offer.size,
                sha256: HEXLOWER.encode(&offer.sha256),
                path,
            }),
        })
    }

    /// Whom `--from` means, by what is known here.
    async fn sender(&self, from: Option<&str>) -> Result<Option<NodeId>, ApiError> {
        let Some(text) = from else { return Ok(None) };
        let reference = peer_ref(text)?;
        let found = self.query(move |agent| agent.find_known(&reference)).await?;
        let now = self.now().wall;
        found.map(Some).map_err(|failure| crate::problem::of_failure(text, &failure, now))
    }
}

fn kind_of(kind: MessageKind) -> BodyKind {
    match kind {
        MessageKind::Text => BodyKind::Text,
        MessageKind::Json => BodyKind::Json,
        MessageKind::File => BodyKind::File,
        MessageKind::Event => BodyKind::Event,
    }
}
