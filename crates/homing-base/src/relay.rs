//! Relay references: where a relay is and how to know that it is the right one.
//!
//! Text form, as `homing relay serve` prints it and `--relay` takes it:
//! `https://HOST:PORT/#sha256=<64 hex>&quic=<port>`. The fragment pins the SHA-256 of a self-made
//! certificate (DER) and names the UDP port of QUIC address discovery (default 7842). A relay with a
//! certificate from a public authority needs no pin.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};

use crate::key::parse_hex_32;
use crate::limits::RELAY_URL_BYTES_MAX;

/// UDP port of QUIC address discovery unless said otherwise (iroh's default).
pub const QUIC_PORT_DEFAULT: u16 = 7842;

/// A relay as configured, published and dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct RelayRef {
    /// `https://host[:port]/` (or `http://` for a relay without TLS), without fragment.
    #[n(1)]
    pub url: String,
    /// SHA-256 of the certificate in DER form; `None`: the public authorities decide.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub pin: Option<[u8; 32]>,
    /// UDP port of QUIC address discovery; `None`: [`QUIC_PORT_DEFAULT`].
    #[n(3)]
    pub quic_port: Option<u16>,
}

impl RelayRef {
    /// Host and port, e.g. `198.51.100.7:3340`: what a pin is bound to, and how tables name a relay.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    /// Whether the URL has the shape that [`FromStr`] demands; for values that came over the wire.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.to_string().parse().is_ok_and(|parsed: RelayRef| parsed == *self)
    }
}

impl fmt::Display for RelayRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        let pin = self.pin.map(|p| format!("sha256={}", HEXLOWER.encode(&p)));
        let quic = self.quic_port.map(|p| format!("quic={p}"));
        let parts: Vec<_> = [pin, quic].into_iter().flatten().collect();
        if parts.is_empty() { Ok(()) } else { write!(f, "#{}", parts.join("&")) }
    }
}

impl FromStr for RelayRef {
    type Err = RelayParseError;

    fn from_str(text: &str) -> Result<Self, RelayParseError> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut relay = RelayRef { url: checked_url(url)?, pin: None, quic_port: None };
        for part in fragment.split('&').filter(|p| !p.is_empty()) {
            match part.split_once('=') {
                Some(("sha256", hex)) => {
                    relay.pin = Some(parse_hex_32(hex).ok_or(RelayParseError::Pin)?);
                }
                Some(("quic", port)) => {
                    relay.quic_port = Some(port.parse().map_err(|_| RelayParseError::QuicPort)?);
                }
                _ => return Err(RelayParseError::Fragment { part: part.to_owned() }),
            }
        }
        Ok(relay)
    }
}

impl serde::Serialize for RelayRef {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for RelayRef {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

fn checked_url(url: &str) -> Result<String, RelayParseError> {
    if url.len() > RELAY_URL_BYTES_MAX {
        return Err(RelayParseError::Long { len: url.len(), max: RELAY_URL_BYTES_MAX });
    }
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .ok_or(RelayParseError::Scheme)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if authority.is_empty() || !authority.chars().all(plain) {
        return Err(RelayParseError::Authority);
    }
    Ok(if rest.ends_with('/') { url.to_ascii_lowercase() } else { format!("{}/", url.to_ascii_lowercase()) })
}

/// Text that is no relay reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayParseError {
    /// Too long.
    #[error("a relay URL has at most {max} characters, this has {len}")]
    Long {
        /// Characters found.
        len: usize,
        /// Characters allowed.
        max: usize,
    },
    /// Neither http nor https.
    #[error("a relay URL begins with https:// (or http:// on a trusted network)")]
    Scheme,
    /// No plain host and port.
    #[error("a relay URL is https://HOST[:PORT]/ and nothing more before the #")]
    Authority,
    /// Bad certificate pin.
    #[error("sha256= takes the 64 hexadecimal digits that `homing relay serve` prints")]
    Pin,
    /// Bad port.
    #[error("quic= takes a UDP port")]
    QuicPort,
    /// Something else after the `#`.
    #[error("after the # come sha256=… and quic=…, this has {part:?}")]
    Fragment {
        /// The first offender.
        part: String,
    },
}
