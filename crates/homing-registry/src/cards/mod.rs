//! Agent cards: what an agent says about itself, as A2A defines it.
//!
//! ```text
//! bytes ──Card::parse──► Card ──► Listing::of        (words for the search, bounded)
//!   │                     ├────► signature::check    (JWS over canonical JSON: verified · unsigned · …)
//!   │                     └────► lint                (what a strict reader would object to)
//!   └─ kept and passed on as they came, byte for byte; the record names their SHA-256
//!
//! Fetcher ──► https URL of the record ──► resolve, check every address, connect to the checked one
//!         └─► path of the record      ──► GET through the agent's tunnel, service "card"
//! ```
//! A2A specification 1.0 §4.4 and §8 (`supportedInterfaces`, `/.well-known/agent-card.json`); cards of
//! 0.3 (`url`, `preferredTransport`, `additionalInterfaces`, §5.5; older agents serve them at
//! `/.well-known/agent.json`) are read too. Unknown fields stay. Not here: HTTP routes, storage.

pub mod canonical;
pub mod did_key;
pub mod fetch;
pub mod guard;
mod json;
pub mod jwks;
pub mod limits;
pub mod lint;
pub mod signature;
pub mod target;
pub mod wire;

pub use fetch::{FetchError, Fetched, Fetcher, FetcherConfig};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use self::limits::{CARD_BYTES_MAX, INTERFACES_MAX};

/// Where A2A 1.0 has the card of an origin (§8.2, RFC 8615).
pub const WELL_KNOWN_PATH: &str = "/.well-known/agent-card.json";
/// Where agents before 0.3 have it.
pub const WELL_KNOWN_PATH_OLD: &str = "/.well-known/agent.json";
/// The service that answers `GET` of an agent's card through its tunnel.
pub const CARD_SERVICE: &str = "card";
/// The card extension whose `params` speak to the registry; see `docs/cards.md`.
pub const LISTING_URI: &str = "urn:homing:listing:1";

/// Which specification a card follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A2A 1.0: `supportedInterfaces`.
    V1,
    /// A2A 0.3: `url`.
    V03,
}

/// One place at which an agent is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'c> {
    /// Absolute, as written.
    pub url: &'c str,
    /// As written: `JSONRPC`, `GRPC`, `HTTP+JSON`, or another.
    pub binding: &'c str,
}

/// A card that was read, with the bytes it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    bytes: Vec<u8>,
    sha256: [u8; 32],
    fields: Map<String, Value>,
    dialect: Dialect,
}

impl Card {
    /// Reads a card. Lenient: what a registry needs must be there, the rest is [`lint`]'s business.
    ///
    /// # Errors
    /// [`CardError`]: too long, no JSON without two meanings, or no card.
    pub fn parse(bytes: &[u8]) -> Result<Self, CardError> {
        if bytes.len() > CARD_BYTES_MAX {
            return Err(CardError::TooLong { len: bytes.len(), max: CARD_BYTES_MAX });
        }
        let value = json::read(bytes).map_err(|e| CardError::of_json(&e))?;
        let Value::Object(fields) = value else { return Err(CardError::NoObject) };
        match fields.get("name") {
            Some(Value::String(name)) if !name.trim().is_empty() => {}
            _ => return Err(CardError::Field { pointer: "/name", expected: "a non-empty string" }),
        }
        let dialect = if fields.get("supportedInterfaces").is_some_and(Value::is_array) {
            Dialect::V1
        } else if fields.get("url").is_some_and(Value::is_string) {
            Dialect::V03
        } else {
            let expected = "a list (A2A 1.0), or a string at /url (A2A 0.3)";
            return Err(CardError::Field { pointer: "/supportedInterfaces", expected });
        };
        let sha256 = Sha256::digest(bytes).into();
        Ok(Self { bytes: bytes.to_vec(), sha256, fields, dialect })
    }

    /// The bytes, as they came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of [`Card::bytes`]: what the record names.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Every field, unknown ones too.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Which specification it follows.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What the agent calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// For people; empty if there is none.
    #[must_use]
    pub fn description(&self) -> &str {
        self.text("description")
    }

    /// The agent's version; empty if there is none.
    #[must_use]
    pub fn version(&self) -> &str {
        self.text("version")
    }

    /// Where it is served, preferred one first (1.0 §8.3.1; 0.3 §5.6).
    #[must_use]
    pub fn interfaces(&self) -> Vec<Interface<'_>> {
        let mut found = Vec::new();
        if self.dialect == Dialect::V03 {
            let binding = match self.text("preferredTransport") {
                "" => "JSONRPC",
                binding => binding,
            };
            found.push(Interface { url: self.text("url"), binding });
        }
        let (list, binding) = match self.dialect {
            Dialect::V1 => ("supportedInterfaces", "protocolBinding"),
            Dialect::V03 => ("additionalInterfaces", "transport"),
        };
        for item in self.list(list).iter().filter_map(Value::as_object) {
            let one = Interface { url: text_of(item, "url"), binding: text_of(item, binding) };
            if !one.url.is_empty() && !one.binding.is_empty() && !found.contains(&one) {
                found.push(one);
            }
        }
        found.truncate(INTERFACES_MAX);
        found
    }

    /// Its skills, as written.
    pub fn skills(&self) -> impl Iterator<Item = &Map<String, Value>> {
        self.list("skills").iter().filter_map(Value::as_object)
    }

    /// Its signatures, as written (§4.4.7).
    #[must_use]
    pub fn signatures(&self) -> &[Value] {
        self.list("signatures")
    }

    /// The `params` of its first [`LISTING_URI`] extension (1.0 §4.4.4).
    #[must_use]
    pub fn listing_params(&self) -> Option<&Map<String, Value>> {
        let list = self.fields.get("capabilities")?.get("extensions")?.as_array()?;
        let ours = |e: &&Value| e.get("uri").and_then(Value::as_str) == Some(LISTING_URI);
        list.iter().find(ours)?.get("params")?.as_object()
    }

    /// The proof by which an owner vouches for this agent: base64url, not verified here.
    #[must_use]
    pub fn owner_proof(&self) -> Option<&str> {
        self.listing_params()?.get("owner_proof")?.as_str()
    }

    fn text(&self, key: &str) -> &str {
        text_of(&self.fields, key)
    }

    fn list(&self, key: &str) -> &[Value] {
        self.fields.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// A string field; empty if it is missing or something else.
pub(crate) fn text_of<'c>(fields: &'c Map<String, Value>, key: &str) -> &'c str {
    fields.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Why bytes are no card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Longer than any honest card.
    #[error("the card has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Not JSON, JSON with two meanings, or too much of it.
    #[error("{why} (line {line}, column {column})")]
    Json {
        /// What is wrong.
        why: String,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// A list, a string, a number.
    #[error("a card is a JSON object")]
    NoObject,
    /// A field that every reader needs.
    #[error("{pointer}: expected {expected}")]
    Field {
        /// JSON pointer (RFC 6901).
        pointer: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
}

impl CardError {
    fn of_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or_default().to_owned();
        Self::Json { why, line: error.line(), column: error.column() }
    }
}
