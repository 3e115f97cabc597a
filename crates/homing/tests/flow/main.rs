//! What users do, with real daemons on loopback. One program: it is linked once, and tests of all files wait side by side.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod a2a;
mod agents;
mod anchor;
mod audit;
mod cards;
mod chain;
mod content;
mod dht;
mod dns;
mod expose;
mod forward;
mod gateway;
mod gossip;
mod mcp;
mod messages;
mod moves;
#[path = "../../../homing-registry/tests/storage/postgres_cluster.rs"]
mod postgres_cluster;
mod python;
mod references;
mod registry;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod tampering;
mod witness;
