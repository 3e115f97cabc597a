//! The command tree: what clap parses, completions complete and `homing schema` lists.
//!
//! One variant per command; the arguments of each group live with its code in
//! [`crate::commands`]. Every `--help` ends with examples; a test parses each of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{EnumValueParser, TypedValueParser, ValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    a2a, audit, card, completions, config, content, daemon, demo, dht, dns, doctor, expose, fetch,
    find, forward, gossip, info, key, lab, listen, mcp, name, ping, record, recv, reference,
    registry, relay, resolve, run, send, start, status, streams, tools, topic, trust, url, wait,
};
use crate::output::Format;

/// One permanent address for every agent, derived from its key, wherever it runs today.
#[derive(Debug, Parser)]
#[command(name = "homing", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// How results are printed
    #[arg(long, short, global = true, default_value = "auto", value_name = "FORMAT", value_parser = output_format())]
    output: OutputWord,
    /// Short for --output json
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The agent's directory [default: $HOMING_HOME, else ~/.homing]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Give up after this long: 500ms, 10s, 5m, 2h (exit 6)
    #[arg(long, global = true, value_name = "DURATION", value_parser = crate::render::time::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// When to use colour; auto: on a terminal, unless NO_COLOR or TERM=dumb says no
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// What follows `--output`: a format, or a file for the one command that writes one, or TOML for the one that has it.
#[derive(Clone, Debug)]
pub(crate) enum OutputWord {
    Format(Format),
    File(PathBuf),
    Toml,
}

fn output_format() -> ValueParser {
    EnumValueParser::<Format>::new().map(OutputWord::Format).into()
}

impl Global {
    /// The format that was asked for.
    pub(crate) fn format(&self) -> Format {
        match self.output {
            _ if self.json => Format::Json,
            OutputWord::Format(format) => format,
            OutputWord::File(_) | OutputWord::Toml => Format::Auto,
        }
    }

    /// Whether errors are JSON too.
    pub(crate) fn error_format(&self) -> Format {
        self.format()
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    // On a terminal, unless NO_COLOR or TERM=dumb says no.
    #[default]
    Auto,
    // Always.
    Always,
    // Never.
    Never,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    // START
    Up(start::StartArgs),
    Down(daemon::StopArgs),
    Info(info::InfoArgs),
    #[command(alias = "peers")]
    Status(status::StatusArgs),
    Wait(wait::WaitArgs),
    Doctor(doctor::DoctorArgs),
    Demo(demo::DemoArgs),
    Daemon(daemon::DaemonArgs),
    // IDENTITY
    Key(key::KeyArgs),
    Name(name::NameArgs),
    // DISCOVERY
    Find(find::FindArgs),
    #[command(alias = "lookup")]
    Resolve(resolve::ResolveArgs),
    Publish(reference::PublishArgs),
    Ref(reference::RefArgs),
    Dht(dht::DhtArgs),
    Gossip(gossip::GossipArgs),
    Card(card::CardArgs),
    Record(record::RecordArgs),
    Fetch(fetch::FetchArgs),
    Content(content::ContentArgs),
    // TRUST
    Handshake(trust::HandshakeArgs),
    Pending(trust::PendingArgs),
    Approve(trust::ApproveArgs),
    Reject(trust::RejectArgs),
    Trust(trust::TrustArgs),
    #[command(hide = true)]
    Untrust(trust::RevokeArgs),
    // CONNECT
    Ping(ping::PingArgs),
    Connect(streams::ConnectArgs),
    Listen(listen::ListenArgs),
    Send(send::SendArgs),
    Outbox(send::OutboxArgs),
    #[command(alias = "inbox")]
    Recv(recv::RecvArgs),
    Topic(topic::TopicArgs),
    Expose(expose::ExposeArgs),
    Forward(forward::ForwardArgs),
    Run(run::RunArgs),
    Url(url::UrlArgs),
    // AGENTS
    Mcp(mcp::McpArgs),
    #[command(name = "a2a")]
    A2a(a2a::A2aArgs),
    // PROOF
    Audit(audit::AuditArgs),
    Verify(audit::VerifyArgs),
    // NETWORK
    Netcheck(tools::NetcheckArgs),
    Relay(relay::RelayArgs),
    Registry(registry::RegistryArgs),
    Dns(dns::DnsArgs),
    Events(tools::EventsArgs),
    Metrics(tools::MetricsArgs),
    Lab(lab::LabArgs),
    // TOOLS
    Config(config::ConfigArgs),
    Api(tools::ApiArgs),
    Schema(tools::SchemaArgs),
    Completions(completions::CompletionsArgs),
}

/// The groups of `homing --help`, in order.
pub(crate) const GROUPS: &[(&str, &[&str])] = &[
    ("Start", &["up", "down", "info", "status", "wait", "doctor", "demo", "daemon"]),
    ("Identity", &["key", "name"]),
    (
        "Discovery",
        &[
            "find", "resolve", "publish", "ref", "fetch", "content", "dht", "gossip", "card",
            "record",
        ],
    ),
    ("Trust", &["handshake", "pending", "approve", "reject", "trust"]),
    (
        "Connect",
        &[
            "ping", "connect", "listen", "expose", "forward", "run", "url", "send", "outbox",
            "recv", "topic",
        ],
    ),
    ("Agents", &["mcp", "a2a"]),
    ("Proof", &["audit", "verify"]),
    ("Network", &["netcheck", "relay", "registry", "dns", "events", "metrics", "lab"]),
    ("Tools", &["config", "api", "schema", "completions"]),
];

impl Command {
    /// Whether this process becomes a node, which wants several threads.
    pub(crate) fn serves(&self) -> bool {
        match self {
            Command::Daemon(daemon) => daemon.serves(),
            Command::Relay(_) | Command::Registry(_) => true,
            _ => false,
        }
    }
}
