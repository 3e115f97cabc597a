//! `dht.enabled = false`: no DHT traffic at all, at both ends, and an error that says so.

use std::time::{Duration, Instant};

use homing_api::Code;
use homing_api::dht::DhtLookupRequest;

use crate::swarm::{Member, PATIENCE, code};

/// Values of the metrics that begin with `prefix`, labels left as they are.
async fn metrics(member: &Member, prefix: &str) -> Vec<(String, f64)> {
    let text = member.node().metrics().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(prefix));
    let split = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(split).collect()
}

async fn dht_messages(member: &Member) -> f64 {
    let all = metrics(member, "homing_dht_messages").await;
    assert_eq!(all.len(), 2);
    all.iter().map(|(_, value)| value).sum()
}

#[tokio::test]
async fn an_agent_without_the_dht_neither_speaks_nor_hears_of_it() {
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let with = Member::start(homes[0].path(), &[], &[]).await;
    let ticket = with.node().ticket().await.unwrap();
    let off = [("dht.enabled", "false")];
    let without = Member::start(homes[1].path(), &[ticket], &off).await;
    // They are connected, which is when two agents with a DHT would begin to talk.
    let begun = Instant::now();
    while !without.resolve(with.id).await.is_ok_and(|r| r.peer.node_id == with.id) {
        assert!(begun.elapsed() < PATIENCE, "the two do not meet");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(dht_messages(&with).await, 0.0, "the other end was spoken to");
    let own = metrics(&without, "homing_dht_").await;
    assert!(own.len() > 20, "the metrics are there: {own:?}");
    let not_zero: Vec<_> = own.iter().filter(|(_, value)| *value != 0.0).collect();
    assert!(not_zero.is_empty(), "{not_zero:?}");

    let node = without.node();
    let request = DhtLookupRequest { key: with.id.to_string(), timeout_ms: 1_000 };
    assert_eq!(code(node.dht_lookup(request).await), Some(Code::DhtDisabled));
    assert_eq!(code(node.dht_peers().await), Some(Code::DhtDisabled));
    assert_eq!(code(node.dht_stats().await), Some(Code::DhtDisabled));
    assert_eq!(node.info().await.unwrap().dht, None);

    // A third one with the DHT shows that the counters do count.
    let ticket = with.node().ticket().await.unwrap();
    let third = Member::start(homes[2].path(), &[ticket], &[]).await;
    assert!(third.finds(with.id, PATIENCE).await.is_some());
    assert!(dht_messages(&with).await > 0.0 && dht_messages(&third).await > 0.0);
    let own = metrics(&without, "homing_dht_").await;
    assert!(own.iter().all(|(_, value)| *value == 0.0), "{own:?}");
}
