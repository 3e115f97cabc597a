//! What an agent's card and record say about it, in the words of the registry.
//!
//! Derived, never signed on its own: the record's signature covers the card by its digest, and the record
//! its own name and tags. A registry that derives otherwise shows other words, never another agent.

mod derive;

use serde::{Deserialize, Serialize};

/// An agent, or a service that answers without a mind of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// An agent.
    #[default]
    Agent,
    /// A service.
    Service,
}

/// One skill of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// The card's identifier for it.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Words.
    pub tags: Vec<String>,
}

/// The searchable description of an entity. Every field is bounded by [`crate::limits`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// What it is called in lists: the card's name, or the record's.
    pub title: String,
    /// The beginning of the card's description.
    pub summary: String,
    /// One word for what it is about; empty: none.
    pub category: String,
    /// Agent or service.
    pub kind: EntityKind,
    /// Words, lower case, without duplicates: the record's, then the card's.
    pub tags: Vec<String>,
    /// What it can do.
    pub skills: Vec<Skill>,
    /// Lower case, e.g. `a2a`, `mcp`, `jsonrpc`, `grpc`, `http+json`.
    pub protocols: Vec<String>,
    /// Where it is served to programs without a daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_url: Option<String>,
    /// Where its API is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openapi_url: Option<String>,
    /// What it costs, as the card says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<serde_json::Value>,
    /// The identity that vouches for this agent, if its proof verifies: 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}
