//! An entity: the newest record of one identity as a registry keeps it.
//!
//! ```text
//! key  = node ID (64 hex) | address (fd…) | name (a DNS label, may mean several)
//! record  signed by the agent, ≤ 1 000 bytes, expires ≤ 24 h after it was issued
//! status  active: not expired, not withdrawn · expired · withdrawn (a tombstone outlives what it withdraws)
//! ```

use std::str::FromStr;

use homing_base::name::LabelError;
use homing_base::{Address, Name, NodeId, Now, Record, Wall};
use serde::{Deserialize, Serialize};

use crate::listing::Listing;

/// How an entity is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityKey {
    /// By its node ID.
    NodeId(NodeId),
    /// By its address.
    Address(Address),
    /// By a name that it claims.
    Name(Name),
}

impl FromStr for EntityKey {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if let Ok(id) = text.parse() {
            return Ok(Self::NodeId(id));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        text.parse().map(Self::Name)
    }
}

/// How a record came to this registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Registered here.
    Registered,
    /// Heard from a peer.
    Gossip,
    /// Found in the DHT when somebody asked.
    Dht,
}

/// Whether an entity is true now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its record is valid and its agent was heard lately, or never promised to be.
    Active,
    /// Its record is valid, but its heartbeats have stopped.
    Inactive,
    /// Its record's life is over.
    Expired,
    /// Its agent has withdrawn it.
    Withdrawn,
}

/// A card as it was received: every byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCard {
    /// The card's bytes, passed through unchanged.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub sha256: [u8; 32],
    /// When it was received.
    pub fetched: Wall,
}

/// What a registry keeps about one identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// The newest record; verified before it became this.
    pub record: Record,
    /// What its card says, in the words of the search.
    pub listing: Listing,
    /// The card whose digest the record names, if it was received.
    pub card: Option<StoredCard>,
    /// How the record came here.
    pub source: Source,
    /// When the first record of this identity came here.
    pub registered: Wall,
    /// When this record came here.
    pub updated: Wall,
    /// The newest signed heartbeat.
    pub heartbeat: Option<Wall>,
}

/// After this long without a heartbeat an entity that sent one is inactive. Milliseconds.
pub const HEARTBEAT_LIFE_MS: u64 = 90_000;

impl Entity {
    /// Whose.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.record.node_id()
    }

    /// Whether it is true now.
    #[must_use]
    pub fn status(&self, now: Now) -> Status {
        if self.record.withdrawn == Some(true) {
            return Status::Withdrawn;
        }
        if self.record.check_lifetime(now).is_err() {
            return Status::Expired;
        }
        match self.heartbeat {
            Some(at) if now.wall.0.saturating_sub(at.0) > HEARTBEAT_LIFE_MS => Status::Inactive,
            _ => Status::Active,
        }
    }
}
