//! `homing audit` and `homing verify` with real daemons on loopback.

use std::time::{Duration, Instant};

use crate::support::{PATIENCE, agent, befriend, relay};

#[test]
fn what_an_agent_does_is_logged_cosigned_and_provable_without_a_daemon() {
    let (_relay, url) = relay();
    let (mut a, b) = (agent("agent-a", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    let entries = a.json(&["audit", "log", "--kind", "trust"]);
    let entries = entries["entries"].as_array().unwrap();
    let mutual = entries.iter().find(|e| e["fact"]["to"] == "mutual").unwrap();
    assert_eq!(mutual["subject"], b.node_id());
    let index = mutual["index"].to_string();
    // The other side cosigns within a few seconds.
    let began = Instant::now();
    let (file, verified) = loop {
        let file = a.path("proof.json").to_str().unwrap().to_owned();
        assert_eq!(a.json(&["audit", "prove", &index, "--to", &file])["file"], file.as_str());
        let verified = b.json(&["verify", &file]);
        if !verified["cosigned"].as_array().unwrap().is_empty() {
            break (file, verified);
        }
        assert!(began.elapsed() < PATIENCE, "nobody cosigns: {verified}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(verified["cosigned"][0]["witness"], b.node_id());
    assert_eq!(
        (&verified["owner"], &verified["entry"]["leaf"]),
        (&a.node_id().into(), &mutual["leaf"])
    );
    // By the peer's name while the daemon runs, by its node ID always.
    let named = a.json(&["audit", "history", "agent-b"]);
    assert!(named["entries"].as_array().unwrap().iter().all(|e| e["subject"] == b.node_id()));
    assert!(!named["entries"].as_array().unwrap().is_empty(), "{named}");
    assert_eq!(a.failure(&["audit", "history", "nobody"])["code"], "not_found");
    a.kill();
    assert_eq!(a.json(&["audit", "verify"])["owner"], a.node_id());
    let export = a.path("export").to_str().unwrap().to_owned();
    assert!(a.json(&["audit", "export", &export])["entries"].as_u64() > Some(1));
    assert_eq!(a.json(&["audit", "verify", &export])["owner"], a.node_id());
    let history = a.json(&["audit", "history", &b.node_id()[..10]]);
    assert!(!history["entries"].as_array().unwrap().is_empty(), "{history}");
    // One changed character, and it proves nothing.
    let text = std::fs::read_to_string(&file).unwrap();
    let at = text.find("\"entry\": \"").unwrap() + 200;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    std::fs::write(&file, format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    assert_eq!(b.failure(&["verify", &file])["code"], "audit_chain_broken");
    assert_eq!(a.failure(&["audit", "prove", "99999"])["code"], "not_found");
}
