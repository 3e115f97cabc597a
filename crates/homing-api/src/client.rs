//! The typed client: HTTP/1.1 over the daemon's Unix socket, one connection per request.
//!
//! Every failure is an [`ApiError`]: what the daemon said, or `daemon_not_running`,
//! `version_incompatible`, `timeout` and `internal` for what happened on the way.

mod calls;
mod content;
mod messages;
mod references;
mod upgrade;

pub use content::{FetchEvent, Fetching};
pub use upgrade::{RawStream, SocketStream};

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::error::{ApiError, Code};
use crate::events::Event;
use crate::operations as op;
use crate::sse::{SseDecoder, SseEvent};
use crate::{API_MAJOR, BODY_BYTES_MAX, HEADER_API, HEADER_VERSION};

/// A way to one daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    daemon_version: std::sync::Arc<std::sync::OnceLock<String>>,
}

/// A raw response, for `homing api`.
#[derive(Clone, Debug)]
pub struct RawResponse {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The body, at most [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// A stream of events; ends when the daemon stops.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    decoder: SseDecoder,
}

/// How long an answer may take before the daemon is asked whether it is there at all.
const ANSWER_LOOK: Duration = Duration::from_secs(5);
/// How long it may take to say that: a loaded machine is slow, a stopped process is silent.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    /// A client of the daemon that listens at `socket`. Does not connect yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), daemon_version: std::sync::Arc::default() }
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon's program version, once it has answered anything.
    #[must_use]
    pub fn daemon_version(&self) -> Option<&str> {
        self.daemon_version.get().map(String::as_str)
    }

    /// A JSON response to a `GET`.
    ///
    /// # Errors
    /// See the module.
    pub async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        read_json(self.send(Method::GET, path, None).await?).await
    }

    /// A JSON response to a `POST` with a JSON body.
    ///
    /// # Errors
    /// See the module.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|e| internal("the request", &e))?;
        read_json(self.send(Method::POST, path, Some(body)).await?).await
    }

    /// Any request, uninterpreted.
    ///
    /// # Errors
    /// Only for what happened on the way; statuses of 400 and above are answers here.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<RawResponse, ApiError> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| ApiError::new(Code::Usage, format!("{method:?} is no HTTP method")))?;
        let response = self.send(method, path, body).await?;
        let content_type = header(&response, CONTENT_TYPE.as_str()).unwrap_or_default();
        let status = response.status().as_u16();
        Ok(RawResponse { status, content_type, body: read_body(response).await? })
    }

    /// Server-Sent Events of a `GET` (no body) or `POST` (JSON body).
    ///
    /// # Errors
    /// See the module.
    pub async fn stream_events(
        &self,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<EventStream, ApiError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let response = self.send(method, path, body).await?;
        if !response.status().is_success() {
            return Err(read_error(response).await);
        }
        Ok(EventStream { body: response.into_body(), decoder: SseDecoder::default() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ApiError> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        self.exchange(request, body.unwrap_or_default()).await
    }

    async fn exchange(
        &self,
        request: hyper::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ApiError> {
        let request = request
            .header(HOST, "homing")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| ApiError::new(Code::Usage, format!("the request is malformed: {e}")))?;
        let mut sender = self.connect_daemon().await?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let response = loop {
            match timeout(ANSWER_LOOK, &mut answer).await {
                Ok(response) => break response.map_err(|e| hung_up(&e))?,
                // Some answers take long; that there is somebody who will give them must show sooner.
                Err(_) if self.is_alive().await => {}
                Err(_) => return Err(self.is_stuck()),
            }
        };
        self.check_version(&response)?;
        Ok(response)
    }

    async fn connect_daemon(&self) -> Result<SendRequest<Full<Bytes>>, ApiError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.not_running(&e))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| internal("the connection to the daemon", &e))?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// Whether the daemon answers the smallest question.
    async fn is_alive(&self) -> bool {
        let asked = async {
            let mut sender = self.connect_daemon().await.ok()?;
            let request = Request::get(op::VERSION).header(HOST, "homing");
            sender.send_request(request.body(Full::new(Bytes::new())).ok()?).await.ok()
        };
        timeout(ALIVE_TIMEOUT, asked).await.is_ok_and(|answer| answer.is_some())
    }

    fn is_stuck(&self) -> ApiError {
        let home = self.socket.parent().unwrap_or(Path::new("."));
        ApiError::new(Code::Timeout, "the daemon does not answer")
            .why(format!("it took the connection at {} and says nothing", self.socket.display()))
            .hint(format!(
                "homing daemon logs; or end it: kill -9 $(cat {}), nothing that was acknowledged is lost; then homing up",
                home.join("daemon.pid").display()
            ))
    }

    fn check_version(&self, response: &Response<Incoming>) -> Result<(), ApiError> {
        if let Some(version) = header(response, HEADER_VERSION) {
            let _ = self.daemon_version.set(version);
        }
        match header(response, HEADER_API).map(|v| v.parse::<u32>()) {
            Some(Ok(API_MAJOR)) => Ok(()),
            other => Err(ApiError::new(
                Code::VersionIncompatible,
                "this program and the daemon speak different versions of the local API",
            )
            .why(format!("here: {API_MAJOR}, daemon: {}", describe_major(other)))
            .hint("restart the daemon with this version: homing down, then homing up with the flags you started it with")),
        }
    }

    fn not_running(&self, error: &std::io::Error) -> ApiError {
        let socket = self.socket.display();
        match error.kind() {
            ErrorKind::PermissionDenied => ApiError::new(
                Code::PermissionDenied,
                "the daemon's socket belongs to somebody else",
            )
            .why(format!("{socket}: {error}"))
            .hint("run as the user who started the daemon, or set HOMING_HOME"),
            ErrorKind::InvalidInput => {
                ApiError::new(Code::ConfigInvalid, "the path of the socket is too long")
                    .why(format!("{socket}: a Unix socket path has at most 107 bytes"))
                    .hint("set HOMING_HOME to a shorter path")
            }
            _ => ApiError::new(Code::DaemonNotRunning, "the daemon is not running")
                .why(format!("nothing answers at {socket}"))
                .hint("homing up"),
        }
    }
}

