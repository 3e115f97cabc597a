//! Reading: entities, versions, counts, changes. Every function runs on a blocking thread.

use std::collections::BTreeMap;

use homing_base::{NodeId, Now};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::{failed, prepare};
use crate::entity::{Entity, StoredCard};
use crate::limits::{HISTORY_MAX, PAGE_MAX};
use crate::storage::cursor::List;
use crate::storage::rows::{self, int};
use crate::storage::verified::{Verified, damaged};
use crate::storage::{Change, Count, Cursor, Page, StorageError, Totals, Version};

/// Entities that one name may mean in an answer.
const NAMESAKES_MAX: u32 = 32;
/// Changes of one answer.
const CHANGES_PAGE_MAX: u32 = 10_000;
/// Categories or tags of one answer.
const COUNTS_MAX: u32 = 10_000;

/// The columns that `entity_of` reads, in its order.
pub(super) const COLUMNS: &str = "c.record, c.listing, e.source, e.registered, e.updated,
  e.heartbeat, k.sha256, k.fetched, k.bytes";
/// Where they come from.
pub(super) const TABLES: &str =
    "entities e JOIN contents c ON c.seq = e.seq LEFT JOIN cards k ON k.seq = e.seq";

type Outcome<T> = Result<T, StorageError>;

/// Reads the row of an entity; the text and signature of what it holds are checked outside of SQLite.
pub(super) struct Raw {
    record: Vec<u8>,
    listing: String,
    source: i16,
    registered: i64,
    updated: i64,
    heartbeat: Option<i64>,
    card: Option<(Vec<u8>, i64, Vec<u8>)>,
}

impl Raw {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let card = match row.get::<_, Option<Vec<u8>>>(6)? {
            Some(sha256) => Some((sha256, row.get(7)?, row.get(8)?)),
            None => None,
        };
        Ok(Self {
            record: row.get(0)?,
            listing: row.get(1)?,
            source: row.get(2)?,
            registered: row.get(3)?,
            updated: row.get(4)?,
            heartbeat: row.get(5)?,
            card,
        })
    }

    pub(super) fn entity(self, verified: &Verified) -> Outcome<Entity> {
        let card = match self.card {
            Some((sha256, fetched, bytes)) => Some(StoredCard {
                bytes,
                sha256: rows::bytes32(&sha256)?,
                fetched: rows::wall(fetched),
            }),
            None => None,
        };
        Ok(Entity {
            record: verified.read(&self.record)?,
            listing: rows::listing_of(&self.listing)?,
            card,
            source: rows::source_of(self.source)?,
            registered: rows::wall(self.registered),
            updated: rows::wall(self.updated),
            heartbeat: self.heartbeat.map(rows::wall),
        })
    }
}

/// All rows of a query.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Outcome<Vec<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(|e| failed(&e))?;
    let rows = statement.query_map(params, read).map_err(|e| failed(&e))?;
    rows.collect::<Result<_, _>>().map_err(|e| failed(&e))
}

fn entities(
    connection: &Connection,
    verified: &Verified,
    rest: &str,
    params: impl Params,
) -> Outcome<Vec<Entity>> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} {rest}");
    let raw = all(connection, &sql, params, Raw::of)?;
    raw.into_iter().map(|raw| raw.entity(verified)).collect()
}

pub(super) fn entity(
    connection: &Connection,
    verified: &Verified,
    id: &NodeId,
) -> Outcome<Option<Entity>> {
    Ok(entities(connection, verified, "WHERE e.node_id = ?1", [&id.0])?.pop())
}

pub(super) fn by_prefix(
    connection: &Connection,
    verified: &Verified,
    prefix: [u8; 15],
) -> Outcome<Vec<Entity>> {
    let edge = |fill: u8| {
        let mut id = [fill; 32];
        id[..15].copy_from_slice(&prefix);
        id
    };
    let rest = "WHERE e.node_id BETWEEN ?1 AND ?2 ORDER BY e.node_id LIMIT 32";
    entities(connection, verified, rest, params![edge(0), edge(0xff)])
}

