//! An agent without a public URL: its card comes through its tunnel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use homing_base::{NodeId, Record, Service};
use homing_registry::cards::{FetchError, Fetcher, FetcherConfig};
use homing_registry::entity::EntityKey;
use homing_registry::network::{Found, Network, NetworkError, NetworkPeer, NetworkStats, Tunnel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fetching::record;
use crate::support::full_card;

/// A node whose tunnels end in an agent that serves `card`.
struct Node {
    card: String,
    asked: Arc<Mutex<Vec<(NodeId, String, String)>>>,
}

#[async_trait]
impl Network for Node {
    async fn open(&self, peer: NodeId, service: &Service) -> Result<Box<dyn Tunnel>, NetworkError> {
        let (ours, mut theirs) = tokio::io::duplex(1_024);
        let (card, asked, service) = (self.card.clone(), self.asked.clone(), service.to_string());
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await.unwrap());
            }
            let path = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned();
            asked.lock().unwrap().push((peer, service, path));
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{card}", card.len());
            theirs.write_all(answer.as_bytes()).await.unwrap();
        });
        Ok(Box::new(ours))
    }

    async fn announce(&self, _: Record) {}
    async fn resolve(&self, _: &EntityKey, _: Duration) -> Result<Found, NetworkError> {
        Err(NetworkError::NotFound { asked: 0, spent: Vec::new() })
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
        NodeId([0; 32])
    }
}

#[tokio::test]
async fn a_card_without_a_public_url_comes_through_the_tunnel() {
    let card = full_card().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let node: Arc<dyn Network> = Arc::new(Node { card: card.clone(), asked: asked.clone() });
    let fetcher = Fetcher::new(FetcherConfig::default());
    for url in ["", "/.well-known/agent-card.json", "/other/card.json"] {
        let record = record(url, card.as_bytes());
        let got = fetcher.card_of(&record, Some(node.clone())).await.unwrap();
        assert_eq!(&got.bytes[..], card.as_bytes());
        let alone = fetcher.card_of(&record, None).await.unwrap_err();
        assert!(matches!(alone, FetchError::NoTunnel { .. }));
    }
    let peer = record("", b"").node_id();
    let expected = ["/.well-known/agent-card.json", "/other/card.json"];
    let expected = expected.map(|path| (peer, "card".to_owned(), path.to_owned()));
    assert_eq!(*asked.lock().unwrap(), expected, "the default path is one fetch");
    let other = record("/third", b"another card");
    let error = fetcher.card_of(&other, Some(node)).await.unwrap_err();
    assert!(matches!(error, FetchError::Digest { .. }));
}
