//! Transactions that the node does not take, or the chain takes and reverts.

use homing_anchor::AnchorError;
use homing_anchor::evm::Mode;
use serde_json::json;

use crate::anvil::{Anvil, binary};
use crate::proxy::{Fail, Proxy};
use crate::worker::{Worker, assert_numbers, config, contract, point, sizes, updates};

#[tokio::test]
async fn a_transaction_that_the_node_refuses_is_told_and_sent_again() {
    let Some(binary) = binary("refused transaction") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let proxy = Proxy::start(chain.port).await;
    let config = config(&proxy.url(), contract, dir.path(), Mode::Update { batch: 4 });
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    worker.journal.want_updates(0, &updates(0, 10), worker.now_ms).unwrap();
    proxy.set(Fail::Refuse);
    for _ in 0..3 {
        let refused = worker.round().await;
        let said = matches!(&refused, Err(AnchorError::Refused { reason, .. }) if reason.contains("not today"));
        assert!(said, "{refused:?}");
        assert_eq!(worker.journal.waiting(false).unwrap().entries, 10, "nothing is lost");
    }
    assert_numbers(&chain, contract, 0).await;
    proxy.set(Fail::Never);
    worker.finish(&chain, false).await;
    assert_numbers(&chain, contract, 10).await;
}

#[tokio::test]
async fn a_transaction_that_reverts_is_counted_told_and_made_again() {
    let Some(binary) = binary("reverted transaction") else { return };
    for (mode, points) in [(Mode::Checkpoint, true), (Mode::Update { batch: 4 }, false)] {
        let dir = tempfile::tempdir().unwrap();
        let chain = Anvil::start(&binary).await;
        let contract = contract(&chain, dir.path()).await;
        let config = config(&chain.url(), contract, dir.path(), mode);
        let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
        worker.journal.want_point(point(10), "", worker.now_ms).unwrap();
        worker.journal.want_updates(0, &updates(0, 10), worker.now_ms).unwrap();
        // Between the estimate and the block the contract becomes one that refuses everything.
        chain.ask("evm_setAutomine", json!([false])).await;
        assert_eq!(worker.round().await.unwrap().sent, 1);
        let address = format!("0x{}", data_encoding::HEXLOWER.encode(&contract));
        let code = chain.ask("eth_getCode", json!([address, "latest"])).await;
        chain.ask("anvil_setCode", json!([address, "0x60006000fd"])).await;
        chain.mine(1).await;
        chain.ask("anvil_setCode", json!([address, code])).await;
        let told = worker.round().await;
        assert!(matches!(told, Err(AnchorError::Reverted { .. })), "{told:?}");
        let waiting = worker.journal.waiting(points).unwrap();
        assert_eq!((waiting.entries, waiting.reverted), (10, 1));
        chain.ask("evm_setAutomine", json!([true])).await;
        worker.finish(&chain, points).await;
        match mode {
            Mode::Checkpoint => assert_eq!(sizes(&chain, contract).await, [10]),
            Mode::Update { .. } => assert_numbers(&chain, contract, 10).await,
        }
        assert_eq!(worker.journal.waiting(points).unwrap().duplicates, 0);
    }
}
