//! The registry role of a daemon: its database, its listener, and the two ways in.
//!
//! ```text
//! TCP registry.listen ─────────────► http::serve ─┐
//! tunnel, service "registry" ──────► the same routes ├─► homing-registry ─► storage
//! the agent's own and heard records ─► feed ─────────┘        └─► network: gossip, DHT, tunnels
//! ```
//! Ends with the node: open requests are drained first. Not here: what a registry answers
//! (`homing-registry`), who may use the tunnel (trust decides, as for every service).

mod feed;
mod network;
mod tunnel;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use homing_base::Service;
use homing_registry::cards::{Fetcher, FetcherConfig};
use homing_registry::http::{self, Rate, Registry, Settings};
use homing_registry::storage::{PostgresStorage, SqliteStorage, Storage, StorageError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::registry::without_password;
use crate::config::{RegistryConfig, RegistryDatabase};
use crate::home::Home;
use crate::node::Node;
pub(crate) use feed::known;
pub(crate) use network::NodeNetwork;

/// A registry that is about to serve: everything that can fail has not.
pub(crate) struct Prepared {
    listener: TcpListener,
    storage: Arc<dyn Storage>,
    wanted: RegistryConfig,
}

/// A registry that this daemon serves.
pub(crate) struct RegistryRole {
    listen: SocketAddr,
    public_url: String,
    database: String,
    registry: OnceLock<Registry>,
}

impl RegistryRole {
    /// Opens the database and the port.
    pub(crate) async fn prepare(
        wanted: &RegistryConfig,
        home: &Home,
    ) -> Result<(Self, Prepared), RegistryStartError> {
        let storage: Arc<dyn Storage> = match &wanted.database {
            RegistryDatabase::Embedded => {
                let _ = crate::home::private_database(&home.registry());
                Arc::new(SqliteStorage::open(home.registry())?)
            }
            RegistryDatabase::Postgres(url) => Arc::new(PostgresStorage::connect(url).await?),
        };
        let addr = wanted.listen;
        let failed = |source| RegistryStartError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let listen = listener.local_addr().map_err(failed)?;
        let public_url = match &wanted.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{listen}"),
        };
        let database = match &wanted.database {
            RegistryDatabase::Embedded => home.registry().display().to_string(),
            RegistryDatabase::Postgres(url) => without_password(url),
        };
        let prepared = Prepared { listener, storage, wanted: wanted.clone() };
        Ok((Self { listen, public_url, database, registry: OnceLock::new() }, prepared))
    }

    /// Where it listens.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where programs reach it.
    pub(crate) fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Where entities are kept, without a password.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The registry, once it serves.
    pub(crate) fn registry(&self) -> Option<&Registry> {
        self.registry.get()
    }
}

impl Prepared {
    /// Serves until the node has ended.
    pub(crate) fn serve(self, node: &Node, role: &RegistryRole) -> JoinHandle<()> {
        let network = Arc::new(NodeNetwork::of(node));
        let fetcher = FetcherConfig {
            allow_private: self.wanted.card_networks.clone(),
            ..FetcherConfig::default()
        };
        let settings = settings(&self.wanted, role.public_url.clone());
        let registry = Registry::new(self.storage, network, Fetcher::new(fetcher), settings);
        let _ = role.registry.set(registry.clone());
        let mut ended = node.shared.ended.clone();
        let until_end = async move { drop(ended.wait_for(Option::is_some).await) };
        let mut side =
            vec![tokio::spawn(feed::run(Arc::downgrade(&node.shared), registry.clone()))];
        match node.listen(service()) {
            Ok(door) => side.push(tokio::spawn(tunnel::answer(door, registry.clone()))),
            Err(error) => tracing::warn!(%error, "peers cannot ask this registry"),
        }
        tokio::spawn(async move {
            http::serve(self.listener, registry, until_end).await;
            side.iter().for_each(JoinHandle::abort);
        })
    }
}

/// What a registry's record offers, and what trusted peers ask for.
pub(crate) fn service() -> Service {
    http::REGISTRY_SERVICE.parse().expect("a label")
}

fn settings(wanted: &RegistryConfig, public_url: String) -> Settings {
    let rate = wanted.rate_per_second;
    Settings {
        public_url,
        title: wanted.title.clone(),
        cors_origins: wanted.cors_origins.clone(),
        trusted_proxies: wanted.trusted_proxies.clone(),
        allowed_hosts: wanted.allowed_hosts.clone(),
        per_address: (rate > 0).then(|| Rate { per_second: rate, burst: rate.saturating_mul(5) }),
        peers: wanted.peers.clone(),
        ..Settings::default()
    }
}

/// Why the registry role cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum RegistryStartError {
    /// The database cannot be used.
    #[error("the registry's database cannot be used")]
    Storage(#[from] StorageError),
    /// The port cannot be had.
    #[error("the registry cannot listen on {addr}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
