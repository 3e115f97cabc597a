//! One route per operation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use homing_api::operations as op;
use homing_api::{
    API_MAJOR, ApiError, BODY_BYTES_MAX, Code, HEADER_API, HEADER_VERSION, Schema, agent, cards,
    dht, gossip, network, peers, trust,
};
use serde::Deserialize;

use super::answer::{Answer, Failed, body, json};
use super::{Caller, content, exposures, messages, references, sse, upgrade};
use crate::VERSION;
use crate::node::Node;
use crate::streams::Stream;

/// What every handler has.
#[derive(Clone, Debug)]
pub(super) struct ApiState {
    pub(super) node: Node,
    /// Accepted streams that nobody has taken yet.
    pub(super) waiting: Arc<Mutex<BTreeMap<u64, Stream>>>,
}

pub(super) type Body = Result<Bytes, BytesRejection>;
pub(super) type Here = State<ApiState>;

/// All operations of one node.
pub(super) fn router(node: Node) -> Router {
    let state = ApiState { node, waiting: Arc::default() };
    Router::new()
        .route(op::VERSION, get(version))
        .route(op::INFO, get(info))
        .route(op::STATUS, get(status))
        .route(op::PING, post(ping))
        .route(op::HANDSHAKE, post(handshake))
        .route(op::PENDING, get(pending))
        .route(op::APPROVE, post(approve))
        .route(op::REJECT, post(reject))
        .route(op::TRUST, get(trust_list))
        .route(op::TRUST_ONE, get(trust_show))
        .route(op::REVOKE, post(revoke))
        .route(op::RESOLVE, post(resolve))
        .route(op::FIND, post(find))
        .route(op::CONNECT, post(upgrade::connect))
        .route(op::LISTEN, post(sse::listen))
        .route(op::STREAM, get(upgrade::outcome).post(upgrade::take))
        .route(op::STREAM_ABORT, post(upgrade::abort))
        .route(op::PEERS, post(add_peer))
        .route(op::DHT_PEERS, get(dht_peers))
        .route(op::DHT_LOOKUP, post(dht_lookup))
        .route(op::DHT_STATS, get(dht_stats))
        .route(op::GOSSIP_STATS, get(gossip_stats))
        .route(op::ALIASES, get(aliases).post(set_alias))
        .route(op::CARD, get(card).post(publish_card))
        .route(op::CONFIG, get(config))
        .route(op::NETCHECK, get(netcheck))
        .route(op::DOCTOR, get(doctor))
        .route(op::METRICS, get(metrics))
        .route(op::EVENTS, get(sse::events))
        .route(op::STOP, post(stop))
        .merge(messages::routes())
        .merge(references::routes())
        .merge(content::routes())
        .merge(exposures::routes())
        .fallback(no_operation)
        .method_not_allowed_fallback(no_operation)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Lets welcome users in, and says which version answers.
async fn guard(ConnectInfo(caller): ConnectInfo<Caller>, request: Request, next: Next) -> Response {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let bytes = announced.and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let mut response = match (caller.is_welcome(), bytes) {
        (true, 0..=BODY_BYTES_MAX) => next.run(request).await,
        (true, _) => Failed(too_long(bytes)).into_response(),
        (false, _) => Failed(stranger(caller)).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(HEADER_API, HeaderValue::from(API_MAJOR));
    headers.insert(HEADER_VERSION, HeaderValue::from_static(VERSION));
    response
}

fn stranger(caller: Caller) -> ApiError {
    let uid = caller.uid.map_or("unknown".to_owned(), |uid| uid.to_string());
    ApiError::new(Code::PermissionDenied, "this daemon belongs to another user")
        .why(format!("the request comes from user {uid}"))
        .hint("run as the user who started the daemon")
}

fn too_long(bytes: usize) -> ApiError {
    ApiError::new(Code::Usage, format!("a body has at most {BODY_BYTES_MAX} bytes, not {bytes}"))
}

async fn no_operation(request: Request) -> Failed {
    let message = format!("there is no operation {} {}", request.method(), request.uri().path());
    Failed(ApiError::new(Code::Usage, message).hint("homing schema lists the operations"))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfPeer {
    peer: Option<String>,
}

fn of_peer(query: Result<Query<OfPeer>, QueryRejection>) -> Result<Option<String>, ApiError> {
    let query = query
        .map_err(|e| ApiError::new(Code::Usage, "the query is not valid").why(e.body_text()))?;
    Ok(query.0.peer)
}

async fn version(State(s): Here) -> Answer<agent::Version> {
    json(Ok(s.node.version()))
}

async fn info(State(s): Here) -> Answer<agent::Info> {
    json(s.node.info().await)
}

async fn status(
    State(s): Here,
    query: Result<Query<OfPeer>, QueryRejection>,
) -> Answer<peers::Status> {
    json(s.node.status(of_peer(query)?.as_deref()).await)
}

async fn ping(State(s): Here, bytes: Body) -> Answer<peers::Pong> {
    json(s.node.ping(body(bytes)?).await)
}

async fn handshake(State(s): Here, bytes: Body) -> Answer<trust::TrustChange> {
    json(s.node.handshake(body(bytes)?).await)
}

async fn pending(State(s): Here) -> Answer<trust::Pending> {
    json(s.node.pending().await)
}

async fn approve(State(s): Here, bytes: Body) -> Answer<trust::TrustChange> {
    json(s.node.approve(body(bytes)?).await)
}

async fn reject(State(s): Here, bytes: Body) -> Answer<trust::TrustChange> {
    let request: trust::PeerRequest = body(bytes)?;
    json(s.node.reject(&request.peer).await)
}

async fn trust_list(State(s): Here) -> Answer<trust::TrustList> {
    json(s.node.trust_list().await)
}

async fn trust_show(State(s): Here, Path(peer): Path<String>) -> Answer<trust::TrustShow> {
    json(s.node.trust_show(&peer).await)
}

async fn revoke(State(s): Here, bytes: Body) -> Answer<trust::TrustChange> {
    let request: trust::PeerRequest = body(bytes)?;
    json(s.node.revoke(&request.peer).await)
}

async fn resolve(State(s): Here, bytes: Body) -> Answer<peers::Resolution> {
    json(s.node.resolve(body(bytes)?).await)
}

async fn add_peer(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.add_peer(body(bytes)?).await)
}

async fn dht_peers(State(s): Here) -> Answer<dht::DhtPeers> {
    json(s.node.dht_peers().await)
}

async fn dht_lookup(State(s): Here, bytes: Body) -> Answer<dht::DhtLookup> {
    json(s.node.dht_lookup(body(bytes)?).await)
}

async fn gossip_stats(State(s): Here) -> Answer<gossip::GossipStats> {
    json(s.node.gossip_stats().await)
}

async fn dht_stats(State(s): Here) -> Answer<dht::DhtStats> {
    json(s.node.dht_stats().await)
}

async fn aliases(State(s): Here) -> Answer<peers::Aliases> {
    json(s.node.aliases().await)
}

async fn set_alias(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.set_alias(body(bytes)?).await)
}

async fn find(State(s): Here, bytes: Body) -> Answer<homing_api::find::Found> {
    json(s.node.find(&body(bytes)?).await)
}

async fn card(State(s): Here) -> Answer<cards::PublishedCard> {
    json(s.node.published_card().await)
}

async fn publish_card(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.publish_card(body(bytes)?).await)
}

async fn config(State(s): Here) -> Answer<agent::ConfigView> {
    json(Ok(s.node.config_view()))
}

async fn netcheck(
    State(s): Here,
    query: Result<Query<OfPeer>, QueryRejection>,
) -> Answer<network::Netcheck> {
    json(s.node.netcheck(of_peer(query)?.as_deref()).await)
}

async fn doctor(State(s): Here) -> Answer<network::Doctor> {
    json(Ok(s.node.doctor()))
}

async fn metrics(State(s): Here) -> Result<Response, Failed> {
    let text = s.node.metrics().await?;
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    Ok(([kind], text).into_response())
}

/// Answers when every peer was told and the agent has ended; the process goes right after.
async fn stop(State(s): Here) -> Answer<agent::Done> {
    s.node.request_stop().await;
    s.node.ended().await?;
    json(Ok(agent::Done { schema: Schema::new(), changed: true }))
}
