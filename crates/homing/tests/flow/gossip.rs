//! `homing gossip` with real daemons on loopback.

use std::time::{Duration, Instant};

use crate::support::{Home, PATIENCE, agent, befriend, relay};

#[test]
fn friends_hear_of_each_other_and_the_numbers_say_so() {
    let (_relay, url) = relay();
    let (a, b) = (agent("agent-a", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    let began = Instant::now();
    let stats = loop {
        let stats = a.json(&["gossip", "stats"]);
        if stats["records"]["heard"].as_u64() > Some(0) {
            break stats;
        }
        assert!(began.elapsed() < PATIENCE, "nothing is heard: {stats}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(
        (&stats["schema"], &stats["enabled"]),
        (&"homing.gossip_stats/v1".into(), &true.into())
    );
    assert!(stats["peers"].as_u64() > Some(0) && stats["entries"].as_u64() > Some(0), "{stats}");
    assert!(stats["changed"].is_string() && stats["reconciliations"]["begun"].is_u64(), "{stats}");
    assert!(stats["traffic"]["received_bytes"].as_u64() > Some(0), "{stats}");
    let text = a.run(&["gossip", "stats"]).stdout;
    assert!(text.contains("heard") && text.contains("compared"), "{text}");
    let metrics = a.run(&["metrics"]).stdout;
    assert!(metrics.contains("homing_gossip_enabled 1"), "{metrics}");
    assert!(!metrics.contains("homing_gossip_heard_total 0\n"), "{metrics}");
}

#[test]
fn switched_off_it_says_so() {
    let mut off = Home::new();
    assert_eq!(off.json(&["config", "set", "gossip.enabled", "false"])["changed"], true);
    off.start(&["--listen", "127.0.0.1:0"]);
    let stats = off.json(&["gossip", "stats"]);
    assert_eq!((&stats["enabled"], &stats["entries"]), (&false.into(), &0.into()));
    assert!(off.run(&["gossip", "stats"]).stdout.contains("gossip.enabled"));
    assert!(off.run(&["metrics"]).stdout.contains("homing_gossip_enabled 0"));
}
