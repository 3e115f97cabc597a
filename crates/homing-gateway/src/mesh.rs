//! The way to peers, as the gateway needs it. The node implements it; tests bring their own.

use async_trait::async_trait;
use homing_api::ApiError;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::target::Target;

/// A byte stream both ways with a service of a peer.
///
/// A read fails once trust with the peer has ended.
pub trait MeshStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> MeshStream for T {}

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
