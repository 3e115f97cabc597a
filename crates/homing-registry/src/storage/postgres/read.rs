//! Reading: entities, versions, counts, changes.

use std::collections::BTreeMap;

use homing_base::{NodeId, Now};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row};

use super::{PostgresStorage, failed};
use crate::entity::{Entity, StoredCard};
use crate::limits::{HISTORY_MAX, PAGE_MAX};
use crate::storage::cursor::List;
use crate::storage::rows::{self, int};
use crate::storage::{Change, Count, Cursor, Page, StorageError, Totals, Version};

/// Changes, categories or tags of one answer.
const ANSWER_MAX: u32 = 10_000;

/// The columns that `entity_of` reads, in its order.
const COLUMNS: &str = "c.record, c.listing, e.source, e.registered, e.updated, e.heartbeat,
  k.sha256, k.fetched, k.bytes, e.seq, w.profile";
/// Where they come from.
const TABLES: &str = "entities e JOIN contents c ON c.seq = e.seq
  LEFT JOIN cards k ON k.seq = e.seq LEFT JOIN words w ON w.seq = e.seq";

type Outcome<T> = Result<T, StorageError>;
type Question<'q> = Query<'q, Postgres, PgArguments>;

/// A query whose text is put together of our own constants; what users say is only ever bound.
pub(super) fn question<'q>(sql: String) -> Question<'q> {
    sqlx::query(AssertSqlSafe(sql))
}

/// `SELECT` of whole entities; `rest` begins with `WHERE`.
pub(super) fn entities_where<'q>(rest: &str) -> Question<'q> {
    question(format!("SELECT {COLUMNS} FROM {TABLES} {rest}"))
}

fn column<'r, T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>>(
    row: &'r PgRow,
    place: usize,
) -> Outcome<T> {
    row.try_get(place).map_err(|e| failed(&e))
}

impl PostgresStorage {
    pub(super) async fn all(&self, query: Question<'_>) -> Outcome<Vec<PgRow>> {
        query.fetch_all(&self.pool).await.map_err(|e| failed(&e))
    }

    /// The entity of a row, its place in the order of registration, and its profile.
    pub(super) fn entity_of(&self, row: &PgRow) -> Outcome<(i64, Entity, Vec<u8>)> {
        let card = match column::<Option<&[u8]>>(row, 6)? {
            Some(sha256) => Some(StoredCard {
                bytes: column(row, 8)?,
                sha256: rows::bytes32(sha256)?,
                fetched: rows::wall(column(row, 7)?),
            }),
            None => None,
        };
        let entity = Entity {
            record: self.verified.read(column(row, 0)?)?,
            listing: rows::listing_of(column(row, 1)?)?,
            card,
            source: rows::source_of(column(row, 2)?)?,
            registered: rows::wall(column(row, 3)?),
            updated: rows::wall(column(row, 4)?),
            heartbeat: column::<Option<i64>>(row, 5)?.map(rows::wall),
        };
        let profile = column::<Option<Vec<u8>>>(row, 10)?.unwrap_or_default();
        Ok((column(row, 9)?, entity, profile))
    }

    async fn entities(&self, query: Question<'_>) -> Outcome<Vec<Entity>> {
        let rows = self.all(query).await?;
        rows.iter().map(|row| self.entity_of(row).map(|(_, entity, _)| entity)).collect()
    }
}

pub(super) async fn entity(store: &PostgresStorage, id: &NodeId) -> Outcome<Option<Entity>> {
    let query = entities_where("WHERE e.node_id = $1").bind(id.0.to_vec());
    Ok(store.entities(query).await?.pop())
}

pub(super) async fn by_prefix(store: &PostgresStorage, prefix: [u8; 15]) -> Outcome<Vec<Entity>> {
    let edge = |fill: u8| {
        let mut id = vec![fill; 32];
        id[..15].copy_from_slice(&prefix);
        id
    };
    let query = entities_where("WHERE e.node_id BETWEEN $1 AND $2 ORDER BY e.node_id LIMIT 32");
    store.entities(query.bind(edge(0)).bind(edge(0xff))).await
}

pub(super) async fn by_name(store: &PostgresStorage, now: Now, name: &str) -> Outcome<Vec<Entity>> {
    let query = entities_where(
        "WHERE e.name = $1 AND e.withdrawn = FALSE AND e.expires > $2 ORDER BY e.seq LIMIT 32",
    );
    store.entities(query.bind(name.to_owned()).bind(int(now.wall.0))).await
}

