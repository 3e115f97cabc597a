//! What is promised over HTTP: the types of the local API, its error table and a typed client. No
//! server.
//!
//! ```text
//! CLI · SDKs · console ──► Client ──HTTP/1.1 + JSON──► $HOMING_HOME/homing.sock ──► the node
//!                            ├─ SSE:      GET /v1/events · POST /v1/listen
//!                            └─ Upgrade:  POST /v1/connect · POST /v1/streams/{id}   (raw bytes)
//! ```
//! Every JSON object begins with `"schema":"homing.<what>/v<major>"`; within a major version fields
//! are only added. Times are RFC 3339 in UTC, durations end in `_ms` or `_s`, sizes in `_bytes`.
//!
//! Reading order: [`operations`], [`error`], [`agent`], [`cards`], [`peers`], [`trust`], [`streams`],
//! [`network`], [`dht`], [`gossip`], [`client`].

pub mod agent;
pub mod cards;
pub mod client;
pub mod content;
pub mod dht;
pub mod error;
pub mod events;
pub mod exposures;
pub mod find;
pub mod gossip;
pub mod handover;
pub mod messages;
pub mod network;
pub mod operations;
pub mod peers;
pub mod references;
pub mod schema;
pub mod sse;
pub mod stamp;
pub mod streams;
pub mod trust;

pub use client::Client;
pub use error::{ApiError, Code};
pub use operations::{OPERATIONS, Operation};
pub use schema::{Described, Schema};
pub use stamp::Stamp;

/// The major version of the local API; a client and a daemon of different majors do not talk.
pub const API_MAJOR: u32 = 1;
/// Response header with the daemon's [`API_MAJOR`].
pub const HEADER_API: &str = "homing-api";
/// Response header with the daemon's program version.
pub const HEADER_VERSION: &str = "homing-version";
/// The protocol named in `Upgrade:` for raw byte streams.
pub const UPGRADE_PROTOCOL: &str = "homing-stream";
/// The same for streams that the daemon carries over a socket of the caller's; see [`handover`].
pub const UPGRADE_SOCKET: &str = "homing-socket";
/// Response header of an upgraded stream: the number under which [`operations::STREAM`] knows it.
pub const HEADER_STREAM: &str = "homing-stream-id";
/// Response header of an upgraded stream: what the peer says its service speaks; see
/// [`streams::Protocol`].
pub const HEADER_PROTOCOL: &str = "homing-protocol";
/// Response header of an upgraded stream: the peer's node ID.
pub const HEADER_PEER: &str = "homing-peer";
/// The largest JSON body either side accepts.
pub const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
