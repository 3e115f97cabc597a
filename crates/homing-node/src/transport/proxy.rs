//! Relays behind a proxy: networks that let nothing out but HTTPS through `HTTPS_PROXY`.
//!
//! ```text
//! health probes ───────────────────┐
//! iroh ── CONNECT alias ──► porch ─┴─► CONNECT real host ──► proxy ──► relay
//! ```
//! The proxy is asked for a tunnel (`CONNECT`, RFC 9110 §9.3.6) with the user name and password of its URL
//! (Basic, RFC 7617); TLS to the relay runs inside, verified as without a proxy. iroh knows a pinned relay
//! under an alias ([`super::relay_book`]) that no proxy can resolve, so it is given the *porch* as
//! its proxy: a loopback listener that knows the real host, tunnels to known relays and nowhere else, and asks for
//! a password drawn at start. `NO_PROXY` names hosts that are reached directly, as curl reads it: exact
//! names, domains with everything below them, or `*`. Not here: UDP, which no such proxy carries.

use std::env;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::relay_book::{RelayBook, bare_host, lookup};
use super::tasks::Tasks;
use super::{TransportError, limits};

/// In the order in which they count; the first that is set and not empty.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// A byte stream to a relay, whatever carries it.
pub(super) type Io = Box<dyn Stream>;

/// See [`Io`].
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An HTTP proxy and the hosts that need none.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    tls: bool,
    /// The value of `Proxy-Authorization`.
    credentials: Option<String>,
    except: Vec<String>,
}

impl Proxy {
    /// The proxy that `HTTPS_PROXY` or `ALL_PROXY` names, less the hosts of `NO_PROXY`.
    ///
    /// # Errors
    /// [`TransportError::Proxy`] when the variable holds no `http://` or `https://` URL.
    pub fn from_environment() -> Result<Option<Self>, TransportError> {
        let set = |name: &&str| env::var(name).ok().filter(|value| !value.is_empty());
        let Some((variable, url)) = VARIABLES.iter().find_map(|v| Some((v, set(v)?))) else {
            return Ok(None);
        };
        let except = set(&"NO_PROXY").or_else(|| set(&"no_proxy")).unwrap_or_default();
        let refused = |reason| TransportError::Proxy { variable: (*variable).to_owned(), reason };
        Self::new(&url, &except).map(Some).map_err(refused)
    }

    /// A proxy by its URL, `http://[USER:PASSWORD@]HOST[:PORT]`, and a list as in `NO_PROXY`.
    ///
    /// # Errors
    /// A sentence for people, without the password.
    pub fn new(url: &str, except: &str) -> Result<Self, String> {
        let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let url: url::Url = full.parse().map_err(|e| format!("it is no URL ({e})"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("{other}:// proxies are not supported; http:// is")),
        };
        let host = url.host().map(|h| bare_host(&h)).ok_or("it names no host")?;
        let plain = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let credentials = (!url.username().is_empty()).then(|| {
            let password = plain(url.password().unwrap_or_default());
            let both = [plain(url.username()), password].join(&b':');
            format!("Basic {}", BASE64.encode(&both))
        });
        let port = url.port_or_known_default().ok_or("it names no port")?;
        let parts = except.split([',', ' ']).map(|part| part.trim().trim_start_matches('.'));
        let except = parts.filter(|p| !p.is_empty()).map(str::to_ascii_lowercase).collect();
        Ok(Self { host, port, tls, credentials, except })
    }

    /// Whether a host is reached through it.
    fn is_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let covers = |part: &String| {
            let below = || host.strip_suffix(part.as_str()).is_some_and(|h| h.ends_with('.'));
            part == "*" || *part == host || below()
        };
        !self.except.iter().any(covers)
    }

    async fn tunnel(&self, book: &Arc<RelayBook>, host: &str, port: u16) -> Result<Io, String> {
        let io = self.dial(book).await.map_err(|e| format!("the proxy {self}: {e}"))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|e| format!("the proxy {self}: {e}"))?;
        tokio::spawn(connection.with_upgrades());
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let target = format!("{host}:{port}");
        let mut request =
            Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
        if let Some(credentials) = &self.credentials {
            request = request.header(PROXY_AUTHORIZATION, credentials);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|e| format!("the proxy {self} broke off: {e}"))?;
        match answer.status() {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(self.on_407()),
            status if !status.is_success() => {
                Err(format!("the proxy {self} refuses {target}: {status}"))
            }
            _ => match hyper::upgrade::on(answer).await {
                Ok(tunnel) => Ok(Box::new(TokioIo::new(tunnel))),
                Err(error) => Err(format!("the proxy {self} broke off: {error}")),
            },
        }
    }

    fn on_407(&self) -> String {
        match self.credentials {
            Some(_) => format!("the proxy {self} refuses this user name and password (407)"),
            None => format!(
                "the proxy {self} asks for a user name and password (407): \
                 HTTPS_PROXY=http://USER:PASSWORD@{self}"
            ),
        }
    }

    async fn dial(&self, book: &Arc<RelayBook>) -> Result<Io, String> {
        let tcp = connect(&self.host, self.port).await?;
        if !self.tls {
            return Ok(Box::new(tcp));
        }
        let name = rustls::pki_types::ServerName::try_from(self.host.clone());
        let connector = TlsConnector::from(Arc::new(book.client_config()));
        let tls = connector.connect(name.map_err(|e| e.to_string())?, tcp).await;
        Ok(Box::new(tls.map_err(|e| e.to_string())?))
    }
}

/// `host:port`; never the password.
impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Proxy({self})")
    }
}

