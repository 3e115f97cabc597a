//! Byte pipes between something local and a service of a peer, through the daemon's local API.
//!
//! ```text
//! place   where the local end is: PORT, HOST:PORT, unix:/path, udp:PORT
//! end     the local end itself: a socket, a process, standard input and output
//! socket  a socket: only a session reads and writes it here, otherwise it is handed to the daemon
//! dial    a stream to the peer, tried again while that makes sense; what its host greets with
//! carry   one stream, one local end: half-close both ways; a stream that broke is never an orderly end
//! resume  one session over many streams ([`homing_core::session`])
//! host    sessions that peers open here
//! packets datagrams over a stream
//! ```
//! `connect`, `listen` and `forward` are made of these.

pub(crate) mod carry;
pub(crate) mod dial;
pub(crate) mod end;
pub(crate) mod host;
pub(crate) mod packets;
pub(crate) mod place;
pub(crate) mod resume;
pub(crate) mod socket;

use serde::Serialize;

/// Bytes that passed, as this side sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Carried {
    /// Local bytes that went to the peer.
    pub(crate) sent_bytes: u64,
    /// The peer's bytes that reached the local end.
    pub(crate) received_bytes: u64,
}
