//! This agent: `info`, `version`, `config`, `stop`, and the health items that every face shows.

use std::net::SocketAddr;

use homing_base::{Address, InstanceId, Name, NodeId, PublicKey, RelayRef, Service};
use serde::{Deserialize, Serialize};

use crate::dht::DhtBrief;
use crate::network::NetworkFacts;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// `GET /v1/info`: who and where this agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// `homing.info/v1`.
    pub schema: Schema<Info>,
    /// The permanent address.
    pub address: Address,
    /// The name it claims.
    pub name: Option<Name>,
    /// The node ID.
    pub node_id: NodeId,
    /// The identity's public key.
    pub public_key: PublicKey,
    /// The published endpoint key of this run.
    pub instance: InstanceId,
    /// The endpoint key that trusted peers connect to; equal to `instance` with one door.
    pub main_instance: InstanceId,
    /// Reachable: a relay connection is up, or there is no relay to wait for.
    pub online: bool,
    /// A newer instance of this identity runs elsewhere; this one no longer publishes.
    pub superseded: bool,
    /// Relays configured, home relay first.
    pub relays: Vec<RelayLink>,
    /// UDP addresses of this node: local, reflexive, mapped.
    pub direct: Vec<SocketAddr>,
    /// Whether the record tells strangers `direct`.
    pub publishes_addresses: bool,
    /// Services that the record advertises.
    pub services: Vec<Service>,
    /// The published record; `None` until the first one is made.
    pub record: Option<RecordFacts>,
    /// What another node needs to reach this one at once; `None` until there is a record.
    pub ticket: Option<String>,
    /// Measured facts about the network.
    pub network: NetworkFacts,
    /// The DHT in brief; `None`: this node takes no part.
    #[serde(default)]
    pub dht: Option<DhtBrief>,
    /// The relay role, when this node has it.
    pub serving_relay: Option<ServedRelay>,
    /// The registry role, when this node has it.
    pub serving_registry: Option<ServedRegistry>,
    /// The gateway for programs on this machine, when there is one.
    #[serde(default)]
    pub gateway: Option<ServedGateway>,
    /// Where DNS is answered for names of agents, when it is.
    #[serde(default)]
    pub dns: Option<SocketAddr>,
    /// Conditions that last.
    pub health: Vec<HealthItem>,
    /// Of the daemon.
    pub pid: u32,
    /// Program version of the daemon.
    pub version: String,
    /// When this run began.
    pub started: Stamp,
    /// How long this run has lasted.
    pub uptime_s: u64,
    /// `$HOMING_HOME`.
    pub home: String,
    /// The identity file.
    pub identity_file: String,
    /// The UDP port of the main door.
    pub udp_port: Option<u16>,
}

/// A relay as this node uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelayLink {
    /// The relay.
    pub relay: RelayRef,
    /// Short form for tables: host and port.
    pub label: String,
    /// A connection stands.
    pub connected: bool,
    /// The one that the record names first.
    pub home: bool,
    /// Measured round trip.
    pub latency_ms: Option<f64>,
    /// Why it is not connected.
    pub error: Option<String>,
}

/// The published agent record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordFacts {
    /// Highest wins everywhere.
    pub sequence: u64,
    /// When it was signed.
    pub issued: Stamp,
    /// When it ends unless renewed.
    pub expires: Stamp,
}

/// The relay that this node serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedRelay {
    /// What others pass to `--relay`, pin included.
    pub relay: RelayRef,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where QUIC address discovery listens.
    pub quic_listen: Option<SocketAddr>,
    /// Connected clients.
    pub clients: u64,
    /// Node IDs that may use it; empty: everybody.
    pub allowed: Vec<NodeId>,
}

/// The registry that this node serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedRegistry {
    /// Where programs reach it.
    pub url: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where entities are kept; a password is left out.
    pub database: String,
}

/// The port through which programs on this machine reach peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServedGateway {
    /// Its base, and the proxy URL: `http://127.0.0.1:7420`.
    pub url: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether its proxies reach agents only.
    pub mesh_only: bool,
}

/// The network interface of this node, and what it carried in this run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunFacts {
    /// Its name, such as `homing0`.
    pub name: String,
    /// Its largest packet, in bytes.
    pub mtu: u16,
    /// Packets to peers.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets of peers.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets dropped, by reason.
    pub dropped: std::collections::BTreeMap<String, u64>,
}

/// How bad a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works, with a limitation.
    Warning,
    /// Something does not work.
    Error,
}

/// A condition that lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthItem {
    /// Stable, e.g. `identity_in_use`.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// More, with what to try.
    pub text: String,
    /// Since when.
    pub since: Stamp,
}

/// `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// `homing.version/v1`.
    pub schema: Schema<Version>,
    /// Program version.
    pub version: String,
    /// See [`crate::API_MAJOR`].
    pub api_major: u32,
}

/// `POST /v1/stop` and other requests whose answer is only "done".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// `homing.done/v1`.
    pub schema: Schema<Done>,
    /// Whether anything changed.
    pub changed: bool,
}

/// `GET /v1/config`: the effective configuration of this run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    /// `homing.config/v1`.
    pub schema: Schema<ConfigView>,
    /// The file that was or would be read.
    pub file: String,
    /// Every key.
    pub values: Vec<ConfigValue>,
}

/// One configuration value and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// Dotted, e.g. `relay.enabled`.
    pub key: String,
    /// The value; secrets are redacted.
    pub value: serde_json::Value,
    /// Who set it.
    pub origin: Origin,
}

/// Where a configuration value came from; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Built in.
    Default,
    /// `config.toml`.
    File,
    /// A `HOMING_*` variable.
    Env,
    /// The command line.
    Flag,
}

described! {
    Info => "homing.info/v1",
    Version => "homing.version/v1",
    Done => "homing.done/v1",
    ConfigView => "homing.config/v1",
}
