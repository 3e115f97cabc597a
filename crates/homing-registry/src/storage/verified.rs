//! Records whose signature was checked in this run, by the digest of their bytes.
//!
//! A record read back from a database is bytes again until [`UnverifiedRecord::verify_signature`] has said
//! otherwise (some 50 µs). The digest of the bytes (some 2 µs) finds those that have been checked already.
//! Two generations: when the young one is full the old one is forgotten. At most 2 · [`GENERATION_MAX`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use homing_base::{Record, UnverifiedRecord};
use sha2::{Digest, Sha256};

use super::StorageError;

/// Records of one generation; each takes some 1.5 kB.
const GENERATION_MAX: usize = 8_192;

#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<[u8; 32], Record>,
    old: HashMap<[u8; 32], Record>,
}

impl Generations {
    fn insert(&mut self, digest: [u8; 32], record: Record) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, record);
    }

    fn find(&mut self, digest: &[u8; 32]) -> Option<Record> {
        if let Some(record) = self.young.get(digest) {
            return Some(record.clone());
        }
        let record = self.old.remove(digest)?;
        self.insert(*digest, record.clone());
        Some(record)
    }
}

impl Verified {
    /// Remembers a record that came verified.
    pub(crate) fn remember(&self, digest: [u8; 32], record: &Record) {
        self.generations().insert(digest, record.clone());
    }

    /// The record that `bytes` are.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Record, StorageError> {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        if let Some(record) = self.generations().find(&digest) {
            return Ok(record);
        }
        let record = UnverifiedRecord::parse(bytes)
            .and_then(UnverifiedRecord::verify_signature)
            .map_err(|e| damaged(&format!("a stored record is not one any more: {e}")))?;
        self.remember(digest, &record);
        Ok(record)
    }

    fn generations(&self) -> std::sync::MutexGuard<'_, Generations> {
        // A panic between two map operations leaves at worst one record less.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The database holds what was never written.
pub(crate) fn damaged(what: &str) -> StorageError {
    StorageError::Database { what: what.to_owned(), retryable: false }
}
