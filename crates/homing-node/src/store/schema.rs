//! The tables, their version and their owner.
//!
//! `PRAGMA user_version` counts migrations: version *n* is reached from *n − 1* by `MIGRATIONS[n-1]`,
//! in one transaction. A newer file is refused, never guessed at.

use std::path::Path;

use homing_base::NodeId;
use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// The schema that this version writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

const MIGRATIONS: &[&str] = &["
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- Newest signed record per identity; own = 1 for this agent's.
CREATE TABLE agents (node_id BLOB PRIMARY KEY, own INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
-- Pairs of records that contradict each other, by digest.
CREATE TABLE evidence (digest BLOB PRIMARY KEY, node_id BLOB NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL)
  WITHOUT ROWID;
-- Newest signed trust statement per ordered pair.
CREATE TABLE statements (speaker BLOB NOT NULL, subject BLOB NOT NULL, statement BLOB NOT NULL,
  PRIMARY KEY (speaker, subject)) WITHOUT ROWID;
CREATE TABLE aliases (name TEXT PRIMARY KEY, node_id BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE pins (name TEXT PRIMARY KEY, node_id BLOB NOT NULL) WITHOUT ROWID;
-- Space-separated socket addresses, most recent first.
CREATE TABLE last_addresses (node_id BLOB PRIMARY KEY, direct TEXT NOT NULL) WITHOUT ROWID;
-- Unix milliseconds by our clock.
CREATE TABLE last_seen (node_id BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
", "
-- DHT nodes to begin with at the next start, best first. Hearsay: who they are, they prove anew.
CREATE TABLE dht_contacts (place INTEGER PRIMARY KEY, node_id BLOB NOT NULL, instance BLOB NOT NULL,
  direct TEXT, relay TEXT);
", "
-- What gossip holds of others; local = 1 for what was registered here.
CREATE TABLE gossip_entries (node_id BLOB PRIMARY KEY, local INTEGER NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
", super::messages::TABLES, super::references::TABLES, super::witness::TABLES];

/// Brings the schema up to date.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Sqlite { path: path.into(), source };
    let found = version(connection).map_err(failed)?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer { path: path.into(), found });
    }
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(sql).map_err(failed)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Writes the owner's name on the store, or refuses another's.
pub(super) fn claim(
    connection: &Connection,
    path: &Path,
    identity: NodeId,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Sqlite { path: path.into(), source };
    match owner(connection).map_err(failed)? {
        None => set_meta(connection, "owner", &identity.to_string()).map_err(failed),
        Some(owner) if owner == identity => Ok(()),
        Some(owner) => Err(StoreError::Foreign { path: path.into(), owner, identity }),
    }
}

/// Whose store it is.
pub(super) fn owner(connection: &Connection) -> rusqlite::Result<Option<NodeId>> {
    if version(connection)? == 0 {
        return Ok(None);
    }
    Ok(meta(connection, "owner")?.and_then(|text| text.parse().ok()))
}

/// One value of the `meta` table.
pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()
}

/// Sets one value of the `meta` table.
pub(super) fn set_meta(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    connection.execute(sql, [key, value]).map(|_| ())
}
