//! Tickets: what another node needs to join or to reach this one at once.
//!
//! `homing1` ‖ base32 (RFC 4648 §6, lowercase, no padding) of a CBOR map: the signed agent record
//! and the direct addresses that the record itself does not publish. A ticket is an invitation to
//! *connect*; it grants nothing. Normative: `spec/05-ticket.md`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};
use crate::limits::{DIRECT_ADDRESSES_MAX, TICKET_CHARS_MAX};
use crate::record::{RecordError, UnverifiedRecord};

const PREFIX: &str = "homing1";

/// A node's record and direct addresses, as handed from hand to hand.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ticket {
    /// A signed agent record, see [`UnverifiedRecord`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub record: Vec<u8>,
    /// Where the node listens, most likely first.
    #[cbor(
        n(2),
        encode_with = "crate::record::encode_direct",
        decode_with = "crate::record::decode_direct"
    )]
    pub direct: Vec<SocketAddr>,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = BASE32_NOPAD.encode(&cbor::encode(self)).to_ascii_lowercase();
        write!(f, "{PREFIX}{body}")
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        if text.len() > TICKET_CHARS_MAX {
            return Err(TicketError::Long { len: text.len(), max: TICKET_CHARS_MAX });
        }
        let body = text.strip_prefix(PREFIX).ok_or(TicketError::Prefix)?;
        let bytes = BASE32_NOPAD
            .decode(body.to_ascii_uppercase().as_bytes())
            .map_err(|_| TicketError::Base32)?;
        let ticket: Ticket = cbor::decode(&bytes, TICKET_CHARS_MAX)?;
        if ticket.direct.len() > DIRECT_ADDRESSES_MAX {
            return Err(TicketError::Addresses { max: DIRECT_ADDRESSES_MAX });
        }
        UnverifiedRecord::parse(&ticket.record)?.verify_signature()?;
        Ok(ticket)
    }
}

/// Text that is no ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Too long.
    #[error("a ticket has at most {max} characters, this has {len}")]
    Long {
        /// Characters found.
        len: usize,
        /// Characters allowed.
        max: usize,
    },
    /// Something else.
    #[error("a ticket begins with {PREFIX}")]
    Prefix,
    /// Damaged.
    #[error("the ticket is damaged: not base32")]
    Base32,
    /// Damaged.
    #[error("the ticket is damaged: {0}")]
    Encoding(#[from] CborError),
    /// The record inside is not valid.
    #[error("the ticket's record: {0}")]
    Record(#[from] RecordError),
    /// Too many addresses.
    #[error("a ticket has at most {max} addresses")]
    Addresses {
        /// How many are allowed.
        max: usize,
    },
}
