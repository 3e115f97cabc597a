//! The calls about messages. Every error is as [`super`] says.

use homing_base::{MessageId, Topic};

use super::{Client, EventStream, with_query};
use crate::agent::Done;
use crate::error::ApiError;
use crate::messages::{
    AckRequest, InboxList, KeepRequest, MessageRef, OutboxList, OutboxMessage, PublishRequest,
    Published, SendRequest, Sent, TopicList,
};
use crate::operations as op;

impl Client {
    /// Send a message to a trusted peer.
    ///
    /// # Errors
    /// See the module.
    pub async fn send_message(&self, request: &SendRequest) -> Result<Sent, ApiError> {
        self.post(op::MESSAGES, request).await
    }

    /// What is not delivered yet.
    ///
    /// # Errors
    /// See the module.
    pub async fn outbox(&self) -> Result<OutboxList, ApiError> {
        self.fetch(op::OUTBOX).await
    }

    /// What became of one message; the last 256 that left the outbox are remembered.
    ///
    /// # Errors
    /// See the module.
    pub async fn outbox_message(&self, id: MessageId) -> Result<OutboxMessage, ApiError> {
        self.fetch(&op::OUTBOX_ONE.replace("{id}", &id.to_string())).await
    }

    /// Take a message back that was not delivered.
    ///
    /// # Errors
    /// See the module.
    pub async fn cancel_message(&self, id: MessageId) -> Result<Done, ApiError> {
        let path = op::OUTBOX_CANCEL.replace("{id}", &id.to_string());
        self.post(&path, &serde_json::json!({})).await
    }

    /// What nobody has acknowledged.
    ///
    /// # Errors
    /// See the module.
    pub async fn inbox(&self, from: Option<&str>) -> Result<InboxList, ApiError> {
        self.fetch(&with_query(op::INBOX, &[("from", from)])).await
    }

    /// What is in the inbox, and what arrives.
    ///
    /// # Errors
    /// See the module.
    pub async fn follow_inbox(&self, from: Option<&str>) -> Result<EventStream, ApiError> {
        self.stream_events(&with_query(op::INBOX_EVENTS, &[("from", from)]), None).await
    }

    /// These were read.
    ///
    /// # Errors
    /// See the module.
    pub async fn acknowledge(&self, messages: Vec<MessageRef>) -> Result<Done, ApiError> {
        self.post(op::INBOX_ACK, &AckRequest { messages }).await
    }

    /// Events of a topic, as long as the stream is read.
    ///
    /// # Errors
    /// See the module.
    pub async fn follow_topic(
        &self,
        topic: &Topic,
        from: Option<&str>,
    ) -> Result<EventStream, ApiError> {
        let query = [("topic", Some(topic.as_str())), ("from", from)];
        self.stream_events(&with_query(op::TOPIC_EVENTS, &query), None).await
    }

    /// Tell every subscriber.
    ///
    /// # Errors
    /// See the module.
    pub async fn publish(&self, topic: Topic, text: String) -> Result<Published, ApiError> {
        self.post(op::TOPIC_PUBLISH, &PublishRequest { topic, text }).await
    }

    /// Hear of a topic also while this agent is away, or no more.
    ///
    /// # Errors
    /// See the module.
    pub async fn keep_topic(&self, topic: Topic, keep: bool) -> Result<Done, ApiError> {
        self.post(op::TOPIC_KEEP, &KeepRequest { topic, keep }).await
    }

    /// Own subscriptions, and others' to own topics.
    ///
    /// # Errors
    /// See the module.
    pub async fn topics(&self) -> Result<TopicList, ApiError> {
        self.fetch(op::TOPICS).await
    }
}
