//! Federated search: honest registries, dead ones, and one that lies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::post;
use data_encoding::BASE64URL_NOPAD;
use homing_base::{AgentRecord, NodeId, Record, Service, Wall};
use homing_registry::entity::EntityKey;
use homing_registry::http::{REGISTRY_SERVICE, Registry, Settings, serve_peer};
use homing_registry::network::{Found, Network, NetworkError, NetworkPeer, NetworkStats, Tunnel};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    Server, card, content, key, record, registry_id, settings, tombstone, wall, with_card,
};

fn asking(peers: &[String]) -> Settings {
    let peers = peers.iter().map(|p| p.parse().unwrap()).collect();
    Settings { peers, ..settings() }
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// A network of one other registry, reached through its tunnel.
struct Tunnelled {
    other: Registry,
}

#[async_trait]
impl Network for Tunnelled {
    async fn announce(&self, _: Record) {}

    async fn resolve(&self, _: &EntityKey, _: Duration) -> Result<Found, NetworkError> {
        Err(NetworkError::NotFound { asked: 1, spent: Vec::new() })
    }

    async fn open(&self, peer: NodeId, service: &Service) -> Result<Box<dyn Tunnel>, NetworkError> {
        if service.as_str() != REGISTRY_SERVICE {
            return Err(NetworkError::Refused { peer, service: service.clone() });
        }
        let (near, far) = tokio::io::duplex(64 * 1_024);
        let other = self.other.clone();
        tokio::spawn(async move { serve_peer(far, registry_id(), &other).await });
        Ok(Box::new(near))
    }

    async fn registries(&self) -> Vec<NodeId> {
        vec![key(200).node_id(), registry_id()]
    }

    async fn peers(&self) -> Vec<NetworkPeer> {
        Vec::new()
    }

    async fn stats(&self) -> NetworkStats {
        NetworkStats::default()
    }

    fn node_id(&self) -> NodeId {
        registry_id()
    }
}

#[tokio::test]
async fn a_registry_of_the_network_is_asked_through_its_tunnel() {
    let other = Server::start().await;
    other.register(&record(1, "weather", 5)).await.ok(201);
    let network = Arc::new(Tunnelled { other: other.registry.clone() });
    let asker = Server::within(settings(), network).await;
    let question = json!({"query": "weather", "federated": true});
    let found = asker.post_json("/v1/search", &question).await.ok(200);
    assert_eq!(found["hits"][0]["entity"]["node_id"], json!(key(1).node_id()), "{found}");
    assert_eq!(found["hits"][0]["origin"], json!(key(200).node_id()));
    assert_eq!(found["peers"].as_array().unwrap().len(), 1, "nobody asks itself: {found}");
}

/// A registry that answers every search with `answer`.
async fn liar(answer: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/v1/search", post(move || async move { axum::Json(answer) }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

#[tokio::test]
async fn hits_of_several_registries_are_merged_and_the_newest_record_wins() {
    let (a, b) = (Server::start().await, Server::start().await);
    let bytes = card("Weather oracle", json!({}));
    let signed = with_card(1, "oracle", 1, "/card", &bytes);
    a.register_with_card(&signed, &bytes).await.ok(201);
    b.register(&record(2, "weather", 1)).await.ok(201);
    b.register(&record(3, "weather", 7)).await.ok(201);
    let asker = Server::with(asking(&[url(&a), url(&b)])).await;
    asker.register(&record(3, "weather", 5)).await.ok(201);
    let question = json!({"query": "weather", "federated": true, "enrich": true});
    let found = asker.post_json("/v1/search", &question).await.ok(200);
    let hits = found["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 3, "{found}");
    assert_eq!(found["partial"], false);
    let of = |seed: u8| {
        hits.iter().find(|h| h["entity"]["node_id"] == json!(key(seed).node_id())).unwrap()
    };
    assert_eq!((&of(3)["entity"]["sequence"], &of(3)["origin"]), (&json!(7), &json!(url(&b))));
    assert_eq!(of(1)["entity"]["title"], "Weather oracle");
    assert_eq!(of(1)["card"], BASE64URL_NOPAD.encode(&bytes));
    assert_eq!(of(1)["entity"]["record"], BASE64URL_NOPAD.encode(signed.bytes()), "dialable");
}

#[tokio::test]
async fn who_does_not_answer_is_named_and_the_others_are_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    let asker = Server::with(asking(&[silent.clone(), gone.clone()])).await;
    asker.register(&record(1, "weather", 1)).await.ok(201);
    let question = json!({"query": "weather", "federated": true, "timeout_ms": 500});
    let found = asker.post_json("/v1/search", &question).await.ok(200);
    assert_eq!((found["hits"].as_array().unwrap().len(), &found["partial"]), (1, &json!(true)));
    let state = |peer: &str| {
        let peers = found["peers"].as_array().unwrap();
        peers.iter().find(|p| p["peer"] == peer).unwrap()["state"].clone()
    };
    assert_eq!((state(&silent), state(&gone)), (json!("timeout"), json!("unreachable")));
    drop(listener);
}

/// Attack 2: another registry's word about an entity's endpoint, price or title.
#[tokio::test]
async fn attack_02_what_a_registry_says_about_an_agent_is_derived_here_again() {
    let signed = record(1, "weather", 5);
    let bytes = card("Forged title", json!({}));
    let hit = |record: &str, card: Option<&str>| {
        json!({
            "entity": {"record": record, "title": "Forged title", "service_url": "https://evil.example.com",
                "pricing": {"price": 0}, "owner": key(9).node_id(), "status": "active"},
            "score": {"total": 1.0},
            "card": card,
        })
    };
    let encoded = BASE64URL_NOPAD.encode(signed.bytes());
    let answer =
        json!({"hits": [hit(&encoded, Some(&BASE64URL_NOPAD.encode(&bytes)))], "total": 1});
    let asker = Server::with(asking(&[liar(answer).await])).await;
    let question = json!({"query": "weather", "federated": true, "enrich": true});
    let found = asker.post_json("/v1/search", &question).await.ok(200);
    let entity = &found["hits"][0]["entity"];
    assert_eq!(entity["record"], encoded.as_str());
    assert_eq!(entity["title"], "weather", "{entity}");
    for unsigned in ["service_url", "pricing", "owner"] {
        assert_eq!(entity.get(unsigned), None, "{entity}");
    }
    assert_eq!(found["hits"][0].get("card"), None, "a card that nobody signed is not passed on");
}

#[tokio::test]
async fn attack_02_what_does_not_verify_is_dropped_and_counted() {
    let mut forged = record(1, "weather", 5).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let old = AgentRecord {
        issued: Wall(wall().0 - 7_200_000),
        expires: Wall(wall().0 - 3_600_000),
        ..content(&key(2), "weather", 5)
    };
    let old = old.sign(&key(2)).unwrap();
    let irrelevant = record(4, "advertisement", 5);
    let records = [
        BASE64URL_NOPAD.encode(&forged),
        BASE64URL_NOPAD.encode(old.bytes()),
        BASE64URL_NOPAD.encode(tombstone(3, 5).bytes()),
        BASE64URL_NOPAD.encode(irrelevant.bytes()),
        "%%%".to_owned(),
    ];
    let hits: Vec<_> = records.iter().map(|r| json!({"entity": {"record": r}})).collect();
    let asker = Server::with(asking(&[liar(json!({"hits": hits})).await])).await;
    let question = json!({"query": "weather", "federated": true});
    let found = asker.post_json("/v1/search", &question).await.ok(200);
    assert_eq!(found["hits"], json!([]), "{found}");
    assert_eq!(found["peers"][0]["dropped"], 5, "{found}");
}

#[tokio::test]
async fn an_answer_that_is_none_is_no_crash() {
    for answer in [json!([]), json!({"hits": "many"}), json!({"hits": [{}]}), json!(null)] {
        let asker = Server::with(asking(&[liar(answer.clone()).await])).await;
        let question = json!({"query": "weather", "federated": true});
        let found = asker.post_json("/v1/search", &question).await.ok(200);
        assert_eq!(found["peers"][0]["state"], "refused", "{answer}");
    }
}
