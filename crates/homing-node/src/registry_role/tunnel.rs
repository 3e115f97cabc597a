//! The registry's routes through the tunnel: trusted peers ask it without knowing its URL.

use homing_registry::http::{self, Registry};
use tokio::sync::Semaphore;

use crate::shares::Shares;
use crate::streams::Listener;

/// Peers' connections at once.
static CONNECTIONS: Semaphore = Semaphore::const_new(64);
/// One peer's; what it opens beyond them ends at once.
const CONNECTIONS_PER_PEER: usize = 8;

/// Serves every stream that trusted peers open, until the listener ends.
pub(super) async fn answer(mut listener: Listener, registry: Registry) {
    let shares = Shares::of(CONNECTIONS_PER_PEER);
    while let Some(stream) = listener.accept().await {
        let Some(share) = shares.take(stream.peer()) else { continue };
        let Ok(permit) = CONNECTIONS.acquire().await else { return };
        let registry = registry.clone();
        tokio::spawn(async move {
            let peer = stream.peer();
            http::serve_peer(stream, peer, &registry).await;
            drop((permit, share));
        });
    }
}
