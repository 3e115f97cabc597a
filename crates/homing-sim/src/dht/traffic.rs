//! Counted traffic of a world, over all its nodes.

/// Counted traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Traffic {
    /// Events handled.
    pub events: u64,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of maintenance.
    pub maintenance_bytes: u64,
    /// … by kind of exchange ([`homing_core::dht::Body::KINDS`]).
    pub by_kind: [u64; 7],
    /// Bytes of commands.
    pub command_bytes: u64,
    /// Messages dropped at full uplinks.
    pub dropped: u64,
    /// Node-seconds lived.
    pub node_seconds: f64,
}
