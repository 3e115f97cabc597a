//! The end of a transaction: the counts, the bound on changes.

use rusqlite::params;

use super::batch::{Batch, Outcome, Sizes};
use crate::limits::CHANGES_MAX;
use crate::storage::index::Change;
use crate::storage::rows::int;

impl Batch<'_> {
    /// Writes the counts; the caller commits, and then hands the changes to the index.
    pub(super) fn finish(mut self) -> Outcome<(Sizes, Vec<Change>)> {
        for ((kind, name), by) in std::mem::take(&mut self.counts) {
            if by != 0 {
                self.add_count(kind, &name, by)?;
            }
        }
        if self.noted {
            self.execute(
                "DELETE FROM changes WHERE number <= (SELECT max(number) FROM changes) - ?1",
                [int(CHANGES_MAX)],
            )?;
        }
        Ok((self.sizes, self.changes))
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
