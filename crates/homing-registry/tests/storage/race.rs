//! Many at once.

use std::sync::Arc;

use homing_registry::storage::{ChangeKind, Put, Storage};

use crate::fixtures::{T0, at, draft, key};

type Store = Arc<dyn Storage>;

pub(crate) async fn the_highest_of_a_hundred_writers_wins(store: Store) {
    let writers: Vec<_> = (0..100)
        .map(|n| {
            // In an order that is neither up nor down.
            let registration = draft(1, n * 37 % 100).done();
            let store = store.clone();
            tokio::spawn(async move { store.put(at(100), registration).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Put::Created | Put::Updated => won += 1,
            Put::Stale { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let id = key(1).node_id();
    let kept = store.entity(&id).await.unwrap().unwrap();
    assert_eq!(kept.record.sequence.0, T0 + 99);
    let changes = store.changes(0, 1_000).await.unwrap();
    assert_eq!(changes.len(), won, "one change for each that won");
    assert!(changes.is_sorted_by(|a, b| a.sequence < b.sequence), "{changes:?}");
    let mut versions = store.history(&id, None, 64).await.unwrap().items;
    versions.reverse();
    let shown: Vec<_> = versions.iter().map(|v| v.record.sequence).collect();
    let told: Vec<_> = changes.iter().map(|c| c.sequence).collect();
    assert!(told.ends_with(&shown));
}

pub(crate) async fn changes_are_seen_in_their_order_by_a_reader(store: Store) {
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..40 {
                    store.put(at(0), draft(writer * 100 + n, 0).done()).await.unwrap();
                }
            })
        })
        .collect();
    // A reader that resumes after the last number it saw misses nothing.
    let (mut seen, mut last) = (0, 0);
    while seen < 320 {
        for change in store.changes(last, 50).await.unwrap() {
            assert!(change.number > last);
            assert_eq!(change.kind, ChangeKind::Registered);
            (seen, last) = (seen + 1, change.number);
        }
        if writers.iter().all(tokio::task::JoinHandle::is_finished)
            && store.changes(last, 1).await.unwrap().is_empty()
        {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen, 320);
}

pub(crate) async fn an_import_and_single_writes_agree(store: Store) {
    let many: Vec<_> = (0..200).map(|n| draft(n % 50, u64::from(n / 50)).done()).collect();
    let import = tokio::spawn({
        let (store, many) = (store.clone(), many.clone());
        async move { store.put_many(at(9), many).await.unwrap() }
    });
    for registration in many.into_iter().rev() {
        store.put(at(9), registration).await.unwrap();
    }
    assert_eq!(import.await.unwrap().len(), 200);
    for n in 0..50 {
        let kept = store.entity(&key(n).node_id()).await.unwrap().unwrap();
        assert_eq!(kept.record.sequence.0, T0 + 3);
    }
    assert_eq!(store.totals(at(9)).await.unwrap().entities, 50);
}
