//! `homing record`: signed records without a daemon, for agents that only a registry knows.
//!
//! The daemon signs its own records; a record made here outranks them (its sequence is the time), so a
//! home whose daemon runs refuses to make one.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::{ApiError, Code, Stamp};
use homing_base::limits::{RECORD_BYTES_MAX, RECORD_LIFETIME_MAX};
use homing_base::record::CardRef;
use homing_base::{
    Address, AgentRecord, IdentityKey, InstanceId, Mono, Name, NodeId, Now, PublicKey, Record, Seq,
    Service, UnverifiedRecord, Wall,
};
use homing_node::{clock, identity_file};
use homing_registry::cards::{Card, WELL_KNOWN_PATH};
use homing_registry::proof::{Heartbeat, OwnerProof};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::card::{hex, identity, read, save};
use super::{OK, Outcome};
use crate::output;
use crate::render::{fields, time};
use crate::session::Session;

/// Signed records without a daemon: make, look at, withdraw
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing record new --name planner --to record.cose\n  homing record show record.cose\n  homing record withdraw --to gone.cose"
)]
pub(crate) struct RecordArgs {
    #[command(subcommand)]
    command: RecordCommand,
}

#[derive(Debug, Subcommand)]
enum RecordCommand {
    /// Sign a record
    #[command(
        after_help = "Examples:\n  homing record new --name planner --tag maps --to record.cose\n  homing record new --identity /mnt/keys/identity.json --card card.json --url https://routes.example.com/card.json --to record.cose"
    )]
    New(NewArgs),
    /// Decode a record and check its signature and lifetime
    #[command(
        after_help = "Examples:\n  homing record show record.cose\n  homing record show - --json < record.cose"
    )]
    Show {
        /// The record, or - for standard input
        file: PathBuf,
    },
    /// Sign a tombstone: this identity is gone until it says otherwise
    #[command(
        after_help = "Examples:\n  homing record withdraw --to gone.cose\n  homing record withdraw --identity /mnt/keys/identity.json --to gone.cose"
    )]
    Withdraw(SignArgs),
    /// Sign a heartbeat: this identity is alive now
    #[command(
        after_help = "Examples:\n  homing record heartbeat --to beat.cose\n  homing record heartbeat --identity /mnt/keys/identity.json --to beat.cose"
    )]
    Heartbeat(SignArgs),
    /// Sign a proof that an agent is this identity's, for the agent's card
    #[command(
        after_help = "Examples:\n  homing record vouch 3a91c277e04b1d9f026c8ae511d04e3a91c277e04b1d9f026c8ae511d04e0011\n  homing record vouch 3a91c277e04b1d9f026c8ae511d04e3a91c277e04b1d9f026c8ae511d04e0011 --identity owner.json --lifetime 720h"
    )]
    Vouch {
        /// The agent's node ID
        agent: NodeId,
        /// The name that the agent must claim, if it claims one
        #[arg(long)]
        name: Option<Name>,
        /// The owner's identity [default: identity.json in the home]
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// How long the proof lives
        #[arg(long, default_value = "2160h", value_parser = time::parse_duration, value_name = "DURATION")]
        lifetime: Duration,
    },
}

#[derive(Debug, Args)]
struct SignArgs {
    /// Whose [default: identity.json in the home]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Write it there [default: standard output]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct NewArgs {
    #[command(flatten)]
    sign: SignArgs,
    /// The name to claim
    #[arg(long)]
    name: Option<Name>,
    /// A word to be found by; may be repeated
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// A service it offers; may be repeated
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<Service>,
    /// The agent's card, whose digest the record shall name
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Where that card is served [default: through the agent's tunnel]
    #[arg(long, requires = "card")]
    url: Option<String>,
    /// How long the record lives
    #[arg(long, default_value = "24h", value_parser = time::parse_duration, value_name = "DURATION")]
    lifetime: Duration,
    /// The sequence of the newest record, if the clock may be behind it
    #[arg(long, default_value_t = 0, value_name = "SEQUENCE")]
    after: u64,
}

/// `homing.record/v1`.
#[derive(Debug, Serialize)]
struct RecordView {
    schema: &'static str,
    node_id: NodeId,
    address: Address,
    public_key: PublicKey,
    sequence: u64,
    issued: Stamp,
    expires: Stamp,
    valid: bool,
    withdrawn: bool,
    name: Option<Name>,
    tags: Vec<String>,
    services: Vec<Service>,
    card: Option<CardView>,
    bytes: usize,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Debug, Serialize)]
