//! Cards, servers on loopback that do as they are told, and a resolver with a script.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use homing_registry::cards::wire::Resolve;
use homing_registry::cards::{Fetcher, FetcherConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A card with something of everything.
pub(crate) fn full_card() -> Value {
    json!({
        "name": "Route Planner",
        "description": "Plans routes",
        "supportedInterfaces": [
            { "url": "https://routes.example.com/a2a/v1", "protocolBinding": "JSONRPC", "protocolVersion": "1.0" },
            { "url": "https://routes.example.com/grpc", "protocolBinding": "GRPC", "protocolVersion": "1.0" },
        ],
        "version": "1.2.0",
        "capabilities": {
            "streaming": true,
            "extensions": [{ "uri": "urn:homing:listing:1", "params": {
                "category": "Travel", "kind": "service", "tags": ["maps"], "protocols": ["mcp"],
                "openapi_url": "https://routes.example.com/openapi.json",
                "pricing": { "per_call": "0.001", "currency": "EUR" },
                "owner_proof": "b3duZXI",
            } }],
        },
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "route", "name": "Route", "description": "From here to there", "tags": ["Maps", "routing"] }],
        "x-unknown": { "kept": [1, null, ""] },
    })
}

/// A card as A2A 0.3 has it.
pub(crate) const V03: &str = r#"{
  "protocolVersion": "0.3.0", "name": "Old", "description": "Of the old days", "version": "0.9",
  "url": "https://old.example.com/grpc", "preferredTransport": "GRPC",
  "additionalInterfaces": [
    { "url": "https://old.example.com/grpc", "transport": "GRPC" },
    { "url": "https://old.example.com/rpc", "transport": "JSONRPC" }
  ],
  "capabilities": {}, "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
  "skills": [{ "id": "x", "name": "X", "description": "x", "tags": ["x"] }]
}"#;

/// What a server does with one request.
pub(crate) enum Reply {
    /// Sends this and closes.
    Whole(Vec<u8>),
    /// Sends the first, then the second until nobody listens.
    Endless(Vec<u8>, Vec<u8>),
    /// Sends this and holds the connection open, silent.
    Silent(Vec<u8>),
    /// Sends this when the gate opens.
    Gated(Vec<u8>, watch::Receiver<bool>),
}

/// A whole answer with a body.
pub(crate) fn ok(headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    Reply::Whole([head.as_bytes(), body].concat())
}

/// An answer without a body.
pub(crate) fn status(line: &str, headers: &str) -> Reply {
    Reply::Whole(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n{headers}\r\n").into_bytes())
}

/// Remembers the head of every request.
#[derive(Clone, Default)]
pub(crate) struct Heads(Arc<Mutex<Vec<String>>>);

impl Heads {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

type Handler = dyn Fn(&str, usize) -> Reply + Send + Sync;

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) heads: Heads,
}

impl Server {
    /// Answers what the handler says to the head of the n-th request.
    pub(crate) async fn start(
        handler: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), None, Arc::new(handler)).await
    }

    pub(crate) async fn start_at(
        addr: SocketAddr,
        tls: Option<TlsAcceptor>,
        handler: Arc<Handler>,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heads = Heads::default();
        let seen = heads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, handler, tls) = (seen.clone(), handler.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &seen, &*handler).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &seen, &*handler).await,
                            Err(error) => seen.0.lock().unwrap().push(format!("TLS: {error}")),
                        },
                    }
                });
            }
        });
        Self { addr, heads }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// A fetcher that may connect to this server and to nothing else that is not public.
    pub(crate) fn fetcher(&self, change: impl FnOnce(&mut FetcherConfig)) -> Fetcher {
        Fetcher::new(self.config(change))
    }

    pub(crate) fn config(&self, change: impl FnOnce(&mut FetcherConfig)) -> FetcherConfig {
        let mut config = FetcherConfig {
            allow_private: vec![self.addr.to_string().parse().unwrap()],
            allow_http: true,
            ..FetcherConfig::default()
        };
        change(&mut config);
        config
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Heads, handler: &Handler) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let number = {
        let mut heads = seen.0.lock().unwrap();
        heads.push(head.clone());
        heads.len()
    };
    match handler(&head, number) {
        Reply::Whole(bytes) => {
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
        Reply::Endless(first, again) => {
            stream.write_all(&first).await.ok();
            while stream.write_all(&again).await.is_ok() {}
        }
        Reply::Silent(bytes) => {
            stream.write_all(&bytes).await.ok();
            // Until the other side closes.
            stream.read_u8().await.ok();
        }
        Reply::Gated(bytes, mut gate) => {
            gate.wait_for(|open| *open).await.ok();
            stream.write_all(&bytes).await.ok();
            stream.shutdown().await.ok();
        }
    }
}

/// Answers from a list, one entry per question; the last one again and again.
pub(crate) struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = Mutex::new(answers.iter().map(parse).collect());
        Arc::new(Self { answers, asked: Mutex::default() })
    }
}

#[async_trait]
impl Resolve for Script {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        next.ok_or_else(|| io::Error::other("no such host"))
    }
}

/// A certificate for `host` and an acceptor that shows it.
pub(crate) fn tls(host: &str) -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate)
}
