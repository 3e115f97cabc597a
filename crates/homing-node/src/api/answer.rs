//! Requests in, answers out: JSON with bounds, failures with their HTTP status.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use homing_api::{ApiError, Code};
use serde::de::DeserializeOwned;

/// A failure as a response.
#[derive(Debug)]
pub(super) struct Failed(pub(super) ApiError);

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status());
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(self.0)).into_response()
    }
}

/// What most operations answer.
pub(super) type Answer<T> = Result<Json<T>, Failed>;

/// Answers with JSON.
pub(super) fn json<T>(result: Result<T, ApiError>) -> Answer<T> {
    Ok(Json(result?))
}

/// Reads a JSON body.
pub(super) fn body<T: DeserializeOwned>(
    bytes: Result<Bytes, BytesRejection>,
) -> Result<T, ApiError> {
    let bytes = bytes
        .map_err(|e| ApiError::new(Code::Usage, "the body cannot be read").why(e.body_text()))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        ApiError::new(Code::Usage, "the body is not what this operation takes")
            .why(e.to_string())
            .hint("homing schema lists the operations and their types")
    })
}
