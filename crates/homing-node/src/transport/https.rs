//! The few HTTPS requests that a node makes itself, all to relays: is it alive, and which node is it?
//!
//! HTTP/1.1 over TLS with the book's trust rules, or plain for `http://` relays. One request at a time
//! per connection; bodies are cut off at a limit before they are kept.

use std::net::SocketAddr;
use std::sync::Arc;

use homing_base::{Record, RelayRef};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;

use super::relay_book::{RelayBook, bare_host};
use super::{dial, limits, proxy};

/// The path that a Homing relay answers with its node's record.
pub(crate) const WELL_KNOWN_PATH: &str = "/.well-known/homing";
/// The path that every relay answers with success.
pub(super) const PING_PATH: &str = "/ping";

/// A kept-alive connection with a relay.
pub(super) struct Http {
    sender: SendRequest<Empty<Bytes>>,
    authority: String,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// A sentence for people: no address, refused, wrong certificate.
    pub(super) async fn connect(book: &Arc<RelayBook>, relay: &RelayRef) -> Result<Self, String> {
        let url = book.url(relay).ok_or("its URL is none")?;
        let port = url.port_or_known_default().ok_or("its URL has no port")?;
        let host = url.host().map(|h| bare_host(&h)).unwrap_or_default();
        let io = proxy::reach(book, &host, port).await?;
        let authority = book.as_configured(relay).authority().to_owned();
        let sender = if url.scheme() == "https" {
            let name = rustls::pki_types::ServerName::try_from(host).map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(Arc::new(book.client_config()));
            let tls = connector.connect(name, io).await.map_err(|e| e.to_string())?;
            handshake(TokioIo::new(tls)).await?
        } else {
            handshake(TokioIo::new(io)).await?
        };
        Ok(Self { sender, authority })
    }

    /// GETs a path; the body is at most `bytes_max` long.
    ///
    /// # Errors
    /// A sentence for people.
    pub(super) async fn get(
        &mut self,
        path: &str,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = Request::get(path)
            .header(hyper::header::HOST, &self.authority)
            .body(Empty::new())
            .map_err(|e| e.to_string())?;
        self.sender.ready().await.map_err(|e| e.to_string())?;
        let answer = self.sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), bytes_max).collect().await;
        let body = body.map_err(|e| format!("its answer is too long or broken: {e}"))?;
        Ok((status, body.to_bytes()))
    }
}

async fn handshake<T>(io: T) -> Result<SendRequest<Empty<Bytes>>, String>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|e| e.to_string())?;
    // Ends by itself when the sender is dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection with a relay ended");
        }
    });
    Ok(sender)
}

/// The record of the node behind a relay, verified, and its direct addresses.
pub(super) async fn well_known(
    book: &Arc<RelayBook>,
    relay: &RelayRef,
) -> Result<(Record, Vec<SocketAddr>), String> {
    let mut http = Http::connect(book, relay).await?;
    match http.get(WELL_KNOWN_PATH, limits::WELL_KNOWN_BYTES_MAX).await? {
        (StatusCode::OK, body) => dial::read_well_known(&body),
        (StatusCode::NOT_FOUND, _) => Err("no homing node behind it".into()),
        (status, _) => Err(format!("it answered {status}")),
    }
}
