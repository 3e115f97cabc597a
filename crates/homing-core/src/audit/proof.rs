//! Proofs about a checkpoint, and their text (C2SP tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! [extra <base64>]
//! index <n>
//! <base64 hash>, leaf's sibling first
//!
//! <checkpoint with its signatures>
//! ```

use std::fmt;

use data_encoding::BASE64;

use super::checkpoint::{Checkpoint, CheckpointError, decimal};
use super::limits::{BUNDLE_BYTES_MAX, PROOF_HASHES_MAX};
use super::note::{NoteError, NoteKey, SignedNote};
use super::tree::{Hash, is_consistent, root_from_inclusion};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// That an entry stands at `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// Where the entry stands.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub path: Vec<Hash>,
}

impl Inclusion {
    /// Whether `leaf` stands at [`Inclusion::index`] of the checkpointed tree.
    #[must_use]
    pub fn proves(&self, leaf: Hash, checkpoint: &Checkpoint) -> bool {
        let root = root_from_inclusion(self.index, checkpoint.size, leaf, &self.path);
        root == Some(checkpoint.root)
    }
}

/// That a tree begins with an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Size of the older tree.
    pub old: u64,
    /// The hashes of RFC 9162 §2.1.4.1.
    pub path: Vec<Hash>,
}

impl Consistency {
    /// Whether `new` begins with `old`.
    #[must_use]
    pub fn proves(&self, old: &Checkpoint, new: &Checkpoint) -> bool {
        self.old == old.size && is_consistent(old.size, &old.root, new.size, &new.root, &self.path)
    }
}

/// A proof of inclusion with the checkpoint it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque data beside it; not authenticated.
    pub extra: Option<Vec<u8>>,
    /// The path.
    pub inclusion: Inclusion,
    /// The checkpoint with its signatures.
    pub checkpoint: SignedNote,
}

impl TlogProof {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`ProofError::Shape`], [`ProofError::Note`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let shape = ProofError::Shape;
        if text.len() > BUNDLE_BYTES_MAX {
            return Err(shape("too long"));
        }
        let (head, note) = text.split_once("\n\n").ok_or(shape("no empty line"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(shape("the first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.map(|line| BASE64.decode(&line.as_bytes()[6..])).transpose();
        let extra = extra.map_err(|_| shape("the extra data is not base64"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(shape("no index line"))?;
        let path: Option<Vec<Hash>> =
            lines.take(PROOF_HASHES_MAX + 1).map(Hash::from_base64).collect();
        let path = path.ok_or(shape("a hash is not base64 of 32 bytes"))?;
        if path.len() > PROOF_HASHES_MAX {
            return Err(shape("more than 63 hashes"));
        }
        Ok(Self {
            extra,
            inclusion: Inclusion { index, path },
            checkpoint: SignedNote::parse(note)?,
        })
    }

    /// Checks that `entry` is in the log whose key this is.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, entry: &[u8], log: &NoteKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::verify(&self.checkpoint, log)?;
        if !self.inclusion.proves(Hash::leaf(entry), &checkpoint) {
            let (index, size) = (self.inclusion.index, checkpoint.size);
            return Err(ProofError::NotIncluded { index, size });
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.inclusion.index)?;
        self.inclusion.path.iter().try_for_each(|hash| writeln!(f, "{}", hash.base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Not the lines of a proof.
    #[error("not a tlog-proof: {0}")]
    Shape(&'static str),
    /// Its checkpoint is no signed note.
    #[error("its checkpoint: {0}")]
    Note(#[from] NoteError),
    /// Its checkpoint is not one of the log.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The hashes lead elsewhere.
    #[error("the entry does not stand at index {index} of the log of {size} entries")]
    NotIncluded {
        /// Where it should stand.
        index: u64,
        /// Size of the log.
        size: u64,
    },
}
