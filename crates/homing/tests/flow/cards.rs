//! Agent cards and offline records, as a user meets them.

use std::io::Write;

use serde_json::Value;

use crate::support::{self, Home, agent, befriend, relay};

fn text(home: &Home, file: &str) -> String {
    std::fs::read_to_string(home.path(file)).unwrap()
}

fn path(home: &Home, file: &str) -> String {
    home.path(file).display().to_string()
}

/// One HTTP exchange over a stream to the service `card` of `peer`.
fn ask(home: &Home, peer: &str, request: &str) -> String {
    let mut child = support::converse_with(&mut home.command(&["connect", peer, "card"]));
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    support::finished(child.wait_with_output().unwrap()).stdout
}

#[test]
fn a_new_card_is_valid_and_never_overwritten_unasked() {
    let home = Home::new();
    let file = path(&home, "card.json");
    assert_eq!(home.failure(&["card", "init", &file])["code"], "not_found", "there is no identity");
    home.json(&["key", "init"]);
    let url = "https://routes.example.com/a2a";
    home.json(&["card", "init", &file, "--title", "Route Planner", "--url", url]);
    let lint = home.json(&["card", "lint", &file]);
    assert_eq!((&lint["valid"], &lint["errors"]), (&true.into(), &Value::Array(Vec::new())));
    let refused = home.failure(&["card", "init", &file, "--title", "Another"]);
    assert_eq!(refused["code"], "already_exists");
    assert!(text(&home, "card.json").contains("Route Planner"));
    home.json(&["card", "init", &file, "--title", "Another", "--force"]);
    assert!(text(&home, "card.json").contains("Another"));

    let broken = text(&home, "card.json").replace("\"version\": \"0.1.0\"", "\"version\": 1");
    std::fs::write(home.path("broken.json"), broken).unwrap();
    let done = home.run(&["card", "lint", &path(&home, "broken.json"), "--json"]);
    let lint: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.code, &lint["errors"][0]["pointer"]), (9, &"/version".into()));
    let shown = home.run(&["card", "show", &file]);
    assert!(shown.stdout.contains("Another") && shown.stdout.contains("unsigned"), "{shown:?}");
    assert_eq!(home.run(&["card", "show", &file, "--raw"]).stdout, text(&home, "card.json"));
    let error = home.failure(&["card", "publish", &path(&home, "broken.json")]);
    assert_eq!(error["code"], "usage");
}

#[test]
fn the_command_line_fetches_from_public_places_only_unless_told() {
    let home = Home::new();
    for url in ["https://127.0.0.1:8443/", "https://[::1]:8443/", "https://2130706433/"] {
        let error = home.failure(&["card", "show", url]);
        assert_eq!(error["code"], "permission_denied", "{error}");
        assert!(error["hint"].as_str().unwrap().contains("--allow-private"), "{error}");
    }
    assert_eq!(home.failure(&["card", "show", "http://example.com/"])["code"], "usage");
    // Nobody listens there any more.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = ["card", "show", &format!("https://{free}/"), "--allow-private", &free];
    assert_eq!(home.failure(&told)["code"], "no_route");
}

