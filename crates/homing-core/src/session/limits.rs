//! Every number that bounds a session, with its unit and its reason.

use std::time::Duration;

/// Bytes of one direction that were sent and not confirmed, kept for replay; then the local program
/// waits. A link of 100 Mbit/s at 80 ms is full with it.
pub const REPLAY_BYTES_MAX: usize = 1_024 * 1_024;
/// Bytes in one data frame: the least that must pass between two cuts for a session to advance.
pub const DATA_BYTES_MAX: usize = 16 * 1_024;
/// Bytes that one call hands to the stream, about: enough for UDP segmentation offload.
pub const TRANSMIT_BYTES: usize = 64 * 1_024;
/// The body of a data frame is the longest: an offset and the bytes.
pub const BODY_BYTES_MAX: usize = 8 + DATA_BYTES_MAX;
/// Silence after which a probe is sent while something is unconfirmed, or after bytes came.
pub const SILENCE_BUSY: Duration = Duration::from_secs(2);
/// Silence after which a probe is sent when the last one was answered and nobody has spoken since.
pub const SILENCE_IDLE: Duration = Duration::from_secs(10);
/// From a probe to giving the stream up: together with [`SILENCE_BUSY`] 5 s.
pub const PROBE_GRACE: Duration = Duration::from_secs(3);
/// How long a session lives without a stream unless its end says otherwise.
pub const DETACHED_MAX: Duration = Duration::from_secs(600);
/// How long a host remembers a session that is complete, to confirm the end once more.
pub const LINGER: Duration = Duration::from_secs(60);

const _: () = assert!(DATA_BYTES_MAX * 4 <= REPLAY_BYTES_MAX);
const _: () = assert!(SILENCE_BUSY.as_millis() < SILENCE_IDLE.as_millis());
