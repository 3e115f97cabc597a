//! Eleven moves: `kill -9`, then the same key on a new home and another loopback address, with
//! nothing else kept. The peer reconfigures nothing. How fast it is, `cargo xtask bench` says.

use std::time::Instant;

use crate::support::{Home, agent, befriend, relay};

#[test]
fn an_agent_keeps_its_address_over_eleven_moves() {
    let (_relay, url) = relay();
    let watcher = agent("watcher", &url);
    let mut mover: Home = agent("mover", &url);
    befriend(&mover, &watcher, "watcher");
    watcher.until_ok(&["ping", "mover", "-c", "1"]);
    let address = mover.json(&["info"])["address"].clone();
    let mut gaps = Vec::new();
    for host in 2..13 {
        mover.kill();
        let mut next = mover.reborn();
        let began = Instant::now();
        let listen = format!("127.0.0.{host}:0");
        next.spawn(&["daemon", "run", "--hostname", "mover", "--listen", &listen, "--relay", &url]);
        watcher.until_ok(&["ping", "mover", "-c", "1"]);
        gaps.push(began.elapsed().as_millis());
        let info = next.until_ok(&["info"]);
        assert_eq!(info["address"], address, "move {host}");
        let trust = watcher.json(&["trust", "show", "mover"]);
        assert_eq!(trust["trust"]["state"], "mutual", "move {host}");
        // The reborn agent learns its own grant back from its peer.
        next.json(&["wait", "trusted", "watcher", "--timeout", "30s"]);
        mover = next;
    }
    gaps.sort_unstable();
    println!("start to first answered ping: median {} ms, worst {} ms", gaps[5], gaps[10]);
}

#[test]
fn the_demo_does_what_it_says() {
    let home = Home::new();
    let told = home.json(&["demo"]);
    assert_eq!(told["schema"], "homing.demo/v1");
    assert_eq!((&told["same_address"], &told["trust_survived"]), (&true.into(), &true.into()));
    assert!(told["elapsed_ms"].as_f64().unwrap() < 30_000.0, "{told}");
}
