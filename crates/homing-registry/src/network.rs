//! What a registry asks of the node whose role it is.

use std::time::Duration;

use async_trait::async_trait;
use homing_base::{IpnsName, IpnsRecord, NodeId, Record, Service};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::entity::EntityKey;

/// Where an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The own tables.
    Local,
    /// Connected neighbours.
    Neighbours,
    /// What gossip brought.
    Gossip,
    /// The DHT.
    Dht,
}

/// A record found by the node, verified.
#[derive(Clone, Debug)]
pub struct Found {
    /// The records: one for a node ID or an address, every claimant's for a name.
    pub records: Vec<Record>,
    /// The layer that had it.
    pub layer: Layer,
    /// Time spent in each layer that was asked.
    pub spent: Vec<(Layer, Duration)>,
}

/// A neighbour of the node, for `/v1/network/peers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkPeer {
    /// Who.
    pub node_id: NodeId,
    /// The name it claims.
    pub name: Option<String>,
    /// Roles: `relay`, `registry`, `dht`.
    pub roles: Vec<String>,
    /// How its messages travel: `direct`, `relay`, or `none`.
    pub path: String,
}

/// Counts of the node, for `/v1/network/stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkStats {
    /// Connected peers.
    pub peers: u64,
    /// Records that gossip brought.
    pub gossip_entries: u64,
    /// Contacts of the DHT table; `None`: the DHT is off.
    pub dht_contacts: Option<u64>,
    /// Values that the DHT keeps here; `None`: the DHT is off.
    pub dht_values: Option<u64>,
}

/// A byte stream through the node's tunnel.
pub trait Tunnel: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Tunnel for T {}

/// Why the node could not.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No layer has it.
    #[error("not found in {asked} layers")]
    NotFound {
        /// Layers that were asked.
        asked: usize,
        /// Time spent in each.
        spent: Vec<(Layer, Duration)>,
    },
    /// The peer is not trusted, or does not offer the service.
    #[error("{peer} refuses {service}")]
    Refused {
        /// Who.
        peer: NodeId,
        /// What.
        service: Service,
    },
    /// It did not answer in time, or cannot be reached.
    #[error("{0}")]
    Unreachable(String),
}

/// A head of an audit log, to be cosigned (C2SP tlog-witness).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The delegation of the log's key; empty: the log is known here.
    pub delegation: Vec<u8>,
    /// The signed head.
    pub note: String,
    /// Size of the head that the witness is believed to hold.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<[u8; 32]>,
}

/// What became of a [`Submission`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cosigning {
    /// The witness's signature line, without its newline.
    Line(String),
    /// The log is not known.
    Unknown,
    /// The log's key did not sign it.
    Signature,
    /// The old size is larger than the head's.
    Malformed,
    /// The witness holds another head, of this size.
    Conflict(u64),
    /// The proof does not hold.
    Proof,
    /// Nobody here cosigns, or too much already.
    Busy,
}

/// The node, as its registry sees it.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Spreads a record that was registered here: gossip, DHT.
    async fn announce(&self, record: Record);

    /// Finds records beyond the registry's own tables: neighbours, gossip, DHT, in this order.
    ///
    /// # Errors
    /// [`NetworkError::NotFound`] when every layer missed.
    async fn resolve(&self, key: &EntityKey, timeout: Duration) -> Result<Found, NetworkError>;

    /// Opens a stream to a service of a peer through the tunnel.
    ///
    /// # Errors
    /// [`NetworkError::Refused`], [`NetworkError::Unreachable`].
    async fn open(&self, peer: NodeId, service: &Service) -> Result<Box<dyn Tunnel>, NetworkError>;

    /// Peers that are known to be registries, to ask in federated searches.
    async fn registries(&self) -> Vec<NodeId>;

    /// Connected peers.
    async fn peers(&self) -> Vec<NetworkPeer>;

    /// The newest valid record of an IPNS name, verified; `None`: nobody who was asked has one. A registry
    /// without a network has nobody to ask.
    async fn reference(&self, _name: &IpnsName, _timeout: Duration) -> Option<IpnsRecord> {
        None
    }

    /// Stores a verified record; `false`: there is nowhere to store it.
    async fn offer_reference(&self, _record: IpnsRecord) -> bool {
        false
    }

    /// Cosigns the head of an audit log that continues what this node cosigned before.
    async fn cosign(&self, _submission: Submission) -> Cosigning {
        Cosigning::Busy
    }

    /// Counts.
    async fn stats(&self) -> NetworkStats;

    /// Who this node is.
    fn node_id(&self) -> NodeId;
}

/// A registry that belongs to no network: it knows what was registered here, and nobody to ask.
///
/// A real mode: a registry for one machine or one team, or a node that is off the net.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// Who the registry is.
    pub node_id: NodeId,
}

#[async_trait]
impl Network for Alone {
    async fn announce(&self, _record: Record) {}

    async fn resolve(&self, _: &EntityKey, _: Duration) -> Result<Found, NetworkError> {
        Err(NetworkError::NotFound { asked: 0, spent: Vec::new() })
    }

    async fn open(&self, peer: NodeId, _: &Service) -> Result<Box<dyn Tunnel>, NetworkError> {
        Err(NetworkError::Unreachable(format!("this registry is in no network that has {peer}")))
    }

    async fn registries(&self) -> Vec<NodeId> {
        Vec::new()
    }

    async fn peers(&self) -> Vec<NetworkPeer> {
        Vec::new()
    }

    async fn stats(&self) -> NetworkStats {
        NetworkStats::default()
    }

    fn node_id(&self) -> NodeId {
        self.node_id
    }
}
