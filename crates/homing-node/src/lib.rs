//! How it is done: the shell around one agent.
//!
//! ```text
//!                    ┌──────────── driver (performs the core's outputs, in order) ───────────┐
//! local API ──► node │  homing-core Agent  ──Persist──► store (SQLite)                        │
//! listeners ◄── node │                     ──Send/Dial/Close/Admit──► transport (iroh)        │
//!                    │                     ◄──inputs── transport · clock · commands           │
//!                    └────────────────────────────────────────────────────────────────────────┘
//! ```
//! Reading order: [`node`], [`builder`], `driver`, [`transport`], [`store`], [`home`],
//! [`identity_file`], [`config`], [`streams`], `operations`, `api`, [`health`], [`clock`].
//!
//! Two rules that a test holds: only `driver.rs` performs outputs, only `clock.rs` reads time.

pub mod anchoring;
mod api;
mod audit;
pub mod builder;
mod cards;
pub mod child;
pub mod clock;
pub mod config;
mod content;
pub mod daemon;
mod dht_choice;
mod dht_setting;
mod dht_watch;
mod dns;
mod driver;
mod events;
mod exposure;
mod files;
mod gateway_role;
pub mod health;
pub mod home;
pub mod identity_file;
mod local;
pub mod logs;
mod mailroom;
mod metrics;
pub mod node;
mod operations;
mod paths;
mod problem;
mod reference_watch;
mod registry_role;
pub mod relay;
mod relay_role;
pub mod shares;
pub mod store;
pub mod streams;
pub mod transport;
mod tun;

pub use builder::{Builder, StartError};
pub use exposure::HeldExposure;
pub use node::Node;
pub use streams::{Listener, Stream};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
