//! What every request passes: request ID, who calls, rate, concurrency, time, CORS, headers, metrics, one log line.
//!
//! The caller is the far end of the connection. `X-Forwarded-For` is read only if that is a configured proxy, and then
//! from the right: the first address that is no configured proxy is the caller, whatever stands left of it. The log has
//! path templates, never bodies, keys or names.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use homing_api::Code;

use super::hosts::{self, Misdirected};
use super::problem::Problem;
use super::settings::{Caller, Settings};
use super::{App, clock, entities, limiter};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Tokens of a request that reads.
pub(super) const READING: u32 = 1;

/// Tokens of a request: reading 1, searching 5, changing 5.
fn cost(method: &Method, path: &str) -> u32 {
    if path.starts_with("/health") {
        return 0;
    }
    if *method == Method::GET || *method == Method::HEAD { READING } else { 5 }
}

/// Routes with everything around them.
pub(super) fn guarded(app: &App, routes: Router<App>) -> Router {
    routes
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(app), guard))
        .with_state(Arc::clone(app))
}

async fn nowhere() -> Problem {
    Problem::new(Code::NotFound, "no operation has this path")
        .hint("/openapi.json lists the operations")
}

async fn wrong_method() -> Problem {
    Problem::usage("this path has other methods; see the Allow header")
        .status(StatusCode::METHOD_NOT_ALLOWED)
}

async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = clock::mono();
    let id = request_id();
    let origin = allowed_origin(&app.settings, request.headers());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let mut response = match preflight(&origin, &request) {
        _ if request.extensions().get::<Misdirected>().is_some() => {
            hosts::refusal().into_response()
        }
        Some(response) => response,
        None => admitted(&app, request, next).await,
    };
    let took = clock::mono().since(began);
    let path = path.as_ref().map(MatchedPath::as_str);
    app.metrics.answered(path, response.status().as_u16(), took);
    if tracing::enabled!(tracing::Level::DEBUG) {
        let (tx, path) = (id.to_str().unwrap_or(""), path.unwrap_or("other"));
        let status = response.status().as_u16();
        let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(tx, path, elapsed_ms, "answered {status}");
    }
    dress(response.headers_mut(), id, origin);
    response
}

/// Runs the request if its caller may and there is room.
async fn admitted(app: &App, request: Request, next: Next) -> Response {
    let far_end = request.extensions().get::<Caller>();
    let far_end = far_end.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |c| c.0.ip());
    let caller = caller(&app.settings, far_end, request.headers());
    if let Some(limiter) = &app.per_address {
        let cost = cost(request.method(), request.uri().path());
        let address = limiter::one_address(caller);
        if let Err(ms) = limiter.take(address, cost, clock::mono()) {
            app.metrics.limited();
            return entities::too_many("requests from this address", ms).into_response();
        }
    }
    let Ok(_place) = app.requests.try_acquire() else {
        return Problem::busy("too many requests at once").into_response();
    };
    match tokio::time::timeout(app.settings.answer_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Timeout, "the answer took too long").into_response(),
    }
}

/// Who calls, when the connection's far end is this.
pub(super) fn caller(settings: &Settings, far_end: IpAddr, headers: &HeaderMap) -> IpAddr {
    match settings.trusted_proxies.is_empty() {
        true => far_end,
        false => forwarded(settings, far_end, headers),
    }
}

/// The right-most hop that is no configured proxy.
fn forwarded(settings: &Settings, far_end: IpAddr, headers: &HeaderMap) -> IpAddr {
    let trusted = |ip: IpAddr| settings.trusted_proxies.iter().any(|range| range.contains(ip));
    let mut caller = far_end;
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    for line in lines.into_iter().rev() {
        for hop in line.to_str().unwrap_or("").rsplit(',') {
            if !trusted(caller) {
                return caller;
            }
            match hop_address(hop) {
                Some(ip) => caller = ip,
                // A proxy that writes nonsense is the last one we know.
                None => return caller,
            }
        }
    }
    caller
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    hop.parse().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()))
}

fn allowed_origin(settings: &Settings, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    settings.cors_origins.iter().any(|o| o == text || o == "*").then(|| origin.clone())
}

/// The browser asks whether it may ask (Fetch §3.2.2); answered for configured origins only.
fn preflight(origin: &Option<HeaderValue>, request: &Request) -> Option<Response> {
    origin.as_ref()?;
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() != Method::OPTIONS || !asks {
        return None;
    }
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type, if-none-match, last-event-id"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    Some((StatusCode::NO_CONTENT, allowed).into_response())
}

/// Headers of every answer.
pub(super) fn dress(headers: &mut HeaderMap, id: HeaderValue, origin: Option<HeaderValue>) {
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let exposed =
            "etag, location, retry-after, homing-layer, homing-card-signature, x-request-id";
        let exposed = HeaderValue::from_static(exposed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Unique in this process: never taken from the caller, who could make two requests look like one.
pub(super) fn request_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::from(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(proxies: &[&str], far_end: &str, forwarded_for: &[&str]) -> String {
        let trusted_proxies = proxies.iter().map(|p| p.parse().unwrap()).collect();
        let settings = Settings { trusted_proxies, ..Settings::default() };
        let mut headers = HeaderMap::new();
        for value in forwarded_for {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        forwarded(&settings, far_end.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_behind_a_configured_proxy() {
        assert_eq!(seen(&[], "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(seen(&["10.0.0.1"], "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(seen(&["10.0.0.1"], "10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn the_right_most_hop_that_is_no_proxy_is_the_caller() {
        let proxies = ["10.0.0.0/8"];
        let invented = "203.0.113.9, 198.51.100.1, 10.0.0.2";
        assert_eq!(seen(&proxies, "10.0.0.1", &[invented]), "198.51.100.1");
        assert_eq!(seen(&proxies, "10.0.0.1", &["203.0.113.9", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen(&proxies, "10.0.0.1", &["198.51.100.1:4433"]), "198.51.100.1");
        assert_eq!(seen(&proxies, "10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(seen(&proxies, "10.0.0.1", &[]), "10.0.0.1");
    }
}
