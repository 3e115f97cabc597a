//! The short way of the request that comes most: `GET /v1/entities/{id}`, answered from what is rendered already.
//!
//! Everything that a request passes ([`super::guard`]) holds here too: caller, rate, request ID, headers, metrics. What is
//! unusual in any way (a query, an origin, an escaped path, a refusal, a log at debug) goes the long way, which answers
//! the same; nothing is taken from a bucket before it is known that the short way will do.

use std::net::SocketAddr;

use axum::http::{Method, Request, header};
use axum::response::Response;

use super::{App, clock, entities, guard, limiter, lookup};

/// The path template, as metrics count it.
const PATH: &str = "/v1/entities/{id}";
const PREFIX: &str = "/v1/entities/";

/// The answer, if there is one without asking anybody.
pub(super) fn answer<B>(app: &App, from: SocketAddr, request: &Request<B>) -> Option<Response> {
    let key = request.uri().path().strip_prefix(PREFIX)?;
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':'));
    let headers = request.headers();
    let usual = request.method() == Method::GET
        && plain
        && request.uri().query().is_none()
        && !headers.contains_key(header::ORIGIN)
        && !tracing::enabled!(tracing::Level::DEBUG);
    if !usual {
        return None;
    }
    let began = clock::now();
    let found = lookup::rendered(app, key, began)?;
    let raw = entities::wants_raw(headers).ok()?;
    if let Some(limiter) = &app.per_address {
        let caller = limiter::one_address(guard::caller(&app.settings, from.ip(), headers));
        limiter.take(caller, guard::READING, began.mono).ok()?;
    }
    app.metrics.answer_hit();
    let mut response = entities::found_response(&found, raw, headers);
    let took = clock::mono().since(began.mono);
    app.metrics.answered(Some(PATH), response.status().as_u16(), took);
    guard::dress(response.headers_mut(), guard::request_id(), None);
    Some(response)
}
