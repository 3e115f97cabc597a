//! Against a real development chain: nothing is lost, nothing is anchored twice, whatever happens to the chain or the worker.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod anvil;
mod audit;
mod faults;
mod proxy;
mod rejected;
mod volume;
mod worker;
