//! What two agents say to each other about port prediction: the wire form of [`super`] (`spec/18-ports.md`).

use std::net::{Ipv4Addr, SocketAddrV4};

use homing_base::cbor::{self, CborError};
use minicbor::{Decode, Encode};

/// The longest word.
pub const WORD_BYTES_MAX: usize = 128;

/// What is said about port prediction (`Message::Port`).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Word {
    /// From the side whose port is known: "open your sockets towards this place".
    #[n(1)]
    Offer(#[n(0)] Offer),
    /// From the symmetric side: "they are open, look for one of them at this address".
    #[n(2)]
    Ready(#[n(0)] Ready),
    /// From the symmetric side: "not now".
    #[n(3)]
    No(#[n(0)] u64),
    /// From the side that dialled the link, once a port was found: "this is where I enter".
    #[n(4)]
    Through(#[n(0)] Through),
}

/// Begins an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// Names the attempt; drawn by the sender.
    #[n(1)]
    pub attempt: u64,
    /// What the probes are authenticated with: random, of this attempt alone.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub secret: [u8; 32],
    /// Where the sender's socket is seen from outside.
    #[n(3)]
    pub at: Place,
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Offer {{ attempt: {:x}, at: {} }}", self.attempt, SocketAddrV4::from(self.at))
    }
}

/// The answer to an [`Offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ready {
    /// That of the offer.
    #[n(1)]
    pub attempt: u64,
    /// The address of the sender's NAT.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ip: [u8; 4],
}

/// A found port is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Through {
    /// That of the offer.
    #[n(1)]
    pub attempt: u64,
    /// A loopback address of the *sender's* machine; means nothing on another.
    #[n(2)]
    pub entry: Place,
}

/// An IPv4 address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Place {
    /// The address.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub ip: [u8; 4],
    /// The port.
    #[n(2)]
    pub port: u16,
}

impl From<SocketAddrV4> for Place {
    fn from(addr: SocketAddrV4) -> Self {
        Self { ip: addr.ip().octets(), port: addr.port() }
    }
}

impl From<Place> for SocketAddrV4 {
    fn from(place: Place) -> Self {
        Self::new(Ipv4Addr::from(place.ip), place.port)
    }
}

impl Word {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// When the bytes are too long, not deterministic CBOR, or nothing that we know.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, WORD_BYTES_MAX)
    }
}
