//! Where MCP clients keep their servers, and what an entry looks like there.
//!
//! ```text
//! claude-desktop  <config>/Claude/claude_desktop_config.json      mcpServers.NAME
//! claude-code     ~/.claude.json (user scope)                     mcpServers.NAME, "type":"stdio"
//! cursor          ~/.cursor/mcp.json                              mcpServers.NAME
//! vscode          <config>/Code/User/mcp.json                     servers.NAME, "type":"stdio"
//! generic         ./.mcp.json                                     mcpServers.NAME
//! ```
//! `<config>` is `~/Library/Application Support` on macOS, else `$XDG_CONFIG_HOME` or `~/.config`. As the
//! clients' documentation has it in 2026. Not here: reading and writing ([`super::install`]).

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Value, json};

/// A program that starts MCP servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Program {
    // Claude Desktop.
    ClaudeDesktop,
    // Claude Code, for this user.
    ClaudeCode,
    // Cursor, for this user.
    Cursor,
    // Visual Studio Code, for this user.
    Vscode,
    // .mcp.json in this folder, which several clients read.
    #[default]
    Generic,
}

impl Program {
    /// Its configuration file; `None` when the home folder is not known.
    pub(super) fn file(self) -> Option<PathBuf> {
        let home = || std::env::home_dir().filter(|h| !h.as_os_str().is_empty());
        match self {
            Program::ClaudeDesktop => Some(config()?.join("Claude/claude_desktop_config.json")),
            Program::ClaudeCode => Some(home()?.join(".claude.json")),
            Program::Cursor => Some(home()?.join(".cursor/mcp.json")),
            Program::Vscode => Some(config()?.join("Code/User/mcp.json")),
            Program::Generic => Some(PathBuf::from(".mcp.json")),
        }
    }

    /// The object of the file in which servers are members.
    pub(super) fn section(self) -> &'static str {
        match self {
            Program::Vscode => "servers",
            _ => "mcpServers",
        }
    }

    /// An entry that starts `command` with `args`.
    pub(super) fn entry(self, command: &str, args: &[String]) -> Value {
        match self {
            Program::ClaudeCode | Program::Vscode => {
                json!({ "type": "stdio", "command": command, "args": args })
            }
            _ => json!({ "command": command, "args": args }),
        }
    }
}

fn config() -> Option<PathBuf> {
    let home = std::env::home_dir().filter(|h| !h.as_os_str().is_empty());
    if cfg!(target_os = "macos") {
        return Some(home?.join("Library/Application Support"));
    }
    let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    named.filter(|p| p.is_absolute()).or_else(|| Some(home?.join(".config")))
}
