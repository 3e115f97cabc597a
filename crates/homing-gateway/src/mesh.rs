//! The way to peers, as the gateway needs it. The node implements it; tests bring their own.

use async_trait::async_trait;
use homing_api::ApiError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::target::Target;

/// A byte stream both ways with a service of a peer.
///
/// A read fails once trust with the peer has ended.
pub trait MeshStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Dropped from now on, it breaks for whoever is at the other end, instead of ending as if all had been said.
    fn abort(&mut self);
}

impl MeshStream for TcpStream {
    fn abort(&mut self) {
        // RST instead of FIN, RFC 9293 §3.10.4.
        let _ = self.set_zero_linger();
    }
}

impl MeshStream for Box<dyn MeshStream> {
    fn abort(&mut self) {
        (**self).abort();
    }
}

/// The mesh.
#[async_trait]
pub trait Mesh: Send + Sync + 'static {
    /// Opens a stream to a service of a trusted peer, in bounded time.
    ///
    /// # Errors
    /// What the program on this side is told: `peer_not_trusted`, `scope_denied`, `not_found`, `no_such_service`,
    /// `peer_offline`, `no_route`, `timeout`.
    async fn open(&self, target: &Target) -> Result<Box<dyn MeshStream>, ApiError>;
}
