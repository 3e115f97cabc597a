//! Every bound of content, in one place.

use std::time::Duration;

/// Ranges in one request; what is missing beyond them is asked for afterwards.
pub(super) const RANGES_MAX: usize = 256;
/// A request or an answer, without its length: 256 pairs of group numbers and a CID.
pub(super) const FRAME_BYTES_MAX: usize = 8 * 1_024;
/// The largest content: what file systems hold, and far from where offsets overflow.
pub(super) const CONTENT_BYTES_MAX: u64 = 1 << 50;
/// Bytes of an encoding handed from thread to thread at once.
pub(super) const PIECE_BYTES: usize = 256 * 1_024;
/// Such pieces between the two; with the next they are all the memory that a transfer takes.
pub(super) const PIECES_MAX: usize = 4;
/// The other side must say something within this.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A holder of whom nothing comes for so long is left for the next one; what came stays.
pub(super) const STALL_MAX: Duration = Duration::from_secs(5);
/// A holder that is waited for so long …
pub(super) const PACE_TIME: Duration = Duration::from_secs(10);
/// … and has sent less than one group is left for the next one: it could hold a fetch for ever.
pub(super) const PACE_BYTES: usize = 16 * 1_024;
/// How long a connection to a holder may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams served at once; further ones are told that this node is busy.
pub(super) const SERVED_MAX: usize = 16;
/// Of those, to one peer.
pub(super) const SERVED_PER_PEER: usize = 4;
/// Files fetched at once; more wait.
pub(super) const FETCHED_MAX: usize = 4;
/// Peers that are asked for one file.
pub(super) const HOLDERS_MAX: usize = 32;
/// After the last byte of a fetch that had begun, holders are tried again for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two rounds through the holders: 250 ms, doubled up to this.
pub(super) const AGAIN_MAX: Duration = Duration::from_secs(4);
/// Left free on the disk.
pub(super) const SPARE_BYTES: u64 = 64 << 20;
/// Entries that are listed.
pub(super) const LISTED_MAX: usize = 10_000;
