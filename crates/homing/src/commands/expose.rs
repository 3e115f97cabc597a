//! `homing expose`: a program, a socket or a directory behind this agent's address.

use clap::{Args, Subcommand};
use homing_api::exposures::{
    ExposeRequest, Exposed, Mode, ServiceView, Services, Target, UnexposeRequest,
};
use homing_api::streams::Protocol;
use homing_api::{ApiError, Code};
use homing_base::Service;

use super::{OK, Outcome};
use crate::output;
use crate::render::{Table, time};
use crate::session::Session;

/// Put a program, a socket or a directory behind this agent's address
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Trusted peers reach it by its name; `--allow NAME` of handshake and approve limits who may.\nIt stays exposed across restarts, until `homing expose rm NAME`.\n\nExamples:\n  homing expose 8080                               # a port, HTTP or not\n  homing expose http://127.0.0.1:3000/app --name app\n  homing expose unix:/run/postgresql/.s.PGSQL.5432 --name db\n  homing expose ./site --name site                 # files, read-only\n  homing expose --name notes -- cat notes.txt      # a process per stream\n  homing expose list\n  homing expose rm app"
)]
pub(crate) struct ExposeArgs {
    #[command(subcommand)]
    command: Option<ExposeCommand>,
    /// PORT, HOST:PORT, http(s)://URL, unix:/PATH, or a directory
    target: Option<String>,
    /// What peers call it [default: the port, or what the path or program is called]
    #[arg(long, value_name = "SERVICE")]
    name: Option<Service>,
    /// It speaks HTTP: rewrite headers and say who asks; by default the first bytes decide
    #[arg(long, conflicts_with = "tcp")]
    http: bool,
    /// Pass bytes as they are
    #[arg(long)]
    tcp: bool,
    /// Leave Host and Origin as the peer sent them
    #[arg(long)]
    keep_host: bool,
    /// Do not name it in the agent record
    #[arg(long)]
    unlisted: bool,
    /// As long as this command runs, and not across restarts
    #[arg(long)]
    foreground: bool,
    /// A program and its arguments: one process per stream, over stdin and stdout
    #[arg(last = true, value_name = "CMD", conflicts_with = "target")]
    process: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum ExposeCommand {
    /// What is exposed
    #[command(after_help = "Examples:\n  homing expose list\n  homing expose list --json")]
    List,
    /// Expose it no longer, and end its streams
    #[command(after_help = "Examples:\n  homing expose rm 8080\n  homing expose rm site")]
    Rm {
        /// As `homing expose list` shows it
        name: Service,
    },
}

pub(crate) async fn run(session: &Session, args: ExposeArgs) -> Outcome {
    match &args.command {
        Some(ExposeCommand::List) => {
            let services = session.client()?.services().await?;
            let names = || services.services.iter().map(|s| s.name.to_string()).collect();
            session.out.result(&services, names, || table(&services));
        }
        Some(ExposeCommand::Rm { name }) => {
            let request = UnexposeRequest { name: name.clone() };
            let done = session.client()?.unexpose(&request).await?;
            session.out.result(&done, Vec::new, || format!("✓ {name} is exposed no longer\n"));
        }
        None if args.foreground => return hold(session, &request(&args)?).await,
        None => {
            let exposed = session.client()?.expose(&request(&args)?).await?;
            show(session, &exposed);
        }
    }
    Ok(OK)
}

fn request(args: &ExposeArgs) -> Result<ExposeRequest, ApiError> {
    let here = std::env::current_dir().map_err(|e| {
        ApiError::new(Code::Usage, "the current directory is gone").why(e.to_string())
    })?;
    let target = match &args.target {
        Some(text) => Target::parse(text, &here)?,
        None if args.process.is_empty() => {
            return Err(ApiError::new(Code::Usage, "nothing to expose was named")
                .hint("homing expose PORT, or: homing expose -- CMD ARGS"));
        }
        None => Target::Command { argv: args.process.clone(), cwd: Some(here) },
    };
    let mode = match (args.http, args.tcp) {
        (true, _) => Mode::Http,
        (_, true) => Mode::Tcp,
        _ => Mode::Auto,
    };
    let (keep_host, unlisted) = (args.keep_host, args.unlisted);
    Ok(ExposeRequest { target: tidy(target), name: args.name.clone(), mode, keep_host, unlisted })
}

/// `/srv/./site` and `/srv/site/` are one directory, and shall stay one when somebody says so again.
fn tidy(target: Target) -> Target {
    match target {
        Target::Directory { path } => {
            Target::Directory { path: path.canonicalize().unwrap_or(path) }
        }
        other => other,
    }
}

/// Until the user or the daemon ends it.
async fn hold(session: &Session, request: &ExposeRequest) -> Outcome {
    let mut events = session.client()?.expose_held(request).await?;
    loop {
        let event = tokio::select! {
            event = events.recv() => event?,
            _ = tokio::signal::ctrl_c() => return Ok(OK),
        };
        let Some(event) = event else {
            return Err(
                ApiError::new(Code::DaemonNotRunning, "the daemon stopped").hint("homing up")
            );
        };
        if event.event == "exposed" {
            let exposed: Exposed = serde_json::from_str(&event.data)
                .map_err(|e| ApiError::new(Code::Internal, format!("an event: {e}")))?;
            show(session, &exposed);
            output::say("until this command ends");
        }
    }
}

fn show(session: &Session, exposed: &Exposed) {
    let service = &exposed.service;
    let mark = if exposed.changed { session.out.good("✓") } else { "unchanged:".to_owned() };
    let names = || vec![service.name.to_string()];
    session.out.result(exposed, names, || {
        format!("{mark} {} is {} for trusted peers\n", service.name, service.target)
    });
}

fn table(services: &Services) -> String {
    let mut table = Table::new(&["NAME", "TARGET", "SPEAKS", "LISTED", "STREAMS", "SINCE"]);
    for service in &services.services {
        table.row(vec![
            service.name.to_string(),
            service.target.to_string(),
            speaks(service).to_owned(),
            if service.listed { "yes" } else { "no" }.to_owned(),
            service.streams.to_string(),
            time::ago(service.since),
        ]);
        if let Some(error) = &service.error {
            table.note(format!("not exposed: {error}"));
        }
        if !service.kept {
            table.note("as long as the command that exposed it runs".to_owned());
        }
    }
    if table.is_empty() { "nothing is exposed\n".to_owned() } else { table.render() }
}

fn speaks(service: &ServiceView) -> &'static str {
    match (service.protocol, service.mode, &service.target) {
        (Protocol::Http, _, _) => "http",
        (_, Mode::Auto, Target::Tcp { .. } | Target::Unix { .. }) => "auto",
        _ => "bytes",
    }
}
