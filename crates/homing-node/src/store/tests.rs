use homing_base::statement::SignedStatement;
use homing_base::{
    AgentRecord, IdentityKey, InstanceId, Mono, NodeId, Now, Record, RelayRef, Seq, Statement,
    StatementKind, Wall,
};
use homing_core::Write;
use homing_core::dht::{Contact, Reach};

use super::*;

const NOW: Now = Now { mono: Mono(0), wall: Wall(1_795_230_000_000) };

fn key(seed: u8) -> IdentityKey {
    IdentityKey::from_seed([seed; 32])
}

fn record(seed: u8, sequence: u64) -> Record {
    let key = key(seed);
    let record = AgentRecord::new(key.public(), InstanceId([9; 32]), Seq(sequence), NOW.wall);
    record.sign(&key).unwrap()
}

fn statement(from: u8, to: NodeId, sequence: u64) -> SignedStatement {
    let from = key(from);
    Statement {
        kind: StatementKind::Grant,
        from: from.public(),
        to,
        sequence: Seq(sequence),
        issued: NOW.wall,
        expires: None,
        services: None,
        reason: None,
        name: None,
    }
    .sign(&from)
    .unwrap()
}

fn open(dir: &Path, seed: u8) -> (Store, Contents) {
    Store::open(&dir.join("homing.db"), key(seed).node_id(), NOW).unwrap()
}

fn everything() -> Batch {
    let (me, peer) = (key(1).node_id(), key(2).node_id());
    vec![
        Write::OwnRecord(record(1, 5)),
        Write::Record(record(2, 7)),
        Write::Statement(statement(1, peer, 1)),
        Write::Statement(statement(2, me, 2)),
        Write::Alias { name: "bob".parse().unwrap(), peer: Some(peer) },
        Write::Pin { name: "agent-b".parse().unwrap(), peer },
        Write::LastAddresses { peer, direct: vec!["[::1]:7".parse().unwrap()] },
        Write::LastSeen { peer, at: Wall(77) },
        Write::Evidence { first: record(2, 7), second: record(2, 7) },
        Write::DhtContacts(contacts(3)),
    ]
}

/// One with an address, one with a relay and its pin, one with neither.
fn contacts(seed: u8) -> Vec<Contact<Reach>> {
    let relay: RelayRef = "https://relay.example:3340/".parse().unwrap();
    let places = [
        (Some("192.0.2.7:41641".parse().unwrap()), None),
        (None, Some(Arc::new(relay))),
        (None, None),
    ];
    let contact = |(i, (direct, relay)): (usize, _)| Contact {
        id: NodeId([seed; 32]),
        place: Reach { instance: InstanceId([i as u8; 32]), direct, relay },
    };
    places.into_iter().enumerate().map(contact).collect()
}

#[tokio::test]
async fn what_was_persisted_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, contents) = open(dir.path(), 1);
    assert_eq!(contents.stored.own_record, None);
    store.persist(everything()).await.unwrap();
    store.remember_port(4242).await.unwrap();
    assert_eq!((store.counts().batches(), store.counts().writes()), (1, 10));
    drop(store);

    let (_store, contents) = open(dir.path(), 1);
    let peer = key(2).node_id();
    let stored = contents.stored;
    assert_eq!(stored.own_record, Some(record(1, 5)));
    assert_eq!(stored.records, vec![record(2, 7)]);
    assert_eq!(stored.statements.len(), 2);
    assert_eq!(stored.aliases, vec![("bob".parse().unwrap(), peer)]);
    assert_eq!(stored.pins, vec![("agent-b".parse().unwrap(), peer)]);
    assert_eq!(stored.last_addresses, vec![(peer, vec!["[::1]:7".parse().unwrap()])]);
    assert_eq!(stored.last_seen, vec![(peer, Wall(77))]);
    assert_eq!(stored.dht_contacts, contacts(3));
    assert_eq!((contents.last_port, contents.damaged_rows), (Some(4242), 0));
}

#[tokio::test]
async fn contacts_of_the_dht_replace_the_list_before() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    store.persist(vec![Write::DhtContacts(contacts(3))]).await.unwrap();
    store.persist(vec![Write::DhtContacts(contacts(4)[..2].to_vec())]).await.unwrap();
    drop(store);
    assert_eq!(open(dir.path(), 1).1.stored.dht_contacts, contacts(4)[..2]);
}

/// Takes away every table that a later version brought.
fn back_to_the_first_version(path: &Path) {
    const FIRST: &str = "'meta', 'agents', 'evidence', 'statements', 'aliases', 'pins', \
                         'last_addresses', 'last_seen'";
    let raw = Connection::open(path).unwrap();
    let sql =
        format!("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ({FIRST})");
    let mut query = raw.prepare(&sql).unwrap();
    let later: Vec<String> =
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(later.contains(&"dht_contacts".to_owned()));
    later.iter().for_each(|table| raw.execute_batch(&format!("DROP TABLE {table}")).unwrap());
    raw.pragma_update(None, "user_version", 1).unwrap();
}

#[tokio::test]
async fn a_store_of_the_first_version_is_upgraded_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    let mut before = everything();
    before.pop();
    store.persist(before).await.unwrap();
    drop(store);
    back_to_the_first_version(&dir.path().join("homing.db"));

    let (store, contents) = open(dir.path(), 1);
    assert_eq!((contents.damaged_rows, contents.stored.dht_contacts.len()), (0, 0));
    assert_eq!(contents.stored.own_record, Some(record(1, 5)));
    assert_eq!((contents.stored.statements.len(), contents.stored.pins.len()), (2, 1));
    store.persist(vec![Write::DhtContacts(contacts(3))]).await.unwrap();
    drop(store);
    assert_eq!(open(dir.path(), 1).1.stored.dht_contacts, contacts(3));
}

