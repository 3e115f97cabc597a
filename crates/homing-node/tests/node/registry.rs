//! The registry role of real nodes: records travel by real gossip, cards and searches through real tunnels,
//! people ask over real HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use homing_api::cards::PublishCardRequest;
use homing_api::find::FindRequest;
use homing_base::{AgentRecord, IdentityKey, InstanceId, NodeId, Record, Seq, Wall};
use homing_node::{Node, clock};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::common::{befriend, on_loopback, until};

async fn registry(home: &Path, name: &str, peer: Option<&Node>) -> Node {
    let mut builder = on_loopback(home, name)
        .set("registry.enabled", "true")
        .set("registry.listen", "127.0.0.1:0");
    if let Some(peer) = peer {
        builder = builder.peer(peer.ticket().await.unwrap());
    }
    builder.start().await.unwrap()
}

async fn listens(node: &Node) -> SocketAddr {
    node.info().await.unwrap().serving_registry.unwrap().listen
}

/// One request; status and body.
async fn http(to: SocketAddr, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", to.to_string())
        .header("content-type", kind)
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
    driver.abort();
    (status, body)
}

async fn get(node: &Node, path: &str) -> (u16, Value) {
    let (status, body) = http(listens(node).await, "GET", path, "", &[]).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// A record of somebody who runs no daemon.
fn record(name: &str, life: Duration) -> Record {
    let key = IdentityKey::from_seed(rand_bytes());
    let instance = InstanceId(rand_bytes());
    let wall = clock::wall();
    let mut record = AgentRecord::new(key.public(), instance, Seq(0).next(wall), wall);
    record.name = Some(name.parse().unwrap());
    record.tags = vec!["maps".into()];
    record.expires = Wall(wall.0 + life.as_millis() as u64);
    record.sign(&key).unwrap()
}

fn rand_bytes() -> [u8; 32] {
    homing_node::identity_file::generate().public().0
}

async fn register(at: &Node, record: &Record) {
    let to = listens(at).await;
    let (status, body) = http(to, "POST", "/v1/entities", "application/cose", record.bytes()).await;
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
}

async fn has(node: &Node, id: NodeId) -> bool {
    get(node, &format!("/v1/entities/{id}")).await.0 == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_crosses_three_links_outlives_its_registry_and_ends_when_it_was_signed_to_end() {
    let homes: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let a = registry(homes[0].path(), "line-a", None).await;
    let b = registry(homes[1].path(), "line-b", Some(&a)).await;
    let c = registry(homes[2].path(), "line-c", Some(&b)).await;
    let d = registry(homes[3].path(), "line-d", Some(&c)).await;
    // The line stands when its ends know each other's own records.
    until("d lists a", || has(&d, a.node_id())).await;

    let planner = record("planner", Duration::from_secs(14));
    let id = planner.node_id();
    register(&a, &planner).await;
    let began = Instant::now();
    until("d lists planner", || has(&d, id)).await;
    println!("registered at a, served by d after {} ms", began.elapsed().as_millis());
    assert!(began.elapsed() < Duration::from_secs(2), "the promise of the registry");
    let (status, body) = get(&d, "/v1/entities/planner").await;
    assert_eq!((status, body["node_id"].as_str()), (200, Some(id.to_string().as_str())));

    let late = registry(homes[4].path(), "line-late", Some(&d)).await;
    until("a late joiner lists planner", || has(&late, id)).await;
    a.stop().await.unwrap();
    assert!(has(&d, id).await, "its registry is gone, the record is not");
    let left = planner.expires.since(clock::wall());
    assert!(left > Duration::ZERO, "this machine is too slow for a record of 14 s");
    tokio::time::sleep(left + Duration::from_millis(100)).await;
    for node in [&b, &c, &d, &late] {
        assert_eq!(get(node, &format!("/v1/entities/{id}")).await.0, 404, "nobody renews it");
    }
    for node in [b, c, d, late] {
        node.stop().await.unwrap();
    }
}

const CARD: &str = r#"{"name":"Router","description":"Finds ways through cities","version":"1.0.0",
 "supportedInterfaces":[{"url":"https://routes.example/a2a","protocolBinding":"JSONRPC","protocolVersion":"1.0"}],
 "capabilities":{},"defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],
 "skills":[{"id":"route","name":"Route planning","description":"Shortest ways","tags":["cartography"]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_card_without_a_url_comes_through_the_tunnel_byte_for_byte_and_is_searched() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let listed = registry(homes[0].path(), "library", None).await;
    let ticket = listed.ticket().await.unwrap();
    let agent = on_loopback(homes[1].path(), "router").peer(ticket).start().await.unwrap();
    befriend(&listed, &agent).await;
    agent.publish_card(PublishCardRequest { text: Some(CARD.into()), url: None }).await.unwrap();

    let card = format!("/v1/entities/{}/card", agent.node_id());
    let to = listens(&listed).await;
    until("the registry has the card", || async {
        let (status, body) = http(to, "GET", &card, "", &[]).await;
        status == 200 && body == CARD.as_bytes()
    })
    .await;
    let query = json!({"query": "cartography"}).to_string();
    until("a skill of the card is found", || async {
        let (_, body) = http(to, "POST", "/v1/search", "application/json", query.as_bytes()).await;
        let hits: Value = serde_json::from_slice(&body).unwrap();
        hits["hits"][0]["entity"]["node_id"] == json!(agent.node_id().to_string())
    })
    .await;
    agent.stop().await.unwrap();
    listed.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_no_registry_finds_what_trusted_registries_list() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let listed = registry(homes[0].path(), "library", None).await;
    let ticket = listed.ticket().await.unwrap();
    // Without gossip and DHT the tunnel is the only way.
    let builder = on_loopback(homes[1].path(), "asker").peer(ticket);
    let builder = builder.set("gossip.enabled", "false").set("dht.enabled", "false");
    let asker = builder.start().await.unwrap();
    befriend(&listed, &asker).await;
    let planner = record("planner", Duration::from_secs(3_600));
    register(&listed, &planner).await;

    let request = FindRequest { query: "maps".into(), ..FindRequest::default() };
    until("the registry answers through the tunnel", || async {
        let found = asker.find(&request).await.unwrap();
        found.asked.iter().any(|a| a.state == "answered")
            && found
                .hits
                .iter()
                .any(|h| h.node_id == planner.node_id() && h.origin == listed.node_id().to_string())
    })
    .await;
    let nothing = FindRequest { query: "submarines".into(), ..FindRequest::default() };
    assert_eq!(asker.find(&nothing).await.unwrap().hits, []);
    let wrong = FindRequest { limit: Some(0), ..FindRequest::default() };
    assert_eq!(asker.find(&wrong).await.unwrap_err().code, homing_api::Code::Usage);
    asker.stop().await.unwrap();
    listed.stop().await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let builder = on_loopback(home.path(), "library").set("registry.enabled", "true");
    let error = builder.set("registry.listen", listen).start().await.unwrap_err();
    assert_eq!(homing_api::ApiError::from(&error).code, homing_api::Code::PortInUse);
    let free = registry(home.path(), "library", None).await;
    free.stop().await.unwrap();
}