pub(super) fn by_name(
    connection: &Connection,
    verified: &Verified,
    now: Now,
    name: &str,
) -> Outcome<Vec<Entity>> {
    let rest = "WHERE e.name = ?1 AND e.withdrawn = 0 AND e.expires > ?2 ORDER BY e.seq LIMIT ?3";
    entities(connection, verified, rest, params![name, int(now.wall.0), NAMESAKES_MAX])
}

pub(super) fn history(
    connection: &Connection,
    verified: &Verified,
    id: &NodeId,
    after: Option<&Cursor>,
    limit: u32,
) -> Outcome<Page<Version>> {
    let list = List::versions(id);
    let place = list.place(after)?;
    let snapshot = connection.unchecked_transaction().map_err(|e| failed(&e))?;
    let wanted = limit.clamp(1, PAGE_MAX.min(HISTORY_MAX)) as usize;
    let mut found = Vec::new();
    let sql = "SELECT e.seq, c.record, e.updated, e.source FROM entities e JOIN contents c
               ON c.seq = e.seq WHERE e.node_id = ?1";
    let present = all(&snapshot, sql, [&id.0], version)?;
    let Some(present) = present.into_iter().next() else {
        return Ok(Page { items: Vec::new(), next: None });
    };
    let seq = present.0;
    let sql = "SELECT coalesce(max(id), 0) + 1 FROM history";
    let first_after: i64 = snapshot.query_row(sql, [], |r| r.get(0)).map_err(|e| failed(&e))?;
    if place.is_none() {
        // What is archived later gets a higher number than this place and is not shown again.
        found.push((first_after, present.1, present.2, present.3));
    }
    let sql = "SELECT id, record, received, source FROM history WHERE entity = ?1 AND id < ?2
               ORDER BY id DESC LIMIT ?3";
    let before = place.unwrap_or(first_after);
    found.extend(all(&snapshot, sql, params![seq, before, wanted as i64 + 1], version)?);
    let more = found.len() > wanted;
    found.truncate(wanted);
    let next = found.last().filter(|_| more).map(|(id, ..)| list.cursor(*id));
    let items = found.into_iter().map(|(_, record, received, source)| {
        Ok(Version {
            record: verified.read(&record)?,
            received: rows::wall(received),
            source: rows::source_of(source)?,
        })
    });
    Ok(Page { items: items.collect::<Outcome<_>>()?, next })
}

fn version(row: &Row<'_>) -> rusqlite::Result<(i64, Vec<u8>, i64, i16)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// Counted of what is kept, less what has expired and waits for the sweep.
pub(super) fn counts(
    connection: &Connection,
    now: Now,
    kind: char,
    limit: u32,
) -> Outcome<Vec<Count>> {
    let snapshot = connection.unchecked_transaction().map_err(|e| failed(&e))?;
    let limit = limit.min(COUNTS_MAX) as usize;
    let sql = "SELECT c.listing FROM entities e JOIN contents c ON c.seq = e.seq
               WHERE e.withdrawn = 0 AND e.expires <= ?1";
    let dead: Vec<String> = all(&snapshot, sql, [int(now.wall.0)], |r| r.get(0))?;
    let mut less = BTreeMap::<String, i64>::new();
    for text in dead {
        let counted = rows::counted(&rows::listing_of(&text)?).into_iter();
        counted.filter(|(k, _)| *k == kind).for_each(|(_, n)| *less.entry(n).or_default() += 1);
    }
    // Whatever is among the first after the subtraction was among the first `limit + less` before.
    let sql = "SELECT name, count FROM counts WHERE kind = ?1 ORDER BY count DESC, name LIMIT ?2";
    let wanted = (limit + less.len()) as i64;
    let kept: Vec<(String, i64)> =
        all(&snapshot, sql, params![kind.to_string(), wanted], |r| Ok((r.get(0)?, r.get(1)?)))?;
    let alive = kept.into_iter().map(|(name, count)| {
        let count = count - less.get(&name).copied().unwrap_or(0);
        Count { name, count: u64::try_from(count).unwrap_or(0) }
    });
    let mut alive: Vec<_> = alive.filter(|c| c.count > 0).collect();
    alive.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    alive.truncate(limit);
    Ok(alive)
}

pub(super) fn changes(connection: &Connection, after: u64, limit: u32) -> Outcome<Vec<Change>> {
    let sql = "SELECT c.number, c.kind, c.node_id, c.sequence, c.at, e.name FROM changes c
               LEFT JOIN entities e ON e.node_id = c.node_id WHERE c.number > ?1
               ORDER BY c.number LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(|e| failed(&e))?;
    let params = params![int(after), limit.min(CHANGES_PAGE_MAX)];
    let mut found = statement.query(params).map_err(|e| failed(&e))?;
    let mut changes = Vec::new();
    while let Some(row) = found.next().map_err(|e| failed(&e))? {
        let read =
            || Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?));
        let (number, kind, id, sequence, at, name): (i64, i16, _, _, _, Option<String>) =
            read().map_err(|e| failed(&e))?;
        changes.push(Change {
            number: number.unsigned_abs(),
            kind: rows::change_of(kind)?,
            node_id: NodeId(id),
            sequence: rows::seq(sequence),
            at: rows::wall(at),
            name: rows::name_of(name.as_deref())?,
        });
    }
    Ok(changes)
}

