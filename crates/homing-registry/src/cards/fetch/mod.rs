//! Cards from where they are: the web, or an agent's own tunnel. Cached, shared, bounded.
//!
//! ```text
//! get(url) ─► cache: fresh ──────────────► answer
//!             stale, less than an hour ──► answer, and one refresh in the background (RFC 5861)
//!             failed lately ─────────────► the failure again
//!             else ─► one flight per URL ─► ≤ 3 redirects, each resolved and judged anew
//!                                          If-None-Match / If-Modified-Since ─► 304: renewed
//! card_of(record) ─► the bytes with the record's SHA-256, wherever they come from, or an error
//! ```
//! A record names its card by digest, so a copy with that digest is the card however old it is, and one
//! with another digest is not, however fresh. Freshness follows RFC 9111 within bounds of ours, as
//! A2A 1.0 §8.6.2 asks. Not here: what a card means ([`super::Card`]), who may ask.

mod cache;
mod error;
mod freshness;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use homing_base::record::CardRef;
use homing_base::{NodeId, Record};
use hyper::StatusCode;
use hyper::header;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use self::cache::{Cache, Entry, Found};
pub use self::error::FetchError;
use super::guard::AllowedNetwork;
use super::limits::{
    CACHE_BYTES_MAX, FETCH_TIMEOUT, FLIGHTS_MAX, FLIGHTS_PER_HOST_MAX, FRESH_DEFAULT, FRESH_MIN,
    REDIRECTS_MAX, STALE_MAX,
};
use super::signature::Keys;
use super::target::Target;
use super::wire::{self, Answer, Resolve, SystemResolver, Validators, Wire};
use super::{CARD_SERVICE, Card, WELL_KNOWN_PATH, jwks, signature};
use crate::network::Network;

/// What a fetcher may do.
#[derive(Clone, Debug)]
pub struct FetcherConfig {
    /// Networks that are not public and may be connected to all the same. Default: none.
    pub allow_private: Vec<AllowedNetwork>,
    /// Whether `http` is fetched too. Default: no.
    pub allow_http: bool,
    /// Certificates to trust besides the public roots, for authorities of one's own. Default: none.
    pub more_roots: Vec<CertificateDer<'static>>,
    /// An answer is fresh at least this long. Default: [`FRESH_MIN`].
    pub fresh_min: Duration,
    /// An answer that does not say is fresh this long. Default: [`FRESH_DEFAULT`].
    pub fresh_default: Duration,
    /// Bytes of cards kept. Default: [`CACHE_BYTES_MAX`].
    pub cache_bytes_max: usize,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        Self {
            allow_private: Vec::new(),
            allow_http: false,
            more_roots: Vec::new(),
            fresh_min: FRESH_MIN,
            fresh_default: FRESH_DEFAULT,
            cache_bytes_max: CACHE_BYTES_MAX,
        }
    }
}

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Every byte.
    pub bytes: Arc<[u8]>,
    /// SHA-256 of `bytes`.
    pub sha256: [u8; 32],
    /// How long ago it was fetched or found unchanged.
    pub age: Duration,
}

/// Fetches and keeps cards. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Fetcher(Arc<Inner>);

struct Inner {
    wire: Wire,
    config: FetcherConfig,
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    flights: HashMap<String, Flight>,
}

type Outcome = Result<Arc<Entry>, FetchError>;

struct Flight {
    host: String,
    outcome: Shared<BoxFuture<'static, Outcome>>,
}

/// Where a card is.
#[derive(Clone)]
enum Source {
    Web(Target),
    Tunnel { network: Arc<dyn Network>, peer: NodeId, path: String },
}

impl Source {
    fn key(&self) -> String {
        match self {
            Source::Web(target) => target.as_str().to_owned(),
            Source::Tunnel { peer, path, .. } => format!("tunnel:{peer}{path}"),
        }
    }

