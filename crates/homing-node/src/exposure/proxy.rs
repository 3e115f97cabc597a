//! Requests of peers, passed on to a web server: nothing is kept, bodies flow as they come.
//!
//! ```text
//! HTTP/1.1 ──► pooled HTTP/1.1 connections        101: the two connections become one tunnel
//! HTTP/2   ──► one HTTP/2 connection, if the target speaks it (asked now and then), else HTTP/1.1
//! ```
//! The answer to a target that is down is 502 with a problem document.

use std::sync::Arc;

use futures_util::future::{BoxFuture, Shared};
use homing_api::exposures::Target;
use homing_api::{ApiError, Code};
use homing_base::Mono;
use homing_gateway::hop;
use http_body_util::combinators::MapFrame;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HOST, HeaderValue, ORIGIN};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Semaphore};
use tracing::debug;
use url::Url;

use super::first::PREFACE;
use super::limits::{
    CONNECT_TIMEOUT, CONNECTIONS_MAX, HTTP2_ASKED_LIFE, HTTP2_PING, IDLE_CONNECTIONS_MAX,
    IDLE_TIMEOUT, REQUESTS_PER_PEER_MAX,
};
use super::place::{Connector, Place};
use super::problem::problem;
use super::{Visit, headers};
use crate::shares::Shares;

/// What a peer sends: its trailers say as little about who asks as its headers.
type Asked = MapFrame<Incoming, fn(Frame<Bytes>) -> Frame<Bytes>>;

/// What the target answers, or we.
pub(super) type Answer = Response<Either<Incoming, Full<Bytes>>>;
/// Resolves when trust with the peer has ended, or the service.
pub(super) type Ended = Shared<BoxFuture<'static, ()>>;

/// An empty SETTINGS frame (RFC 9113 §6.5).
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A web server behind a service.
pub(super) struct Proxy {
    http1: Client<Connector, Asked>,
    http2: Client<Connector, Asked>,
    /// For asking whether the target speaks HTTP/2.
    second: Connector,
    /// What it said, and until when that is believed: the server behind a port may be another one tomorrow.
    speaks_http2: Mutex<Option<(bool, Mono)>>,
    requests: Arc<Shares>,
    scheme: Scheme,
    authority: Authority,
    /// The URL's path as it was written: what `/` means. Empty: the target has no path of its own.
    base: String,
    /// What `Host` and `Origin` become; `None`: they stay.
    local: Option<(HeaderValue, HeaderValue)>,
    /// What the target may call itself in a redirect.
    origins: Vec<String>,
}

impl Proxy {
    /// For a target that is a URL, a port or a socket.
    ///
    /// # Errors
    /// `usage` when a URL has no host that could be asked.
    pub(super) fn new(target: &Target, keep_host: bool) -> Result<Option<Self>, ApiError> {
        let wrong = |why: String| {
            ApiError::new(Code::Usage, format!("{target} cannot be exposed")).why(why)
        };
        let (place, tls_host, authority, base) = match target {
            Target::Tcp { host, port } => {
                let place = Place::Tcp { host: host.as_str().into(), port: *port };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                (place, None, format!("{host}:{port}"), String::new())
            }
            Target::Unix { path } => {
                let place = Place::Unix { path: Arc::new(path.clone()) };
                (place, None, "localhost".to_owned(), String::new())
            }
            Target::Url { url } => of_url(url).ok_or_else(|| wrong("it has no host".into()))?,
            Target::Directory { .. } | Target::Command { .. } => return Ok(None),
        };
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (first, second) = match &tls_host {
            None => (Connector::plain(place.clone(), room.clone()), Connector::plain(place, room)),
            Some(host) => {
                let tls = |protocols: &[&[u8]]| {
                    Connector::tls(place.clone(), room.clone(), host, protocols).map_err(wrong)
                };
                (tls(&[b"http/1.1"])?, tls(&[b"h2", b"http/1.1"])?)
            }
        };
        let scheme = if tls_host.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let origin = format!("{scheme}://{authority}");
        let value = |text: &str| HeaderValue::from_str(text).map_err(|e| wrong(e.to_string()));
        let local = if keep_host { None } else { Some((value(&authority)?, value(&origin)?)) };
        Ok(Some(Self {
            http1: client(first, false),
            http2: client(second.clone(), true),
            second,
            speaks_http2: Mutex::default(),
            requests: Shares::of(REQUESTS_PER_PEER_MAX),
            origins: same_machine(&scheme, &authority, origin),
            authority: authority.parse().map_err(|_| wrong("its host is none".into()))?,
            scheme,
            base,
            local,
        }))
    }