struct CardView {
    url: String,
    sha256: String,
}

pub(crate) fn run(session: &Session, args: RecordArgs) -> Outcome {
    match args.command {
        RecordCommand::New(args) => new(session, args),
        RecordCommand::Show { file } => show(session, &file),
        RecordCommand::Withdraw(args) => withdraw(session, &args),
        RecordCommand::Heartbeat(args) => heartbeat(session, &args),
        RecordCommand::Vouch { agent, name, identity: file, lifetime } => {
            vouch(session, agent, name, file.as_deref(), lifetime)
        }
    }
}

fn new(session: &Session, args: NewArgs) -> Outcome {
    let key = signer(session, &args.sign)?;
    let wall = clock::wall();
    let mut content = blank(&key, Seq(args.after).next(wall), wall);
    if args.lifetime > RECORD_LIFETIME_MAX {
        return Err(ApiError::new(Code::Usage, "a record lives at most 24 hours")
            .hint("sign a new one in time; a running daemon does so by itself"));
    }
    content.expires = wall.after(args.lifetime);
    content.name = args.name;
    content.tags = args.tags;
    content.services = args.services;
    if let Some(file) = &args.card {
        let card = Card::parse(&read(file)?).map_err(|e| {
            let message = format!("{} is no card", file.display());
            ApiError::new(Code::Usage, message).why(e.to_string()).hint("homing card lint")
        })?;
        let url = args.url.unwrap_or_else(|| WELL_KNOWN_PATH.to_owned());
        content.card = Some(CardRef { url, sha256: card.sha256() });
    }
    let record = content.sign(&key).map_err(|e| unsigned(&e))?;
    deliver(session, &record, args.sign.to.as_deref())
}

fn withdraw(session: &Session, args: &SignArgs) -> Outcome {
    let key = signer(session, args)?;
    let wall = clock::wall();
    let mut content = blank(&key, Seq(0).next(wall), wall);
    content.withdrawn = Some(true);
    let record = content.sign(&key).map_err(|e| unsigned(&e))?;
    deliver(session, &record, args.to.as_deref())
}

fn heartbeat(session: &Session, args: &SignArgs) -> Outcome {
    let key = identity(session, args.identity.as_deref())?;
    let bytes = Heartbeat::sign(&key, clock::wall());
    let Some(file) = &args.to else { return raw(&bytes) };
    save(file, &bytes)?;
    let file = file.display().to_string();
    let made = serde_json::json!({
        "schema": "homing.heartbeat/v1", "node_id": key.node_id(), "file": file,
    });
    session.out.result(&made, || vec![file.clone()], || format!("✓ {file}\n"));
    Ok(OK)
}

fn vouch(
    session: &Session,
    agent: NodeId,
    name: Option<Name>,
    file: Option<&Path>,
    lifetime: Duration,
) -> Outcome {
    let key = identity(session, file)?;
    let issued = clock::wall();
    let expires = issued.after(lifetime);
    let proof = OwnerProof { owner: key.public(), agent, name, issued, expires };
    let signed = proof
        .sign(&key)
        .map_err(|e| ApiError::new(Code::Usage, "the proof cannot be signed").why(e.to_string()))?;
    let text = data_encoding::BASE64URL_NOPAD.encode(&signed);
    let made = serde_json::json!({
        "schema": "homing.owner_proof/v1", "owner": key.node_id(), "agent": agent,
        "expires": Stamp(expires), "owner_proof": text,
    });
    session.out.result(&made, || vec![text.clone()], || format!("{text}\n"));
    Ok(OK)
}

