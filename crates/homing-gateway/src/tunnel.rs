//! Raw connections: to a service of a peer or to another host, and both directions carried until both have ended.

use std::time::Duration;

use homing_api::{ApiError, Code};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;

use crate::limits::{CHUNK_BYTES_MAX, CONNECT_MAX};
use crate::mesh::MeshStream;
use crate::serve::Front;
use crate::target::Destination;

/// Opens what a `CONNECT` or SOCKS request names. `mesh_only`: nothing but peers.
pub(crate) async fn open(
    front: &Front,
    destination: &Destination,
    mesh_only: bool,
) -> Result<Box<dyn MeshStream>, ApiError> {
    match destination {
        Destination::Mesh(target) => front.mesh.open(target).await,
        Destination::Elsewhere { host, .. } if mesh_only => Err(not_passed_on(host)),
        Destination::Elsewhere { host, port } => dial(host, *port, CONNECT_MAX).await,
    }
}

/// The user wants nothing but peers to be reached.
pub(crate) fn not_passed_on(host: &str) -> ApiError {
    ApiError::new(
        Code::PermissionDenied,
        format!("{host} is no agent, and only agents are reached here"),
    )
    .hint("leave out --mesh-only, or: homing config set gateway.mesh_only false")
}

async fn dial(host: &str, port: u16, within: Duration) -> Result<Box<dyn MeshStream>, ApiError> {
    let silent = |why: String| {
        ApiError::new(Code::NoRoute, format!("{host} port {port} cannot be reached")).why(why)
    };
    match tokio::time::timeout(within, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream))
        }
        Ok(Err(error)) => Err(silent(error.to_string())),
        Err(_) => Err(ApiError::new(Code::Timeout, format!("{host} port {port} did not answer"))),
    }
}

/// What a connection has become: HTTP/2 resets a stream that is dropped before its end, and a protocol that was switched to
/// says by itself where it ends.
impl MeshStream for TokioIo<Upgraded> {
    fn abort(&mut self) {}
}

/// Carries bytes both ways, half-closes included, until both directions have ended, or one broke and so does the other.
pub(crate) async fn carry(mut near: impl MeshStream, mut far: impl MeshStream) {
    let size = CHUNK_BYTES_MAX;
    if let Err(error) = copy_bidirectional_with_sizes(&mut near, &mut far, size, size).await {
        tracing::debug!(%error, "a tunnel broke");
        near.abort();
        far.abort();
    }
}

/// The same for what a `CONNECT` has become.
pub(crate) async fn carry_connect(near: Upgraded, mut far: impl MeshStream) {
    let parts = match near.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => parts,
        Err(near) => return carry(TokioIo::new(near), far).await,
    };
    let mut near = parts.io.into_inner();
    if far.write_all(&parts.read_buf).await.is_ok() {
        return carry(near, far).await;
    }
    near.abort();
    far.abort();
}
