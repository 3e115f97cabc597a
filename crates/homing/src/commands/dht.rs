//! `homing dht`: the third discovery layer as this agent sees it.

use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::Code;
use homing_api::dht::{
    DhtConvergence, DhtIntervals, DhtLookup, DhtPeer, DhtPeerState, DhtPeers, DhtStats,
};

use super::{OK, Outcome};
use crate::output;
use crate::render::{Table, fields, fields_in, time, words};
use crate::session::Session;

/// A lookup that meets silent nodes waits for each of them.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The distributed hash table: who is in it, what it finds, how it fares
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing dht peers\n  homing dht lookup agent-b\n  homing dht stats --json"
)]
pub(crate) struct DhtArgs {
    #[command(subcommand)]
    command: DhtCommand,
}

#[derive(Debug, Subcommand)]
enum DhtCommand {
    /// The routing table, nearest node IDs first
    #[command(after_help = "Examples:\n  homing dht peers\n  homing dht peers --json")]
    Peers,
    /// Look a key up and show every step
    #[command(
        after_help = "Examples:\n  homing dht lookup agent-b\n  homing dht lookup fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e\n  homing dht lookup agent-b --json"
    )]
    Lookup {
        /// Name, address, node ID, or any other key of 64 hexadecimal digits
        key: String,
    },
    /// Role, network size, intervals, traffic, convergence
    #[command(after_help = "Examples:\n  homing dht stats\n  homing dht stats --json")]
    Stats,
}

pub(crate) async fn run(session: &Session, args: DhtArgs) -> Outcome {
    match args.command {
        DhtCommand::Peers => peers(session).await,
        DhtCommand::Lookup { key } => lookup(session, &key).await,
        DhtCommand::Stats => stats(session).await,
    }
}

async fn peers(session: &Session) -> Outcome {
    let peers = session.client()?.dht_peers().await?;
    let names = || peers.peers.iter().map(|p| p.peer.node_id.to_string()).collect();
    session.out.result(&peers, names, || peers_text(&peers));
    Ok(OK)
}

fn peers_text(peers: &DhtPeers) -> String {
    if peers.peers.is_empty() {
        return "nobody yet: join through a peer with homing up --peer TICKET\n".to_owned();
    }
    let mut table = Table::new(&["ID", "NAME", "PLACE", "BUCKET", "RTT", "HEARD", "STATE"]);
    peers.peers.iter().for_each(|peer| table.row(peer_row(peer)));
    table.render()
}

fn peer_row(peer: &DhtPeer) -> Vec<String> {
    let relay = if peer.relayed { "relay " } else { "" };
    vec![
        peer.peer.node_id.fmt_short(),
        peer.peer.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        peer.place.as_ref().map(|place| format!("{relay}{place}")).unwrap_or_default(),
        peer.bucket.to_string(),
        peer.rtt_ms.map(time::millis).unwrap_or_default(),
        time::ago(peer.heard),
        state(peer),
    ]
}

/// `good, leafset, linked`, `suspect (1 unanswered)`.
fn state(peer: &DhtPeer) -> String {
    let mut words = match peer.state {
        DhtPeerState::Good => vec!["good".to_owned()],
        DhtPeerState::Suspect => vec![format!("suspect ({} unanswered)", peer.failures)],
    };
    words.extend(peer.leafset.then(|| "leafset".to_owned()));
    words.extend(peer.linked.then(|| "linked".to_owned()));
    words.join(", ")
}

async fn lookup(session: &Session, key: &str) -> Outcome {
    let timeout = session.timeout.unwrap_or(LOOKUP_TIMEOUT);
    let found = session.client()?.dht_lookup(key, timeout).await?;
    let names = || found.values.iter().map(|v| v.peer.node_id.to_string()).collect();
    session.out.result(&found, names, || lookup_text(&found));
    if found.values.is_empty() {
        output::say(&format!("the DHT holds nothing about {key}"));
        return Ok(Code::NotFound.exit());
    }
    Ok(OK)
}

fn lookup_text(found: &DhtLookup) -> String {
    let mut text = String::new();
    if !found.steps.is_empty() {
        let mut table = Table::new(&["HOP", "ASKED", "AFTER", "ANSWER"]);
        for step in &found.steps {
            let answer = if step.answered { "yes" } else { "none in time" };
            table.row(vec![
                step.hop.to_string(),
                step.peer.label(),
                time::millis(step.at_ms),
                answer.to_owned(),
            ]);
        }
        text = table.render() + "\n";
    }
    for value in &found.values {
        let left = match value.withdrawn {
            true => "withdrawn".to_owned(),
            false => time::left(value.expires),
        };
        let (peer, sequence) = (&value.peer, value.sequence);
        let name = peer.name.as_ref().map(|n| format!("{n} ")).unwrap_or_default();
        text.push_str(&format!("{name}{}\n", peer.address));
        text.push_str(&fields_in(
            PRICE_WIDTH,
            &[
                ("node ID", peer.node_id.to_string()),
                (
                    "record",
                    format!("sequence {sequence}, signed {}, {left}", time::ago(value.issued)),
                ),
            ],
        ));
    }
    if found.values.is_empty() {
        text.push_str(&format!("nothing was found under {}\n", found.target));
    }
    text + &price(found)
}

