//! `homing mcp`: MCP servers through the mesh.
//!
//! ```text
//! MCP client ──stdio──► mcp connect ──stream──► peer's daemon ──► stdio server    ([`relay`])
//!                                                           └──► HTTP server      ([`bridge`])
//! MCP client ──stdio──► mcp serve ──local API──► this daemon                      ([`serve`])
//! ```
//! Which of the two a service is, its host says when it lets the stream in. Standard output carries
//! JSON-RPC and nothing else.

mod bridge;
mod clients;
mod connect;
mod expose;
mod headers;
mod install;
mod relay;
mod serve;
mod tools;
mod wire;

use std::str::FromStr;

use clap::{Args, Subcommand};
use homing_api::{ApiError, Code};
use homing_base::Service;

use super::Outcome;
use crate::session::Session;

/// The service that is meant when none is named.
pub(crate) const SERVICE: &str = "mcp";

/// MCP servers: offer one to trusted peers, use a peer's, or use this agent as one
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing mcp expose -- npx -y @modelcontextprotocol/server-everything\n  homing mcp install agent-b --client claude-code --write\n  homing mcp connect agent-b/docs"
)]
pub(crate) struct McpArgs {
    #[command(subcommand)]
    command: McpCommand,
}

#[derive(Debug, Subcommand)]
enum McpCommand {
    /// Offer an MCP server to trusted peers, across restarts
    #[command(
        after_help = "Examples:\n  homing mcp expose -- uvx mcp-server-git          # one process per client\n  homing mcp expose --name docs -- ./docs.py\n  homing mcp expose --url http://127.0.0.1:8000/mcp\n  homing expose list                               # and: homing expose rm mcp"
    )]
    Expose(expose::ExposeArgs),
    /// A peer's MCP server on standard input and output, as MCP clients start it
    #[command(
        after_help = "Examples:\n  homing mcp connect agent-b\n  homing mcp connect agent-b/docs --retry"
    )]
    Connect(connect::ConnectArgs),
    /// The entry by which an MCP client starts `mcp connect`
    #[command(
        after_help = "Examples:\n  homing mcp install agent-b                         # print it\n  homing mcp install agent-b/docs --client claude-desktop --write\n  homing mcp install agent-b --client vscode --write"
    )]
    Install(install::InstallArgs),
    /// This agent's own operations as an MCP server on standard input and output
    #[command(
        after_help = "Examples:\n  homing mcp serve --read-only\n  homing mcp serve                            # in a client's configuration\n  claude mcp add homing -- homing mcp serve"
    )]
    Serve(serve::ServeArgs),
}

pub(crate) async fn run(session: &Session, args: McpArgs) -> Outcome {
    match args.command {
        McpCommand::Expose(args) => expose::run(session, &args).await,
        McpCommand::Connect(args) => connect::run(session, &args).await,
        McpCommand::Install(args) => install::run(session, &args).await,
        McpCommand::Serve(args) => serve::run(session, &args).await,
    }
}

/// `PEER` or `PEER/SERVER`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    peer: String,
    service: Service,
}

impl FromStr for Target {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let (peer, service) = text.split_once('/').unwrap_or((text, SERVICE));
        let service = service.parse::<Service>().map_err(|e| {
            ApiError::new(Code::Usage, format!("{service:?} is no service")).why(e.to_string())
        })?;
        if peer.is_empty() {
            return Err(ApiError::new(Code::Usage, "the peer is missing: PEER or PEER/SERVER"));
        }
        Ok(Self { peer: peer.to_owned(), service })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.service.as_str() {
            SERVICE => f.write_str(&self.peer),
            other => write!(f, "{}/{other}", self.peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_a_peer_and_perhaps_a_server() {
        let target = |text: &str| text.parse::<Target>().map(|t| (t.peer, t.service.to_string()));
        assert_eq!(target("agent-b").unwrap(), ("agent-b".into(), "mcp".into()));
        assert_eq!(target("fd3a::1/files").unwrap(), ("fd3a::1".into(), "files".into()));
        assert!(target("/files").is_err() && target("a/b/c").is_err() && target("a/").is_err());
        assert_eq!("agent-b/mcp".parse::<Target>().unwrap().to_string(), "agent-b");
    }
}
