//! What bounds the log on disk and in memory.

use homing_core::audit::limits::ENTRY_BYTES_MAX;

/// Entries in one batch: at 40 µs per signature on two cores a batch takes about 10 ms.
pub const BATCH_ENTRIES_MAX: usize = 512;
/// Entries of one batch whose signatures were checked before.
pub const BATCH_VERIFIED_MAX: usize = 4_096;
/// One frame, whole: a batch and its checkpoint.
pub const FRAME_BYTES_MAX: usize =
    (BATCH_VERIFIED_MAX + BATCH_JOB_ENTRIES_MAX) * (ENTRY_BYTES_MAX + 2) + 64 * 1_024;
/// Entries that one call may append.
pub const BATCH_JOB_ENTRIES_MAX: usize = 1_024;
/// A segment of the write-ahead log is followed by another one beyond this.
pub const SEGMENT_BYTES: u64 = 16 * 1_024 * 1_024;
/// Calls that wait for the writer; further ones wait to be let in.
pub const JOBS_MAX: usize = 4_096;
/// Batches that are verified and wait for the writer.
pub const BATCHES_WAITING_MAX: usize = 4;
/// Full tiles that wait to be written: some 85 KiB each. The writer waits when there are more.
pub const TILES_WAITING_MAX: usize = 32;
/// Authors in one log: 80 bytes of memory and of each segment per author.
pub const AUTHORS_MAX: usize = 10_000;
/// Facts that wait for the witnesses at start.
pub const PENDING_MAX: usize = 4_096;
/// The directory of one log, unless another limit is set: some three million entries.
pub const LOG_BYTES_MAX: u64 = 1_024 * 1_024 * 1_024;
/// Bytes that an entry takes beside its own: length, leaf, share of the higher tiles.
pub const ENTRY_OVERHEAD_BYTES: u64 = 2 + 32 + 1;

const _: () = assert!(FRAME_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(SEGMENT_BYTES < LOG_BYTES_MAX / 16);
