//! Every number that bounds port prediction, on both sides of an attempt.

use std::time::Duration;

/// Hole punching comes first: a relayed link must be this old. Against a symmetric NAT the other
/// side's NAT decides at once, so that what was not punched by then never is.
pub const RELAYED_FOR: Duration = Duration::from_secs(2);
/// Sockets that the symmetric side opens.
pub const SOCKETS: usize = 256;
/// With fewer (the process may open no more) it does not try.
pub const SOCKETS_MIN: usize = 128;
/// Probes of the other side: 256 of 64,512 ports are hit by one of 2,048 with 99.97 %.
pub const PROBES_MAX: u32 = 2_048;
/// Probes per second, of either side.
pub const PROBES_PER_SECOND: u32 = 1_000;
/// Times that the symmetric side sends from each of its sockets.
pub const OPENINGS_MAX: u32 = 4;
/// Ports below are nobody's mapping, and somebody's service.
pub const PORT_MIN: u16 = 1_024;
/// Measuring one's own mapping, or opening the sockets.
pub const PREPARE_MAX: Duration = Duration::from_secs(4);
/// From an offer to its answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(6);
/// From the first probe to giving up.
pub const PROBE_MAX: Duration = Duration::from_secs(5);
/// The core gives up later than the shell.
pub const WORK_MAX: Duration = Duration::from_secs(7);
/// Attempts per hour, both roles, all peers.
pub const ATTEMPTS_PER_HOUR: usize = 12;
/// Attempts per hour, both roles, one peer: at most 10,240 probes of 17 bytes at the word of one peer.
pub const ATTEMPTS_PER_PEER_AND_HOUR: usize = 5;
/// First wait after an attempt that failed; four times as long after each further one.
pub const RETRY_FIRST: Duration = Duration::from_secs(30);
/// Longest such wait.
pub const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// A path that ended sooner counts as an attempt that failed. Its end is noticed after 20 s of silence.
pub const GOOD_PATH: Duration = Duration::from_secs(30);
/// The hour of the two limits above.
pub const HOUR: Duration = Duration::from_secs(3_600);

const _: () = assert!(SOCKETS_MIN <= SOCKETS && ATTEMPTS_PER_PEER_AND_HOUR <= ATTEMPTS_PER_HOUR);
const _: () = assert!(PROBE_MAX.as_millis() < WORK_MAX.as_millis());
const _: () = assert!(PREPARE_MAX.as_millis() < ANSWER_MAX.as_millis());
const _: () =
    assert!(PROBES_MAX as u128 * 1_000 / (PROBES_PER_SECOND as u128) < PROBE_MAX.as_millis());
