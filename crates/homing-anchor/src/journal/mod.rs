//! The journal of one log's anchoring, in SQLite: written before anything is sent.
//!
//! ```text
//! points   size | root                     checkpoints that were wanted; only the newest waits
//! updates  number | body 136 B             updates that were wanted, until they are final
//! flights  nonce | what | raw, hashes      transactions that were signed, until what they did is final
//! marks    what | where | final | evidence what was seen outside; evidence once it is final
//! meta     origin, counters, blocks read
//! ```
//! `synchronous=FULL`: what this returns from is on the disk. What is anchored is taken from the outside at every round, so a
//! journal that was lost costs a search through past events and no second transaction.

#[cfg(feature = "evm")]
mod flights;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::limits::{EVIDENCE_BYTES_MAX, UPDATES_WAITING_MAX};
use crate::{Evidence, Point, Update};

#[cfg(feature = "evm")]
pub use flights::Flight;

const UPDATE_BYTES: usize = 136;

/// The open journal of one origin.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    origin: String,
    path: PathBuf,
}

/// What a transaction or a token is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A checkpoint.
    Point(Point),
    /// Updates `first` to `last`, both included.
    Updates {
        /// Number of the first.
        first: u64,
        /// Number of the last.
        last: u64,
    },
}

/// Something that was seen outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Row in the journal; 0 for one that is not in it yet.
    pub id: i64,
    /// What it is about.
    pub subject: Subject,
    /// Block number; 0 without a chain.
    pub block: u64,
    /// Block hash, or SHA-256 of the token.
    pub block_hash: [u8; 32],
    /// Transaction hash, or zero.
    pub transaction: [u8; 32],
}

/// A point outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// The point.
    pub point: Point,
    /// The signed text that came with it, if this journal asked for it.
    pub note: Option<String>,
}

/// What waits, for metrics and health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Log entries (points) or updates that no final mark covers.
    pub entries: u64,
    /// When the oldest of them was asked for, Unix milliseconds.
    pub since_ms: Option<u64>,
    /// Size of the newest final point, or number of final updates.
    pub anchored: u64,
    /// Marks that are final.
    pub marks: u64,
    /// Marks that disappeared from the chain since the journal began.
    pub removed: u64,
    /// Transactions and requests sent since the journal began.
    pub sent: u64,
    /// Transactions that were included without effect.
    pub reverted: u64,
    /// Marks with an update that was anchored before: two journals of one log, or a copied key.
    pub duplicates: u64,
}

impl Journal {
    /// Opens or makes the journal at `path`, mode 0600.
    ///
    /// # Errors
    /// [`JournalError::Foreign`] when it is another origin's, [`JournalError::Newer`] when a newer version wrote it,
    /// [`JournalError::Sqlite`] when it is no database or cannot be written.
    pub fn open(path: &Path, origin: &str) -> Result<Self, JournalError> {
        schema::private(path).map_err(|source| JournalError::Io { path: path.into(), source })?;
        let connection = Connection::open(path).map_err(|e| sqlite(path, e))?;
        let mut journal = Self { connection, origin: origin.into(), path: path.into() };
        schema::prepare(&mut journal)?;
        Ok(journal)
    }

    /// The log's origin line.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Asks for a checkpoint; `note` is its signed text, for bundles. One that is not larger than the newest changes nothing.
    ///
    /// # Errors
    /// [`JournalError`]; then it is not asked for.
    pub fn want_point(
        &mut self,
        point: Point,
        note: &str,
        now_ms: u64,
    ) -> Result<(), JournalError> {
        if self.newest_point()?.is_some_and(|(newest, _)| newest.size >= point.size) {
            return Ok(());
        }
        let insert = "INSERT INTO points (size, root, note, added_ms) VALUES (?1, ?2, ?3, ?4)";
        self.run(insert, params![int(point.size), point.root, note, int(now_ms)])?;
        // Points between an anchored one and the newest are covered by the newest. Of the others the last thousand stay, to compare roots.
        let sql = "DELETE FROM points WHERE size NOT IN (SELECT size FROM points ORDER BY size DESC LIMIT 1000)
                   AND size NOT IN (SELECT last FROM marks WHERE root IS NOT NULL)";
        self.run(sql, [])
    }

