//! Starting and stopping one real daemon.

use crate::support::{self, Home};

#[test]
fn start_is_idempotent_and_stop_too() {
    let home = Home::new();
    let first =
        home.json(&["daemon", "start", "--hostname", "my-agent", "--listen", "127.0.0.1:0"]);
    assert_eq!((&first["changed"], &first["running"]), (&true.into(), &true.into()));
    let again = home.json(&["up", "--hostname", "my-agent"]);
    assert_eq!((&again["changed"], &again["pid"]), (&false.into(), &first["pid"]));
    assert!(home.run(&["daemon", "start"]).stdout.starts_with("unchanged: daemon running"));

    let info = home.json(&["info"]);
    assert_eq!(info["schema"], "homing.info/v1");
    assert_eq!((&info["name"], &info["pid"]), (&"my-agent".into(), &first["pid"]));
    assert_eq!(home.run(&["daemon", "status", "--check"]).code, 0);

    assert_eq!(home.json(&["down"])["changed"], true);
    assert_eq!(home.json(&["down"])["changed"], false);
    assert_eq!(home.run(&["daemon", "status", "--check"]).code, 4);
}

#[test]
fn other_flags_than_the_running_daemons_are_a_conflict_not_a_silence() {
    let home = Home::new();
    home.json(&["up", "--hostname", "one", "--listen", "127.0.0.1:0"]);
    let error = home.failure(&["up", "--hostname", "two"]);
    assert_eq!((&error["code"], &error["exit"]), (&"already_exists".into(), &8.into()));
    assert_eq!(error["why"], "its name is one, not two");
    let error = home.failure(&["up", "--set", "dht.enabled=false"]);
    assert_eq!(error["why"], "its dht.enabled is true, not false");
    assert_eq!(home.json(&["up", "--set", "dht.k=20"])["changed"], false);
    let error = home.failure(&["up", "--listen", "127.0.0.1:49999"]);
    assert_eq!(error["why"], "its listen is 127.0.0.1:0, not 127.0.0.1:49999");
    assert_eq!(home.json(&["up", "--listen", "127.0.0.1:0"])["changed"], false);
    let error = home.failure(&["up", "--tun"]);
    assert_eq!(error["why"], "its tun.enabled is false, not true");
    let error = home.failure(&["up", "--set", "dht.enbled=false"]);
    assert!(error["message"].as_str().unwrap().contains("did you mean dht.enabled?"), "{error}");
    assert_eq!(home.failure(&["daemon", "run"])["code"], "already_exists");
    assert_eq!(home.json(&["info"])["name"], "one");
}

#[test]
fn a_daemon_that_says_nothing_is_found_out() {
    let home = Home::new();
    let pid = home.json(&["up", "--listen", "127.0.0.1:0"])["pid"].to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success(), "kill {name} {pid}");
    };
    signal("-STOP");
    let error = home.failure(&["status"]);
    signal("-CONT");
    assert_eq!((&error["code"], &error["exit"]), (&"timeout".into(), &6.into()), "{error}");
    assert_eq!(error["message"], "the daemon does not answer");
    assert!(error["hint"].as_str().unwrap().contains("daemon.pid"), "{error}");
    assert_eq!(home.run(&["status"]).code, 0, "what was only held up goes on");
}

#[test]
fn the_key_is_the_address_wherever_it_runs() {
    let first = Home::new();
    let here = first.json(&["up", "--listen", "127.0.0.1:0"])["info"].clone();
    first.json(&["down"]);
    let second = first.reborn();
    let there = second.json(&["up", "--listen", "127.0.0.1:0"])["info"].clone();
    assert_eq!((&here["address"], &here["node_id"]), (&there["address"], &there["node_id"]));
    assert_ne!(here["instance"], there["instance"]);
    assert!(here["address"].as_str().unwrap().starts_with("fd"));
}

#[test]
fn a_failed_start_tells_its_reason_at_once_and_leaves_nothing_running() {
    let home = Home::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let began = std::time::Instant::now();
    let error = home.failure(&["up", "--listen", &listen]);
    assert_eq!((&error["code"], &error["exit"]), (&"port_in_use".into(), &10.into()));
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "that was a timeout");
    assert_eq!(home.json(&["daemon", "status"])["running"], false);
    home.json(&["up", "--listen", "127.0.0.1:0"]);
}

#[test]
fn an_unknown_peer_is_not_found_and_a_raw_request_answers_as_the_command() {
    let home = Home::new();
    home.json(&["up", "--listen", "127.0.0.1:0"]);
    let error = home.failure(&["ping", "nobody"]);
    assert_eq!((&error["code"], &error["exit"]), (&"not_found".into(), &3.into()));
    let raw = home.run(&["api", "GET", "/v1/version"]);
    assert!(raw.stdout.contains("homing.version/v1"), "{raw:?}");
    assert_eq!(home.failure(&["api", "/v1/nonsense"])["code"], "usage");
}

#[test]
fn settings_changed_since_the_start_are_said_to_wait() {
    let home = Home::new();
    home.json(&["up", "--listen", "127.0.0.1:0"]);
    assert!(!home.run(&["up"]).stderr.contains("note:"));
    home.json(&["config", "set", "dns.listen", "127.0.0.1:55399"]);
    let again = home.run(&["up"]);
    assert!(again.stdout.starts_with("unchanged"), "{again:?}");
    assert!(again.stderr.contains("dns.listen changed since this daemon started"), "{again:?}");
    // The files for the resolver are printed, and that nobody answers yet is said.
    let setup = home.run(&["dns", "setup", "--print"]);
    assert!(setup.code == 0 && setup.stderr.contains("nothing answers on 127.0.0.1:55399 yet"));
}

#[test]
fn a_relay_serves_as_its_flags_say() {
    let mut home = Home::new();
    let place = ["relay", "serve", "--listen", "127.0.0.1:0", "--quic-port", "0"];
    let (host, id) = (["--hostname", "127.0.0.1"], "5".repeat(64));
    let nowhere = home.path("no.pem").to_str().unwrap().to_owned();
    let cert = ["--cert", &nowhere, "--key", &nowhere];
    let error = home.failure(&[place.as_slice(), &host, &cert].concat());
    assert!(error.to_string().contains("no.pem"), "{error}");
    assert_eq!(home.failure(&[place.as_slice(), &["--cert", &nowhere]].concat())["code"], "usage");

    let limits = ["--allow", id.as_str(), "--rate", "100000"];
    home.spawn(&[place.as_slice(), &host, &limits].concat());
    home.until_ok(&["info"]);
    let config: serde_json::Value =
        serde_json::from_str(&home.run(&["api", "/v1/config"]).stdout).unwrap();
    let value = |key: &str| {
        let all = config["values"].as_array().unwrap();
        all.iter().find(|v| v["key"] == key).unwrap()["value"].to_string()
    };
    assert_eq!(value("relay.access"), "\"allow\"");
    assert!(value("relay.allow").contains(&id));
    assert!(value("relay.rate_limit_bytes_per_second").contains("100000"));
    // Whom it does not know it does not carry.
    let url = home.json(&["info"])["serving_relay"]["relay"].as_str().unwrap().to_owned();
    let mut stranger = Home::new();
    stranger.spawn(&["daemon", "run", "--listen", "127.0.0.1:0", "--relay", &url]);
    stranger.until_ok(&["info"]);
    let deadline = std::time::Instant::now() + support::PATIENCE;
    loop {
        let check = stranger.json(&["netcheck"]);
        let relay = &check["relays"][0];
        assert_ne!(relay["connected"], true, "{check}");
        if relay["error"].is_string() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{check}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
