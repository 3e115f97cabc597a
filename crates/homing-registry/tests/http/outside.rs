//! A miss in the own tables: the network is asked, its find is verified, answered with its layer, and remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use homing_base::{NodeId, Record, Service};
use homing_registry::entity::EntityKey;
use homing_registry::network::{
    Found, Layer, Network, NetworkError, NetworkPeer, NetworkStats, Tunnel,
};

use crate::support::{Server, key, record, registry_id, settings};

/// A network in which some records can be found.
struct Neighbourhood {
    records: Vec<Record>,
    asked: AtomicUsize,
}

#[async_trait]
impl Network for Neighbourhood {
    async fn announce(&self, _: Record) {}

    async fn resolve(&self, key: &EntityKey, _: Duration) -> Result<Found, NetworkError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let spent = vec![
            (Layer::Gossip, Duration::from_millis(1)),
            (Layer::Dht, Duration::from_millis(99)),
        ];
        match key {
            EntityKey::Name(name) if name.as_str() == "nowhere" => {
                Err(NetworkError::NotFound { asked: 3, spent })
            }
            // Whatever is asked: an honest registry takes only what fits.
            _ => Ok(Found { records: self.records.clone(), layer: Layer::Dht, spent }),
        }
    }

    async fn open(&self, peer: NodeId, _: &Service) -> Result<Box<dyn Tunnel>, NetworkError> {
        Err(NetworkError::Unreachable(peer.to_string()))
    }

    async fn registries(&self) -> Vec<NodeId> {
        Vec::new()
    }

    async fn peers(&self) -> Vec<NetworkPeer> {
        Vec::new()
    }

    async fn stats(&self) -> NetworkStats {
        NetworkStats { peers: 3, ..NetworkStats::default() }
    }

    fn node_id(&self) -> NodeId {
        registry_id()
    }
}

async fn server_among(records: Vec<Record>) -> (Server, Arc<Neighbourhood>) {
    let network = Arc::new(Neighbourhood { records, asked: AtomicUsize::new(0) });
    (Server::within(settings(), network.clone()).await, network)
}

#[tokio::test]
async fn what_the_network_finds_is_answered_with_its_layer_and_remembered() {
    let (server, network) = server_among(vec![record(1, "far", 5)]).await;
    let first = server.get("/v1/entities/far").await;
    let view = first.ok(200);
    assert_eq!((&view["found"]["layer"], &view["source"]), (&"dht".into(), &"dht".into()));
    assert_eq!(view["found"]["spent"].as_array().unwrap().len(), 3, "{view}");
    assert_eq!(first.header("homing-layer"), "dht");
    let path = format!("/v1/entities/{}", key(1).node_id());
    assert_eq!(server.get(&path).await.ok(200)["found"]["layer"], "local");
    assert_eq!(network.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn many_who_ask_for_one_thing_cost_one_lookup_and_a_miss_is_believed_for_a_while() {
    let (server, network) = server_among(vec![record(1, "far", 5)]).await;
    let asks = (0..20).map(|_| server.get("/v1/entities/far"));
    for reply in futures_util::future::join_all(asks).await {
        reply.ok(200);
    }
    assert_eq!(network.asked.load(Ordering::SeqCst), 1);
    let asks = (0..20).map(|_| server.get("/v1/entities/nowhere"));
    for reply in futures_util::future::join_all(asks).await {
        reply.refused(404, "not_found");
    }
    assert_eq!(network.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_to_another_question_is_no_answer() {
    let (server, _) = server_among(vec![record(1, "far", 5)]).await;
    let other = format!("/v1/entities/{}", key(2).node_id());
    server.get(&other).await.refused(404, "not_found");
    server.get("/v1/entities/far?local=true").await.refused(404, "not_found");
}