#[tokio::test]
async fn a_statement_replaces_the_one_of_its_pair_only() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    let (me, peer) = (key(1).node_id(), key(2).node_id());
    for sequence in [1, 2] {
        store.persist(vec![Write::Statement(statement(1, peer, sequence))]).await.unwrap();
    }
    store.persist(vec![Write::Statement(statement(2, me, 9))]).await.unwrap();
    drop(store);
    let (_store, contents) = open(dir.path(), 1);
    let mut sequences: Vec<_> = contents.stored.statements.iter().map(|s| s.sequence.0).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, vec![2, 9]);
}

#[tokio::test]
async fn forgetting_a_peer_keeps_its_statements_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    store.persist(everything()).await.unwrap();
    store.persist(vec![Write::ForgetRecord(key(2).node_id())]).await.unwrap();
    store.persist(vec![Write::ForgetRecord(key(1).node_id())]).await.unwrap();
    drop(store);
    let (_store, Contents { stored, .. }) = open(dir.path(), 1);
    assert!(stored.own_record.is_some());
    assert!(stored.records.is_empty() && stored.last_addresses.is_empty());
    assert_eq!((stored.statements.len(), stored.aliases.len(), stored.pins.len()), (2, 1, 1));
}

#[tokio::test]
async fn a_store_belongs_to_one_identity() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 1));
    let path = dir.path().join("homing.db");
    let error = Store::open(&path, key(2).node_id(), NOW).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { owner, .. } if owner == key(1).node_id()));
    assert_eq!(Store::owner(&path).unwrap(), Some(key(1).node_id()));
    drop(open(dir.path(), 1));
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 1));
    let path = dir.path().join("homing.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path, key(1).node_id(), NOW).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }));
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("homing.db");
    std::fs::write(&path, "this is no database, it only has its name ".repeat(50)).unwrap();
    let error = Store::open(&path, key(1).node_id(), NOW).unwrap_err();
    assert!(matches!(error, StoreError::Sqlite { .. }), "{error:?}");
}

#[tokio::test]
async fn damaged_rows_are_counted_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    store.persist(everything()).await.unwrap();
    drop(store);
    let raw = Connection::open(dir.path().join("homing.db")).unwrap();
    raw.execute("UPDATE agents SET record = zeroblob(100) WHERE own = 0", []).unwrap();
    drop(raw);
    let (_store, contents) = open(dir.path(), 1);
    assert_eq!(contents.damaged_rows, 1);
    assert!(contents.stored.own_record.is_some() && contents.stored.records.is_empty());
}

/// The state on disk while the writer still runs is what a killed process would leave.
#[tokio::test]
async fn a_copy_taken_after_any_batch_holds_exactly_the_batches_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    for sequence in 1..=20 {
        let batch = vec![
            Write::OwnRecord(record(1, sequence)),
            Write::LastSeen { peer: key(2).node_id(), at: Wall(sequence) },
        ];
        store.persist(batch).await.unwrap();
        let crashed = tempfile::tempdir().unwrap();
        for name in ["homing.db", "homing.db-wal"] {
            std::fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
        }
        let (_store, Contents { stored, .. }) = open(crashed.path(), 1);
        assert_eq!(stored.own_record.map(|r| r.sequence), Some(Seq(sequence)));
        assert_eq!(stored.last_seen, vec![(key(2).node_id(), Wall(sequence))]);
    }
}

/// A torn write-ahead log, cut at every length, never yields half a batch.
#[tokio::test]
async fn a_log_torn_anywhere_holds_whole_batches_only() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    for sequence in 1..=4 {
        let batch = vec![
            Write::OwnRecord(record(1, sequence)),
            Write::LastSeen { peer: key(2).node_id(), at: Wall(sequence) },
        ];
        store.persist(batch).await.unwrap();
    }
    let database = std::fs::read(dir.path().join("homing.db")).unwrap();
    let log = std::fs::read(dir.path().join("homing.db-wal")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=log.len()).step_by(499) {
        let torn = tempfile::tempdir().unwrap();
        std::fs::write(torn.path().join("homing.db"), &database).unwrap();
        std::fs::write(torn.path().join("homing.db-wal"), &log[..cut]).unwrap();
        let (_store, Contents { stored, .. }) = open(torn.path(), 1);
        let record = stored.own_record.map(|r| r.sequence.0);
        assert_eq!(record, stored.last_seen.first().map(|(_, at)| at.0), "cut at {cut}");
        seen.insert(record);
    }
    assert!(seen.len() >= 4, "the cuts fell between batches too: {seen:?}");
}

#[tokio::test]
async fn a_failed_write_changes_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1);
    store.persist(vec![Write::OwnRecord(record(1, 1))]).await.unwrap();
    // As a full disk: no page may be added, and the batch needs many.
    let mut connection = open_connection(&dir.path().join("homing.db")).unwrap();
    let pages: i64 = connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages).unwrap();
    let mut batch = vec![Write::OwnRecord(record(1, 2))];
    batch.extend((10..60).map(|seed| Write::Record(record(seed, 1))));
    let counts = StoreCounts::default();
    let error = write::batch(&mut connection, &batch, &counts).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    assert_eq!(counts.batches(), 0);
    drop((connection, store));
    let (_store, contents) = open(dir.path(), 1);
    assert_eq!(contents.stored.own_record, Some(record(1, 1)));
    assert!(contents.stored.records.is_empty());
}
