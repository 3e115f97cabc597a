//! References as rows: the own ones with their versions, and what is known of others'.
//!
//! A row holds the signed form; it is verified again when it is read, except for its end of life.

use std::time::Duration;

use homing_base::time::Mono;
use homing_base::{NodeId, Now, Reference, Wall};
use homing_core::io::{
    Keep, Kind, KnownReference, OwnReference, ReferenceKey, ReferenceWrite, Slot, StoredReferences,
    Version,
};
use homing_core::references::limits::HISTORY_MAX;
use rusqlite::{Connection, Row, Transaction, params};

use super::load::rows;
use super::write::run;

/// The tables of this part.
pub(super) const TABLES: &str = "
-- References of this identity: the newest signed form, and how it is published. Keepers: node IDs, space-separated.
CREATE TABLE own_references (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, lifetime_ms INTEGER NOT NULL,
  ttl_ms INTEGER NOT NULL, keepers TEXT NOT NULL, reference BLOB NOT NULL) WITHOUT ROWID;
-- What they pointed to, in order.
CREATE TABLE reference_versions (number INTEGER PRIMARY KEY, name TEXT NOT NULL, sequence INTEGER NOT NULL,
  value TEXT NOT NULL, previous TEXT, at INTEGER NOT NULL, ipns TEXT NOT NULL, withdrawn INTEGER NOT NULL);
-- Others' references, by slot; `asked` is NULL for those that are not kept alive, else whether the owner asked;
-- `key` is OWNER/NAME or an IPNS name.
CREATE TABLE known_references (kind INTEGER NOT NULL, point BLOB NOT NULL, since INTEGER NOT NULL, asked INTEGER,
  key TEXT, reference BLOB, PRIMARY KEY (kind, point)) WITHOUT ROWID;
";

/// Performs one change.
pub(super) fn write(t: &Transaction<'_>, write: &ReferenceWrite) -> rusqlite::Result<()> {
    match write {
        ReferenceWrite::Own(own) => put_own(t, own),
        ReferenceWrite::Version { name, version: v } => {
            let values = params![
                name.as_str(),
                signed(v.sequence),
                v.value,
                v.previous,
                signed(v.at.0),
                v.ipns.to_string(),
                v.withdrawn
            ];
            let columns = "(name, sequence, value, previous, at, ipns, withdrawn)";
            let places = "(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            run(t, &format!("INSERT INTO reference_versions {columns} VALUES {places}"), values)?;
            let old = "DELETE FROM reference_versions WHERE name = ?1 AND number NOT IN \
                (SELECT number FROM reference_versions WHERE name = ?1 ORDER BY number DESC LIMIT ?2)";
            run(t, old, params![name.as_str(), HISTORY_MAX as i64])
        }
        ReferenceWrite::Known(known) => put_known(t, known),
        ReferenceWrite::Forget(slot) => run(
            t,
            "DELETE FROM known_references WHERE kind = ?1 AND point = ?2",
            params![slot.kind as u8, slot.key.0],
        ),
    }
}

fn put_own(t: &Transaction<'_>, own: &OwnReference) -> rusqlite::Result<()> {
    let Some((_, name)) = own.reference.owner() else { return Ok(()) };
    let keepers: Vec<_> = own.keepers.iter().map(ToString::to_string).collect();
    let values = params![
        name.as_str(),
        own.generation,
        millis(own.lifetime),
        millis(own.ttl),
        keepers.join(" "),
        own.reference.to_bytes()
    ];
    run(t, "INSERT OR REPLACE INTO own_references VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values)
}

fn put_known(t: &Transaction<'_>, known: &KnownReference) -> rusqlite::Result<()> {
    let key = known.kept.as_ref().map(|keep| match &keep.key {
        ReferenceKey::Bound { owner, name } => format!("{owner}/{name}"),
        ReferenceKey::Ipns(name) => name.to_string(),
    });
    let values = params![
        known.slot.kind as u8,
        known.slot.key.0,
        signed(known.since.0),
        known.kept.as_ref().map(|keep| keep.asked),
        key,
        known.reference.as_ref().map(Reference::to_bytes)
    ];
    run(t, "INSERT OR REPLACE INTO known_references VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values)
}

/// Everything about references.
pub(super) fn load(
    connection: &Connection,
    damaged: &mut usize,
) -> rusqlite::Result<StoredReferences> {
    let sql = "SELECT name, sequence, value, previous, at, ipns, withdrawn FROM reference_versions \
               ORDER BY number";
    let versions = rows(connection, sql, damaged, version_of)?;
    let sql =
        "SELECT name, generation, lifetime_ms, ttl_ms, keepers, reference FROM own_references";
    let own = rows(connection, sql, damaged, |row| {
        let name: String = row.get(0).ok()?;
        let of_name = versions.iter().filter(|(n, _)| *n == name);
        own_of(row, of_name.map(|(_, version)| version.clone()).collect())
    })?;
    let sql = "SELECT kind, point, since, asked, key, reference FROM known_references";
    Ok(StoredReferences { own, known: rows(connection, sql, damaged, known_of)? })
}

fn own_of(row: &Row<'_>, history: Vec<Version>) -> Option<OwnReference> {
    let keepers: String = row.get(4).ok()?;
    Some(OwnReference {
        generation: row.get(1).ok()?,
        lifetime: duration(row, 2)?,
        ttl: duration(row, 3)?,
        keepers: keepers.split_whitespace().filter_map(|id| id.parse().ok()).collect(),
        reference: reference_of(row, 5)?,
        history,
    })
}

fn version_of(row: &Row<'_>) -> Option<(String, Version)> {
    let ipns: String = row.get(5).ok()?;
    let version = Version {
        sequence: number(row, 1)?,
        value: row.get(2).ok()?,
        previous: row.get(3).ok()?,
        at: Wall(number(row, 4)?),
        ipns: ipns.parse().ok()?,
        withdrawn: row.get(6).ok()?,
    };
    Some((row.get(0).ok()?, version))
}

fn known_of(row: &Row<'_>) -> Option<KnownReference> {
    let kind = Kind::from_number(row.get(0).ok()?)?;
    let slot = Slot { kind, key: NodeId(row.get(1).ok()?) };
    let kept = match row.get::<_, Option<bool>>(3).ok()? {
        Some(asked) => Some(Keep { key: key_of(&row.get::<_, String>(4).ok()?)?, asked }),
        None => None,
    };
    let reference = match row.get::<_, Option<Vec<u8>>>(5).ok()? {
        Some(_) => Some(reference_of(row, 5)?),
        None => None,
    };
    Some(KnownReference { slot, reference, since: Wall(number(row, 2)?), kept })
}

fn key_of(text: &str) -> Option<ReferenceKey> {
    match text.split_once('/') {
        Some((owner, name)) => {
            Some(ReferenceKey::Bound { owner: owner.parse().ok()?, name: name.parse().ok()? })
        }
        None => Some(ReferenceKey::Ipns(text.parse().ok()?)),
    }
}

fn reference_of(row: &Row<'_>, column: usize) -> Option<Reference> {
    let bytes: Vec<u8> = row.get(column).ok()?;
    // It was accepted when it came; a clock that was set back since does not unsay it.
    let whenever = Now { mono: Mono::default(), wall: Wall(u64::MAX) };
    Reference::verify_expired(&bytes, whenever).ok()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: usize) -> Option<u64> {
    u64::try_from(row.get::<_, i64>(column).ok()?).ok()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration(row: &Row<'_>, column: usize) -> Option<Duration> {
    number(row, column).map(Duration::from_millis)
}
