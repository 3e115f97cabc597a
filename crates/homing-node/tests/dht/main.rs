//! The DHT between real nodes: real QUIC on loopback, real stores, nodes that die without a goodbye.
//!
//! The bounds in seconds are promises of the DHT, not guesses about this machine; figures that were
//! measured are printed (`--nocapture`). Fifty real *processes* that die by signal 9 are run by
//! `cargo xtask bench swarm`, since that many want a release build.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on shall stop")]

mod off;
mod survival;
mod swarm;
