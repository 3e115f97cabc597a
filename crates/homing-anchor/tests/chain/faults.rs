//! Chains and workers that fail, each at the worst moment.

use homing_anchor::evm::{Finality, Mode};
use homing_anchor::{AnchorError, Hold};
use serde_json::json;

use crate::anvil::{Anvil, binary, number};
use crate::proxy::{Fail, Proxy};
use crate::worker::{GWEI, Worker, assert_numbers, config, contract, point, sizes, updates};

const UPDATES: Mode = Mode::Update { batch: 1 };

#[tokio::test]
async fn a_chain_that_comes_back_without_its_last_blocks_gets_them_again() {
    let Some(binary) = binary("chain restarted with lost state") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let mut worker = Worker::new(
        config(&chain.url(), contract, dir.path(), UPDATES),
        &dir.path().join("anchor.db"),
    );
    worker.journal.want_updates(0, &updates(0, 100), worker.now_ms).unwrap();
    worker.finish(&chain, false).await;
    let state = chain.ask("anvil_dumpState", json!([])).await;
    worker.journal.want_updates(100, &updates(100, 100), worker.now_ms).unwrap();
    worker.finish(&chain, false).await;

    let port = chain.port;
    chain.kill();
    assert!(matches!(worker.round().await, Err(AnchorError::Away { .. })), "nobody answers");
    worker.journal.want_updates(200, &updates(200, 100), worker.now_ms).unwrap();
    assert_eq!(
        worker.journal.waiting(false).unwrap().entries,
        100,
        "queued while the chain is away"
    );

    let chain = Anvil::start_on(&binary, port, &[]).await;
    chain.ask("anvil_loadState", json!([state])).await;
    assert_numbers(&chain, contract, 100).await;
    worker.finish(&chain, false).await;
    assert_numbers(&chain, contract, 300).await;
    let waiting = worker.journal.waiting(false).unwrap();
    assert_eq!((waiting.entries, waiting.removed, waiting.duplicates), (0, 100, 0));
}

#[tokio::test]
async fn a_reorganisation_of_three_blocks_takes_their_marks_and_they_return() {
    let Some(binary) = binary("reorganisation of depth 3") else { return };
    for mode in [UPDATES, Mode::Checkpoint] {
        let dir = tempfile::tempdir().unwrap();
        let chain = Anvil::start(&binary).await;
        let contract = contract(&chain, dir.path()).await;
        let mut config = config(&chain.url(), contract, dir.path(), mode);
        config.finality = Finality::Depth(5);
        let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
        // One block each: sent in one round, seen in the next.
        for i in 0..10 {
            worker.journal.want_updates(i, &updates(i, 1), worker.now_ms).unwrap();
            worker.journal.want_point(point(i + 1), "", worker.now_ms).unwrap();
            while worker.round().await.unwrap().sent == 0 {}
        }
        worker.round().await.unwrap();
        // On a slow machine a block may hold none: the marks of the last three blocks are what goes.
        let last = chain.height().await;
        let open = worker.journal.open_marks(100).unwrap();
        let going = open.iter().filter(|mark| mark.block + 3 > last).count();
        assert!(going > 0, "{} marks, none in the last three of {last} blocks", open.len());
        chain.ask("anvil_reorg", json!([3, []])).await;
        let round = worker.round().await.unwrap();
        assert_eq!(round.removed, going, "of {} that were not final", open.len());
        worker.finish(&chain, mode == Mode::Checkpoint).await;
        let waiting = worker.journal.waiting(mode == Mode::Checkpoint).unwrap();
        assert_eq!((waiting.entries, waiting.duplicates, waiting.reverted), (0, 0, 0));
        match mode {
            Mode::Checkpoint => {
                let sizes = sizes(&chain, contract).await;
                assert!(sizes.is_sorted_by(|a, b| a < b) && sizes.last() == Some(&10), "{sizes:?}");
            }
            Mode::Update { .. } => {
                assert_numbers(&chain, contract, 10).await;
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_above_the_ceilings_and_all_of_it_below() {
    let Some(binary) = binary("gas ceilings") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let journal = dir.path().join("anchor.db");
    let mut config = config(&chain.url(), contract, dir.path(), Mode::Update { batch: 100 });
    config.max_fee = 1;
    let mut worker = Worker::new(config.clone(), &journal);
    worker.journal.want_updates(0, &updates(0, 100), worker.now_ms).unwrap();
    let round = worker.round().await.unwrap();
    assert_eq!(round.sent, 0);
    assert!(matches!(round.held, Some(Hold::Fee { ceiling: 1, .. })), "{:?}", round.held);

    config.max_fee = 100 * GWEI;
    config.max_gas = 25_000;
    let mut worker = Worker::new(config.clone(), &journal);
    assert!(matches!(worker.round().await, Err(AnchorError::Gas { ceiling: 25_000, .. })));
    assert_numbers(&chain, contract, 0).await;

    // Enough for some of the hundred: as many as fit go together.
    config.max_gas = 300_000;
    let mut worker = Worker::new(config, &journal);
    worker.finish(&chain, false).await;
    assert_numbers(&chain, contract, 100).await;
}

#[tokio::test]
async fn a_transaction_that_lingers_is_replaced_by_a_dearer_one() {
    let Some(binary) = binary("replacement") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), UPDATES);
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    chain.ask("evm_setAutomine", json!([false])).await;
    worker.journal.want_updates(0, &updates(0, 1), worker.now_ms).unwrap();
    assert_eq!(worker.round().await.unwrap().sent, 1);
    assert_eq!(worker.round().await.unwrap().sent, 0, "it is under way");
    worker.now_ms += 61_000;
    assert_eq!(worker.round().await.unwrap().sent, 1, "a dearer one");
    let pool = chain.ask("txpool_status", json!([])).await;
    assert_eq!(number(&pool["pending"]), 1, "it took the place of the first");
    chain.ask("evm_setAutomine", json!([true])).await;
    chain.mine(1).await;
    worker.finish(&chain, false).await;
    assert_numbers(&chain, contract, 1).await;
}

#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_not_missed() {
    let Some(binary) = binary("foreign nonce") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), UPDATES);
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    let owner = format!("0x{}", data_encoding::HEXLOWER.encode(&worker.anchor.owner()));
    chain.ask("evm_setAutomine", json!([false])).await;
    let payment = json!([{ "from": owner, "to": owner, "value": "0x1" }]);
    chain.ask("eth_sendTransaction", payment).await;
    worker.journal.want_updates(0, &updates(0, 1), worker.now_ms).unwrap();
    let round = worker.round().await.unwrap();
    assert_eq!(
        (round.sent, round.held),
        (0, Some(Hold::ForeignTransaction)),
        "it waits for the other one"
    );
    chain.ask("evm_setAutomine", json!([true])).await;
    chain.mine(1).await;
    worker.finish(&chain, false).await;
    assert_numbers(&chain, contract, 1).await;
}

