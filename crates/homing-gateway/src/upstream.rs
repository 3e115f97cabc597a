//! Requests to services of peers and to other hosts, over connections that are kept for the next request.
//!
//! A pool per protocol: HTTP/1.1 carries one request at a time per stream, HTTP/2 many. The key is the target's authority,
//! so that a stream of one peer or service is never used for another. A request that meets a stream which has just ended is
//! sent again over a new one, if nothing of it was sent.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use homing_api::{ApiError, Code};
use homing_base::with_causes;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response, Uri, Version};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use crate::limits::{CONNECT_MAX, IDLE_MAX, IDLE_STREAMS_MAX};
use crate::mesh::{Mesh, MeshStream};
use crate::target::{Destination, Target};

/// The pools.
#[derive(Clone)]
pub(crate) struct Upstream {
    mesh: Client<Dial, Incoming>,
    mesh_http2: Client<Dial, Incoming>,
    direct: Client<HttpConnector, Incoming>,
}

impl Upstream {
    pub(crate) fn new(mesh: Arc<dyn Mesh>) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_STREAMS_MAX)
            .timer(TokioTimer::new());
        let http2: &mut Builder = &mut builder.clone();
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        tcp.set_nodelay(true);
        Self {
            mesh: builder.build(Dial(mesh.clone())),
            mesh_http2: http2.http2_only(true).build(Dial(mesh)),
            direct: builder.build(tcp),
        }
    }

    /// Sends a request to a service of a peer, in the version in which it came.
    pub(crate) async fn to_peer(
        &self,
        target: &Target,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, ApiError> {
        let client = match request.version() {
            Version::HTTP_2 => &self.mesh_http2,
            _ => &self.mesh,
        };
        client.request(request).await.map_err(|error| {
            opening(&error).unwrap_or_else(|| {
                ApiError::new(Code::StreamBroken, format!("{} did not answer", target.path()))
                    .why(with_causes(&error))
                    .hint("does the service speak HTTP, and this version of it?")
            })
        })
    }

    /// Sends a request to a host outside the mesh.
    pub(crate) async fn elsewhere(
        &self,
        host: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, ApiError> {
        self.direct.request(request).await.map_err(|error| {
            ApiError::new(Code::NoRoute, format!("{host} did not answer")).why(with_causes(&error))
        })
    }
}

/// Opens streams for the pool.
#[derive(Clone)]
struct Dial(Arc<dyn Mesh>);

impl tower_service::Service<Uri> for Dial {
    type Response = Opened;
    type Error = OpenError;
    type Future = Pin<Box<dyn Future<Output = Result<Opened, OpenError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let mesh = self.0.clone();
        Box::pin(async move {
            let target = match Destination::of(uri.host().unwrap_or_default(), 80) {
                Ok(Destination::Mesh(target)) => target,
                Ok(_) => return Err(OpenError(ApiError::new(Code::Internal, "no target"))),
                Err(error) => return Err(OpenError(error)),
            };
            let stream = mesh.open(&target).await.map_err(OpenError)?;
            Ok(Opened(TokioIo::new(stream)))
        })
    }
}

/// A stream did not open: what the program is told, carried through the pool.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct OpenError(ApiError);

fn opening(error: &(dyn Error + 'static)) -> Option<ApiError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(OpenError(told)) = error.downcast_ref() {
            return Some(told.clone());
        }
        next = error.source();
    }
    None
}

/// A stream to a peer, as the pool wants it.
struct Opened(TokioIo<Box<dyn MeshStream>>);

impl Connection for Opened {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Opened {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
