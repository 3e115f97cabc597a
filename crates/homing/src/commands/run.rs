//! `homing run`: one program with the gateway as its proxy.
//!
//! The program replaces this process: its exit code, its signals, its terminal. Nothing is changed for any other program.
//! HTTP proxies are named in `ALL_PROXY` too: many clients refuse to start when it says SOCKS and a library is missing.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;
use homing_api::agent::ServedGateway;
use homing_api::{ApiError, Code};
use homing_gateway::{MESH_ONLY_USER, ZONE};

use super::Outcome;
use super::url::gateway;
use crate::session::Session;

/// Hosts that are never asked through a proxy.
const DIRECT: &str = "localhost,127.0.0.1,::1";
/// Variables that name a proxy; programs read them in lower or in upper case.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];

/// Run a program that reaches agents by name, as NAME.agent.internal
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing run -- curl http://mcp.agent-b.agent.internal/\n  homing run -- python3 client.py\n  homing run --mesh-only -- npm start      # agents, and no other host"
)]
pub(crate) struct RunArgs {
    /// Refuse every other host
    #[arg(long)]
    mesh_only: bool,
    /// The program and its arguments
    #[arg(
        value_name = "CMD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

pub(crate) async fn run(session: &Session, args: &RunArgs) -> Outcome {
    let gateway = gateway(session).await?;
    let (program, rest) = args.command.split_first().expect("clap requires one");
    let mut command = Command::new(program);
    command.args(rest).envs(environment(&gateway, args.mesh_only, |name| std::env::var(name).ok()));
    let error = command.exec();
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::Internal,
    };
    let program = program.display();
    Err(ApiError::new(code, format!("{program} does not run")).why(error.to_string()))
}

/// What the program is told.
fn environment(
    gateway: &ServedGateway,
    mesh_only: bool,
    before: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    let user = if mesh_only { format!("{MESH_ONLY_USER}@") } else { String::new() };
    let proxy = format!("http://{user}{}", gateway.listen);
    let excepted = before("no_proxy").or_else(|| before("NO_PROXY")).unwrap_or_default();
    let excepted = if mesh_only { DIRECT.to_owned() } else { exceptions(&excepted) };
    let mut variables: Vec<(String, String)> = PROXIES
        .map(|name| (name.to_owned(), proxy.clone()))
        .into_iter()
        .chain([("no_proxy".to_owned(), excepted)])
        .flat_map(|(name, value)| [(name.to_uppercase(), value.clone()), (name, value)])
        .collect();
    variables.push(("HOMING_GATEWAY".to_owned(), gateway.url.clone()));
    // Node.js reads the others only when this is set (22.21, 24.5).
    variables.push(("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
    variables
}

/// The exceptions that were there, without those that would keep agents from the gateway.
fn exceptions(before: &str) -> String {
    let parts = before.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
    let kept = parts.filter(|part| !hides_agents(part) && !DIRECT.split(',').any(|d| d == *part));
    std::iter::once(DIRECT).chain(kept).collect::<Vec<_>>().join(",")
}

fn hides_agents(exception: &str) -> bool {
    let domain = exception.trim_start_matches(['*', '.']).to_ascii_lowercase();
    let address = domain.trim_start_matches('[');
    let covers = ZONE == domain || ZONE.ends_with(&format!(".{domain}"));
    domain.is_empty()
        || covers
        || domain.ends_with(&format!(".{ZONE}"))
        || (address.starts_with("fd") && address.contains(':'))
        || (address.contains("::/") && !address.starts_with("fe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mesh_only: bool, no_proxy: &str) -> impl Fn(&str) -> String {
        let listen = "127.0.0.1:7420".parse().unwrap();
        let gateway = ServedGateway { url: format!("http://{listen}"), listen, mesh_only: false };
        let before = |name: &str| (name == "NO_PROXY").then(|| no_proxy.to_owned());
        let all = environment(&gateway, mesh_only, before);
        move |name| all.iter().find(|(n, _)| n == name).unwrap().1.clone()
    }

    #[test]
    fn every_spelling_names_the_gateway() {
        let value = of(false, "");
        for name in
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        {
            assert_eq!(value(name), "http://127.0.0.1:7420");
        }
        assert_eq!(value("no_proxy"), "localhost,127.0.0.1,::1");
        assert_eq!(value("HOMING_GATEWAY"), "http://127.0.0.1:7420");
    }

    #[test]
    fn exceptions_stay_unless_they_hide_agents() {
        let before = "corp.example, *, .internal,agent.internal b.agent.internal,fd00::/8,10.0.0.0/8,localhost";
        assert_eq!(
            of(false, before)("NO_PROXY"),
            "localhost,127.0.0.1,::1,corp.example,10.0.0.0/8"
        );
    }

    #[test]
    fn a_program_for_the_mesh_alone_has_no_exception_but_its_own_machine() {
        let value = of(true, "corp.example");
        assert_eq!(value("https_proxy"), "http://mesh-only@127.0.0.1:7420");
        assert_eq!(value("NO_PROXY"), "localhost,127.0.0.1,::1");
    }
}
