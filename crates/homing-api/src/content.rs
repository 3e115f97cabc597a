//! Content: files that this agent keeps and serves to its peers, by CID.

use homing_base::ContentId;
use serde::{Deserialize, Serialize};

use crate::peers::PeerSummary;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// `POST /v1/content`: keep a copy of a file and serve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddContentRequest {
    /// Absolute.
    pub path: String,
}

/// The file is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedContent {
    /// `homing.content_added/v1`.
    pub schema: Schema<AddedContent>,
    /// What it is called everywhere.
    pub cid: ContentId,
    /// Its size.
    pub size_bytes: u64,
    /// Whether it was not here before.
    pub changed: bool,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentItem {
    /// Its CID.
    pub cid: ContentId,
    /// Its size; it counts in full from the first byte on.
    pub size_bytes: u64,
    /// Whether all of it is here. What is not is fetched by `homing fetch`, and is not served.
    pub whole: bool,
    /// When it was last written.
    pub since: Stamp,
}

/// `GET /v1/content`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentList {
    /// `homing.content/v1`.
    pub schema: Schema<ContentList>,
    /// By CID, at most 10,000.
    pub items: Vec<ContentItem>,
    /// Bytes that count against the limit.
    pub used_bytes: u64,
    /// `content.max_bytes`.
    pub max_bytes: u64,
}

/// `POST /v1/content/rm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveContentRequest {
    /// Which.
    pub cid: ContentId,
}

/// `POST /v1/content/fetch`: one event per change of progress, the last one says how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchRequest {
    /// A CID of content, or a reference that points to one.
    pub what: String,
    /// Peers to ask before all others: names, addresses or node IDs. 32 peers are asked in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// Refuse what is larger, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size_bytes: Option<u64>,
}

/// How far a fetch is: the event `progress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchProgress {
    /// `homing.fetch_progress/v1`.
    pub schema: Schema<FetchProgress>,
    /// What is fetched.
    pub cid: ContentId,
    /// Verified bytes that are here.
    pub received_bytes: u64,
    /// All bytes; 0 while nobody has proven the size.
    pub size_bytes: u64,
    /// Who gives them now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PeerSummary>,
}

/// All of it is here and was verified just now: the event `done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// `homing.fetched/v1`.
    pub schema: Schema<Fetched>,
    /// What was fetched.
    pub cid: ContentId,
    /// Its size.
    pub size_bytes: u64,
    /// Where it is on this machine. Read it, do not change it: it is served to others.
    pub path: String,
    /// Bytes that came from peers this time; the rest was here.
    pub fetched_bytes: u64,
    /// Who gave them, in order.
    pub from: Vec<PeerSummary>,
    /// Who sent something else under this CID and was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blamed: Vec<PeerSummary>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Whether it was not here before.
    pub changed: bool,
}

described! {
    AddedContent => "homing.content_added/v1",
    ContentList => "homing.content/v1",
    FetchProgress => "homing.fetch_progress/v1",
    Fetched => "homing.fetched/v1",
}
