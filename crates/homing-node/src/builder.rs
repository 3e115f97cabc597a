//! Starting a node: from a home and a few wishes to a running agent.
//!
//! Order matters and is this: configuration → home and lock → identity → store → relay role →
//! sockets → agent → local API. Nothing waits for a relay or a peer; a failure leaves nothing bound
//! and nothing half-written.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use homing_api::ApiError;
use homing_base::{Address, IdentityKey, NodeId, Service};
use homing_core::Agent;
use homing_core::io::{GossipSettings, ReferenceSettings, Settings};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::VERSION;
use crate::anchoring::AnchorWatch;
use crate::api::{self, ApiSocket};
use crate::audit::AuditRoom;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Layers, Setting, TunConfig};
use crate::content::Content;
use crate::dht_watch::DhtWatch;
use crate::dns::DnsRole;
use crate::driver::{Driver, HEARD_MAX};
use crate::events::Events;
use crate::exposure::Exposures;
use crate::gateway_role::GatewayRole;
use crate::health::Health;
use crate::home::{Home, HomeError, HomeLock};
use crate::identity_file::{self, IdentityFileError};
use crate::mailroom::Mailroom;
use crate::node::{Node, REQUESTS_MAX, Shared};
use crate::reference_watch::ReferenceWatch;
use crate::registry_role::{self, RegistryRole, RegistryStartError};
use crate::relay::RelayError;
use crate::relay_role::RelayRole;
use crate::store::{Contents, Deferred, Store, StoreError};
use crate::streams::Streams;
use crate::transport::{Proxy, Transport, TransportConfig, TransportError, TransportEvent};
use crate::tun::Interface;

/// How to start a node.
///
/// ```no_run
/// # async fn start() -> Result<(), homing_node::StartError> {
/// let node = homing_node::Node::builder()
///     .home("/var/lib/planner")
///     .name("planner")
///     .relay("https://relay.example:3340/")
///     .start()
///     .await?;
/// println!("{} is at {}", node.node_id(), node.address());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    home: Option<Home>,
    flags: Vec<(String, String)>,
    relays: Vec<String>,
    peers: Vec<String>,
    environment: bool,
    takeover: bool,
    no_api: bool,
}

impl Builder {
    /// Where its files are. Default: what the environment says, see [`Home::locate`].
    #[must_use]
    pub fn home(self, dir: impl Into<PathBuf>) -> Self {
        self.home_at(Home::at(dir))
    }

    /// As [`Builder::home`], with identity file or socket elsewhere.
    #[must_use]
    pub fn home_at(self, home: Home) -> Self {
        Self { home: Some(home), ..self }
    }

