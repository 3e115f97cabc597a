//! This agent's card: kept as `card.json`, named by the record, served to trusted peers.
//!
//! ```text
//! publish ─► card.json (written beside, synced, renamed) ─► the record names URL and SHA-256
//! a trusted peer ─► stream to the service "card" ─► HTTP/1.1 GET, any path ─► the bytes as they are
//! ```
//! At a start the file decides: the record names what is in it, at the URL of the previous record if that
//! named these very bytes, else at the path through the tunnel. Not here: what a card says, signatures.

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::HEXLOWER;
use homing_api::agent::Done;
use homing_api::cards::{CARD_BYTES_MAX, PublishCardRequest, PublishedCard};
use homing_api::streams::Protocol;
use homing_api::{ApiError, Code, Schema};
use homing_base::Service;
use homing_base::record::CardRef;
use homing_core::{Answer, Command};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tracing::{debug, warn};

use crate::node::{Node, unexpected};
use crate::streams::Stream;

/// Where a card is that has no URL: the path that A2A 1.0 §8.2 names.
const TUNNEL_PATH: &str = "/.well-known/agent-card.json";
/// Requests of one stream must come within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// One stream, all in all.
const STREAM_TIMEOUT: Duration = Duration::from_secs(60);
/// Streams served at once; further ones wait in the listener's backlog.
const STREAMS_MAX: usize = 16;

impl Node {
    /// Publishes a card, or withdraws it: durable, then in the next record.
    ///
    /// # Errors
    /// `usage` when it is no JSON object, too long, or the URL is none that a record can name.
    pub async fn publish_card(&self, request: PublishCardRequest) -> Result<Done, ApiError> {
        let card = match &request.text {
            None => None,
            Some(text) => Some(card_ref(text, request.url)?),
        };
        let before = self.query(|agent| agent.own_card().cloned()).await?;
        // The record must never name a card that is not here, nor miss one for long.
        if card.is_some() {
            self.write_card(request.text).await?;
            self.name_card(card.clone()).await?;
        } else {
            self.name_card(None).await?;
            self.write_card(None).await?;
        }
        Ok(Done { schema: Schema::new(), changed: before != card })
    }

    /// The published card.
    ///
    /// # Errors
    /// `not_found` when there is none.
    pub async fn published_card(&self) -> Result<PublishedCard, ApiError> {
        let named = self.query(|agent| agent.own_card().cloned()).await?;
        let (Some(card), Some(text)) = (named, self.read_card().await) else {
            return Err(ApiError::new(Code::NotFound, "this agent has published no card")
                .hint("homing card init, then homing card publish"));
        };
        let sha256 = HEXLOWER.encode(&card.sha256);
        Ok(PublishedCard { schema: Schema::new(), url: card.url, sha256, text })
    }

    /// Names the card on disk in the record and serves it, until the node stops.
    pub(crate) async fn serve_cards(self) {
        self.recall_card().await;
        let service = Service::CARD.parse().expect("a service name");
        let mut listener = match self.shared.streams.listen_built_in(service, Protocol::Bytes) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "cards are not served"),
        };
        let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(STREAMS_MAX));
        while let Some(stream) = listener.accept().await {
            let slot = slots.clone().acquire_owned().await.expect("never closed");
            let node = self.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(STREAM_TIMEOUT, serve(node, stream)).await;
                drop(slot);
            });
        }
    }

    async fn recall_card(&self) {
        let Ok(named) = self.query(|agent| agent.own_card().cloned()).await else { return };
        let found = self.read_card().await.and_then(|text| card_ref(&text, None).ok());
        let card = match (found, named) {
            (Some(found), Some(named)) if found.sha256 == named.sha256 => Some(named),
            (found, _) => found,
        };
        if let Err(error) = self.name_card(card).await {
            warn!(%error, "the card is not in the record");
        }
    }

    async fn name_card(&self, card: Option<CardRef>) -> Result<(), ApiError> {
        match self.command("the card", Command::SetCard(card)).await? {
            Answer::Done { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn read_card(&self) -> Option<String> {
        let path = self.home().card();
        tokio::task::spawn_blocking(move || {
            let bytes = std::fs::metadata(&path).ok()?.len();
            let text = (bytes <= CARD_BYTES_MAX as u64).then(|| std::fs::read_to_string(&path));
            text?.ok().filter(|text| text.len() <= CARD_BYTES_MAX)
        })
        .await
        .ok()?
    }

    async fn write_card(&self, text: Option<String>) -> Result<(), ApiError> {
        let path = self.home().card();
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || match text {
            Some(text) => write(path, text.as_bytes()),
            None => match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        })
        .await;
        let failed = |why: String| {
            ApiError::new(Code::PermissionDenied, format!("{shown} cannot be written")).why(why)
        };
        written.map_err(|e| failed(e.to_string()))?.map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull => ApiError::new(Code::DiskFull, "no space for the card"),
            _ => failed(e.to_string()),
        })
    }
}

/// Whole or not at all.
fn write(path: PathBuf, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    let mut file = tempfile::Builder::new().prefix(".card.").suffix(".tmp").tempfile_in(&dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()
}

fn card_ref(text: &str, url: Option<String>) -> Result<CardRef, ApiError> {
    if text.len() > CARD_BYTES_MAX {
        let message = format!("a card has at most {CARD_BYTES_MAX} bytes, this has {}", text.len());
        return Err(ApiError::new(Code::Usage, message));
    }
    let is_object = serde_json::from_str::<serde_json::Map<_, _>>(text);
    is_object.map_err(|e| {
        ApiError::new(Code::Usage, "a card is a JSON object")
            .why(e.to_string())
            .hint("homing card lint FILE")
    })?;
    let url = url.filter(|url| !url.is_empty()).unwrap_or_else(|| TUNNEL_PATH.to_owned());
    if !url.starts_with("https://") && !url.starts_with("http://") && !url.starts_with('/') {
        return Err(ApiError::new(Code::Usage, format!("{url:?} is neither a web URL nor a path")));
    }
    Ok(CardRef { url, sha256: Sha256::digest(text.as_bytes()).into() })
}

async fn serve(node: Node, stream: Stream) {
    let peer = stream.peer();
    let (http, ours) = tokio::io::duplex(16 * 1_024);
    let (from_http, to_http) = tokio::io::split(ours);
    let answer = service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(answer(&node, &request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).keep_alive(false);
    // A peer that says no more after its request still wants the answer.
    server.half_close(true);
    let serving = server.serve_connection(TokioIo::new(http), answer);
    let (served, carried) = tokio::join!(serving, stream.carry(from_http, to_http));
    debug!(peer = %peer.fmt_short(), ok = served.is_ok() && carried.is_ok(), "card served");
}

async fn answer(node: &Node, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let respond = |status| Response::builder().status(status);
    let body = |text: String| Full::new(Bytes::from(text));
    let built = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        respond(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, "GET, HEAD").body(body(String::new()))
    } else if let Some(text) = node.read_card().await {
        let etag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(text.as_bytes())));
        let known = request.headers().get(IF_NONE_MATCH).is_some_and(|v| v == etag.as_str());
        let (status, text) = match known {
            true => (StatusCode::NOT_MODIFIED, String::new()),
            false => (StatusCode::OK, text),
        };
        respond(status)
            .header(CONTENT_TYPE, "application/json")
            .header(ETAG, etag)
            .header(CACHE_CONTROL, "no-cache")
            .body(body(text))
    } else {
        respond(StatusCode::NOT_FOUND).body(body(String::new()))
    };
    built.expect("fixed headers are valid")
}
