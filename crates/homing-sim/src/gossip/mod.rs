//! Worlds of gossiping nodes: real [`homing_core::gossip::Gossip`] machines, simulated links.
//!
//! ```text
//! scenarios/gossip/NAME.toml ─► Scenario ─► World (graph, latency, loss, adversaries) ─► Measured
//! ```
//! One seed is one history; counts are exact and may be asserted. Not here: how links come about.

pub mod cli;
pub mod graph;
pub mod note;
pub mod report;
mod run;
pub mod scenario;
pub mod world;

#[cfg(test)]
mod tests;

pub use cli::{is_gossip, run};
pub use report::Measured;
pub use run::play;
pub use scenario::Scenario;
pub use world::World;
