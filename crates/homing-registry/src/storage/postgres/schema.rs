//! Tables and migrations of the PostgreSQL backend.
//!
//! Instances start at the same time: each takes one advisory lock, then brings the schema up to date in one
//! transaction. What is renewed often (`entities`) lies apart from what is indexed (`words`): a renewed record
//! then does not touch the inverted index. CockroachDB has GIN over tsvector since 23.1 and takes the lock for
//! granted: let one instance start first there. YugabyteDB knows advisory locks since 2025.1.

use sqlx::{Executor, PgPool, Row};

use super::failed;
use crate::storage::StorageError;

/// The schema that this version writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// `homing r` as a number: no other program locks it by accident.
const LOCK: i64 = 0x686f_6d69_6e67_2072;

const MIGRATIONS: &[&str] = &["
-- One row: whoever writes holds it until the commit. Numbers are therefore given in the order of commits,
-- and whoever has seen one has seen all before it, which a sequence object cannot promise.
CREATE TABLE ledger (one BOOLEAN PRIMARY KEY CHECK (one), entities BIGINT NOT NULL,
  versions BIGINT NOT NULL, changes BIGINT NOT NULL, known BIGINT NOT NULL);
INSERT INTO ledger VALUES (TRUE, 0, 0, 0, 0);
-- seq is the order of registration and never given twice. Times are Unix milliseconds. until: the row, or
-- the floor that a sweep leaves, stands at least so long. indexed: digest of what `words` has.
CREATE TABLE entities (
  seq BIGINT PRIMARY KEY, node_id BYTEA NOT NULL UNIQUE, name TEXT,
  sequence BIGINT NOT NULL, digest BYTEA NOT NULL, issued BIGINT NOT NULL, expires BIGINT NOT NULL,
  withdrawn BOOLEAN NOT NULL, until BIGINT NOT NULL, heartbeat BIGINT, registered BIGINT NOT NULL,
  updated BIGINT NOT NULL, source SMALLINT NOT NULL, indexed BYTEA);
CREATE INDEX entities_by_name ON entities (name, seq);
CREATE INDEX entities_by_expiry ON entities (withdrawn, expires);
CREATE TABLE contents (seq BIGINT PRIMARY KEY, record BYTEA NOT NULL, listing TEXT NOT NULL);
CREATE TABLE words (seq BIGINT PRIMARY KEY, search TSVECTOR NOT NULL, profile BYTEA NOT NULL);
CREATE INDEX words_by_search ON words USING GIN (search);
CREATE TABLE cards (
  seq BIGINT PRIMARY KEY, sha256 BYTEA NOT NULL, fetched BIGINT NOT NULL, bytes BYTEA NOT NULL);
CREATE TABLE history (
  id BIGINT PRIMARY KEY, entity BIGINT NOT NULL, record BYTEA NOT NULL,
  received BIGINT NOT NULL, source SMALLINT NOT NULL);
CREATE INDEX history_by_entity ON history (entity, id);
CREATE TABLE evidence (
  node_id BYTEA NOT NULL, sequence BIGINT NOT NULL, digest BYTEA NOT NULL, record BYTEA NOT NULL,
  PRIMARY KEY (node_id, sequence, digest));
CREATE TABLE floors (node_id BYTEA PRIMARY KEY, sequence BIGINT NOT NULL, until BIGINT NOT NULL);
CREATE INDEX floors_by_until ON floors (until);
CREATE TABLE changes (
  number BIGINT PRIMARY KEY, kind SMALLINT NOT NULL, node_id BYTEA NOT NULL,
  sequence BIGINT NOT NULL, at BIGINT NOT NULL);
CREATE TABLE counts (
  kind TEXT NOT NULL, name TEXT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (kind, name));
CREATE INDEX counts_by_count ON counts (kind, count DESC, name);
"];

/// Brings the schema up to date, or refuses a newer one.
pub(super) async fn prepare(pool: &PgPool) -> Result<(), StorageError> {
    let mut transaction = pool.begin().await.map_err(|e| failed(&e))?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.execute(&mut *transaction).await.map_err(|e| failed(&e))?;
    transaction
        .execute("CREATE TABLE IF NOT EXISTS homing_schema (version BIGINT PRIMARY KEY)")
        .await
        .map_err(|e| failed(&e))?;
    let row = transaction.fetch_one("SELECT coalesce(max(version), 0) FROM homing_schema");
    let found: i64 = row.await.map_err(|e| failed(&e))?.get(0);
    if found > SCHEMA_VERSION {
        return Err(StorageError::Newer { found, known: SCHEMA_VERSION });
    }
    for version in found..SCHEMA_VERSION {
        let place = usize::try_from(version).unwrap_or(0);
        transaction.execute(MIGRATIONS[place]).await.map_err(|e| failed(&e))?;
        let note = sqlx::query("INSERT INTO homing_schema (version) VALUES ($1)").bind(version + 1);
        note.execute(&mut *transaction).await.map_err(|e| failed(&e))?;
    }
    transaction.commit().await.map_err(|e| failed(&e))
}