    /// The name to claim.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set("name", name)
    }

    /// One more relay, as `homing relay serve` prints it.
    #[must_use]
    pub fn relay(mut self, relay: impl Into<String>) -> Self {
        self.relays.push(relay.into());
        self
    }

    /// One more peer to join through: a ticket or `ADDRESS@HOST:PORT`.
    #[must_use]
    pub fn peer(mut self, peer: impl Into<String>) -> Self {
        self.peers.push(peer.into());
        self
    }

    /// The UDP address to listen on.
    #[must_use]
    pub fn listen(self, addr: SocketAddr) -> Self {
        self.set("listen", addr.to_string())
    }

    /// Any configuration key, above environment and file.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.flags.push((key.into(), value.into()));
        self
    }

    /// Whether `HOMING_*` variables count. Default: no, a program that embeds a node decides itself.
    #[must_use]
    pub fn environment(self, environment: bool) -> Self {
        Self { environment, ..self }
    }

    /// Take the identity over from an instance that runs elsewhere: publish only once this one
    /// answers, so that peers lose nothing.
    #[must_use]
    pub fn takeover(self, takeover: bool) -> Self {
        Self { takeover, ..self }
    }

    /// Serve no local API: for programs that use the node directly.
    #[must_use]
    pub fn without_api(self) -> Self {
        Self { no_api: true, ..self }
    }

    /// Starts the node. Returns as soon as it listens; relays and peers come by themselves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self) -> Result<Node, StartError> {
        let clock = Clock::start();
        let home = match &self.home {
            Some(home) => home.clone(),
            None => Home::locate(None)?,
        };
        let layers = self.layers(&home)?;
        let config = layers.resolve()?;
        let socket = if self.no_api { None } else { Some(home.socket()?) };
        home.ensure()?;
        let lock = home.lock()?;
        let key = load_or_create(&home)?;
        layers.check_owner(&config, key.node_id())?;
        let (store, contents) = Store::open(&home.database(), key.node_id(), clock.now())?;
        let relay = match config.relay.enabled {
            true => Some(RelayRole::start(&config.relay, &home, key.node_id()).await?),
            false => None,
        };
        let registry = match config.registry.enabled {
            true => Some(RegistryRole::prepare(&config.registry, &home).await?),
            false => None,
        };
        let tun = match config.tun.enabled {
            true => Some(open_interface(&config.tun, &key)?),
            false => None,
        };
        let ground = Ground {
            tun,
            clock,
            home,
            config,
            settings: layers.settings(),
            key,
            store,
            contents,
            relay,
            registry,
            proxy: if self.environment { Proxy::from_environment()? } else { None },
            takeover: self.takeover,
        };
        ground.run(lock, socket).await
    }

    fn layers(&self, home: &Home) -> Result<Layers, ConfigError> {
        let all = std::env::vars_os().filter(|_| self.environment);
        let text = all.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let mut layers = Layers::read(&home.config(), text)?;
        for (key, value) in &self.flags {
            layers.flag(key, value)?;
        }
        for (key, list) in [("relays", &self.relays), ("peers", &self.peers)] {
            if !list.is_empty() {
                layers.flag_list(key, list.clone())?;
            }
        }
        Ok(layers)
    }
}

/// The identity of a home: read, or made when nothing there ever had one.
fn load_or_create(home: &Home) -> Result<IdentityKey, StartError> {
    let path = home.identity();
    match identity_file::load(&path) {
        Err(IdentityFileError::Missing { .. }) => {
            if let Some(owner) = Store::owner(&home.database())? {
                return Err(StartError::IdentityLost { path, owner });
            }
            let key = identity_file::generate();
            identity_file::create(&path, &key)?;
            info!(me = %key.node_id().fmt_short(), "new identity");
            Ok(key)
        }
        loaded => Ok(loaded?),
    }
}

/// The network interface that was asked for; a node without it is not what was meant.
fn open_interface(wanted: &TunConfig, key: &IdentityKey) -> Result<Arc<Interface>, StartError> {
    Interface::open(wanted, Address::of(&key.node_id()))
        .map_err(|source| StartError::Tun { name: wanted.name.clone(), source })
}

/// What stands before anything runs.
struct Ground {
    tun: Option<Arc<Interface>>,
    clock: Clock,
    home: Home,
    config: Config,
    settings: Vec<Setting>,
    key: IdentityKey,
    store: Store,
    contents: Contents,
    relay: Option<RelayRole>,
    registry: Option<(RegistryRole, registry_role::Prepared)>,
    proxy: Option<Proxy>,
    takeover: bool,
}