    /// Passes a request on.
    pub(super) async fn answer(
        &self,
        mut request: Request<Incoming>,
        visit: &Arc<Visit>,
    ) -> Answer {
        let Some(_share) = self.requests.take(visit.peer) else {
            let why = "too many requests of this peer wait for their answer";
            return told(StatusCode::TOO_MANY_REQUESTS, "rate_limited", why);
        };
        let version = request.version();
        let switch = hyper::upgrade::on(&mut request);
        let wanted = match self.prepare(&mut request, visit) {
            Ok(wanted) => wanted,
            Err(why) => return told(StatusCode::BAD_REQUEST, "usage", why),
        };
        let grpc = is_grpc(request.headers());
        let request = request.map(|body| body.map_frame(headers::of_trailers as fn(_) -> _));
        let sent = match version {
            Version::HTTP_2 if wanted.is_none() => match self.takes_http2(grpc, visit).await {
                Ok(true) => {
                    let sent = self.http2.request(request).await;
                    if sent.is_err() {
                        *self.speaks_http2.lock().await = None;
                    }
                    sent
                }
                Ok(false) => self.http1.request(request).await,
                Err(error) => return self.down(&error),
            },
            _ => self.http1.request(request).await,
        };
        match sent {
            Ok(response) => self.received(response, wanted.map(|_| switch), visit),
            Err(error) => self.failed(&error),
        }
    }

    /// The request as the target shall see it; returned is what it wants to upgrade to.
    fn prepare(
        &self,
        request: &mut Request<Incoming>,
        visit: &Visit,
    ) -> Result<Option<HeaderValue>, &'static str> {
        if request.method() == Method::CONNECT {
            return Err("CONNECT asks for a proxy, and this is a service");
        }
        let uri = self.uri(request.uri())?;
        // HTTP/2 names the host in the URI only.
        let host = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        let wanted = headers::of_request(headers);
        match (&self.local, host) {
            (Some((host, origin)), _) => {
                headers.insert(HOST, host.clone());
                if headers.contains_key(ORIGIN) {
                    headers.insert(ORIGIN, origin.clone());
                }
            }
            (None, Some(host)) if !headers.contains_key(HOST) => {
                headers.insert(HOST, host);
            }
            (None, _) => {}
        }
        visit.identity().put(headers);
        Ok(wanted)
    }

    fn uri(&self, asked: &Uri) -> Result<Uri, &'static str> {
        let path = asked.path_and_query().cloned();
        let mut path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if !self.base.is_empty() {
            if leaves(path.path()) {
                return Err("the path leads out of what is exposed");
            }
            // `…/mcp` and `…/mcp/` are two places to many servers: the root is the one that was exposed.
            let below = match path.path() {
                "/" => path.as_str().replacen('/', &self.base, 1),
                _ => format!("{}{path}", self.base.trim_end_matches('/')),
            };
            path = below.parse().map_err(|_| "the path is none")?;
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| "the path is none")
    }

    /// Whether HTTP/2 may be spoken with the target. gRPC knows nothing else.
    async fn takes_http2(&self, grpc: bool, visit: &Visit) -> std::io::Result<bool> {
        if grpc {
            return Ok(true);
        }
        let now = visit.host.node.shared.clock.mono();
        // Held while it is asked: the others wait for the answer.
        let mut known = self.speaks_http2.lock().await;
        if let Some((speaks, until)) = *known
            && now < until
        {
            return Ok(speaks);
        }
        let speaks = self.ask_http2().await?;
        *known = Some((speaks, now.after(HTTP2_ASKED_LIFE)));
        Ok(speaks)
    }

    async fn ask_http2(&self) -> std::io::Result<bool> {
        let mut wire = self.second.connect().await?;
        if self.scheme == Scheme::HTTPS {
            return Ok(wire.agreed_on_http2());
        }
        let asked = async {
            wire.write_all(PREFACE).await?;
            wire.write_all(&SETTINGS).await?;
            let mut frame = [0; 9];
            wire.read_exact(&mut frame).await?;
            // A server begins with its settings (RFC 9113 §3.4).
            std::io::Result::Ok(frame[3] == SETTINGS[3] && frame[5..] == [0; 4])
        };
        let asked = tokio::time::timeout(CONNECT_TIMEOUT, asked).await;
        Ok(matches!(asked, Ok(Ok(true))))
    }

    fn received(
        &self,
        mut response: Response<Incoming>,
        switch: Option<OnUpgrade>,
        visit: &Arc<Visit>,
    ) -> Answer {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let theirs = switched.then(|| hyper::upgrade::on(&mut response));
        match (theirs, switch) {
            (Some(theirs), Some(ours)) => drop(tokio::spawn(tunnel(ours, theirs, visit.clone()))),
            (Some(_), None) => {
                let why = "the target switched protocols unasked";
                return told(StatusCode::BAD_GATEWAY, "target_broken", why);
            }
            (None, _) => {}
        }
        // The connection to the peer has a version of its own.
        *response.version_mut() = Version::HTTP_11;
        hop::of_response(response.headers_mut(), switched);
        let base = self.base.trim_end_matches('/');
        headers::relocate(response.headers_mut(), &self.origins, base);
        response.map(Either::Left)
    }

    fn failed(&self, error: &Error) -> Answer {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let cause = cause.unwrap_or_else(|| error.to_string());
        if error.is_connect() {
            return self.down(&std::io::Error::other(cause));
        }
        debug!(error = cause, "the target broke off");
        let text = "what this service stands for broke off before it answered";
        told(StatusCode::BAD_GATEWAY, "target_broken", text)
    }

    fn down(&self, error: &std::io::Error) -> Answer {
        debug!(%error, authority = %self.authority, "the target is down");
        let text = "what this service stands for does not answer";
        told(StatusCode::BAD_GATEWAY, "target_down", text)
    }
}

