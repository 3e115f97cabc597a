//! `handshake`, `pending`, `approve`, `reject`, `trust list|show|revoke`.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::trust::{
    ApproveRequest, HandshakeRequest, Pending, StatementFacts, TrustChange, TrustEntry, TrustList,
    TrustState,
};
use homing_api::{ApiError, Code};
use homing_base::Service;
use tokio::time::Instant;

use super::{OK, Outcome, status};
use crate::output;
use crate::render::{Table, fields, time, words};
use crate::session::Session;

/// How long `--wait` waits unless `--timeout` says otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(300);

/// Ask a peer for trust, and give yours
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing handshake agent-b\n  homing handshake agent-b --allow mcp --allow 8080 --expires 30d --reason 'nightly reports'\n  homing handshake agent-b --wait --timeout 10m"
)]
pub(crate) struct HandshakeArgs {
    /// Name, address or node ID
    peer: String,
    /// Why, for its owner to read
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only these services and ports; may be repeated [default: all]
    #[arg(long, value_name = "SERVICE")]
    allow: Vec<Service>,
    /// End the trust after this long: 12h, 30d [default: until revoked]
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    expires: Option<Duration>,
    /// Wait until the peer has approved
    #[arg(long)]
    wait: bool,
}

/// Requests that wait for your decision
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  homing pending\n  homing pending -o name")]
pub(crate) struct PendingArgs {}

/// Say yes to a request
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing approve my-agent\n  homing approve 3a91c277e0 --allow ping\n  homing approve agent-a agent-b --expires 30d"
)]
pub(crate) struct ApproveArgs {
    /// Name, address or node ID; several may be given
    #[arg(required = true)]
    peers: Vec<String>,
    /// Only these services and ports; may be repeated [default: what was asked for]
    #[arg(long, value_name = "SERVICE")]
    allow: Vec<Service>,
    /// End the trust after this long [default: as asked for]
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    expires: Option<Duration>,
}

/// Say no to a request
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing reject stranger\n  homing reject fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e"
)]
pub(crate) struct RejectArgs {
    /// Name, address or node ID
    peer: String,
}

/// Whom this agent trusts, and who trusts it
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing trust list\n  homing trust show agent-b\n  homing trust revoke agent-b --yes"
)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Debug, Subcommand)]
enum TrustCommand {
    /// Where trust stands with everybody
    #[command(after_help = "Examples:\n  homing trust list\n  homing trust list --json")]
    List,
    /// Where trust stands with one peer, and what each side signed
    #[command(
        after_help = "Examples:\n  homing trust show agent-b\n  homing trust show agent-b --json"
    )]
    Show {
        /// Name, address or node ID
        peer: String,
    },
    /// Take trust back; its live streams close at once
    #[command(
        after_help = "Examples:\n  homing trust revoke agent-b\n  homing trust revoke agent-b --yes"
    )]
    Revoke(RevokeArgs),
}

/// Take trust back; its live streams close at once
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Name, address or node ID
    peer: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(session: &Session, args: TrustArgs) -> Outcome {
    match args.command {
        TrustCommand::List => list(session).await,
        TrustCommand::Show { peer } => show(session, &peer).await,
        TrustCommand::Revoke(args) => revoke(session, &args).await,
    }
}

pub(crate) async fn handshake(session: &Session, args: &HandshakeArgs) -> Outcome {
    let request = HandshakeRequest {
        peer: args.peer.clone(),
        reason: args.reason.clone(),
        services: given(&args.allow),
        lifetime_s: args.expires.map(|d| d.as_secs()),
    };
    let mut change = session.client()?.handshake(&request).await?;
    if args.wait && change.state != TrustState::Mutual {
        let name = change.peer.label();
        output::say(&format!("asked {name}; waiting for its approval"));
        change.state = wait_mutual(session, &change.peer.node_id.to_string()).await?;
    }
    print_change(session, &change, |c| {
        let name = c.peer.label();
        match (c.state, c.delivered) {
            (TrustState::Mutual, _) => format!("trust with {name} is mutual"),
            (_, true) => format!("asked {name}; its owner decides"),
            (_, false) => {
                format!("asked {name}; the request is on its way, now or when it returns")
            }
        }
    });
    Ok(OK)
}

