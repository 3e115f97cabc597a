//! Every number that bounds the DNS server.

use std::time::Duration;

/// How long an answer is remembered by whoever asked, in seconds; less when the agent's record ends before.
pub(super) const TTL_S_MAX: u32 = 30;
/// The same for what is not there: a peer that was just approved is found soon.
pub(super) const NEGATIVE_TTL_S: u32 = 5;
/// The text of an extended error.
pub(super) const REASON_CHARS_MAX: usize = 160;
/// A datagram, both ways: never fragmented on any path (DNS flag day 2020).
pub(super) const UDP_BYTES_MAX: usize = 1_232;
/// A question over TCP: with every option a client sends, far less.
pub(super) const TCP_QUESTION_BYTES_MAX: usize = 4_096;
/// Connections over TCP at once; more wait.
pub(super) const CONNECTIONS_MAX: usize = 32;
/// A connection that asks nothing, or does not read (RFC 7766 §6.2.3: a few seconds).
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// Questions in work at once; more are dropped, and asked again by whoever asks.
pub(super) const QUESTIONS_MAX: usize = 64;
/// Questions per second, whoever asks; more are dropped.
pub(super) const QUESTIONS_PER_SECOND_MAX: u32 = 1_000;
/// Asking the mesh, with `dns.scope = "all"`: below the 5 s after which resolvers ask again.
pub(super) const RESOLVE_MAX: Duration = Duration::from_millis(2_000);

const _: () = assert!(UDP_BYTES_MAX >= 512 && UDP_BYTES_MAX <= u16::MAX as usize);
