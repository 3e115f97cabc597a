//! Agent cards: reading, canonical form, signatures, listing, fetching from honest and hostile servers.

#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

mod fetching;
mod format;
mod guarding;
#[path = "../gzip/mod.rs"]
mod gzip;
mod hostile;
mod listing;
mod signing;
mod support;
mod tunnel;
