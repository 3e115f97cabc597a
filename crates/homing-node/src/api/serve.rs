//! The loop behind the socket: accepting, who calls, and what a caller may take: connections, and time for a head.
//!
//! Whoever gets this far may do everything anyway; the bounds are for programs that went wrong.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

use super::Caller;

/// Connections at once; more wait in the kernel's queue. One that has become a stream is none.
const CONNECTIONS_MAX: usize = 8_192;
/// From a connection's begin, or the end of the request before, to the end of a head.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// After a failed accept, mostly for want of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Serves until `shutdown` resolves and requests under way have ended.
pub(super) async fn serve(
    listener: UnixListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stop = watch::Sender::new(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("never closed");
            listener.accept().await.map(|(stream, _)| (stream, place))
        };
        let next = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let (stream, place) = match next {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "a connection to the local API could not be accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (caller, router) = (Caller::of(&stream), router.clone());
        let service = service_fn(move |request| answer(router.clone(), caller, request));
        let mut protocol = http1::Builder::new();
        protocol
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(HEAD_BYTES_MAX);
        let connection = protocol.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut stopped = stop.subscribe();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            // A caller that breaks off is no event of ours.
            let is_over = tokio::select! {
                _ = connection.as_mut() => true,
                _ = stopped.wait_for(|stopped| *stopped) => false,
            };
            if !is_over {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
            drop(place);
        });
    }
    drop(listener);
    stop.send_replace(true);
    // Until every connection has dropped its end.
    stop.closed().await;
}

async fn answer(
    mut router: Router,
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(caller));
    router.call(request).await
}
