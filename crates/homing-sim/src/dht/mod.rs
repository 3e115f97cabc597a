//! Worlds of DHT nodes: thousands of real [`homing_core::dht::Dht`] machines, simulated messages.
//!
//! ```text
//! scenarios/dht/NAME.toml ─► Scenario ─► World (Wheel, Latency, Uplink, Sessions, Colluders) ─► Measured
//! ```
//! One seed is one history; counts are exact and may be asserted. Not here: links, NATs, disks and
//! whole agents, which the other worlds of this crate simulate.

pub mod adversary;
pub mod churn;
pub mod cli;
pub mod clusters;
pub mod fit;
pub mod latency;
mod losses;
mod nature;
pub mod oracle;
pub mod plot;
pub mod report;
mod run;
pub mod scenario;
pub mod study;
mod traffic;
mod trials;
pub mod value;
pub mod wheel;
pub mod world;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;

pub use cli::{is_dht, located, run};
pub use report::Measured;
pub use run::play;
pub use scenario::Scenario;
pub use study::{Study, StudyArgs, study};
pub use world::World;