#[test]
fn a_record_is_made_looked_at_and_withdrawn_without_a_daemon() {
    let home = Home::new();
    home.json(&["key", "init"]);
    let (card, record) = (path(&home, "card.json"), path(&home, "record.cose"));
    home.json(&["card", "init", &card, "--title", "Planner"]);
    let url = "https://routes.example.com/card.json";
    let new =
        ["record", "new", "--name", "planner", "--tag", "maps", "--card", &card, "--url", url];
    let made = home.json(&[new.as_slice(), &["--lifetime", "1h", "--to", &record]].concat());
    assert_eq!((&made["node_id"], &made["card"]["url"]), (&home.node_id().into(), &url.into()));
    let shown = home.json(&["record", "show", &record]);
    assert_eq!((&shown["name"], &shown["valid"]), (&"planner".into(), &true.into()));
    assert_eq!(shown["card"]["sha256"], home.json(&["card", "show", &card])["sha256"]);

    let nowhere = home.failure(&["record", "new", "--to", &path(&home, "none/x.cose")]);
    assert_eq!(nowhere["code"], "not_found");

    let gone = home.json(&["record", "withdraw", "--to", &path(&home, "gone.cose")]);
    assert_eq!(gone["withdrawn"], true);
    assert!(gone["sequence"].as_u64() >= shown["sequence"].as_u64());
    let after = ["record", "new", "--after", "9999999999999", "--to", &record];
    assert_eq!(home.json(&after)["sequence"], 10_000_000_000_000_u64);
    let beat = home.json(&["record", "heartbeat", "--to", &path(&home, "beat.cose")]);
    assert_eq!(beat["node_id"], home.node_id());
    let vouched = home.json(&["record", "vouch", &home.node_id()]);
    assert!(vouched["owner_proof"].as_str().unwrap().len() > 200);

    let mut bytes = std::fs::read(home.path("record.cose")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(home.path("bent.cose"), bytes).unwrap();
    let bent = home.failure(&["record", "show", &path(&home, "bent.cose")]);
    assert_eq!((&bent["code"], &bent["exit"]), (&"signature_invalid".into(), &9.into()));
    let long = home.failure(&["record", "new", "--lifetime", "25h", "--to", &record]);
    assert_eq!(long["code"], "usage");
}

#[test]
fn a_published_card_reaches_a_trusted_peer_byte_for_byte_and_outlives_a_restart() {
    let (_relay, url) = relay();
    let (a, mut b) = (agent("my-agent", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    assert_eq!(a.failure(&["card", "get", "agent-b"])["code"], "not_found");
    let file = path(&b, "draft.json");
    b.json(&["card", "init", &file]);
    assert_eq!(b.json(&["card", "publish", &file])["changed"], true);
    let published = b.json(&["api", "/v1/card"]);
    // The signature of Ed25519 is a function of card and key: publishing again changes nothing.
    assert_eq!(b.json(&["card", "publish", &file])["changed"], false);

    let got = path(&a, "got.json");
    a.until_ok(&["card", "get", "agent-b", "--to", &got]);
    assert_eq!(text(&a, "got.json"), text(&b, "card.json"));
    assert_eq!(Value::from(text(&a, "got.json")), published["text"]);
    let shown = a.json(&["card", "show", "agent-b"]);
    assert_eq!(shown["signature"]["status"], "verified");
    assert_eq!(shown["signature"]["by"]["identity"], b.node_id());
    assert_eq!((&shown["name"], &shown["sha256"]), (&"agent-b".into(), &published["sha256"]));
    assert_eq!(b.json(&["card", "show", &b.node_id()])["signature"]["status"], "verified");
    let etag = format!("\"{}\"", published["sha256"].as_str().unwrap());
    let head = "GET /any HTTP/1.1\r\nHost: x\r\nIf-None-Match: ";
    let unchanged = ask(&a, "agent-b", &format!("{head}{etag}\r\n\r\n"));
    assert!(unchanged.starts_with("HTTP/1.1 304"), "{unchanged}");
    let changed = ask(&a, "agent-b", &format!("{head}\"x\"\r\n\r\n"));
    assert!(changed.starts_with("HTTP/1.1 200") && changed.ends_with(&text(&b, "card.json")));
    assert!(changed.contains(&format!("etag: {etag}\r\n")), "{changed}");
    let post = ask(&a, "agent-b", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    assert!(ask(&a, "agent-b", "no HTTP at all\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert_eq!(b.failure(&["listen", "card", "--exec", "cat"])["code"], "usage");
    for data in [r#"{"text":"[]"}"#, r#"{"text":"{}","url":"ftp://x/"}"#, r#"{"txt":"{}"}"#] {
        assert_eq!(b.failure(&["api", "/v1/card", "--data", data])["code"], "usage", "{data}");
    }
    assert_eq!(b.json(&["api", "/v1/card"]), published, "a refused card changes nothing");

    let refused = b.failure(&["record", "new", "--to", &path(&b, "x.cose")]);
    assert_eq!(refused["code"], "identity_in_use");

    b.kill();
    b.start(&["--hostname", "agent-b", "--listen", "127.0.0.1:0", "--relay", &url]);
    assert_eq!(b.json(&["api", "/v1/card"]), published);
    std::fs::remove_file(&got).unwrap();
    a.until_ok(&["card", "get", "agent-b", "--to", &got]);
    assert_eq!(text(&a, "got.json"), text(&b, "card.json"));

    // Its record may still be on the way: that is no reason to accuse anybody.
    let newer = path(&b, "newer.json");
    b.json(&["card", "init", &newer, "--title", "Newer"]);
    b.json(&["card", "publish", &newer]);
    assert_eq!(a.json(&["card", "show", "agent-b"])["name"], "Newer");

    b.json(&["card", "publish", "--withdraw"]);
    assert!(!b.path("card.json").exists());
    assert_eq!(b.failure(&["api", "/v1/card"])["code"], "not_found");
}
