//! `homing relay serve`: a node in the public relay role, in the foreground.
//!
//! It is an ordinary node with a home of its own (`~/.homing-relay` unless `--home` or
//! `HOMING_HOME` says otherwise), so that an agent can run beside it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use homing_api::agent::{Info, ServedRelay};
use homing_api::{ApiError, Code};
use homing_base::{Address, NodeId, RelayRef};
use serde::Serialize;

use super::Outcome;
use super::role;
use super::start::Settings;
use crate::output::{self, Output};
use crate::render::fields;
use crate::session::Session;

/// A relay of your own: forwards encrypted packets for agents that cannot connect directly
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing relay serve --hostname relay.example.net\n  homing relay serve --listen 0.0.0.0:443 --cert fullchain.pem --key privkey.pem"
)]
pub(crate) struct RelayArgs {
    #[command(subcommand)]
    command: RelayCommand,
}

#[derive(Debug, Subcommand)]
enum RelayCommand {
    /// Serve, in the foreground, and print what agents pass to --relay
    #[command(
        after_help = "Examples:\n  homing relay serve --hostname 198.51.100.7\n  homing relay serve --hostname relay.example.net --cert fullchain.pem --key privkey.pem\n  homing relay serve --allow 3a91c277e04b1d9f026c8ae511d04e3a91c277e04b1d9f026c8ae511d04e0123 --json"
    )]
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// TCP address for HTTPS [default: port 3340 of every address]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// UDP port of QUIC address discovery; the next one is used too [default: 7842]
    #[arg(long, value_name = "PORT")]
    quic_port: Option<u16>,
    /// The host name or IP that agents reach it by [default: the first public address found]
    #[arg(long, value_name = "HOST", alias = "host")]
    hostname: Option<String>,
    /// PEM certificate chain [default: a self-made one, pinned by what is printed]
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM private key of the certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Only these agents may use it; may be repeated [default: everybody]
    #[arg(long, value_name = "NODEID")]
    allow: Vec<NodeId>,
    /// Bytes per second that one client may send [default: no limit]
    #[arg(long, value_name = "BYTES")]
    rate: Option<u32>,
}

/// `homing.relay/v1`: printed once, when the relay serves.
#[derive(Debug, Serialize)]
struct Ready {
    schema: &'static str,
    relay: RelayRef,
    command: String,
    listen: SocketAddr,
    quic_listen: Option<SocketAddr>,
    address: Address,
    node_id: NodeId,
    pid: u32,
    home: String,
}

pub(crate) async fn run(session: &Session, args: RelayArgs) -> Outcome {
    let RelayCommand::Serve(args) = args.command;
    role::serve(session, "relay", settings(&args), print).await
}

fn settings(args: &ServeArgs) -> Settings {
    let text = |path: &PathBuf| path.display().to_string();
    let ids: Vec<_> = args.allow.iter().map(ToString::to_string).collect();
    let limited = !ids.is_empty();
    let all = [
        ("relay.enabled", Some("true".to_owned())),
        // No program of this machine asks through it: the port is left to an agent.
        ("gateway.enabled", Some("false".to_owned())),
        ("relay.listen", args.listen.map(|l| l.to_string())),
        ("relay.quic_port", args.quic_port.map(|p| p.to_string())),
        ("relay.hostname", args.hostname.clone()),
        ("relay.cert", args.cert.as_ref().map(text)),
        ("relay.key", args.key.as_ref().map(text)),
        ("relay.access", limited.then(|| "allow".to_owned())),
        ("relay.allow", limited.then(|| ids.join(","))),
        ("relay.rate_limit_bytes_per_second", args.rate.map(|r| r.to_string())),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn print(out: Output, info: &Info) -> Result<(), ApiError> {
    let served = info.serving_relay.as_ref().ok_or_else(|| {
        ApiError::new(Code::Internal, "the node runs, but not as a relay").hint("homing doctor")
    })?;
    let ready = ready(info, served);
    if out.format.is_json() {
        out.line(&ready);
        return Ok(());
    }
    output::print(&format!("✓ relay running (pid {})\n{}", ready.pid, block(&ready)));
    output::say(&format!("\nagents use it with:\n  {}\n", ready.command));
    Ok(())
}

fn ready(info: &Info, served: &ServedRelay) -> Ready {
    Ready {
        schema: "homing.relay/v1",
        relay: served.relay.clone(),
        command: format!("homing up --relay '{}'", served.relay),
        listen: served.listen,
        quic_listen: served.quic_listen,
        address: info.address,
        node_id: info.node_id,
        pid: info.pid,
        home: info.home.clone(),
    }
}

fn block(ready: &Ready) -> String {
    let quic = ready.quic_listen.map(|q| format!(" · udp {q}")).unwrap_or_default();
    fields(&[
        ("relay", ready.relay.to_string()),
        ("listening", format!("tcp {}{quic}", ready.listen)),
        ("address", ready.address.to_string()),
        ("node ID", ready.node_id.to_string()),
        ("home", super::info::tilde(&ready.home)),
    ])
}
