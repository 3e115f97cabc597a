//! `homing audit anchor`, and what `homing verify` says of the anchors in a proof.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use homing_anchor::tsa::authorities_from_pem;
use homing_anchor::{AnchorError, Evidence, Finding, Journal, Point, Waiting};
use homing_api::{ApiError, Code, Stamp};
use homing_audit::Reader;
use homing_base::{Wall, with_causes};
use homing_core::audit::bundle::{Anchor, Verified};
use homing_core::audit::{Checkpoint, Fact, ProofBundle};
use homing_node::anchoring::{self, Anchoring, AnchoringError, journal_path, update_of};
use homing_node::clock;
use homing_node::config::{self, AnchorConfig, AnchorKind};
use serde::Serialize;

use super::{broken, deploy, reader, told};
use crate::commands::config::resolved;
use crate::commands::{OK, Outcome};
use crate::render::{fields, time, words};
use crate::session::Session;

const NOT_ANCHORED: &str = "the audit log could not be anchored";
const NOTHING_LOST: &str = "nothing is lost, it is asked for again; see docs/anchoring.md";
/// Between two looks of `now --wait`, at least.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum AnchorCommand {
    /// What waits, what is anchored, what was sent
    #[command(
        after_help = "Examples:\n  homing audit anchor status\n  homing audit anchor status --json"
    )]
    Status,
    /// Look outside and send what waits, whatever audit.anchor.interval says; a running daemon does it by itself
    #[command(
        after_help = "Examples:\n  homing audit anchor now\n  homing audit anchor now --wait 20m --json"
    )]
    Now {
        /// Stay until everything is anchored and final, at most this long
        #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
        wait: Option<Duration>,
    },
    /// Put the contract on the configured chain, once per chain, and say its address
    #[command(
        after_help = "Examples:\n  homing audit anchor deploy\n  homing audit anchor deploy -o name"
    )]
    Deploy,
}

/// What an auditor knows besides the proof.
#[derive(Debug, Args)]
pub(super) struct AuditorArgs {
    /// Ask this chain node whether the anchors' blocks are part of its chain
    #[arg(long, value_name = "URL", requires = "contract")]
    rpc: Option<String>,
    /// The anchor contract that is expected
    #[arg(long, value_name = "ADDRESS", value_parser = config::contract)]
    contract: Option<[u8; 20]>,
    /// PEM certificates of time-stamp authorities, or of their issuers, that are trusted
    #[arg(long, value_name = "FILE")]
    tsa_ca: Option<PathBuf>,
}

pub(super) async fn run(session: &Session, command: &AnchorCommand) -> Outcome {
    let config = configured(session)?;
    let held = match command {
        AnchorCommand::Deploy => return deploy::run(session, &config).await,
        AnchorCommand::Now { wait } => now(session, &config, wait.unwrap_or_default()).await?,
        AnchorCommand::Status => None,
    };
    let view = StatusView::read(session, &config, held)?;
    session.out.result(&view, || vec![view.anchored.to_string()], || view.text());
    Ok(OK)
}

fn configured(session: &Session) -> Result<AnchorConfig, ApiError> {
    let config = resolved(session, &Vec::new())?;
    config.anchor.ok_or_else(|| {
        let text = "the audit log is not anchored: audit.anchor.kind is not set";
        ApiError::new(Code::ConfigInvalid, text)
            .hint("homing config set audit.anchor.kind evm, and the others: homing config list")
    })
}

/// Rounds until something was sent and nothing more can be, or until `wait` is over and everything is final. Why something waits
/// that could have been sent; `None`: it could not.
async fn now(
    session: &Session,
    config: &AnchorConfig,
    wait: Duration,
) -> Result<Option<String>, ApiError> {
    let mut reader = reader(session)?;
    let origin = reader.key().name.clone();
    let config = AnchorConfig { interval: Duration::ZERO, ..config.clone() };
    let opened = Anchoring::open(&config, session.home.dir(), &origin);
    let mut anchoring = opened.map_err(|error| failed(&error))?;
    let began = std::time::Instant::now();
    loop {
        let now_ms = clock::wall().0;
        reader.refresh().map_err(|error| told(&error))?;
        anchoring.feed(&mut reader, now_ms).map_err(|error| failed(&error))?;
        let round = anchoring.round(now_ms).await.map_err(|error| failed(&error))?;
        let waiting = anchoring.waiting().map_err(|error| failed(&error))?.entries;
        let goes_on = round.again.is_zero() || (round.sent == 0 && round.confirmed > 0);
        let is_over = began.elapsed() >= wait;
        if waiting == 0 || (is_over && !goes_on) {
            return Ok(round.held.filter(|_| waiting > 0).map(|hold| hold.to_string()));
        }
        tokio::time::sleep(round.again.clamp(LOOK_AGAIN, LOOK_AGAIN * 10)).await;
    }
}

