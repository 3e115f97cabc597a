//! One transaction: what each job changes. Sweeping is in `sweep`, the index at the end in `finish`.
//!
//! Rows change at once, the index after the commit. What is counted (categories, tags) is summed up and
//! written once. An entity whose words did not change (the rule when a record is renewed) keeps its terms.

use std::collections::BTreeMap;

use homing_base::{NodeId, Now, Record, Wall};
use rusqlite::{OptionalExtension, Transaction, params};

use super::failed;
use super::prepare::{self, Prepared};
use super::writer::{Answer, Work};
use crate::entity::StoredCard;
use crate::limits::{ENTITIES_MAX, EVIDENCE_MAX, HISTORY_MAX};
use crate::listing::Listing;
use crate::storage::decide::{self, Decision, Head, Known};
use crate::storage::index::{Change, Place};
use crate::storage::rows::{self, int};
use crate::storage::terms::{Entry, Terms};
use crate::storage::verified::Verified;
use crate::storage::{ChangeKind, Put, Registration, StorageError};

/// Sizes that the writer keeps in mind.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    /// Entities and floors.
    pub(super) known: u64,
}

impl Sizes {
    pub(super) fn read(connection: &rusqlite::Connection) -> Result<Self, StorageError> {
        let sql = "SELECT (SELECT count(*) FROM entities) + (SELECT count(*) FROM floors)";
        let known: i64 = connection.query_row(sql, [], |r| r.get(0)).map_err(|e| failed(&e))?;
        Ok(Self { known: u64::try_from(known).unwrap_or(0) })
    }
}

/// The present row of an identity.
struct Row {
    seq: i64,
    head: Head,
    /// Digest of what the index has; nothing for a tombstone.
    indexed: Option<Vec<u8>>,
    updated: i64,
    source: i16,
    heartbeat: Option<Wall>,
}

pub(super) struct Batch<'t> {
    pub(super) transaction: &'t Transaction<'t>,
    verified: &'t Verified,
    pub(super) sizes: Sizes,
    /// What the index learns after the commit.
    pub(super) changes: Vec<Change>,
    pub(super) counts: BTreeMap<(char, String), i64>,
    /// Whether the list of changes has grown.
    pub(super) noted: bool,
}

pub(super) type Outcome<T> = Result<T, StorageError>;

