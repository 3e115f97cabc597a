//! The transport on loopback with real QUIC and a real relay.

#![allow(clippy::unwrap_used)] // in tests a panic is the report

mod doors;
mod proxies;
mod relays;
mod streams;
mod support;
