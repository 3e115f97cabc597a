//! What only a server can do: several instances, a lost connection, another version.

use std::sync::Arc;

use homing_registry::storage::{PostgresStorage, Put, Query, Storage, StorageError};
use sqlx::{Connection, Executor, PgConnection};

use crate::fixtures::{T0, at, draft, key};
use crate::postgres_server::fresh;

async fn instances(url: &str, count: usize) -> Vec<Arc<PostgresStorage>> {
    // At the same time, into an empty schema: one of them creates it.
    let starting: Vec<_> = (0..count)
        .map(|_| {
            let url = url.to_owned();
            tokio::spawn(async move { PostgresStorage::connect(&url).await.unwrap() })
        })
        .collect();
    let mut instances = Vec::new();
    for instance in starting {
        instances.push(Arc::new(instance.await.unwrap()));
    }
    instances
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_lose_no_update_and_agree_on_the_order() {
    let Some(url) = fresh("instances").await else { return };
    let instances = instances(&url, 3).await;
    let writers: Vec<_> = (0..300)
        .map(|n| {
            let store = instances[n as usize % 3].clone();
            // Ten identities, thirty words each, in an order that is neither up nor down.
            let registration = draft(n % 10, u64::from(n) * 37 % 300).done();
            tokio::spawn(async move { store.put(at(300), registration).await.unwrap() })
        })
        .collect();
    // A reader that resumes after the last number it saw misses nothing.
    let (mut seen, mut last) = (Vec::new(), 0);
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        for change in instances[0].changes(last, 100).await.unwrap() {
            last = change.number;
            seen.push(change);
        }
    }
    let mut won = 0;
    for writer in writers {
        won += usize::from(matches!(writer.await.unwrap(), Put::Created | Put::Updated));
    }
    seen.extend(instances[1].changes(last, 1_000).await.unwrap());
    assert_eq!(seen, instances[2].changes(0, 1_000).await.unwrap());
    assert_eq!(seen.len(), won);
    for n in 0..10 {
        let id = key(n).node_id();
        let highest = (0..300).filter(|i| i % 10 == u64::from(n)).map(|i| i * 37 % 300).max();
        let kept = instances[0].entity(&id).await.unwrap().unwrap();
        assert_eq!(Some(kept.record.sequence.0 - T0), highest);
        let own: Vec<_> = seen.iter().filter(|c| c.node_id == id).map(|c| c.sequence).collect();
        assert!(own.is_sorted_by(|a, b| a < b), "{own:?}");
    }
    let query = Query { text: "agent 3".into(), limit: 1, ..Query::default() };
    assert_eq!(instances[2].search(at(300), &query).await.unwrap().total, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_connection_it_goes_on() {
    let Some(url) = fresh("lost").await else { return };
    let url = format!("{url}&application_name=lost");
    let store = PostgresStorage::connect(&url).await.unwrap();
    store.put(at(0), draft(1, 0).done()).await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'lost'";
    other.execute(kill).await.unwrap();
    let mut errors = 0;
    loop {
        match store.put(at(5), draft(2, 0).done()).await {
            Ok(put) => break assert!(matches!(put, Put::Created | Put::Same)),
            Err(StorageError::Database { retryable: true, .. }) => errors += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(errors < 50, "it never connects again");
    }
    assert!(store.entity(&key(2).node_id()).await.unwrap().is_some());
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let Some(url) = fresh("newer").await else { return };
    drop(PostgresStorage::connect(&url).await.unwrap());
    let mut other = PgConnection::connect(&url).await.unwrap();
    other.execute("INSERT INTO homing_schema (version) VALUES (9000)").await.unwrap();
    let refused = PostgresStorage::connect(&url).await.unwrap_err();
    assert!(matches!(refused, StorageError::Newer { found: 9_000, .. }), "{refused}");
}

#[tokio::test]
async fn who_does_not_answer_is_said_without_the_password() {
    for url in ["postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@[::", "hunter2"] {
        let refused = PostgresStorage::connect(url).await.unwrap_err().to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
