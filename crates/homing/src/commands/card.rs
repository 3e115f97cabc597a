//! `homing card`: what this agent says about itself, and what others say.
//!
//! The arguments; what each command does stands in [`mod@write`] (init, lint, publish), [`view`] (show, get) and
//! [`files`].

mod files;
mod view;
mod write;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use homing_registry::cards::guard::AllowedNetwork;
use homing_registry::cards::{Fetcher, FetcherConfig};

pub(crate) use view::of_trusted_peer;

pub(super) use files::{hex, identity, read, save};

use super::Outcome;
use crate::session::Session;

/// Agent cards: what an agent says about itself, as A2A defines it
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing card init\n  homing card lint agent-card.json\n  homing card publish agent-card.json\n  homing card show agent-b"
)]
pub(crate) struct CardArgs {
    #[command(subcommand)]
    command: CardCommand,
}

#[derive(Debug, Subcommand)]
enum CardCommand {
    /// Write a valid card for this agent, to be filled in
    #[command(
        after_help = "Examples:\n  homing card init\n  homing card init planner.json --title 'Route Planner' --url https://routes.example.com/a2a"
    )]
    Init(InitArgs),
    /// Say what a strict reader would object to
    #[command(
        after_help = "Examples:\n  homing card lint agent-card.json\n  homing card lint - --json < agent-card.json"
    )]
    Lint {
        /// The card, or - for standard input
        file: PathBuf,
    },
    /// Show a card and who signed it
    #[command(
        after_help = "Examples:\n  homing card show agent-b\n  homing card show ./agent-card.json\n  homing card show https://routes.example.com/.well-known/agent-card.json\n  homing card show agent-b --raw > card.json"
    )]
    Show(ShowArgs),
    /// Sign a card and let the record of this agent name it
    #[command(
        after_help = "Examples:\n  homing card publish agent-card.json\n  homing card publish agent-card.json --url https://routes.example.com/.well-known/agent-card.json\n  homing card publish --withdraw"
    )]
    Publish(PublishArgs),
    /// The card of an agent, byte for byte
    #[command(
        after_help = "Examples:\n  homing card get agent-b\n  homing card get agent-b --to agent-b.json"
    )]
    Get {
        /// Name, address or node ID
        peer: String,
        /// Write it there [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        fetch: FetchArgs,
    },
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Where to write it
    #[arg(default_value = "agent-card.json")]
    file: PathBuf,
    /// What the agent is called [default: its name, else its address]
    #[arg(long)]
    title: Option<String>,
    /// What it does, in a sentence or two
    #[arg(long)]
    description: Option<String>,
    /// Where it is served, if anywhere
    #[arg(long)]
    url: Option<String>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Name, address or node ID; a file (with a slash or .json); or a URL
    what: String,
    /// The card itself, byte for byte, and nothing else
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    fetch: FetchArgs,
}

#[derive(Debug, Args)]
struct PublishArgs {
    /// The card
    #[arg(required_unless_present = "withdraw")]
    file: Option<PathBuf>,
    /// Where the published bytes will be found [default: through this agent's tunnel]
    #[arg(long)]
    url: Option<String>,
    /// Publish the file as it is
    #[arg(long)]
    unsigned: bool,
    /// This agent has no card any more
    #[arg(long, conflicts_with_all = ["file", "url", "unsigned"])]
    withdraw: bool,
}

#[derive(Debug, Args)]
struct FetchArgs {
    /// Fetch from this network although it is not public; may be repeated
    #[arg(long, value_name = "NETWORK", value_parser = AllowedNetwork::from_str)]
    allow_private: Vec<AllowedNetwork>,
    /// Fetch over http too
    #[arg(long)]
    allow_http: bool,
}

pub(crate) async fn run(session: &Session, args: CardArgs) -> Outcome {
    match args.command {
        CardCommand::Init(args) => write::init(session, &args).await,
        CardCommand::Lint { file } => write::lint_file(session, &file),
        CardCommand::Show(args) => view::show(session, &args).await,
        CardCommand::Publish(args) => write::publish(session, args).await,
        CardCommand::Get { peer, to, fetch } => {
            view::get(session, &peer, to.as_deref(), &fetch).await
        }
    }
}

impl FetchArgs {
    fn fetcher(&self) -> Fetcher {
        Fetcher::new(FetcherConfig {
            allow_private: self.allow_private.clone(),
            allow_http: self.allow_http,
            ..FetcherConfig::default()
        })
    }
}
