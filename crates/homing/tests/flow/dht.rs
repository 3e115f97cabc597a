//! `homing dht` with real daemons on loopback, no relay.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::support::{Home, PATIENCE};

fn ticket(home: &Home) -> String {
    home.until_ok(&["info"])["ticket"].as_str().expect("a record by now").to_owned()
}

/// A chain of agents: each is told of the one before it only.
fn chain(names: &[&str]) -> Vec<Home> {
    let mut homes: Vec<Home> = Vec::new();
    for name in names {
        let mut home = Home::new();
        let mut args = vec!["--hostname", name, "--listen", "127.0.0.1:0"];
        let before = homes.last().map(ticket);
        if let Some(ticket) = &before {
            args.extend(["--peer", ticket]);
        }
        home.start(&args);
        homes.push(home);
    }
    homes
}

/// UDP and TCP sockets of a process, by inode.
fn network_sockets(pid: u64) -> usize {
    let mut own = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let inode = target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']'));
        own.extend(inode.map(str::to_owned));
    }
    let of_table = |table: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let inode = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
        text.lines().skip(1).filter_map(inode).filter(|inode| own.contains(inode)).count()
    };
    ["udp", "udp6", "tcp", "tcp6"].into_iter().map(of_table).sum()
}

#[test]
fn a_lookup_shows_its_steps_and_what_it_found() {
    let homes = chain(&["a", "b", "c", "d"]);
    let (first, last) = (&homes[0], &homes[3]);
    let (first_id, last_id) = (first.node_id(), last.node_id());
    let found = first.until_ok(&["dht", "lookup", &last_id]);
    assert_eq!(found["schema"], "homing.dht_lookup/v1");
    assert_eq!((&found["kind"], &found["target"]), (&"node_id".into(), &last_id.clone().into()));
    assert_eq!(
        (&found["values"][0]["node_id"], &found["values"][0]["name"]),
        (&last_id.clone().into(), &"d".into())
    );
    let address = found["values"][0]["address"].as_str().unwrap().to_owned();
    for (asker, key, kind) in
        [(first, "d", "name"), (first, &*address, "address"), (last, "a", "name")]
    {
        let found = asker.until_ok(&["dht", "lookup", key]);
        assert_eq!(found["kind"], kind);
        let wanted = if key == "a" { &first_id } else { &last_id };
        assert_eq!(found["values"][0]["node_id"], **wanted);
    }
    let text = first.run(&["dht", "lookup", "d"]);
    assert!(text.stdout.contains("node ID") && text.stdout.contains("message"), "{text:?}");
    let named = first.run(&["dht", "lookup", "d", "-o", "name"]);
    assert_eq!(named.stdout.trim(), last_id);

    // A key that nobody holds: the steps are shown, and the exit code says not found.
    let nothing = first.run(&["dht", "lookup", &"5a".repeat(32)]);
    assert_eq!(nothing.code, 3, "{nothing:?}");
    assert!(nothing.stderr.contains("the DHT holds nothing about 5a5a"), "{nothing:?}");
    assert!(
        nothing.stdout.contains("HOP") && nothing.stdout.contains("nothing was found"),
        "{nothing:?}"
    );
    assert_eq!(first.failure(&["dht", "lookup", "NO NAME"])["code"], "usage");

    let began = Instant::now();
    loop {
        let peers = first.json(&["dht", "peers"]);
        let list = peers["peers"].as_array().unwrap().clone();
        if list.len() == 3 {
            assert!(list.iter().all(|p| p["place"].as_str().unwrap().starts_with("127.0.0.1:")));
            assert!(list.iter().any(|p| p["node_id"] == *last_id && p["state"] == "good"));
            break;
        }
        assert!(began.elapsed() < PATIENCE, "a knows only {list:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let table = first.run(&["dht", "peers"]).stdout;
    assert!(table.starts_with("ID") && table.contains(&last_id[..10]), "{table}");

    let stats = first.json(&["dht", "stats"]);
    assert_eq!(
        (&stats["role"], &stats["joined"], &stats["k"]),
        (&"server".into(), &true.into(), &20.into())
    );
    assert!(stats["traffic"]["sent_bytes"].as_u64().unwrap() > 0, "{stats}");
    assert!(first.run(&["dht", "stats"]).stdout.contains("role"));
    let info = first.json(&["info"]);
    assert_eq!((&info["dht"]["role"], &info["dht"]["contacts"]), (&"server".into(), &3.into()));
    let metrics = first.run(&["metrics"]).stdout;
    assert!(metrics.contains("homing_dht_role{role=\"server\"} 1"), "{metrics}");
    assert!(metrics.contains("homing_dht_contacts 3"), "{metrics}");
}

#[test]
fn only_the_owner_of_the_choice_decides() {
    let home = Home::new();
    let other = "3a".repeat(32);
    home.json(&["config", "set", "dht.network_key", &other]);
    home.json(&["config", "set", "dht.mode", "auto"]);
    home.json(&["config", "set", "dht.decide", "true"]);
    let done = home.run(&["daemon", "run", "--listen", "127.0.0.1:0"]);
    assert_eq!(done.code, 10, "{done:?}");
    assert!(done.stderr.contains("dht.network_key is not this agent's ID"), "{done:?}");
}

#[test]
fn switched_off_it_says_so_and_no_socket_is_saved_by_it() {
    let (mut on, mut off) = (Home::new(), Home::new());
    assert_eq!(off.json(&["config", "set", "dht.enabled", "false"])["changed"], true);
    on.start(&["--listen", "127.0.0.1:0"]);
    off.start(&["--listen", "127.0.0.1:0"]);
    for args in [&["dht", "peers"][..], &["dht", "stats"], &["dht", "lookup", "x"]] {
        let error = off.failure(args);
        assert_eq!((&error["code"], &error["exit"]), (&"dht_disabled".into(), &10.into()));
        assert!(error["hint"].as_str().unwrap().contains("dht.enabled"), "{error}");
    }
    assert_eq!(on.run(&["dht", "peers"]).code, 0);
    // The DHT brings no listener and no port of its own.
    let sockets = |home: &Home| network_sockets(home.json(&["info"])["pid"].as_u64().unwrap());
    assert_eq!(sockets(&on), sockets(&off));
    assert!(sockets(&on) > 0);
}
