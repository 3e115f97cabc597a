//! `homing name`: what names mean here.

use clap::{Args, Subcommand};
use homing_api::agent::Done;
use homing_api::peers::{AliasKind, AliasRequest, Aliases};
use homing_base::Name;

use super::{OK, Outcome};
use crate::render::Table;
use crate::session::Session;

/// What names mean on this machine
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing name list\n  homing name alias gpu fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e\n  homing name alias gpu --remove"
)]
pub(crate) struct NameArgs {
    #[command(subcommand)]
    command: NameCommand,
}

#[derive(Debug, Subcommand)]
enum NameCommand {
    /// Names that mean somebody here: aliases, trusted peers' names, pins
    #[command(after_help = "Examples:\n  homing name list\n  homing name list --json")]
    List,
    /// Call a peer by a name of your own; it outranks what anybody claims
    #[command(
        after_help = "Examples:\n  homing name alias gpu agent-b\n  homing name alias gpu --remove"
    )]
    Alias {
        /// The name: lowercase letters, digits, inner hyphens
        name: Name,
        /// Name, address or node ID of the peer
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        peer: Option<String>,
        /// Forget the alias
        #[arg(long)]
        remove: bool,
    },
}

pub(crate) async fn run(session: &Session, args: NameArgs) -> Outcome {
    match args.command {
        NameCommand::List => {
            let aliases = session.client()?.aliases().await?;
            let names = || aliases.names.iter().map(|n| n.name.to_string()).collect();
            session.out.result(&aliases, names, || text(&aliases));
        }
        NameCommand::Alias { name, peer, .. } => {
            let request = AliasRequest { name, peer };
            let done = session.client()?.set_alias(&request).await?;
            session.out.result(&done, Vec::new, || changed(&done, &request));
        }
    }
    Ok(OK)
}

fn text(aliases: &Aliases) -> String {
    let mut table = Table::new(&["NAME", "ADDRESS", "NODE ID", "FROM"]);
    for entry in &aliases.names {
        let from = match entry.kind {
            AliasKind::Alias => "alias",
            AliasKind::Pin => "first use",
            AliasKind::Claim => "trusted peer",
        };
        let peer = &entry.peer;
        table.row(vec![
            entry.name.to_string(),
            peer.address.to_string(),
            peer.node_id.fmt_short(),
            from.to_owned(),
        ]);
    }
    if table.is_empty() { "no names yet\n".to_owned() } else { table.render() }
}

fn changed(done: &Done, request: &AliasRequest) -> String {
    let mark = if done.changed { "✓" } else { "unchanged:" };
    match &request.peer {
        Some(peer) => format!("{mark} {} means {peer} here\n", request.name),
        None => format!("{mark} {} is no alias\n", request.name),
    }
}
