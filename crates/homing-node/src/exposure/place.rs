//! Where a target is, and a connection to it: TCP, TLS or a Unix socket.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::first::greets_as_web;
use super::limits::{CONNECT_TIMEOUT, SILENCE};
use crate::local::Local;

/// What a service name stands for, as far as sockets go.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// `localhost` is this machine, whatever a resolver says.
    Tcp {
        host: Arc<str>,
        port: u16,
    },
    Unix {
        path: Arc<PathBuf>,
    },
}

impl Place {
    /// Connects within [`CONNECT_TIMEOUT`].
    pub(super) async fn connect(&self) -> io::Result<Local> {
        let connecting = async {
            match self {
                Place::Tcp { host, port } => tcp(host, *port).await.map(Local::Tcp),
                Place::Unix { path } => UnixStream::connect(&**path).await.map(Local::Unix),
            }
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = match host {
        "localhost" => match TcpStream::connect(("127.0.0.1", port)).await {
            Err(error) => TcpStream::connect(("::1", port)).await.map_err(|_| error)?,
            Ok(stream) => stream,
        },
        host => TcpStream::connect((host, port)).await?,
    };
    stream.set_nodelay(true).ok();
    Ok(stream)
}

/// A connection to a target, and what that has said before anybody asked.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) local: Local,
    pub(super) said: Vec<u8>,
}

impl Reached {
    pub(super) fn new(local: Local) -> Self {
        Self { local, said: Vec::new() }
    }

    /// Resolves when the target has spoken or has gone; whether it is a web server. May be dropped and called again.
    pub(super) async fn greets_as_web(&mut self) -> bool {
        loop {
            let answer = greets_as_web(&self.said).filter(|_| !self.said.is_empty());
            if let Some(answer) = answer {
                return answer;
            }
            let mut chunk = [0; 256];
            let (first, reading) = (self.said.is_empty(), self.local.read(&mut chunk));
            // Whatever begins like settings and does not go on is none.
            let read = if first { Ok(reading.await) } else { timeout(SILENCE, reading).await };
            match read {
                Ok(Ok(count)) if count > 0 => self.said.extend_from_slice(&chunk[..count]),
                _ => return false,
            }
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection for HTTP, TLS included.
pub(super) struct Wire {
    io: Box<dyn Io>,
    http2: bool,
    _place: OwnedSemaphorePermit,
}

impl Wire {
    /// In the TLS handshake.
    pub(super) fn agreed_on_http2(&self) -> bool {
        self.http2
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Connects to one place, whatever the URI of a request names.
#[derive(Clone)]
pub(super) struct Connector {
    place: Place,
    room: Arc<Semaphore>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// Without TLS. `room`: for how many connections.
    pub(super) fn plain(place: Place, room: Arc<Semaphore>) -> Self {
        Self { place, room, tls: None }
    }

    /// With TLS under the public roots, speaking `protocols` only (ALPN).
    ///
    /// # Errors
    /// When `host` is no name that a certificate can have.
    pub(super) fn tls(
        place: Place,
        room: Arc<Semaphore>,
        host: &str,
        protocols: &[&[u8]],
    ) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        Ok(Self { place, room, tls: Some((TlsConnector::from(Arc::new(config)), name)) })
    }

    /// A connection, and whether HTTP/2 was agreed on.
    pub(super) async fn connect(&self) -> io::Result<Wire> {
        let full = |_| io::Error::other("too many connections to the target");
        let _place = self.room.clone().try_acquire_owned().map_err(full)?;
        let local = self.place.connect().await?;
        match (local, &self.tls) {
            (Local::Tcp(tcp), Some((connector, name))) => {
                let secured = connector.connect(name.clone(), tcp);
                let secured = tokio::time::timeout(CONNECT_TIMEOUT, secured).await;
                let secured = secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
                let http2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
                Ok(Wire { io: Box::new(secured), http2, _place })
            }
            (Local::Tcp(tcp), None) => Ok(Wire { io: Box::new(tcp), http2: false, _place }),
            (Local::Unix(unix), _) => Ok(Wire { io: Box::new(unix), http2: false, _place }),
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}
