//! Pages and searches. What is asked and how it is ranked is decided in `rank`; here it is fetched.
//!
//! A query reaches FTS5 only as tokens of `[a-z0-9_]` in quotes: no operator, column or phrase of the user's
//! gets through. One query reads from one snapshot.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use homing_base::{NodeId, Now};
use rusqlite::{Connection, Row, params};

use super::failed;
use super::read::{self, COLUMNS, Raw, TABLES};
use crate::entity::{Entity, HEARTBEAT_LIFE_MS, Status};
use crate::limits::{OFFSET_MAX, PAGE_MAX};
use crate::storage::cursor::List;
use crate::storage::rank::{
    self, CANDIDATES_MAX, Candidate, Expression, FREQUENCY_MAX, Ranking, TOTAL_MAX, Word,
};
use crate::storage::rows::{self, int};
use crate::storage::verified::Verified;
use crate::storage::words;
use crate::storage::{Cursor, Filter, Hit, Hits, Page, Query, Score, StorageError};

type Outcome<T> = Result<T, StorageError>;

/// An expression in the language of FTS5.
fn fts5(expression: &Expression) -> String {
    let mut text = String::new();
    for (n, term) in expression.terms.iter().enumerate() {
        let glue = if expression.any { " OR " } else { " AND " };
        text.push_str(if n == 0 { "(" } else { glue });
        let columns = if term.strong { "strong" } else { "{strong weak}" };
        let star = if term.prefix { " *" } else { "" };
        let _ = write!(text, "{columns} : \"{}\"{star}", term.token);
    }
    if !text.is_empty() {
        text.push(')');
    }
    for group in &expression.facets {
        text.push_str(if text.is_empty() { "" } else { " AND " });
        let any: Vec<_> = group.iter().map(|facet| format!("\"{facet}\"")).collect();
        let _ = write!(text, "facets : ({})", any.join(" OR "));
    }
    text
}

/// The condition of a status; `?2` is now, `?3` the oldest heartbeat of an active entity.
fn condition(status: Option<Status>) -> &'static str {
    match status {
        None => "e.withdrawn = 0 AND e.expires > ?2 AND ?3 IS NOT NULL",
        Some(Status::Active) => {
            "e.withdrawn = 0 AND e.expires > ?2 AND (e.heartbeat IS NULL OR e.heartbeat >= ?3)"
        }
        Some(Status::Inactive) => "e.withdrawn = 0 AND e.expires > ?2 AND e.heartbeat < ?3",
        Some(Status::Expired) => "e.withdrawn = 0 AND e.expires <= ?2 AND ?3 IS NOT NULL",
        Some(Status::Withdrawn) => "e.withdrawn = 1 AND ?2 IS NOT NULL AND ?3 IS NOT NULL",
    }
}

/// Rows of an expression under a status: `?1` the expression or nothing, `?4` a limit.
fn from(expression: &Expression, status: Option<Status>) -> String {
    let condition = condition(status);
    match expression.is_empty() {
        true => format!("FROM entities e WHERE ?1 IS NULL AND {condition}"),
        false => format!(
            "FROM words w CROSS JOIN entities e ON e.seq = w.rowid WHERE words MATCH ?1 AND {condition}"
        ),
    }
}

struct Search<'c> {
    connection: &'c Connection,
    now: Now,
    status: Option<Status>,
}

