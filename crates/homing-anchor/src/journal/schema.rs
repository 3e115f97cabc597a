//! The journal's tables.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::{Journal, JournalError, sqlite};

/// Grows with every change of the tables.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE points (size INTEGER PRIMARY KEY, root BLOB NOT NULL, note TEXT NOT NULL, added_ms INTEGER NOT NULL);
CREATE TABLE updates (
  number INTEGER PRIMARY KEY, entry INTEGER UNIQUE, body BLOB NOT NULL, added_ms INTEGER NOT NULL);
CREATE TABLE flights (
  nonce INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, root BLOB, fee BLOB NOT NULL,
  priority BLOB NOT NULL, sent_ms INTEGER NOT NULL, raw BLOB NOT NULL, hashes BLOB NOT NULL, landed INTEGER NOT NULL);
CREATE TABLE marks (
  id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL, root BLOB, block INTEGER NOT NULL,
  block_hash BLOB NOT NULL, tx BLOB NOT NULL, final INTEGER NOT NULL, evidence BLOB,
  UNIQUE (block_hash, tx, first, last));
CREATE INDEX marks_by_last ON marks (last);
";

/// The file is made before SQLite opens it, readable by its owner alone.
pub(super) fn private(path: &Path) -> io::Result<()> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(|_| ())
}

/// Makes the tables, or checks that they are ours.
pub(super) fn prepare(journal: &mut Journal) -> Result<(), JournalError> {
    let path = journal.path.clone();
    let failed = |e| sqlite(&path, e);
    let db = &mut journal.connection;
    db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    let transaction = db.transaction().map_err(failed)?;
    let version: i64 =
        transaction.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(failed)?;
    if version > VERSION {
        return Err(JournalError::Newer { path });
    }
    if version == 0 {
        transaction.execute_batch(TABLES).map_err(failed)?;
        transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    }
    let select = "SELECT value FROM meta WHERE key = 'origin'";
    let owner: Option<String> =
        transaction.query_row(select, [], |r| r.get(0)).optional().map_err(failed)?;
    match owner {
        Some(origin) if origin != journal.origin => {
            return Err(JournalError::Foreign { path, origin });
        }
        Some(_) => {}
        None => set(&transaction, "origin", &journal.origin).map_err(failed)?,
    }
    transaction.commit().map_err(failed)
}

pub(super) fn set_number(db: &Connection, key: &str, value: u64) -> rusqlite::Result<()> {
    set(db, key, &value.to_string())
}

fn set(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", [key, value]).map(|_| ())
}
