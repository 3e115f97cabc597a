//! `homing gossip`: the second discovery layer as this agent sees it.

use clap::{Args, Subcommand};
use homing_api::gossip::GossipStats;

use super::{OK, Outcome};
use crate::render::{fields, time, words};
use crate::session::Session;

/// Gossip: what this agent heard of others, and what hearing it cost
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing gossip stats\n  homing gossip stats --json"
)]
pub(crate) struct GossipArgs {
    #[command(subcommand)]
    command: GossipCommand,
}

#[derive(Debug, Subcommand)]
enum GossipCommand {
    /// Peers, records held and heard, comparisons, traffic
    #[command(after_help = "Examples:\n  homing gossip stats\n  homing gossip stats --json")]
    Stats,
}

pub(crate) async fn run(session: &Session, args: GossipArgs) -> Outcome {
    match args.command {
        GossipCommand::Stats => stats(session).await,
    }
}

async fn stats(session: &Session) -> Outcome {
    let stats = session.client()?.gossip_stats().await?;
    session.out.result(&stats, || vec![stats.entries.to_string()], || stats_text(&stats));
    Ok(OK)
}

fn stats_text(stats: &GossipStats) -> String {
    if !stats.enabled {
        return "this node takes no part in gossip (gossip.enabled = false)\n".to_owned();
    }
    let (records, rounds, traffic) = (&stats.records, &stats.reconciliations, &stats.traffic);
    fields(&[
        ("peers", format!("{}, {} of them pushed to", stats.peers, stats.peers_eager)),
        ("holding", holding(stats)),
        ("changed", stats.changed.map_or_else(|| "not in this run".into(), time::ago)),
        ("told", format!("{} records pushed, {} sent again", records.pushed, records.resent)),
        ("heard", format!("{} records, {} again", records.heard, records.duplicates)),
        (
            "compared",
            format!(
                "{} times, {} of them by the clock, {} with a difference",
                rounds.begun, rounds.timed, rounds.differences
            ),
        ),
        (
            "messages",
            words::messages(
                (traffic.received_messages, traffic.received_bytes),
                (traffic.sent_messages, traffic.sent_bytes),
            ),
        ),
        (
            "refused",
            format!(
                "{} forged, {} stale, {} untimely records, {} beyond limits, {} messages ignored",
                records.forged, records.stale, records.untimely, traffic.shed, traffic.ignored
            ),
        ),
    ])
}

/// `214 records, 71 kB; a full table keeps what shares 3 bits with this node's ID`.
fn holding(stats: &GossipStats) -> String {
    let part = match stats.depth_bits {
        0 => String::new(),
        bits => format!("; the table is full and keeps IDs that share {bits} bits with this one"),
    };
    format!("{} records, {} bytes{part}", stats.entries, words::bytes(stats.entries_bytes))
}