fn show(session: &Session, file: &Path) -> Outcome {
    let bytes = read(file)?;
    let invalid = |code, e: &dyn std::fmt::Display| {
        ApiError::new(code, format!("{} does not verify", file.display())).why(e.to_string())
    };
    let record = UnverifiedRecord::parse(&bytes)
        .and_then(UnverifiedRecord::verify_signature)
        .map_err(|e| invalid(Code::SignatureInvalid, &e))?;
    let view = RecordView::of(&record, None);
    let valid = view.valid;
    session.out.result(&view, || vec![view.node_id.to_string()], || view.text());
    Ok(if valid { OK } else { Code::RecordExpired.exit() })
}

fn deliver(session: &Session, record: &Record, to: Option<&Path>) -> Outcome {
    let Some(file) = to else { return raw(record.bytes()) };
    save(file, record.bytes())?;
    let view = RecordView::of(record, Some(file.display().to_string()));
    session.out.result(&view, || vec![view.node_id.to_string()], || view.text());
    Ok(OK)
}

fn raw(bytes: &[u8]) -> Outcome {
    if std::io::stdout().is_terminal() {
        return Err(ApiError::new(Code::Usage, "this is binary and standard output is a terminal")
            .hint("--to FILE, or pipe it"));
    }
    output::print_bytes(bytes);
    Ok(OK)
}

/// The key, unless a daemon speaks for it here.
fn signer(session: &Session, args: &SignArgs) -> Result<IdentityKey, ApiError> {
    let key = identity(session, args.identity.as_deref())?;
    let own = identity(session, None).is_ok_and(|own| own.public() == key.public());
    if own && session.home.holder().is_some() {
        return Err(ApiError::new(Code::IdentityInUse, "a daemon speaks for this identity")
            .why("a record made here would outrank the daemon's, which would then fall silent")
            .hint(
                "the daemon publishes its record itself; homing down first, or another --identity",
            ));
    }
    Ok(key)
}

/// A record of an instance that nobody runs: such an agent is found, but not dialled.
fn blank(key: &IdentityKey, sequence: Seq, wall: Wall) -> AgentRecord {
    let nobody = InstanceId(identity_file::generate().public().0);
    AgentRecord::new(key.public(), nobody, sequence, wall)
}

fn unsigned(error: &homing_base::RecordError) -> ApiError {
    ApiError::new(Code::Usage, "such a record cannot be signed")
        .why(error.to_string())
        .hint(format!("a record has at most {RECORD_BYTES_MAX} bytes, 20 tags and 16 services"))
}

impl RecordView {
    fn of(record: &Record, file: Option<String>) -> Self {
        let now = Now { mono: Mono(0), wall: clock::wall() };
        let node_id = record.node_id();
        Self {
            schema: "homing.record/v1",
            node_id,
            address: Address::of(&node_id),
            public_key: record.public_key,
            sequence: record.sequence.0,
            issued: Stamp(record.issued),
            expires: Stamp(record.expires),
            valid: record.check_lifetime(now).is_ok(),
            withdrawn: record.is_withdrawn(),
            name: record.name.clone(),
            tags: record.tags.clone(),
            services: record.services.clone(),
            card: record
                .card
                .as_ref()
                .map(|card| CardView { url: card.url.clone(), sha256: hex(&card.sha256) }),
            bytes: record.bytes().len(),
            sha256: hex(&Sha256::digest(record.bytes())),
            file,
        }
    }

    fn text(&self) -> String {
        let list =
            |list: Vec<String>| if list.is_empty() { "–".to_owned() } else { list.join(", ") };
        let state = match (self.withdrawn, self.valid) {
            (true, _) => "withdrawn",
            (false, true) => "✓ signature  ✓ valid",
            (false, false) => "✓ signature  ✗ expired, or from the future",
        };
        let card = self.card.as_ref().map(|c| format!("{}  SHA-256 {}", c.url, c.sha256));
        fields(&[
            ("node ID", self.node_id.to_string()),
            ("address", self.address.to_string()),
            ("name", list(self.name.iter().map(ToString::to_string).collect())),
            ("state", state.to_owned()),
            ("sequence", self.sequence.to_string()),
            ("expires", self.expires.to_string()),
            ("tags", list(self.tags.clone())),
            ("services", list(self.services.iter().map(ToString::to_string).collect())),
            ("card", list(card.into_iter().collect())),
            ("bytes", self.bytes.to_string()),
        ])
    }
}
