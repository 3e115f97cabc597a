//! Two real agents and a relay: the article's commands, streams, revocation.

use std::io::Write;

use crate::support::{self, Home, agent, befriend, listening, relay};

fn trust_of(home: &Home, peer: &str) -> String {
    home.json(&["trust", "show", peer])["trust"]["state"].as_str().unwrap().to_owned()
}

#[test]
fn handshake_by_name_approve_by_node_id_then_ping() {
    let (_relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    a.until_ok(&["handshake", "agent-b", "--reason", "nightly reports"]);
    let id = a.node_id();
    let refused = a.failure(&["ping", "agent-b"]);
    assert_eq!((&refused["code"], &refused["exit"]), (&"peer_not_trusted".into(), &5.into()));
    assert_eq!(a.failure(&["wait", "trusted", "agent-b", "--timeout", "200ms"])["exit"], 6);

    let pending = b.run(&["pending"]);
    assert!(pending.stdout.contains("nightly reports"), "{pending:?}");
    assert_eq!(b.run(&["pending", "-o", "name"]).stdout.trim(), id);
    assert_eq!(b.json(&["approve", &id])["changed"], true);
    assert_eq!(b.json(&["approve", &id])["changed"], false);
    a.json(&["wait", "trusted", "agent-b", "--timeout", "30s"]);
    assert_eq!(
        (trust_of(&a, "agent-b"), trust_of(&b, "my-agent")),
        ("mutual".into(), "mutual".into())
    );

    let ping = a.json(&["ping", "agent-b", "-c", "2", "-i", "100ms"]);
    assert_eq!((&ping["sent"], &ping["received"]), (&2.into(), &2.into()));
    let line = a.run(&["ping", "agent-b", "-c", "1", "-o", "jsonl"]).stdout;
    assert!(line.starts_with("{\"schema\":\"homing.ping_attempt/v1\",\"seq\":1"), "{line}");
    assert_eq!(a.failure(&["ping", "agnet-b"])["hint"], "did you mean agent-b?");
    let shown = b.run(&["ping", "my-agent", "-c", "1"]).stdout;
    assert!(shown.starts_with("PING my-agent (fd") && shown.contains("\nseq=1 "), "{shown}");
    a.until_ok(&["wait", "direct", "agent-b", "--timeout", "30s"]);
    let status = a.json(&["status", "agent-b"]);
    assert_eq!(status["peers"][0]["path"]["kind"], "direct");
    assert_eq!(a.run(&["resolve", "agent-b", "-o", "name"]).stdout.trim(), b.node_id());
}

#[test]
fn streams_carry_bytes_both_ways_until_trust_ends() {
    let (_relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    let exec = "read line; echo \"$HOMING_SERVICE $HOMING_PEER_NAME $line\"; cat";
    let _listener = listening(&b, &["echo", "--exec", exec]);
    let mut child = support::converse_with(&mut a.command(&["connect", "agent-b", "echo"]));
    child.stdin.take().unwrap().write_all(b"hello\nworld\n").unwrap();
    let done = support::finished(child.wait_with_output().unwrap());
    assert_eq!((done.code, done.stdout.as_str()), (0, "echo my-agent hello\nworld\n"), "{done:?}");
    assert_eq!(a.failure(&["connect", "agent-b", "nothing"])["code"], "no_such_service");

    assert_eq!(b.json(&["trust", "revoke", "my-agent", "--yes"])["changed"], true);
    assert_eq!(trust_of(&b, "my-agent"), "revoked_by_us");
    let error = a.failure(&["connect", "agent-b", "echo"]);
    assert_eq!((&error["code"], &error["exit"]), (&"peer_not_trusted".into(), &5.into()));
}

#[test]
fn a_dead_peer_fails_fast_and_returns_without_a_word() {
    let (_relay, url) = relay();
    let (a, mut b) = (agent("my-agent", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    a.until_ok(&["ping", "agent-b", "-c", "1"]);
    b.kill();
    // The death is noticed within two seconds; after that the answer is immediate.
    let gone = (0..20)
        .map(|_| a.failure(&["ping", "agent-b", "-c", "1"]))
        .find(|e| e["code"] == "peer_offline");
    let gone = gone.expect("the peer is offline");
    assert_eq!((&gone["exit"], &gone["retryable"]), (&7.into(), &true.into()));
    let began = std::time::Instant::now();
    a.failure(&["ping", "agent-b"]);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "an offline peer must fail fast");
    b.start(&["--hostname", "agent-b", "--listen", "127.0.0.1:0", "--relay", &url]);
    a.json(&["wait", "online", "agent-b", "--timeout", "30s"]);
}