impl Search<'_> {
    fn silent(&self) -> i64 {
        int(self.now.wall.0.saturating_sub(HEARTBEAT_LIFE_MS))
    }

    fn at(&self) -> i64 {
        int(self.now.wall.0)
    }

    fn count_up_to(&self, sql: &str, text: Option<&str>, max: u64) -> Outcome<u64> {
        let sql = format!("SELECT count(*) FROM (SELECT 1 {sql} LIMIT ?4)");
        let mut statement = self.connection.prepare_cached(&sql).map_err(|e| failed(&e))?;
        let params = params![text, self.at(), self.silent(), int(max)];
        let count: i64 = statement.query_row(params, |r| r.get(0)).map_err(|e| failed(&e))?;
        Ok(count.unsigned_abs())
    }

    /// Entities with one word, dead ones included: a weight, not an answer.
    fn frequency(&self, word: &Word) -> Outcome<u64> {
        let text = fts5(&Expression::of([word], &[], false));
        let sql = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ?1 LIMIT ?2)";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| failed(&e))?;
        let params = params![text, int(FREQUENCY_MAX)];
        let count: i64 = statement.query_row(params, |r| r.get(0)).map_err(|e| failed(&e))?;
        Ok(count.unsigned_abs())
    }

    fn weighted(&self, text: &str) -> Outcome<Vec<Word>> {
        let mut words = rank::query_words(text);
        for word in &mut words {
            word.frequency = self.frequency(word)?;
        }
        if let Some(last) = words.last_mut().filter(|w| rank::may_be_prefix(w)) {
            last.prefix = true;
            last.frequency = self.frequency(last)?;
        }
        Ok(words)
    }

    /// Whether somebody has expired and waits for the sweep: only then the index has more than the rows.
    fn has_dead(&self) -> Outcome<bool> {
        let sql = "SELECT 1 FROM entities WHERE withdrawn = 0 AND expires <= ?1 LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| failed(&e))?;
        statement.exists([self.at()]).map_err(|e| failed(&e))
    }

    fn total(&self, expression: &Expression) -> Outcome<u64> {
        if expression.is_empty() {
            return self.count_up_to(&from(expression, self.status), None, TOTAL_MAX);
        }
        let text = fts5(expression);
        if self.status.is_none() && !self.has_dead()? {
            let sql = "FROM words WHERE words MATCH ?1 AND ?2 IS NOT NULL AND ?3 IS NOT NULL";
            return self.count_up_to(sql, Some(&text), TOTAL_MAX);
        }
        self.count_up_to(&from(expression, self.status), Some(&text), TOTAL_MAX)
    }

    /// What the query means: the expression and how many entities it fits.
    fn meaning(&self, words: &[Word], facets: &[Vec<String>]) -> Outcome<(Expression, u64)> {
        let known: Vec<_> = words.iter().filter(|w| w.frequency > 0).collect();
        if known.is_empty() && !words.is_empty() {
            return Ok((Expression::default(), 0));
        }
        let all = Expression::of(known.iter().copied(), facets, false);
        let total = self.total(&all)?;
        if total > 0 || known.len() < 2 {
            return Ok((all, total));
        }
        let any = Expression::of(known, facets, true);
        let total = self.total(&any)?;
        Ok((any, total))
    }

    fn candidates(&self, expression: &Expression, total: u64) -> Outcome<Vec<Candidate>> {
        let tiers = match total <= CANDIDATES_MAX as u64 {
            true => vec![expression.clone()],
            false => expression.tiers(),
        };
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for tier in tiers {
            for candidate in self.tier(&tier)? {
                if found.len() < CANDIDATES_MAX && seen.insert(candidate.seq) {
                    found.push(candidate);
                }
            }
            if found.len() >= CANDIDATES_MAX {
                break;
            }
        }
        Ok(found)
    }

    fn tier(&self, expression: &Expression) -> Outcome<Vec<Candidate>> {
        let from = from(expression, self.status);
        let order = if expression.is_empty() { "e.seq" } else { "w.rowid" };
        let sql = format!(
            "SELECT e.seq, e.node_id, e.issued, e.heartbeat, e.withdrawn, e.expires, e.profile
             {from} ORDER BY {order} DESC LIMIT ?4"
        );
        let text = (!expression.is_empty()).then(|| fts5(expression));
        let params = params![text, self.at(), self.silent(), CANDIDATES_MAX as i64];
        read::all(self.connection, &sql, params, |r| self.candidate(r))
    }

    fn candidate(&self, row: &Row<'_>) -> rusqlite::Result<Candidate> {
        let (withdrawn, expires): (bool, i64) = (row.get(4)?, row.get(5)?);
        Ok(Candidate {
            seq: row.get(0)?,
            node_id: NodeId(row.get(1)?),
            issued: rows::wall(row.get(2)?),
            heartbeat: row.get::<_, Option<i64>>(3)?.map(rows::wall),
            live: !withdrawn && expires > self.at(),
            profile: row.get(6)?,
        })
    }

    /// Places behind the ranked ones, in the order of the index.
    fn rest(&self, expression: &Expression, ranked: &[i64], wanted: usize) -> Outcome<Vec<i64>> {
        let from = from(expression, self.status);
        let order = if expression.is_empty() { "e.seq" } else { "w.rowid" };
        let sql = format!("SELECT e.seq {from} ORDER BY {order} DESC LIMIT ?4");
        let text = (!expression.is_empty()).then(|| fts5(expression));
        let limit = (OFFSET_MAX + PAGE_MAX) as i64 + CANDIDATES_MAX as i64;
        let params = params![text, self.at(), self.silent(), limit];
        let all: Vec<i64> = read::all(self.connection, &sql, params, |r| r.get(0))?;
        let ranked: BTreeSet<_> = ranked.iter().collect();
        Ok(all.into_iter().filter(|seq| !ranked.contains(seq)).take(wanted).collect())
    }

    fn entity(&self, seq: i64, verified: &Verified) -> Outcome<Option<(Entity, Vec<u8>)>> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.seq = ?1");
        let Some(raw) = read::all(self.connection, &sql, [seq], Raw::of)?.pop() else {
            return Ok(None);
        };
        let profile = raw.profile.clone();
        Ok(Some((raw.entity(verified)?, profile)))
    }
}

