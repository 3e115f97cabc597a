//! One HTTP/1.1 exchange with another registry: through the node's tunnel, or over TCP or TLS to a configured URL.
//!
//! Bounded in time (by the caller) and size. Redirects are not followed: a peer is who was configured or proven.

use std::fmt;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use homing_base::{NodeId, Service};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::network::{Network, Tunnel};

/// The service that a registry answers through its node's tunnel.
pub const REGISTRY_SERVICE: &str = "registry";
/// Bytes of an answer: 100 hits with 2 MiB of cards in base64url fit.
const ANSWER_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Another registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// A node of the network.
    Node(NodeId),
    /// A configured URL.
    Url(Url),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => id.fmt(f),
            Self::Url(url) => url.as_str().trim_end_matches('/').fmt(f),
        }
    }
}

/// Posts JSON; the status and the body.
///
/// # Errors
/// What went wrong, for people.
pub(super) async fn post(
    network: &dyn Network,
    peer: &Peer,
    path: &str,
    json: Bytes,
) -> Result<(u16, Bytes), String> {
    let (stream, host, prefix) = open(network, peer).await?;
    let text = |e: hyper::Error| e.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::post(format!("{prefix}{path}"))
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Full::new(json))
        .map_err(|e| e.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|e| e.to_string())?.to_bytes()))
    };
    let outcome = exchange.await;
    driver.abort();
    outcome
}

type Opened = (Box<dyn Tunnel>, String, String);

async fn open(network: &dyn Network, peer: &Peer) -> Result<Opened, String> {
    match peer {
        Peer::Node(id) => {
            let service: Service = REGISTRY_SERVICE.parse().expect("a label");
            let stream = network.open(*id, &service).await.map_err(|e| e.to_string())?;
            Ok((stream, format!("[{}]", homing_base::Address::of(id)), String::new()))
        }
        Peer::Url(url) => {
            let host = url.host_str().ok_or("the URL has no host")?;
            let port = url.port_or_known_default().ok_or("the URL has no port")?;
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let tcp = TcpStream::connect((bare, port)).await.map_err(|e| e.to_string())?;
            let _ = tcp.set_nodelay(true);
            let authority = url.port().map_or(host.to_owned(), |p| format!("{host}:{p}"));
            let prefix = url.path().trim_end_matches('/').to_owned();
            let stream: Box<dyn Tunnel> = match url.scheme() {
                "https" => Box::new(tls(tcp, bare).await?),
                "http" => Box::new(tcp),
                other => return Err(format!("{other} is not spoken here")),
            };
            Ok((stream, authority, prefix))
        }
    }
}

async fn tls(
    tcp: TcpStream,
    host: &str,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    TlsConnector::from(Arc::clone(&CONFIG)).connect(name, tcp).await.map_err(|e| e.to_string())
}
