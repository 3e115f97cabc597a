//! The registry over HTTP: a real server on a loopback port, a real database, real signatures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod attacks;
mod changing;
mod documents;
mod events;
mod federation;
mod finding;
mod formats;
mod guarding;
#[path = "../gzip/mod.rs"]
mod gzip;
mod ipns;
mod outside;
mod owners;
mod support;