impl Ground {
    async fn run(mut self, lock: HomeLock, socket: Option<PathBuf>) -> Result<Node, StartError> {
        let (transport, wire) = self.bind().await?;
        self.remember_port(&transport).await;
        let api = socket.map(|path| ApiSocket::bind(&path)).transpose()?;
        let health = Arc::new(Health::default());
        self.first_look(&health);
        // For those who embed a node a port would be a surprise.
        let gateway = match api {
            Some(_) => GatewayRole::prepare(&self.config.gateway, &health).await,
            None => None,
        };
        let (gateway, port) = gateway.unzip();
        let (dns, dns_sockets) = DnsRole::prepare(&self.config.dns, &health).await.unzip();
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let streams = Streams::new(requests.clone());
        let events = Arc::new(Events::default());
        let mailroom = Arc::new(Mailroom::default());
        let audit = AuditRoom::open(
            self.home.audit(),
            &self.config.audit,
            &self.key,
            self.clock.now().wall,
            health.clone(),
        );
        self.audit_roles(&audit).await;
        let relay = self.relay.take().map(Arc::new);
        let (registry, prepared) = self.registry.take().unzip();
        let (ended_sender, ended) = watch::channel(None);
        let (down_sender, down) = watch::channel(false);
        let heard = tokio::sync::broadcast::Sender::new(HEARD_MAX);
        let driver = Driver {
            agent: self.agent(&transport, relay.as_deref()),
            clock: self.clock,
            transport: transport.clone(),
            streams: streams.clone(),
            events: events.clone(),
            health: health.clone(),
            mailroom: mailroom.clone(),
            audit,
            relay: relay.clone(),
            replies: BTreeMap::new(),
            next_request: 0,
            stopping: false,
            deferred: Deferred::default(),
            dht: DhtWatch::default(),
            references: ReferenceWatch::default(),
            heard: heard.clone(),
            store_counts: self.store.counts(),
            store: self.store,
        };
        let exposures = Exposures::load(&self.home);
        let content = Content::open(self.home.dir(), self.config.content.max_bytes);
        let shared = Shared {
            public_key: self.key.public(),
            home: self.home,
            config: self.config,
            settings: self.settings,
            clock: self.clock,
            started: self.clock.now().wall,
            requests,
            transport,
            streams,
            events,
            heard,
            health,
            mailroom,
            anchored: AnchorWatch::default(),
            store_counts: driver.store_counts.clone(),
            relay,
            registry,
            gateway,
            dns,
            tun: self.tun,
            exposures,
            content,
            dht_lookups: AtomicU64::default(),
            ended,
            down,
        };
        let node = Node { shared: Arc::new(shared) };
        tokio::spawn(node.clone().serve_cards());
        tokio::spawn(node.clone().serve_files());
        tokio::spawn(node.clone().fetch_files());
        tokio::spawn(node.clone().keep_configured());
        tokio::spawn(node.clone().follow_dht_setting());
        tokio::spawn(node.clone().decide_dht_mode());
        if node.shared.config.content.serve {
            tokio::spawn(node.clone().serve_content());
        }
        tokio::spawn(node.clone().anchor_audit());
        if let (Some(role), Some(prepared)) = (&node.shared.registry, prepared) {
            drop(prepared.serve(&node, role));
        }
        if let (Some(role), Some(port)) = (node.shared.gateway, port) {
            role.serve(&node, port);
        }
        if let Some(interface) = &node.shared.tun {
            interface.serve(&node);
        }
        if let (Some(role), Some(sockets)) = (node.shared.dns, dns_sockets) {
            role.serve(&node, sockets);
        }
        node.restore_exposures();
        let serving = api.map(|socket| api::serve(node.clone(), socket));
        tokio::spawn(supervise(driver, queue, wire, serving, (lock, down_sender), ended_sender));
        Ok(node)
    }

    /// Binds the transport: the port that was configured, else that of the previous run, else any.
    async fn bind(&self) -> Result<(Transport, mpsc::Receiver<TransportEvent>), TransportError> {
        let config = |listen| TransportConfig {
            listen,
            relays: self.relays(),
            publish_addresses: self.config.publish_addresses,
            public: self.config.relay.enabled,
            identity: Some(self.key.clone()),
            congestion: self.config.congestion,
            proxy: self.proxy.clone(),
        };
        if let Some(addr) = self.config.listen {
            return Transport::bind(config(vec![addr])).await;
        }
        let wildcards = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        if let Some(port) = self.contents.last_port {
            let both = wildcards.map(|ip| SocketAddr::new(ip, port));
            // Without the second there is no IPv6 here.
            for listen in [&both[..], &both[..1]] {
                if let Ok(bound) = Transport::bind(config(listen.to_vec())).await {
                    return Ok(bound);
                }
            }
        }
        Transport::bind(config(Vec::new())).await
    }

    /// The configured relays, or a relay's own: a node that carries others can carry itself.
    fn relays(&self) -> Vec<homing_base::RelayRef> {
        match &self.relay {
            Some(role) if self.config.relays.is_empty() => vec![role.reference().clone()],
            _ => self.config.relays.clone(),
        }
    }

