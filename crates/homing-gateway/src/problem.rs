//! Failures over HTTP: `application/problem+json` (RFC 9457) with the codes of [`homing_api::Code`].

use bytes::Bytes;
use homing_api::ApiError;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde_json::json;

/// An answer of a service, or one of our own.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;

/// With the status that belongs to the code.
pub(crate) fn response(error: &ApiError) -> Response<Body> {
    let bytes = Bytes::from(json(error));
    let mut response = Response::new(Either::Right(Full::new(bytes)));
    *response.status_mut() = status(error);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The same as bytes, for a connection that is refused before it has said anything.
pub(crate) fn raw(error: &ApiError) -> Vec<u8> {
    let body = json(error);
    format!(
        "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\nx-content-type-options: nosniff\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        status(error),
        body.len(),
    )
    .into_bytes()
}

fn status(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::BAD_GATEWAY)
}

fn json(error: &ApiError) -> String {
    let mut problem = json!({
        "type": format!("urn:homing:error:{}", error.code),
        "title": error.code.meaning(),
        "status": status(error).as_u16(),
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
    });
    let more = [("why", &error.why), ("hint", &error.hint)];
    for (key, text) in more {
        if let Some(text) = text {
            problem[key] = json!(text);
        }
    }
    if let Some(after) = error.retry_after_ms {
        problem["retry_after_ms"] = json!(after);
    }
    problem.to_string()
}
