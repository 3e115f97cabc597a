//! `POST /v1/entities/{id}/heartbeat`: an agent says that it is alive, signed.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use homing_api::Code;
use serde::Serialize;
use utoipa::ToSchema;

use super::entities::{COSE, uncached};
use super::lookup;
use super::problem::{Problem, Refusal};
use super::request::{self, Nothing, Params, Segments};
use super::views::time;
use super::{App, clock};
use crate::entity::{EntityKey, HEARTBEAT_LIFE_MS, Status};
use crate::limits::HEARTBEAT_BYTES_MAX;
use crate::proof::Heartbeat;

/// A heartbeat was taken.
#[derive(Serialize, ToSchema)]
#[schema(title = "HeartbeatTaken")]
pub(super) struct HeartbeatView {
    /// `homing.heartbeat/v1`.
    schema: &'static str,
    /// Whose.
    node_id: String,
    /// Its time.
    #[schema(format = DateTime)]
    at: String,
    /// Send the next one well before this time has passed.
    life_ms: u64,
}

/// `POST /v1/entities/{id}/heartbeat`.
pub(super) async fn beat(
    State(app): State<App>,
    _: Params<Nothing>,
    Segments(id): Segments<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let media = request::media_type(&headers);
    if media != COSE {
        return Err(request::wrong_media_type(&media, COSE).into());
    }
    let bytes = request::whole(body, HEARTBEAT_BYTES_MAX, app.settings.body_timeout).await?;
    let now = clock::now();
    let heartbeat = Heartbeat::verify(&bytes, now).map_err(Box::<Problem>::from)?;
    let signer = heartbeat.agent.node_id();
    let same = match lookup::key(&id)? {
        EntityKey::NodeId(asked) => asked == signer,
        EntityKey::Address(asked) => asked.matches(&signer),
        EntityKey::Name(_) => false,
    };
    if !same {
        let detail = format!("the heartbeat is that of {signer}");
        return Err(Problem::usage(detail).hint("put this node ID into the path").into());
    }
    let entity = app.storage.entity(&signer).await.map_err(Box::<Problem>::from)?;
    match entity.map(|e| e.status(now)) {
        None | Some(Status::Expired) => return Err(Problem::not_found(&id).into()),
        Some(Status::Withdrawn) => return Err(Problem::withdrawn(&signer).into()),
        Some(Status::Active | Status::Inactive) => {}
    }
    let kept = app.storage.heartbeat(&signer, heartbeat.issued).await;
    if !kept.map_err(Box::<Problem>::from)? {
        return Err(Problem::new(Code::StaleSequence, "a later heartbeat is known").into());
    }
    app.answers.forget(&signer, None);
    Ok(uncached(&HeartbeatView {
        schema: "homing.heartbeat/v1",
        node_id: signer.to_string(),
        at: time(heartbeat.issued),
        life_ms: HEARTBEAT_LIFE_MS,
    }))
}
