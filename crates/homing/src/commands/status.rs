//! `homing status`: the peers of this agent, and why each path is what it is.

use std::time::Duration;

use clap::Args;
use homing_api::ApiError;
use homing_api::agent::TunFacts;
use homing_api::peers::{PathKind, PeerStatus, Status};
use homing_api::trust::TrustState;

use super::{OK, Outcome};
use crate::render::{Table, fields, time, words};
use crate::session::Session;

/// The peers of this agent: path, round trip, trust, and why
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing status\n  homing status agent-b\n  homing status --watch -o jsonl"
)]
pub(crate) struct StatusArgs {
    /// Name, address or node ID of one peer
    peer: Option<String>,
    /// Print again whenever it changed, until interrupted
    #[arg(long, short)]
    watch: bool,
}

pub(crate) async fn run(session: &Session, args: &StatusArgs) -> Outcome {
    if args.watch {
        return watch(session, args).await;
    }
    let status = session.client()?.status(args.peer.as_deref()).await?;
    show(session, args, &status);
    Ok(OK)
}

fn show(session: &Session, args: &StatusArgs, status: &Status) {
    let names = || status.peers.iter().map(|p| p.peer.node_id.to_string()).collect();
    session.out.result(status, names, || match (&args.peer, status.peers.first()) {
        (Some(_), Some(peer)) => one(peer),
        _ => table(status),
    });
}

async fn watch(session: &Session, args: &StatusArgs) -> Outcome {
    let client = session.client()?;
    let started = tokio::time::Instant::now();
    let mut shown = String::new();
    loop {
        let status = client.status(args.peer.as_deref()).await?;
        let now = signature(&status);
        if now != shown {
            match session.out.format.is_json() {
                true => session.out.line(&status),
                false => show(session, args, &status),
            }
            shown = now;
        }
        if session.timeout.is_some_and(|t| started.elapsed() >= t) {
            return Ok(OK);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What counts as a change: not the counters and times.
fn signature(status: &Status) -> String {
    let peer = |p: &PeerStatus| {
        format!("{}{:?}{:?}{:?}{:?}", p.peer.node_id, p.path, p.trust, p.why, p.instance)
    };
    let peers: Vec<_> = status.peers.iter().map(peer).collect();
    format!("{}{}{:?}", peers.join("\n"), status.online, status.health)
}

fn table(status: &Status) -> String {
    let headings = ["NAME", "ADDRESS", "PATH", "RTT", "LAST", "TRUST", "RX/TX"];
    let mut table = Table::new(&headings);
    let (passers_by, known): (Vec<_>, Vec<_>) = status.peers.iter().partition(|p| only_dht(p));
    for peer in known {
        table.row(row(peer));
        if let Some(why) = &peer.why {
            let hint = peer.hint.as_ref().map(|h| format!(" try: {h}")).unwrap_or_default();
            table.note(format!("why: {why}.{hint}"));
        }
    }
    let mut text = match table.is_empty() {
        true => "no peers yet: homing handshake PEER asks one for trust\n".to_owned(),
        false => table.render(),
    };
    if !passers_by.is_empty() {
        let nodes = words::count(passers_by.len() as u64, "node");
        text.push_str(&format!("and {nodes} of the DHT: homing dht peers\n"));
    }
    if !status.online {
        text.push_str("this agent is not reachable: homing doctor\n");
    }
    if let Some(tun) = &status.tun {
        text.push_str(&interface(tun));
    }
    for item in &status.health {
        text.push_str(&format!("health: {} ({})\n  {}\n", item.title, item.code, item.text));
    }
    text
}

/// The network interface and what it carried.
fn interface(tun: &TunFacts) -> String {
    let dropped: u64 = tun.dropped.values().sum();
    let reasons: Vec<_> = tun.dropped.iter().map(|(why, n)| format!("{why} {n}")).collect();
    let dropped = match dropped {
        0 => String::new(),
        _ => format!(", dropped {dropped} ({})", reasons.join(", ")),
    };
    format!(
        "interface {}: received {} in {}, sent {} in {}{dropped}\n",
        tun.name,
        words::bytes(tun.received_bytes),
        words::count(tun.received_packets, "packet"),
        words::bytes(tun.sent_bytes),
        words::count(tun.sent_packets, "packet"),
    )
}

/// A node that this agent meets in the DHT and nowhere else.
fn only_dht(peer: &PeerStatus) -> bool {
    peer.dht && peer.trust.state == TrustState::None
}

fn row(peer: &PeerStatus) -> Vec<String> {
    let live = matches!(peer.path.kind, PathKind::Direct | PathKind::Relay);
    let last = match (live, peer.last_seen) {
        (true, _) => "now".to_owned(),
        (false, Some(at)) => time::ago(at),
        (false, None) => "never".to_owned(),
    };
    let traffic = match peer.received_bytes + peer.sent_bytes {
        0 => String::new(),
        _ => format!("{}/{}", words::bytes(peer.received_bytes), words::bytes(peer.sent_bytes)),
    };
    vec![
        peer.peer.label(),
        peer.peer.address.fmt_short(),
        words::path(&peer.path),
        peer.rtt_ms.filter(|_| live).map(time::millis).unwrap_or_default(),
        last,
        words::trust(&peer.trust),
        traffic,
    ]
}

fn one(peer: &PeerStatus) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".into());
    let seen = peer.last_seen.map_or_else(|| "never".to_owned(), time::ago);
    let mut pairs = vec![
        ("name", peer.peer.name.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string)),
        ("address", peer.peer.address.to_string()),
        ("node ID", peer.peer.node_id.to_string()),
        ("path", words::path(&peer.path)),
        ("RTT", peer.rtt_ms.map_or_else(|| "–".to_owned(), time::millis)),
        ("last seen", seen),
        ("trust", words::trust(&peer.trust)),
        ("streams", peer.streams.to_string()),
        ("received", words::bytes(peer.received_bytes)),
        ("sent", words::bytes(peer.sent_bytes)),
        ("record", peer.sequence.map_or_else(|| "–".to_owned(), |s| format!("sequence {s}"))),
        ("software", text(&peer.software)),
    ];
    if let Some(why) = &peer.why {
        let code = peer.why_code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        pairs.push(("why", format!("{why}{code}")));
    }
    if let Some(hint) = &peer.hint {
        pairs.push(("try", hint.clone()));
    }
    fields(&pairs)
}

/// The status of exactly one peer.
pub(crate) async fn of(session: &Session, peer: &str) -> Result<Option<PeerStatus>, ApiError> {
    Ok(session.client()?.status(Some(peer)).await?.peers.into_iter().next())
}
