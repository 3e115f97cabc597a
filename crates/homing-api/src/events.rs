//! `GET /v1/events`: what a user or operator would notice, as it happens (Server-Sent Events, one
//! [`Event`] per `data:` line, `event:` repeats its kind).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::peers::PeerSummary;
use crate::schema::{Schema, described};
use crate::stamp::Stamp;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `homing.event/v1`.
    pub schema: Schema<Event>,
    /// When.
    pub at: Stamp,
    /// Stable name, e.g. `peer_connected`, `peer_disconnected`, `peer_moved`, `path_changed`,
    /// `trust_changed`, `published`, `superseded`, `lagged`.
    pub kind: String,
    /// About whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerSummary>,
    /// One line for people.
    pub message: String,
    /// Values of this kind of event.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

described!(Event => "homing.event/v1");
