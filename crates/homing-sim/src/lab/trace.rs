//! The history of a trial as one hash: every event and every result, in order.

use sha2::{Digest, Sha256};

/// Hashed in pieces of about this size.
const PIECE_BYTES: usize = 4_096;

/// What happened so far.
#[derive(Default)]
pub(crate) struct Trace {
    hasher: Sha256,
    pending: Vec<u8>,
}

impl Trace {
    /// Something of this kind happened to `a`, by or about `b`, at this microsecond.
    pub(crate) fn note(&mut self, kind: &[u8], a: u32, b: u32, at: u64) {
        self.pending.extend_from_slice(kind);
        self.pending.extend_from_slice(&a.to_be_bytes());
        self.pending.extend_from_slice(&b.to_be_bytes());
        self.pending.extend_from_slice(&at.to_be_bytes());
        if self.pending.len() >= PIECE_BYTES {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> String {
        let hash = self.hasher.clone().chain_update(&self.pending).finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
