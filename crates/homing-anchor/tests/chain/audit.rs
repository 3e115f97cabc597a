//! An auditor with the evidence and the contract's address, and nothing else of ours.

use homing_anchor::evm::{Mode, standing};
use homing_anchor::{Evidence, EvidenceError, Finding, Point};

use crate::anvil::{Anvil, CHAIN_ID, binary};
use crate::worker::{ORIGIN, Worker, config, contract, point, update, updates};

#[tokio::test]
async fn evidence_holds_offline_and_the_chain_agrees() {
    let Some(binary) = binary("an auditor") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Checkpoint);
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    worker.journal.want_point(point(1_000), "", worker.now_ms).unwrap();
    worker.finish(&chain, true).await;
    let (covered, evidence) =
        worker.journal.evidence_of_entry(17).unwrap().expect("entry 17 is covered");
    let covered = covered.point;
    assert_eq!(covered, point(1_000));
    assert!(worker.journal.evidence_of_entry(1_000).unwrap().is_none(), "the next entry is not");

    let bytes = evidence.to_bytes();
    let evidence = Evidence::from_bytes(&bytes).unwrap();
    let finding = evidence.confirm_point(ORIGIN, &covered, &[]).unwrap();
    let Finding::Chain { chain_id, contract: said_by, owner, .. } = &finding else {
        panic!("{finding:?}")
    };
    assert_eq!((*chain_id, *said_by, *owner), (CHAIN_ID, contract, worker.anchor.owner()));
    println!("evidence of a checkpoint: {} bytes", bytes.len());

    let wrong = |result: Result<Finding, EvidenceError>| {
        assert!(matches!(result, Err(EvidenceError::Subject(_))))
    };
    wrong(evidence.confirm_point("homing.example/log/2", &covered, &[]));
    wrong(evidence.confirm_point(ORIGIN, &Point { size: 999, ..covered }, &[]));
    wrong(evidence.confirm_point(ORIGIN, &Point { root: [0; 32], ..covered }, &[]));

    let there = standing(&chain.url(), &finding, contract).await.unwrap();
    assert!(there.depth >= 3, "{there:?}");
    assert!(
        standing(&chain.url(), &finding, [7; 20]).await.is_err(),
        "another contract was expected"
    );
    let elsewhere = Anvil::start(&binary).await;
    elsewhere.mine(10).await;
    assert!(
        standing(&elsewhere.url(), &finding, contract).await.is_err(),
        "a chain without that block"
    );
}

#[tokio::test]
async fn no_byte_of_evidence_can_be_changed() {
    let Some(binary) = binary("tampered evidence") else { return };
    let dir = tempfile::tempdir().unwrap();
    let chain = Anvil::start(&binary).await;
    let contract = contract(&chain, dir.path()).await;
    let config = config(&chain.url(), contract, dir.path(), Mode::Update { batch: 3 });
    let mut worker = Worker::new(config, &dir.path().join("anchor.db"));
    worker.journal.want_updates(0, &updates(0, 3), worker.now_ms).unwrap();
    worker.finish(&chain, false).await;
    let evidence = worker.journal.evidence_of_update(2).unwrap().expect("update 2 is final");
    let finding = evidence.confirm_update(ORIGIN, 2, &update(2)).unwrap();
    assert!(evidence.confirm_update(ORIGIN, 2, &update(1)).is_err(), "another update");
    assert!(evidence.confirm_update(ORIGIN, 3, &update(2)).is_err(), "another number");

    let bytes = evidence.to_bytes();
    let mut changed = 0;
    for at in 0..bytes.len() {
        let mut copy = bytes.clone();
        copy[at] ^= 1;
        let Ok(read) = Evidence::from_bytes(&copy) else { continue };
        let Ok(found) = read.confirm_update(ORIGIN, 2, &update(2)) else { continue };
        // Chain id, contract, transaction hash and the first log are hints that no hash covers, and say so; whatever of the header
        // is changed is another block, which the chain does not have.
        assert!(found != finding || read != evidence, "byte {at}");
        if found != finding {
            assert!(
                standing(&chain.url(), &found, contract).await.is_err()
                    || is_hint(&found, &finding),
                "byte {at}"
            );
        }
        changed += 1;
    }
    println!("{changed} of {} changes of one byte need the chain to be found", bytes.len());
}

/// Only the claimed transaction hash differs: nothing rests on it.
fn is_hint(found: &Finding, finding: &Finding) -> bool {
    match (found.clone(), finding) {
        (
            Finding::Chain { chain_id, contract, owner, block, block_hash, time_ms, .. },
            Finding::Chain { transaction, .. },
        ) => {
            let transaction = *transaction;
            Finding::Chain { chain_id, contract, owner, transaction, block, block_hash, time_ms }
                == *finding
        }
        _ => false,
    }
}
