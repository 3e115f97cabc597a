//! The relay role: forwards encrypted packets for endpoints that cannot connect directly.
//!
//! ```text
//! TCP listen       HTTPS: /relay (WebSocket, iroh's protocol) · /ping · /generate_204 · /.well-known/homing
//! UDP quic_port    QUIC address discovery: "I see you as …"
//! UDP quic_port+1  the same again, so that a client can tell whether its NAT varies by destination
//! ```
//! The forwarding is iroh's; certificate ([`certificate`]), access ([`access`], [`pass`]), the accept loop
//! and its bounds are ours. The relay sees endpoint keys and ciphertext. `/.well-known/homing` answers
//! `{1 signed agent record, 2 direct addresses}` of the node that runs the relay, 404 while there is none.
//! Not here: the client side ([`crate::transport`]).

pub mod access;
pub mod certificate;
pub mod pass;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homing_base::RelayRef;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use iroh_relay::KeyCache;
use iroh_relay::server::http_server::{BytesBody, TlsConfig};
use iroh_relay::server::{
    ClientRateLimit, Handlers, Metrics, QuicConfig, RelayService, Server, ServerConfig,
};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use access::RelayAccess;
pub use certificate::RelayTls;

use access::Gate;
use certificate::Certificate;

/// TCP connections at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// From TCP connect to an established relay connection; kept-alive probes are cut off after it.
const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// Public keys whose decoding is remembered.
const KEY_CACHE: usize = 16_384;
/// Attempts to find two neighbouring free UDP ports when any will do.
const PORT_PAIR_ATTEMPTS: usize = 32;
/// Burst that a rate-limited client may send, in seconds of its rate.
const BURST_SECONDS: u32 = 2;

/// What a relay is started with.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// TCP address of HTTPS; port 0 takes any.
    pub listen: SocketAddr,
    /// UDP port of address discovery, on the same IP; the next port is used too. 0 takes any pair.
    pub quic_port: u16,
    /// The certificate.
    pub tls: RelayTls,
    /// Who may use the relay.
    pub access: RelayAccess,
    /// Bytes per second that one client may send through the relay; `None`: no limit.
    pub rate_limit_bytes_per_second: Option<NonZeroU32>,
    /// The body of `/.well-known/homing`; empty: 404.
    pub well_known: watch::Receiver<Vec<u8>>,
}

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// Another program has the port.
    #[error("{addr} is in use by another program")]
    PortInUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("{addr} cannot be bound: {reason}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// The certificate or its key cannot be used.
    #[error("the certificate {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Numbers for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// Clients connected now.
    pub clients: usize,
    /// Relay connections accepted since the start.
    pub accepted: u64,
    /// Payload bytes received from clients.
    pub bytes_received: u64,
    /// Payload bytes sent to clients.
    pub bytes_sent: u64,
    /// Received bytes that had to wait for the rate limit.
    pub bytes_limited: u64,
}

/// A running relay. Stops when dropped; [`RelayServer::stop`] also says goodbye to its clients.
pub struct RelayServer {
    addr: SocketAddr,
    quic_port: Option<u16>,
    pin: Option<[u8; 32]>,
    secure: bool,
    service: RelayService,
    metrics: Arc<Metrics>,
    gate: Gate,
    accepting: JoinHandle<()>,
    discovery: Vec<Server>,
}

impl RelayServer {
    /// Binds the ports and serves.
    ///
    /// # Errors
    /// See [`RelayError`]; nothing is left bound.
    pub async fn start(config: RelayConfig) -> Result<Self, RelayError> {
        let certificate = Certificate::load(&config.tls)?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|e| bind_error(config.listen, e.kind(), e.to_string()))?;
        let addr = listener
            .local_addr()
            .map_err(|e| bind_error(config.listen, e.kind(), e.to_string()))?;
        let discovery = match &certificate {
            Some(c) => discover(addr.ip(), config.quic_port, &c.config).await?,
            None => Vec::new(),
        };
        let gate = Gate::new(config.access);
        let metrics = Arc::new(Metrics::default());
        let service = RelayService::new(
            handlers(config.well_known),
            HeaderMap::new(),
            config.rate_limit_bytes_per_second.map(rate),
            KeyCache::new(KEY_CACHE),
            Arc::new(gate.clone()),
            metrics.clone(),
        );
        let tls = certificate.as_ref().map(|c| TlsConfig::new(c.config.clone()));
        Ok(Self {
            addr,
            quic_port: discovery.first().and_then(Server::quic_addr).map(|a| a.port()),
            pin: certificate.as_ref().and_then(|c| c.pin),
            secure: certificate.is_some(),
            accepting: tokio::spawn(accept(listener, service.clone(), tls)),
            service,
            metrics,
            gate,
            discovery,
        })
    }

    /// Where the relay listens (TCP).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The reference that clients take, when the relay is reached as `host`: a name, or an IP.
    #[must_use]
    pub fn relay_ref(&self, host: &str) -> RelayRef {
        let scheme = if self.secure { "https" } else { "http" };
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => host.to_ascii_lowercase(),
        };
        let url = format!("{scheme}://{host}:{}/", self.addr.port());
        RelayRef { url, pin: self.pin, quic_port: self.quic_port }
    }

    /// Replaces the access rule. Clients that it no longer lets in are disconnected.
    pub fn set_access(&self, access: RelayAccess) {
        for endpoint in self.gate.set(access) {
            self.service.clients().disconnect(endpoint, None);
        }
    }

    /// What went through so far.
    #[must_use]
    pub fn counts(&self) -> RelayCounts {
        RelayCounts {
            clients: self.gate.count(),
            accepted: self.metrics.accepts.get(),
            bytes_received: self.metrics.bytes_recv.get(),
            bytes_sent: self.metrics.bytes_sent.get(),
            bytes_limited: self.metrics.bytes_rx_ratelimited_total.get(),
        }
    }

    /// Disconnects the clients and frees the ports.
    pub async fn stop(mut self) {
        self.accepting.abort();
        self.service.shutdown().await;
        for server in std::mem::take(&mut self.discovery) {
            if let Err(error) = server.shutdown().await {
                tracing::debug!(%error, "address discovery did not stop cleanly");
            }
        }
    }
}

