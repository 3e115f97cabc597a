//! `homing lab`: what a fleet would go through, simulated with the daemon's own code, before it does.
//!
//! ```text
//! flags, TOML ─► fleet.rs ─► Fleet ─► course.rs: run directory, progress, Ctrl-C ─► figures ─► simulate · compare · plan
//! daemons ─► record.rs ─► event log ─► simulate --events
//! ```
//! Everything but `record` works without a daemon. Not here: the simulator ([`homing_sim::lab`]).

mod compare;
mod course;
mod fleet;
mod plan;
mod record;
mod roster;
mod simulate;

use clap::{Args, Subcommand};

use super::Outcome;
use crate::session::Session;

/// Simulate fleets: what churn does to them, which strategy and settings they need
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing lab plan --agents 5000 --lifetime 40m\n  homing lab simulate --agents 300 --median 1h\n  homing lab compare --agents 300 --turnover 20%,100%"
)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    Simulate(Box<simulate::SimulateArgs>),
    Compare(Box<compare::CompareArgs>),
    Plan(plan::PlanArgs),
    Record(record::RecordArgs),
}

pub(crate) async fn run(session: &Session, args: LabArgs) -> Outcome {
    match args.command {
        LabCommand::Simulate(args) => simulate::run(session, &args).await,
        LabCommand::Compare(args) => compare::run(session, &args).await,
        LabCommand::Plan(args) => plan::run(session, &args).await,
        LabCommand::Record(args) => record::run(session, &args).await,
    }
}
