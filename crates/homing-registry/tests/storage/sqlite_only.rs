//! What only a file can do: be full, old, new, damaged or torn.

use homing_registry::storage::{Hits, Put, Query, SqliteStorage, Storage, StorageError};
use rusqlite::Connection;

use crate::backend::{self, Sqlite};
use crate::fixtures::{HOUR, at, draft, key};

/// A second connection, as somebody with the file in hands has it.
fn beside(backend: &Sqlite) -> Connection {
    Connection::open(backend.path()).unwrap()
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let backend = backend::sqlite();
    backend.storage.put(at(0), draft(1, 0).title("kept words").done()).await.unwrap();
    let folder = backend.folder;
    drop(backend.storage);
    let again = backend::open(folder.path());
    assert!(again.entity(&key(1).node_id()).await.unwrap().is_some());
    let query = Query { text: "kept".into(), limit: 1, ..Query::default() };
    assert_eq!(again.search(at(0), &query).await.unwrap().total, 1);
}

#[tokio::test]
async fn a_newer_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    let file = Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 9_000).unwrap();
    drop(file);
    let before = std::fs::read(&path).unwrap();
    let refused = SqliteStorage::open(&path).unwrap_err();
    assert!(matches!(refused, StorageError::Newer { found: 9_000, .. }), "{refused}");
    let file = Connection::open(&path).unwrap();
    let tables: i64 =
        file.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).unwrap();
    assert_eq!((before.len(), tables), (std::fs::read(&path).unwrap().len(), 0));
}

#[tokio::test]
async fn no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    std::fs::write(&path, "not a database at all, but long enough to look at".repeat(99)).unwrap();
    let refused = SqliteStorage::open(&path).unwrap_err();
    assert!(matches!(refused, StorageError::Database { retryable: false, .. }), "{refused}");
    assert!(SqliteStorage::open(folder.path().join("no/such/folder")).is_err());
}

#[tokio::test]
async fn a_file_of_an_older_version_is_brought_up_to_date_with_its_index() {
    // Versions 1 and 2 had the same rows; 1 had no index at all, 2 had one that SQLite kept.
    let before = [
        "DROP INDEX counts_by_count; PRAGMA user_version = 1;",
        "CREATE VIRTUAL TABLE words USING fts5 (strong, weak, facets, content='');
         INSERT INTO words (rowid, strong) VALUES (1, 'number1'); PRAGMA user_version = 2;",
    ];
    for older in before {
        let backend = backend::sqlite();
        for n in 0..20 {
            let draft = draft(n, 0).title(&format!("number{n} fish")).tags(&["sea"]);
            backend.storage.put(at(0), draft.done()).await.unwrap();
        }
        let file = beside(&backend);
        let same = "UPDATE entities SET indexed = NULL, terms = x'00';
                    ALTER TABLE entities RENAME COLUMN terms TO profile;";
        file.execute_batch(&format!("{same} {older}")).unwrap();
        let folder = backend.folder;
        drop((file, backend.storage));
        let again = backend::open(folder.path());
        let query = Query { text: "number7".into(), limit: 1, ..Query::default() };
        assert_eq!(again.search(at(0), &query).await.unwrap().total, 1);
        assert_eq!(again.tags(at(0), 1).await.unwrap()[0].count, 20);
        again.check().await.unwrap();
    }
}

#[tokio::test]
async fn the_index_is_made_from_the_rows_after_every_kind_of_change() {
    let backend = backend::sqlite();
    let store = &backend.storage;
    for n in 0..40 {
        let draft =
            draft(n, 0).title(&format!("number{n} bird")).lives(HOUR / 2 * (1 + u64::from(n)));
        store.put(at(0), draft.done()).await.unwrap();
    }
    for n in 0..10 {
        store.put(at(1), draft(n, 1).title("other words").done()).await.unwrap();
        store.put(at(1), draft(n + 10, 1).withdrawn().done()).await.unwrap();
        store.heartbeat(&key(n + 20).node_id(), at(2).wall).await.unwrap();
    }
    store.sweep(at(18 * HOUR)).await.unwrap();
    backend.check().await;
    let query = Query { text: "bird".into(), limit: 50, ..Query::default() };
    let here = store.search(at(18 * HOUR), &query).await.unwrap();
    assert!(here.total > 0 && here.total < 10, "{}", here.total);
    let folder = backend.folder;
    drop(backend.storage);
    let again = backend::open(folder.path());
    let there = again.search(at(18 * HOUR), &query).await.unwrap();
    let seen = |hits: &Hits| -> Vec<_> {
        hits.hits.iter().map(|h| (h.entity.node_id(), h.score.matched.clone())).collect()
    };
    assert_eq!(seen(&here), seen(&there));
}

#[tokio::test]
async fn a_full_disk_is_said_and_changes_nothing() {
    let backend = backend::sqlite();
    backend.storage.put(at(0), draft(1, 0).done()).await.unwrap();
    let folder = backend.folder;
    drop(backend.storage);
    let small = SqliteStorage::open_with_pages_max(folder.path().join("registry.db"), 80).unwrap();
    let mut kept = 1;
    let error = loop {
        let card = vec![b'x'; 20_000];
        match small.put(at(0), draft(kept + 1, 0).with_card(&card).done()).await {
            Ok(put) => assert_eq!(put, Put::Created),
            Err(error) => break error,
        }
        kept += 1;
        assert!(kept < 100, "80 pages have 320 kB");
    };
    assert!(matches!(error, StorageError::Full), "{error}");
    let at_end = small.totals(at(0)).await.unwrap();
    assert_eq!((at_end.entities, at_end.changes), (u64::from(kept), u64::from(kept)));
    assert!(small.entity(&key(kept + 1).node_id()).await.unwrap().is_none());
    small.check().await.unwrap();
    drop(small);
    let roomy = backend::open(folder.path());
    assert_eq!(roomy.put(at(0), draft(kept + 1, 0).done()).await.unwrap(), Put::Created);
}

#[tokio::test]
async fn one_that_fails_does_not_take_its_batch_along() {
    let backend = backend::sqlite();
    let poisoned = draft(13, 0).done();
    beside(&backend)
        .execute_batch(&format!(
            "CREATE TRIGGER poison BEFORE INSERT ON entities WHEN NEW.node_id = x'{}'
             BEGIN SELECT RAISE(ABORT, 'poisoned'); END;",
            key(13).node_id()
        ))
        .unwrap();
    let writers: Vec<_> = (0..40)
        .map(|n| {
            let store = backend.storage.clone();
            tokio::spawn(async move { store.put(at(0), draft(n, 0).done()).await })
        })
        .collect();
    for (n, writer) in writers.into_iter().enumerate() {
        let answer = writer.await.unwrap();
        assert_eq!(answer.is_err(), n == 13, "{n}: {answer:?}");
    }
    assert!(backend.storage.put(at(0), poisoned).await.is_err());
    assert_eq!(backend.storage.totals(at(0)).await.unwrap().entities, 39);
    assert_eq!(backend.storage.changes(0, 99).await.unwrap().len(), 39);
    beside(&backend).execute_batch("DROP TRIGGER poison").unwrap();
    backend.check().await;
}

#[tokio::test]
async fn a_damaged_row_is_an_error_and_not_an_answer() {
    let backend = backend::sqlite();
    backend.storage.put(at(0), draft(1, 0).done()).await.unwrap();
    beside(&backend).execute("UPDATE contents SET record = zeroblob(300)", []).unwrap();
    assert!(backend.storage.entity(&key(1).node_id()).await.is_err());
    backend.storage.ready().await.unwrap();
}
