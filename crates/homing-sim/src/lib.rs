//! What could happen: seeded worlds of hosts, translators, links, disks and clocks that run the real
//! core, and the checkers that watch it.
//!
//! ```text
//! seed ─► swarm / scenario ─► World { network, links, runs (homing_core::Agent), disks } ─► Outcome
//!                                     │ every input and output
//!                                     └─► trace hash, checkers
//! ```
//! One seed is one history: two runs give equal trace hashes. Reading order: [`world`], [`shell`],
//! [`dial`], [`link`], [`network`], [`nat`], [`disk`], [`fault`], [`hostile`], [`check`],
//! [`converge`], [`swarm`]. Not here: hole punching packets (iroh's business; its outcome and its cost
//! are modelled), real disks, real time.

pub mod alarm;
pub mod audit;
pub mod build;
pub mod chance;
pub mod check;
pub mod clock;
pub mod converge;
pub mod dht;
pub mod dial;
pub mod disk;
pub mod fault;
pub mod gossip;
pub mod hostile;
pub mod lab;
pub mod link;
pub mod mailbox;
pub mod nat;
pub mod network;
mod price;
pub mod queue;
pub mod references;
pub mod run;
pub mod scenario;
pub mod shell;
mod strategies;
pub mod stream;
pub mod swarm;
pub mod sweep;
pub mod trace;
pub mod world;

pub use chance::Chance;
pub use clock::WorldTime;
pub use fault::Carry;
pub use nat::NatKind;
pub use run::{AgentIx, RunIx};
pub use scenario::Scenario;
pub use swarm::{Outcome, run};
pub use world::{Canary, World};