    /// Asks for updates `first`, `first + 1`, …: all of them or, on an error, none. Numbers that were asked for already are skipped.
    ///
    /// # Errors
    /// [`JournalError::Gap`] when a number would be left out, [`JournalError::Full`] at the limit.
    pub fn want_updates(
        &mut self,
        first: u64,
        updates: &[Update],
        now_ms: u64,
    ) -> Result<(), JournalError> {
        let next = self.updates_wanted()?;
        if first > next {
            return Err(JournalError::Gap { expected: next, got: first });
        }
        let known = usize::try_from(next - first).unwrap_or(usize::MAX);
        let new = updates.get(known..).unwrap_or_default().iter();
        self.insert_updates(new.map(|update| (None, *update)).collect(), None, now_ms)
    }

    /// Asks for the updates that were found in the log's entries up to, not including, `entries`: each with its entry's number.
    /// Durable in one step with how far the log was read.
    ///
    /// # Errors
    /// [`JournalError::Full`] at the limit; then nothing changed.
    pub fn want_entries(
        &mut self,
        entries: u64,
        updates: &[(u64, Update)],
        now_ms: u64,
    ) -> Result<(), JournalError> {
        let read = self.entries_read()?;
        let new = updates.iter().filter(|(entry, _)| *entry >= read);
        let new = new.map(|(entry, update)| (Some(*entry), *update)).collect();
        self.insert_updates(new, Some(entries.max(read)), now_ms)
    }

