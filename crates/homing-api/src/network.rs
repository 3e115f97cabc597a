//! What the network does to this agent: `netcheck` and `doctor`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::agent::RelayLink;
use crate::peers::{Path, PeerSummary};
use crate::schema::{Schema, described};

/// Measured facts about a node's network; `null`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// UDP over IPv4 reaches the outside.
    pub udp_v4: Option<bool>,
    /// UDP over IPv6 reaches the outside.
    pub udp_v6: Option<bool>,
    /// The NAT gives another public port for each destination ("symmetric").
    pub mapping_varies: Option<bool>,
}

/// `GET /v1/netcheck[?peer=]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Netcheck {
    /// `homing.netcheck/v1`.
    pub schema: Schema<Netcheck>,
    /// This node's network.
    pub network: NetworkFacts,
    /// Public IPv4 address and port as seen from outside.
    pub global_v4: Option<SocketAddr>,
    /// Public IPv6 address and port as seen from outside.
    pub global_v6: Option<SocketAddr>,
    /// The NAT in words: `none`, `cone`, `symmetric`, `udp blocked`, `unknown`.
    pub nat: String,
    /// Local and learnt UDP addresses.
    pub direct: Vec<SocketAddr>,
    /// Relays, nearest first.
    pub relays: Vec<RelayLink>,
    /// The path with the peer asked about.
    pub peer: Option<PeerDiagnosis>,
}

/// Why the path with one peer is what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerDiagnosis {
    /// Who.
    pub peer: PeerSummary,
    /// The path in use.
    pub path: Path,
    /// Why, when it is not direct.
    pub why: Option<String>,
    /// The same for programs, see [`crate::peers::PeerStatus::why_code`].
    #[serde(default)]
    pub why_code: Option<String>,
    /// What to try.
    pub hint: Option<String>,
    /// What the peer says about its own network.
    pub their_network: Option<NetworkFacts>,
    /// Its direct candidates as it told us; only known for trusted peers.
    pub candidates: Vec<SocketAddr>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Works, with a limitation.
    Warn,
    /// Does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Stable, e.g. `identity`, `clock`, `relay`.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A check that came out as `outcome`.
    #[must_use]
    pub fn new(name: &str, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome, detail: detail.into(), hint: None }
    }

    /// With what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `GET /v1/doctor`: what the daemon can see from inside; the command line adds what it sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doctor {
    /// `homing.doctor/v1`.
    pub schema: Schema<Doctor>,
    /// In the order in which they depend on each other.
    pub checks: Vec<Check>,
}

described! {
    Netcheck => "homing.netcheck/v1",
    Doctor => "homing.doctor/v1",
}
