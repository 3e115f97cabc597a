//! Routes of references.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use homing_api::references::{
    Reference, ReferenceHistory, ReferenceList, ReferenceRecord, ReferenceRequest,
    ReferenceResolution,
};
use homing_api::{ApiError, Code, agent, operations as op};
use serde::Deserialize;

use super::answer::{Answer, body, json};
use super::router::{ApiState, Body, Here};

/// The operations of references.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route(op::REFERENCES, get(list).post(publish))
        .route(op::REFERENCE_RESOLVE, post(resolve))
        .route(op::REFERENCE_RENEW, post(renew))
        .route(op::REFERENCE_WITHDRAW, post(withdraw))
        .route(op::REFERENCE_KEEP, post(keep))
        .route(op::REFERENCE_TAKE, post(take))
        .route(op::REFERENCE_HISTORY, get(history))
        .route(op::REFERENCE_EXPORT, get(export))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    reference: String,
}

fn valid<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    let invalid =
        |e: QueryRejection| ApiError::new(Code::Usage, "the query is not valid").why(e.body_text());
    query.map(|query| query.0).map_err(invalid)
}

async fn list(State(s): Here) -> Answer<ReferenceList> {
    json(s.node.references().await)
}

async fn publish(State(s): Here, bytes: Body) -> Answer<Reference> {
    json(s.node.publish_reference(body(bytes)?).await)
}

async fn resolve(State(s): Here, bytes: Body) -> Answer<ReferenceResolution> {
    json(s.node.resolve_reference(body(bytes)?).await)
}

async fn take(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.take_reference(&body(bytes)?).await)
}

async fn renew(State(s): Here, bytes: Body) -> Answer<Reference> {
    let request: ReferenceRequest = body(bytes)?;
    json(s.node.renew_reference(&request.name).await)
}

async fn withdraw(State(s): Here, bytes: Body) -> Answer<Reference> {
    let request: ReferenceRequest = body(bytes)?;
    json(s.node.withdraw_reference(&request.name).await)
}

async fn keep(State(s): Here, bytes: Body) -> Answer<agent::Done> {
    json(s.node.keep_reference(&body(bytes)?).await)
}

async fn history(
    State(s): Here,
    query: Result<Query<Named>, QueryRejection>,
) -> Answer<ReferenceHistory> {
    json(s.node.reference_history(&valid(query)?.name).await)
}

async fn export(
    State(s): Here,
    query: Result<Query<Which>, QueryRejection>,
) -> Answer<ReferenceRecord> {
    json(s.node.export_reference(&valid(query)?.reference).await)
}
