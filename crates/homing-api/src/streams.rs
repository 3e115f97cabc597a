//! Application streams: `connect` and `listen`.
//!
//! ```text
//! connect:  POST /v1/connect?peer=P&service=S&timeout_ms=T   Connection: Upgrade
//!           101 + headers homing-stream-id, homing-peer, homing-protocol; then raw bytes, half-close is passed on
//! listen:   POST /v1/listen {"service":S}    SSE, open as long as the service is exposed:
//!             event: ready   data: ListenReady
//!             event: stream  data: IncomingStream      within 10 s take it with
//!           POST /v1/streams/{id}  Connection: Upgrade → 101, then raw bytes
//! either:   with Upgrade: homing-socket the daemon carries over a socket of the caller's ([`crate::handover`])
//! ends:     GET /v1/streams/{id} → StreamOutcome: a socket cannot tell "ended" from "broken", this can
//!           POST /v1/streams/{id}/abort: nor can closing one
//! ```
//! The last 8,192 outcomes are remembered. A number is not used again by a later run of the daemon.

use homing_base::Service;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::peers::PeerSummary;
use crate::schema::{Schema, described};

/// What a service speaks, as its host says when it lets a stream in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Not said: bytes.
    #[default]
    Bytes,
    /// HTTP/1.1, the opener being the client.
    Http,
    /// Sessions that outlive their streams (`spec/11-sessions.md`).
    Sessions,
    /// Datagrams in a stream (`spec/11-sessions.md`).
    Datagrams,
}

impl Protocol {
    /// The value of [`crate::HEADER_PROTOCOL`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Bytes => "bytes",
            Protocol::Http => "http",
            Protocol::Sessions => "sessions",
            Protocol::Datagrams => "datagrams",
        }
    }

    /// The protocol of that name; unknown: bytes.
    #[must_use]
    pub fn named(text: &str) -> Self {
        let known = [Protocol::Http, Protocol::Sessions, Protocol::Datagrams];
        known.into_iter().find(|p| p.as_str() == text).unwrap_or_default()
    }

    fn is_bytes(&self) -> bool {
        *self == Protocol::Bytes
    }
}

/// `POST /v1/listen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenRequest {
    /// The service or port under which peers reach it.
    pub service: Service,
    /// What it speaks, for openers to know; absent: bytes.
    #[serde(default, skip_serializing_if = "Protocol::is_bytes")]
    pub protocol: Protocol,
}

/// First event of a listen: peers can connect now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenReady {
    /// `homing.listen_ready/v1`.
    pub schema: Schema<ListenReady>,
    /// The service.
    pub service: Service,
}

/// A peer opened a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncomingStream {
    /// `homing.incoming_stream/v1`.
    pub schema: Schema<IncomingStream>,
    /// For `POST /v1/streams/{id}`.
    pub id: u64,
    /// The service it was opened for.
    pub service: Service,
    /// Who opened it, proven.
    pub peer: PeerSummary,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamState {
    /// Bytes may still flow.
    Open,
    /// Both directions ended in order.
    Closed,
    /// It broke; `error` says why.
    Broken,
}

/// `GET /v1/streams/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamOutcome {
    /// `homing.stream/v1`.
    pub schema: Schema<StreamOutcome>,
    /// The stream.
    pub id: u64,
    /// With whom.
    pub peer: PeerSummary,
    /// For which service.
    pub service: Service,
    /// What became of it.
    pub state: StreamState,
    /// Why it broke.
    pub error: Option<ApiError>,
    /// Bytes received from the peer.
    pub received_bytes: u64,
    /// Bytes sent to the peer.
    pub sent_bytes: u64,
}

described! {
    ListenReady => "homing.listen_ready/v1",
    IncomingStream => "homing.incoming_stream/v1",
    StreamOutcome => "homing.stream/v1",
}
