//! Configuration: one tree of plain structs, four layers, the origin of every value.
//!
//! ```text
//! flags  >  HOMING_* environment  >  config.toml  >  default
//! ```
//! [`keys::KEYS`] is the list of everything that can be set; the tree, the file, the environment and
//! `homing config` all read it. An unknown key is an error with a suggestion: a typo must not mean
//! "default". Not here: `HOMING_HOME`, `HOMING_SOCKET` and `HOMING_IDENTITY`, which say where the
//! files are ([`crate::home`]).

pub(crate) mod anchor;
mod dht;
mod dns;
mod error;
mod file;
mod gateway;
pub mod keys;
mod layers;
pub(crate) mod registry;
#[cfg(test)]
mod tests;
mod tun;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use homing_base::{Name, NodeId, RelayRef, Service};
use homing_core::io::PeerHint;

pub use anchor::{AnchorConfig, AnchorKind, contract};
pub use dht::{DhtConfig, DhtServer};
pub use dns::{DnsConfig, DnsScope};
pub use error::ConfigError;
pub use file::{set, validate};
pub use gateway::GatewayConfig;
pub(crate) use layers::peer_hint;
pub use layers::{Layers, Origin, Setting, Value};
pub use registry::{RegistryConfig, RegistryDatabase};
pub use tun::TunConfig;

use crate::transport::Congestion;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name to claim. Default: none; peers then use the address.
    pub name: Option<Name>,
    /// UDP address of the main door. Default `[::]:0` with both families: any free port, the
    /// previous run's first, because routers remember mappings.
    pub listen: Option<SocketAddr>,
    /// Relays, most wanted first. Default: none; nobody else's relays are ever used.
    pub relays: Vec<RelayRef>,
    /// Peers to join through: tickets, `ADDRESS@HOST:PORT`, `NODE_ID@HOST:PORT` or `HOST:PORT`.
    /// Default: none.
    pub peers: Vec<PeerHint>,
    /// Publish direct addresses in the agent record. Default `false`: a stranger learns no IP of an
    /// agent that has a relay.
    pub publish_addresses: bool,
    /// Services to advertise in the record. Default: none; a hint only, grants decide.
    pub services: Vec<Service>,
    /// How fast to send. Default [`Congestion::Auto`], by measurement.
    pub congestion: Congestion,
    /// Guess ports where hole punching cannot help. Default `true`; it takes two that do so, and their trust.
    pub port_prediction: bool,
    /// How long the own record lives. Default 24 h, the most it may: peers find a sleeping laptop
    /// again, and publishing at half of it costs nothing.
    pub record_lifetime: Duration,
    /// Logging.
    pub log: LogConfig,
    /// The relay role.
    pub relay: RelayConfig,
    /// The distributed hash table.
    pub dht: DhtConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// Where the audit log is anchored; `None`: nowhere.
    pub anchor: Option<AnchorConfig>,
    /// Gossip.
    pub gossip: GossipConfig,
    /// Messages between agents.
    pub messages: MessagesConfig,
    /// References.
    pub references: ReferencesConfig,
    /// Content.
    pub content: ContentConfig,
    /// The registry role.
    pub registry: RegistryConfig,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// The DNS server.
    pub dns: DnsConfig,
    /// The network interface.
    pub tun: TunConfig,
    /// Trust.
    pub trust: TrustConfig,
}

/// The audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Whether one is kept. Default `true`: what was not logged cannot be proven later, and an idle log
    /// costs two sleeping threads.
    pub enabled: bool,
    /// The most that it may take on disk, in bytes. Default 1 GiB: some three million entries.
    pub bytes_max: u64,
}

/// Gossip: records travel between trusted peers and public neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipConfig {
    /// Whether this node takes part. Default `true`: names are found at once, and what was
    /// published is known when its origin is gone. The own record names relays, no addresses.
    pub enabled: bool,
}

/// Messages between agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagesConfig {
    /// The largest file that is fetched when a trusted peer sends one, in bytes. Default 1 GiB: a peer must not
    /// fill the disk by mistake. 0: no files but empty ones.
    pub file_bytes_max: u64,
    /// The largest file that is fetched before anybody has asked for messages, in bytes. Default 16 MiB: what
    /// arrives while nobody looks (16 files per sender) stays small. 0: every file waits.
    pub unasked_bytes_max: u64,
}

/// Mutable references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencesConfig {
    /// How long a record is valid when `publish` says nothing. Default 7 days: it outlives a weekend of its
    /// owner, and nobody but the owner can extend it.
    pub lifetime: Duration,
    /// References of others to keep alive. Default: none.
    pub keep: Vec<String>,
    /// Whether trusted peers may ask this agent to keep theirs. Default `true`, at most 64 each.
    pub keep_for_trusted: bool,
}

/// Content: files kept under their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentConfig {
    /// Whether peers that are trusted for it get what is kept. Default `true`: what one has fetched, others need not get
    /// from its publisher.
    pub serve: bool,
    /// Bytes kept, published and fetched together. Default 10 GiB: a fetch must not fill the disk by mistake.
    pub max_bytes: u64,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,homing_core=debug`.
    /// Default `info`: changes that a user would notice.
    pub level: String,
}

/// The relay role: any node can carry others' encrypted packets.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayConfig {
    /// Whether this daemon is a relay. Default `false`.
    pub enabled: bool,
    /// TCP address for HTTPS. Default `[::]:3340`: above 1024, so that no root is needed.
    pub listen: SocketAddr,
    /// UDP port of QUIC address discovery. Default 7842, iroh's.
    pub quic_port: u16,
    /// PEM certificate chain. Default: a self-made one in the home, pinned by what is printed.
    pub cert: Option<PathBuf>,
    /// PEM private key of `cert`.
    pub key: Option<PathBuf>,
    /// The host name or IP that others reach it by. Default: the first public address found.
    pub hostname: Option<String>,
    /// Who may use it. Default `open`: it forwards ciphertext and limits each client.
    pub access: RelayAccess,
    /// Node IDs that may use it when `access = "allow"`. Default: none.
    pub allow: Vec<NodeId>,
    /// Per client, in bytes per second; 0: no limit. Default 0.
    pub rate_limit_bytes_per_second: u32,
}

/// Who may use a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayAccess {
    /// Everybody.
    Open,
    /// The node IDs of `relay.allow` only.
    Allow,
}

/// Trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustConfig {
    /// How long a handshake or an approval lasts when the command does not say. Default: until
    /// revoked, because a fleet that loses trust at night is worse than one that lists it.
    pub lifetime: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Layers::default().resolve().expect("the defaults are valid")
    }
}
