//! Other formats: AI Catalog and ARD, the MCP registry.

use serde_json::{Value, json};

use crate::support::{Server, card, key, record, with_card};

fn mcp_card() -> Vec<u8> {
    let extension = json!({"uri": "urn:homing:listing:1", "params": {"protocols": ["mcp"]}});
    card("Weather oracle", json!({"capabilities": {"extensions": [extension]}}))
}

async fn with_two_agents() -> Server {
    let server = Server::start().await;
    let bytes = mcp_card();
    let signed = with_card(1, "oracle", 7, "/card", &bytes);
    server.register_with_card(&signed, &bytes).await.ok(201);
    server.register(&record(2, "plain", 1)).await.ok(201);
    server
}

/// What `ai-catalog.schema.json` asks of an entry.
fn check_entry(entry: &Value) {
    let identifier = entry["identifier"].as_str().unwrap();
    assert!(identifier.starts_with("urn:air:") && identifier.split(':').count() >= 4, "{entry}");
    assert!(entry["displayName"].is_string() && entry["type"].is_string(), "{entry}");
    assert_ne!(entry.get("url").is_some(), entry.get("data").is_some(), "one of both: {entry}");
}

#[tokio::test]
async fn the_catalogue_lists_the_registry_and_its_agents() {
    let server = with_two_agents().await;
    let catalog = server.get("/.well-known/ai-catalog.json").await.ok(200);
    assert_eq!(catalog["specVersion"], "1.0");
    let entries = catalog["entries"].as_array().unwrap();
    entries.iter().for_each(check_entry);
    assert_eq!(entries.len(), 3);
    let card = entries.iter().find(|e| e["type"] == "application/a2a-agent-card+json").unwrap();
    let url = card["url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    assert_eq!(server.get(path).await.ok(200)["name"], "Weather oracle");
}

#[tokio::test]
async fn ard_searches_and_browses() {
    let server = with_two_agents().await;
    let question = json!({"query": {"text": "weather"}, "federation": "none", "pageSize": 5});
    let found = server.post_json("/search", &question).await.ok(200);
    let results = found["results"].as_array().unwrap();
    assert_eq!(results.len(), 1, "{found}");
    check_entry(&results[0]);
    assert!((1..=100).contains(&results[0]["score"].as_u64().unwrap()));
    assert!(results[0]["source"].as_str().unwrap().starts_with("http://"));
    let page = server.get("/agents?pageSize=1").await.ok(200);
    let token = page["pageToken"].as_str().unwrap();
    let next = server.get(&format!("/agents?pageSize=1&pageToken={token}")).await.ok(200);
    assert_ne!(page["items"][0]["identifier"], next["items"][0]["identifier"]);
    let filtered = server.get("/agents?filter=tags%20%3D%20'weather'").await.ok(200);
    assert_eq!(filtered["items"].as_array().unwrap().len(), 1);
    for wrong in
        ["/agents?filter=colour%20%3D%20'red'", "/agents?filter=x", "/agents?orderBy=colour"]
    {
        server.get(wrong).await.refused(400, "usage");
    }
    server.post_json("/search", &json!({"query": {}})).await.refused(400, "usage");
}

#[tokio::test]
async fn agents_that_speak_mcp_are_servers_of_an_mcp_registry() {
    let server = with_two_agents().await;
    let list = server.get("/v0.1/servers").await.ok(200);
    let servers = list["servers"].as_array().unwrap();
    assert_eq!((servers.len(), &list["metadata"]["count"]), (1, &json!(1)), "{list}");
    let name = format!("homing.{}/oracle", key(1).node_id());
    assert_eq!(servers[0]["server"]["name"], name.as_str());
    assert_eq!(servers[0]["server"]["version"], "0.0.7");
    let path = format!("/v0.1/servers/{}/versions", name.replace('/', "%2F"));
    assert_eq!(server.get(&path).await.ok(200)["servers"][0], servers[0]);
    assert_eq!(server.get(&format!("{path}/latest")).await.ok(200), servers[0]);
    assert_eq!(server.get(&format!("{path}/0.0.7")).await.ok(200), servers[0]);
    server.get(&format!("{path}/0.0.8")).await.refused(404, "not_found");
    server.register(&with_card(1, "oracle", 8, "/card", &mcp_card())).await.ok(200);
    let all = server.get(&path).await.ok(200);
    let versions: Vec<_> = all["servers"].as_array().unwrap().iter().collect();
    assert_eq!(versions.len(), 2, "{all}");
    let official = "io.modelcontextprotocol.registry/official";
    let latest = versions.iter().map(|v| v["_meta"][official]["isLatest"].as_bool().unwrap());
    assert_eq!(latest.collect::<Vec<_>>(), [true, false]);
    assert_eq!(versions[0]["server"]["version"], "0.0.8");
    assert_eq!(server.get(&format!("{path}/0.0.7")).await.ok(200), *versions[1]);
    server.get("/v0.1/servers/nobody%2Fnothing/versions").await.refused(404, "not_found");
    let found = server.get("/v0.1/servers?search=oracle&version=latest").await.ok(200);
    assert_eq!(found["metadata"]["count"], 1);
    server.get("/v0.1/servers?updated_since=yesterday").await.refused(400, "usage");
}
