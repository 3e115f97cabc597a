//! What both databases write and read alike: numbers for words, listings as text, digests of index content.

use homing_base::{Name, Seq, Wall};
use sha2::{Digest, Sha256};

use super::verified::damaged;
use super::words::Indexed;
use super::{ChangeKind, StorageError};
use crate::entity::Source;
use crate::listing::Listing;

/// What the index has of one entity.
pub(crate) struct Entry {
    pub(crate) indexed: Indexed,
    /// Of everything that the index and the counts are made from.
    pub(crate) digest: Vec<u8>,
}

impl Entry {
    pub(crate) fn of(listing: &Listing, name: Option<&str>) -> Self {
        let indexed = Indexed::of(listing, name);
        let mut hasher = Sha256::new();
        for column in [&indexed.strong, &indexed.weak, &indexed.facets, &listing.category] {
            hasher.update(column);
            hasher.update([0]);
        }
        hasher.update(&indexed.profile);
        listing.tags.iter().for_each(|tag| {
            hasher.update([0]);
            hasher.update(tag);
        });
        Self { indexed, digest: hasher.finalize()[..16].to_vec() }
    }
}

/// Category and tags, as they are counted.
pub(crate) fn counted(listing: &Listing) -> Vec<(char, String)> {
    let mut counted: Vec<_> = listing.tags.iter().map(|t| ('t', t.clone())).collect();
    if !listing.category.is_empty() {
        counted.push(('c', listing.category.clone()));
    }
    counted.sort_unstable();
    counted.dedup();
    counted
}

pub(crate) fn listing_text(listing: &Listing) -> String {
    serde_json::to_string(listing).expect("a listing is plain data")
}

pub(crate) fn listing_of(text: &str) -> Result<Listing, StorageError> {
    serde_json::from_str(text).map_err(|e| damaged(&format!("a stored listing: {e}")))
}

/// Times and sequences fit: both lie within days of the clock.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn wall(value: i64) -> Wall {
    Wall(u64::try_from(value).unwrap_or(0))
}

pub(crate) fn seq(value: i64) -> Seq {
    Seq(u64::try_from(value).unwrap_or(0))
}

pub(crate) fn source_number(source: Source) -> i16 {
    match source {
        Source::Registered => 0,
        Source::Gossip => 1,
        Source::Dht => 2,
    }
}

pub(crate) fn source_of(number: i16) -> Result<Source, StorageError> {
    match number {
        0 => Ok(Source::Registered),
        1 => Ok(Source::Gossip),
        2 => Ok(Source::Dht),
        other => Err(damaged(&format!("a stored source is {other}"))),
    }
}

pub(crate) fn change_number(kind: ChangeKind) -> i16 {
    match kind {
        ChangeKind::Registered => 0,
        ChangeKind::Updated => 1,
        ChangeKind::Withdrawn => 2,
        ChangeKind::Expired => 3,
    }
}

pub(crate) fn change_of(number: i16) -> Result<ChangeKind, StorageError> {
    match number {
        0 => Ok(ChangeKind::Registered),
        1 => Ok(ChangeKind::Updated),
        2 => Ok(ChangeKind::Withdrawn),
        3 => Ok(ChangeKind::Expired),
        other => Err(damaged(&format!("a stored change is {other}"))),
    }
}

/// A name that was one when it was stored.
pub(crate) fn name_of(text: Option<&str>) -> Result<Option<Name>, StorageError> {
    let name = text.map(str::parse).transpose();
    name.map_err(|e| damaged(&format!("a stored name: {e}")))
}

/// Exactly 32 bytes.
pub(crate) fn bytes32(bytes: &[u8]) -> Result<[u8; 32], StorageError> {
    bytes.try_into().map_err(|_| damaged("a stored digest has not 32 bytes"))
}
