//! Pages and searches: the index says which rows in which order, SQLite has them.
//!
//! The index learns of a transaction after its commit, so that every row it names was there. One that is gone
//! or withdrawn by the time it is read is one hit less.

use homing_base::Now;
use rusqlite::Connection;

use super::read::{self, COLUMNS, Raw, TABLES};
use super::{Live, failed};
use crate::entity::{Entity, Status};
use crate::limits::PAGE_MAX;
use crate::storage::cursor::List;
use crate::storage::verified::Verified;
use crate::storage::{Cursor, Filter, Hit, Hits, Page, Query, StorageError};

type Outcome<T> = Result<T, StorageError>;

/// Finds entities.
pub(super) fn search(
    connection: &Connection,
    verified: &Verified,
    live: &Live,
    now: Now,
    query: &Query,
) -> Outcome<Hits> {
    let found = live.read()?.find(now, query);
    let snapshot = connection.unchecked_transaction().map_err(|e| failed(&e))?;
    let mut hits = Vec::with_capacity(found.hits.len());
    for (seq, mut score, marks) in found.hits {
        let Some(entity) = entity(&snapshot, verified, query.filter.status, seq)? else { continue };
        found.ranking.explain_marks(&marks, &entity, &mut score);
        hits.push(Hit { entity, score });
    }
    Ok(Hits { hits, total: found.total })
}

/// A page in the order of registration.
pub(super) fn page(
    connection: &Connection,
    verified: &Verified,
    live: &Live,
    now: Now,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: u32,
) -> Outcome<Page<Entity>> {
    let list = List::entities(filter);
    let place = list.place(after)?.unwrap_or(0);
    let wanted = limit.clamp(1, PAGE_MAX) as usize;
    let mut seqs = live.read()?.page(now, filter, place, wanted + 1);
    let more = seqs.len() > wanted;
    seqs.truncate(wanted);
    let next = seqs.last().filter(|_| more).map(|seq| list.cursor(*seq));
    let snapshot = connection.unchecked_transaction().map_err(|e| failed(&e))?;
    let found = seqs.iter().map(|seq| entity(&snapshot, verified, filter.status, *seq));
    Ok(Page { items: found.filter_map(Result::transpose).collect::<Outcome<_>>()?, next })
}

fn entity(
    connection: &Connection,
    verified: &Verified,
    status: Option<Status>,
    seq: i64,
) -> Outcome<Option<Entity>> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.seq = ?1");
    let Some(raw) = read::all(connection, &sql, [seq], Raw::of)?.pop() else { return Ok(None) };
    let entity = raw.entity(verified)?;
    let withdrawn = status == Some(Status::Withdrawn);
    Ok((entity.record.is_withdrawn() == withdrawn).then_some(entity))
}