impl EventStream {
    /// The next event; `None` when the daemon ended the stream.
    ///
    /// # Errors
    /// `internal` when the connection breaks or an event is too long.
    pub async fn recv(&mut self) -> Result<Option<SseEvent>, ApiError> {
        loop {
            if let Some(event) = self.decoder.poll_event() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|e| hung_up(&e))?;
            if let Some(bytes) = frame.data_ref() {
                self.decoder.push(bytes).map_err(|e| internal("the event stream", &e))?;
            }
        }
    }

    /// The next event of `GET /v1/events`.
    ///
    /// # Errors
    /// As [`EventStream::recv`], and when the event is not of this schema.
    pub async fn recv_event(&mut self) -> Result<Option<Event>, ApiError> {
        let Some(event) = self.recv().await? else { return Ok(None) };
        serde_json::from_str(&event.data).map(Some).map_err(|e| internal("an event", &e))
    }
}

/// A path with those parameters that have a value.
#[must_use]
pub fn with_query(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(key, value)| value.map(|v| (key, v)));
    let pairs: Vec<_> = given.map(|(key, v)| format!("{key}={}", percent_encode(v))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// RFC 3986 §2.1: everything but unreserved characters is escaped.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

async fn read_json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ApiError> {
    if !response.status().is_success() {
        return Err(read_error(response).await);
    }
    let body = read_body(response).await?;
    serde_json::from_slice(&body).map_err(|e| internal("the daemon's answer", &e))
}

async fn read_error(response: Response<Incoming>) -> ApiError {
    let status = response.status();
    match read_body(response).await {
        Ok(body) => serde_json::from_slice(&body).unwrap_or_else(|_| {
            ApiError::new(Code::Internal, format!("the daemon answered HTTP {status}"))
        }),
        Err(error) => error,
    }
}

async fn read_body(response: Response<Incoming>) -> Result<Vec<u8>, ApiError> {
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    body.map(|b| b.to_bytes().to_vec())
        .map_err(|e| ApiError::new(Code::Internal, format!("the daemon's answer broke off: {e}")))
}

fn header(response: &Response<Incoming>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn describe_major(major: Option<Result<u32, std::num::ParseIntError>>) -> String {
    match major {
        Some(Ok(number)) => number.to_string(),
        _ => "does not say".to_owned(),
    }
}

fn internal(what: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(Code::Internal, format!("{what}: {error}"))
}

fn hung_up(error: &hyper::Error) -> ApiError {
    ApiError::new(Code::DaemonNotRunning, "the daemon hung up")
        .why(error.to_string())
        .hint("homing daemon status, then homing daemon logs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_carry_what_was_given_and_nothing_else() {
        assert_eq!(with_query("/v1/status", &[("peer", None)]), "/v1/status");
        let query = [("peer", Some("fd3a::1")), ("service", Some("a b"))];
        assert_eq!(with_query("/v1/connect", &query), "/v1/connect?peer=fd3a%3A%3A1&service=a%20b");
    }

    #[tokio::test]
    async fn without_a_daemon_the_error_says_so() {
        let error = Client::new("/nonexistent/homing.sock").info().await.unwrap_err();
        assert_eq!((error.code, error.exit), (Code::DaemonNotRunning, 4));
        assert!(error.retryable && error.hint.is_some());
    }
}