/// One statement: the present version and those before it belong together.
pub(super) async fn history(
    store: &PostgresStorage,
    id: &NodeId,
    after: Option<&Cursor>,
    limit: u32,
) -> Outcome<Page<Version>> {
    let list = List::versions(id);
    let place = list.place(after)?;
    let wanted = limit.clamp(1, PAGE_MAX.min(HISTORY_MAX)) as usize;
    // What is archived later gets a higher number than the present one's place and is not shown again.
    let sql = "SELECT * FROM (
          SELECT (SELECT versions + 1 FROM ledger) AS id, c.record, e.updated AS received, e.source
          FROM entities e JOIN contents c ON c.seq = e.seq WHERE e.node_id = $1
          UNION ALL
          SELECT h.id, h.record, h.received, h.source
          FROM history h JOIN entities e ON e.seq = h.entity WHERE e.node_id = $1) v
        WHERE $2::bigint IS NULL OR id < $2 ORDER BY id DESC LIMIT $3";
    let query = sqlx::query(sql).bind(id.0.to_vec()).bind(place).bind(wanted as i64 + 1);
    let mut rows = store.all(query).await?;
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let next = match rows.last().filter(|_| more) {
        Some(row) => Some(list.cursor(column(row, 0)?)),
        None => None,
    };
    let version = |row: &PgRow| {
        Ok(Version {
            record: store.verified.read(column(row, 1)?)?,
            received: rows::wall(column(row, 2)?),
            source: rows::source_of(column(row, 3)?)?,
        })
    };
    Ok(Page { items: rows.iter().map(version).collect::<Outcome<_>>()?, next })
}

/// Counted of what is kept, less what has expired and waits for the sweep.
pub(super) async fn counts(
    store: &PostgresStorage,
    now: Now,
    kind: char,
    limit: u32,
) -> Outcome<Vec<Count>> {
    let limit = limit.min(ANSWER_MAX) as usize;
    let sql = "SELECT c.listing FROM entities e JOIN contents c ON c.seq = e.seq
        WHERE e.withdrawn = FALSE AND e.expires <= $1";
    let mut less = BTreeMap::<String, i64>::new();
    for row in store.all(sqlx::query(sql).bind(int(now.wall.0))).await? {
        let counted = rows::counted(&rows::listing_of(column(&row, 0)?)?).into_iter();
        counted.filter(|(k, _)| *k == kind).for_each(|(_, n)| *less.entry(n).or_default() += 1);
    }
    // Whatever is among the first after the subtraction was among the first `limit + less` before.
    let sql = "SELECT name, count FROM counts WHERE kind = $1 ORDER BY count DESC, name LIMIT $2";
    let wanted = (limit + less.len()) as i64;
    let mut alive = Vec::new();
    for row in store.all(sqlx::query(sql).bind(kind.to_string()).bind(wanted)).await? {
        let (name, count): (String, i64) = (column(&row, 0)?, column(&row, 1)?);
        let count = count - less.get(&name).copied().unwrap_or(0);
        alive.push(Count { name, count: u64::try_from(count).unwrap_or(0) });
    }
    alive.retain(|c| c.count > 0);
    alive.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    alive.truncate(limit);
    Ok(alive)
}

pub(super) async fn changes(
    store: &PostgresStorage,
    after: u64,
    limit: u32,
) -> Outcome<Vec<Change>> {
    let sql = "SELECT c.number, c.kind, c.node_id, c.sequence, c.at, e.name FROM changes c
        LEFT JOIN entities e ON e.node_id = c.node_id WHERE c.number > $1 ORDER BY c.number LIMIT $2";
    let limit = i64::from(limit.min(ANSWER_MAX));
    let rows = store.all(sqlx::query(sql).bind(int(after)).bind(limit)).await?;
    let change = |row: &PgRow| {
        Ok(Change {
            number: column::<i64>(row, 0)?.unsigned_abs(),
            kind: rows::change_of(column(row, 1)?)?,
            node_id: NodeId(rows::bytes32(column(row, 2)?)?),
            sequence: rows::seq(column(row, 3)?),
            at: rows::wall(column(row, 4)?),
            name: rows::name_of(column::<Option<&str>>(row, 5)?)?,
        })
    };
    rows.iter().map(change).collect()
}

pub(super) async fn totals(store: &PostgresStorage, now: Now) -> Outcome<Totals> {
    let sql = "SELECT
        (SELECT count(*) FROM entities WHERE withdrawn = FALSE AND expires > $1),
        (SELECT count(*) FROM entities WHERE withdrawn = TRUE),
        (SELECT count(*) FROM cards), (SELECT changes FROM ledger),
        (SELECT count(*) FROM (SELECT 1 FROM evidence GROUP BY node_id, sequence) pairs)";
    let query = sqlx::query(sql).bind(int(now.wall.0));
    let row = query.fetch_one(&store.pool).await.map_err(|e| failed(&e))?;
    let count = |place| column::<i64>(&row, place).map(i64::unsigned_abs);
    Ok(Totals {
        entities: count(0)?,
        withdrawn: count(1)?,
        cards: count(2)?,
        changes: count(3)?,
        evidence: count(4)?,
    })
}