impl<'t> Batch<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        sizes: Sizes,
        verified: &'t Verified,
    ) -> Self {
        let (changes, counts) = (Vec::new(), BTreeMap::new());
        Self { transaction, verified, sizes, changes, counts, noted: false }
    }

    pub(super) fn apply(&mut self, work: &Work) -> Outcome<Answer> {
        Ok(match work {
            Work::Put(now, prepared) => Answer::Put(self.admit_and_put(*now, prepared)?),
            Work::Import(now, many) => {
                let answers: Outcome<Vec<_>> =
                    many.iter().map(|p| self.admit_and_put(*now, p)).collect();
                Answer::Import(answers?)
            }
            Work::Card(id, card, listing) => Answer::Kept(self.card(id, card, listing)?),
            Work::Heartbeat(id, at) => Answer::Kept(self.heartbeat(id, *at)?),
            Work::Sweep(now) => {
                let (swept, more) = self.sweep(*now)?;
                Answer::Swept(swept, more)
            }
        })
    }

    pub(super) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Outcome<usize> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        statement.execute(params).map_err(|e| failed(&e))
    }

    /// The inner error is the record's fault and changes nothing.
    fn admit_and_put(&mut self, now: Now, prepared: &Prepared) -> Outcome<Outcome<Put>> {
        match decide::admit(now, &prepared.registration.record) {
            Ok(()) => self.put(now, prepared).map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn put(&mut self, now: Now, prepared: &Prepared) -> Outcome<Put> {
        let record = &prepared.registration.record;
        let row = self.row(&record.node_id())?;
        let known = match &row {
            Some(row) => Known::Entity(row.head.clone()),
            None => self.floor(&record.node_id())?,
        };
        let decision = decide::decide(now, &known, record);
        match (decision, row) {
            (Decision::Replace { .. }, None)
                if known == Known::Nothing && self.sizes.known >= ENTITIES_MAX =>
            {
                Ok(Put::Full)
            }
            (Decision::Replace { put, kind, until }, None) => {
                self.create(now, prepared, until, known != Known::Nothing)?;
                self.change(now.wall, kind, record)?;
                Ok(put)
            }
            (Decision::Replace { put, kind, until }, Some(row)) => {
                if put == Put::Equivocation {
                    self.evidence(&self.record_of(row.seq)?)?;
                    self.evidence(record)?;
                }
                self.replace(now, &row, prepared, until)?;
                self.change(now.wall, kind, record)?;
                Ok(put)
            }
            (Decision::Evidence(until), Some(row)) => {
                self.evidence(&self.record_of(row.seq)?)?;
                self.evidence(record)?;
                self.remember(&record.node_id(), until)?;
                Ok(Put::Equivocation)
            }
            (Decision::Evidence(_), None) => Ok(Put::Equivocation),
            (Decision::Remember(put, until), _) => {
                self.remember(&record.node_id(), until)?;
                Ok(put)
            }
            (Decision::Nothing(put), row) => {
                if let (Put::Same, Some(row)) = (&put, row) {
                    self.complete(&row, prepared)?;
                }
                Ok(put)
            }
        }
    }

    fn row(&self, id: &NodeId) -> Outcome<Option<Row>> {
        let sql =
            "SELECT seq, sequence, digest, withdrawn, expires, until, indexed, updated, source, heartbeat
                   FROM entities WHERE node_id = ?1";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        let read = |r: &rusqlite::Row<'_>| {
            let digest: [u8; 32] = r.get(2)?;
            let head = Head {
                sequence: rows::seq(r.get(1)?),
                digest,
                withdrawn: r.get(3)?,
                expires: rows::wall(r.get(4)?),
                until: rows::wall(r.get(5)?),
            };
            let (indexed, updated, source) = (r.get(6)?, r.get(7)?, r.get(8)?);
            let heartbeat = r.get::<_, Option<i64>>(9)?.map(rows::wall);
            Ok(Row { seq: r.get(0)?, head, indexed, updated, source, heartbeat })
        };
        statement.query_row([&id.0], read).optional().map_err(|e| failed(&e))
    }

    pub(super) fn floor(&self, id: &NodeId) -> Outcome<Known> {
        let sql = "SELECT sequence, until FROM floors WHERE node_id = ?1";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        let read = |r: &rusqlite::Row<'_>| {
            Ok(Known::Floor { sequence: rows::seq(r.get(0)?), until: rows::wall(r.get(1)?) })
        };
        let floor = statement.query_row([&id.0], read).optional().map_err(|e| failed(&e))?;
        Ok(floor.unwrap_or(Known::Nothing))
    }

    fn record_of(&self, seq: i64) -> Outcome<Record> {
        let sql = "SELECT record FROM contents WHERE seq = ?1";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        let bytes: Vec<u8> = statement.query_row([seq], |r| r.get(0)).map_err(|e| failed(&e))?;
        self.verified.read(&bytes)
    }

    pub(super) fn listing_of(&self, seq: i64) -> Outcome<Listing> {
        let sql = "SELECT listing FROM contents WHERE seq = ?1";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        let text: String = statement.query_row([seq], |r| r.get(0)).map_err(|e| failed(&e))?;
        rows::listing_of(&text)
    }

    fn create(
        &mut self,
        now: Now,
        prepared: &Prepared,
        until: Wall,
        had_floor: bool,
    ) -> Outcome<()> {
        let Prepared { registration, digest, name, listing, entry } = prepared;
        let record = &registration.record;
        let terms = entry.as_ref().map(|e| &e.terms);
        self.execute(
            "INSERT INTO entities (node_id, name, sequence, digest, issued, expires, withdrawn,
               until, registered, updated, source, indexed, terms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12)",
            params![
                record.node_id().0,
                name,
                int(record.sequence.0),
                digest,
                int(record.issued.0),
                int(record.expires.0),
                record.is_withdrawn(),
                int(until.0),
                int(now.wall.0),
                rows::source_number(registration.source),
                entry.as_ref().map(|e| &e.digest),
                terms.map_or(&[][..], |terms| &terms.0),
            ],
        )?;
        let seq = self.transaction.last_insert_rowid();
        self.execute(
            "INSERT INTO contents (seq, record, listing) VALUES (?1, ?2, ?3)",
            params![seq, record.bytes(), listing],
        )?;
        self.sizes.known += 1;
        if had_floor {
            self.execute("DELETE FROM floors WHERE node_id = ?1", [&record.node_id().0])?;
            self.sizes.known -= 1;
        }
        self.changes.push(Change::Row(place_of(seq, record, None)));
        if let Some(new) = terms.cloned() {
            self.count(&registration.listing, 1);
            self.changes.push(Change::Terms { seq, old: Terms::default(), new });
        }
        if let Some(card) = fitting(record, registration.card.as_ref()) {
            self.store_card(seq, card)?;
        }
        self.verified.remember(*digest, record);
        Ok(())
    }

    fn replace(&mut self, now: Now, row: &Row, prepared: &Prepared, until: Wall) -> Outcome<()> {
        let Prepared { registration, digest, name, .. } = prepared;
        let record = &registration.record;
        let previous = self.record_of(row.seq)?;
        self.archive(row, &previous)?;
        let kept = self.keep_card(row.seq, &previous, registration)?;
        let still_heard = !row.head.withdrawn && !record.is_withdrawn();
        let heartbeat = row.heartbeat.filter(|_| still_heard);
        self.execute(
            "UPDATE entities SET name = ?2, sequence = ?3, digest = ?4, issued = ?5, expires = ?6,
               withdrawn = ?7, until = ?8, updated = ?9, source = ?10, heartbeat = ?11
             WHERE seq = ?1",
            params![
                row.seq,
                name,
                int(record.sequence.0),
                digest,
                int(record.issued.0),
                int(record.expires.0),
                record.is_withdrawn(),
                int(until.0),
                int(now.wall.0),
                rows::source_number(registration.source),
                heartbeat.map(|at| int(at.0)),
            ],
        )?;
        self.changes.push(Change::Row(place_of(row.seq, record, heartbeat)));
        match kept {
            true => self.describe(row, record, &self.listing_of(row.seq)?)?,
            false => self.described(row, prepared)?,
        }
        self.execute(
            "UPDATE contents SET record = ?2 WHERE seq = ?1",
            params![row.seq, record.bytes()],
        )?;
        self.verified.remember(*digest, record);
        Ok(())
    }

    /// Puts the version that is being replaced into the history.
    fn archive(&mut self, row: &Row, previous: &Record) -> Outcome<()> {
        self.execute(
            "INSERT INTO history (entity, record, received, source) VALUES (?1, ?2, ?3, ?4)",
            params![row.seq, previous.bytes(), row.updated, row.source],
        )?;
        // The present version is one of them.
        self.execute(
            "DELETE FROM history WHERE entity = ?1 AND id <=
               (SELECT id FROM history WHERE entity = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            params![row.seq, HISTORY_MAX - 1],
        )?;
        Ok(())
    }

    /// Stores the card that came, keeps the one that still fits, drops another. Whether the present
    /// listing still holds: nothing came, and the record says of its card and itself what it said.
    fn keep_card(
        &mut self,
        seq: i64,
        previous: &Record,
        registration: &Registration,
    ) -> Outcome<bool> {
        let record = &registration.record;
        if let Some(card) = fitting(record, registration.card.as_ref()) {
            self.store_card(seq, card)?;
            return Ok(false);
        }
        let wanted = record.card.as_ref().map(|c| c.sha256.to_vec());
        self.execute(
            "DELETE FROM cards WHERE seq = ?1 AND (?3 OR sha256 IS NOT ?2)",
            params![seq, wanted, record.is_withdrawn()],
        )?;
        let sql = "SELECT 1 FROM cards WHERE seq = ?1";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        let has_card = statement.exists([seq]).map_err(|e| failed(&e))?;
        Ok(has_card && previous.name == record.name && previous.tags == record.tags)
    }

    fn describe(&mut self, row: &Row, record: &Record, listing: &Listing) -> Outcome<()> {
        let entry = prepare::entry_of(record, listing);
        self.write_listing(row, listing, &rows::listing_text(listing), entry.as_ref())
    }

    fn described(&mut self, row: &Row, prepared: &Prepared) -> Outcome<()> {
        let Prepared { registration, listing, entry, .. } = prepared;
        self.write_listing(row, &registration.listing, listing, entry.as_ref())
    }

    /// Writes a listing and what the index has of it, if it differs.
    fn write_listing(
        &mut self,
        row: &Row,
        listing: &Listing,
        text: &str,
        entry: Option<&Entry>,
    ) -> Outcome<()> {
        if entry.map(|e| &e.digest) != row.indexed.as_ref() {
            let old = self.terms_of(row.seq)?;
            if row.indexed.is_some() {
                self.count(&self.listing_of(row.seq)?, -1);
            }
            if entry.is_some() {
                self.count(listing, 1);
            }
            let new = entry.map(|e| e.terms.clone()).unwrap_or_default();
            self.execute(
                "UPDATE entities SET indexed = ?2, terms = ?3 WHERE seq = ?1",
                params![row.seq, entry.map(|e| &e.digest), new.0],
            )?;
            self.changes.push(Change::Terms { seq: row.seq, old, new });
        }
        self.execute(
            "UPDATE contents SET listing = ?2 WHERE seq = ?1 AND listing <> ?2",
            params![row.seq, text],
        )?;
        Ok(())
    }

    fn terms_of(&self, seq: i64) -> Outcome<Terms> {
        let sql = "SELECT terms FROM entities WHERE seq = ?1";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        statement.query_row([seq], |r| r.get(0)).map(Terms).map_err(|e| failed(&e))
    }

    /// The same record came again: perhaps with the card that was missing.
    fn complete(&mut self, row: &Row, prepared: &Prepared) -> Outcome<()> {
        let registration = &prepared.registration;
        let Some(card) = fitting(&registration.record, registration.card.as_ref()) else {
            return Ok(());
        };
        let sql = "SELECT 1 FROM cards WHERE seq = ?1";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        if statement.exists([row.seq]).map_err(|e| failed(&e))? {
            return Ok(());
        }
        drop(statement);
        self.store_card(row.seq, card)?;
        self.described(row, prepared)
    }

    fn store_card(&self, seq: i64, card: &StoredCard) -> Outcome<()> {
        self.execute(
            "INSERT OR REPLACE INTO cards (seq, sha256, fetched, bytes) VALUES (?1, ?2, ?3, ?4)",
            params![seq, card.sha256, int(card.fetched.0), card.bytes],
        )?;
        Ok(())
    }

    fn evidence(&self, record: &Record) -> Outcome<()> {
        self.execute(
            "INSERT OR IGNORE INTO evidence (node_id, sequence, digest, record)
             SELECT ?1, ?2, ?3, ?4
             WHERE (SELECT count(*) FROM evidence WHERE node_id = ?1) < ?5",
            params![
                record.node_id().0,
                int(record.sequence.0),
                record.digest(),
                record.bytes(),
                EVIDENCE_MAX
            ],
        )?;
        Ok(())
    }

    fn remember(&self, id: &NodeId, until: Wall) -> Outcome<()> {
        for table in ["entities", "floors"] {
            let sql = format!("UPDATE {table} SET until = max(until, ?2) WHERE node_id = ?1");
            self.execute(&sql, params![id.0, int(until.0)])?;
        }
        Ok(())
    }

    fn change(&mut self, at: Wall, kind: ChangeKind, record: &Record) -> Outcome<()> {
        self.note_change(at, kind, &record.node_id().0, int(record.sequence.0))
    }

    pub(super) fn note_change(
        &mut self,
        at: Wall,
        kind: ChangeKind,
        id: &[u8; 32],
        sequence: i64,
    ) -> Outcome<()> {
        self.noted = true;
        self.execute(
            "INSERT INTO changes (kind, node_id, sequence, at) VALUES (?1, ?2, ?3, ?4)",
            params![rows::change_number(kind), id, sequence, int(at.0)],
        )?;
        Ok(())
    }

    pub(super) fn count(&mut self, listing: &Listing, by: i64) {
        for counted in rows::counted(listing) {
            *self.counts.entry(counted).or_default() += by;
        }
    }

    fn card(&mut self, id: &NodeId, card: &StoredCard, listing: &Listing) -> Outcome<bool> {
        let Some(row) = self.row(id)? else { return Ok(false) };
        let record = self.record_of(row.seq)?;
        let Some(card) = fitting(&record, Some(card)) else { return Ok(false) };
        self.store_card(row.seq, card)?;
        self.describe(&row, &record, listing)?;
        Ok(true)
    }

    fn heartbeat(&mut self, id: &NodeId, at: Wall) -> Outcome<bool> {
        let sql = "UPDATE entities SET heartbeat = ?2
             WHERE node_id = ?1 AND withdrawn = 0 AND (heartbeat IS NULL OR heartbeat < ?2)
             RETURNING seq";
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        let seq = statement.query_row(params![id.0, int(at.0)], |r| r.get(0)).optional();
        let seq: Option<i64> = seq.map_err(|e| failed(&e))?;
        self.changes.extend(seq.map(|seq| Change::Heartbeat { seq, at }));
        Ok(seq.is_some())
    }
}

/// What the index reads of a row.
fn place_of(seq: i64, record: &Record, heartbeat: Option<Wall>) -> Place {
    Place {
        seq,
        tie: Place::tie(&record.node_id()),
        issued: record.issued,
        expires: record.expires,
        heartbeat,
        withdrawn: record.is_withdrawn(),
    }
}

/// The card, if it is the one that the record names.
fn fitting<'c>(record: &Record, card: Option<&'c StoredCard>) -> Option<&'c StoredCard> {
    let named = record.card.as_ref()?;
    card.filter(|card| card.sha256 == named.sha256 && !record.is_withdrawn())
}
