//! One file per command group: its arguments, what it asks the daemon, how the answer looks.

pub(crate) mod a2a;
pub(crate) mod audit;
pub(crate) mod card;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod content;
pub(crate) mod daemon;
pub(crate) mod daemon_run;
pub(crate) mod delegation;
pub(crate) mod demo;
pub(crate) mod dht;
pub(crate) mod dns;
pub(crate) mod doctor;
pub(crate) mod expose;
pub(crate) mod fetch;
pub(crate) mod find;
pub(crate) mod forward;
pub(crate) mod gossip;
pub(crate) mod info;
pub(crate) mod key;
pub(crate) mod lab;
pub(crate) mod listen;
pub(crate) mod mcp;
pub(crate) mod name;
pub(crate) mod ping;
pub(crate) mod record;
pub(crate) mod recv;
pub(crate) mod reference;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod resolve;
mod role;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod streams;
pub(crate) mod tools;
pub(crate) mod topic;
pub(crate) mod trust;
pub(crate) mod tunnel;
pub(crate) mod url;
pub(crate) mod wait;

use homing_api::{ApiError, Code};

use crate::args::Command;
use crate::output;
use crate::session::Session;

/// An exit code, or the error that decides it.
pub(crate) type Outcome = Result<u8, ApiError>;

/// Everything went as asked.
pub(crate) const OK: u8 = 0;

/// Runs one command.
pub(crate) async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Up(args) => start::up(session, &args).await,
        Command::Down(args) => daemon::stop(session, &args).await,
        Command::Info(args) => info::run(session, &args).await,
        Command::Status(args) => status::run(session, &args).await,
        Command::Wait(args) => wait::run(session, &args).await,
        Command::Doctor(args) => doctor::run(session, &args).await,
        Command::Demo(args) => demo::run(session, &args).await,
        Command::Daemon(args) => daemon::run(session, args).await,
        Command::Key(args) => key::run(session, args),
        Command::Name(args) => name::run(session, args).await,
        Command::Find(args) => find::run(session, &args).await,
        Command::Resolve(args) => resolve::run(session, &args).await,
        Command::Publish(args) => reference::publish(session, args).await,
        Command::Ref(args) => reference::run(session, args).await,
        Command::Card(args) => card::run(session, args).await,
        Command::Record(args) => record::run(session, args),
        Command::Fetch(args) => fetch::run(session, &args).await,
        Command::Content(args) => content::run(session, args).await,
        Command::Dht(args) => dht::run(session, args).await,
        Command::Gossip(args) => gossip::run(session, args).await,
        Command::Handshake(args) => trust::handshake(session, &args).await,
        Command::Pending(_) => trust::pending(session).await,
        Command::Approve(args) => trust::approve(session, &args).await,
        Command::Reject(args) => trust::reject(session, &args).await,
        Command::Trust(args) => trust::run(session, args).await,
        Command::Untrust(args) => trust::revoke(session, &args).await,
        Command::Ping(args) => ping::run(session, &args).await,
        Command::Connect(args) => streams::connect(session, &args).await,
        Command::Listen(args) => listen::listen(session, &args).await,
        Command::Send(args) => send::send(session, &args).await,
        Command::Outbox(args) => send::outbox(session, &args).await,
        Command::Recv(args) => recv::run(session, &args).await,
        Command::Topic(args) => topic::run(session, args).await,
        Command::Expose(args) => expose::run(session, args).await,
        Command::Forward(args) => forward::run(session, &args).await,
        Command::A2a(args) => a2a::run(session, args).await,
        Command::Mcp(args) => mcp::run(session, args).await,
        Command::Run(args) => run::run(session, &args).await,
        Command::Url(args) => url::run(session, &args).await,
        Command::Audit(args) => audit::run(session, args).await,
        Command::Verify(args) => audit::verify(session, &args).await,
        Command::Netcheck(args) => tools::netcheck(session, &args).await,
        Command::Relay(args) => relay::run(session, args).await,
        Command::Registry(args) => registry::run(session, args).await,
        Command::Dns(args) => dns::run(session, args).await,
        Command::Events(args) => tools::events(session, &args).await,
        Command::Metrics(_) => tools::metrics(session).await,
        Command::Lab(args) => lab::run(session, args).await,
        Command::Config(args) => config::run(session, args),
        Command::Api(args) => tools::api(session, &args).await,
        Command::Schema(args) => tools::schema(session, &args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Says so when a peer is not known here: the name may be misspelt, or whoever bears it come later.
pub(crate) async fn warn_if_unknown(session: &Session, peer: &str) {
    let Ok(client) = session.client() else { return };
    let Err(error) = client.status(Some(peer)).await else { return };
    if error.code == Code::NotFound {
        let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        output::say(&format!("warning: {peer} is not known here{hint}"));
    }
}
