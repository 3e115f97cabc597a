//! The accept loop: connections with bounds and timeouts, and an end that loses nothing.
//!
//! A connection must send a request's head within `head_timeout`, also while it rests between requests, so that one who
//! dribbles bytes (slow loris) or forgets connections holds them for that long. At the bound of connections new ones wait in the
//! kernel's queue; one address cannot take them all. Told to stop, the loop accepts no more, ends event streams, lets requests
//! under way finish for `drain_timeout` and returns.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use futures_util::future::Either;
use homing_base::{Address, NodeId};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hosts::{Hosts, Misdirected};
use super::limiter::one_address;
use super::{AddressRange, App, Caller, Registry, Settings, hot};
use crate::network::Tunnel;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1_024;
/// After a failed accept, mostly for want of file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Serves until `shutdown` resolves and requests under way have ended.
pub async fn serve(listener: TcpListener, registry: Registry, shutdown: impl Future<Output = ()>) {
    let settings = registry.shared.settings.clone();
    let router = registry.router();
    let door = Door::new(&settings);
    let hosts = listener.local_addr().ok().and_then(|own| Hosts::of(own.ip(), &settings));
    let hosts = hosts.map(Arc::new);
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = tokio::select! {
            next = door.next(&listener) => next,
            () = &mut shutdown => break,
        };
        match next {
            Ok((stream, from, places)) => {
                let app = Arc::clone(&registry.shared);
                let connection = Connection { stream, from, app, hosts: hosts.clone() };
                tokio::spawn(connection.run(router.clone(), graceful.watcher(), places));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    registry.shared.events.stop();
    if tokio::time::timeout(settings.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off: they took longer than the registry waits");
    }
}

struct Connection {
    stream: TcpStream,
    from: SocketAddr,
    app: App,
    hosts: Option<Arc<Hosts>>,
}

impl Connection {
    async fn run(self, router: Router, watcher: Watcher, places: Places) {
        let Self { stream, from, app, hosts } = self;
        let _ = stream.set_nodelay(true);
        let protocol = protocol(&app.settings);
        let service = tower_service(app, router, from, hosts);
        let connection = protocol.serve_connection(TokioIo::new(stream), service);
        // A client that breaks off is no event of ours.
        let _ = watcher.watch(connection).await;
        drop(places);
    }
}

/// Serves one peer that came through the node's tunnel, service `registry`; returns when it has left.
///
/// For the rate limits the peer's address is its own, so that every identity has a bucket.
pub async fn serve_peer(stream: impl Tunnel, peer: NodeId, registry: &Registry) {
    let from = SocketAddr::new(Address::of(&peer).ip().into(), 0);
    let service = tower_service(Arc::clone(&registry.shared), registry.router(), from, None);
    let protocol = protocol(&registry.shared.settings);
    // A peer that breaks off is no event of ours.
    let _ = protocol.serve_connection(TokioIo::new(stream), service).await;
}

fn protocol(settings: &Settings) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    protocol
}

/// The short way, or the router with the caller in every request.
fn tower_service(
    app: App,
    router: Router,
    from: SocketAddr,
    hosts: Option<Arc<Hosts>>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future = impl Send,
> {
    let inner = TowerToHyperService::new(router);
    hyper::service::service_fn(move |mut request: Request<Incoming>| {
        if hosts.as_ref().is_some_and(|hosts| !hosts.allow(&request)) {
            request.extensions_mut().insert(Misdirected);
        } else if let Some(response) = hot::answer(&app, from, &request) {
            return Either::Left(std::future::ready(Ok(response)));
        }
        request.extensions_mut().insert(Caller(from));
        Either::Right(hyper::service::Service::call(&inner, request))
    })
}

/// How many connections there are, and from where.
struct Door {
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_address_max: usize,
    /// Who brings the connections of many.
    proxies: Vec<AddressRange>,
}

/// The places that one connection takes.
struct Places {
    _one_of_all: OwnedSemaphorePermit,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Door {
    fn new(settings: &Settings) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.connections_max)),
            by_address: Arc::default(),
            per_address_max: settings.connections_per_address_max,
            proxies: settings.trusted_proxies.clone(),
        }
    }

    /// The next connection for which there is a place.
    async fn next(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, Places)> {
        let place = Arc::clone(&self.all).acquire_owned().await.expect("never closed");
        loop {
            let (stream, from) = listener.accept().await?;
            let address = one_address(from.ip());
            if self.take(from.ip()) {
                let by_address = Arc::clone(&self.by_address);
                let places = Places { _one_of_all: place, by_address, address };
                return Ok((stream, from, places));
            }
            // Closed at once: an answer would cost what the bound protects.
        }
    }

    fn take(&self, ip: IpAddr) -> bool {
        let mut by_address = self.by_address.lock().expect("no holder panics");
        let count = by_address.entry(one_address(ip)).or_default();
        let proxy = self.proxies.iter().any(|range| range.contains(ip));
        let room = proxy || *count < self.per_address_max;
        *count += usize::from(room);
        room
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let mut by_address = self.by_address.lock().expect("no holder panics");
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}
