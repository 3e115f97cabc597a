//! Errors without a daemon: code, exit code, text; nothing on stdout, nothing changed on disk.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::Home;

#[test]
fn what_needs_the_daemon_says_that_none_runs() {
    let home = Home::new();
    for args in [
        &["info"][..],
        &["status"],
        &["ping", "b"],
        &["handshake", "b"],
        &["pending"],
        &["approve", "b"],
        &["reject", "b"],
        &["trust", "list"],
        &["trust", "revoke", "b", "--yes"],
        &["resolve", "b"],
        &["dht", "peers"],
        &["dht", "lookup", "b"],
        &["dht", "stats"],
        &["wait", "online"],
        &["connect", "b", "80"],
        &["listen", "80"],
        &["name", "list"],
        &["netcheck"],
        &["metrics"],
        &["events"],
        &["api", "/v1/info"],
    ] {
        let error = home.failure(args);
        assert_eq!((&error["code"], &error["exit"]), (&"daemon_not_running".into(), &4.into()));
        assert_eq!(error["hint"], "homing up");
    }
    assert_eq!(home.run(&["daemon", "status", "--check"]).code, 4);
    assert_eq!(home.json(&["daemon", "status"])["running"], false);
}

#[test]
fn people_get_lines_with_cause_and_next_step() {
    let home = Home::new();
    let done = home.run(&["info"]);
    let lines: Vec<_> = done.stderr.lines().collect();
    assert_eq!((done.code, done.stdout.as_str()), (4, ""));
    assert_eq!(lines[0], "error: the daemon is not running");
    assert!(lines[1].starts_with("  why: nothing answers at "), "{lines:?}");
    assert_eq!(lines[2..], ["  try: homing up", "  code: daemon_not_running (exit 4)"]);
}

