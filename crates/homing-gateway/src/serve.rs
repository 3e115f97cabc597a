//! The port: accepting, whose connection it is, which protocol it speaks, and the end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use homing_api::ApiError;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::guard::OwnNames;
use crate::limits::{
    CONNECTIONS_MAX, FAREWELL_BYTES_MAX, FAREWELL_MAX, GREETING_MAX, HEAD_BYTES_MAX, HEAD_MAX,
    REQUESTS_PER_CONNECTION_MAX,
};
use crate::mesh::Mesh;
use crate::upstream::Upstream;
use crate::{http, owner, problem, socks};

/// How an HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After a failed accept, mostly for want of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// How a gateway behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether only peers are reached, and nothing else through the proxies. Default `false`: a program that is told to
    /// use a proxy sends everything to it.
    pub mesh_only: bool,
}

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) mesh: Arc<dyn Mesh>,
    pub(crate) upstream: Upstream,
    pub(crate) names: Arc<OwnNames>,
    pub(crate) settings: Settings,
}

/// Serves until `shutdown` resolves; what is open then ends.
///
/// # Errors
/// When the listener's address cannot be had.
pub async fn serve(
    listener: TcpListener,
    mesh: Arc<dyn Mesh>,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let names = Arc::new(OwnNames::of(listener.local_addr()?));
    let front = Front { upstream: Upstream::new(mesh.clone()), mesh, names, settings };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            listener.accept().await.map(|(stream, from)| (stream, from, place))
        };
        tokio::select! {
            accepted = next => match accepted {
                Ok((stream, from, place)) => {
                    let front = front.clone();
                    open.spawn(async move {
                        connection(front, stream, from).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = open.join_next() => {}
            () = &mut shutdown => return Ok(()),
        }
    }
}

async fn connection(front: Front, stream: TcpStream, from: SocketAddr) {
    let Ok(here) = stream.local_addr() else { return };
    if let Err(error) = owner::check(from, here).await {
        tracing::warn!(%error, why = error.why.as_deref(), "a connection to the gateway was refused");
        return turn_away(stream, &error).await;
    }
    let _ = stream.set_nodelay(true);
    match timeout(GREETING_MAX, spoken(&stream)).await {
        Ok(Ok(Spoken::Socks)) => socks::serve(&front, stream).await,
        Ok(Ok(Spoken::Http1)) => http1(front, stream).await,
        Ok(Ok(Spoken::Http2)) => http2(front, stream).await,
        // It said nothing in time, or is gone.
        Ok(Err(_)) | Err(_) => {}
    }
}

enum Spoken {
    Socks,
    Http1,
    Http2,
}

/// Which protocol a connection speaks, from its first bytes, which stay unread.
async fn spoken(stream: &TcpStream) -> io::Result<Spoken> {
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        match &first[..length] {
            [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            [socks::VERSION, ..] => return Ok(Spoken::Socks),
            all if all == PREFACE => return Ok(Spoken::Http2),
            // Readiness says nothing about further bytes while some are unread.
            part if PREFACE.starts_with(part) => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => return Ok(Spoken::Http1),
        }
    }
}

/// A client that breaks off is no event of ours: errors of connections are not reported.
async fn http1(front: Front, stream: TcpStream) {
    let service = service_fn(move |request| http::answer(front.clone(), request));
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

async fn http2(front: Front, stream: TcpStream) {
    let service = service_fn(move |request| http::answer(front.clone(), request));
    let _ = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(REQUESTS_PER_CONNECTION_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Tells a stranger that it is one. What it sends is read for a moment: a reset would overtake the answer.
async fn turn_away(mut stream: TcpStream, error: &ApiError) {
    let farewell = async {
        stream.write_all(&problem::raw(error)).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(FAREWELL_BYTES_MAX), &mut tokio::io::sink()).await
    };
    let _ = timeout(FAREWELL_MAX, farewell).await;
}
