//! Sweeping: what has expired leaves a floor, tombstones leave when what they withdrew is dead.

use homing_base::Now;
use rusqlite::params;

use super::batch::{Batch, Outcome};
use super::failed;
use crate::storage::index::Change;
use crate::storage::rows::int;
use crate::storage::{ChangeKind, Swept};

/// Entities that one transaction sweeps of each kind.
const SWEEP_MAX: usize = 1_000;

/// `seq`, node ID, sequence, until.
type Due = (i64, [u8; 32], i64, i64);

impl Batch<'_> {
    pub(super) fn sweep(&mut self, now: Now) -> Outcome<(Swept, bool)> {
        let at = int(now.wall.0);
        let expired =
            self.due("SELECT seq, node_id, sequence, until FROM entities WHERE withdrawn = 0 AND expires <= ?1 ORDER BY expires, seq LIMIT ?2", at)?;
        for (seq, id, sequence, until) in &expired {
            self.note_change(now.wall, ChangeKind::Expired, id, *sequence)?;
            self.count(&self.listing_of(*seq)?, -1);
            self.remove(*seq, id)?;
            if *until > at {
                self.execute(
                    "INSERT INTO floors (node_id, sequence, until) VALUES (?1, ?2, ?3)",
                    params![id, sequence, until],
                )?;
                self.sizes.known += 1;
            }
        }
        let tombstones = self.due("SELECT seq, node_id, sequence, until FROM entities WHERE withdrawn = 1 AND until <= ?1 ORDER BY until, seq LIMIT ?2", at)?;
        for (seq, id, _, _) in &tombstones {
            self.remove(*seq, id)?;
        }
        let floors = self.execute("DELETE FROM floors WHERE until <= ?1", [at])?;
        self.sizes.known = self.sizes.known.saturating_sub(floors as u64);
        let more = expired.len() == SWEEP_MAX || tombstones.len() == SWEEP_MAX;
        let swept = Swept { expired: expired.len() as u64, tombstones: tombstones.len() as u64 };
        Ok((swept, more))
    }

    fn due(&self, sql: &str, at: i64) -> Outcome<Vec<Due>> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(|e| failed(&e))?;
        let rows = statement
            .query_map(params![at, SWEEP_MAX as i64], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
            })
            .map_err(|e| failed(&e))?;
        rows.collect::<Result<_, _>>().map_err(|e| failed(&e))
    }

    fn remove(&mut self, seq: i64, id: &[u8; 32]) -> Outcome<()> {
        self.changes.push(Change::Gone { seq });
        for sql in [
            "DELETE FROM entities WHERE seq = ?1",
            "DELETE FROM contents WHERE seq = ?1",
            "DELETE FROM cards WHERE seq = ?1",
            "DELETE FROM history WHERE entity = ?1",
        ] {
            self.execute(sql, [seq])?;
        }
        self.execute("DELETE FROM evidence WHERE node_id = ?1", [id])?;
        self.sizes.known = self.sizes.known.saturating_sub(1);
        Ok(())
    }
}
