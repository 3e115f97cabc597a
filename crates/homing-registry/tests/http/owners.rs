//! Owners who vouch for agents.

use homing_base::{IdentityKey, Wall};
use homing_registry::proof::OwnerProof;
use serde_json::json;

use crate::support::{Server, card, key, record, wall, with_card};

fn vouched_card(owner: &IdentityKey, agent: u8, name: Option<&str>, life_ms: u64) -> Vec<u8> {
    let issued = Wall(wall().0 - 1_000);
    let expires = Wall(issued.0 + 1_000 + life_ms);
    let (agent, name) = (key(agent).node_id(), name.map(|n| n.parse().unwrap()));
    let proof = OwnerProof { owner: owner.public(), agent, name, issued, expires };
    let proof = data_encoding::BASE64URL_NOPAD.encode(&proof.sign(owner).unwrap());
    let extension = json!({"uri": "urn:homing:listing:1", "params": {"owner_proof": proof}});
    card("Planner", json!({"capabilities": {"extensions": [extension]}}))
}

#[tokio::test]
async fn an_owner_by_node_id_address_or_name_resolves_to_its_agent() {
    let server = Server::start().await;
    let owner = key(1);
    server.register(&record(1, "acme", 1)).await.ok(201);
    let bytes = vouched_card(&owner, 2, Some("planner"), 3_600_000);
    let signed = with_card(2, "planner", 1, "/card", &bytes);
    let view = server.register_with_card(&signed, &bytes).await.ok(201);
    assert_eq!(view["owner"], json!(owner.node_id()));
    server.register(&record(3, "planner", 1)).await.ok(201);
    let id = owner.node_id();
    for who in [id.to_string(), homing_base::Address::of(&id).to_string(), "acme".into()] {
        let owned = server.get(&format!("/v1/resolve/{who}/planner")).await.ok(200);
        assert_eq!(owned["entity"]["node_id"], json!(key(2).node_id()), "{who}");
        let proof = owned["proof"].as_str().unwrap();
        let proof = data_encoding::BASE64URL_NOPAD.decode(proof.as_bytes()).unwrap();
        let now = homing_base::Now { wall: wall(), ..Default::default() };
        assert!(OwnerProof::verify(&proof, &key(2).node_id(), now).is_ok(), "anybody can check it");
    }
    let filtered = server.get(&format!("/v1/entities?owner={id}")).await.ok(200);
    assert_eq!(filtered["items"].as_array().unwrap().len(), 1);
    let stranger = format!("/v1/resolve/{}/planner", key(3).node_id());
    let problem = server.get(&stranger).await.refused(404, "not_found");
    assert!(problem["why"].as_str().unwrap().contains("2 claim that name"), "{problem}");
}

#[tokio::test]
async fn a_proof_for_another_name_or_two_agents_is_no_answer() {
    let server = Server::start().await;
    let owner = key(1);
    let bytes = vouched_card(&owner, 2, Some("other"), 3_600_000);
    let signed = with_card(2, "planner", 1, "/card", &bytes);
    server.register_with_card(&signed, &bytes).await.ok(201);
    let path = format!("/v1/resolve/{}/planner", owner.node_id());
    server.get(&path).await.refused(404, "not_found");
    for agent in [2, 3] {
        let bytes = vouched_card(&owner, agent, None, 3_600_000);
        let signed = with_card(agent, "planner", 2, "/card", &bytes);
        assert!(server.register_with_card(&signed, &bytes).await.status < 300);
    }
    let problem = server.get(&path).await.refused(409, "ambiguous_name");
    assert_eq!(problem["candidates"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_proof_ends_when_it_says() {
    let server = Server::start().await;
    let owner = key(1);
    let bytes = vouched_card(&owner, 2, None, 1_500);
    let signed = with_card(2, "planner", 1, "/card", &bytes);
    server.register_with_card(&signed, &bytes).await.ok(201);
    let path = format!("/v1/resolve/{}/planner", owner.node_id());
    crate::support::soon("the proof expires", || async { server.get(&path).await.status == 404 })
        .await;
}
