//! HTTP requests to a service of a peer, each over a stream of its own.
//!
//! The stream opens within one round trip on a connection that is there already; dropping the response
//! ends it, which tells the server that nobody waits any more. Not here: what is asked
//! ([`super::mcp`], [`super::a2a`]).

use std::time::Duration;

use homing_api::client::RawStream;
use homing_api::streams::StreamState;
use homing_api::{ApiError, Client, Code};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response};

/// The largest body that is read whole.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// The way to one service of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Tunnel {
    pub(crate) client: Client,
    /// Name, address or node ID.
    pub(crate) peer: String,
    pub(crate) service: String,
    /// For opening a stream.
    pub(crate) timeout: Duration,
}

impl Tunnel {
    /// A stream to the service.
    pub(crate) async fn open(&self) -> Result<RawStream, ApiError> {
        self.client.connect(&self.peer, &self.service, self.timeout).await
    }

    /// One request over a stream that is open. Waits for the head of the response only.
    pub(crate) async fn exchange(
        &self,
        stream: RawStream,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ApiError> {
        let id = stream.id;
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
        let (mut sender, connection) =
            match hyper::client::conn::http1::handshake(stream.io.into_inner()).await {
                Ok(parts) => parts,
                Err(error) => return Err(self.why(id, &error).await),
            };
        tokio::spawn(connection);
        match sender.send_request(request).await {
            Ok(response) => Ok(response),
            Err(error) => Err(self.why(id, &error).await),
        }
    }

    /// Opens a stream and sends one request.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ApiError> {
        self.exchange(self.open().await?, request).await
    }

    /// What the daemon knows about a stream that broke, else what HTTP says.
    async fn why(&self, id: u64, error: &hyper::Error) -> ApiError {
        match self.client.stream_outcome(id).await {
            Ok(outcome) if outcome.state == StreamState::Broken => {
                outcome.error.unwrap_or_else(|| self.broken(error))
            }
            _ => self.broken(error),
        }
    }

    /// The service ended without a whole answer.
    pub(crate) fn broken(&self, error: &dyn std::fmt::Display) -> ApiError {
        let message = format!("{} of {} broke off", self.service, self.peer);
        ApiError::new(Code::StreamBroken, message)
            .why(error.to_string())
            .hint("is the program behind the service running, and does it speak HTTP?")
    }

    /// A body of at most [`BODY_BYTES_MAX`].
    pub(crate) async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, ApiError> {
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|e| self.broken(&e))
    }
}

/// The media type without its parameters, in lower case.
pub(crate) fn media_type(response: &Response<Incoming>) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let value = value.unwrap_or_default().split(';').next().unwrap_or_default();
    value.trim().to_ascii_lowercase()
}