#[tokio::test]
async fn two_workers_with_one_account_anchor_everything_once() {
    let Some(binary) = binary("two workers with one account") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Update { batch: 7 });
    let mut workers =
        ["a.db", "b.db"].map(|name| Worker::new(config.clone(), &dir.path().join(name)));
    for worker in &mut workers {
        worker.journal.want_updates(0, &updates(0, 300), worker.now_ms).unwrap();
    }
    // Blocks are made between the rounds, so that both see the same chain at every round.
    chain.ask("evm_setAutomine", json!([false])).await;
    let [a, b] = &mut workers;
    let mut refused = 0;
    for _ in 0..2_000 {
        // Both at once; one of two transactions with the same nonce is refused or never included.
        let (one, other) = tokio::join!(a.round(), b.round());
        for result in [one, other] {
            match result {
                Ok(_) => {}
                Err(AnchorError::Refused { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        if a.journal.waiting(false).unwrap().entries + b.journal.waiting(false).unwrap().entries
            == 0
        {
            break;
        }
        chain.mine(1).await;
    }
    assert_numbers(&chain, contract, 300).await;
    for worker in [a, b] {
        let waiting = worker.journal.waiting(false).unwrap();
        assert_eq!(
            (waiting.entries, waiting.anchored, waiting.duplicates),
            (0, 300, 0),
            "{refused} refused"
        );
    }
}

#[tokio::test]
async fn a_worker_that_dies_around_sending_neither_loses_nor_repeats() {
    let Some(binary) = binary("crash around sending") else { return };
    for fail in [Fail::BeforeSend, Fail::AfterSend] {
        let dir = tempfile::tempdir().unwrap();
        let chain = Anvil::start(&binary).await;
        let contract = contract(&chain, dir.path()).await;
        let proxy = Proxy::start(chain.port).await;
        let config = config(&proxy.url(), contract, dir.path(), UPDATES);
        let journal = dir.path().join("anchor.db");
        for i in 0..10 {
            let mut worker = Worker::new(config.clone(), &journal);
            worker.journal.want_updates(i, &updates(i, 1), worker.now_ms).unwrap();
            proxy.set(fail);
            assert!(
                worker.round().await.is_err(),
                "the worker dies here, with update {i} on its way"
            );
            drop(worker);
            proxy.set(Fail::Never);
            let mut worker = Worker::new(config.clone(), &journal);
            worker.finish(&chain, false).await;
        }
        assert_numbers(&chain, contract, 10).await;
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_journal_finds_its_marks_on_the_chain() {
    let Some(binary) = binary("lost journal") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Update { batch: 10 });
    let mut worker = Worker::new(config.clone(), &dir.path().join("a.db"));
    worker.journal.want_updates(0, &updates(0, 55), worker.now_ms).unwrap();
    worker.finish(&chain, false).await;
    drop(worker);
    let mut worker = Worker::new(config, &dir.path().join("b.db"));
    worker.journal.want_updates(0, &updates(0, 60), worker.now_ms).unwrap();
    worker.finish(&chain, false).await;
    assert_numbers(&chain, contract, 60).await;
    assert!(worker.journal.evidence_of_update(3).unwrap().is_some(), "evidence was made again");
}

#[tokio::test]
async fn an_old_copy_and_another_history_are_reported_and_send_nothing() {
    let Some(binary) = binary("old copy of a log") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Checkpoint);
    let mut worker = Worker::new(config.clone(), &dir.path().join("a.db"));
    worker.journal.want_point(point(100), "", worker.now_ms).unwrap();
    worker.finish(&chain, true).await;

    let mut old = Worker::new(config.clone(), &dir.path().join("b.db"));
    old.journal.want_point(point(60), "", old.now_ms).unwrap();
    let found = old.round().await;
    assert!(matches!(found, Err(AnchorError::Behind { anchored: 100, own: 60 })), "{found:?}");

    let mut other = Worker::new(config, &dir.path().join("c.db"));
    let forked = homing_anchor::Point { size: 100, root: [1; 32] };
    other.journal.want_point(forked, "", other.now_ms).unwrap();
    let found = other.round().await;
    assert!(matches!(found, Err(AnchorError::Fork { size: 100 })), "{found:?}");
    assert_eq!(sizes(&chain, contract).await, [100]);
}
