//! Trust: `handshake`, `pending`, `approve`, `reject`, `trust list|show|revoke`.

use homing_base::Service;
use serde::{Deserialize, Serialize};

use crate::peers::PeerSummary;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// Where trust between this agent and a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustState {
    /// Nobody said anything.
    None,
    /// We asked; no answer yet.
    Requested,
    /// The peer asked; the user decides.
    Pending,
    /// Both said yes.
    Mutual,
    /// Both said yes; one of the two has run out.
    Expired,
    /// We said no to a request.
    RejectedByUs,
    /// The peer said no.
    RejectedByPeer,
    /// We took it back.
    RevokedByUs,
    /// The peer took it back.
    RevokedByPeer,
}

/// Trust with one peer, in brief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFacts {
    /// Where it stands.
    pub state: TrustState,
    /// Services that the peer may use here; `null`: all.
    pub allowed: Option<Vec<Service>>,
    /// Services that the peer allows us; `null`: all.
    pub allowed_by_peer: Option<Vec<Service>>,
    /// When it ends: the earlier of both sides; `null`: it does not by itself.
    pub expires: Option<Stamp>,
}

/// `POST /v1/handshake`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeRequest {
    /// Name, address or node ID.
    pub peer: String,
    /// For its owner to read.
    #[serde(default)]
    pub reason: Option<String>,
    /// For which services; `null`: all.
    #[serde(default)]
    pub services: Option<Vec<Service>>,
    /// For how long; `null`: until revoked.
    #[serde(default)]
    pub lifetime_s: Option<u64>,
}

impl HandshakeRequest {
    /// For all services, until revoked, without a reason.
    #[must_use]
    pub fn to(peer: impl Into<String>) -> Self {
        Self { peer: peer.into(), reason: None, services: None, lifetime_s: None }
    }
}

/// `POST /v1/approve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproveRequest {
    /// Name, address or node ID.
    pub peer: String,
    /// For which services; `null`: those asked for.
    #[serde(default)]
    pub services: Option<Vec<Service>>,
    /// For how long; `null`: as asked for.
    #[serde(default)]
    pub lifetime_s: Option<u64>,
}

impl ApproveRequest {
    /// As it was asked for.
    #[must_use]
    pub fn of(peer: impl Into<String>) -> Self {
        Self { peer: peer.into(), services: None, lifetime_s: None }
    }
}

/// `POST /v1/reject` and `POST /v1/trust/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRequest {
    /// Name, address or node ID.
    pub peer: String,
}

/// What a trust operation led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustChange {
    /// `homing.trust_change/v1`.
    pub schema: Schema<TrustChange>,
    /// With whom.
    pub peer: PeerSummary,
    /// Where trust stands now.
    pub state: TrustState,
    /// Whether this request changed anything.
    pub changed: bool,
    /// Whether the peer has the statement already; if not it is delivered when both are online.
    pub delivered: bool,
}

/// `GET /v1/pending`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// `homing.pending/v1`.
    pub schema: Schema<Pending>,
    /// Newest last.
    pub requests: Vec<PendingRequest>,
}

/// A peer asks for trust.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingRequest {
    /// Who asks.
    #[serde(flatten)]
    pub peer: PeerSummary,
    /// For which services; `null`: all.
    pub services: Option<Vec<Service>>,
    /// Until when; `null`: until revoked.
    pub expires: Option<Stamp>,
    /// Why, in its words.
    pub reason: Option<String>,
    /// When it asked, by its clock.
    pub asked: Stamp,
    /// Whether there was trust or a request before.
    pub seen_before: bool,
}

/// `GET /v1/trust`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustList {
    /// `homing.trust/v1`.
    pub schema: Schema<TrustList>,
    /// Every peer about whom somebody said something.
    pub entries: Vec<TrustEntry>,
}

/// `GET /v1/trust/{peer}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustShow {
    /// `homing.trust_entry/v1`.
    pub schema: Schema<TrustShow>,
    /// The one asked for.
    #[serde(flatten)]
    pub entry: TrustEntry,
}

/// Everything known about trust with one peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustEntry {
    /// Who.
    #[serde(flatten)]
    pub peer: PeerSummary,
    /// In brief.
    pub trust: TrustFacts,
    /// Our newest statement.
    pub ours: Option<StatementFacts>,
    /// The peer's newest statement.
    pub theirs: Option<StatementFacts>,
}

/// A signed statement, as far as people care.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementFacts {
    /// `request`, `grant`, `reject` or `revoke`.
    pub kind: String,
    /// Highest wins.
    pub sequence: u64,
    /// When it was signed, by the signer's clock.
    pub issued: Stamp,
    /// When it ends.
    pub expires: Option<Stamp>,
    /// Services covered; `null`: all.
    pub services: Option<Vec<Service>>,
    /// The asker's words.
    pub reason: Option<String>,
}

described! {
    TrustChange => "homing.trust_change/v1",
    Pending => "homing.pending/v1",
    TrustList => "homing.trust/v1",
    TrustShow => "homing.trust_entry/v1",
}
