//! Cursors: a place in a list, and a mark by which a list knows its own.
//!
//! ```text
//! list u8 ('e' entities, 'v' versions) | place u64 | mark u32 = SHA-256 of what the list shows, cut
//! ```
//! A place is a number that is never given twice, so nothing is shown twice or left out while others are
//! added. The mark is no secret: a forged cursor only reads a list from another place.

use homing_base::NodeId;
use sha2::{Digest, Sha256};

use super::{Cursor, Filter, StorageError};

/// Which list.
pub(crate) struct List {
    letter: u8,
    mark: [u8; 4],
}

impl List {
    /// Entities under a filter.
    pub(crate) fn entities(filter: &Filter) -> Self {
        let shown = serde_json::to_vec(filter).expect("a filter is plain data");
        Self::new(b'e', &shown)
    }

    /// Versions of one entity.
    pub(crate) fn versions(id: &NodeId) -> Self {
        Self::new(b'v', &id.0)
    }

    fn new(letter: u8, shown: &[u8]) -> Self {
        let digest = Sha256::digest(shown);
        Self { letter, mark: [digest[0], digest[1], digest[2], digest[3]] }
    }

    /// The cursor of a place.
    pub(crate) fn cursor(&self, place: i64) -> Cursor {
        let mut bytes = vec![self.letter];
        bytes.extend(place.to_be_bytes());
        bytes.extend(self.mark);
        Cursor(bytes)
    }

    /// The place of a cursor of this list; `None`: from the beginning.
    pub(crate) fn place(&self, cursor: Option<&Cursor>) -> Result<Option<i64>, StorageError> {
        let Some(Cursor(bytes)) = cursor else { return Ok(None) };
        let (place, mark) = match bytes.split_first() {
            Some((letter, rest)) if *letter == self.letter => {
                rest.split_first_chunk::<8>().ok_or(StorageError::Cursor)?
            }
            _ => return Err(StorageError::Cursor),
        };
        if mark != self.mark {
            return Err(StorageError::Cursor);
        }
        Ok(Some(i64::from_be_bytes(*place)))
    }
}
