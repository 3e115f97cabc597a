//! The attacks that succeed against the closest existing system, against ours. Each is named after what it does there;
//! those that need gossip or the DHT stand in the simulator, the table in `SECURITY.md` says where.

use homing_base::{AgentRecord, Wall};
use homing_registry::http::{AddressRange, Rate, Settings};
use homing_registry::proof::OwnerProof;
use hyper::body::Bytes;
use serde_json::json;

use crate::gzip;
use crate::support::{Server, card, content, key, record, settings, tombstone, wall, with_card};

#[tokio::test]
async fn attack_01_an_unsigned_record_is_not_served() {
    let server = Server::start().await;
    let unsigned = homing_base::cbor::encode(&content(&key(1), "a", 5));
    server.cose("POST", "/v1/entities", &unsigned).await.refused(400, "usage");
    let by_another =
        homing_base::sign1::sign(&key(2), homing_base::sign1::Domain::AgentRecord, &unsigned);
    server.cose("POST", "/v1/entities", &by_another).await.refused(422, "signature_invalid");
    server.get("/v1/entities/a").await.refused(404, "not_found");
}

#[tokio::test]
async fn attack_03_nobody_replaces_the_key_of_another() {
    let server = Server::start().await;
    server.register(&record(1, "a", 5)).await.ok(201);
    let path = format!("/v1/entities/{}", key(1).node_id());
    let foreign = record(2, "a", 99);
    server.cose("PUT", &path, foreign.bytes()).await.refused(400, "usage");
    let served = server.get(&path).await.ok(200);
    let bytes =
        data_encoding::BASE64URL_NOPAD.decode(served["record"].as_str().unwrap().as_bytes());
    assert_eq!(bytes.unwrap(), record_of(1, &server).await);
}

async fn record_of(seed: u8, server: &Server) -> Vec<u8> {
    let path = format!("/v1/entities/{}", key(seed).node_id());
    server.read_with(&path, &[("accept", "application/cose")]).await.body.to_vec()
}

