//! `GET /health`, `/healthz/live`, `/healthz/ready`: for load balancers and supervisors.
//!
//! Live: the process answers; restart it if it does not. Ready: its database answers too and it is not about to stop;
//! send it no requests if it does not.

use axum::extract::State;
use axum::response::Response;
use homing_api::Code;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::entities::uncached;
use super::problem::{Problem, Refusal};
use super::request::{Nothing, Params};

/// All is well.
#[derive(Serialize, ToSchema)]
#[schema(title = "Health")]
pub(super) struct HealthView {
    /// `homing.health/v1`.
    schema: &'static str,
    /// `ok`.
    status: &'static str,
}

const OK: HealthView = HealthView { schema: "homing.health/v1", status: "ok" };

/// `GET /healthz/live`.
pub(super) async fn live(_: Params<Nothing>) -> Result<Response, Refusal> {
    Ok(uncached(&OK))
}

/// `GET /healthz/ready` and `GET /health`.
pub(super) async fn ready(State(app): State<App>, _: Params<Nothing>) -> Result<Response, Refusal> {
    if app.events.is_stopping() {
        return Err(Problem::busy("it is about to stop").into());
    }
    match app.storage.ready().await {
        Ok(()) => Ok(uncached(&OK)),
        Err(error) => {
            tracing::warn!(%error, "the database does not answer");
            let problem = Problem::new(Code::Internal, "the registry's database does not answer");
            let status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
            Err(problem.status(status).retry_after_ms(1_000).into())
        }
    }
}