/// What went wrong, and what to do: by whose fault it was.
pub(super) fn failed(error: &AnchoringError) -> ApiError {
    let (code, text, hint) = match error {
        AnchoringError::Unset(_) | AnchoringError::Both | AnchoringError::File { .. } => {
            (Code::ConfigInvalid, NOT_ANCHORED, "homing config list; see docs/anchoring.md")
        }
        AnchoringError::Log(error) => return told(error),
        AnchoringError::Anchor(error) => why_not(error),
        _ => (Code::Internal, NOT_ANCHORED, NOTHING_LOST),
    };
    ApiError::new(code, text).why(with_causes(error)).hint(hint)
}

fn why_not(error: &AnchorError) -> (Code, &'static str, &'static str) {
    match error {
        AnchorError::Away { .. } => (Code::PeerOffline, NOT_ANCHORED, NOTHING_LOST),
        AnchorError::Refused { .. } | AnchorError::Reverted { .. } => {
            (Code::AgentFailed, NOT_ANCHORED, "what it says is above; nothing is lost")
        }
        AnchorError::Setting(_) => {
            (Code::ConfigInvalid, NOT_ANCHORED, "homing config list; see docs/anchoring.md")
        }
        AnchorError::Fee { .. } | AnchorError::Gas { .. } => {
            (Code::LimitReached, NOT_ANCHORED, "wait, or raise that ceiling: homing config set")
        }
        AnchorError::Fork { .. } | AnchorError::Behind { .. } => (
            Code::AuditChainBroken,
            "another history of this log is anchored",
            "keep the files as evidence; see docs/audit.md",
        ),
        AnchorError::Evidence(_) => {
            (Code::AuditChainBroken, "the evidence of an anchor does not hold", NOTHING_LOST)
        }
        _ => (Code::Internal, NOT_ANCHORED, NOTHING_LOST),
    }
}

#[derive(Debug, Serialize)]
struct StatusView {
    schema: &'static str,
    kind: &'static str,
    mode: &'static str,
    anchored: u64,
    waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_since: Option<Stamp>,
    confirmed: u64,
    sent: u64,
    removed: u64,
    reverted: u64,
    duplicates: u64,
    /// Why what waits was not sent by `now`.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

impl StatusView {
    fn read(
        session: &Session,
        config: &AnchorConfig,
        held: Option<String>,
    ) -> Result<Self, ApiError> {
        let origin = reader(session)?.key().name.clone();
        let path = journal_path(session.home.dir(), config.kind);
        let updates = config.updates && config.kind == AnchorKind::Evm;
        let waiting = match path.exists() {
            false => Waiting::default(),
            true => Journal::open(&path, &origin)
                .and_then(|journal| journal.waiting(!updates))
                .map_err(|error| failed(&error.into()))?,
        };
        Ok(Self {
            schema: "homing.audit_anchor/v1",
            kind: if config.kind == AnchorKind::Evm { "evm" } else { "rfc3161" },
            mode: if updates { "update" } else { "checkpoint" },
            anchored: waiting.anchored,
            waiting: waiting.entries,
            waiting_since: waiting.since_ms.map(|ms| Stamp::from(Wall(ms))),
            confirmed: waiting.marks,
            sent: waiting.sent,
            removed: waiting.removed,
            reverted: waiting.reverted,
            duplicates: waiting.duplicates,
            held,
        })
    }

