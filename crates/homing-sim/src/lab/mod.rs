//! The lab as a library: what a fleet of agents would go through, before it does.
//!
//! ```text
//! Fleet (TOML, flags, event log) ─► check ─► Trial per (strategy, turnover, seed) ─► Run directory
//!                                              │ World<Machine>: regions, NATs, loss, lives
//!                                              └► figures, trace hash ─► compare · plan ─► JSON, HTML
//! ```
//! Every trial is one seed and one history: equal arguments give equal trace hashes. The machines are the
//! daemon's own [`homing_core::dht::Dht`] in its modes and, for comparison only, [`crate::strategies`].
//! Reading order: [`fleet`], [`events`], `world`, [`trial`], [`run`], [`table`], [`plan`], [`report`]. Not here: the
//! command line (the faces), whole agents with disks and streams (the other worlds of this crate).

pub mod events;
pub mod fleet;
mod kademlia;
pub mod limits;
pub(crate) mod machine;
mod place;
pub mod plan;
pub mod report;
pub mod run;
mod sessions;
pub mod span;
pub mod strategy;
pub mod table;
mod trace;
pub mod trial;
mod world;

#[cfg(test)]
mod tests;

pub use events::{Change, EventLog};
pub use fleet::{Fleet, FleetError};
pub use plan::{Advice, Weights, Wish};
pub use run::{Job, Means, Progress, Run, RunError};
pub use sessions::{Lifetimes, Model};
pub use span::Span;
pub use strategy::Strategy;
pub use trial::{Figures, Stop, Trial, play};