/// Finds entities.
pub(super) fn search(
    connection: &Connection,
    verified: &Verified,
    now: Now,
    query: &Query,
) -> Outcome<Hits> {
    let snapshot = connection.unchecked_transaction().map_err(|e| failed(&e))?;
    let search = Search { connection: &snapshot, now, status: query.filter.status };
    let words = search.weighted(&query.text)?;
    let facets = words::facet_groups(&query.filter);
    let (expression, total) = search.meaning(&words, &facets)?;
    if total == 0 {
        return Ok(Hits { hits: Vec::new(), total });
    }
    let entities = search.count_of_all()?;
    let ranking = Ranking::new(now, words, entities);
    let ranked = ranking.sort(search.candidates(&expression, total)?);
    let (first, end) = rank::window(query);
    let mut places: Vec<(i64, Option<Score>)> =
        ranked.into_iter().map(|(c, score)| (c.seq, Some(score))).collect();
    if end > places.len() && places.len() == CANDIDATES_MAX {
        let seqs: Vec<_> = places.iter().map(|(seq, _)| *seq).collect();
        let rest = search.rest(&expression, &seqs, end - places.len())?;
        places.extend(rest.into_iter().map(|seq| (seq, None)));
    }
    let shown = places.into_iter().skip(first).take(end - first);
    let hits =
        shown.filter_map(|(seq, score)| search.hit(verified, &ranking, seq, score).transpose());
    Ok(Hits { hits: hits.collect::<Outcome<_>>()?, total })
}

impl Search<'_> {
    fn hit(
        &self,
        verified: &Verified,
        ranking: &Ranking,
        seq: i64,
        score: Option<Score>,
    ) -> Outcome<Option<Hit>> {
        let Some((entity, profile)) = self.entity(seq, verified)? else { return Ok(None) };
        let mut score = score.unwrap_or_else(|| ranking.score_of(seq, &entity, &profile));
        ranking.explain(&profile, &entity, &mut score);
        Ok(Some(Hit { entity, score }))
    }

    /// A measure for weights: an upper bound that costs nothing.
    fn count_of_all(&self) -> Outcome<u64> {
        let sql = "SELECT coalesce(max(seq), 0) - coalesce(min(seq), 0) + 1 FROM entities";
        let mut statement = self.connection.prepare_cached(sql).map_err(|e| failed(&e))?;
        let count: i64 = statement.query_row([], |r| r.get(0)).map_err(|e| failed(&e))?;
        Ok(count.unsigned_abs())
    }
}

/// A page in the order of registration.
pub(super) fn page(
    connection: &Connection,
    verified: &Verified,
    now: Now,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: u32,
) -> Outcome<Page<Entity>> {
    let list = List::entities(filter);
    let place = list.place(after)?.unwrap_or(0);
    let wanted = limit.clamp(1, PAGE_MAX) as usize;
    let snapshot = connection.unchecked_transaction().map_err(|e| failed(&e))?;
    let search = Search { connection: &snapshot, now, status: filter.status };
    let expression = Expression { facets: words::facet_groups(filter), ..Expression::default() };
    let column = if expression.is_empty() { "e.seq" } else { "w.rowid" };
    let from = from(&expression, filter.status);
    let sql = format!("SELECT e.seq {from} AND {column} > ?5 ORDER BY {column} LIMIT ?4");
    let text = (!expression.is_empty()).then(|| fts5(&expression));
    let params = params![text, search.at(), search.silent(), wanted as i64 + 1, place];
    let mut seqs: Vec<i64> = read::all(&snapshot, &sql, params, |r| r.get(0))?;
    let more = seqs.len() > wanted;
    seqs.truncate(wanted);
    let next = seqs.last().filter(|_| more).map(|seq| list.cursor(*seq));
    let found = seqs.iter().filter_map(|seq| search.entity(*seq, verified).transpose());
    let items = found.map(|found| found.map(|(entity, _)| entity));
    Ok(Page { items: items.collect::<Outcome<_>>()?, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_the_index_is_quoted_tokens() {
        let words = rank::query_words("\"NEAR(a b) OR strong:x* naïve 日");
        let expression = Expression::of(&words, &[vec!["_t00".into(), "_t01".into()]], false);
        let text = fts5(&expression);
        assert_eq!(
            text,
            "({strong weak} : \"near\" AND {strong weak} : \"a\" AND {strong weak} : \"b\" AND \
             {strong weak} : \"or\" AND {strong weak} : \"strong\" AND {strong weak} : \"x\" AND \
             {strong weak} : \"naive\" AND {strong weak} : \"_e697a5\") AND facets : (\"_t00\" OR \"_t01\")"
        );
    }
}
