//! Fuzz targets of every decoder, and their corpora.
//!
//! ```text
//! src/{base,core,node,registry}.rs   the bodies: plain functions from bytes to nothing that assert what holds
//! fuzz_targets/NAME.rs        one line each, for cargo-fuzz (nightly): finds new inputs
//! corpus/NAME/*               committed inputs, replayed on stable by `cargo xtask test`
//! ```
//! `cargo +nightly fuzz run NAME` searches; `cargo +nightly fuzz cmin NAME` shrinks the corpus before it
//! is committed. A crash file goes into the corpus with the fix.
//!
//! The bodies are also compiled, by path, into `tests/corpus.rs` of the crate that they exercise.

pub mod base;
pub mod core;
#[cfg(feature = "node")]
pub mod node;
#[cfg(feature = "node")]
pub mod registry;
pub mod replay;
