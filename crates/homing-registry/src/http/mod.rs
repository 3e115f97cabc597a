//! The registry over HTTP/1.1: routes, limits, events, and the loop that serves them.
//!
//! ```text
//! connection ─► serve (timeouts, connection bounds, drain) ─► hot (what is rendered already)
//!                 └─► guard (request ID, caller, rate, concurrency, CORS, headers, metrics)
//!                       └─► routes ─► answers (rendered, cached) ─► lookup ─► storage
//!                                                                     └──► network (neighbours, gossip, DHT)
//!                             storage ─► pump (changes) ─► answers, events
//! ```
//! [`routes`](self) are one table (`operations.rs`) from which both the router and `/openapi.json` are made, so that
//! neither can know what the other does not. Nothing is authorised by anything but signature and sequence. Bodies are
//! never logged. Not here: what a record is (`homing-base`), how it is kept ([`crate::storage`]).

mod answers;
mod ard;
mod card;
mod clock;
mod describe;
mod directory;
mod entities;
mod events;
mod exchange;
mod federation;
mod guard;
mod health;
mod heartbeat;
mod hosts;
mod hot;
mod ipns;
mod limiter;
mod lookup;
mod mcp;
mod metrics;
mod openapi;
mod operations;
mod owners;
mod page;
mod problem;
mod pump;
mod request;
mod role;
mod search;
mod serve;
mod settings;
mod views;
mod witness;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use homing_base::NodeId;
use tokio::sync::Semaphore;

pub use self::exchange::REGISTRY_SERVICE;
pub use self::serve::{serve, serve_peer};
pub use self::settings::{AddressRange, AddressRangeError, Caller, Rate, Settings};
use crate::cards::Fetcher;
use crate::network::Network;
use crate::storage::Storage;

/// Network lookups and card fetches at once.
const FLIGHTS_MAX: usize = 64;

/// What the handlers share.
struct Shared {
    storage: Arc<dyn Storage>,
    network: Arc<dyn Network>,
    cards: Fetcher,
    settings: Settings,
    answers: answers::Answers,
    flights: lookup::Flights,
    events: events::Events,
    metrics: metrics::Metrics,
    per_address: Option<limiter::Limiter<IpAddr>>,
    per_key: Option<limiter::Limiter<NodeId>>,
    requests: Arc<Semaphore>,
    subscribers: Arc<Semaphore>,
    outside: Semaphore,
    openapi: axum::body::Bytes,
}

type App = Arc<Shared>;

/// A registry that answers HTTP.
#[derive(Clone)]
pub struct Registry {
    shared: App,
}

impl Registry {
    /// A registry over `storage`, a role of `network`'s node. Follows the storage's changes in a task that ends with
    /// the last handle.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Storage>,
        network: Arc<dyn Network>,
        cards: Fetcher,
        settings: Settings,
    ) -> Self {
        let now = clock::mono();
        let shared = Arc::new(Shared {
            answers: answers::Answers::default(),
            flights: lookup::Flights::default(),
            events: events::Events::default(),
            metrics: metrics::Metrics::default(),
            per_address: settings.per_address.map(|rate| limiter::Limiter::new(rate, now)),
            per_key: settings.per_key.map(|rate| limiter::Limiter::new(rate, now)),
            requests: Arc::new(Semaphore::new(settings.requests_max)),
            subscribers: Arc::new(Semaphore::new(settings.subscribers_max)),
            outside: Semaphore::new(FLIGHTS_MAX),
            openapi: openapi::document(&operations::operations(), &settings.public_url),
            storage,
            network,
            cards,
            settings,
        });
        tokio::spawn(pump::follow(Arc::downgrade(&shared)));
        Self { shared }
    }

    /// The routes, to be served by [`serve()`] or mounted elsewhere. Without [`Caller`] in a request's extensions every
    /// request counts as one caller's.
    pub fn router(&self) -> Router {
        guard::guarded(&self.shared, operations::router())
    }

    /// The OpenAPI 3.1 document of every operation.
    #[must_use]
    pub fn openapi(&self) -> &[u8] {
        &self.shared.openapi
    }
}
