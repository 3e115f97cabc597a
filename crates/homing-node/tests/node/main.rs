//! Real nodes on loopback, as one program: it is linked once, and tests of all files wait side by side.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on shall stop")]

mod api;
mod common;
mod exposure;
mod home;
mod identity;
mod registry;
mod relay_role;
mod store_failure;
mod two_nodes;
