//! The audit log: an append-only Merkle log of signed entries, its checkpoints, proofs and witnesses.
//!
//! ```text
//! Fact ─sign─► entry (COSE_Sign1) ─leaf hash─► tree ─root─► checkpoint (signed note) ─► cosignatures
//!                  │                            │
//!                  └─ bundles of 256            └─ tiles of 256 hashes ─► inclusion, consistency
//! ```
//! Hashing after RFC 9162 §2.1 (= RFC 6962); files and texts after C2SP tlog-tiles, tlog-checkpoint,
//! signed-note, tlog-cosignature (cosignature/v1) and tlog-proof, so that standard tools read them. What
//! an entry says is ours and normative in `spec/14-audit.md`. No entry holds an address or an endpoint in
//! clear, only digests.
//!
//! Everything here is a function of its arguments. Not here: files, threads and the daemon's own log
//! (`homing-audit`, `homing-node/src/audit.rs`).

pub mod bundle;
pub mod checkpoint;
pub mod entry;
pub mod limits;
pub mod note;
pub mod proof;
pub mod review;
pub mod tiles;
pub mod tree;
mod watch;
pub mod witness;
mod word;

pub use bundle::{Anchor, ProofBundle};
pub use checkpoint::{Checkpoint, Cosignature};
pub use entry::{Entry, EntryError, Fact, SignedEntry, UnverifiedEntry};
pub use note::{NoteError, NoteKey, NoteSigner, SignedNote};
pub use proof::{Consistency, Inclusion, TlogProof};
pub use tree::{Frontier, Hash};

/// The purpose of the derived key that signs checkpoints.
pub const PURPOSE_LOG: &str = "audit log";
/// The purpose of the derived key that cosigns others' checkpoints.
pub const PURPOSE_COSIGNER: &str = "audit cosigner";

/// The origin of the log that `identity` began at `begun`: a lost log is followed by one of another
/// origin, so that nothing that was signed is ever contradicted.
#[must_use]
pub fn origin(identity: &homing_base::NodeId, begun: homing_base::Wall) -> String {
    format!("homing.audit/{identity}/{}", begun.0)
}

/// Whether `name` is the name of a log of `identity`: nobody signs under another's.
#[must_use]
pub fn is_log_of(name: &str, identity: &homing_base::NodeId) -> bool {
    let begun = name.strip_prefix(&format!("homing.audit/{identity}/"));
    begun.is_some_and(|begun| checkpoint::decimal(begun).is_some())
}

/// The name under which `identity` cosigns.
#[must_use]
pub fn cosigner_name(identity: &homing_base::NodeId) -> String {
    format!("homing.witness/{identity}")
}
