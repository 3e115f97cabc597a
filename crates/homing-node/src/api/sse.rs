//! Server-Sent Events: `events` and `listen`. Both end with the node.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream as Events};
use homing_api::streams::{IncomingStream, ListenReady, ListenRequest};
use homing_api::{ApiError, Schema, events};
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::answer::{Failed, body};
use super::router::ApiState;
use crate::events::lagged;
use crate::streams::Listener;

/// An accepted stream that nobody takes is refused after this.
const TAKE_MAX: Duration = Duration::from_secs(10);
/// A comment on an idle stream, so that both ends notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A response of events, kept alive.
pub(super) fn respond(stream: impl Events<Item = SseEvent> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let events = stream.map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One event with JSON in it.
pub(super) fn event(kind: &str, data: &impl Serialize) -> SseEvent {
    let text = serde_json::to_string(data).expect("API types serialise");
    SseEvent::default().event(kind).data(text)
}

/// `GET /v1/events`.
pub(super) async fn events(State(state): State<ApiState>) -> Response {
    let feed = (state.node.events(), state);
    respond(stream::unfold(feed, |(mut feed, state)| async move {
        let next = tokio::select! {
            next = next_event(&mut feed) => next?,
            _ = state.node.ended() => return None,
        };
        Some((event(&next.kind, &next), (feed, state)))
    }))
}

async fn next_event(feed: &mut Receiver<events::Event>) -> Option<events::Event> {
    match feed.recv().await {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(missed)) => Some(lagged(missed)),
        Err(RecvError::Closed) => None,
    }
}

/// `POST /v1/listen`: the service is exposed as long as the response is read.
pub(super) async fn listen(
    State(state): State<ApiState>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Failed> {
    let request: ListenRequest = body(bytes)?;
    let listener = state.node.listen_as(request.service.clone(), request.protocol)?;
    let ready = ListenReady { schema: Schema::new(), service: request.service };
    let exposure = (Some(event("ready", &ready)), listener, state);
    Ok(respond(stream::unfold(exposure, |(first, mut listener, state)| async move {
        let next = match first {
            Some(ready) => ready,
            None => arrival(&mut listener, &state).await.ok()?,
        };
        Some((next, (None, listener, state)))
    })))
}

/// Waits for a stream, and keeps it until somebody takes it.
async fn arrival(listener: &mut Listener, state: &ApiState) -> Result<SseEvent, ApiError> {
    let Some(stream) = listener.accept().await else { return Err(crate::problem::stopping()) };
    let id = stream.id();
    let incoming = IncomingStream {
        schema: Schema::new(),
        id,
        service: stream.service().clone(),
        peer: state.node.summary(stream.peer()).await?,
    };
    state.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, stream);
    let waiting = state.waiting.clone();
    tokio::spawn(async move {
        tokio::time::sleep(TAKE_MAX).await;
        waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
    });
    Ok(event("stream", &incoming))
}
