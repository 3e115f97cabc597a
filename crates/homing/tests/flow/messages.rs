//! Real agents leave word for each other: texts, files and events, over restarts and kill -9.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Home, PATIENCE, agent, befriend, relay};

/// Two agents that trust each other.
fn friends(url: &str) -> (Home, Home) {
    let (a, b) = (agent("my-agent", url), agent("agent-b", url));
    befriend(&a, &b, "agent-b");
    b.json(&["wait", "trusted", "my-agent", "--timeout", "30s"]);
    (a, b)
}

/// Dies by kill -9 and starts again.
fn restart(home: &mut Home, name: &str, url: &str) {
    home.kill();
    start(home, name, url);
}

fn start(home: &mut Home, name: &str, url: &str) {
    home.start(&["--hostname", name, "--listen", "127.0.0.1:0", "--relay", url]);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The next `count` messages, waited for.
fn receive(home: &Home, count: usize) -> Vec<Value> {
    let count = count.to_string();
    let done = home.run(&["recv", "-f", "--json", "--count", &count, "--timeout", "60s"]);
    assert_eq!(done.code, 0, "{done:?}");
    lines(&done.stdout)
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["text"].as_str().unwrap()).collect()
}

/// A command that prints one line of JSON per message, ended with its home.
struct Subscriber {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Subscriber {
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut command = home.command(&[args, &["--json"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_message_waits_for_a_peer_that_is_away_and_survives_both_daemons() {
    let (_relay, url) = relay();
    let (mut a, mut b) = friends(&url);
    let sent = a.json(&["send", "agent-b", "one", "--wait", "--timeout", "30s"]);
    assert_eq!(
        (&sent["schema"], &sent["state"]),
        (&"homing.outbox_message/v1".into(), &"delivered".into())
    );
    b.kill();
    for text in ["two", "three"] {
        a.json(&["send", "agent-b", text]);
    }
    let json = a.json(&["send", "agent-b", "--json-body", "{\"job\":7}"]);
    assert_eq!(json["kind"], "json");
    restart(&mut a, "my-agent", &url);
    let waiting = a.json(&["outbox"]);
    assert_eq!(waiting["messages"].as_array().unwrap().len(), 3, "{waiting}");

    start(&mut b, "agent-b", &url);
    let first = receive(&b, 1);
    assert_eq!(texts(&first), ["one"]);
    let rest = receive(&b, 3);
    assert_eq!(texts(&rest[..2]), ["two", "three"]);
    assert_eq!(rest[2]["json"]["job"], 7);
    assert_eq!(rest[2]["from"]["node_id"], a.node_id());
    // Acknowledged: gone for good.
    restart(&mut b, "agent-b", &url);
    assert_eq!(b.run(&["recv", "--json"]).stdout, "");

    // Peeking leaves it; so does a daemon that dies before it was read.
    a.json(&["send", "agent-b", "four", "--wait", "--timeout", "30s"]);
    b.kill();
    start(&mut b, "agent-b", &url);
    for _ in 0..2 {
        let shown = b.run(&["recv", "--peek", "--json", "--from", "my-agent"]);
        assert_eq!(texts(&lines(&shown.stdout)), ["four"]);
    }
    // IDs alone are not the message.
    let ids = b.run(&["recv", "-o", "name"]).stdout;
    assert_eq!((ids.lines().count(), ids.contains("four")), (1, false), "{ids}");
    assert_eq!(b.run(&["recv"]).stdout.matches("four").count(), 1);
    assert!(a.run(&["outbox"]).stdout.contains("everything was delivered"));
}

#[test]
fn bad_input_and_peers_without_trust_are_refused_and_nothing_is_kept() {
    let (_relay, url) = relay();
    let (a, b) = friends(&url);
    let stranger = agent("stranger", &url);
    let id = b.node_id();
    let refused = stranger.failure(&["send", &id, "let me in"]);
    assert_eq!((&refused["code"], &refused["exit"]), (&"peer_not_trusted".into(), &5.into()));
    assert_eq!(stranger.json(&["outbox"])["messages"], Value::Array(vec![]));

    let long = "x".repeat(32 * 1_024 + 1);
    assert_eq!(a.failure(&["send", "agent-b", &long])["code"], "usage");
    assert_eq!(a.failure(&["send", "agent-b", "--json-body", "{"])["code"], "usage");
    assert_eq!(a.failure(&["send", "agent-b", "--file", "/nonexistent"])["code"], "usage");
    assert_eq!(a.failure(&["send", "nobody-here", "x"])["code"], "not_found");
    assert_eq!(a.failure(&["topic", "pub", "No Topic", "x"])["code"], "usage");
    assert_eq!(a.failure(&["outbox", "cancel", &"0".repeat(32)])["code"], "not_found");
    assert_eq!(b.run(&["recv", "--json"]).stdout, "");

    // Trust for something else does not cover messages.
    stranger.until_ok(&["handshake", "agent-b"]);
    b.until_ok(&["approve", &stranger.node_id(), "--allow", "mcp"]);
    stranger.json(&["wait", "trusted", "agent-b", "--timeout", "30s"]);
    let refused = stranger.failure(&["send", "agent-b", "hello"]);
    assert_eq!(refused["code"], "scope_denied", "{refused}");

    // Nor does a stranger reach the service that serves files.
    let other = agent("other", &url);
    assert_eq!(other.failure(&["connect", &id, "files"])["exit"], 5);
}

/// 12 MB that no compression or accident gives twice.
fn content() -> Vec<u8> {
    let blocks = (0_u64..12 * 1_024 * 1_024 / 32).map(|n| Sha256::digest(n.to_be_bytes()));
    blocks.flat_map(<[u8; 32]>::from).collect()
}

/// Bytes that have arrived of the one file on its way.
fn partial_bytes(home: &Home) -> u64 {
    let parts = std::fs::read_dir(home.path("inbox/.partial")).into_iter().flatten().flatten();
    parts.filter_map(|part| part.metadata().ok()).map(|m| m.len()).max().unwrap_or(0)
}

#[test]
fn a_file_is_resumed_after_kill_and_arrives_whole() {
    let (_relay, url) = relay();
    let (mut a, mut b) = friends(&url);
    let content = content();
    let source = a.path("model.bin");
    std::fs::write(&source, &content).unwrap();
    let file = source.to_str().unwrap().to_owned();
    a.json(&["send", "agent-b", "--file", &file]);
    let deadline = Instant::now() + PATIENCE;
    while partial_bytes(&b) == 0 && !b.path("inbox/model.bin").exists() {
        assert!(Instant::now() < deadline, "nothing arrives");
        std::thread::sleep(Duration::from_millis(2));
    }
    restart(&mut b, "agent-b", &url);
    restart(&mut a, "my-agent", &url);
    let got = receive(&b, 1);
    let place = got[0]["file"]["path"].as_str().unwrap();
    assert_eq!(got[0]["file"]["size_bytes"], content.len());
    assert!(place.ends_with("/inbox/model.bin"), "{place}");
    assert!(std::fs::read(place).unwrap() == content, "the content differs");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(place).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(partial_bytes(&b), 0);
    let deadline = Instant::now() + PATIENCE;
    while !a.json(&["outbox"])["messages"].as_array().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the sender does not learn that it was fetched");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_file_that_changed_or_is_too_large_fails_and_says_why() {
    let (_relay, url) = relay();
    let (a, mut b) = friends(&url);
    let source = a.path("notes.txt");
    let file = source.to_str().unwrap().to_owned();
    std::fs::write(&source, "as it was").unwrap();
    b.kill();
    let sent = a.json(&["send", "agent-b", "--file", &file]);
    std::fs::File::options().append(true).open(&source).unwrap().write_all(b"!").unwrap();
    start(&mut b, "agent-b", &url);
    let outcome = |id: &Value| {
        let path = format!("/v1/outbox/{}", id.as_str().unwrap());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state: Value = serde_json::from_str(&a.run(&["api", &path]).stdout).unwrap();
            if state["state"] == "failed" {
                return state["why"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < deadline, "{state}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    assert_eq!(outcome(&sent["id"]), "file_changed");

    b.kill();
    assert_eq!(b.json(&["config", "set", "messages.file_bytes_max", "5"])["changed"], true);
    start(&mut b, "agent-b", &url);
    // It may be refused before the command ends, which then says so, too.
    let sent = a.run(&["send", "agent-b", "--file", &file, "--json"]);
    let sent: Value = serde_json::from_str(&sent.stdout).unwrap();
    assert_eq!(outcome(&sent["id"]), "too_large");
    assert_eq!(b.run(&["recv", "--json"]).stdout, "");
    assert!(!b.path("inbox/notes.txt").exists());
}

#[test]
fn a_large_file_waits_until_somebody_reads() {
    let (_relay, url) = relay();
    let (a, mut b) = friends(&url);
    b.kill();
    assert_eq!(b.json(&["config", "set", "messages.unasked_bytes_max", "5"])["changed"], true);
    start(&mut b, "agent-b", &url);
    for (name, content) in [("large.txt", "six byt"), ("small.txt", "five!")] {
        let source = a.path(name);
        std::fs::write(&source, content).unwrap();
        a.json(&["send", "agent-b", "--file", source.to_str().unwrap()]);
    }
    let arrives = |name: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !b.path("inbox").join(name).exists() {
            assert!(Instant::now() < deadline, "{name} does not arrive");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // The second overtakes the first, which nobody has asked for.
    arrives("small.txt");
    assert!(!b.path("inbox/large.txt").exists());
    let read = b.run(&["recv"]);
    assert!(read.stdout.contains("small.txt"), "{read:?}");
    assert!(read.stderr.contains("files that are being fetched: 1"), "{read:?}");
    arrives("large.txt");
}

#[test]
fn events_reach_every_subscriber_and_those_who_keep_them_later() {
    let (_relay, url) = relay();
    let (a, b) = friends(&url);
    let mut c = agent("agent-c", &url);
    befriend(&c, &a, "my-agent");
    a.json(&["wait", "trusted", "agent-c", "--timeout", "30s"]);
    let mut at_b = Subscriber::start(&b, &["topic", "sub", "builds/main"]);
    let mut at_c = Subscriber::start(&c, &["topic", "sub", "builds/main", "--keep"]);
    let heard_by = |count: usize| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let subscribers = a.json(&["topic", "list"])["subscribers"].as_array().unwrap().len();
            if subscribers == count {
                return;
            }
            assert!(Instant::now() < deadline, "{subscribers} subscribers, not {count}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    heard_by(2);
    assert_eq!(a.json(&["topic", "pub", "builds/other", "x"])["peers"], 0);
    assert_eq!(a.json(&["topic", "pub", "builds/main", "green"])["peers"], 2);
    for subscriber in [&mut at_b, &mut at_c] {
        let event = subscriber.next();
        assert_eq!((&event["text"], &event["topic"]), (&"green".into(), &"builds/main".into()));
        assert_eq!(event["from"]["node_id"], a.node_id());
    }
    // b hears nothing more; c is away, and gets it when it is back.
    drop((at_b, at_c));
    heard_by(1);
    c.kill();
    assert_eq!(a.json(&["topic", "pub", "builds/main", "red"])["peers"], 1);
    start(&mut c, "agent-c", &url);
    let mut at_c = Subscriber::start(&c, &["topic", "sub", "builds/main", "--from", "my-agent"]);
    assert_eq!(at_c.next()["text"], "red");
    assert_eq!(c.json(&["topic", "drop", "builds/main"])["changed"], true);
    drop(at_c);
    heard_by(0);
    // Events are not messages.
    assert_eq!(c.run(&["recv", "--json"]).stdout, "");
}
