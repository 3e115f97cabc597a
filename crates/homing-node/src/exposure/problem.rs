//! What peers' programs are told when a request does not reach the target: `application/problem+json` (RFC 9457).

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde_json::json;

/// A refusal, with a stable code.
pub(super) fn problem(status: StatusCode, code: &str, detail: &str) -> Response<Full<Bytes>> {
    let body = json!({
        "type": format!("urn:homing:error:{code}"),
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
    });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::BAD_REQUEST {
        // Whoever sends such a request may mean the rest of it as another one.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