/// The longest label of a lookup: `replicas`.
const PRICE_WIDTH: usize = 8;

/// What the answer cost, and how many showed it.
fn price(found: &DhtLookup) -> String {
    let plural = |n: u32, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let unanswered = match found.timeouts {
        0 => String::new(),
        n => format!(" ({n} unanswered)"),
    };
    let (hops, messages) = (plural(found.hops, "hop"), plural(found.requests, "message"));
    let elapsed = time::millis(found.elapsed_ms);
    let replicas = match (found.values.is_empty(), found.requests) {
        (true, _) => format!("none of {} nodes holds it", found.nodes.len()),
        (false, 0) => "a copy is held here".to_owned(),
        (false, _) => format!("{} had shown it by then", plural(found.replicas, "node")),
    };
    fields_in(
        PRICE_WIDTH,
        &[("cost", format!("{hops}, {messages}{unanswered}, {elapsed}")), ("replicas", replicas)],
    )
}

async fn stats(session: &Session) -> Outcome {
    let stats = session.client()?.dht_stats().await?;
    session.out.result(
        &stats,
        || vec![stats.brief.role.as_str().to_owned()],
        || stats_text(&stats),
    );
    Ok(OK)
}

fn stats_text(stats: &DhtStats) -> String {
    let (brief, traffic) = (&stats.brief, &stats.traffic);
    let size = stats.size_estimate.map_or_else(|| "not known yet".into(), |n| format!("about {n}"));
    let joined = if brief.joined { "" } else { ", not in the network yet" };
    fields(&[
        ("role", format!("{} (dht.server = {}){joined}", brief.role.as_str(), stats.server)),
        ("form", form(stats)),
        ("contacts", format!("{}, {} in doubt", brief.contacts, stats.suspects)),
        ("links", format!("{} for the DHT alone", stats.links)),
        ("nodes", format!("{size}, staying for {}", seconds(stats.session_estimate_s as f64))),
        (
            "holding",
            format!("{} records, {} bytes", stats.values, words::bytes(stats.values_bytes)),
        ),
        ("settling", settling(&stats.convergence)),
        ("intervals", intervals(&stats.intervals)),
        (
            "messages",
            words::messages(
                (traffic.received_messages, traffic.received_bytes),
                (traffic.sent_messages, traffic.sent_bytes),
            ),
        ),
        ("requests", format!("{} sent, {} unanswered", traffic.requests, traffic.timeouts)),
        (
            "refused",
            format!(
                "{} values that did not verify, {} requests beyond limits, {} answers to nothing asked",
                traffic.unverified, traffic.shed, traffic.unsolicited,
            ),
        ),
    ])
}

fn form(stats: &DhtStats) -> String {
    let forming = || if stats.mode == "cluster" { ", forming".to_owned() } else { String::new() };
    let cluster = stats.cluster.map_or_else(forming, |c| {
        let changes = format!("{} splits, {} merges", c.splits, c.merges);
        format!(" of {} members at depth {} ({changes})", c.members, c.depth)
    });
    let chosen = stats.chosen_by.map(|id| format!(", as {} chose", id.fmt_short()));
    let chosen = chosen.unwrap_or_default();
    format!("{}{cluster}{chosen}, k {}, alpha {}", stats.mode, stats.k, stats.alpha)
}

fn seconds(seconds: f64) -> String {
    time::short(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))
}

fn intervals(every: &DhtIntervals) -> String {
    let all = [
        ("exchange", every.exchange_s),
        ("probe", every.probe_s),
        ("refresh", every.refresh_s),
        ("sync", every.sync_s),
        ("republish", every.republish_s),
        ("expiry", every.expiry_s),
    ];
    let texts: Vec<_> = all.iter().map(|(name, s)| format!("{name} {}", seconds(*s))).collect();
    texts.join(", ")
}

/// `3.2 rounds the last time (18s)`, `2.0 rounds so far, 8.6 are expected`.
fn settling(c: &DhtConvergence) -> String {
    let slow = if c.slow { "; slower than expected" } else { "" };
    let max = c.rounds_max;
    match (c.ongoing_rounds, c.last_rounds) {
        (Some(rounds), _) => format!("{rounds:.1} rounds so far, at most {max:.1} expected{slow}"),
        (None, Some(rounds)) => {
            let took = seconds(c.last_s.unwrap_or_default());
            format!("{rounds:.1} rounds ({took}) the last time, at most {max:.1} expected{slow}")
        }
        (None, None) => "nothing changed yet".into(),
    }
}
