//! Streams by HTTP `Upgrade`: `connect`, `streams/{id}`, and what became of them. Their bytes go over the connection
//! itself, or over a socket that the caller hands over by it ([`homing_api::handover`]).

use std::io::Cursor;
use std::pin::pin;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use homing_api::agent::Done;
use homing_api::streams::StreamOutcome;
use homing_api::{
    ApiError, Code, HEADER_PEER, HEADER_PROTOCOL, HEADER_STREAM, Schema, UPGRADE_PROTOCOL,
    UPGRADE_SOCKET, handover,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::debug;

use super::answer::{Answer, Failed};
use super::router::ApiState;
use crate::local::Local;
use crate::node::Node;
use crate::streams::Stream;

/// How long a connect may take when the request does not say.
const TIMEOUT_DEFAULT_MS: u64 = 10_000;
/// The longest that a request may ask for.
const TIMEOUT_MS_MAX: u64 = 60_000;
/// How long a socket may take that was announced.
const HANDOVER_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    peer: String,
    service: String,
    timeout_ms: Option<u64>,
}

/// `POST /v1/connect`.
pub(super) async fn connect(
    State(state): State<ApiState>,
    mut request: Request,
) -> Result<Response, Failed> {
    let switch = upgradable(&mut request)?;
    let Query(wanted): Query<Wanted> = Query::try_from_uri(request.uri())
        .map_err(|e| ApiError::new(Code::Usage, "the query is not valid").why(e.body_text()))?;
    let service = wanted.service.parse().map_err(|e: homing_base::name::LabelError| {
        ApiError::new(Code::Usage, format!("{:?} is no service", wanted.service)).why(e.to_string())
    })?;
    let timeout = wanted.timeout_ms.unwrap_or(TIMEOUT_DEFAULT_MS).min(TIMEOUT_MS_MAX);
    let timeout = Duration::from_millis(timeout);
    let stream = state.node.connect(&wanted.peer, &service, timeout).await?;
    Ok(carry(switch, stream, &state.node))
}

/// `POST /v1/streams/{id}`.
pub(super) async fn take(
    State(state): State<ApiState>,
    Path(id): Path<u64>,
    mut request: Request,
) -> Result<Response, Failed> {
    let switch = upgradable(&mut request)?;
    let stream = state.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    let stream = stream.ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("no stream {id} waits to be taken"))
            .why("it was taken already, or 10 seconds have passed")
    })?;
    Ok(carry(switch, stream, &state.node))
}

/// `POST /v1/streams/{id}/abort`.
pub(super) async fn abort(State(state): State<ApiState>, Path(id): Path<u64>) -> Answer<Done> {
    let stream = state.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    let changed = match stream {
        Some(stream) => {
            stream.abort();
            true
        }
        None => state.node.shared.streams.abort(id),
    };
    Ok(Json(Done { schema: Schema::new(), changed }))
}

/// `GET /v1/streams/{id}`.
pub(super) async fn outcome(
    State(state): State<ApiState>,
    Path(id): Path<u64>,
) -> Answer<StreamOutcome> {
    let entry = state.node.shared.streams.find(id).ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("nothing is known about stream {id}"))
            .why("the last 8,192 streams of this run are remembered")
    })?;
    let (stream_state, error) = entry.state();
    Ok(Json(StreamOutcome {
        schema: Schema::new(),
        id,
        peer: state.node.summary(entry.peer).await?,
        service: entry.service.clone(),
        state: stream_state,
        error,
        received_bytes: entry.received.load(Ordering::Relaxed),
        sent_bytes: entry.sent.load(Ordering::Relaxed),
    }))
}

/// A connection that is to become a stream.
struct Switch {
    to: &'static str,
    switch: OnUpgrade,
}

fn upgradable(request: &mut Request) -> Result<Switch, ApiError> {
    let wanted = request.headers().get(header::UPGRADE).map(|v| v.as_bytes().to_ascii_lowercase());
    let known = [UPGRADE_PROTOCOL, UPGRADE_SOCKET];
    let to = known.into_iter().find(|known| wanted.as_deref() == Some(known.as_bytes()));
    let switch = request.extensions_mut().remove::<OnUpgrade>();
    match (to, switch) {
        (Some(to), Some(switch)) => Ok(Switch { to, switch }),
        _ => Err(ApiError::new(Code::Usage, "this operation carries raw bytes")
            .hint(format!("send Connection: Upgrade and Upgrade: {UPGRADE_PROTOCOL}"))),
    }
}

/// Answers 101 and carries the stream over what the connection becomes.
fn carry(Switch { to, switch }: Switch, stream: Stream, node: &Node) -> Response {
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, to)
        .header(HEADER_STREAM, stream.id())
        .header(HEADER_PEER, stream.peer().to_string())
        .header(HEADER_PROTOCOL, stream.protocol().as_str())
        .body(Body::empty())
        .expect("the parts are valid");
    let node = node.clone();
    tokio::spawn(async move {
        let ended = match switch.await {
            Ok(upgraded) if to == UPGRADE_SOCKET => over_socket(upgraded, stream, &node).await,
            Ok(upgraded) => over(upgraded, stream).await,
            Err(error) => {
                debug!(%error, "the caller was gone before its stream began");
                return;
            }
        };
        if let Err(error) = ended {
            debug!(%error, "stream broke");
        }
    });
    response
}

/// The caller's own socket. The connection stays as its word that it lives: when it closes, the stream breaks.
async fn over_socket(upgraded: Upgraded, stream: Stream, node: &Node) -> Result<(), ApiError> {
    let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>() else {
        stream.abort();
        return Ok(());
    };
    let mut caller = parts.io.into_inner();
    let handed = async {
        handover::invite(&mut caller).await?;
        handover::take(&caller).await.and_then(Local::of)
    };
    let late = |_| Err(std::io::ErrorKind::TimedOut.into());
    let local = match timeout(HANDOVER_MAX, handed).await.unwrap_or_else(late) {
        Ok(local) => local,
        Err(error) => {
            debug!(%error, "no socket was handed over");
            stream.abort();
            return Ok(());
        }
    };
    let id = stream.id();
    let mut carrying = pin!(stream.carry_over(local, Vec::new()));
    let ended = tokio::select! {
        ended = &mut carrying => ended,
        _ = handover::ended(&mut caller) => {
            node.shared.streams.abort(id);
            carrying.await
        }
    };
    if ended.is_ok() {
        // Gone, it asks for nothing.
        handover::end(&mut caller).await.ok();
    }
    ended
}

/// The socket itself where possible: its halves need no lock between them.
async fn over(upgraded: Upgraded, stream: Stream) -> Result<(), ApiError> {
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => {
            let (from, to) = parts.io.into_inner().into_split();
            stream.carry(Cursor::new(parts.read_buf).chain(from), to).await
        }
        Err(upgraded) => {
            let (from, to) = tokio::io::split(TokioIo::new(upgraded));
            stream.carry(from, to).await
        }
    }
}