    fn text(&self) -> String {
        let what = if self.mode == "update" { "update" } else { "entry" };
        let held = self.held.as_ref().map(|why| format!("; held: {why}")).unwrap_or_default();
        let since = self.waiting_since.map(|since| format!(", since {since}")).unwrap_or_default();
        fields(&[
            ("anchor", format!("{}, {} mode", self.kind, self.mode)),
            ("anchored", words::count(self.anchored, what)),
            ("waiting", format!("{}{since}{held}", words::count(self.waiting, what))),
            ("anchors", format!("{} confirmed, {} sent", self.confirmed, self.sent)),
            (
                "trouble",
                format!(
                    "{} taken back by the chain, {} without effect, {} twice",
                    self.removed, self.reverted, self.duplicates
                ),
            ),
        ])
    }
}

/// Adds the anchors of entry `id` to its proof.
pub(super) fn add(
    session: &Session,
    reader: &mut Reader,
    id: u64,
    bundle: &mut ProofBundle,
) -> Result<(), ApiError> {
    anchoring::add_anchors(session.home.dir(), reader, id, bundle).map_err(|e| failed(&e))
}

/// One anchor of a proof, checked.
#[derive(Debug, Serialize)]
pub(super) struct AnchorView {
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    time: Stamp,
    by: String,
    /// What was checked, and what was not.
    checked: String,
}

impl AnchorView {
    pub(super) fn text(&self) -> String {
        format!("{} by {}, {}", self.time, self.by, self.checked)
    }
}

/// Checks every anchor offline, and on its chain if a node is named.
pub(super) async fn check(
    args: &AuditorArgs,
    bundle: &ProofBundle,
    verified: &Verified,
) -> Result<Vec<AnchorView>, ApiError> {
    let authorities = match &args.tsa_ca {
        Some(file) => trusted(file)?,
        None => Vec::new(),
    };
    if bundle.anchors.is_empty() && (args.rpc.is_some() || args.tsa_ca.is_some()) {
        let why = "it holds no anchor, and --rpc or --tsa-ca asks for one to be checked";
        return Err(ApiError::new(Code::NotFound, "this proof is anchored nowhere")
            .why(why)
            .hint("ask its owner to anchor and to prove again: homing audit anchor now, homing audit prove"));
    }
    let mut views = Vec::new();
    for (anchor, head) in bundle.anchors.iter().zip(&verified.anchored) {
        let wrong = |error: homing_anchor::EvidenceError| {
            broken(format!("the {} anchor: {error}", anchor.kind))
        };
        let finding = confirm(anchor, head, verified, &authorities).map_err(wrong)?;
        views.push(view(args, anchor, head, finding).await?);
    }
    Ok(views)
}

fn trusted(file: &Path) -> Result<Vec<Vec<u8>>, ApiError> {
    let unread = |why: String| {
        ApiError::new(Code::Usage, format!("{} cannot be used", file.display())).why(why)
    };
    let pem = std::fs::read(file).map_err(|error| unread(error.to_string()))?;
    authorities_from_pem(&pem).map_err(|error| unread(error.to_string()))
}

fn confirm(
    anchor: &Anchor,
    head: &Checkpoint,
    verified: &Verified,
    authorities: &[Vec<u8>],
) -> Result<Finding, homing_anchor::EvidenceError> {
    let evidence = Evidence::from_body(&anchor.kind, &anchor.body)?;
    let number = anchor.body.get("update").and_then(|number| number.parse().ok());
    match (number, &verified.entry.fact) {
        (Some(number), Fact::Reference(update)) => {
            evidence.confirm_update(&head.origin, number, &update_of(update))
        }
        _ => {
            let point = Point { size: head.size, root: head.root.0 };
            evidence.confirm_point(&head.origin, &point, authorities)
        }
    }
}

async fn view(
    args: &AuditorArgs,
    anchor: &Anchor,
    head: &Checkpoint,
    finding: Finding,
) -> Result<AnchorView, ApiError> {
    let (time_ms, by, checked) = match &finding {
        Finding::Chain { chain_id, contract, owner, block, block_hash, time_ms, .. } => {
            let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
            let by = format!(
                "account 0x{} through contract 0x{} in block {block} (0x{}) of chain {chain_id}",
                hex(owner),
                hex(contract),
                hex(block_hash)
            );
            (*time_ms, by, on_chain(args, &finding).await?)
        }
        Finding::Authority { name, trusted, time_ms, .. } => {
            let checked = match trusted {
                true => "signed by an authority that you named",
                false => "signature checked, the authority is not: name it with --tsa-ca",
            };
            (*time_ms, name.clone(), checked.to_owned())
        }
        _ => return Err(broken("an anchor of a type that is not known here".into())),
    };
    let time = Stamp::from(Wall(time_ms));
    Ok(AnchorView { kind: anchor.kind.clone(), size: head.size, time, by, checked })
}

/// What is known about the block.
async fn on_chain(args: &AuditorArgs, finding: &Finding) -> Result<String, ApiError> {
    if let (Some(expected), Finding::Chain { contract, .. }) = (args.contract, finding)
        && expected != *contract
    {
        return Err(broken("the anchor is of another contract than --contract".into()));
    }
    match (&args.rpc, args.contract) {
        (Some(rpc), Some(contract)) => asked(rpc, contract, finding).await,
        _ => {
            Ok("receipt checked against the block; that the chain has this block is not: --rpc"
                .into())
        }
    }
}

#[cfg(feature = "evm")]
async fn asked(rpc: &str, contract: [u8; 20], finding: &Finding) -> Result<String, ApiError> {
    use homing_anchor::evm::standing;
    let standing = standing(rpc, finding, contract).await.map_err(|error| match error {
        AnchorError::Evidence(error) => broken(error.to_string()),
        other => failed(&other.into()),
    })?;
    let depth = standing.depth;
    Ok(match standing.is_final {
        true => format!("on its chain, final, {depth} blocks deep"),
        false => format!("on its chain, not final yet, {depth} blocks deep"),
    })
}

#[cfg(not(feature = "evm"))]
async fn asked(_: &str, _: [u8; 20], _: &Finding) -> Result<String, ApiError> {
    Err(failed(&AnchorError::Evidence(homing_anchor::EvidenceError::NotBuilt).into()))
}
