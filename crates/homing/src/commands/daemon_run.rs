//! Being the daemon: `homing daemon run`, and what `relay serve` shares with it.
//!
//! ```text
//! flags + environment + file ──► Node ──► ready: one line on stdout when detached
//! SIGTERM, SIGINT or POST /v1/stop ──► goodbye to peers ──► exit 0
//! ```
//! A failed start is a structured error, on stdout when detached (the starter reads it there), else
//! on stderr like every other error.

use std::path::PathBuf;

use clap::Args;
use homing_api::agent::Info;
use homing_api::{ApiError, Client, Code};
use homing_node::logs::{self, LogTarget};
use homing_node::{Node, daemon};

use super::start::{Settings, StartArgs, expect_key};
use super::{OK, Outcome, config};
use crate::output;
use crate::session::Session;

/// The flags of `daemon run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    start: StartArgs,
    /// In a session of its own, telling the starter on stdout how the start went
    #[arg(long, hide = true)]
    detached: bool,
}

/// What a node is started with.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) settings: Settings,
    pub(crate) identity: Option<PathBuf>,
    pub(crate) takeover: bool,
    pub(crate) log: LogTarget,
}

pub(crate) async fn run(session: &Session, args: &RunArgs) -> Outcome {
    let log = match args.detached {
        true => LogTarget::File(session.home.log()),
        false => LogTarget::Stderr,
    };
    let serving = Serving {
        settings: args.start.settings(),
        identity: args.start.identity.clone(),
        takeover: args.start.takeover,
        log,
    };
    if !args.detached {
        return serve(session, serving, |client| drop(tokio::spawn(say_ready(client)))).await;
    }
    // Fails only for a process that leads a group already: then it is detached enough.
    let _ = nix::unistd::setsid();
    let ready = |_| output::print("{\"ready\":true}\n");
    serve(session, serving, ready).await.or_else(|error| {
        output::print(&(serde_json::to_string(&error).expect("errors serialise") + "\n"));
        Ok(error.exit)
    })
}

async fn say_ready(client: Client) {
    if let Ok(Info { address, name, pid, .. }) = client.info().await {
        let name = name.map(|n| format!("{n} ")).unwrap_or_default();
        output::say(&format!("ready: {name}{address} (pid {pid})"));
    }
}

/// Runs a node until it is told to stop; `ready` is called once it answers.
pub(crate) async fn serve(
    session: &Session,
    serving: Serving,
    ready: impl FnOnce(Client),
) -> Outcome {
    expect_key(serving.identity.as_deref())?;
    let level = config::resolved(session, &serving.settings)?.log.level;
    logs::init(&serving.log, &level).map_err(|e| {
        ApiError::new(Code::Internal, "the log cannot be written").why(e.to_string())
    })?;
    let mut home = session.home.clone();
    if let Some(file) = &serving.identity {
        home = home.with_identity(std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    }
    let mut builder = Node::builder().home_at(home).environment(true).takeover(serving.takeover);
    for (key, value) in serving.settings {
        builder = builder.set(key, value);
    }
    let client = session.client()?.clone();
    daemon::run(builder, |_| ready(client)).await.map(|()| OK)
}
