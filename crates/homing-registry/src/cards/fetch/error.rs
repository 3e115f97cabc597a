//! Why there is no card.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use homing_base::NodeId;
use homing_base::record::CardRef;

use crate::cards::limits::REDIRECTS_MAX;
use crate::cards::target::TargetError;

/// Why a card was not fetched. Cloned to everybody who waited for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The record names none.
    #[error("the record names no card")]
    NoCard,
    /// The record's card is in the agent's tunnel, and there is no node to open it.
    #[error("{peer} serves its card through its tunnel only")]
    NoTunnel {
        /// Whose.
        peer: NodeId,
    },
    /// The URL itself is not fetched.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The host has no address.
    #[error("{host} does not resolve: {why}")]
    Resolve {
        /// Which host.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// The host is not public.
    #[error("{host} leads to {ip}, which is {what}; only public addresses are fetched from")]
    Address {
        /// Which host.
        host: String,
        /// The offending address.
        ip: IpAddr,
        /// Its kind.
        what: &'static str,
    },
    /// Nobody answers there, or not as the URL's host.
    #[error("no connection: {why}")]
    Connect {
        /// What happened.
        why: String,
    },
    /// The agent's tunnel does not open.
    #[error("no way through the agent's tunnel: {why}")]
    Tunnel {
        /// What happened.
        why: String,
    },
    /// Too slow.
    #[error("{what} took too long")]
    Timeout {
        /// Which part.
        what: &'static str,
    },
    /// An answer, but not the document.
    #[error("the answer has status {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// Not HTTP/1.1, or more of it than is read.
    #[error("the answer is not readable: {why}")]
    Http {
        /// What is wrong.
        why: String,
    },
    /// Compressed, although that was not asked for.
    #[error("the answer is encoded as {encoding:?}; only plain ones are read")]
    Encoding {
        /// What it says.
        encoding: String,
    },
    /// Longer than any card.
    #[error("the answer is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// Redirected again and again.
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    /// Another document than the record names.
    #[error("the card has SHA-256 {got}, its record names {expected}")]
    Digest {
        /// What the record says, in hexadecimal digits.
        expected: String,
        /// What was fetched.
        got: String,
    },
    /// Too many fetches under way, here or to this host.
    #[error("too many fetches under way, try again")]
    Busy,
}

impl FetchError {
    pub(super) fn digest(wanted: &CardRef, got: [u8; 32]) -> Self {
        let (expected, got) = (HEXLOWER.encode(&wanted.sha256), HEXLOWER.encode(&got));
        Self::Digest { expected, got }
    }
}
