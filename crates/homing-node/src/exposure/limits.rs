//! What exposed services may use. Nothing here is buffered whole: bodies have no limit.

use std::time::Duration;

/// Exposed services of one node.
pub(super) const SERVICES_MAX: usize = 256;
/// Bytes of `services.json` that are read: every service with the longest command.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
/// Streams of one service served at once; then the listener's backlog fills, then peers are refused.
pub(super) const STREAMS_MAX: usize = 4_096;
/// Of those, for one peer; more break at once, so that nobody takes the place of all others.
pub(super) const STREAMS_PER_PEER_MAX: usize = STREAMS_MAX / 2;
/// Requests of one HTTP/2 connection at once.
pub(super) const REQUESTS_MAX: u32 = 256;
/// Requests of one peer to one service that wait for their answer to begin: over how many streams they come does not count.
pub(super) const REQUESTS_PER_PEER_MAX: usize = 2_048;
/// Connections to one target, those that are kept included: each is an open file here and there.
pub(super) const CONNECTIONS_MAX: usize = 8_192;
/// Processes of all services at once.
pub(super) const PROCESSES_MAX: usize = 64;
/// Of those, for one peer, so that nobody takes the place of all others.
pub(super) const PROCESSES_PER_PEER_MAX: usize = PROCESSES_MAX / 4;
/// Lines of standard error of one process that reach the log.
pub(super) const STDERR_LINES_MAX: usize = 1_000;
/// Bytes of one such line; the rest is cut off.
pub(super) const STDERR_LINE_BYTES_MAX: u64 = 1_024;
/// A process that has closed its output may work on for this long.
pub(super) const PROCESS_END_TIMEOUT: Duration = Duration::from_secs(2);
/// A request's line and headers together.
pub(super) const HEADER_BYTES_MAX: usize = 64 * 1_024;
/// First bytes of a stream that are read to tell HTTP from anything else.
pub(super) const FIRST_LINE_BYTES_MAX: usize = 8 * 1_024;
/// From the first byte of a request, or the end of the previous one, to the end of its headers.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A stream that says nothing for so long may wait for the target to speak first.
pub(super) const SILENCE: Duration = Duration::from_millis(100);
/// A stream of bytes on which neither side says anything for so long breaks: it holds a place. Shells and pools of
/// database connections rest for hours.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Reaching the target.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections to one target that are kept.
pub(super) const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long they are kept.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two signs of life on an HTTP/2 connection, and how long the answer may take.
pub(super) const HTTP2_PING: Duration = Duration::from_secs(20);
/// How long it is believed that a target speaks HTTP/2, or does not.
pub(super) const HTTP2_ASKED_LIFE: Duration = Duration::from_secs(60);
/// Entries of a directory that a listing shows.
pub(super) const LISTING_ENTRIES_MAX: usize = 10_000;
/// Bytes of a file that are read at once.
pub(super) const FILE_CHUNK_BYTES_MAX: usize = 64 * 1_024;

const _: () = assert!(REQUESTS_PER_PEER_MAX * 2 + IDLE_CONNECTIONS_MAX < CONNECTIONS_MAX);
const _: () = assert!(FIRST_LINE_BYTES_MAX < HEADER_BYTES_MAX);
const _: () = assert!(PROCESSES_MAX <= STREAMS_MAX);
