//! `homing publish` and `homing ref`: mutable references that do not go dark.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::references::{PublishReference, Reference, ReferenceResolution, ResolveReference};
use homing_api::{ApiError, Code};

use super::content::whole_path;
use super::{OK, Outcome};
use crate::render::time::parse_duration;
use crate::render::{Table, fields, time};
use crate::session::Session;

/// Point a reference of this agent somewhere
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing publish planner/checkpoint bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku\n  homing publish models/current /ipfs/bafkqaaa --keepers beta,gamma\n  homing publish planner/checkpoint bafkqaaa --lifetime 30d --json\n  homing publish planner/checkpoint --file model.bin     # others: homing fetch AGENT/planner/checkpoint -o model.bin"
)]
pub(crate) struct PublishArgs {
    /// A path of words: a-z, 0-9 and . _ -, with / between them
    name: String,
    /// A CID, an IPNS name, or a path that begins with /
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    value: Option<String>,
    /// Point it to this file: a copy is kept and served, others get it with homing fetch
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The record is valid so long without a renewal [default: 7d]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    lifetime: Option<Duration>,
    /// Readers may keep it so long without asking [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Publish in the owner's place, with what homing ref delegate wrote there
    #[arg(long, value_name = "FILE", conflicts_with = "keepers")]
    delegation: Option<PathBuf>,
    /// Ask these trusted peers to keep it alive while this agent is away
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    keepers: Option<Vec<String>>,
}

/// References: list, history, renew, withdraw, export, delegate, keep
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing ref list\n  homing ref keep agent-b/planner/checkpoint"
)]
pub(crate) struct RefArgs {
    #[command(subcommand)]
    command: RefCommand,
}

#[derive(Debug, Subcommand)]
enum RefCommand {
    /// Own references, and those kept for others, with the life that is left
    #[command(after_help = "Examples:\n  homing ref list\n  homing ref list --json")]
    List,
    /// What a reference of this agent pointed to
    #[command(
        after_help = "Examples:\n  homing ref history planner/checkpoint\n  homing ref history planner/checkpoint --json"
    )]
    History {
        /// Its name
        name: String,
    },
    /// Sign and announce a reference anew now; the daemon does so by itself
    #[command(
        after_help = "Examples:\n  homing ref renew planner/checkpoint\n  homing ref renew planner/checkpoint --json"
    )]
    Renew {
        /// Its name
        name: String,
    },
    /// Take a reference back for good: its key is not used again
    #[command(
        after_help = "Examples:\n  homing ref withdraw planner/checkpoint\n  homing ref withdraw planner/checkpoint --json"
    )]
    Withdraw {
        /// Its name
        name: String,
    },
    /// Write the signed IPNS record, for any IPNS tool
    #[command(
        after_help = "Examples:\n  homing ref export planner/checkpoint --to checkpoint.ipns-record\n  homing ref export planner/checkpoint --json     # base64, with the owner's statement about the name"
    )]
    Export {
        /// NAME, AGENT/NAME or k51…
        reference: String,
        /// File to write; it must not exist
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Let another agent publish this one reference: writes its key to a file
    #[command(
        after_help = "Examples:\n  homing ref delegate planner/checkpoint --to planner.delegation\n  homing send agent-b --file planner.delegation\n  homing publish planner/checkpoint bafkqaaa --delegation planner.delegation     # there\n  homing ref withdraw planner/checkpoint     # takes it back"
    )]
    Delegate {
        /// Its name
        name: String,
        /// File to write, for you alone (0600); it must not exist
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Keep a reference of another agent alive while its owner is away
    #[command(
        after_help = "Examples:\n  homing ref keep agent-b/planner/checkpoint\n  homing ref keep agent-b/planner/checkpoint --stop"
    )]
    Keep {
        /// AGENT/NAME or k51…
        reference: String,
        /// Keep it no longer
        #[arg(long)]
        stop: bool,
    },
}

pub(crate) async fn publish(session: &Session, args: PublishArgs) -> Outcome {
    let value = match args.file {
        Some(file) => {
            let added = session.client()?.add_content(whole_path(&file)?).await?;
            added.cid.to_string()
        }
        None => args.value.unwrap_or_default(),
    };
    if let Some(file) = &args.delegation {
        let times = (args.lifetime, args.ttl);
        return super::delegation::publish(session, file, &args.name, &value, times).await;
    }
    let request = PublishReference {
        name: args.name,
        value,
        lifetime_s: args.lifetime.map(|d| d.as_secs()),
        ttl_s: args.ttl.map(|d| d.as_secs()),
        keepers: args.keepers,
    };
    let reference = session.client()?.publish_reference(&request).await?;
    show(session, &reference);
    Ok(OK)
}

pub(crate) async fn run(session: &Session, args: RefArgs) -> Outcome {
    let client = session.client()?;
    match args.command {
        RefCommand::List => list(session).await,
        RefCommand::History { name } => history(session, &name).await,
        RefCommand::Renew { name } => {
            show(session, &client.renew_reference(&name).await?);
            Ok(OK)
        }
        RefCommand::Withdraw { name } => {
            let reference = client.withdraw_reference(&name).await?;
            let text =
                || format!("{name} is withdrawn; published anew, it has another IPNS name\n");
            session.out.result(&reference, || vec![name.clone()], text);
            Ok(OK)
        }
        RefCommand::Export { reference, to } => export(session, &reference, to).await,
        RefCommand::Delegate { name, to } => super::delegation::delegate(session, &name, &to).await,
        RefCommand::Keep { reference, stop } => {
            let done = client.keep_reference(&reference, !stop).await?;
            let text = match (stop, done.changed) {
                (false, _) => format!("{reference} is kept alive here, as its owner signs it\n"),
                (true, true) => format!("{reference} is no longer kept\n"),
                (true, false) => format!("{reference} was not kept\n"),
            };
            session.out.result(&done, || vec![reference.clone()], || text);
            Ok(OK)
        }
    }
}

