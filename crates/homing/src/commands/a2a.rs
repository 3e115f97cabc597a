//! `homing a2a`: agents that speak A2A, through the mesh.
//!
//! ```text
//! a2a expose URL   card of URL ──byte for byte──► this agent's record    its origin ──► service "a2a"
//! a2a call PEER    card ◄── tunnel, checked against the record           SendMessage ──► tunnel ──► agent
//! ```
//! A2A specification 1.0 (§9 JSON-RPC, §11 HTTP+JSON); agents of 0.3 are spoken to in JSON-RPC. Not here:
//! gRPC, push notifications, making and signing cards ([`super::card`]).

mod answer;
mod call;
mod dialect;
mod expose;

use clap::{Args, Subcommand};

use super::Outcome;
use crate::session::Session;

/// The service under which an agent is exposed unless told otherwise.
const SERVICE: &str = "a2a";

/// A2A agents: offer one to trusted peers, or ask a peer's
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing a2a expose http://127.0.0.1:9999\n  homing a2a call agent-b 'Plan a route to the harbour'"
)]
pub(crate) struct A2aArgs {
    #[command(subcommand)]
    command: A2aCommand,
}

#[derive(Debug, Subcommand)]
enum A2aCommand {
    /// Offer an A2A agent to trusted peers, across restarts, and publish its card
    #[command(
        after_help = "Examples:\n  homing a2a expose http://127.0.0.1:9999\n  homing a2a expose http://127.0.0.1:9999 --name planner --no-card"
    )]
    Expose(expose::ExposeArgs),
    /// Ask a peer's agent and print its answer
    #[command(
        after_help = "Examples:\n  homing a2a call agent-b 'What is the weather in Bergen?'\n  homing a2a call agent-b --stream - < question.txt\n  homing a2a call agent-b 'And tomorrow?' --context 0b5e… --json"
    )]
    Call(call::CallArgs),
}

pub(crate) async fn run(session: &Session, args: A2aArgs) -> Outcome {
    match args.command {
        A2aCommand::Expose(args) => expose::run(session, &args).await,
        A2aCommand::Call(args) => call::run(session, &args).await,
    }
}
