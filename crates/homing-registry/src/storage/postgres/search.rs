//! Pages and searches. What is asked and how it is ranked is decided in `rank`; here it is fetched.
//!
//! A query reaches PostgreSQL as a bound `tsquery` of quoted tokens of `[a-z0-9_]`: no operator, weight or
//! prefix mark of the user's gets through. Statements of one search see what was committed before each.

use std::collections::BTreeSet;

use homing_base::{NodeId, Now};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::read::{entities_where, question};
use super::{PostgresStorage, failed};
use crate::entity::{Entity, HEARTBEAT_LIFE_MS, Status};
use crate::limits::{HITS_MAX, OFFSET_MAX, PAGE_MAX};
use crate::storage::cursor::List;
use crate::storage::rank::{
    self, CANDIDATES_MAX, Candidate, Expression, FREQUENCY_MAX, Ranking, TOTAL_MAX, Term, Word,
};
use crate::storage::rows::{self, int};
use crate::storage::words;
use crate::storage::{Cursor, Filter, Hit, Hits, Page, Query, Score, StorageError};

type Outcome<T> = Result<T, StorageError>;

/// An expression in the language of `tsquery`.
fn tsquery(expression: &Expression) -> String {
    let term = |t: &Term| {
        let mark = match (t.prefix, t.strong) {
            (true, true) => ":*A",
            (true, false) => ":*",
            (false, true) => ":A",
            (false, false) => "",
        };
        format!("'{}'{mark}", t.token)
    };
    let terms: Vec<_> = expression.terms.iter().map(term).collect();
    let mut parts = Vec::new();
    if !terms.is_empty() {
        let glue = if expression.any { " | " } else { " & " };
        parts.push(format!("({})", terms.join(glue)));
    }
    for group in &expression.facets {
        let any: Vec<_> = group.iter().map(|facet| format!("'{}'", facet.text())).collect();
        parts.push(format!("({})", any.join(" | ")));
    }
    parts.join(" & ")
}

/// Rows of an expression under a status: `$1` the expression, `$2` now, `$3` the oldest heartbeat of an
/// active entity, `$4` a limit. Every one is named, so that every one has a type.
fn from(expression: &Expression, status: Option<Status>) -> String {
    let condition = match status {
        None => "e.withdrawn = FALSE AND e.expires > $2",
        Some(Status::Active) => {
            "e.withdrawn = FALSE AND e.expires > $2 AND (e.heartbeat IS NULL OR e.heartbeat >= $3)"
        }
        Some(Status::Inactive) => "e.withdrawn = FALSE AND e.expires > $2 AND e.heartbeat < $3",
        Some(Status::Expired) => "e.withdrawn = FALSE AND e.expires <= $2",
        Some(Status::Withdrawn) => "e.withdrawn = TRUE",
    };
    let named = "$1::text IS NOT NULL AND $2::bigint IS NOT NULL AND $3::bigint IS NOT NULL";
    match expression.is_empty() {
        true => format!(
            "FROM entities e LEFT JOIN words w ON w.seq = e.seq WHERE {named} AND {condition}"
        ),
        false => format!(
            "FROM words w JOIN entities e ON e.seq = w.seq
             WHERE {named} AND w.search @@ $1::tsquery AND {condition}"
        ),
    }
}

struct Search<'s> {
    store: &'s PostgresStorage,
    now: Now,
    status: Option<Status>,
}