/// Waits until trust is mutual, or the peer says no.
pub(crate) async fn wait_mutual(session: &Session, peer: &str) -> Result<TrustState, ApiError> {
    let deadline = Instant::now() + session.timeout.unwrap_or(WAIT_DEFAULT);
    loop {
        let state = status::of(session, peer).await?.map_or(TrustState::None, |p| p.trust.state);
        match state {
            TrustState::Mutual => return Ok(state),
            TrustState::RejectedByPeer | TrustState::RevokedByPeer => {
                let message = format!("{peer} said no");
                return Err(ApiError::new(Code::PeerNotTrusted, message)
                    .why(format!("trust is {}", words::trust_state(state)))
                    .hint(format!("talk to its owner, then homing handshake {peer}")));
            }
            _ if Instant::now() >= deadline => {
                return Err(ApiError::new(Code::Timeout, format!("{peer} has not approved yet"))
                    .why(format!("trust is {}", words::trust_state(state)))
                    .hint("on the other side: homing pending, then homing approve"));
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

pub(crate) async fn pending(session: &Session) -> Outcome {
    let pending = session.client()?.pending().await?;
    let names = || pending.requests.iter().map(|r| r.peer.node_id.to_string()).collect();
    session.out.result(&pending, names, || pending_text(&pending));
    if !pending.requests.is_empty() && !session.out.format.is_json() {
        let first = unmistakable(session, &pending).await?;
        output::say(&format!(
            "approve with: homing approve {first}        (or --allow SERVICE for less)"
        ));
    }
    Ok(OK)
}

/// How to call the first who asks: by its name, unless somebody else has the same.
async fn unmistakable(session: &Session, pending: &Pending) -> Result<String, ApiError> {
    let first = &pending.requests[0].peer;
    let trusted = session.client()?.trust_list().await?.entries;
    let others =
        pending.requests[1..].iter().map(|r| &r.peer).chain(trusted.iter().map(|t| &t.peer));
    let mut others = others.filter(|other| other.node_id != first.node_id);
    let taken = first.name.is_some() && others.any(|other| other.name == first.name);
    Ok(if taken { first.node_id.fmt_short() } else { first.label() })
}

fn pending_text(pending: &Pending) -> String {
    let headings =
        ["NAME", "ADDRESS", "NODE ID", "ASKS FOR", "EXPIRES", "REASON", "AGE", "SEEN BEFORE"];
    let mut table = Table::new(&headings);
    for request in &pending.requests {
        table.row(vec![
            request.peer.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            request.peer.address.fmt_short(),
            request.peer.node_id.fmt_short(),
            words::services(&request.services),
            request.expires.map_or_else(|| "never".to_owned(), time::left),
            request.reason.clone().unwrap_or_default(),
            time::age(request.asked),
            if request.seen_before { "yes" } else { "no" }.to_owned(),
        ]);
    }
    if table.is_empty() { "no pending requests\n".to_owned() } else { table.render() }
}

pub(crate) async fn approve(session: &Session, args: &ApproveArgs) -> Outcome {
    for peer in &args.peers {
        let request = ApproveRequest {
            peer: peer.clone(),
            services: given(&args.allow),
            lifetime_s: args.expires.map(|d| d.as_secs()),
        };
        let change = session.client()?.approve(&request).await?;
        print_change(session, &change, |c| {
            let (name, id) = (c.peer.label(), c.peer.node_id.fmt_short());
            match c.delivered {
                true => format!("{name} ({id}) is trusted"),
                false => format!("{name} ({id}) is trusted; it learns so when it returns"),
            }
        });
    }
    Ok(OK)
}

pub(crate) async fn reject(session: &Session, args: &RejectArgs) -> Outcome {
    let change = session.client()?.reject(&args.peer).await?;
    print_change(session, &change, |c| format!("the request of {} is rejected", c.peer.label()));
    Ok(OK)
}

pub(crate) async fn revoke(session: &Session, args: &RevokeArgs) -> Outcome {
    if !args.yes {
        confirm(&format!("revoke the trust of {}? Its streams close at once", args.peer))?;
    }
    let change = session.client()?.revoke(&args.peer).await?;
    print_change(session, &change, |c| format!("{} is no longer trusted", c.peer.label()));
    Ok(OK)
}

/// Asks on a terminal; refuses without one.
fn confirm(question: &str) -> Result<(), ApiError> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(ApiError::new(Code::Usage, "this needs --yes when nobody can be asked")
            .why("standard input or standard error is not a terminal"));
    }
    output::say(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(ApiError::new(Code::Interrupted, "nothing was changed")),
    }
}

fn print_change(session: &Session, change: &TrustChange, text: impl Fn(&TrustChange) -> String) {
    let names = || vec![change.peer.node_id.to_string()];
    let mark = if change.changed { session.out.good("✓") } else { "unchanged:".to_owned() };
    session.out.result(change, names, || format!("{mark} {}\n", text(change)));
}

async fn list(session: &Session) -> Outcome {
    let list = session.client()?.trust_list().await?;
    let names = || list.entries.iter().map(|e| e.peer.node_id.to_string()).collect();
    session.out.result(&list, names, || list_text(&list));
    Ok(OK)
}

fn list_text(list: &TrustList) -> String {
    let headings =
        ["NAME", "ADDRESS", "NODE ID", "TRUST", "MAY USE HERE", "MAY USE THERE", "EXPIRES"];
    let mut table = Table::new(&headings);
    for entry in &list.entries {
        table.row(vec![
            entry.peer.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            entry.peer.address.fmt_short(),
            entry.peer.node_id.fmt_short(),
            words::trust_state(entry.trust.state).to_owned(),
            words::services(&entry.trust.allowed),
            words::services(&entry.trust.allowed_by_peer),
            entry.trust.expires.map_or_else(|| "never".to_owned(), time::left),
        ]);
    }
    if table.is_empty() { "no trust with anybody yet\n".to_owned() } else { table.render() }
}

async fn show(session: &Session, peer: &str) -> Outcome {
    let shown = session.client()?.trust_show(peer).await?;
    let names = || vec![shown.entry.peer.node_id.to_string()];
    session.out.result(&shown, names, || entry_text(&shown.entry));
    Ok(OK)
}

fn entry_text(entry: &TrustEntry) -> String {
    let name = entry.peer.name.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string);
    fields(&[
        ("name", name),
        ("address", entry.peer.address.to_string()),
        ("node ID", entry.peer.node_id.to_string()),
        ("trust", words::trust(&entry.trust)),
        ("we signed", statement(&entry.ours)),
        ("it signed", statement(&entry.theirs)),
    ])
}

fn statement(facts: &Option<StatementFacts>) -> String {
    let Some(facts) = facts else { return "nothing".into() };
    let until = facts.expires.map(|e| format!(", {}", time::left(e))).unwrap_or_default();
    let reason = facts.reason.as_ref().map(|r| format!(", \"{r}\"")).unwrap_or_default();
    let services = words::services(&facts.services);
    format!("{} for {services}, {}{until}{reason}", facts.kind, time::ago(facts.issued))
}

fn given(services: &[Service]) -> Option<Vec<Service>> {
    (!services.is_empty()).then(|| services.to_vec())
}