    fn host(&self) -> String {
        match self {
            Source::Web(target) => target.host(),
            Source::Tunnel { peer, .. } => peer.to_string(),
        }
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher that asks the operating system for addresses.
    #[must_use]
    pub fn new(config: FetcherConfig) -> Self {
        Self::with_resolver(config, Arc::new(SystemResolver))
    }

    /// A fetcher with a resolver of its own.
    #[must_use]
    pub fn with_resolver(config: FetcherConfig, resolver: Arc<dyn Resolve>) -> Self {
        let wire = Wire::new(resolver, config.allow_private.clone(), config.more_roots.clone());
        let cache = Cache::new(config.cache_bytes_max);
        let state = Mutex::new(State { cache, flights: HashMap::new() });
        Self(Arc::new(Inner { wire, config, state }))
    }

    /// The document at a URL, from the cache if it may.
    ///
    /// # Errors
    /// [`FetchError`]; a failure is remembered for [`super::limits::FAILURE_LIFE`].
    pub async fn get(&self, url: &str) -> Result<Fetched, FetchError> {
        let target = Target::parse(url, self.0.config.allow_http)?;
        let source = Source::Web(target);
        let found = self.state().cache.find(&source.key(), Instant::now());
        match found {
            Some(Found::Fresh(entry)) => Ok(entry.fetched()),
            Some(Found::Failed(error)) => Err(error),
            Some(Found::Stale { entry, failure }) if entry.is_within(STALE_MAX) => {
                // Nobody waits for it; a failure leaves the stale copy where it is, for a while.
                if failure.is_none() {
                    drop(self.flight(&source));
                }
                Ok(entry.fetched())
            }
            Some(Found::Stale { failure: Some(error), .. }) => Err(error),
            _ => Ok(self.flight(&source)?.await?.fetched()),
        }
    }

    /// The card that a record names: its bytes have the record's digest.
    ///
    /// A path in the record is fetched through the agent's tunnel, which needs `network`.
    ///
    /// # Errors
    /// [`FetchError::NoCard`], [`FetchError::Digest`], and those of fetching.
    pub async fn card_of(
        &self,
        record: &Record,
        network: Option<Arc<dyn Network>>,
    ) -> Result<Fetched, FetchError> {
        let Some(wanted) = &record.card else { return Err(FetchError::NoCard) };
        let source = self.source(record.node_id(), wanted, network)?;
        let found = self.state().cache.find(&source.key(), Instant::now());
        match found {
            Some(Found::Fresh(entry) | Found::Stale { entry, .. })
                if entry.sha256 == wanted.sha256 =>
            {
                return Ok(entry.fetched());
            }
            // Just fetched, and something else: asking again at once would find the same.
            Some(Found::Fresh(entry)) if entry.fetched.elapsed() < self.0.config.fresh_min => {
                return Err(FetchError::digest(wanted, entry.sha256));
            }
            Some(Found::Failed(error) | Found::Stale { failure: Some(error), .. }) => {
                return Err(error);
            }
            _ => {}
        }
        let entry = self.flight(&source)?.await?;
        match entry.sha256 == wanted.sha256 {
            true => Ok(entry.fetched()),
            false => Err(FetchError::digest(wanted, entry.sha256)),
        }
    }

    /// The keys that count for a card: the identity's, and those at a `jku` on the card's own origin.
    pub async fn keys_of(&self, card: &Card, url: Option<&str>, identity: Keys) -> Keys {
        let Some(home) = url.and_then(|u| Target::parse(u, self.0.config.allow_http).ok()) else {
            return identity;
        };
        for url in signature::key_urls(card) {
            let same = Target::parse(&url, self.0.config.allow_http)
                .is_ok_and(|target| target.origin() == home.origin());
            if !same {
                continue;
            }
            if let Ok(set) = self.get(&url).await {
                return Keys { origin: Some((home.origin(), jwks::parse(&set.bytes))), ..identity };
            }
        }
        identity
    }

    fn source(
        &self,
        peer: NodeId,
        card: &CardRef,
        network: Option<Arc<dyn Network>>,
    ) -> Result<Source, FetchError> {
        let path = match card.url.as_str() {
            "" => WELL_KNOWN_PATH,
            path if path.starts_with('/') => path,
            url => return Ok(Source::Web(Target::parse(url, self.0.config.allow_http)?)),
        };
        let network = network.ok_or(FetchError::NoTunnel { peer })?;
        Ok(Source::Tunnel { network, peer, path: path.to_owned() })
    }

    /// Joins the flight to a source, or starts it. It goes on when nobody waits any more.
    fn flight(&self, source: &Source) -> Result<Shared<BoxFuture<'static, Outcome>>, FetchError> {
        let (key, host) = (source.key(), source.host());
        let mut state = self.state();
        if let Some(flight) = state.flights.get(&key) {
            return Ok(flight.outcome.clone());
        }
        let same_host = state.flights.values().filter(|f| f.host == host).count();
        if state.flights.len() >= FLIGHTS_MAX || same_host >= FLIGHTS_PER_HOST_MAX {
            return Err(FetchError::Busy);
        }
        let stale = state.cache.copy(&key);
        let (fetcher, source) = (self.clone(), source.clone());
        let task = tokio::spawn({
            let key = key.clone();
            async move {
                let limit = FetchError::Timeout { what: "the whole fetch" };
                let fetched = timeout(FETCH_TIMEOUT, fetcher.fetch(&source, stale)).await;
                fetcher.land(&key, fetched.unwrap_or(Err(limit)))
            }
        });
        let aborted = |_| FetchError::Connect { why: "the fetch was aborted".into() };
        let outcome = task.map(move |done| done.map_err(aborted)?).boxed().shared();
        state.flights.insert(key, Flight { host, outcome: outcome.clone() });
        Ok(outcome)
    }

