//! `homing completions`: a script per shell, from the same definitions as the parser. Where a peer is
//! expected, the script asks `homing name list -o name`, so peers complete from the daemon.

use clap::Args;
use clap_complete::Shell;

use super::{OK, Outcome};
use crate::{help, output};

/// A completion script for your shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing completions bash > ~/.local/share/bash-completion/completions/homing\n  homing completions zsh > ~/.zfunc/_homing\n  homing completions fish > ~/.config/fish/completions/homing.fish"
)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Commands whose first argument is a peer.
const PEER_COMMANDS: [&str; 8] =
    ["status", "resolve", "handshake", "approve", "reject", "ping", "connect", "netcheck"];
const PEER_NAMES: &str = "homing name list -o name 2>/dev/null";

pub(crate) fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "homing", &mut script);
    output::print(&with_peers(args.shell, &String::from_utf8_lossy(&script)));
    Ok(OK)
}

fn with_peers(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}\n{}", bash()),
        Shell::Fish => format!("{script}\n{}", fish()),
        Shell::Zsh => zsh(script),
        _ => script.to_owned(),
    }
}

fn bash() -> String {
    let commands = PEER_COMMANDS.join("|");
    format!(
        "_homing_with_peers() {{\n    _homing \"$@\"\n    local word=\"${{COMP_WORDS[COMP_CWORD]}}\"\n    \
         [[ $word == -* ]] && return\n    case \"${{COMP_WORDS[1]}}\" in\n        {commands})\n            \
         COMPREPLY+=( $(compgen -W \"$({PEER_NAMES})\" -- \"$word\") ) ;;\n    esac\n}}\n\
         complete -F _homing_with_peers -o bashdefault -o default homing\n"
    )
}

fn fish() -> String {
    let commands = PEER_COMMANDS.join(" ");
    format!(
        "complete -c homing -n '__fish_seen_subcommand_from {commands}' -f -a '({PEER_NAMES})'\n"
    )
}

/// Arguments described as a peer get their own completer.
fn zsh(script: &str) -> String {
    let line = |line: &str| match line.contains("address or node ID") {
        true => line.replace(":_default'", ":_homing_peers'"),
        false => line.to_owned(),
    };
    let body: Vec<_> = script.lines().map(line).collect();
    let completer = format!("_homing_peers() {{\n    compadd -- $({PEER_NAMES})\n}}\n");
    match body.split_first() {
        // `#compdef` must stay first.
        Some((first, rest)) => format!("{first}\n\n{completer}\n{}\n", rest.join("\n")),
        None => completer,
    }
}
