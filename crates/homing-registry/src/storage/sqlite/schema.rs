//! Tables and migrations of the SQLite backend.
//!
//! `PRAGMA user_version` counts migrations: version *n* is reached from *n − 1* by `MIGRATIONS[n-1]`, in one
//! transaction. A newer file is refused, never guessed at. What the index is made from (`entities`, some
//! 1,000 bytes) lies apart from what only a hit needs (`contents`, `cards`): opening reads no more.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::failed;
use crate::storage::StorageError;

/// The schema that this version writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Another process may hold the file for this long (backup tools do).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages that a reading connection keeps in memory, in KiB.
const CACHE_KIB: i64 = 8 * 1_024;
/// Pages that the writing connection keeps: those of one import and the inner pages of every table.
const WRITER_CACHE_KIB: i64 = 32 * 1_024;
/// The write-ahead log is folded into the file at this many pages (4 KiB each): a page that many
/// transactions change is then written once.
const CHECKPOINT_PAGES: i64 = 16_384;

const MIGRATIONS: &[&str] = &[
    "
-- seq is the order of registration and never given twice. Times are Unix milliseconds. until: the row, or
-- the floor that a sweep leaves, stands at least so long. indexed: digest of what the index has; NULL: nothing.
CREATE TABLE entities (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, node_id BLOB NOT NULL UNIQUE, name TEXT,
  sequence INTEGER NOT NULL, digest BLOB NOT NULL, issued INTEGER NOT NULL, expires INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL, until INTEGER NOT NULL, heartbeat INTEGER, registered INTEGER NOT NULL,
  updated INTEGER NOT NULL, source INTEGER NOT NULL, indexed BLOB, profile BLOB NOT NULL) STRICT;
CREATE INDEX entities_by_name ON entities (name, seq) WHERE name IS NOT NULL;
CREATE INDEX entities_by_expiry ON entities (withdrawn, expires);
CREATE INDEX entities_by_until ON entities (until) WHERE withdrawn = 1;
CREATE TABLE contents (seq INTEGER PRIMARY KEY, record BLOB NOT NULL, listing TEXT NOT NULL) STRICT;
CREATE TABLE cards (
  seq INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, fetched INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
-- Versions that were replaced; ids rise in the order in which they were present.
CREATE TABLE history (
  id INTEGER PRIMARY KEY AUTOINCREMENT, entity INTEGER NOT NULL, record BLOB NOT NULL,
  received INTEGER NOT NULL, source INTEGER NOT NULL) STRICT;
CREATE INDEX history_by_entity ON history (entity, id);
-- Records of one identity with one sequence and other bytes.
CREATE TABLE evidence (
  node_id BLOB NOT NULL, sequence INTEGER NOT NULL, digest BLOB NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (node_id, sequence, digest)) STRICT, WITHOUT ROWID;
-- What was swept and may not come back by a replay.
CREATE TABLE floors (
  node_id BLOB PRIMARY KEY, sequence INTEGER NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX floors_by_until ON floors (until);
CREATE TABLE changes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, node_id BLOB NOT NULL,
  sequence INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
-- How many indexed entities have a category (c) or tag (t).
CREATE TABLE counts (
  kind TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (kind, name))
  STRICT, WITHOUT ROWID;
",
    "
CREATE INDEX counts_by_count ON counts (kind, count DESC, name);
",
    "
-- The index is in memory now (an FTS5 table before): terms is what it is made of.
DROP TABLE IF EXISTS words;
ALTER TABLE entities RENAME COLUMN profile TO terms;
",
];

/// Opens a connection for writing and brings the schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StorageError> {
    let mut connection = Connection::open(path).map_err(|e| failed(&e))?;
    prepare_connection(&connection).map_err(|e| failed(&e))?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|e| failed(&e))?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(|e| failed(&e))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn prepare_connection(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), StorageError> {
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|e| failed(&e))?;
    if found > SCHEMA_VERSION {
        return Err(StorageError::Newer { found, known: SCHEMA_VERSION });
    }
    for version in found..SCHEMA_VERSION {
        step(connection, version)?;
    }
    Ok(())
}

/// From `version` to the next, whole or not at all.
fn step(connection: &mut Connection, version: i64) -> Result<(), StorageError> {
    let index = usize::try_from(version)
        .map_err(|_| StorageError::Newer { found: version, known: SCHEMA_VERSION })?;
    let transaction = connection.transaction().map_err(|e| failed(&e))?;
    transaction.execute_batch(MIGRATIONS[index]).map_err(|e| failed(&e))?;
    if version == 2 {
        super::live::terms_again(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", version + 1).map_err(|e| failed(&e))?;
    transaction.commit().map_err(|e| failed(&e))
}