    fn insert_updates(
        &mut self,
        new: Vec<(Option<u64>, Update)>,
        entries: Option<u64>,
        now_ms: u64,
    ) -> Result<(), JournalError> {
        let next = self.updates_wanted()?;
        let waiting = next.saturating_sub(self.reached(false, true)?);
        if waiting + new.len() as u64 > UPDATES_WAITING_MAX {
            return Err(JournalError::Full { max: UPDATES_WAITING_MAX });
        }
        let path = self.path.clone();
        let failed = |e| sqlite(&path, e);
        let transaction = self.connection.transaction().map_err(failed)?;
        for (number, (entry, update)) in (next..).zip(&new) {
            let insert =
                "INSERT INTO updates (number, entry, body, added_ms) VALUES (?1, ?2, ?3, ?4)";
            let values = params![int(number), entry.map(int), update_bytes(update), int(now_ms)];
            transaction.execute(insert, values).map_err(failed)?;
        }
        schema::set_number(&transaction, "updates", next + new.len() as u64).map_err(failed)?;
        if let Some(entries) = entries {
            schema::set_number(&transaction, "entries", entries).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// How many entries of the log were looked at for updates.
    ///
    /// # Errors
    /// [`JournalError::Sqlite`].
    pub fn entries_read(&self) -> Result<u64, JournalError> {
        self.number("entries")
    }

    /// The number of the update in entry `index` of the log.
    ///
    /// # Errors
    /// [`JournalError::Sqlite`].
    pub fn update_of_entry(&self, index: u64) -> Result<Option<u64>, JournalError> {
        let sql = "SELECT number FROM updates WHERE entry = ?1";
        let found: Option<i64> = self.one(sql, [int(index)], |row| row.get(0))?;
        Ok(found.map(uint))
    }

    /// How many updates were asked for since the log began.
    ///
    /// # Errors
    /// [`JournalError::Sqlite`].
    pub fn updates_wanted(&self) -> Result<u64, JournalError> {
        self.number("updates")
    }

    /// The newest checkpoint that was asked for, and when.
    ///
    /// # Errors
    /// [`JournalError::Sqlite`].
    pub fn newest_point(&self) -> Result<Option<(Point, u64)>, JournalError> {
        self.one("SELECT size, root, added_ms FROM points ORDER BY size DESC LIMIT 1", [], |row| {
            Ok((Point { size: uint(row.get(0)?), root: row.get(1)? }, uint(row.get(2)?)))
        })
    }

    /// Notes something seen outside. An update that is there a second time is counted.
    pub(crate) fn notice(&mut self, mark: &Mark) -> Result<(), JournalError> {
        let (first, last, root) = columns(mark.subject);
        let sql = "INSERT OR IGNORE INTO marks (first, last, root, block, block_hash, tx, final)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)";
        let values = params![first, last, root, int(mark.block), mark.block_hash, mark.transaction];
        let new = self.connection.execute(sql, values).map_err(|e| sqlite(&self.path, e))?;
        if new == 0 || root.is_some() {
            return Ok(());
        }
        let overlap = "SELECT count(*) FROM marks WHERE root IS NULL AND first <= ?2 AND last >= ?1 AND tx != ?3";
        let twice: i64 = self
            .one(overlap, params![first, last, mark.transaction], |row| row.get(0))?
            .unwrap_or(0);
        if twice > 0 { self.count("duplicates", 1) } else { Ok(()) }
    }

    /// Marks that could still disappear, oldest block first.
    ///
    /// # Errors
    /// [`JournalError::Sqlite`].
    pub fn open_marks(&self, count: usize) -> Result<Vec<Mark>, JournalError> {
        let sql = "SELECT first, last, root, id, block, block_hash, tx FROM marks WHERE final = 0
                   ORDER BY block, id LIMIT ?1";
        self.all(sql, [count as i64], mark)
    }

    /// It stays: evidence is kept. Updates stay too, the last million of them: a chain can go back further than it should.
    pub(crate) fn finish(&mut self, mark: &Mark, evidence: &Evidence) -> Result<(), JournalError> {
        let bytes = evidence.to_bytes();
        assert!(bytes.len() <= EVIDENCE_BYTES_MAX, "evidence was bounded when it was made");
        self.run(
            "UPDATE marks SET final = 1, evidence = ?2 WHERE id = ?1",
            params![mark.id, bytes],
        )?;
        if let Subject::Updates { last, .. } = mark.subject {
            self.run(
                "DELETE FROM updates WHERE number < ?1",
                [int(last.saturating_sub(UPDATES_WAITING_MAX))],
            )?;
        }
        Ok(())
    }

    /// Final evidence of the earliest point that covers entry `index`, and the point.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn evidence_of_entry(
        &self,
        index: u64,
    ) -> Result<Option<(Anchored, Evidence)>, JournalError> {
        let sql =
            "SELECT last, marks.root, evidence, note FROM marks LEFT JOIN points ON size = last
                   WHERE final = 1 AND marks.root IS NOT NULL AND last > ?1 ORDER BY last LIMIT 1";
        let found = self.one(sql, [int(index)], |row| {
            let point = Point { size: uint(row.get(0)?), root: row.get(1)? };
            Ok((Anchored { point, note: row.get(3)? }, row.get::<_, Vec<u8>>(2)?))
        })?;
        found.map(|(anchored, bytes)| Ok((anchored, self.evidence(&bytes)?))).transpose()
    }

    /// Final evidence of update `number`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn evidence_of_update(&self, number: u64) -> Result<Option<Evidence>, JournalError> {
        let sql = "SELECT evidence FROM marks
                   WHERE final = 1 AND root IS NULL AND first <= ?1 AND last >= ?1 ORDER BY id LIMIT 1";
        let bytes: Option<Vec<u8>> = self.one(sql, [int(number)], |row| row.get(0))?;
        bytes.map(|bytes| self.evidence(&bytes)).transpose()
    }

    /// Size of the largest point, or count of updates, that was seen outside; `settled`: that cannot disappear.
    pub(crate) fn reached(&self, points: bool, settled: bool) -> Result<u64, JournalError> {
        let sql = "SELECT coalesce(max(last + (root IS NULL)), 0) FROM marks
                   WHERE (root IS NOT NULL) = ?1 AND final >= ?2";
        Ok(uint(self.one(sql, params![points, settled], |row| row.get(0))?.unwrap_or(0)))
    }

