//! `homing registry serve`: a node in the registry role, in the foreground.
//!
//! It is an ordinary node with a home of its own (`~/.homing-registry` unless `--home` or `HOMING_HOME`
//! says otherwise), so that an agent can run beside it. A running daemon takes the role with
//! `homing config set registry.enabled true`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};
use homing_api::agent::{Info, ServedRegistry};
use homing_api::{ApiError, Code};
use homing_base::{Address, Name, NodeId, RelayRef};
use serde::Serialize;

use super::Outcome;
use super::role;
use super::start::Settings;
use crate::output::{self, Output};
use crate::render::fields;
use crate::session::Session;

/// A registry: where people and programs that run no daemon find agents over HTTP
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing registry serve\n  homing registry serve --listen 0.0.0.0:7400 --public-url https://registry.example.net"
)]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    /// Serve, in the foreground, and print where
    #[command(
        after_help = "Examples:\n  homing registry serve --peer TICKET\n  homing registry serve --listen 0.0.0.0:7400 --public-url https://registry.example.net\n  HOMING_REGISTRY_DATABASE=postgres://homing@db/registry homing registry serve --json"
    )]
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// TCP address for HTTP [default: 127.0.0.1:7400]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// postgres://USER@HOST/DATABASE; with a password, better as HOMING_REGISTRY_DATABASE [default: SQLite in the home]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where programs reach it, behind a proxy that ends TLS
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// What it is called in catalogues
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Another registry to ask in searches; may be repeated
    #[arg(long, value_name = "URL")]
    registry: Vec<String>,
    /// The name to claim
    #[arg(long, value_name = "NAME")]
    hostname: Option<Name>,
    /// A relay, as `homing relay serve` prints it; may be repeated
    #[arg(long, value_name = "URL")]
    relay: Vec<RelayRef>,
    /// A peer to join through; may be repeated
    #[arg(long, value_name = "PEER")]
    peer: Vec<String>,
}

/// `homing.registry/v1`: printed once, when the registry serves.
#[derive(Debug, Serialize)]
struct Ready {
    schema: &'static str,
    url: String,
    listen: SocketAddr,
    database: String,
    address: Address,
    node_id: NodeId,
    ticket: Option<String>,
    pid: u32,
    home: String,
}

pub(crate) async fn run(session: &Session, args: RegistryArgs) -> Outcome {
    let RegistryCommand::Serve(args) = args.command;
    role::serve(session, "registry", settings(&args), print).await
}

fn settings(args: &ServeArgs) -> Settings {
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
    let relays: Vec<String> = args.relay.iter().map(ToString::to_string).collect();
    let all = [
        ("registry.enabled", Some("true".to_owned())),
        // No program of this machine asks through it: the port is left to an agent.
        ("gateway.enabled", Some("false".to_owned())),
        ("registry.listen", args.listen.map(|l| l.to_string())),
        ("registry.database", args.database.clone()),
        ("registry.public_url", args.public_url.clone()),
        ("registry.title", args.title.clone()),
        ("registry.peers", list(&args.registry)),
        ("name", args.hostname.as_ref().map(ToString::to_string)),
        ("relays", list(&relays)),
        ("peers", list(&args.peer)),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn print(out: Output, info: &Info) -> Result<(), ApiError> {
    let served = info.serving_registry.as_ref().ok_or_else(|| {
        ApiError::new(Code::Internal, "the node runs, but not as a registry").hint("homing doctor")
    })?;
    let ready = ready(info, served);
    if out.format.is_json() {
        out.line(&ready);
        return Ok(());
    }
    output::print(&format!("✓ registry running (pid {})\n{}", ready.pid, block(&ready)));
    output::say(&format!("\ntry it:\n  curl {}/v1/entities\n", ready.url));
    Ok(())
}

fn ready(info: &Info, served: &ServedRegistry) -> Ready {
    Ready {
        schema: "homing.registry/v1",
        url: served.url.clone(),
        listen: served.listen,
        database: served.database.clone(),
        address: info.address,
        node_id: info.node_id,
        ticket: info.ticket.clone(),
        pid: info.pid,
        home: info.home.clone(),
    }
}

fn block(ready: &Ready) -> String {
    fields(&[
        ("url", ready.url.clone()),
        ("listening", format!("tcp {}", ready.listen)),
        ("database", ready.database.clone()),
        ("address", ready.address.to_string()),
        ("node ID", ready.node_id.to_string()),
        ("home", super::info::tilde(&ready.home)),
    ])
}
