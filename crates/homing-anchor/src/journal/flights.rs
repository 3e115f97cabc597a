//! What only a chain needs: transactions that were signed, and marks that disappear.

use rusqlite::{Row, params};

use super::{
    Journal, JournalError, Mark, Subject, UPDATE_BYTES, columns, int, mark, subject, uint,
};
use crate::Update;
use crate::limits::REPLACEMENTS_KEPT_MAX;

/// A transaction that was signed, and those that replace it: all have the same nonce, so at most one has an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The account's nonce.
    pub nonce: u64,
    /// What the newest is about.
    pub subject: Subject,
    /// Most that the newest pays per gas, in wei.
    pub fee: u128,
    /// Of that, for the block's maker.
    pub priority: u128,
    /// When the newest was signed, Unix milliseconds.
    pub sent_ms: u64,
    /// The newest, signed.
    pub raw: Vec<u8>,
    /// Hashes of all, the newest last.
    pub hashes: Vec<[u8; 32]>,
}

impl Journal {
    /// The root at `size`, if this journal was asked to anchor it.
    pub(crate) fn root_at(&self, size: u64) -> Result<Option<[u8; 32]>, JournalError> {
        self.one("SELECT root FROM points WHERE size = ?1", [int(size)], |row| row.get(0))
    }

    /// Up to `count` wanted updates from number `first` on.
    pub(crate) fn updates(&self, first: u64, count: usize) -> Result<Vec<Update>, JournalError> {
        let sql = "SELECT body FROM updates WHERE number >= ?1 ORDER BY number LIMIT ?2";
        self.all(sql, params![int(first), count as i64], |row| {
            Ok(update(&row.get::<_, [u8; UPDATE_BYTES]>(0)?))
        })
    }

    /// What was signed with `nonce`.
    ///
    /// # Errors
    /// [`JournalError::Sqlite`].
    pub fn flight(&self, nonce: u64) -> Result<Option<Flight>, JournalError> {
        let sql = format!("SELECT {FLIGHT} FROM flights WHERE nonce = ?1");
        self.one(&sql, [int(nonce)], flight)
    }

    /// Remembers what is about to be sent. Durable when this returns.
    pub(crate) fn depart(&mut self, flight: &Flight) -> Result<(), JournalError> {
        let (first, last, root) = columns(flight.subject);
        let kept = flight.hashes.len().saturating_sub(REPLACEMENTS_KEPT_MAX);
        let hashes = flight.hashes[kept..].concat();
        let (fee, priority) = (flight.fee.to_be_bytes(), flight.priority.to_be_bytes());
        self.run(
            "INSERT OR REPLACE INTO flights (nonce, first, last, root, fee, priority, sent_ms, raw, hashes, landed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
            params![int(flight.nonce), first, last, root, fee, priority, int(flight.sent_ms), flight.raw, hashes],
        )?;
        self.count("sent", 1)
    }

    /// Flights whose nonce was used before `nonce`, and that nobody looked at since.
    pub(crate) fn landing(&self, nonce: u64) -> Result<Vec<Flight>, JournalError> {
        let sql = format!(
            "SELECT {FLIGHT} FROM flights WHERE nonce < ?1 AND landed = 0 ORDER BY nonce LIMIT 100"
        );
        self.all(&sql, [int(nonce)], flight)
    }

    /// The nonce of a flight was used. It is kept while a reorganisation could bring it back.
    pub(crate) fn land(&mut self, nonce: u64) -> Result<(), JournalError> {
        self.run("UPDATE flights SET landed = 1 WHERE nonce = ?1", [int(nonce)])
    }

    /// Nothing before `nonce` can come back.
    pub(crate) fn forget_flights(&mut self, nonce: u64) -> Result<(), JournalError> {
        self.run("DELETE FROM flights WHERE nonce < ?1 AND landed = 1", [int(nonce)])
    }

    /// It is not there any more.
    pub(crate) fn remove(&mut self, mark: &Mark) -> Result<(), JournalError> {
        self.run("DELETE FROM marks WHERE id = ?1", [mark.id])?;
        self.count("removed", 1)
    }

    /// The newest final mark before block `block`.
    pub(crate) fn final_before(&self, block: u64) -> Result<Option<Mark>, JournalError> {
        let sql = "SELECT first, last, root, id, block, block_hash, tx FROM marks WHERE final = 1 AND block < ?1
                   ORDER BY block DESC, id DESC LIMIT 1";
        self.one(sql, [int(block)], mark)
    }

    /// What was held for final is not: every mark of block `block` and later is open again.
    pub(crate) fn reopen(&mut self, block: u64) -> Result<(), JournalError> {
        self.run("UPDATE marks SET final = 0 WHERE block >= ?1", [int(block)])
    }
}

const FLIGHT: &str = "nonce, first, last, root, fee, priority, sent_ms, raw, hashes";

fn flight(row: &Row<'_>) -> rusqlite::Result<Flight> {
    let hashes: Vec<u8> = row.get(8)?;
    Ok(Flight {
        nonce: uint(row.get(0)?),
        subject: subject(row, 1)?,
        fee: u128::from_be_bytes(row.get(4)?),
        priority: u128::from_be_bytes(row.get(5)?),
        sent_ms: uint(row.get(6)?),
        raw: row.get(7)?,
        hashes: hashes.as_chunks().0.to_vec(),
    })
}

fn update(bytes: &[u8; UPDATE_BYTES]) -> Update {
    let part = |from: usize, to: usize| &bytes[from..to];
    Update {
        previous: part(0, 32).try_into().expect("32 bytes"),
        current: part(32, 64).try_into().expect("32 bytes"),
        time_ms: u64::from_be_bytes(part(64, 72).try_into().expect("8 bytes")),
        signature: part(72, 136).try_into().expect("64 bytes"),
    }
}