fn told(status: StatusCode, code: &str, text: &str) -> Answer {
    problem(status, code, text).map(Either::Right)
}

/// Place, name for TLS, authority and path.
fn of_url(text: &str) -> Option<(Place, Option<String>, String, String)> {
    let url = Url::parse(text).ok()?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let place = Place::Tcp { host: bare.into(), port };
    let tls = (url.scheme() == "https").then(|| bare.to_owned());
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Some((place, tls, authority, url.path().to_owned()))
}

/// A server on this machine may call itself by any of its names.
fn same_machine(scheme: &Scheme, authority: &str, origin: String) -> Vec<String> {
    let names = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"];
    let named = names.iter().find_map(|name| authority.strip_prefix(name));
    match named.filter(|port| port.is_empty() || port.starts_with(':')) {
        Some(port) => names.iter().map(|name| format!("{scheme}://{name}{port}")).collect(),
        None => vec![origin],
    }
}

fn client(connector: Connector, http2: bool) -> Client<Connector, Asked> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .set_host(false);
    if http2 {
        builder.http2_only(true).http2_keep_alive_interval(HTTP2_PING);
    }
    builder.build(connector)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(hyper::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Whether a path has a segment that goes up, however it is written.
fn leaves(path: &str) -> bool {
    let plain = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    // What follows a `;` is a parameter to some servers, and no part of the segment (RFC 3986 §3.3).
    let bare = |segment: &str| segment.split(';').next() == Some("..");
    plain.split(['/', '\\']).any(bare)
}

/// After `101 Switching Protocols`: bytes both ways until both ended, or trust did.
async fn tunnel(ours: OnUpgrade, theirs: OnUpgrade, visit: Arc<Visit>) {
    let carried = async {
        let (ours, theirs) = tokio::try_join!(ours, theirs).map_err(std::io::Error::other)?;
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        tokio::io::copy_bidirectional(&mut ours, &mut theirs).await
    };
    tokio::select! {
        carried = carried => debug!(ok = carried.is_ok(), "switched connection ended"),
        () = visit.ended() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_up_are_seen_in_every_spelling() {
        for path in [
            "/..",
            "/a/../b",
            "/%2e%2E/b",
            "/a/..%2fb",
            "/..\\b",
            "/a%5c..%5cb",
            "/..;/b",
            "/a/..;x=1",
            "/%2e.%3b/",
        ] {
            assert!(leaves(path), "{path}");
        }
        assert!(!leaves("/a/..b/c../.../x;..") && !leaves("/"));
    }

    #[test]
    fn a_url_says_where_the_target_is_and_below_which_path() {
        let (_, tls, authority, base) = of_url("https://[::1]:8443/app/").unwrap();
        assert_eq!(
            (tls.as_deref(), authority.as_str(), base.as_str()),
            (Some("::1"), "[::1]:8443", "/app/")
        );
        let (_, tls, authority, base) = of_url("http://example.org").unwrap();
        assert_eq!((tls, authority.as_str(), base.as_str()), (None, "example.org", "/"));
    }

    #[test]
    fn the_root_of_a_service_is_the_url_as_it_was_written() {
        let asked = |url: &str, path: &str| {
            let target = Target::Url { url: url.into() };
            let proxy = Proxy::new(&target, false).unwrap().unwrap();
            proxy.uri(&path.parse().unwrap()).unwrap().path_and_query().unwrap().to_string()
        };
        assert_eq!(asked("http://a/mcp", "/"), "/mcp");
        assert_eq!(asked("http://a/mcp", "/?x=/"), "/mcp?x=/");
        assert_eq!(asked("http://a/app/", "/"), "/app/");
        assert_eq!(asked("http://a/app/", "/css/a.css?v=1"), "/app/css/a.css?v=1");
        assert_eq!(asked("http://a", "/b/"), "/b/");
    }
}
