//! The log on disk: what is acknowledged stays, what is changed is found, and others read it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod crash;
mod following;
mod foreign;
mod pending;
mod support;
mod tampering;
