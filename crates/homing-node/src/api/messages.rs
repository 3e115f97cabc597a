//! Routes of messages: JSON, and streams of messages as Server-Sent Events.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::stream;
use homing_api::messages::{
    FollowReady, InboxList, OutboxList, OutboxMessage, Published, Sent, TopicList,
};
use homing_api::{ApiError, Code, Schema, agent, operations as op};
use homing_base::{MessageId, Topic};
use serde::Deserialize;

use super::answer::{Answer, Failed, body, json};
use super::router::{ApiState, Body, Here};
use super::sse::{event, respond};

/// The operations of messages.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route(op::MESSAGES, post(send))
        .route(op::OUTBOX, get(outbox))
        .route(op::OUTBOX_ONE, get(outbox_message))
        .route(op::OUTBOX_CANCEL, post(cancel))
        .route(op::INBOX, get(inbox))
        .route(op::INBOX_EVENTS, get(follow_inbox))
        .route(op::INBOX_ACK, post(acknowledge))
        .route(op::TOPICS, get(topics))
        .route(op::TOPIC_EVENTS, get(follow_topic))
        .route(op::TOPIC_PUBLISH, post(publish))
        .route(op::TOPIC_KEEP, post(keep))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    from: Option<String>,
    topic: Option<String>,
}

type Selection = Result<Query<Which>, QueryRejection>;

fn which(query: Selection) -> Result<Which, ApiError> {
    let invalid =
        |e: QueryRejection| ApiError::new(Code::Usage, "the query is not valid").why(e.body_text());
    query.map(|query| query.0).map_err(invalid)
}

async fn send(State(s): Here, bytes: Body) -> Answer<Sent> {
    json(s.node.send_message(body(bytes)?).await)
}

async fn outbox(State(s): Here) -> Answer<OutboxList> {
    json(s.node.outbox().await)
}

async fn outbox_message(State(s): Here, Path(id): Path<String>) -> Answer<OutboxMessage> {
    json(s.node.outbox_message(message_id(&id)?).await)
}

async fn cancel(State(s): Here, Path(id): Path<String>) -> Answer<agent::Done> {
    json(s.node.cancel_message(message_id(&id)?).await)
}

async fn inbox(State(s): Here, query: Selection) -> Answer<InboxList> {
    json(s.node.inbox(which(query)?.from.as_deref()).await)
}

async fn acknowledge(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.acknowledge(&body(bytes)?).await)
}

async fn topics(State(s): Here) -> Answer<TopicList> {
    json(s.node.topics().await)
}

async fn publish(State(s): Here, bytes: Body) -> Answer<Published> {
    json(s.node.publish(body(bytes)?).await)
}

async fn keep(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.keep_topic(body(bytes)?).await)
}

async fn follow_inbox(State(s): Here, query: Selection) -> Result<Response, Failed> {
    let Which { from, .. } = which(query)?;
    follow(s, from, None).await
}

async fn follow_topic(State(s): Here, query: Selection) -> Result<Response, Failed> {
    let Which { from, topic } = which(query)?;
    let topic = topic.ok_or_else(|| ApiError::new(Code::Usage, "topic is missing"))?;
    let topic: Topic = topic.parse().map_err(|e| ApiError::new(Code::Usage, format!("{e}")))?;
    follow(s, from, Some(topic)).await
}

async fn follow(
    state: ApiState,
    from: Option<String>,
    topic: Option<Topic>,
) -> Result<Response, Failed> {
    let follower = state.node.follow(from.as_deref(), topic).await?;
    let ready = event("ready", &FollowReady { schema: Schema::new() });
    let feed = (Some(ready), follower, state);
    Ok(respond(stream::unfold(feed, |(first, mut follower, state)| async move {
        let next = match first {
            Some(ready) => ready,
            None => {
                let message = follower.recv().await?;
                event("message", &state.node.inbox_message(message).await.ok()?)
            }
        };
        Some((next, (None, follower, state)))
    })))
}

fn message_id(text: &str) -> Result<MessageId, ApiError> {
    text.parse().map_err(|e| ApiError::new(Code::Usage, format!("{e}")))
}