    fn land(&self, key: &str, outcome: Outcome) -> Outcome {
        let mut state = self.state();
        state.flights.remove(key);
        state.cache.keep(key, &outcome, Instant::now());
        outcome
    }

    async fn fetch(&self, source: &Source, stale: Option<Arc<Entry>>) -> Outcome {
        match source {
            Source::Web(target) => self.fetch_web(target.clone(), stale).await,
            Source::Tunnel { network, peer, path } => {
                let service = CARD_SERVICE.parse().expect("a service name");
                let opened = network.open(*peer, &service).await;
                let stream = opened.map_err(|e| FetchError::Tunnel { why: e.to_string() })?;
                let host = peer.to_string();
                let none = Validators::default();
                let answer = wire::exchange(stream, &host, path, &none).await?;
                match answer.status {
                    StatusCode::OK => Ok(self.entry(String::new(), &answer)),
                    status => Err(FetchError::Status { status: status.as_u16() }),
                }
            }
        }
    }

    async fn fetch_web(&self, mut target: Target, stale: Option<Arc<Entry>>) -> Outcome {
        for _ in 0..=REDIRECTS_MAX {
            // Validators belong to the URL that gave them, not to the one that led there.
            let known = stale.as_ref().filter(|entry| entry.url == target.as_str());
            let validators = known.map(|entry| entry.validators.clone()).unwrap_or_default();
            let answer = self.0.wire.get(&target, &validators).await?;
            match (answer.status, known) {
                (StatusCode::OK, _) => return Ok(self.entry(target.as_str().to_owned(), &answer)),
                (StatusCode::NOT_MODIFIED, Some(entry)) => {
                    return Ok(Arc::new(entry.renewed(self.life(&answer), Instant::now())));
                }
                (
                    StatusCode::MOVED_PERMANENTLY
                    | StatusCode::FOUND
                    | StatusCode::SEE_OTHER
                    | StatusCode::TEMPORARY_REDIRECT
                    | StatusCode::PERMANENT_REDIRECT,
                    _,
                ) => {
                    let location = answer.header(header::LOCATION).unwrap_or_default();
                    target = target.redirected(location, self.0.config.allow_http)?;
                }
                (status, _) => return Err(FetchError::Status { status: status.as_u16() }),
            }
        }
        Err(FetchError::Redirects)
    }

    fn entry(&self, url: String, answer: &Answer) -> Arc<Entry> {
        Arc::new(Entry {
            url,
            bytes: answer.body.to_vec().into(),
            sha256: Sha256::digest(&answer.body).into(),
            validators: answer.validators(),
            fetched: Instant::now(),
            life: self.life(answer),
        })
    }

    fn life(&self, answer: &Answer) -> Duration {
        freshness::life(&answer.headers, self.0.config.fresh_default).max(self.0.config.fresh_min)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
