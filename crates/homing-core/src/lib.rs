//! What is decided: one agent's trust, names, links and records as a state machine without I/O.
//!
//! The contract: *after every [`Agent::handle`], drain [`Agent::poll_output`] to `None`, doing the
//! outputs in order; then wait until [`Agent::next_wakeup`] or the next input.* Order is meaning: a
//! [`Output::Persist`] stands before the [`Output::Send`] that depends on it, so a crash between
//! the two loses nothing that was promised. Every `Persist` is one atomic batch.
//!
//! ```ignore
//! loop {
//!     while let Some(output) = agent.poll_output() { shell.perform(output).await?; }
//!     let input = shell.next_input(agent.next_wakeup()).await;
//!     agent.handle(clock.now(), input);
//! }
//! ```
//!
//! Time is an argument, randomness a seeded generator, collections are ordered. Siblings
//! (`links`, `trust`, `names`, `records`) do not know each other; only [`agent`] composes.

pub mod agent;
pub mod audit;
pub(crate) mod chance;
pub mod cluster;
pub mod dht;
pub mod gossip;
pub mod io;
pub mod limits;
pub(crate) mod links;
pub mod message;
pub mod messages;
pub(crate) mod names;
pub mod ports;
pub(crate) mod records;
pub mod references;
pub(crate) mod resolve;
pub mod session;
pub(crate) mod trust;
pub mod view;

pub use agent::Agent;
pub use io::{Answer, Batch, Command, Event, Failure, Input, Output, Write};
pub use message::Message;