    async fn remember_port(&self, transport: &Transport) {
        let port = udp_port(&transport.bound());
        if let Some(port) = port.filter(|port| Some(*port) != self.contents.last_port)
            && let Err(error) = self.store.remember_port(port).await
        {
            warn!(%error, "the UDP port could not be remembered");
        }
    }

    fn agent(&mut self, transport: &Transport, relay: Option<&RelayRole>) -> Agent {
        let settings = Settings {
            name: self.config.name.clone(),
            instance: transport.instance(),
            main: transport.main(),
            relays: self.config.relays.clone(),
            peers: self.config.peers.clone(),
            public: relay.is_some() || self.config.registry.enabled,
            services: self.services(),
            software: format!("homing {VERSION}"),
            record_lifetime: self.config.record_lifetime,
            takeover: self.takeover,
            dht: self.config.dht.settings(),
            gossip: self.config.gossip.enabled.then(GossipSettings::default),
            references: ReferenceSettings {
                keep_for_trusted: self.config.references.keep_for_trusted,
                lifetime: self.config.references.lifetime,
                ..ReferenceSettings::default()
            },
            port_prediction: self.config.port_prediction,
        };
        let stored = std::mem::take(&mut self.contents.stored);
        let seed = identity_file::random_seed();
        Agent::new(settings, self.key.clone(), stored, seed, self.clock.now())
    }

    /// The roles that the configuration gives this node, or has taken from it since its last run.
    async fn audit_roles(&self, audit: &AuditRoom) {
        let roles =
            [("relay", self.config.relay.enabled), ("registry", self.config.registry.enabled)];
        let on = roles.into_iter().filter(|(_, on)| *on).map(|(role, _)| role).collect();
        audit.record_roles(self.clock.now().wall, &on).await;
    }

    /// What is advertised: a registry says that it is one.
    fn services(&self) -> Vec<Service> {
        let mut services = self.config.services.clone();
        if self.config.registry.enabled && !services.contains(&registry_role::service()) {
            services.push(registry_role::service());
        }
        services
    }

    /// Conditions that are known before anything ran.
    fn first_look(&self, health: &Health) {
        health.set("no_relay", self.relays().is_empty(), String::new);
        let damaged = self.contents.damaged_rows;
        health.set("store_damaged", damaged > 0, || format!("{damaged} rows were damaged"));
        let (identity, dir) = (self.home.identity(), self.home.dir());
        let elsewhere = identity.parent() != Some(dir) || identity.is_symlink();
        let noted = dir.join("key-backed-up").exists();
        health.set("key_not_backed_up", !elsewhere && !noted, String::new);
    }
}

/// The port that routers and firewalls know: IPv4's where there is one.
pub(crate) fn udp_port(bound: &[SocketAddr]) -> Option<u16> {
    bound.iter().find(|a| a.is_ipv4()).or(bound.first()).map(SocketAddr::port)
}

/// Runs the driver to its end, then takes everything down in order: API, relay, lock.
async fn supervise(
    driver: Driver,
    queue: mpsc::Receiver<crate::driver::Request>,
    wire: mpsc::Receiver<TransportEvent>,
    serving: Option<api::Serving>,
    (lock, down): (HomeLock, watch::Sender<bool>),
    ended: watch::Sender<Option<Result<(), ApiError>>>,
) {
    let relay = driver.relay.clone();
    let how = driver.run(queue, wire).await;
    if let Some(relay) = relay {
        relay.stop().await;
    }
    ended.send_replace(Some(how.map_err(|error| ApiError::from(&error))));
    if let Some(serving) = serving {
        serving.finish().await;
    }
    drop(lock);
    down.send_replace(true);
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The home cannot be used, or another daemon uses it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity cannot be read or made.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// There was an identity here and its file is gone.
    #[error("{path} is missing, but this home belongs to {owner}")]
    IdentityLost {
        /// Where the file should be.
        path: PathBuf,
        /// Whose home it is.
        owner: NodeId,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The UDP sockets cannot be bound.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The relay role cannot be taken.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// The registry role cannot be taken.
    #[error(transparent)]
    Registry(#[from] RegistryStartError),
    /// The network interface cannot be made.
    #[error("the network interface {name} cannot be made")]
    Tun {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The socket of the local API cannot be bound.
    #[error("cannot listen on {path}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
