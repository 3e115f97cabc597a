//! The node, as its registry sees it.
//!
//! Holds the node weakly: a registry does not keep a node alive that everybody else has let go.

use std::sync::Weak;
use std::time::Duration;

use async_trait::async_trait;
use homing_api::{ApiError, Code};
use homing_base::{IpnsName, IpnsRecord, NodeId, Record, Reference, Service};
use homing_core::audit::Hash;
use homing_core::audit::witness::{self, Uncosigned};
use homing_core::io::{self, PeerRef, TrustState};
use homing_core::view::PeerView;
use homing_core::{Agent, Answer, Command, Failure};
use homing_registry::entity::EntityKey;
use homing_registry::http::REGISTRY_SERVICE;
use homing_registry::network::{
    Cosigning, Found, Layer, Network, NetworkError, NetworkPeer, NetworkStats, Submission, Tunnel,
};

use crate::clock::Clock;
use crate::node::{Node, Shared};

/// How long a stream to a peer may take to open.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// What a registry asks of its node.
pub(crate) struct NodeNetwork {
    shared: Weak<Shared>,
    node_id: NodeId,
    clock: Clock,
}

impl NodeNetwork {
    pub(crate) fn of(node: &Node) -> Self {
        Self {
            shared: std::sync::Arc::downgrade(&node.shared),
            node_id: node.node_id(),
            clock: node.shared.clock,
        }
    }

    fn node(&self) -> Result<Node, NetworkError> {
        let shared = self.shared.upgrade();
        shared.map(|shared| Node { shared }).ok_or_else(stopping)
    }

    /// Something read from the agent; the default when the node stops.
    async fn look<T: Default + Send + 'static>(
        &self,
        look: impl FnOnce(&Agent) -> T + Send + 'static,
    ) -> T {
        match self.node() {
            Ok(node) => node.query(look).await.unwrap_or_default(),
            Err(_) => T::default(),
        }
    }

    async fn views(&self) -> Vec<PeerView> {
        let now = self.clock.now();
        self.look(move |agent| agent.peers(now)).await
    }

    /// The records of everybody who claims a name.
    async fn claims(&self, claimants: Vec<NodeId>) -> Vec<Record> {
        let known = self.views().await.into_iter();
        known.filter(|p| claimants.contains(&p.node_id)).filter_map(|p| p.record).collect()
    }
}

#[async_trait]
impl Network for NodeNetwork {
    async fn announce(&self, record: Record) {
        let Ok(node) = self.node() else { return };
        let command = Command::Offer { record: Box::new(record) };
        if let Ok(Err(failure)) = node.raw_command(command).await {
            tracing::debug!(?failure, "a registered record is not spread");
        }
    }

    async fn resolve(&self, key: &EntityKey, timeout: Duration) -> Result<Found, NetworkError> {
        let peer = match key {
            EntityKey::NodeId(id) => PeerRef::NodeId(*id),
            EntityKey::Address(address) => PeerRef::Address(*address),
            EntityKey::Name(name) => PeerRef::Name(name.clone()),
        };
        let command = Command::Resolve { peer, timeout };
        match self.node()?.raw_command(command).await.map_err(|_| stopping())? {
            Ok(Answer::Resolved(found)) => Ok(Found {
                spent: found.spent.iter().map(|(layer, time)| (layer_of(*layer), *time)).collect(),
                layer: layer_of(found.layer),
                records: vec![found.record],
            }),
            Err(Failure::Ambiguous { claimants, .. }) => {
                let records = self.claims(claimants).await;
                Ok(Found { records, layer: Layer::Gossip, spent: Vec::new() })
            }
            Err(Failure::NotFound { .. }) => {
                Err(NetworkError::NotFound { asked: 4, spent: Vec::new() })
            }
            other => Err(NetworkError::Unreachable(format!("{other:?}"))),
        }
    }

    async fn open(&self, peer: NodeId, service: &Service) -> Result<Box<dyn Tunnel>, NetworkError> {
        let opened = self.node()?.connect(&peer.to_string(), service, OPEN_MAX).await;
        match opened {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(refusal(peer, service, &error)),
        }
    }

