//! `homing info`: this agent. Also the block that `up` and `daemon start` print.

use clap::Args;
use homing_api::agent::{Info, Severity};
use homing_api::dht::DhtBrief;
use homing_api::{ApiError, Code};

use super::{OK, Outcome};
use crate::render::{fields, time, words};
use crate::session::Session;

/// Who and where this agent is
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  homing info\n  homing info --ticket\n  homing info --json")]
pub(crate) struct InfoArgs {
    /// Print only what another node needs to join: key, addresses and relays in one word
    #[arg(long)]
    ticket: bool,
}

pub(crate) async fn run(session: &Session, args: &InfoArgs) -> Outcome {
    let info = session.client()?.info().await?;
    if args.ticket && !session.out.format.is_json() {
        let ticket = info.ticket.as_deref().ok_or_else(no_ticket)?;
        crate::output::print(&format!("{ticket}\n"));
        return Ok(OK);
    }
    let text = || format!("{}{}", block(&info), health(&info));
    session.out.result(&info, || vec![info.node_id.to_string()], text);
    Ok(OK)
}

fn no_ticket() -> ApiError {
    ApiError::new(Code::NoRoute, "there is nothing to put into a ticket yet")
        .why("this agent has not published a record: no relay answered so far")
        .hint("homing wait online, then homing info --ticket")
}

/// The agent in aligned lines.
pub(crate) fn block(info: &Info) -> String {
    let name = info.name.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let address = format!("{}     the same on any machine that holds this key", info.address);
    let mut pairs = vec![
        ("address", address),
        ("name", name),
        ("node ID", info.node_id.to_string()),
        ("reachable", reachable(info)),
        ("key", format!("{} (keep a copy: it is the address)", tilde(&info.identity_file))),
    ];
    if let Some(dht) = &info.dht {
        pairs.push(("DHT", self::dht(dht)));
    }
    if let Some(relay) = &info.serving_relay {
        pairs.push(("relay", format!("serving {} clients at {}", relay.clients, relay.relay)));
    }
    if let Some(dns) = info.dns {
        pairs.push(("DNS", format!("{dns} for NAME.agent.internal")));
    }
    if let Some(gateway) = &info.gateway {
        let url = &gateway.url;
        pairs.push(("gateway", format!("{url}/@NAME/SERVICE/ for programs on this machine")));
    }
    fields(&pairs)
}

/// `server, 37 contacts`, `client, nobody known yet`.
fn dht(dht: &DhtBrief) -> String {
    let role = dht.role.as_str();
    match (dht.contacts, dht.joined) {
        (0, _) => format!("{role}, nobody known yet"),
        (n, true) => format!("{role}, {}", words::count(n, "contact")),
        (n, false) => format!("{role}, {}, none has answered yet", words::count(n, "contact")),
    }
}

/// How others reach this agent, in one line.
pub(crate) fn reachable(info: &Info) -> String {
    if info.superseded {
        return "no: a newer instance of this identity runs elsewhere".into();
    }
    let mut ways: Vec<String> =
        info.direct.first().map(|a| format!("direct udp {a}")).into_iter().collect();
    for link in info.relays.iter().filter(|l| l.connected) {
        let latency =
            link.latency_ms.map(|ms| format!(" {}", time::millis(ms))).unwrap_or_default();
        ways.push(format!("relay {}{latency}", link.label));
    }
    match (info.online, ways.is_empty()) {
        (true, false) => ways.join(" · "),
        (true, true) => "waiting for a network".into(),
        (false, _) => {
            let silent: Vec<_> = info.relays.iter().map(|l| l.label.as_str()).collect();
            format!("not yet: no answer from relay {}", silent.join(", "))
        }
    }
}

fn health(info: &Info) -> String {
    let line = |severity: Severity| match severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "problem",
    };
    let items = info.health.iter();
    items
        .map(|h| format!("{}: {} ({})\n  {}\n", line(h.severity), h.title, h.code, h.text))
        .collect()
}

/// A path under the user's home with `~`.
pub(crate) fn tilde(path: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    match path.strip_prefix(&home) {
        Some(rest) if !home.is_empty() && rest.starts_with('/') => format!("~{rest}"),
        _ => path.to_owned(),
    }
}