/// `homing resolve` of something that is a reference.
pub(crate) async fn resolve(session: &Session, what: &str) -> Outcome {
    let timeout_ms = u64::try_from(session.answer_timeout().as_millis()).unwrap_or(u64::MAX);
    let request = ResolveReference { reference: what.to_owned(), timeout_ms };
    let found = session.client()?.resolve_reference(&request).await?;
    session.out.result(&found, || vec![found.value.clone()], || resolved(&found));
    Ok(OK)
}

fn resolved(found: &ReferenceResolution) -> String {
    let owner = found.owner.as_ref().map_or_else(
        || "– (a plain IPNS record)".to_owned(),
        |owner| format!("{}  ✓ signed statement about the name", owner.label()),
    );
    let peers: Vec<_> = found.peers.iter().map(homing_api::peers::PeerSummary::label).collect();
    let mut by = vec![found.layer.clone()];
    if found.replicas > 0 {
        by.push(format!("{} of {} replicas agree", found.agreed, found.replicas));
    }
    if !peers.is_empty() {
        by.push(format!("told by {}", peers.join(", ")));
    }
    by.push(time::millis(found.elapsed_ms));
    fields(&[
        ("value", found.value.clone()),
        ("IPNS name", found.ipns.clone()),
        ("owner", owner),
        ("sequence", found.sequence.to_string()),
        ("valid", format!("✓ signature, {}", time::left(found.expires))),
        ("found", by.join(", ")),
    ])
}

fn show(session: &Session, reference: &Reference) {
    let dash = || "–".to_owned();
    let keeper = |k: &homing_api::references::Keeper| match k.holds_until {
        Some(until) => format!("{} ({})", k.peer.label(), time::left(until)),
        None if !k.trusted => {
            format!("{0} (not trusted, so not asked: homing handshake {0})", k.peer.label())
        }
        None => format!("{} (asked, has not answered yet)", k.peer.label()),
    };
    let keepers: Vec<_> = reference.keepers.iter().map(keeper).collect();
    let away = "nobody: it is dark once the DHT's copies are gone; --keepers PEER asks somebody";
    let text = || {
        fields(&[
            ("reference", reference.reference.clone()),
            ("value", reference.value.clone().unwrap_or_else(dash)),
            ("IPNS name", reference.ipns.clone().unwrap_or_else(dash)),
            ("sequence", reference.sequence.map_or_else(dash, |s| s.to_string())),
            ("valid", reference.expires.map_or_else(dash, time::left)),
            ("kept by", if keepers.is_empty() { away.to_owned() } else { keepers.join(", ") }),
        ])
    };
    session.out.result(reference, || vec![reference.ipns.clone().unwrap_or_default()], text);
}

async fn list(session: &Session) -> Outcome {
    let list = session.client()?.references().await?;
    let names = || list.references.iter().map(|r| r.reference.clone()).collect();
    let text = || {
        let mut table = Table::new(&["REFERENCE", "STATE", "LEFT", "SEQUENCE", "VALUE", "KEPT BY"]);
        for r in &list.references {
            let held = r.keepers.iter().filter(|k| k.holds_until.is_some()).count();
            let kept = match (r.own, r.replicas) {
                (false, _) => "this agent".to_owned(),
                (true, Some(n)) => format!("{held} keepers, {n} replicas"),
                (true, None) => format!("{held} keepers"),
            };
            table.row(vec![
                r.reference.clone(),
                r.state.as_str().to_owned(),
                time::short(Duration::from_secs(r.remaining_s)),
                r.sequence.map(|s| s.to_string()).unwrap_or_default(),
                r.value.clone().unwrap_or_default(),
                kept,
            ]);
        }
        if table.is_empty() { "no references\n".to_owned() } else { table.render() }
    };
    session.out.result(&list, names, text);
    Ok(OK)
}

async fn history(session: &Session, name: &str) -> Outcome {
    let history = session.client()?.reference_history(name).await?;
    let values = || history.versions.iter().map(|v| v.value.clone()).collect();
    let text = || {
        let mut table = Table::new(&["SEQUENCE", "PUBLISHED", "VALUE"]);
        for v in &history.versions {
            let value = if v.withdrawn { "withdrawn".to_owned() } else { v.value.clone() };
            table.row(vec![v.sequence.to_string(), v.published.to_string(), value]);
        }
        table.render()
    };
    session.out.result(&history, values, text);
    Ok(OK)
}

async fn export(session: &Session, reference: &str, to: Option<PathBuf>) -> Outcome {
    let record = session.client()?.export_reference(reference).await?;
    if let Some(path) = &to {
        let bytes = data_encoding::BASE64.decode(record.record.as_bytes());
        let bytes = bytes.map_err(|e| ApiError::new(Code::Internal, e.to_string()))?;
        write_new(path, &bytes)?;
    }
    let text = || match &to {
        Some(path) => format!("{}\n", path.display()),
        None => fields(&[("IPNS name", record.ipns.clone()), ("record", record.record.clone())]),
    };
    session.out.result(&record, || vec![record.record.clone()], text);
    Ok(OK)
}

fn write_new(path: &std::path::Path, bytes: &[u8]) -> Result<(), ApiError> {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|e| {
        ApiError::new(Code::Usage, format!("{} cannot be written", path.display()))
            .why(e.to_string())
            .hint("name a file that does not exist yet")
    })
}
