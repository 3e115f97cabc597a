//! Small windows on the daemon and on this program: `netcheck`, `events`, `metrics`, `api`,
//! `schema`.

use std::io::Read;

use clap::{Args, ValueEnum};
use homing_api::network::Netcheck;
use homing_api::{ApiError, Code, OPERATIONS};
use serde_json::{Value, json};

use super::{OK, Outcome};
use crate::render::{Table, fields_in, time, words};
use crate::session::Session;
use crate::{help, output};

/// What the network does to this agent, or to the path with one peer
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing netcheck\n  homing netcheck agent-b\n  homing netcheck --json"
)]
pub(crate) struct NetcheckArgs {
    /// Name, address or node ID of a trusted peer
    peer: Option<String>,
}

/// What happens, as it happens
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing events\n  homing events -o jsonl\n  homing events --count 1 --timeout 1m"
)]
pub(crate) struct EventsArgs {
    /// Stop after this many
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
}

/// Counters of the daemon, in the Prometheus text format
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  homing metrics\n  homing metrics | grep homing_links")]
pub(crate) struct MetricsArgs {}

/// One request to the daemon's local API, as it is
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing api /v1/info\n  homing api POST /v1/ping --data '{\"peer\":\"agent-b\",\"timeout_ms\":1000}'\n  homing schema operations             # what there is"
)]
pub(crate) struct ApiArgs {
    /// GET or POST; may be left out
    #[arg(value_name = "METHOD")]
    first: String,
    /// /v1/…
    #[arg(value_name = "PATH")]
    second: Option<String>,
    /// JSON body, or - for standard input; makes it a POST
    #[arg(long, short)]
    data: Option<String>,
}

/// What programs need to know: operations, error codes, commands
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing schema\n  homing schema errors\n  homing schema commands --json"
)]
pub(crate) struct SchemaArgs {
    /// Only this part
    #[arg(value_enum)]
    part: Option<Part>,
}

/// A part of `homing schema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    // The local API.
    Operations,
    // Error codes with exit code and HTTP status.
    Errors,
    // Commands and their arguments.
    Commands,
}

pub(crate) async fn netcheck(session: &Session, args: &NetcheckArgs) -> Outcome {
    let check = session.client()?.netcheck(args.peer.as_deref()).await?;
    session.out.result(&check, Vec::new, || netcheck_text(&check));
    Ok(OK)
}

/// The longest label of a netcheck: `seen from outside`.
const NETCHECK_WIDTH: usize = 17;

fn netcheck_text(check: &Netcheck) -> String {
    let yes = |fact: Option<bool>| match fact {
        Some(true) => "yes",
        Some(false) => "no",
        None => "not known",
    };
    let direct: Vec<_> = check.direct.iter().map(ToString::to_string).collect();
    let mut pairs = vec![
        ("UDP over IPv4", yes(check.network.udp_v4).to_owned()),
        ("UDP over IPv6", yes(check.network.udp_v6).to_owned()),
        ("NAT", check.nat.clone()),
        ("seen from outside", check.global_v4.map_or_else(|| "–".to_owned(), |a| a.to_string())),
        ("addresses", direct.join(", ")),
    ];
    if let Some(v6) = check.global_v6 {
        pairs.insert(4, ("and over IPv6", v6.to_string()));
    }
    let mut text = fields_in(NETCHECK_WIDTH, &pairs);
    let mut relays = Table::new(&["RELAY", "STATE", "RTT"]);
    for link in &check.relays {
        let state = match (&link.error, link.connected) {
            (Some(error), _) => error.clone(),
            (None, true) => if link.home { "home" } else { "connected" }.to_owned(),
            (None, false) => "no answer".to_owned(),
        };
        let rtt = link.latency_ms.map(time::millis).unwrap_or_default();
        relays.row(vec![link.label.clone(), state, rtt]);
    }
    if !relays.is_empty() {
        text.push_str(&relays.render());
    }
    if let Some(peer) = &check.peer {
        let dash = || "–".to_owned();
        text.push_str(&format!("path with {}\n", peer.peer.label()));
        text.push_str(&fields_in(
            NETCHECK_WIDTH,
            &[
                ("path", words::path(&peer.path)),
                ("reason", peer.path.reason.clone().or(peer.why_code.clone()).unwrap_or_else(dash)),
                ("why", peer.path.reason_text.clone().or(peer.why.clone()).unwrap_or_else(dash)),
                ("try", peer.hint.clone().unwrap_or_else(dash)),
            ],
        ));
    }
    text
}

pub(crate) async fn events(session: &Session, args: &EventsArgs) -> Outcome {
    let mut events = session.client()?.events().await?;
    let deadline = session.timeout.map(|t| tokio::time::Instant::now() + t);
    let mut seen = 0;
    while args.count.is_none_or(|count| seen < count) {
        let next = match deadline {
            None => events.recv_event().await,
            Some(deadline) => tokio::time::timeout_at(deadline, events.recv_event())
                .await
                .map_err(|_| ApiError::new(Code::Timeout, "no further event in time"))?,
        };
        let Some(event) = next? else { break };
        seen += 1;
        match session.out.format.is_json() {
            true => session.out.line(&event),
            false => {
                let at = event.at.to_string();
                let who = event.peer.map(|p| format!(" {}", p.label())).unwrap_or_default();
                output::print(&format!("{at}  {:<18}{who}  {}\n", event.kind, event.message));
            }
        }
    }
    Ok(OK)
}

