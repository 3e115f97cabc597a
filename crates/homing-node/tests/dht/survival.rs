//! Joining, and what is left when many go at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::swarm::{Member, PATIENCE, Settings, Swarm, slowest};

/// As many as an unoptimised build carries on a small machine; `cargo xtask bench swarm` runs fifty.
const AGENTS: usize = 24;

/// With twenty replicas nearly everybody would hold every record, and nobody would have to ask.
const FEW_REPLICAS: Settings = &[("dht.k", "8")];

#[tokio::test]
async fn every_survivors_record_resolves_within_five_seconds_after_half_died_at_once() {
    let begun = Instant::now();
    let mut swarm = Swarm::start(AGENTS, 3, FEW_REPLICAS).await;
    let started = begun.elapsed();
    swarm.joined(8).await;
    let joined = begun.elapsed();
    println!("{AGENTS} agents: started after {started:?}, all joined and found after {joined:?}");

    // Every second one, all bootstrap nodes but one among them.
    swarm.kill(|i| i % 2 == 0);
    assert_eq!(swarm.members.len(), AGENTS / 2);
    let five = Duration::from_secs(5);
    let count = swarm.members.len();
    let asks = swarm.members.iter().enumerate().map(|(i, asker)| {
        let wanted = swarm.members[(i + 7) % count].id;
        async move { tokio::time::timeout(five, asker.resolve(wanted)).await.map(|r| r.is_ok()) }
    });
    let (times, resolved) = tokio::join!(swarm.everybody_finds_the_next(five), join_all(asks));
    println!("half dead: records found in the DHT after at most {:?}", slowest(&times));
    assert!(times.iter().all(Option::is_some), "not found within 5 s: {times:?}");
    assert!(resolved.iter().all(|r| *r == Ok(true)), "not resolved within 5 s: {resolved:?}");
}

#[tokio::test]
async fn a_restarted_agent_finds_its_network_with_all_bootstrap_nodes_gone() {
    let mut swarm = Swarm::start(12, 2, &[]).await;
    swarm.joined(8).await;
    let mut returning = swarm.members.pop().unwrap();
    returning.kill();
    swarm.kill(|i| i < 2);
    // Nobody is named to it, and those it was once told of are gone.
    returning.restart().await;
    let begun = Instant::now();
    let others: Vec<_> = swarm.members.iter().map(|member| member.id).collect();
    for id in &others {
        assert!(returning.finds(*id, PATIENCE).await.is_some(), "{} not found", id.fmt_short());
    }
    println!("rejoined, all {} others found after {:?}", others.len(), begun.elapsed());
    let back = join_all(swarm.members.iter().map(|m| m.finds(returning.id, PATIENCE))).await;
    assert!(back.iter().all(Option::is_some), "the others do not find it: {back:?}");
}

#[tokio::test]
async fn two_islands_that_meet_see_each_others_records_within_a_minute() {
    let (one, two) = tokio::join!(Swarm::start(8, 1, &[]), Swarm::start(8, 1, &[]));
    tokio::join!(one.joined(5), two.joined(5));
    let stranger = one.members[4].lookup(two.members[4].id).await.unwrap();
    assert!(stranger.values.is_empty(), "they have not met yet");

    let begun = Instant::now();
    one.members[3].meet(two.members[5].node().ticket().await.unwrap()).await;
    let minute = Duration::from_secs(60);
    let (here, there) = tokio::join!(
        everybody_finds(&one.members, &two.members, minute),
        everybody_finds(&two.members, &one.members, minute),
    );
    println!("two islands of 8: everybody sees everybody after {:?}", begun.elapsed());
    let lost = here.iter().chain(&there).filter(|time| time.is_none()).count();
    assert_eq!(lost, 0, "{lost} of 128 pairs do not see each other after a minute");
}

/// Each of `askers` asks the DHT for each of `wanted`; how long each took.
async fn everybody_finds(
    askers: &[Member],
    wanted: &[Member],
    within: Duration,
) -> Vec<Option<Duration>> {
    let pairs =
        askers.iter().flat_map(|asker| wanted.iter().map(move |w| asker.finds(w.id, within)));
    join_all(pairs).await
}