#[tokio::test]
async fn attack_04_a_proof_made_for_one_agent_is_worth_nothing_in_the_card_of_another() {
    let server = Server::start().await;
    let at = wall();
    let expires = Wall(at.0 + 3_600_000);
    let (owner, agent, name) = (key(1), key(2).node_id(), None);
    let proof = OwnerProof { owner: owner.public(), agent, name, issued: at, expires };
    let proof = data_encoding::BASE64URL_NOPAD.encode(&proof.sign(&owner).unwrap());
    let extension = json!({"uri": "urn:homing:listing:1", "params": {"owner_proof": proof}});
    let shown = card("Planner", json!({"capabilities": {"extensions": [extension]}}));
    let thief = with_card(3, "planner", 5, "/card", &shown);
    let view = server.register_with_card(&thief, &shown).await.ok(201);
    assert_eq!(view.get("owner"), None, "{view}");
    let path = format!("/v1/resolve/{}/planner", owner.node_id());
    server.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn attack_05_claiming_a_name_does_not_take_it() {
    let server = Server::start().await;
    server.register(&record(1, "bank", 5)).await.ok(201);
    for attacker in 2..=4 {
        server.register(&record(attacker, "bank", 5)).await.ok(201);
    }
    let problem = server.get("/v1/entities/bank").await.refused(409, "ambiguous_name");
    assert_eq!(problem["candidates"].as_array().unwrap().len(), 4);
    assert_eq!(
        problem["candidates"][0]["node_id"],
        json!(key(1).node_id()),
        "who came first is first"
    );
    for seed in 1..=4 {
        let path = format!("/v1/resolve/{}/bank", key(seed).node_id());
        server.get(&path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn attack_07_there_is_no_write_that_no_signature_covers() {
    let server = Server::start().await;
    let openapi: serde_json::Value = server.get("/openapi.json").await.ok(200);
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let reads = method == "get" || path == "/v1/search" || path == "/search";
            if reads {
                continue;
            }
            let path = path.replace("{id}", &key(1).node_id().to_string());
            let method = method.to_uppercase();
            let json = server
                .call(&method, &path, &[("content-type", "application/json")], Bytes::from("{}"))
                .await;
            let cose = server.cose(&method, &path, b"not signed").await;
            for reply in [json, cose] {
                assert!(
                    (400..500).contains(&reply.status),
                    "{method} {path}: {}",
                    operation["summary"]
                );
            }
        }
    }
    assert_eq!(server.get("/v1/network/stats").await.ok(200)["changes"], 0);
}

#[tokio::test]
async fn attack_08_a_captured_registration_says_what_it_said_and_an_old_delete_stays_old() {
    let (first, second) = (Server::start().await, Server::start().await);
    let (captured, delete) = (record(1, "a", 5), tombstone(1, 6));
    let path = format!("/v1/entities/{}", key(1).node_id());
    first.register(&captured).await.ok(201);
    first.cose("DELETE", &path, delete.bytes()).await.ok(200);
    first.register(&record(1, "a", 7)).await.ok(200);
    second.register(&captured).await.ok(201);
    assert_eq!(record_of(1, &second).await, captured.bytes(), "elsewhere too: as it was signed");
    first.register(&captured).await.refused(409, "stale_sequence");
    first.cose("DELETE", &path, delete.bytes()).await.refused(409, "stale_sequence");
    assert_eq!(first.get(&path).await.ok(200)["sequence"], 7);
}

#[tokio::test]
async fn attack_09_old_records_old_updates_and_quick_updates() {
    let server = Server::start().await;
    let dated_2020 = AgentRecord {
        issued: Wall(1_577_836_800_000),
        expires: Wall(1_577_923_200_000),
        ..content(&key(1), "a", 99)
    };
    let dated_2020 = dated_2020.sign(&key(1)).unwrap();
    server.register(&dated_2020).await.refused(422, "record_expired");
    // Any number of updates within one millisecond: sequence decides, none is lost.
    for sequence in 1..=20 {
        let reply = server.register(&record(1, "a", sequence)).await;
        assert!(reply.status < 300, "{sequence}");
    }
    server.register(&record(1, "a", 19)).await.refused(409, "stale_sequence");
    assert_eq!(server.get("/v1/entities/a").await.ok(200)["sequence"], 20);
    server.register(&tombstone(1, 21)).await.ok(200);
    server.register(&record(1, "a", 20)).await.refused(409, "stale_sequence");
    let path = format!("/v1/entities/{}", key(1).node_id());
    server.get(&path).await.refused(410, "withdrawn");
}

#[tokio::test]
async fn attack_10_the_card_fetcher_reads_no_inside_address() {
    let server = Server::start().await;
    let inside = format!("http://{}/v1/info", server.address);
    let urls = [
        inside.as_str(),
        "https://127.0.0.1/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://10.0.0.1/",
        "https://localhost/",
        "file:///etc/passwd",
    ];
    for (seed, url) in (1..).zip(urls) {
        let signed = with_card(seed, "", 5, url, b"{}");
        server.register(&signed).await.ok(201);
        let path = format!("/v1/entities/{}/card", key(seed).node_id());
        let problem = server.get(&path).await.refused(502, "peer_offline");
        assert!(!problem.to_string().contains("homing.info"), "{url}");
    }
}

#[tokio::test]
async fn attack_11_no_single_message_stops_the_registry() {
    let server = Server::start().await;
    let huge_string = [&[0x5b][..], &[0x7f; 8]].concat();
    let huge_array = [&[0x9b][..], &[0x7f; 8]].concat();
    let deep = vec![0x81; 900];
    for bytes in [&huge_string[..], &huge_array, &deep, &[], &[0xd2], &[0xd2, 0x84, 0x43]] {
        server.cose("POST", "/v1/entities", bytes).await.refused(400, "usage");
    }
    for body in ["", "null", "[]", "{\"record\":null}", "{\"record\":\"\"}", "{\"record\":1e999}"] {
        let body = Bytes::from(body);
        let headers = [("content-type", "application/json")];
        server.call("POST", "/v1/entities", &headers, body).await.refused(400, "usage");
    }
    let nested = "[".repeat(100_000);
    let headers = [("content-type", "application/json")];
    server.call("POST", "/v1/search", &headers, nested.into()).await.refused(413, "usage");
    let nested = "[".repeat(10_000);
    server.call("POST", "/v1/search", &headers, nested.into()).await.refused(400, "usage");
    server.get("/healthz/ready").await.ok(200);
}

#[tokio::test]
async fn attack_11_a_body_is_never_unpacked() {
    let server = Server::start().await;
    // Each would be a well-formed body of 16 MiB; as they come they are within every bound.
    let bomb = Bytes::from(gzip::of_spaces(16 << 20));
    for path in ["/v1/entities", "/v1/search", "/search"] {
        for coding in ["gzip", "deflate", "br", "identity, gzip"] {
            let headers = [("content-type", "application/json"), ("content-encoding", coding)];
            server.call("POST", path, &headers, bomb.clone()).await.refused(415, "usage");
        }
    }
    let path = format!("/v1/entities/{}/heartbeat", key(1).node_id());
    let headers = [("content-type", "application/cose"), ("content-encoding", "gzip")];
    server.call("POST", &path, &headers, bomb.clone()).await.refused(415, "usage");
    // Unsaid, they are what they are: no JSON.
    let headers = [("content-type", "application/json")];
    server.call("POST", "/v1/entities", &headers, bomb).await.refused(400, "usage");
    // And a card that came that way inside a registration is no card.
    let card = gzip::of_spaces(1 << 20);
    let signed = with_card(1, "a", 5, "/card", &card);
    server.register_with_card(&signed, &card).await.refused(400, "usage");
    server.get("/v1/entities/a").await.refused(404, "not_found");
}

#[tokio::test]
async fn attack_12_a_flood_of_invented_identities_is_cut_off() {
    let per_address = Some(Rate { per_second: 1, burst: 50 });
    let server = Server::with(Settings { per_address, ..settings() }).await;
    let mut taken = 0;
    for seed in 0..200 {
        let reply = server.register(&record(seed, "", 1)).await;
        match reply.status {
            201 => taken += 1,
            _ => {
                reply.refused(429, "rate_limited");
                assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
            }
        }
    }
    // 50 tokens, 5 a change; a slow machine gains some while it runs.
    assert!((10..100).contains(&taken), "{taken}");
}

#[tokio::test]
async fn attack_12_one_identity_cannot_change_itself_without_end() {
    let per_key = Some(Rate { per_second: 1, burst: 3 });
    let server = Server::with(Settings { per_key, ..settings() }).await;
    let mut refused = 0;
    for sequence in 1..=40 {
        refused += u32::from(server.register(&record(1, "", sequence)).await.status == 429);
    }
    assert!(refused > 0);
    // Replaying what somebody signed costs that somebody nothing.
    let server = Server::with(Settings { per_key, ..settings() }).await;
    let captured = record(2, "", 1);
    server.register(&captured).await.ok(201);
    for _ in 0..40 {
        server.register(&captured).await.ok(200);
    }
    server.register(&record(2, "", 2)).await.ok(200);
}

#[tokio::test]
async fn attack_13_a_forwarded_header_is_no_way_around_the_limit() {
    let per_address = Some(Rate { per_second: 1, burst: 20 });
    let server = Server::with(Settings { per_address, ..settings() }).await;
    let mut refused = 0;
    for n in 0..100 {
        let invented = format!("203.0.113.{n}");
        let reply = server.read_with("/v1/info", &[("x-forwarded-for", &invented)]).await;
        refused += u32::from(reply.status == 429);
    }
    assert!(refused > 0, "without a configured proxy the header means nothing");

    let trusted_proxies: Vec<AddressRange> = vec!["127.0.0.0/8".parse().unwrap()];
    let server = Server::with(Settings { per_address, trusted_proxies, ..settings() }).await;
    let mut refused = 0;
    for n in 0..100 {
        let invented = format!("203.0.113.{n}, 198.51.100.7");
        let reply = server.read_with("/v1/info", &[("x-forwarded-for", &invented)]).await;
        refused += u32::from(reply.status == 429);
    }
    assert!(refused > 0, "behind a proxy only what the proxy wrote counts");
    let other = server.read_with("/v1/info", &[("x-forwarded-for", "198.51.100.8")]).await;
    assert_eq!(other.status, 200, "and another caller has a bucket of its own");
}

#[tokio::test]
async fn attack_15_what_has_expired_is_not_served_however_often_it_was_renewed_here() {
    let server = Server::start().await;
    let short = AgentRecord { expires: Wall(wall().0 + 1_500), ..content(&key(1), "brief", 5) };
    let short = short.sign(&key(1)).unwrap();
    server.register(&short).await.ok(201);
    server.get("/v1/entities/brief").await.ok(200);
    while wall() < short.expires {
        let _ = server.register(&short).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    server.get("/v1/entities/brief").await.refused(404, "not_found");
    let path = format!("/v1/entities/{}", key(1).node_id());
    server.get(&path).await.refused(404, "not_found");
    server.register(&short).await.refused(422, "record_expired");
}

#[tokio::test]
async fn attack_17_a_limit_that_makes_no_sense_is_a_mistake_and_not_an_empty_answer() {
    let server = Server::start().await;
    server.register(&record(1, "a", 5)).await.ok(201);
    for path in ["/v1/entities", "/v1/tags", "/v1/categories", "/v0.1/servers"] {
        for limit in ["-1", "0", "1000000", "9223372036854775808", "1.5", ""] {
            server.get(&format!("{path}?limit={limit}")).await.refused(400, "usage");
        }
    }
    server.get("/agents?pageSize=-1").await.refused(400, "usage");
    server.post_json("/v1/search", &json!({"max_results": -1})).await.refused(400, "usage");
    let ard = json!({"query": {"text": "a"}, "pageSize": -1});
    server.post_json("/search", &ard).await.refused(400, "usage");
}