#[test]
fn a_hostname_that_is_no_label_is_a_usage_error() {
    let home = Home::new();
    for name in ["My_Agent", "", "a b", "-a", &"x".repeat(64)] {
        let error = home.failure(&["up", "--hostname", name]);
        assert_eq!((&error["code"], &error["exit"]), (&"usage".into(), &2.into()), "{name}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("--hostname") || message.contains("unknown flag"), "{message}");
    }
    assert!(!home.path("identity.json").exists() && !home.path("homing.db").exists());
}

#[test]
fn typos_name_what_was_meant() {
    let home = Home::new();
    let cases = [
        (&["up", "--hostnam", "x"][..], "did you mean --hostname?"),
        (&["stauts"], "did you mean status?"),
        (&["trust", "revok", "x"], "did you mean revoke?"),
        (&["ping", "x", "-o", "jsn"], "did you mean json"),
    ];
    for (args, hint) in cases {
        let error = home.failure(args);
        assert_eq!(error["exit"], 2);
        assert!(error["hint"].as_str().unwrap().starts_with(hint), "{args:?}: {error}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let home = Home::new();
    for (command, message) in [("expose", "TARGET is missing"), ("topic", "a command is missing")] {
        let done = home.run(&[command]);
        assert_eq!(done.code, 2);
        assert!(done.stderr.contains(message), "{done:?}");
    }
}

#[test]
fn a_revocation_needs_a_yes_when_nobody_can_be_asked() {
    let home = Home::new();
    let error = home.failure(&["trust", "revoke", "agent-b"]);
    assert_eq!((&error["code"], &error["exit"]), (&"usage".into(), &2.into()));
    assert!(error["message"].as_str().unwrap().contains("--yes"));
}

#[test]
fn every_bad_identity_file_has_its_code() {
    let home = Home::new();
    home.json(&["key", "init"]);
    let good = std::fs::read_to_string(home.path("identity.json")).unwrap();
    let other = Home::new();
    other.json(&["key", "init"]);
    let foreign: serde_json::Value =
        serde_json::from_slice(&std::fs::read(other.path("identity.json")).unwrap()).unwrap();
    let mut swapped: serde_json::Value = serde_json::from_str(&good).unwrap();
    swapped["node_id"] = foreign["node_id"].clone();
    let cases = [
        ("empty", String::new(), "identity_invalid", 9),
        ("truncated", good[..good.len() / 2].to_owned(), "identity_invalid", 9),
        ("not json", "hello".to_owned(), "identity_invalid", 9),
        ("other schema", good.replace("identity/v1", "identity/v9"), "identity_invalid", 9),
        ("other type", good.replace("ed25519", "rsa"), "identity_invalid", 9),
        ("swapped", swapped.to_string(), "identity_invalid", 9),
    ];
    for (what, text, code, exit) in cases {
        let path = home.path("bad.json");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let error = home.failure(&["key", "check", path.to_str().unwrap()]);
        assert_eq!((&error["code"], &error["exit"]), (&code.into(), &exit.into()), "{what}");
        let start = home.failure(&["up", "--identity", path.to_str().unwrap()]);
        assert_eq!(start["code"], code, "{what} at start");
    }
    let missing = home.path("typo.json");
    for args in [&["up"][..], &["up", "--takeover"], &["daemon", "run"]] {
        let start = home.failure(&[args, &["--identity", missing.to_str().unwrap()]].concat());
        assert_eq!((&start["code"], &start["exit"]), (&"not_found".into(), &3.into()));
        assert!(start["hint"].as_str().unwrap().starts_with("homing key init --identity "));
        assert!(!missing.exists());
    }
    let path = home.path("identity.json");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    for args in [&["key", "check"][..], &["up"], &["key", "init"]] {
        let error = home.failure(args);
        assert_eq!((&error["code"], &error["exit"]), (&"key_permissions".into(), &10.into()));
    }
    assert_eq!(home.failure(&["key", "check", "/nonexistent.json"])["code"], "not_found");
}

#[test]
fn a_key_is_never_replaced() {
    let home = Home::new();
    assert_eq!(home.json(&["key", "init"])["changed"], true);
    let before = std::fs::read(home.path("identity.json")).unwrap();
    assert_eq!(home.json(&["key", "init"])["changed"], false);
    assert_eq!(std::fs::read(home.path("identity.json")).unwrap(), before);
}

#[test]
fn a_bad_configuration_is_named_and_nothing_is_written() {
    let home = Home::new();
    let error = home.failure(&["config", "set", "nmae", "x"]);
    assert_eq!((&error["code"], &error["exit"]), (&"config_invalid".into(), &10.into()));
    assert_eq!(error["hint"], "did you mean name?");
    let error = home.failure(&["config", "set", "registy.peers", "x"]);
    assert_eq!(error["hint"], "did you mean registry.peers?");
    assert_eq!(home.failure(&["config", "set", "name", "Not A Name"])["exit"], 10);
    assert!(!home.path("config.toml").exists());

    std::fs::write(home.path("config.toml"), "hostnam = \"x\"\n").unwrap();
    for args in [&["config", "validate"][..], &["config", "list"], &["up"], &["daemon", "run"]] {
        assert_eq!(home.failure(args)["code"], "config_invalid", "{args:?}");
    }
    assert!(!home.path("homing.db").exists());
}

#[test]
fn configuration_is_set_read_and_removed() {
    let home = Home::new();
    assert_eq!(home.json(&["config", "set", "name", "planner"])["changed"], true);
    assert_eq!(home.json(&["config", "set", "name", "planner"])["changed"], false);
    let entry = home.json(&["config", "get", "name"]);
    assert_eq!(entry["schema"], "homing.config_value/v1");
    assert_eq!((&entry["value"], &entry["origin"]), (&"planner".into(), &"file".into()));
    let mut command = home.command(&["config", "get", "name", "--json"]);
    let done = support::finished(command.env("HOMING_NAME", "other").output().unwrap());
    assert!(
        done.stdout.contains("\"other\"") && done.stdout.contains("env HOMING_NAME"),
        "{done:?}"
    );
    assert_eq!(home.json(&["config", "set", "name", "--unset"])["changed"], true);
    assert_eq!(home.run(&["config", "get", "name"]).stdout, "\n");
}

#[test]
fn a_socket_path_that_is_too_long_is_refused() {
    let home = Home::new();
    let deep = home.path(&"d".repeat(120));
    let done = home.run(&["--home", deep.to_str().unwrap(), "up", "--json"]);
    assert_eq!((done.code, &done.error()["code"]), (10, &"config_invalid".into()));
}

/// A daemon of another major version of the local API, as far as anybody asks it.
#[test]
fn a_daemon_of_another_api_is_refused_and_named() {
    use std::io::{Read, Write};
    let home = Home::new();
    let socket = std::os::unix::net::UnixListener::bind(home.path("homing.sock")).unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let mut asked = [0; 4_096];
        let count = stream.read(&mut asked).unwrap();
        assert!(asked[..count].starts_with(b"GET /v1/info"));
        let head = "HTTP/1.1 200 OK\r\nhoming-api: 999\r\nhoming-version: 9.9.9\r\n";
        write!(stream, "{head}content-length: 2\r\n\r\n{{}}").unwrap();
    });
    let error = home.failure(&["info"]);
    served.join().unwrap();
    assert_eq!((&error["code"], &error["exit"]), (&"version_incompatible".into(), &11.into()));
    assert!(error["why"].as_str().unwrap().contains("999"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("homing down"), "{error}");
}
