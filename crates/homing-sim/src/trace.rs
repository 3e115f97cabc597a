//! The history of a world as one hash, and as lines for people.
//!
//! SHA-256 over every (time, run, kind, bytes) of every input and output: two runs of one seed agree
//! in every decision or differ here.

use sha2::{Digest, Sha256};

use crate::clock::WorldTime;
use crate::run::RunIx;

/// The hash of a whole history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceHash(pub [u8; 32]);

impl std::fmt::Display for TraceHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TraceHash({self})")
    }
}

/// Collects the history.
#[derive(Default)]
pub struct Trace {
    hasher: Sha256,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Also keeps the history as text.
    pub fn keep_lines(&mut self) {
        self.lines = Some(Vec::new());
    }

    /// Adds one step; `describe` is called only when lines are kept.
    pub fn step(
        &mut self,
        at: WorldTime,
        run: RunIx,
        kind: u8,
        bytes: &[u8],
        describe: impl FnOnce() -> String,
    ) {
        let mut head = [0; 13];
        head[..8].copy_from_slice(&at.0.to_be_bytes());
        head[8..12].copy_from_slice(&(run.0 as u32).to_be_bytes());
        head[12] = kind;
        self.hasher.update(head);
        self.hasher.update(bytes);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at} run {} {}", run.0, describe()));
        }
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> TraceHash {
        TraceHash(self.hasher.clone().finalize().into())
    }

    /// The lines kept so far.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
