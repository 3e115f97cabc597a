//! Ten thousand updates in both modes, and what they cost.

use homing_anchor::evm::Mode;

use crate::anvil::{Anvil, binary};
use crate::worker::{Worker, assert_numbers, config, contract, gas, point, sizes, updates};

#[tokio::test]
async fn ten_thousand_updates_under_ten_checkpoints() {
    let Some(binary) = binary("ten thousand updates as checkpoints") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Checkpoint);
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    for batch in 1..=10 {
        worker.journal.want_point(point(batch * 1_000), "", worker.now_ms).unwrap();
        worker.finish(&chain, true).await;
    }
    assert_eq!(sizes(&chain, contract).await, (1..=10).map(|b| b * 1_000).collect::<Vec<_>>());
    let (gas, count) = gas(&chain, contract).await;
    println!(
        "checkpoint mode: 10,000 updates, {count} transactions, {gas} gas, {:.2} gas per update",
        gas as f64 / 1e4
    );
    assert_eq!(count, 10);
    assert!(gas / 10_000 < 40, "a checkpoint costs the same whatever it covers");
}

#[tokio::test]
async fn ten_thousand_updates_as_events_a_thousand_per_transaction() {
    let Some(binary) = binary("ten thousand updates as events") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Update { batch: 1_000 });
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    for batch in 0..10 {
        worker
            .journal
            .want_updates(batch * 1_000, &updates(batch * 1_000, 1_000), worker.now_ms)
            .unwrap();
        worker.finish(&chain, false).await;
    }
    assert_numbers(&chain, contract, 10_000).await;
    let (gas, count) = gas(&chain, contract).await;
    println!(
        "update mode, 1,000 per transaction: 10,000 updates, {count} transactions, {gas} gas, {} gas per update",
        gas / 10_000
    );
    assert!(gas / 10_000 < 9_000);
}

/// A thousand; `cargo xtask bench anchor` asks for ten thousand, which takes minutes.
fn alone() -> u64 {
    let asked = std::env::var("HOMING_BENCH_UPDATES").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(1_000)
}

#[tokio::test]
async fn a_transaction_for_every_update() {
    let Some(binary) = binary("one transaction per update") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Update { batch: 1 });
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    let all = alone();
    for first in (0..all).step_by(1_000) {
        let some = updates(first, (all - first).min(1_000));
        worker.journal.want_updates(first, &some, worker.now_ms).unwrap();
        worker.finish(&chain, false).await;
    }
    assert_numbers(&chain, contract, all).await;
    let (gas, count) = gas(&chain, contract).await;
    println!(
        "update mode, one per transaction: {all} updates, {count} transactions, {gas} gas, {} gas per update",
        gas / all
    );
    assert_eq!(count, all);
    assert!(gas / all < 30_000);
}
