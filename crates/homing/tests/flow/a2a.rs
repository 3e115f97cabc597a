//! A2A through the mesh, with the official Python SDK as agent and as client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::python::{Program, python, script, skip};
use crate::support::{Home, agent, befriend, finished, relay};

/// The card as the agent itself serves it.
fn card_at(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let ask = "GET /.well-known/agent-card.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn start(home: &Home, kind: &str) -> (Program, String) {
    let agent = Program::with_port("a2a_agent.py", &home.path(kind), &[], Some(kind));
    let url = format!("http://127.0.0.1:{}", agent.port);
    (agent, url)
}

#[test]
fn an_agent_is_asked_in_the_dialect_of_its_card() {
    if python().is_none() {
        return skip("A2A calls");
    }
    let (_relay, url) = relay();
    let (a, b) = (agent("my-agent", &url), agent("agent-b", &url));
    let kinds =
        [("jsonrpc", "JSONRPC", "1.0"), ("rest", "HTTP+JSON", "1.0"), ("old", "JSONRPC", "0.3")];
    let (first, place) = start(&b, kinds[0].0);
    assert_eq!(b.json(&["a2a", "expose", &place])["changed"], true);
    assert_eq!(b.json(&["a2a", "expose", &place])["changed"], false);
    a.until_ok(&["resolve", &b.node_id()]);
    let refused = a.failure(&["a2a", "call", &b.node_id(), "hello"]);
    assert_eq!((&refused["code"], &refused["exit"]), (&json!("peer_not_trusted"), &json!(5)));
    befriend(&a, &b, "agent-b");
    a.until_ok(&["card", "show", "agent-b"]);
    assert_eq!(a.run(&["card", "get", "agent-b"]).stdout, card_at(first.port), "byte for byte");
    drop(first);
    for (kind, binding, protocol) in kinds {
        let (_agent, place) = start(&b, kind);
        b.json(&["expose", "rm", "a2a"]);
        let offered = b.json(&["a2a", "expose", &place]);
        let sha256 = offered["card_sha256"].as_str().unwrap().to_owned();
        while a.json(&["resolve", "agent-b"])["card"]["sha256"] != sha256 {}
        converses(&a, binding, protocol);
    }
    let error = a.failure(&["a2a", "call", "agent-b", "hello"]);
    assert_eq!(error["code"], "agent_failed", "nobody is there any more: {error}");
    let error = b.failure(&["a2a", "expose", "http://127.0.0.1:1/some/path"]);
    assert_eq!(error["code"], "usage");
    let error = b.failure(&["a2a", "expose", "http://127.0.0.1:1"]);
    assert_eq!(error["code"], "not_found");
}

fn converses(home: &Home, binding: &str, protocol: &str) {
    let answer = home.json(&["a2a", "call", "agent-b", "hello"]);
    let found = [&answer["binding"], &answer["protocol"], &answer["state"]];
    assert_eq!(found, [&json!(binding), &json!(protocol), &json!("completed")], "{answer}");
    let both = "you said hello\nand that is all\n";
    assert_eq!(home.run(&["a2a", "call", "agent-b", "hello"]).stdout, both);
    assert_eq!(home.run(&["a2a", "call", "agent-b", "hello", "--stream"]).stdout, both);
    let mut piped = home.command(&["a2a", "call", "agent-b", "-"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(finished(piped.wait_with_output().unwrap()).stdout, both);
    let plain = home.json(&["a2a", "call", "agent-b", "now"]);
    assert_eq!((&plain["kind"], &plain["text"]), (&json!("message"), &json!("at once")));
    let lines = home.run(&["a2a", "call", "agent-b", "hello", "--stream", "-o", "jsonl"]).stdout;
    let events: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(events.iter().all(|e| e["schema"] == "homing.a2a_event/v1"), "{lines}");
    assert_eq!(events.last().unwrap()["state"], "completed", "{lines}");
    for more in [[].as_slice(), &["--stream"]] {
        let done = home.run(&[["a2a", "call", "agent-b", "fail"].as_slice(), more].concat());
        assert_eq!((done.code, done.stdout.trim()), (1, "it cannot be done"), "{more:?}");
    }
}

#[test]
fn a_client_of_the_sdk_reaches_the_agent_by_the_name_in_its_card() {
    let Some(python) = python() else { return skip("A2A by the gateway") };
    let (_relay, url) = relay();
    let mut a = Home::new();
    std::fs::write(a.path("config.toml"), "[gateway]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    a.start(&["--hostname", "my-agent", "--listen", "127.0.0.1:0", "--relay", &url]);
    let b = agent("agent-b", &url);
    befriend(&a, &b, "agent-b");
    let (_agent, place) = start(&b, "jsonrpc");
    b.json(&["a2a", "expose", &place]);
    let mut client: Command = a.command(&["run", "--mesh-only", "--"]);
    client
        .arg(python)
        .arg(script("a2a_client.py"))
        .args(["http://a2a.agent-b.agent.internal", "hello"]);
    let done = finished(client.output().unwrap());
    assert_eq!(done.stdout, "you said hello\nand that is all\n", "{done:?}");
}
