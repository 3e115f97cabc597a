//! How it is done: the shell around one agent.
//!
//! ```text
//!                    ┌──────────── driver (performs the core's outputs, in order) ───────────┐
//! local API ──► node │  homing-core Agent  ──Persist──► store (SQLite)                        │
//! listeners ◄── node │                     ──Send/Dial/Close/Admit──► transport (iroh)        │
//!                    │                     ◄──inputs── transport · clock · commands           │
//!                    └────────────────────────────────────────────────────────────────────────┘
//! ```
//! Reading order: [`node`], [`builder`], [`driver`], [`transport`], [`store`], [`home`],
//! [`identity_file`], [`config`], [`api`], [`health`], [`clock`].
//!
//! Two rules that a test holds: only `driver.rs` performs outputs, only `clock.rs` reads time.

pub mod clock;
pub mod config;
pub mod home;
pub mod identity_file;
pub mod relay;
pub mod store;
pub mod transport;