/// A byte stream to the host that a name stands for, through the proxy where there is one for it.
///
/// # Errors
/// A sentence for people.
pub(super) async fn reach(book: &Arc<RelayBook>, name: &str, port: u16) -> Result<Io, String> {
    let host = book.real_host(name);
    let reached = async {
        match book.proxy.as_ref().filter(|proxy| proxy.is_for(&host)) {
            Some(proxy) => proxy.tunnel(book, &host, port).await,
            None => Ok(Box::new(connect(&host, port).await?) as Io),
        }
    };
    let late = |_| format!("no connection within {:?}", limits::PROXY_TIMEOUT);
    tokio::time::timeout(limits::PROXY_TIMEOUT, reached).await.map_err(late)?
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut last = "its host name has no address".to_owned();
    for ip in lookup(host.to_owned()).await {
        match TcpStream::connect(SocketAddr::new(ip, port)).await {
            Ok(tcp) => {
                tcp.set_nodelay(true).ok();
                return Ok(tcp);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Opens the porch; the URL is what iroh gets as its proxy.
///
/// # Errors
/// [`TransportError::Bind`] when loopback has no free port.
pub(super) async fn porch(
    book: &Arc<RelayBook>,
    tasks: &Arc<Tasks>,
) -> Result<url::Url, TransportError> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let refused = |source| TransportError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(refused)?;
    let local = listener.local_addr().map_err(refused)?;
    let password = HEXLOWER.encode(&iroh::SecretKey::generate().to_bytes()[..16]);
    let user = format!("porch:{password}");
    let expected = format!("Basic {}", BASE64.encode(user.as_bytes()));
    tasks.spawn(welcome(listener, book.clone(), expected));
    Ok(format!("http://{user}@{local}").parse().expect("an IP, a port and hexadecimal digits"))
}

async fn welcome(listener: TcpListener, book: Arc<RelayBook>, expected: String) {
    let room = Arc::new(Semaphore::new(limits::PORCH_CONNECTIONS_MAX));
    let guests = Tasks::default();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((mut guest, _)) = listener.accept().await else {
            // No file is left to open, for the moment.
            tokio::time::sleep(limits::PORCH_BREATHER).await;
            continue;
        };
        let (book, expected) = (book.clone(), expected.clone());
        guests.spawn(async move {
            if let Err((status, reason)) = serve(&mut guest, &book, &expected).await {
                tracing::debug!(error = reason, "no way to a relay through the proxy");
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                guest.write_all(answer.as_bytes()).await.ok();
            }
            drop(permit);
        });
    }
}

async fn serve(
    guest: &mut TcpStream,
    book: &Arc<RelayBook>,
    expected: &str,
) -> Result<(), (&'static str, String)> {
    let bad = |reason: &str| ("400 Bad Request", reason.to_owned());
    let head = tokio::time::timeout(limits::PROXY_TIMEOUT, head(guest));
    let head = head.await.ok().flatten().ok_or_else(|| bad("no request"))?;
    let (host, port) = asked(&head, expected).ok_or_else(|| bad("not from iroh"))?;
    if !book.knows(&host, port) {
        return Err(("403 Forbidden", format!("{host}:{port} is no known relay")));
    }
    let mut relay = reach(book, &host, port).await.map_err(|reason| ("502 Bad Gateway", reason))?;
    if guest.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        // However it ends: both sides see it by themselves.
        copy_bidirectional(guest, &mut relay).await.ok();
    }
    Ok(())
}

/// The request up to its empty line. Whoever asks for a tunnel says nothing more before the answer.
async fn head(guest: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() >= limits::PORCH_HEAD_BYTES_MAX
            || guest.read_buf(&mut bytes).await.ok()? == 0
        {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Host and port of a `CONNECT` with the right password.
fn asked(head: &str, expected: &str) -> Option<(String, u16)> {
    let mut lines = head.split("\r\n");
    let target = lines.next()?.strip_prefix("CONNECT ")?.split(' ').next()?;
    let is_right = |line: &str| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == expected
        })
    };
    lines.find(|line| is_right(line))?;
    let (host, port) = target.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_from_the_url_decoded_and_are_never_shown() {
        let proxy = Proxy::new("http://me%40corp:s%3Acret@proxy.example:3128", "").unwrap();
        let expected = format!("Basic {}", BASE64.encode(b"me@corp:s:cret"));
        assert_eq!(proxy.credentials, Some(expected));
        assert_eq!(format!("{proxy} {proxy:?}"), "proxy.example:3128 Proxy(proxy.example:3128)");
        assert!(!proxy.on_407().contains("cret"));
    }

    #[test]
    fn hosts_of_no_proxy_are_reached_directly() {
        let proxy = Proxy::new("proxy.example:3128", "localhost, .corp.example,10.0.0.7").unwrap();
        for direct in ["localhost", "corp.example", "Relay.Corp.Example", "10.0.0.7"] {
            assert!(!proxy.is_for(direct), "{direct}");
        }
        for through in ["relay.example", "notcorp.example", "10.0.0.70"] {
            assert!(proxy.is_for(through), "{through}");
        }
        assert!(!Proxy::new("http://p:1", "*").unwrap().is_for("relay.example"));
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_with_a_reason() {
        assert!(Proxy::new("socks5://p:1080", "").unwrap_err().contains("not supported"));
        assert!(Proxy::new("http://", "").is_err());
    }

    #[test]
    fn the_porch_wants_its_password() {
        let head = "CONNECT p1.homing.invalid:443 HTTP/1.1\r\nProxy-Authorization: Basic x\r\n\r\n";
        assert_eq!(asked(head, "Basic x"), Some(("p1.homing.invalid".to_owned(), 443)));
        assert_eq!(asked(head, "Basic y"), None);
        assert_eq!(asked("GET / HTTP/1.1\r\n\r\n", "Basic x"), None);
    }
}
