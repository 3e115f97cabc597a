//! The agent card of this agent: `card publish`, `card show`.
//!
//! The card travels as text, byte for byte: whoever signed it signed these bytes' meaning, and the agent
//! record names their SHA-256.

use serde::{Deserialize, Serialize};

use crate::schema::{Schema, described};

/// Bytes of a card; those of the registry.
pub const CARD_BYTES_MAX: usize = 256 * 1_024;

/// `POST /v1/card`: publish a card, or withdraw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishCardRequest {
    /// The card's text; `None`: the agent has no card any more.
    pub text: Option<String>,
    /// Where it can be fetched without a daemon; `None`: through this agent's tunnel only.
    #[serde(default)]
    pub url: Option<String>,
}

/// `GET /v1/card`: the published card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedCard {
    /// `homing.card/v1`.
    pub schema: Schema<PublishedCard>,
    /// What the record says: a URL, or the path through the tunnel.
    pub url: String,
    /// SHA-256 of `text`, 64 hexadecimal digits.
    pub sha256: String,
    /// Every byte.
    pub text: String,
}

/// A card as the record of an agent names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardFacts {
    /// A URL, or the path through the agent's tunnel.
    pub url: String,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
}

described!(PublishedCard => "homing.card/v1");
