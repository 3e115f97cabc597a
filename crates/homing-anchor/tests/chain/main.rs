//! Against a real development chain: nothing is lost, nothing is anchored twice, whatever happens to the chain or the worker.

mod anvil;
mod audit;
mod faults;
mod proxy;
mod volume;
mod worker;
