//! Heads of others' audit logs that this node cosigned, and evidence of forked ones, as rows. Every row is
//! signed, and is verified again by the core when it is read.

use homing_core::audit::Hash;
use homing_core::audit::witness::{Fork, Held, WitnessWrite};
use rusqlite::{Connection, Transaction, params};

use super::load::rows;
use super::write::run;

/// The tables of this part.
pub(super) const TABLES: &str = "
-- The newest head of each log that was cosigned here.
CREATE TABLE audit_heads (origin TEXT PRIMARY KEY, delegation BLOB NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
-- Pairs of heads of one log that contradict each other, by digest.
CREATE TABLE audit_forks (digest BLOB PRIMARY KEY, delegation BLOB NOT NULL, first TEXT NOT NULL,
  second TEXT NOT NULL) WITHOUT ROWID;
";

/// Performs one change.
pub(super) fn write(t: &Transaction<'_>, write: &WitnessWrite) -> rusqlite::Result<()> {
    match write {
        WitnessWrite::Head { origin, held } => run(
            t,
            "INSERT OR REPLACE INTO audit_heads VALUES (?1, ?2, ?3)",
            params![origin, held.delegation, held.note],
        ),
        WitnessWrite::Fork(fork) => {
            let digest = Hash::digest(&[fork.first.as_bytes(), fork.second.as_bytes()].concat());
            let values = params![digest.0, fork.delegation, fork.first, fork.second];
            run(t, "INSERT OR IGNORE INTO audit_forks VALUES (?1, ?2, ?3, ?4)", values)
        }
    }
}

/// Everything that was kept.
pub(super) fn load(
    connection: &Connection,
    damaged: &mut usize,
) -> rusqlite::Result<(Vec<Held>, Vec<Fork>)> {
    let heads = rows(connection, "SELECT delegation, note FROM audit_heads", damaged, |row| {
        Some(Held { delegation: row.get(0).ok()?, note: row.get(1).ok()? })
    })?;
    let sql = "SELECT delegation, first, second FROM audit_forks";
    let forks = rows(connection, sql, damaged, |row| {
        let (first, second) = (row.get(1).ok()?, row.get(2).ok()?);
        Some(Fork { delegation: row.get(0).ok()?, first, second })
    })?;
    Ok((heads, forks))
}
