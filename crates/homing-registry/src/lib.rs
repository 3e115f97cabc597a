//! The registry: where people and programs that run no daemon find agents over HTTP.
//!
//! ```text
//!            http (routes, limits, events)
//!       ┌───────┬─────┴─────┬──────────┐
//!   listing   cards      storage     network ──► the node: gossip, DHT, tunnels
//!   (what a   (fetch,    (SQLite or
//!   card says) verify)    PostgreSQL)
//! ```
//! An *entity* is the newest record that an identity has signed, with what its card says about it. Nothing
//! is authorised by anything but that signature and its sequence; a registry is a role of a node and is
//! believed no more than any other. Not here: the daemon, QUIC, the core (`homing-node` composes them).
//!
//! Reading order: [`entity`], [`proof`], [`cards`], [`listing`], [`storage`], [`network`].

pub mod cards;
pub mod entity;
pub mod http;
pub mod limits;
pub mod listing;
pub mod network;
pub mod proof;
pub mod storage;