pub(super) fn totals(connection: &Connection, now: Now) -> Outcome<Totals> {
    let sql = "SELECT
      (SELECT count(*) FROM entities WHERE withdrawn = 0 AND expires > ?1),
      (SELECT count(*) FROM entities WHERE withdrawn = 1),
      (SELECT count(*) FROM cards), (SELECT coalesce(max(number), 0) FROM changes),
      (SELECT count(*) FROM (SELECT 1 FROM evidence GROUP BY node_id, sequence))";
    let read = |r: &Row<'_>| -> rusqlite::Result<[i64; 5]> {
        Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?])
    };
    let mut statement = connection.prepare_cached(sql).map_err(|e| failed(&e))?;
    let counts = statement.query_row([int(now.wall.0)], read).map_err(|e| failed(&e))?;
    let [entities, withdrawn, cards, changes, evidence] = counts.map(i64::unsigned_abs);
    Ok(Totals { entities, withdrawn, cards, changes, evidence })
}

/// Every page, the terms against the listings, the tables against each other.
pub(super) fn check(connection: &Connection) -> Outcome<()> {
    let said: String = connection
        .query_row("PRAGMA integrity_check(10)", [], |r| r.get(0))
        .map_err(|e| failed(&e))?;
    if said != "ok" {
        return Err(damaged(&said));
    }
    check_terms(connection)?;
    let questions = [
        (
            "an entity without contents",
            "SELECT seq FROM entities
           WHERE seq NOT IN (SELECT seq FROM contents)",
        ),
        (
            "contents without an entity",
            "SELECT seq FROM contents
           WHERE seq NOT IN (SELECT seq FROM entities)",
        ),
        (
            "a card without an entity",
            "SELECT seq FROM cards
           WHERE seq NOT IN (SELECT seq FROM entities)",
        ),
    ];
    for (what, sql) in questions {
        let found: Option<i64> =
            connection.query_row(sql, [], |r| r.get(0)).optional().map_err(|e| failed(&e))?;
        if let Some(seq) = found {
            return Err(damaged(&format!("{what}: {seq}")));
        }
    }
    Ok(())
}

fn check_terms(connection: &Connection) -> Outcome<()> {
    let sql = "SELECT e.seq, e.terms, c.record, c.listing FROM entities e
               JOIN contents c ON c.seq = e.seq";
    let mut statement = connection.prepare(sql).map_err(|e| failed(&e))?;
    let mut found = statement.query([]).map_err(|e| failed(&e))?;
    let verified = Verified::default();
    while let Some(row) = found.next().map_err(|e| failed(&e))? {
        let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let (seq, terms, record, listing): (i64, Vec<u8>, Vec<u8>, String) =
            read().map_err(|e| failed(&e))?;
        let entry = prepare::entry_of(&verified.read(&record)?, &rows::listing_of(&listing)?);
        if entry.map(|entry| entry.terms.0).unwrap_or_default() != terms {
            return Err(damaged(&format!("terms that are not those of the listing: {seq}")));
        }
    }
    Ok(())
}