impl Search<'_> {
    async fn rows(&self, sql: String, text: &str, limit: i64) -> Outcome<Vec<PgRow>> {
        let silent = int(self.now.wall.0.saturating_sub(HEARTBEAT_LIFE_MS));
        let query = question(sql).bind(text.to_owned()).bind(int(self.now.wall.0));
        self.store.all(query.bind(silent).bind(limit)).await
    }

    /// Entities with each word, dead ones included: weights, not answers.
    async fn frequencies(&self, words: &[Word]) -> Outcome<Vec<u64>> {
        let texts: Vec<_> =
            words.iter().map(|w| tsquery(&Expression::of([w], &[], false))).collect();
        let sql = "SELECT (SELECT count(*) FROM
              (SELECT 1 FROM words w WHERE w.search @@ q.text::tsquery LIMIT $2) found)
            FROM UNNEST($1::text[]) WITH ORDINALITY AS q (text, n) ORDER BY q.n";
        let query = sqlx::query(sql).bind(texts).bind(int(FREQUENCY_MAX));
        let rows = self.store.all(query).await?;
        let count = |row: &PgRow| row.try_get::<i64, _>(0).map(i64::unsigned_abs);
        rows.iter().map(|row| count(row).map_err(|e| failed(&e))).collect()
    }

    async fn weighted(&self, text: &str) -> Outcome<Vec<Word>> {
        let mut words = rank::query_words(text);
        if words.is_empty() {
            return Ok(words);
        }
        let frequencies = self.frequencies(&words).await?;
        words.iter_mut().zip(frequencies).for_each(|(word, f)| word.frequency = f);
        if let Some(last) = words.last_mut().filter(|w| rank::may_be_prefix(w)) {
            last.prefix = true;
            last.frequency = self.frequencies(std::slice::from_ref(last)).await?[0];
        }
        Ok(words)
    }

    async fn total(&self, expression: &Expression) -> Outcome<u64> {
        let from = from(expression, self.status);
        let sql = format!("SELECT count(*) FROM (SELECT 1 {from} LIMIT $4) found");
        let rows = self.rows(sql, &tsquery(expression), int(TOTAL_MAX)).await?;
        let count: i64 = rows[0].try_get(0).map_err(|e| failed(&e))?;
        Ok(count.unsigned_abs())
    }

    /// What the query means: the expression and how many entities it fits.
    async fn meaning(
        &self,
        words: &[Word],
        facets: &[Vec<words::Facet>],
    ) -> Outcome<(Expression, u64)> {
        let known: Vec<_> = words.iter().filter(|w| w.frequency > 0).collect();
        if known.is_empty() && !words.is_empty() {
            return Ok((Expression::default(), 0));
        }
        let all = Expression::of(known.iter().copied(), facets, false);
        let total = self.total(&all).await?;
        if total > 0 || known.len() < 2 {
            return Ok((all, total));
        }
        let any = Expression::of(known, facets, true);
        let total = self.total(&any).await?;
        Ok((any, total))
    }

    async fn candidates(&self, expression: &Expression, total: u64) -> Outcome<Vec<Candidate>> {
        let tiers = match total <= CANDIDATES_MAX as u64 {
            true => vec![expression.clone()],
            false => expression.tiers(),
        };
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for tier in tiers {
            for candidate in self.tier(&tier).await? {
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

    async fn tier(&self, expression: &Expression) -> Outcome<Vec<Candidate>> {
        let sql = format!(
            "SELECT e.seq, e.node_id, e.issued, e.heartbeat, e.withdrawn, e.expires, w.profile
             {} ORDER BY e.seq DESC LIMIT $4",
            from(expression, self.status)
        );
        let rows = self.rows(sql, &tsquery(expression), CANDIDATES_MAX as i64).await?;
        rows.iter().map(|row| self.candidate(row)).collect()
    }

    fn candidate(&self, row: &PgRow) -> Outcome<Candidate> {
        let read = || -> Result<_, sqlx::Error> {
            let (withdrawn, expires): (bool, i64) = (row.try_get(4)?, row.try_get(5)?);
            let id: &[u8] = row.try_get(1)?;
            let candidate = Candidate {
                seq: row.try_get(0)?,
                node_id: NodeId([0; 32]),
                issued: rows::wall(row.try_get(2)?),
                heartbeat: row.try_get::<Option<i64>, _>(3)?.map(rows::wall),
                live: !withdrawn && expires > int(self.now.wall.0),
                profile: row.try_get::<Option<Vec<u8>>, _>(6)?.unwrap_or_default(),
            };
            Ok((id, candidate))
        };
        let (id, mut candidate) = read().map_err(|e| failed(&e))?;
        candidate.node_id = NodeId(rows::bytes32(id)?);
        Ok(candidate)
    }

    /// Places behind the ranked ones, in the order of the index.
    async fn rest(
        &self,
        expression: &Expression,
        ranked: &[i64],
        wanted: usize,
    ) -> Outcome<Vec<i64>> {
        let from = from(expression, self.status);
        let sql = format!("SELECT e.seq {from} ORDER BY e.seq DESC LIMIT $4");
        let limit = i64::from(OFFSET_MAX + HITS_MAX) + CANDIDATES_MAX as i64;
        let rows = self.rows(sql, &tsquery(expression), limit).await?;
        let all: Result<Vec<i64>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        let ranked: BTreeSet<_> = ranked.iter().collect();
        let others = all.map_err(|e| failed(&e))?.into_iter().filter(|s| !ranked.contains(s));
        Ok(others.take(wanted).collect())
    }

    async fn entities(&self, seqs: &[i64]) -> Outcome<Vec<(i64, Entity, Vec<u8>)>> {
        let query = entities_where("WHERE e.seq = ANY($1) ORDER BY e.seq").bind(seqs.to_vec());
        let rows = self.store.all(query).await?;
        rows.iter().map(|row| self.store.entity_of(row)).collect()
    }
}

/// Finds entities.
pub(super) async fn search(store: &PostgresStorage, now: Now, query: &Query) -> Outcome<Hits> {
    let search = Search { store, now, status: query.filter.status };
    let words = search.weighted(&query.text).await?;
    let facets = words::facet_groups(&query.filter);
    let (expression, total) = search.meaning(&words, &facets).await?;
    if total == 0 {
        return Ok(Hits { hits: Vec::new(), total });
    }
    // A measure for weights: an upper bound that costs nothing.
    let row = sqlx::query("SELECT entities FROM ledger").fetch_one(&store.pool).await;
    let entities: i64 = row.and_then(|row| row.try_get(0)).map_err(|e| failed(&e))?;
    let ranking = Ranking::new(now, words, entities.unsigned_abs());
    let ranked = ranking.sort(search.candidates(&expression, total).await?);
    let (first, end) = rank::window(query);
    let mut places: Vec<(i64, Option<Score>)> =
        ranked.into_iter().map(|(c, score)| (c.seq, Some(score))).collect();
    if end > places.len() && places.len() == CANDIDATES_MAX {
        let seqs: Vec<_> = places.iter().map(|(seq, _)| *seq).collect();
        let rest = search.rest(&expression, &seqs, end - places.len()).await?;
        places.extend(rest.into_iter().map(|seq| (seq, None)));
    }
    let shown: Vec<_> = places.into_iter().skip(first).take(end - first).collect();
    let seqs: Vec<_> = shown.iter().map(|(seq, _)| *seq).collect();
    let mut found = search.entities(&seqs).await?;
    let mut hits = Vec::with_capacity(shown.len());
    for (seq, score) in shown {
        // Swept between two statements: one hit less.
        let Some(place) = found.iter().position(|(s, ..)| *s == seq) else { continue };
        let (_, entity, profile) = found.swap_remove(place);
        let mut score = score.unwrap_or_else(|| ranking.score_of(seq, &entity, &profile));
        ranking.explain(&profile, &entity, &mut score);
        hits.push(Hit { entity, score });
    }
    Ok(Hits { hits, total })
}

/// A page in the order of registration.
pub(super) async fn page(
    store: &PostgresStorage,
    now: Now,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: u32,
) -> Outcome<Page<Entity>> {
    let list = List::entities(filter);
    let place = list.place(after)?.unwrap_or(0);
    let wanted = limit.clamp(1, PAGE_MAX) as usize;
    let search = Search { store, now, status: filter.status };
    let expression = Expression { facets: words::facet_groups(filter), ..Expression::default() };
    let from = from(&expression, filter.status);
    // The place is a number of ours.
    let sql = format!("SELECT e.seq {from} AND e.seq > {place} ORDER BY e.seq LIMIT $4");
    let rows = search.rows(sql, &tsquery(&expression), wanted as i64 + 1).await?;
    let seqs: Result<Vec<i64>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    let mut seqs = seqs.map_err(|e| failed(&e))?;
    let more = seqs.len() > wanted;
    seqs.truncate(wanted);
    let next = seqs.last().filter(|_| more).map(|seq| list.cursor(*seq));
    let items = search.entities(&seqs).await?.into_iter().map(|(_, entity, _)| entity).collect();
    Ok(Page { items, next })
}