    async fn registries(&self) -> Vec<NodeId> {
        let trusted = self.views().await.into_iter();
        let serving = trusted.filter(|p| p.trust.state == TrustState::Mutual && serves(p));
        serving.map(|p| p.node_id).collect()
    }

    async fn peers(&self) -> Vec<NetworkPeer> {
        let connected = self.views().await.into_iter().filter(|p| !p.links.is_empty());
        connected.map(|p| summary(&p)).collect()
    }

    async fn reference(&self, name: &IpnsName, timeout: Duration) -> Option<IpnsRecord> {
        let key = io::ReferenceKey::Ipns(*name);
        let command = Command::ResolveReference { key, timeout };
        match self.node().ok()?.raw_command(command).await {
            Ok(Ok(Answer::ReferenceResolved(found))) => Some(found.reference.record),
            _ => None,
        }
    }

    async fn offer_reference(&self, record: IpnsRecord) -> bool {
        let reference = Reference { record, binding: None };
        let Ok(node) = self.node() else { return false };
        node.offer_reference(reference).await.is_ok()
    }

    async fn cosign(&self, asked: Submission) -> Cosigning {
        let Submission { delegation, note, old, proof } = asked;
        let proof = proof.into_iter().map(Hash).collect();
        let submission = witness::Submission { delegation, note, old, proof };
        let Ok(node) = self.node() else { return Cosigning::Busy };
        match node.raw_command(Command::Cosign(Box::new(submission))).await {
            Ok(Ok(Answer::Cosigned(Ok(cosigned)))) => Cosigning::Line(cosigned.line),
            Ok(Ok(Answer::Cosigned(Err(why)))) => match why {
                Uncosigned::Unknown => Cosigning::Unknown,
                Uncosigned::Signature => Cosigning::Signature,
                Uncosigned::Malformed => Cosigning::Malformed,
                Uncosigned::Conflict { held } => Cosigning::Conflict(held),
                Uncosigned::Proof => Cosigning::Proof,
                Uncosigned::Full => Cosigning::Busy,
            },
            _ => Cosigning::Busy,
        }
    }

    async fn stats(&self) -> NetworkStats {
        let now = self.clock.now();
        self.look(move |agent| {
            let dht = agent.dht_view(now);
            NetworkStats {
                peers: agent.peers(now).iter().filter(|p| !p.links.is_empty()).count() as u64,
                gossip_entries: agent.gossip_view().map_or(0, |view| view.entries as u64),
                dht_contacts: dht.as_ref().map(|view| view.contacts.len() as u64),
                dht_values: dht.as_ref().map(|view| view.values as u64),
            }
        })
        .await
    }

    fn node_id(&self) -> NodeId {
        self.node_id
    }
}

/// Whether the peer's record says that it is a registry.
fn serves(peer: &PeerView) -> bool {
    let services = peer.record.as_ref().map(|record| record.services.as_slice());
    services.unwrap_or_default().iter().any(|service| service.as_str() == REGISTRY_SERVICE)
}

/// What everybody may know of a neighbour: never its addresses.
fn summary(peer: &PeerView) -> NetworkPeer {
    let roles = [("public", peer.neighbour), ("registry", serves(peer))];
    NetworkPeer {
        node_id: peer.node_id,
        name: peer.record.as_ref().and_then(|r| r.name.as_ref()).map(ToString::to_string),
        roles: roles.iter().filter(|(_, has)| *has).map(|(role, _)| (*role).to_owned()).collect(),
        path: "connected".to_owned(),
    }
}

fn layer_of(layer: io::Layer) -> Layer {
    match layer {
        io::Layer::Local => Layer::Local,
        io::Layer::Neighbours => Layer::Neighbours,
        io::Layer::Gossip => Layer::Gossip,
        io::Layer::Dht => Layer::Dht,
    }
}

fn refusal(peer: NodeId, service: &Service, error: &ApiError) -> NetworkError {
    match error.code {
        Code::PeerNotTrusted | Code::ScopeDenied | Code::NoSuchService | Code::TrustExpired => {
            NetworkError::Refused { peer, service: service.clone() }
        }
        _ => NetworkError::Unreachable(error.to_string()),
    }
}

fn stopping() -> NetworkError {
    NetworkError::Unreachable("this node is stopping".to_owned())
}
