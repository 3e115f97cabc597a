//! The end of a transaction: the index, the counts, the bound on changes.

use rusqlite::{Transaction, params};

use super::batch::{self, Batch, Outcome, Sizes};
use super::failed;
use crate::limits::CHANGES_MAX;
use crate::storage::rows::{self, int};
use crate::storage::verified::Verified;
use crate::storage::words::Indexed;

impl Batch<'_> {
    /// Writes the index and the counts; the caller commits.
    pub(super) fn finish(mut self) -> Outcome<Sizes> {
        for (seq, change) in std::mem::take(&mut self.index) {
            if change.was_there {
                self.execute("DELETE FROM words WHERE rowid = ?1", [seq])?;
            }
            if let Some(indexed) = change.now {
                self.add_words(seq, &indexed)?;
            }
        }
        for ((kind, name), by) in std::mem::take(&mut self.counts) {
            if by != 0 {
                self.add_count(kind, &name, by)?;
            }
        }
        if self.changed {
            self.execute(
                "DELETE FROM changes WHERE number <= (SELECT max(number) FROM changes) - ?1",
                [int(CHANGES_MAX)],
            )?;
        }
        Ok(self.sizes)
    }

    fn add_words(&self, seq: i64, indexed: &Indexed) -> Outcome<()> {
        self.execute(
            "INSERT INTO words (rowid, strong, weak, facets) VALUES (?1, ?2, ?3, ?4)",
            params![seq, indexed.strong, indexed.weak, indexed.facets],
        )?;
        Ok(())
    }

    fn add_count(&self, kind: char, name: &str, by: i64) -> Outcome<()> {
        let kind = kind.to_string();
        self.execute(
            "INSERT INTO counts (kind, name, count) VALUES (?1, ?2, ?3)
             ON CONFLICT (kind, name) DO UPDATE SET count = count + ?3",
            params![kind, name, by],
        )?;
        if by < 0 {
            self.execute(
                "DELETE FROM counts WHERE kind = ?1 AND name = ?2 AND count <= 0",
                params![kind, name],
            )?;
        }
        Ok(())
    }
}

/// Builds the index anew from what is stored.
pub(super) fn index_again(transaction: &Transaction<'_>) -> Outcome<()> {
    let verified = Verified::default();
    let sql = "SELECT seq, record, listing FROM entities JOIN contents USING (seq) ORDER BY seq";
    let mut statement = transaction.prepare(sql).map_err(|e| failed(&e))?;
    let mut found = statement.query([]).map_err(|e| failed(&e))?;
    let batch = Batch::new(transaction, Sizes { known: 0 }, &verified);
    while let Some(row) = found.next().map_err(|e| failed(&e))? {
        let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (seq, record, listing): (i64, Vec<u8>, String) = read().map_err(|e| failed(&e))?;
        let record = verified.read(&record)?;
        let Some(entry) = batch::entry_of(&record, &rows::listing_of(&listing)?) else { continue };
        batch.add_words(seq, &entry.indexed)?;
        batch.execute(
            "UPDATE entities SET indexed = ?2, profile = ?3 WHERE seq = ?1",
            params![seq, entry.digest, entry.indexed.profile],
        )?;
    }
    Ok(())
}
