//! The lab's scenarios, with a harness of their own: one at a time (also across processes), each with a
//! time limit, and a count of what was skipped and why. It understands the usual arguments: words that
//! a test's name must contain, `--list`, `--exact`, `--skip WORD`; it never hides output.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod families;
mod faults;
mod flavours;
mod harness;
mod matrix;
mod moves;
mod pairs;
mod ports;
#[path = "../../../../crates/homing-registry/tests/storage/postgres_cluster.rs"]
mod postgres_cluster;
mod programs;
mod references;
mod relays;
mod sessions;
mod strangers;
mod tun;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::run(&[
        flavours::SCENARIOS,
        pairs::SCENARIOS,
        matrix::SCENARIOS,
        ports::SCENARIOS,
        families::SCENARIOS,
        moves::SCENARIOS,
        relays::SCENARIOS,
        faults::SCENARIOS,
        strangers::SCENARIOS,
        tun::SCENARIOS,
        sessions::SCENARIOS,
        programs::SCENARIOS,
        references::SCENARIOS,
    ])
}
