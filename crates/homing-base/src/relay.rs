//! Relay references: where a relay is and how to know that it is the right one.
//!
//! Text form, as `homing relay serve` prints it and `--relay` takes it:
//! `https://HOST:PORT/#sha256=<64 hex>&quic=<port>`. The fragment pins the SHA-256 of a self-made
//! certificate (DER) and names the UDP port of QUIC address discovery (default 7842). A relay with a
//! certificate from a public authority needs no pin.

use std::fmt;
use std::net::Ipv6Addr;
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
                Some(("sha256", hex)) if relay.pin.is_none() => {
                    relay.pin = Some(parse_hex_32(hex).ok_or(RelayParseError::Pin)?);
                }
                Some(("quic", port)) if relay.quic_port.is_none() => {
                    relay.quic_port = Some(parse_port(port).ok_or(RelayParseError::QuicPort)?);
                }
                _ => {
                    let part = part.chars().take(128).collect();
                    return Err(RelayParseError::Fragment { part });
                }
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

/// The URL in lowercase with its final slash.
fn checked_url(url: &str) -> Result<String, RelayParseError> {
    let slash = if url.ends_with('/') { "" } else { "/" };
    let url = format!("{}{slash}", url.to_ascii_lowercase());
    if url.len() > RELAY_URL_BYTES_MAX {
        return Err(RelayParseError::Long { len: url.len(), max: RELAY_URL_BYTES_MAX });
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.ok_or(RelayParseError::Scheme)?.strip_suffix('/').unwrap_or_default();
    if is_authority(authority) { Ok(url) } else { Err(RelayParseError::Authority) }
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`, nothing else.
fn is_authority(text: &str) -> bool {
    let (host_is_good, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((ip, rest)) => (ip.parse::<Ipv6Addr>().is_ok(), rest),
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let label = |l: &str| !l.is_empty() && l.chars().all(plain);
            (host.split('.').all(label), port)
        }
    };
    let port_is_good = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => parse_port(digits).is_some(),
    };
    host_is_good && port_is_good
}

/// A port as people and we write it: decimal digits, no sign, not 0.
fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.chars().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
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
    #[error("after the # come sha256=… and quic=…, once each, this has {part:?}")]
    Fragment {
        /// The first offender, cut to 128 characters.
        part: String,
    },
}
