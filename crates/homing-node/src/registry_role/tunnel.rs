//! The registry's routes through the tunnel: trusted peers ask it without knowing its URL.

use homing_registry::http::Registry;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use crate::streams::Listener;

/// Peers' connections at once.
static CONNECTIONS: Semaphore = Semaphore::const_new(64);

/// Serves every stream that trusted peers open, until the listener ends.
pub(super) async fn answer(mut listener: Listener, registry: Registry) {
    while let Some(stream) = listener.accept().await {
        let Ok(permit) = CONNECTIONS.acquire().await else { return };
        let service = TowerToHyperService::new(registry.router());
        tokio::spawn(async move {
            let _permit = permit;
            let http = hyper::server::conn::http1::Builder::new();
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a peer's registry connection ended");
            }
        });
    }
}