pub(crate) async fn metrics(session: &Session) -> Outcome {
    let text = session.client()?.metrics().await?;
    if session.out.format.is_json() {
        session.out.result(
            &json!({"schema": "homing.metrics/v1", "text": text}),
            Vec::new,
            String::new,
        );
    } else {
        output::print(&text);
    }
    Ok(OK)
}

pub(crate) async fn api(session: &Session, args: &ApiArgs) -> Outcome {
    let (method, path) = match &args.second {
        Some(path) => (args.first.to_ascii_uppercase(), path.as_str()),
        None => (if args.data.is_some() { "POST" } else { "GET" }.to_owned(), args.first.as_str()),
    };
    if !path.starts_with('/') {
        return Err(ApiError::new(Code::Usage, format!("{path:?} is no path"))
            .hint("homing schema operations lists them, e.g. /v1/info"));
    }
    if OPERATIONS
        .iter()
        .any(|o| o.path == path && matches!(o.kind, homing_api::operations::Kind::Events))
    {
        return Err(ApiError::new(Code::Usage, format!("{path} is a stream of events"))
            .hint("homing events, homing listen"));
    }
    let body = args.data.as_deref().map(body).transpose()?;
    let answer = session.client()?.raw(&method, path, body).await?;
    if answer.status >= 400 {
        return Err(serde_json::from_slice(&answer.body).unwrap_or_else(|_| {
            ApiError::new(Code::Internal, format!("the daemon answered HTTP {}", answer.status))
        }));
    }
    let text = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(value) => serde_json::to_string_pretty(&value).expect("it was JSON") + "\n",
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    output::print(&text);
    Ok(OK)
}

fn body(data: &str) -> Result<Vec<u8>, ApiError> {
    if data != "-" {
        return Ok(data.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|e| ApiError::new(Code::Usage, format!("standard input: {e}")))?;
    Ok(bytes)
}

pub(crate) fn schema(session: &Session, args: &SchemaArgs) -> Outcome {
    let wanted = |part| args.part.is_none_or(|p| p == part);
    let mut all = json!({"schema": "homing.schema/v1", "version": env!("CARGO_PKG_VERSION")});
    if wanted(Part::Operations) {
        all["operations"] = json!(OPERATIONS);
    }
    if wanted(Part::Errors) {
        all["errors"] = Code::ALL.iter().map(|c| error_facts(*c)).collect();
    }
    if wanted(Part::Commands) {
        all["commands"] = command_facts(&help::command());
    }
    match (session.out.format, args.part) {
        (output::Format::Auto | output::Format::Table, Some(part)) => output::print(&table(part)),
        _ => output::print(&(serde_json::to_string_pretty(&all).expect("plain values") + "\n")),
    }
    Ok(OK)
}

fn error_facts(code: Code) -> Value {
    json!({
        "code": code, "exit": code.exit(), "http_status": code.http_status(),
        "retryable": code.retryable(), "meaning": code.meaning(),
    })
}

/// The visible command tree with its arguments.
fn command_facts(command: &clap::Command) -> Value {
    let visible = command.get_subcommands().filter(|c| !c.is_hide_set());
    let arguments = command.get_arguments().filter(|a| !a.is_hide_set() && !a.is_global_set());
    let argument = |a: &clap::Arg| {
        json!({
            "name": a.get_long().map_or_else(|| a.get_id().to_string(), |l| format!("--{l}")),
            "help": a.get_help().map(ToString::to_string),
            "required": a.is_required_set(),
        })
    };
    json!({
        "name": command.get_name(),
        "about": command.get_about().map(ToString::to_string),
        "arguments": arguments.map(argument).collect::<Vec<_>>(),
        "commands": visible.map(command_facts).collect::<Vec<_>>(),
    })
}

fn table(part: Part) -> String {
    let (headings, rows): (&[&'static str], Vec<Vec<String>>) = match part {
        Part::Operations => (&["METHOD", "PATH", "RESPONSE", "WHAT IT DOES"], operation_rows()),
        Part::Errors => (&["CODE", "EXIT", "HTTP", "RETRY", "MEANING"], error_rows()),
        Part::Commands => (&["COMMAND", "WHAT IT DOES"], command_rows(&help::command(), "homing")),
    };
    let mut table = Table::new(headings);
    rows.into_iter().for_each(|row| table.row(row));
    table.render()
}

fn operation_rows() -> Vec<Vec<String>> {
    let row = |o: &homing_api::Operation| {
        [o.method, o.path, o.response, o.summary].map(str::to_owned).to_vec()
    };
    OPERATIONS.iter().map(row).collect()
}

fn error_rows() -> Vec<Vec<String>> {
    let retry = |c: &Code| if c.retryable() { "yes" } else { "no" }.to_owned();
    let row = |c: &Code| {
        let (exit, http) = (c.exit().to_string(), c.http_status().to_string());
        vec![c.to_string(), exit, http, retry(c), c.meaning().to_owned()]
    };
    Code::ALL.iter().map(row).collect()
}

fn command_rows(command: &clap::Command, path: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        rows.push(vec![path.clone(), about]);
        rows.extend(command_rows(sub, &path));
    }
    rows
}
