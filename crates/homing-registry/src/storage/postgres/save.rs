//! The end of a transaction: everything that changed, one statement for each table.

use homing_base::{NodeId, Now};
use sqlx::Row;

use super::batch::{Batch, Outcome};
use crate::limits::{CHANGES_MAX, EVIDENCE_MAX, HISTORY_MAX};
use crate::storage::rows::{self, int};
use crate::storage::words::Indexed;
use crate::storage::{ChangeKind, Swept};

/// Entities that one transaction sweeps of each kind.
const SWEEP_MAX: i64 = 1_000;

impl Batch<'_> {
    /// Writes everything so far; the caller commits.
    pub(super) async fn save(&mut self) -> Outcome<()> {
        self.save_entities().await?;
        self.save_words().await?;
        self.save_cards().await?;
        self.save_history().await?;
        self.save_evidence().await?;
        self.save_floors().await?;
        self.save_counts().await?;
        self.save_changes().await?;
        let ledger = self.ledger;
        let sql = "UPDATE ledger SET entities = $1, versions = $2, changes = $3, known = $4";
        let update = sqlx::query(sql).bind(ledger.entities).bind(ledger.versions);
        update.bind(ledger.changes).bind(ledger.known).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn save_entities(&mut self) -> Outcome<()> {
        let dirty: Vec<_> = self.states.iter().filter(|(_, s)| s.dirty).collect();
        if dirty.is_empty() {
            return Ok(());
        }
        let each = |f: fn(&super::batch::State) -> i64| -> Vec<i64> {
            dirty.iter().map(|(_, s)| f(s)).collect()
        };
        let ids: Vec<_> = dirty.iter().map(|(id, _)| id.0.to_vec()).collect();
        let names: Vec<_> =
            dirty.iter().map(|(_, s)| s.record.name.as_ref().map(ToString::to_string)).collect();
        let digests: Vec<_> = dirty.iter().map(|(_, s)| s.head.digest.to_vec()).collect();
        let withdrawn: Vec<_> = dirty.iter().map(|(_, s)| s.head.withdrawn).collect();
        let sources: Vec<_> = dirty.iter().map(|(_, s)| s.source).collect();
        let indexed: Vec<_> = dirty.iter().map(|(_, s)| s.indexed.clone()).collect();
        let records: Vec<_> = dirty.iter().map(|(_, s)| s.record.bytes().to_vec()).collect();
        let listings: Vec<_> = dirty.iter().map(|(_, s)| rows::listing_text(&s.listing)).collect();
        let seqs = each(|s| s.seq);
        let sql = "INSERT INTO entities (seq, node_id, name, sequence, digest, issued, expires,
              withdrawn, until, registered, updated, source, indexed)
            SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::bytea[],
              $6::bigint[], $7::bigint[], $8::bool[], $9::bigint[], $10::bigint[], $11::bigint[],
              $12::smallint[], $13::bytea[])
            ON CONFLICT (seq) DO UPDATE SET name = EXCLUDED.name, sequence = EXCLUDED.sequence,
              digest = EXCLUDED.digest, issued = EXCLUDED.issued, expires = EXCLUDED.expires,
              withdrawn = EXCLUDED.withdrawn, until = EXCLUDED.until, updated = EXCLUDED.updated,
              source = EXCLUDED.source, indexed = EXCLUDED.indexed,
              heartbeat = CASE WHEN entities.withdrawn OR EXCLUDED.withdrawn THEN NULL
                          ELSE entities.heartbeat END";
        let query = sqlx::query(sql).bind(&seqs).bind(ids).bind(names);
        let query = query.bind(each(|s| int(s.head.sequence.0))).bind(digests);
        let query = query.bind(each(|s| int(s.record.issued.0)));
        let query = query.bind(each(|s| int(s.head.expires.0))).bind(withdrawn);
        let query = query.bind(each(|s| int(s.head.until.0))).bind(each(|s| s.registered));
        let query = query.bind(each(|s| s.updated)).bind(sources).bind(indexed);
        query.execute(&mut *self.connection).await?;
        self.states.values_mut().for_each(|s| s.dirty = false);
        let sql = "INSERT INTO contents (seq, record, listing)
            SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::text[])
            ON CONFLICT (seq) DO UPDATE SET record = EXCLUDED.record, listing = EXCLUDED.listing";
        let query = sqlx::query(sql).bind(seqs).bind(records).bind(listings);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn save_words(&mut self) -> Outcome<()> {
        let (mut gone, mut seqs, mut texts, mut profiles) = (vec![], vec![], vec![], vec![]);
        for (seq, indexed) in std::mem::take(&mut self.words) {
            match indexed {
                None => gone.push(seq),
                Some(indexed) => {
                    seqs.push(seq);
                    texts.push(tsvector(&indexed));
                    profiles.push(indexed.profile);
                }
            }
        }
        self.delete("DELETE FROM words WHERE seq = ANY($1)", gone).await?;
        if seqs.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO words (seq, search, profile)
            SELECT s, t::tsvector, p FROM UNNEST($1::bigint[], $2::text[], $3::bytea[]) AS n (s, t, p)
            ON CONFLICT (seq) DO UPDATE SET search = EXCLUDED.search, profile = EXCLUDED.profile";
        let query = sqlx::query(sql).bind(seqs).bind(texts).bind(profiles);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn delete(&mut self, sql: &'static str, seqs: Vec<i64>) -> Outcome<()> {
        if !seqs.is_empty() {
            sqlx::query(sql).bind(seqs).execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn save_cards(&mut self) -> Outcome<()> {
        let (mut gone, mut seqs, mut digests) = (vec![], vec![], vec![]);
        let (mut fetched, mut bytes) = (vec![], vec![]);
        for (seq, card) in std::mem::take(&mut self.cards) {
            let Some(card) = card else {
                gone.push(seq);
                continue;
            };
            seqs.push(seq);
            digests.push(card.sha256.to_vec());
            fetched.push(int(card.fetched.0));
            bytes.push(card.bytes);
        }
        self.delete("DELETE FROM cards WHERE seq = ANY($1)", gone).await?;
        if seqs.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO cards (seq, sha256, fetched, bytes)
            SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::bigint[], $4::bytea[])
            ON CONFLICT (seq) DO UPDATE SET sha256 = EXCLUDED.sha256, fetched = EXCLUDED.fetched,
              bytes = EXCLUDED.bytes";
        let query = sqlx::query(sql).bind(seqs).bind(digests).bind(fetched).bind(bytes);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn save_history(&mut self) -> Outcome<()> {
        let replaced = std::mem::take(&mut self.replaced);
        if replaced.is_empty() {
            return Ok(());
        }
        let first = self.ledger.versions + 1;
        self.ledger.versions += replaced.len() as i64;
        let ids: Vec<_> = (first..=self.ledger.versions).collect();
        let entities: Vec<_> = replaced.iter().map(|r| r.entity).collect();
        let records: Vec<_> = replaced.iter().map(|r| r.record.clone()).collect();
        let received: Vec<_> = replaced.iter().map(|r| r.received).collect();
        let sources: Vec<_> = replaced.iter().map(|r| r.source).collect();
        let sql = "INSERT INTO history (id, entity, record, received, source)
            SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::smallint[])";
        let query = sqlx::query(sql).bind(ids).bind(&entities).bind(records);
        query.bind(received).bind(sources).execute(&mut *self.connection).await?;
        let sql = "DELETE FROM history h USING UNNEST($1::bigint[]) AS e (entity)
            WHERE h.entity = e.entity AND h.id <= (SELECT id FROM history o
              WHERE o.entity = e.entity ORDER BY id DESC LIMIT 1 OFFSET $2)";
        let query = sqlx::query(sql).bind(entities).bind(i64::from(HISTORY_MAX) - 1);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn save_evidence(&mut self) -> Outcome<()> {
        for record in std::mem::take(&mut self.evidence) {
            let sql = "INSERT INTO evidence (node_id, sequence, digest, record)
                SELECT $1, $2, $3, $4
                WHERE (SELECT count(*) FROM evidence WHERE node_id = $1) < $5
                ON CONFLICT DO NOTHING";
            let query = sqlx::query(sql).bind(record.node_id().0.to_vec());
            let query = query.bind(int(record.sequence.0)).bind(record.digest().to_vec());
            let query = query.bind(record.bytes()).bind(i64::from(EVIDENCE_MAX));
            query.execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn save_floors(&mut self) -> Outcome<()> {
        for (id, until) in std::mem::take(&mut self.remembered) {
            for sql in [
                "UPDATE entities SET until = greatest(until, $2) WHERE node_id = $1",
                "UPDATE floors SET until = greatest(until, $2) WHERE node_id = $1",
            ] {
                let query = sqlx::query(sql).bind(id.0.to_vec()).bind(int(until.0));
                query.execute(&mut *self.connection).await?;
            }
        }
        let gone: Vec<_> = self.gone_floors.drain(..).map(|id| id.0.to_vec()).collect();
        if !gone.is_empty() {
            let query = sqlx::query("DELETE FROM floors WHERE node_id = ANY($1)").bind(gone);
            query.execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn save_counts(&mut self) -> Outcome<()> {
        let counts = std::mem::take(&mut self.counts);
        let counts: Vec<_> = counts.into_iter().filter(|(_, by)| *by != 0).collect();
        if counts.is_empty() {
            return Ok(());
        }
        let kinds: Vec<_> = counts.iter().map(|((kind, _), _)| kind.to_string()).collect();
        let names: Vec<_> = counts.iter().map(|((_, name), _)| name.clone()).collect();
        let by: Vec<_> = counts.iter().map(|(_, by)| *by).collect();
        let sql = "INSERT INTO counts (kind, name, count)
            SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[])
            ON CONFLICT (kind, name) DO UPDATE SET count = counts.count + EXCLUDED.count";
        let query = sqlx::query(sql).bind(kinds).bind(&names).bind(by);
        query.execute(&mut *self.connection).await?;
        let sql = "DELETE FROM counts WHERE name = ANY($1) AND count <= 0";
        sqlx::query(sql).bind(names).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn save_changes(&mut self) -> Outcome<()> {
        let notes = std::mem::take(&mut self.notes);
        if notes.is_empty() {
            return Ok(());
        }
        let first = self.ledger.changes + 1;
        self.ledger.changes += notes.len() as i64;
        let numbers: Vec<_> = (first..=self.ledger.changes).collect();
        let kinds: Vec<_> = notes.iter().map(|n| n.kind).collect();
        let ids: Vec<_> = notes.iter().map(|n| n.node_id.to_vec()).collect();
        let sequences: Vec<_> = notes.iter().map(|n| n.sequence).collect();
        let at: Vec<_> = notes.iter().map(|n| n.at).collect();
        let sql = "INSERT INTO changes (number, kind, node_id, sequence, at)
            SELECT * FROM UNNEST($1::bigint[], $2::smallint[], $3::bytea[], $4::bigint[], $5::bigint[])";
        let query = sqlx::query(sql).bind(numbers).bind(kinds).bind(ids).bind(sequences);
        query.bind(at).execute(&mut *self.connection).await?;
        let oldest = self.ledger.changes - int(CHANGES_MAX);
        let query = sqlx::query("DELETE FROM changes WHERE number <= $1").bind(oldest);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    /// What has expired leaves a floor; tombstones leave when what they withdrew is dead.
    pub(super) async fn sweep(&mut self, now: Now) -> Outcome<(Swept, bool)> {
        // What came before in this transaction must be seen by the statements below.
        self.save().await?;
        let at = int(now.wall.0);
        let sql = "SELECT e.seq, e.node_id, e.sequence, e.until, c.listing
            FROM entities e JOIN contents c ON c.seq = e.seq
            WHERE e.withdrawn = FALSE AND e.expires <= $1 ORDER BY e.expires, e.seq LIMIT $2";
        let expired = sqlx::query(sql).bind(at).bind(SWEEP_MAX);
        let expired = expired.fetch_all(&mut *self.connection).await?;
        let (mut seqs, mut ids) = (Vec::<i64>::new(), Vec::<Vec<u8>>::new());
        for row in &expired {
            let id = NodeId(rows::bytes32(row.try_get(1)?)?);
            self.note(now.wall, ChangeKind::Expired, &id, rows::seq(row.try_get(2)?));
            self.count(&rows::listing_of(row.try_get(4)?)?, -1);
            seqs.push(row.try_get(0)?);
            ids.push(id.0.to_vec());
            self.states.remove(&id);
            let floor = (rows::seq(row.try_get(2)?), rows::wall(row.try_get(3)?));
            self.floors.insert(id, floor);
        }
        let sql = "INSERT INTO floors (node_id, sequence, until)
            SELECT node_id, sequence, until FROM entities WHERE seq = ANY($1) AND until > $2";
        let floors = sqlx::query(sql).bind(&seqs).bind(at);
        let floors = floors.execute(&mut *self.connection).await?.rows_affected();
        let sql = "SELECT seq, node_id FROM entities WHERE withdrawn AND until <= $1
            ORDER BY until, seq LIMIT $2";
        let tombstones = sqlx::query(sql).bind(at).bind(SWEEP_MAX);
        let tombstones = tombstones.fetch_all(&mut *self.connection).await?;
        for row in &tombstones {
            let id = NodeId(rows::bytes32(row.try_get(1)?)?);
            seqs.push(row.try_get(0)?);
            ids.push(id.0.to_vec());
            self.states.remove(&id);
        }
        self.remove(&seqs, &ids).await?;
        let old = sqlx::query("DELETE FROM floors WHERE until <= $1").bind(at);
        let old = old.execute(&mut *self.connection).await?.rows_affected();
        self.ledger.known += int(floors) - int(old) - seqs.len() as i64;
        let full = |n: usize| n as i64 == SWEEP_MAX;
        let more = full(expired.len()) || full(tombstones.len());
        let swept = Swept { expired: expired.len() as u64, tombstones: tombstones.len() as u64 };
        Ok((swept, more))
    }

    async fn remove(&mut self, seqs: &[i64], ids: &[Vec<u8>]) -> Outcome<()> {
        if seqs.is_empty() {
            return Ok(());
        }
        for sql in [
            "DELETE FROM entities WHERE seq = ANY($1)",
            "DELETE FROM contents WHERE seq = ANY($1)",
            "DELETE FROM words WHERE seq = ANY($1)",
            "DELETE FROM cards WHERE seq = ANY($1)",
            "DELETE FROM history WHERE entity = ANY($1)",
        ] {
            sqlx::query(sql).bind(seqs).execute(&mut *self.connection).await?;
        }
        let query = sqlx::query("DELETE FROM evidence WHERE node_id = ANY($1)").bind(ids);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }
}

/// Tokens with the weight of their field (A: strong, D: weak, none: facets); every one is `[a-z0-9_]+`.
fn tsvector(indexed: &Indexed) -> String {
    let strong = indexed.strong.split(' ').filter(|t| !t.is_empty()).map(|t| format!("{t}:1A"));
    let weak = indexed.weak.split(' ').filter(|t| !t.is_empty()).map(|t| format!("{t}:1"));
    let facets = indexed.facets.split(' ').filter(|t| !t.is_empty()).map(str::to_owned);
    strong.chain(weak).chain(facets).collect::<Vec<_>>().join(" ")
}
