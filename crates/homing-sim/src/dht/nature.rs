//! What never changes about a world of DHT nodes: settings, distances, lives.

use std::time::Duration;

use homing_core::dht::Config;

use super::churn::Sessions;
use super::latency::{Latency, Uplink};

/// What never changes about a world.
#[derive(Clone, Debug)]
pub struct Nature {
    /// Settings of every node.
    pub config: Config,
    /// Seeds that a joining node is given.
    pub seeds: usize,
    /// How late slow nodes answer.
    pub slow: Duration,
    /// Clocks are off by up to this much, either way.
    pub skew_ms: i64,
    /// Where round trips come from.
    pub latency: Latency,
    /// The median round trip, in milliseconds.
    pub rtt_ms: f64,
    /// Uplinks; `None`: unlimited.
    pub uplink: Option<Uplink>,
    /// Session times and their median; `None`: nobody leaves by itself.
    pub churn: Option<(Sessions, Duration)>,
    /// Operations per node and second while [`super::World::work`] is on.
    pub work_per_node: f64,
    /// New nodes publish a record as soon as they have joined.
    pub publish: bool,
}
