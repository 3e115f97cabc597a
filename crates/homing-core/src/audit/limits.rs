//! What bounds the audit log, its texts and its proofs.

/// One signed entry, whole. Entry bundles allow 65 535 (C2SP tlog-tiles).
pub const ENTRY_BYTES_MAX: usize = 4_096;
/// A text field of an entry: a reference's name, a CID or path, a role, a verdict. Whatever a reference may
/// point to is logged.
pub const FIELD_BYTES_MAX: usize = homing_base::limits::IPNS_VALUE_BYTES_MAX;
/// Hashes in one full tile, entries in one full bundle (C2SP tlog-tiles).
pub const TILE_WIDTH: u64 = 256;
/// Tile levels of a tree of 2^64 leaves.
pub const TILE_LEVELS_MAX: usize = 8;
/// Hashes in one proof: the height of a tree of 2^63 leaves (C2SP tlog-witness).
pub const PROOF_HASHES_MAX: usize = 63;
/// Signature lines of one note. C2SP signed-note asks for at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 32;
/// A signed note, whole.
pub const NOTE_BYTES_MAX: usize = 16 * 1_024;
/// A proof bundle as JSON, whole.
pub const BUNDLE_BYTES_MAX: usize = 1_024 * 1_024;
/// Anchors in one proof bundle.
pub const ANCHORS_MAX: usize = 16;
/// Logs that a node witnesses; further ones are not cosigned.
pub const LOGS_WITNESSED_MAX: usize = 1_024;
/// Of them, logs of one identity: a log that was lost is followed by another one.
pub const LOGS_PER_OWNER_MAX: usize = 8;
/// Heads of one log that are remembered, to compare what others saw: with those of the other logs at most some 20 MB.
pub const HEADS_SEEN_MAX: usize = 32;
/// Heads that a peer is told of when it comes.
pub const HEADS_TOLD_MAX: usize = 16;
/// Forked logs whose evidence is kept.
pub const FORKS_MAX: usize = 64;

const _: () = assert!(ENTRY_BYTES_MAX < u16::MAX as usize);
// No fact has more than three texts.
const _: () = assert!(FIELD_BYTES_MAX * 3 + 512 < ENTRY_BYTES_MAX);
const _: () = assert!(PROOF_HASHES_MAX * 45 < NOTE_BYTES_MAX);
