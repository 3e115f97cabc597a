//! Exposing services: the routes of [`homing_api::exposures`].

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::stream;
use homing_api::agent::Done;
use homing_api::exposures::{Exposed, Services, UnexposeRequest};
use homing_api::operations as op;

use super::answer::{Answer, Failed, body, json};
use super::router::{ApiState, Body, Here};
use super::sse;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route(op::SERVICES, get(services).post(expose))
        .route(op::UNEXPOSE, post(unexpose))
        .route(op::EXPOSE_HELD, post(expose_held))
}

async fn services(State(s): Here) -> Answer<Services> {
    json(s.node.services())
}

async fn expose(State(s): Here, bytes: Body) -> Answer<Exposed> {
    json(s.node.expose(body(bytes)?).await)
}

async fn unexpose(State(s): Here, bytes: Body) -> Answer<Done> {
    let request: UnexposeRequest = body(bytes)?;
    json(s.node.unexpose(&request.name).await)
}

/// The service is exposed as long as the response is read, and the node runs.
async fn expose_held(State(s): Here, bytes: Body) -> Result<Response, Failed> {
    let (exposed, held) = s.node.expose_held(body(bytes)?).await?;
    let first = sse::event("exposed", &exposed);
    Ok(sse::respond(stream::unfold((Some(first), held, s), |(first, held, s)| async move {
        match first {
            Some(first) => Some((first, (None, held, s))),
            None => {
                s.node.ended().await.ok();
                None
            }
        }
    })))
}
