//! Mutable references: `publish`, `ref …` and `resolve REF`.
//!
//! A reference is written `NAME` when it is this agent's, `AGENT/NAME` when it is another's, or as an IPNS
//! name (`k51…`).

use serde::{Deserialize, Serialize};

use crate::peers::PeerSummary;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// `POST /v1/references`: point a reference of this agent somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishReference {
    /// Its name, such as `planner/checkpoint`.
    pub name: String,
    /// A CID, an IPNS name or a content path.
    pub value: String,
    /// How long the record is valid without a renewal; `None`: as before, or the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<u64>,
    /// How long readers may keep it without asking; `None`: as before, or five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// Trusted peers that are asked to keep it alive; `None`: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepers: Option<Vec<String>>,
}

/// `POST /v1/references/renew` and `…/withdraw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceRequest {
    /// The name of a reference of this agent.
    pub name: String,
}

/// `POST /v1/references/resolve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveReference {
    /// Which reference.
    pub reference: String,
    /// Give up after this long; at most 60,000.
    pub timeout_ms: u64,
}

/// `POST /v1/references/keep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepReference {
    /// Whose and which.
    pub reference: String,
    /// Keep it alive; `false`: no longer.
    pub keep: bool,
}

/// `POST /v1/references/take`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeReference {
    /// A reference with the owner's word about its name, as it travels (`spec/17-references.md`), in base64.
    pub signed: String,
}

/// How a reference stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceState {
    /// Others hold it, and more than half of its life is left.
    Ok,
    /// It is being told: for the first minute nobody can be expected to hold it yet.
    Announcing,
    /// Nobody else is known to hold it: it is dark while this agent is away.
    Alone,
    /// Less than half of its life is left where others look.
    Expiring,
    /// Nobody can resolve it any more.
    Expired,
    /// Its owner took it back.
    Withdrawn,
    /// It is to be kept, and was not found yet.
    Unknown,
}

impl ReferenceState {
    /// The word in JSON and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Announcing => "announcing",
            Self::Alone => "alone",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Unknown => "unknown",
        }
    }
}

/// A reference of this agent, or one that it keeps for another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// `homing.reference/v1`.
    pub schema: Schema<Reference>,
    /// As it is written: `NAME`, `AGENT/NAME` or an IPNS name.
    pub reference: String,
    /// It is this agent's.
    pub own: bool,
    /// How it stands.
    pub state: ReferenceState,
    /// Whose it is; `None`: only the IPNS name is known.
    pub owner: Option<PeerSummary>,
    /// Its name at its owner.
    pub name: Option<String>,
    /// Its IPNS name.
    pub ipns: Option<String>,
    /// What it points to.
    pub value: Option<String>,
    /// Counts its values.
    pub sequence: Option<u64>,
    /// End of the newest signed record.
    pub expires: Option<Stamp>,
    /// How long others can resolve it if nothing more happens.
    pub remaining_s: u64,
    /// How long one record is valid.
    pub lifetime_s: u64,
    /// How long readers may keep it without asking.
    pub ttl_s: Option<u64>,
    /// Who is asked to keep it alive.
    pub keepers: Vec<Keeper>,
    /// Nodes of the DHT that took the last copy.
    pub replicas: Option<u64>,
    /// … of so many that were asked.
    pub replicas_asked: Option<u64>,
    /// When it is signed anew, or announced again.
    pub next: Option<Stamp>,
}

/// Somebody who is asked to keep a reference alive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keeper {
    /// Who.
    pub peer: PeerSummary,
    /// What it holds is valid until then; `None`: it has not said that it keeps it.
    pub holds_until: Option<Stamp>,
    /// Trust is mutual: only then is it asked, and only then does it keep anything.
    pub trusted: bool,
}

/// `GET /v1/references`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceList {
    /// `homing.references/v1`.
    pub schema: Schema<ReferenceList>,
    /// Own ones by name, then those kept for others.
    pub references: Vec<Reference>,
}

/// `GET /v1/references/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceHistory {
    /// `homing.reference_history/v1`.
    pub schema: Schema<ReferenceHistory>,
    /// Which.
    pub name: String,
    /// Oldest first, at most 256; the audit log keeps all.
    pub versions: Vec<ReferenceVersion>,
}

/// What a reference pointed to, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceVersion {
    /// Its sequence.
    pub sequence: u64,
    /// What it pointed to.
    pub value: String,
    /// What it pointed to before.
    pub previous: Option<String>,
    /// When it was published.
    pub published: Stamp,
    /// The IPNS name at the time.
    pub ipns: String,
    /// It is the end: the reference was withdrawn.
    pub withdrawn: bool,
}

/// A resolved reference with its proof.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceResolution {
    /// `homing.reference_resolution/v1`.
    pub schema: Schema<ReferenceResolution>,
    /// As it was asked for.
    pub reference: String,
    /// What it points to.
    pub value: String,
    /// Counts its values.
    pub sequence: u64,
    /// Its IPNS name.
    pub ipns: String,
    /// Whose it is, by a statement that the owner signed.
    pub owner: Option<PeerSummary>,
    /// Its name at its owner.
    pub name: Option<String>,
    /// End of the record.
    pub expires: Stamp,
    /// How long it may be kept without asking.
    pub ttl_s: u64,
    /// What gave it: `local`, `neighbours` or `dht`.
    pub layer: String,
    /// Nodes of the DHT that were asked and had one.
    pub replicas: u64,
    /// Of these, the ones that had this one, the newest.
    pub agreed: u64,
    /// Peers that were asked directly and had this one.
    pub peers: Vec<PeerSummary>,
    /// From question to answer.
    pub elapsed_ms: f64,
    /// The signed IPNS record, base64: any IPNS library verifies it against `ipns`.
    pub record: String,
    /// The owner's statement that `ipns` is its reference `name`, a COSE_Sign1 in base64.
    pub binding: Option<String>,
}

/// `GET /v1/references/export`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceRecord {
    /// `homing.reference_record/v1`.
    pub schema: Schema<ReferenceRecord>,
    /// As it was asked for.
    pub reference: String,
    /// Its IPNS name.
    pub ipns: String,
    /// The signed IPNS record, base64.
    pub record: String,
    /// The owner's statement about the name, base64.
    pub binding: Option<String>,
}

described! {
    Reference => "homing.reference/v1",
    ReferenceList => "homing.references/v1",
    ReferenceHistory => "homing.reference_history/v1",
    ReferenceResolution => "homing.reference_resolution/v1",
    ReferenceRecord => "homing.reference_record/v1",
}
