//! Reading, listing, names, search.

use serde_json::json;

use crate::support::{Server, card, key, record, with_card};

#[tokio::test]
async fn an_agent_is_found_by_node_id_address_and_name_as_json_or_as_it_was_signed() {
    let server = Server::start().await;
    let signed = record(1, "planner", 10);
    server.register(&signed).await.ok(201);
    let id = key(1).node_id();
    for asked in [id.to_string(), homing_base::Address::of(&id).to_string(), "planner".into()] {
        for _ in 0..2 {
            let path = format!("/v1/entities/{asked}");
            let reply = server.get(&path).await;
            assert_eq!(reply.ok(200)["node_id"], id.to_string(), "{asked}");
            assert!(reply.header("cache-control").contains("max-age=5"));
            assert!(reply.header("server-timing").starts_with("local;dur="));
            let raw = server.read_with(&path, &[("accept", "application/cose")]).await;
            assert_eq!((raw.status, &raw.body[..]), (200, signed.bytes()), "{asked}");
            let etag = reply.header("etag").to_owned();
            let again = server.read_with(&path, &[("if-none-match", &etag)]).await;
            assert_eq!((again.status, again.body.len()), (304, 0));
        }
    }
    server
        .read_with("/v1/entities/planner", &[("accept", "text/html")])
        .await
        .refused(406, "usage");
    let missing = server.get("/v1/entities/nobody").await.refused(404, "not_found");
    assert!(missing["detail"].as_str().unwrap().contains("nobody"));
    server.get("/v1/entities/Not%20A%20Name").await.refused(400, "usage");
}

#[tokio::test]
async fn a_name_with_two_claimants_is_never_guessed() {
    let server = Server::start().await;
    server.register(&record(1, "planner", 1)).await.ok(201);
    server.get("/v1/entities/planner").await.ok(200);
    server.register(&record(2, "planner", 1)).await.ok(201);
    let problem = server.get("/v1/entities/planner").await.refused(409, "ambiguous_name");
    let ids: Vec<_> =
        problem["candidates"].as_array().unwrap().iter().map(|c| &c["node_id"]).collect();
    assert_eq!(ids, [&json!(key(1).node_id()), &json!(key(2).node_id())]);
    let name = server.get("/v1/names/planner").await.ok(200);
    assert_eq!(
        (&name["available"], name["claimants"].as_array().unwrap().len()),
        (&json!(false), 2)
    );
    assert_eq!(server.get("/v1/names/free").await.ok(200)["available"], true);
    server.register(&record(2, "other", 2)).await.ok(200);
    assert_eq!(
        server.get("/v1/entities/planner").await.ok(200)["node_id"],
        json!(key(1).node_id())
    );
}

#[tokio::test]
async fn pages_show_everything_once() {
    let server = Server::start().await;
    for seed in 1..=7 {
        server.register(&record(seed, &format!("agent-{seed}"), 1)).await.ok(201);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/entities?limit=3".to_owned());
    loop {
        let page = server.get(&path).await.ok(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|i| i["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/entities?limit=3&cursor={next}");
    }
    let expected: Vec<_> = (1..=7).map(|n| format!("agent-{n}")).collect();
    assert_eq!(seen, expected);
    for wrong in [
        "limit=-1",
        "limit=0",
        "limit=201",
        "limit=99999999999",
        "limit=x",
        "cursor=AA",
        "cursor=%25",
        "colour=red",
        "limit=1&limit=2",
        "status=dead",
        "owner=me",
    ] {
        server.get(&format!("/v1/entities?{wrong}")).await.refused(400, "usage");
    }
}

#[tokio::test]
async fn search_explains_its_hits() {
    let server = Server::start().await;
    let bytes = card("Weather oracle", json!({}));
    let signed = with_card(1, "oracle", 1, "/card", &bytes);
    server.register_with_card(&signed, &bytes).await.ok(201);
    server.register(&record(2, "baker", 1)).await.ok(201);
    let found = server.post_json("/v1/search", &json!({"query": "weather"})).await.ok(200);
    let hits = found["hits"].as_array().unwrap();
    assert_eq!((hits.len(), &hits[0]["entity"]["name"]), (1, &json!("oracle")), "{found}");
    assert!(hits[0]["score"]["total"].as_f64().unwrap() > 0.0);
    assert!(!hits[0]["score"]["matched"].as_array().unwrap().is_empty());
    assert_eq!(hits[0]["entity"]["record"], data_encoding::BASE64URL_NOPAD.encode(signed.bytes()));
    let enriched = json!({"query": "weather", "enrich": true, "skills": ["forecast"]});
    let enriched = server.post_json("/v1/search", &enriched).await.ok(200);
    assert_eq!(enriched["hits"][0]["card"], data_encoding::BASE64URL_NOPAD.encode(&bytes));
    let tags = server.get("/v1/tags").await.ok(200);
    assert_eq!(tags["items"][0]["name"], "weather");
    server.get("/v1/categories?limit=5").await.ok(200);
    for wrong in [
        json!({"max_results": -1}),
        json!({"max_results": 101}),
        json!({"offset": -1}),
        json!({"colour": 1}),
        json!([]),
        json!({"tags": [""]}),
    ] {
        server.post_json("/v1/search", &wrong).await.refused(400, "usage");
    }
}

#[tokio::test]
async fn history_keeps_what_was_said_before() {
    let server = Server::start().await;
    for sequence in 1..=3 {
        let reply = server.register(&record(1, "a", sequence)).await;
        assert!(reply.status < 300);
    }
    let path = format!("/v1/entities/{}/history", key(1).node_id());
    let page = server.get(&path).await.ok(200);
    let sequences: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|v| v["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, [3, 2, 1]);
    let first = server.get(&format!("{path}?limit=2")).await.ok(200);
    let next = first["next"].as_str().unwrap();
    let rest = server.get(&format!("{path}?limit=2&cursor={next}")).await.ok(200);
    assert_eq!(rest["items"][0]["sequence"], 1);
}
