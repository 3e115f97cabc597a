//! The transport on loopback with real QUIC and a real relay.

mod doors;
mod relays;
mod streams;
mod support;