    /// What waits, in points (`true`) or updates.
    ///
    /// # Errors
    /// [`JournalError::Sqlite`].
    pub fn waiting(&self, points: bool) -> Result<Waiting, JournalError> {
        let anchored = self.reached(points, true)?;
        let wanted = match points {
            true => self.newest_point()?.map_or(0, |(point, _)| point.size),
            false => self.updates_wanted()?,
        };
        let oldest = match points {
            true => "SELECT min(added_ms) FROM points WHERE size > ?1",
            false => "SELECT min(added_ms) FROM updates WHERE number >= ?1",
        };
        let since: Option<i64> = self.one(oldest, [int(anchored)], |row| row.get(0))?.flatten();
        let marks = self.one("SELECT count(*) FROM marks WHERE final = 1", [], |row| row.get(0))?;
        Ok(Waiting {
            entries: wanted.saturating_sub(anchored),
            since_ms: since.map(uint),
            anchored,
            marks: uint(marks.unwrap_or(0)),
            removed: self.number("removed")?,
            sent: self.number("sent")?,
            reverted: self.number("reverted")?,
            duplicates: self.number("duplicates")?,
        })
    }

    pub(crate) fn number(&self, key: &str) -> Result<u64, JournalError> {
        let found = self
            .one("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get::<_, String>(0))?;
        Ok(found.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    pub(crate) fn set_number(&mut self, key: &str, value: u64) -> Result<(), JournalError> {
        schema::set_number(&self.connection, key, value).map_err(|e| sqlite(&self.path, e))
    }

    pub(crate) fn count(&mut self, key: &str, by: u64) -> Result<(), JournalError> {
        self.set_number(key, self.number(key)? + by)
    }

    fn evidence(&self, bytes: &[u8]) -> Result<Evidence, JournalError> {
        Evidence::from_bytes(bytes).map_err(|_| JournalError::Damaged { path: self.path.clone() })
    }

    fn run(&mut self, sql: &str, values: impl rusqlite::Params) -> Result<(), JournalError> {
        self.connection.execute(sql, values).map(|_| ()).map_err(|e| sqlite(&self.path, e))
    }

    fn one<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, JournalError> {
        self.connection.query_row(sql, values, read).optional().map_err(|e| sqlite(&self.path, e))
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, JournalError> {
        let failed = |e| sqlite(&self.path, e);
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(values, read).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }
}

fn columns(subject: Subject) -> (i64, i64, Option<[u8; 32]>) {
    match subject {
        Subject::Point(Point { size, root }) => (0, int(size), Some(root)),
        Subject::Updates { first, last } => (int(first), int(last), None),
    }
}

fn subject(row: &Row<'_>, at: usize) -> rusqlite::Result<Subject> {
    let (first, last) = (uint(row.get(at)?), uint(row.get(at + 1)?));
    let root: Option<[u8; 32]> = row.get(at + 2)?;
    Ok(root.map_or(Subject::Updates { first, last }, |root| {
        Subject::Point(Point { size: last, root })
    }))
}

fn mark(row: &Row<'_>) -> rusqlite::Result<Mark> {
    Ok(Mark {
        subject: subject(row, 0)?,
        id: row.get(3)?,
        block: uint(row.get(4)?),
        block_hash: row.get(5)?,
        transaction: row.get(6)?,
    })
}

fn update_bytes(update: &Update) -> [u8; UPDATE_BYTES] {
    let parts =
        [&update.previous[..], &update.current, &update.time_ms.to_be_bytes(), &update.signature];
    parts.concat().try_into().expect("32 + 32 + 8 + 64 = 136")
}

/// SQLite's integers are signed; sizes, times and nonces stay far below 2^63.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn sqlite(path: &Path, source: rusqlite::Error) -> JournalError {
    JournalError::Sqlite { path: path.into(), source }
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The database failed.
    #[error("the anchor journal {path} cannot be used")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file cannot be made or opened.
    #[error("the anchor journal {path} cannot be opened")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is about another log.
    #[error("{path} is the journal of the log `{origin}`")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// That log.
        origin: String,
    },
    /// A newer version wrote it.
    #[error("{path} was written by a newer version")]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// What it keeps is not what it wrote.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// An update would be left out.
    #[error("update {got} cannot follow: the next is {expected}")]
    Gap {
        /// The next number.
        expected: u64,
        /// The number given.
        got: u64,
    },
    /// Too much waits.
    #[error("{max} updates wait already")]
    Full {
        /// The limit.
        max: u64,
    },
}
