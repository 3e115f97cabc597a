//! The formats of the ground floor, tested from outside: what is written in `spec/`, byte for byte.
//!
//! `spec/vectors/*.json` are made by [`vectors`] from fixed keys and compared; `HOMING_BLESS=1`
//! writes them anew after a deliberate change.

mod arbitrary;
mod cbor;
mod foreign_cose;
mod foreign_ipns;
mod identity;
mod record;
mod reference;
mod relay;
mod statement;
mod text;
mod ticket;
mod vectors;
mod vectors_file;