impl Drop for RelayServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, service: RelayService, tls: Option<TlsConfig>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut guests = tokio::task::JoinSet::new();
    loop {
        let permit = room.clone().acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (service, tls) = (service.clone(), tls.clone());
                guests.spawn(async move {
                    service.handle_connection(stream, tls, ESTABLISH_TIMEOUT).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to be closed.
                tracing::warn!(%error, "the relay could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while guests.try_join_next().is_some() {}
    }
}

/// Two address discovery servers on neighbouring ports.
async fn discover(
    ip: IpAddr,
    port: u16,
    tls: &Arc<rustls::ServerConfig>,
) -> Result<Vec<Server>, RelayError> {
    let serve = |port: u16| {
        let mut quic = QuicConfig::new(SocketAddr::new(ip, port));
        quic.server_config = Some((**tls).clone());
        let mut config = ServerConfig::default();
        config.quic = Some(quic);
        Server::spawn(config)
    };
    let mut refused = String::new();
    for _ in 0..if port == 0 { PORT_PAIR_ATTEMPTS } else { 1 } {
        check_free(SocketAddr::new(ip, port))?;
        let first = serve(port)
            .await
            .map_err(|e| bind_error(SocketAddr::new(ip, port), other(), format!("{e:#}")))?;
        let bound = first.quic_addr().map_or(port, |a| a.port());
        let Some(next) = bound.checked_add(1) else { continue };
        if port != 0 && check_free(SocketAddr::new(ip, next)).is_err() {
            // Two relays on neighbouring ports of one host: each still tells clients their address,
            // only whether a NAT varies by destination stays unknown through this one alone.
            tracing::warn!(port = next, "address discovery has one port only, the next is taken");
            return Ok(vec![first]);
        }
        match serve(next).await {
            Ok(second) => return Ok(vec![first, second]),
            Err(error) => refused = format!("{error:#}"),
        }
    }
    Err(bind_error(SocketAddr::new(ip, port), other(), refused))
}

fn other() -> std::io::ErrorKind {
    std::io::ErrorKind::Other
}

/// The plain reason before the library wraps it.
fn check_free(addr: SocketAddr) -> Result<(), RelayError> {
    match std::net::UdpSocket::bind(addr) {
        Ok(_) => Ok(()),
        Err(e) => Err(bind_error(addr, e.kind(), e.to_string())),
    }
}

fn bind_error(addr: SocketAddr, kind: std::io::ErrorKind, reason: String) -> RelayError {
    match kind {
        std::io::ErrorKind::AddrInUse => RelayError::PortInUse { addr },
        _ => RelayError::Bind { addr, reason },
    }
}

fn rate(bytes_per_second: NonZeroU32) -> ClientRateLimit {
    let mut limit = ClientRateLimit::new(bytes_per_second);
    limit.max_burst_bytes =
        Some(bytes_per_second.saturating_mul(NonZeroU32::new(BURST_SECONDS).expect("not zero")));
    limit
}

fn handlers(well_known: watch::Receiver<Vec<u8>>) -> Handlers {
    type Answer = Result<Response<BytesBody>, Box<dyn std::error::Error + Send + Sync>>;
    let mut handlers = Handlers::default();
    let mut serve = |path,
                     answer: Box<
        dyn Fn(Request<Incoming>, hyper::http::response::Builder) -> Answer + Send + Sync,
    >| {
        handlers.insert((Method::GET, path), answer);
    };
    serve("/ping", Box::new(|_, reply| Ok(reply.status(StatusCode::OK).body(body(Vec::new()))?)));
    serve(
        "/generate_204",
        Box::new(|_, reply| Ok(reply.status(StatusCode::NO_CONTENT).body(body(Vec::new()))?)),
    );
    serve(
        crate::transport::WELL_KNOWN_PATH,
        Box::new(move |_, reply| {
            let bytes = well_known.borrow().clone();
            let status = if bytes.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
            let reply = reply.status(status).header("Content-Type", "application/cbor");
            Ok(reply.body(body(bytes))?)
        }),
    );
    handlers
}

fn body(bytes: Vec<u8>) -> BytesBody {
    Box::new(Full::new(Bytes::from(bytes)))
}
