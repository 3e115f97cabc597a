//! `find`: agents by what they do, wherever they are listed.

use homing_base::{Address, Name, NodeId};
use serde::{Deserialize, Serialize};

use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// `POST /v1/find`: what to look for. Everything is optional; without words the filters decide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FindRequest {
    /// Words, at most 512 bytes.
    pub query: String,
    /// All of these tags.
    pub tags: Vec<String>,
    /// All of these skills.
    pub skills: Vec<String>,
    /// One of these protocols, such as `mcp` or `a2a`.
    pub protocols: Vec<String>,
    /// Hits at most, 1–100; 20 if not said.
    pub limit: Option<u32>,
    /// How long registries may take, 1–10,000 ms; 2,000 if not said.
    pub timeout_ms: Option<u64>,
}

/// `homing.found/v1`: agents, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// `homing.found/v1`.
    pub schema: Schema<Found>,
    /// Best first; the record of each was verified here.
    pub hits: Vec<FoundAgent>,
    /// Whether somebody who was asked did not answer in time.
    pub partial: bool,
    /// Who was asked.
    pub asked: Vec<Asked>,
}

described!(Found => "homing.found/v1");

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundAgent {
    /// Its node ID.
    pub node_id: NodeId,
    /// Its address: what to pass to `handshake`, `connect` or `ping`.
    pub address: Address,
    /// The name it claims.
    pub name: Option<Name>,
    /// What its card calls it.
    pub title: String,
    /// The beginning of its card's description.
    pub summary: String,
    /// Words for discovery.
    pub tags: Vec<String>,
    /// Names of its skills.
    pub skills: Vec<String>,
    /// Protocols it speaks.
    pub protocols: Vec<String>,
    /// 0–1.
    pub score: f64,
    /// Words that were found, and where: `word in field`.
    pub matched: Vec<String>,
    /// Who had it: `local`, a node ID or a URL.
    pub origin: String,
    /// Until when its record is valid.
    pub expires: Stamp,
}

/// A registry that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Its node ID or URL.
    pub peer: String,
    /// `answered`, `timeout`, `unreachable` or `refused`.
    pub state: String,
    /// How long it took.
    pub elapsed_ms: u64,
    /// Why it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
