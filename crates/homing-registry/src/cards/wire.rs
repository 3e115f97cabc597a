//! One HTTP/1.1 exchange: to a checked address, over TLS, or through an agent's tunnel.
//!
//! ```text
//! host ──Resolve──► addresses ──every one: guard::check──► connect to one of these (never resolved again)
//!                                                            └─ TLS: the URL's host is name and SNI
//! GET, identity encoding, no cookies, no proxy ──► head ≤ 16 KiB ──► body ≤ 256 KiB, counted as it comes
//! ```
//! `hyper` and `rustls` do all of it. A higher client would bring a resolver, redirects, proxies from the
//! environment, cookies and decompression, each to be switched off again. Not here: redirects, caching.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::fetch::FetchError;
use super::guard::{self, AllowedNetwork};
use super::limits::{
    ADDRESSES_MAX, ADDRESSES_TRIED_MAX, CARD_BYTES_MAX, CONNECT_TIMEOUT, HEAD_BYTES_MAX,
    HEAD_TIMEOUT, HEADERS_MAX, VALIDATOR_BYTES_MAX,
};
use super::target::Target;
use crate::network::Tunnel;

/// From a host name to its addresses.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Every address of a name.
    ///
    /// # Errors
    /// Those of the resolver; no address is an error too.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|addr| addr.ip()).collect())
    }
}

/// What is asked for besides the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag` of the copy at hand.
    pub etag: Option<String>,
    /// `Last-Modified` of the copy at hand.
    pub last_modified: Option<String>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; empty unless the status is 200.
    pub body: Bytes,
}

impl Answer {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What to ask with next time.
    #[must_use]
    pub fn validators(&self) -> Validators {
        let short = |name| self.header(name).filter(|v| v.len() <= VALIDATOR_BYTES_MAX);
        Validators {
            etag: short(header::ETAG).map(str::to_owned),
            last_modified: short(header::LAST_MODIFIED).map(str::to_owned),
        }
    }
}

/// Connects and asks.
pub(super) struct Wire {
    resolver: Arc<dyn Resolve>,
    allowed: Vec<AllowedNetwork>,
    tls: TlsConnector,
}

impl Wire {
    pub(super) fn new(
        resolver: Arc<dyn Resolve>,
        allowed: Vec<AllowedNetwork>,
        more_roots: Vec<CertificateDer<'static>>,
    ) -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(more_roots);
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring offers TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { resolver, allowed, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Fetches a URL once; a redirect is an answer like another.
    pub(super) async fn get(
        &self,
        target: &Target,
        validators: &Validators,
    ) -> Result<Answer, FetchError> {
        let within = |what| move |_| FetchError::Timeout { what };
        let connected = timeout(CONNECT_TIMEOUT, self.connect(target)).await;
        let stream = connected.map_err(within("connecting"))??;
        exchange(stream, &target.authority(), &target.path(), validators).await
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Tunnel>, FetchError> {
        let tcp = connect_any(&self.checked(target).await?).await?;
        tcp.set_nodelay(true).ok();
        if !target.is_https() {
            return Ok(Box::new(tcp));
        }
        let host = target.host();
        let name = ServerName::try_from(host.clone())
            .map_err(|e| FetchError::Connect { why: e.to_string() })?;
        match self.tls.connect(name, tcp).await {
            Ok(tls) => Ok(Box::new(tls)),
            Err(error) => Err(FetchError::Connect { why: format!("TLS with {host}: {error}") }),
        }
    }

    /// The addresses of a target, every one of them judged: one bad address condemns the name, since
    /// whoever controls it chooses which one is tried.
    async fn checked(&self, target: &Target) -> Result<Vec<SocketAddr>, FetchError> {
        let host = target.host();
        let ips = match target.ip() {
            Some(ip) => vec![ip],
            None => self.resolver.addresses(&host).await.map_err(|error| FetchError::Resolve {
                host: host.clone(),
                why: error.to_string(),
            })?,
        };
        if ips.is_empty() || ips.len() > ADDRESSES_MAX {
            let why = format!("{} addresses", ips.len());
            return Err(FetchError::Resolve { host, why });
        }
        let addrs = ips.into_iter().map(|ip| SocketAddr::new(ip, target.port()));
        let checked = addrs.map(|addr| match guard::check(addr, &self.allowed) {
            Ok(()) => Ok(addr),
            Err(what) => Err(FetchError::Address { host: host.clone(), ip: addr.ip(), what }),
        });
        checked.collect()
    }
}

async fn connect_any(addrs: &[SocketAddr]) -> Result<TcpStream, FetchError> {
    let mut last = "no address".to_owned();
    for addr in addrs.iter().take(ADDRESSES_TRIED_MAX) {
        match TcpStream::connect(addr).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error.to_string(),
        }
    }
    Err(FetchError::Connect { why: last })
}

/// Asks for a path over a stream that stands, whatever carries it: also an agent's tunnel.
///
/// # Errors
/// [`FetchError::Timeout`], [`FetchError::Http`], [`FetchError::TooLong`], [`FetchError::Encoding`].
pub async fn exchange(
    stream: Box<dyn Tunnel>,
    authority: &str,
    path: &str,
    validators: &Validators,
) -> Result<Answer, FetchError> {
    let http = |e: hyper::Error| FetchError::Http { why: reason(&e) };
    let request = request(authority, path, validators)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(http)?;
    // Both in one task: when this future is dropped, so is the connection.
    let answer = async {
        let sent = timeout(HEAD_TIMEOUT, sender.send_request(request)).await;
        let answer = sent.map_err(|_| FetchError::Timeout { what: "the answer's head" })?;
        read(answer.map_err(http)?).await
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => match ended {
            // The answer may have arrived with the end of the connection.
            Ok(()) => answer.await,
            Err(error) => answer.await.map_err(|_| http(error)),
        },
    }
}

fn request(
    authority: &str,
    path: &str,
    validators: &Validators,
) -> Result<Request<Empty<Bytes>>, FetchError> {
    let mut request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, concat!("homing/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    if let Some(etag) = &validators.etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    if let Some(date) = &validators.last_modified {
        request = request.header(header::IF_MODIFIED_SINCE, date);
    }
    request.body(Empty::new()).map_err(|e| FetchError::Http { why: e.to_string() })
}

async fn read(answer: Response<Incoming>) -> Result<Answer, FetchError> {
    let (head, mut body) = answer.into_parts();
    let empty = Answer { status: head.status, headers: head.headers, body: Bytes::new() };
    if head.status != StatusCode::OK {
        return Ok(empty);
    }
    let encoding = empty.header(header::CONTENT_ENCODING).unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(FetchError::Encoding { encoding: encoding.chars().take(32).collect() });
    }
    let too_long = FetchError::TooLong { max: CARD_BYTES_MAX };
    let announced = empty.header(header::CONTENT_LENGTH).and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > CARD_BYTES_MAX as u64) {
        return Err(too_long);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| FetchError::Http { why: reason(&e) })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > CARD_BYTES_MAX {
            return Err(too_long);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Answer { body: bytes.into(), ..empty })
}

/// hyper's sentence with its cause.
fn reason(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default();
    format!("{error}{cause}")
}
