//! Registering, replacing, withdrawing, heartbeats.

use homing_base::{AgentRecord, Wall};
use homing_registry::proof::Heartbeat;

use crate::support::{Server, card, content, key, record, tombstone, wall, with_card};

#[tokio::test]
async fn a_record_is_registered_served_renewed_and_withdrawn() {
    let server = Server::start().await;
    let (id, first) = (key(1).node_id(), record(1, "planner", 10));
    let created = server.register(&first).await;
    let view = created.ok(201);
    assert_eq!(created.header("location"), format!("/v1/entities/{id}"));
    assert_eq!((&view["name"], &view["status"]), (&"planner".into(), &"active".into()));
    assert_eq!(server.register(&first).await.status, 200, "the same again");
    let read = server.get(&format!("/v1/entities/{id}")).await.ok(200);
    assert_eq!(read["record"], data_encoding::BASE64URL_NOPAD.encode(first.bytes()));
    assert_eq!(read["found"]["layer"], "local");
    let path = format!("/v1/entities/{id}");
    assert_eq!(server.cose("PUT", &path, record(1, "planner", 11).bytes()).await.status, 200);
    assert_eq!(server.get("/v1/entities/planner").await.ok(200)["sequence"], 11);
    let gone = server.cose("DELETE", &path, tombstone(1, 12).bytes()).await.ok(200);
    assert_eq!(gone["status"], "withdrawn");
    server.get(&path).await.refused(410, "withdrawn");
    server.get("/v1/entities/planner").await.refused(404, "not_found");
    let back = server.register(&record(1, "planner", 13)).await;
    assert_eq!(back.status, 200, "the agent itself comes back");
    assert_eq!(server.get(&path).await.ok(200)["sequence"], 13);
}

#[tokio::test]
async fn an_older_record_never_replaces_a_newer_one() {
    let server = Server::start().await;
    assert_eq!(server.register(&record(1, "new", 20)).await.status, 201);
    let problem = server.register(&record(1, "old", 19)).await.refused(409, "stale_sequence");
    assert!(problem["why"].as_str().unwrap().contains("20"), "{problem}");
    let same = server.register(&record(1, "other", 20)).await;
    same.refused(409, "stale_sequence");
    let id = key(1).node_id();
    let served = server.get(&format!("/v1/entities/{id}")).await.ok(200);
    // Of two records with one sequence the smaller digest is served, whichever came first.
    let history = server.get(&format!("/v1/entities/{id}/history")).await.ok(200);
    assert_eq!(served["sequence"], 20);
    assert!(!history["items"].as_array().unwrap().is_empty());
    assert_eq!(server.get("/v1/network/stats").await.ok(200)["evidence"], 1);
}

#[tokio::test]
async fn what_is_no_valid_record_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    let mut forged = record(1, "a", 5).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    server.cose("POST", "/v1/entities", &forged).await.refused(422, "signature_invalid");
    let old = AgentRecord {
        issued: Wall(1_577_836_800_000),
        expires: Wall(1_577_836_800_000 + 3_600_000),
        ..content(&key(1), "a", 5)
    };
    let old = old.sign(&key(1)).unwrap();
    server.register(&old).await.refused(422, "record_expired");
    let early = AgentRecord {
        issued: Wall(wall().0 + 3_600_000),
        expires: Wall(wall().0 + 7_200_000),
        ..content(&key(1), "a", 5)
    };
    let early = early.sign(&key(1)).unwrap();
    server.register(&early).await.refused(422, "record_expired");
    server.register(&record(1, "a", u64::MAX)).await.refused(422, "record_expired");
    for nothing in [&b""[..], b"{}", &[0xff; 900], &[0x9b, 0xff, 0xff, 0xff, 0xff]] {
        server.cose("POST", "/v1/entities", nothing).await.refused(400, "usage");
    }
    server.cose("POST", "/v1/entities", &[0; 1_001]).await.refused(413, "usage");
    let empty = server.get("/v1/entities").await.ok(200);
    assert_eq!(empty["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_path_names_the_identity_that_signed() {
    let server = Server::start().await;
    let other = format!("/v1/entities/{}", key(2).node_id());
    server.cose("PUT", &other, record(1, "a", 5).bytes()).await.refused(400, "usage");
    server.cose("PUT", "/v1/entities/a", record(1, "a", 5).bytes()).await.refused(400, "usage");
    let own = format!("/v1/entities/{}", homing_base::Address::of(&key(1).node_id()));
    assert_eq!(server.cose("PUT", &own, record(1, "a", 5).bytes()).await.status, 201);
    let living = record(1, "a", 6);
    server.cose("DELETE", &own, living.bytes()).await.refused(400, "usage");
    assert_eq!(server.get(&own).await.ok(200)["sequence"], 5);
}

#[tokio::test]
async fn a_card_is_taken_only_if_the_agent_signed_its_digest() {
    let server = Server::start().await;
    let bytes = card("Weather", serde_json::json!({}));
    let signed = with_card(1, "weather", 5, "/.well-known/agent-card.json", &bytes);
    let other = card("Forged", serde_json::json!({}));
    server.register_with_card(&signed, &other).await.refused(400, "usage");
    server.register_with_card(&record(1, "weather", 4), &bytes).await.refused(400, "usage");
    let view = server.register_with_card(&signed, &bytes).await.ok(201);
    assert_eq!((&view["title"], &view["card"]["stored"]), (&"Weather".into(), &true.into()));
    let reply = server.get("/v1/entities/weather/card").await;
    assert_eq!((reply.status, &reply.body[..]), (200, &bytes[..]), "byte for byte");
    assert_eq!(reply.header("homing-card-signature"), "unsigned");
    let etag = reply.header("etag").to_owned();
    let unchanged =
        server.read_with("/v1/entities/weather/card", &[("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
}

#[tokio::test]
async fn a_heartbeat_is_signed_fresh_and_rising() {
    let server = Server::start().await;
    let path = format!("/v1/entities/{}/heartbeat", key(1).node_id());
    let at = wall();
    let beat = |ms: u64| Heartbeat::sign(&key(1), Wall(ms));
    server.cose("POST", &path, &beat(at.0)).await.refused(404, "not_found");
    server.register(&record(1, "a", 5)).await.ok(201);
    assert_eq!(server.cose("POST", &path, &beat(at.0)).await.status, 200);
    server.cose("POST", &path, &beat(at.0)).await.refused(409, "stale_sequence");
    server.cose("POST", &path, &beat(at.0 - 1)).await.refused(409, "stale_sequence");
    server.cose("POST", &path, &beat(at.0 - 120_000)).await.refused(422, "record_expired");
    server.cose("POST", &path, &beat(at.0 + 120_000)).await.refused(422, "record_expired");
    let foreign = Heartbeat::sign(&key(2), at);
    server.cose("POST", &path, &foreign).await.refused(400, "usage");
    let mut forged = beat(at.0 + 1);
    *forged.last_mut().unwrap() ^= 1;
    server.cose("POST", &path, &forged).await.refused(422, "signature_invalid");
    let view = server.get("/v1/entities/a").await.ok(200);
    assert_eq!((&view["status"], &view["heartbeat"]), (&"active".into(), &at.to_string().into()));
}
