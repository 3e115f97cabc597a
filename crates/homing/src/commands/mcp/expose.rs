//! `mcp expose`: an MCP server behind this agent's address, across restarts.
//!
//! A command becomes one process per client, bytes as they are. A URL is a Streamable HTTP server of any
//! revision: requests, sessions and event streams pass as they are. Not here: what an exposed service is
//! ([`homing_api::exposures`]).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use homing_api::exposures::{ExposeRequest, Exposed, Mode, Target};
use homing_api::{ApiError, Code};
use homing_base::Service;

use crate::commands::{OK, Outcome};
use crate::output;
use crate::session::Session;

/// Offer an MCP server to trusted peers, across restarts
#[derive(Debug, Args)]
pub(super) struct ExposeArgs {
    /// What peers call it
    #[arg(long, value_name = "SERVICE", default_value = super::SERVICE)]
    name: Service,
    /// A Streamable HTTP server, with its path
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "command",
        required_unless_present = "command"
    )]
    url: Option<String>,
    /// A stdio server: program and arguments, one process per client
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(super) async fn run(session: &Session, args: &ExposeArgs) -> Outcome {
    let request = match &args.url {
        Some(url) => {
            let target = Target::Url { url: url.clone() };
            ExposeRequest { mode: Mode::Http, ..ExposeRequest::new(target) }
        }
        None => ExposeRequest::new(command(&args.command)?),
    };
    let request = request.named(args.name.clone());
    request.target.check()?;
    let exposed = session.client()?.expose(&request).await?;
    report(session, &exposed);
    Ok(OK)
}

fn report(session: &Session, exposed: &Exposed) {
    let service = &exposed.service;
    let name = &service.name;
    let text = || {
        if exposed.changed {
            format!("{} {name}: {}\n", session.out.good("✓"), service.target)
        } else {
            format!("unchanged: {name} is {} already\n", service.target)
        }
    };
    session.out.result(exposed, || vec![name.to_string()], text);
    if !session.out.format.is_json() {
        let server =
            if name.as_str() == super::SERVICE { String::new() } else { format!("/{name}") };
        output::say(&format!("trusted peers reach it with: homing mcp connect THIS-AGENT{server}"));
    }
}

/// The daemon has its own working directory and search path: what is meant here is written out.
fn command(argv: &[String]) -> Result<Target, ApiError> {
    let (program, arguments) = argv.split_first().expect("clap wants a URL or a command");
    let cwd = std::env::current_dir().map_err(|e| {
        ApiError::new(Code::NotFound, "the working directory is gone").why(e.to_string())
    })?;
    let found = find(program, &cwd).ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("there is no program {program}"))
            .hint("homing mcp expose -- PROGRAM ARGS, as you would start it here")
    })?;
    let mut argv = vec![found.display().to_string()];
    argv.extend_from_slice(arguments);
    Ok(Target::Command { argv, cwd: Some(cwd) })
}

fn find(program: &str, cwd: &Path) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(cwd.join(program)).filter(|p| runs(p));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| cwd.join(dir).join(program)).find(|p| runs(p))
}

fn runs(file: &Path) -> bool {
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
