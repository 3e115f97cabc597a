//! `homing audit` and `homing verify`: the log is read from its files, so that both work with a daemon and
//! without one, here and on an auditor's machine.

mod anchor;
mod deploy;
mod subjects;
mod view;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use homing_api::{ApiError, Code};
use homing_audit::{ReadError, Reader, ReviewError, Source, export, review};
use homing_base::Wall;
use homing_core::audit::limits::{BUNDLE_BYTES_MAX, TILE_WIDTH};
use homing_core::audit::{Fact, ProofBundle, SignedNote, UnverifiedEntry};
use homing_node::clock;

use super::{OK, Outcome};
use crate::output;
use crate::render::time;
use crate::session::Session;
use view::{EntryView, ReviewView, VerifiedView};

/// How often `-f` looks for new entries.
const FOLLOW: Duration = Duration::from_millis(200);

/// The audit log: what this agent did, signed, and provable to an outsider
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  homing audit log --kind trust --since 24h\n  homing audit verify\n  homing audit prove 17 --to entry-17.json"
)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// List entries, oldest first
    #[command(
        after_help = "Examples:\n  homing audit log\n  homing audit log --kind reference --since 1h\n  homing audit log -f -o jsonl"
    )]
    Log(LogArgs),
    /// Check every entry, every signature, every tile and the head
    #[command(
        after_help = "Examples:\n  homing audit verify\n  homing audit verify ./exported --json\n  homing audit verify ./exported --seen last-month/checkpoint"
    )]
    Verify {
        /// An exported log [default: this home's own log]
        dir: Option<PathBuf>,
        /// A checkpoint of it that somebody saw: the log must continue it; may be repeated
        #[arg(long, value_name = "FILE")]
        seen: Vec<PathBuf>,
    },
    /// Every entry about one node ID, reference, key or role
    #[command(
        after_help = "Examples:\n  homing audit history dht_server\n  homing audit history 3a91c277e0 --json\n  homing audit history planner/checkpoint"
    )]
    History {
        /// A node ID, an IPNS name, a key's purpose or a role, or the beginning of it; with a daemon also the name of a peer or of a
        /// reference
        subject: String,
    },
    /// Write the offline proof of one entry
    #[command(
        after_help = "Examples:\n  homing audit prove 17 --to entry-17.json\n  homing audit prove 17 | homing verify -"
    )]
    Prove {
        /// The entry's number, as `homing audit log` shows it
        id: u64,
        /// Where to write it [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// How far the log is anchored outside, anchoring it at once, and the contract for it
    #[command(
        arg_required_else_help = true,
        after_help = "Examples:\n  homing audit anchor deploy\n  homing audit anchor now\n  homing audit anchor status"
    )]
    Anchor {
        #[command(subcommand)]
        command: anchor::AnchorCommand,
    },
    /// Write the log as files that standard tools read (C2SP tlog-tiles)
    #[command(
        after_help = "Examples:\n  homing audit export ./log\n  homing audit export /srv/www/log"
    )]
    Export {
        /// The directory to write to
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct LogArgs {
    /// Only entries about this: as for `homing audit history`
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only entries of this kind
    #[arg(long, value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(Fact::KINDS))]
    kind: Option<String>,
    /// Only entries of the last while: 30m, 24h, 7d
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    since: Option<Duration>,
    /// Go on as entries come
    #[arg(long, short)]
    follow: bool,
}

/// Check an offline proof: no daemon and, without --rpc, no network
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing verify entry-17.json\n  homing audit prove 17 | homing verify - --json\n  homing verify entry-17.json --rpc https://rpc.example --contract 0x5fbdb2315678afecb367f032d93f642f64180aa3"
)]
pub(crate) struct VerifyArgs {
    /// The proof, or - for standard input
    bundle: PathBuf,
    #[command(flatten)]
    anchors: anchor::AuditorArgs,
}

pub(crate) async fn run(session: &Session, args: AuditArgs) -> Outcome {
    match args.command {
        AuditCommand::Log(args) => {
            let subjects = match &args.subject {
                Some(subject) => subjects::of(session, subject).await?,
                None => Vec::new(),
            };
            log(session, &args, &subjects)
        }
        AuditCommand::Verify { dir, seen } => verify_log(session, dir.as_deref(), &seen),
        AuditCommand::History { subject } => history(session, &subject).await,
        AuditCommand::Anchor { command } => anchor::run(session, &command).await,
        AuditCommand::Prove { id, to } => prove(session, id, to.as_deref()),
        AuditCommand::Export { dir } => export_log(session, &dir),
    }
}

fn reader(session: &Session) -> Result<Reader, ApiError> {
    Reader::open(&session.home.audit()).map_err(|error| told(&error))
}

fn told(error: &ReadError) -> ApiError {
    let text = error.to_string();
    match error {
        ReadError::Missing { .. } => ApiError::new(Code::NotFound, text)
            .hint("a daemon keeps one unless audit.enabled = false: homing up"),
        ReadError::NoEntry { .. } => ApiError::new(Code::NotFound, text).hint("homing audit log"),
        ReadError::Damaged { .. } => broken(text),
        _ => ApiError::new(Code::Internal, text),
    }
}

fn broken(text: String) -> ApiError {
    ApiError::new(Code::AuditChainBroken, text).hint(
        "do not repair it: keep the files as evidence, and ask the witnesses for what they saw",
    )
}

/// Everything about one subject; nothing at all is an error.
async fn history(session: &Session, subject: &str) -> Outcome {
    let wanted = subjects::of(session, subject).await?;
    let mut reader = reader(session)?;
    let mut found = Vec::new();
    for n in 0..reader.size().div_ceil(TILE_WIDTH) {
        let block = reader.block(n).map_err(|error| told(&error))?;
        for (index, bytes) in (n * TILE_WIDTH..).zip(&block) {
            let view = EntryView::read(index, bytes)
                .map_err(|error| broken(format!("entry {index}: {error}")))?;
            found.extend(subjects::holds(&wanted, &view.subject).then_some(view));
        }
    }
    if found.is_empty() {
        let why = "names of peers and of references are known to a running daemon; node IDs and IPNS names always";
        return Err(ApiError::new(Code::NotFound, format!("no entry is about {subject}"))
            .why(why)
            .hint("homing audit log --json shows every subject in full"));
    }
    view::list(session, found);
    Ok(OK)
}

fn log(session: &Session, args: &LogArgs, subjects: &[String]) -> Outcome {
    let mut reader = reader(session)?;
    let since = args.since.map(|since| Wall(since_ms(since)));
    let mut next = 0;
    let mut found = Vec::new();
    loop {
        while next < reader.size() {
            let block = reader.block(next / TILE_WIDTH).map_err(|error| told(&error))?;
            let skip = usize::try_from(next % TILE_WIDTH).unwrap_or_default();
            for bytes in block.iter().skip(skip) {
                let view = EntryView::read(next, bytes)
                    .map_err(|error| broken(format!("entry {next}: {error}")))?;
                next += 1;
                if !wanted(args, subjects, since, &view) {
                    continue;
                }
                match args.follow {
                    true => tell(session, &view),
                    false => found.push(view),
                }
            }
        }
        if !args.follow {
            break;
        }
        std::thread::sleep(FOLLOW);
        reader.refresh().map_err(|error| told(&error))?;
    }
    view::list(session, found);
    Ok(OK)
}

fn since_ms(since: Duration) -> u64 {
    clock::wall().0.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn wanted(args: &LogArgs, subjects: &[String], since: Option<Wall>, view: &EntryView) -> bool {
    args.kind.as_ref().is_none_or(|kind| view.kind() == kind)
        && (args.subject.is_none() || subjects::holds(subjects, &view.subject))
        && since.is_none_or(|since| view.wall() >= since)
}

fn tell(session: &Session, view: &EntryView) {
    if session.out.format.is_json() {
        session.out.line(view);
    } else {
        output::print(&format!("{}\n", view.line()));
    }
}

fn verify_log(session: &Session, dir: Option<&Path>, seen: &[PathBuf]) -> Outcome {
    let own = session.home.audit();
    let dir = dir.unwrap_or(&own);
    let seen = seen.iter().map(|file| checkpoint(file)).collect::<Result<Vec<_>, _>>()?;
    let mut source = Source::at(dir).map_err(|error| told(&error))?;
    let shows = !session.out.format.is_json();
    let begun = std::time::Instant::now();
    let mut shown = begun;
    let reviewed = review(&mut source, &seen, |progress| {
        if shows && shown.elapsed() > Duration::from_secs(1) {
            shown = std::time::Instant::now();
            output::say(&format!("{} of {} entries", progress.entries, progress.of));
        }
    });
    let reviewed = reviewed.map_err(|error| match error {
        ReviewError::Read(error) => told(&error),
        ReviewError::Seen(_) => ApiError::new(Code::Usage, error.to_string())
            .hint("--seen takes a checkpoint of this very log"),
        other => broken(other.to_string()),
    })?;
    let view = ReviewView::new(&reviewed, dir, begun.elapsed());
    session.out.result(&view, || vec![view.root.clone()], || view.text());
    Ok(OK)
}

fn checkpoint(file: &Path) -> Result<SignedNote, ApiError> {
    let unread = |why: String| {
        ApiError::new(Code::Usage, format!("{} is no checkpoint", file.display())).why(why)
    };
    let text = std::fs::read_to_string(file).map_err(|error| unread(error.to_string()))?;
    SignedNote::parse(&text).map_err(|error| unread(error.to_string()))
}

fn prove(session: &Session, id: u64, to: Option<&Path>) -> Outcome {
    let mut reader = reader(session)?;
    let mut bundle = reader.prove(id).map_err(|error| told(&error))?;
    anchor::add(session, &mut reader, id, &mut bundle)?;
    let json = serde_json::to_string_pretty(&bundle).expect("our types serialise") + "\n";
    match to {
        None => output::print(&json),
        Some(path) => {
            std::fs::write(path, &json).map_err(|error| {
                let text = format!("{} cannot be written: {error}", path.display());
                ApiError::new(Code::PermissionDenied, text)
            })?;
            let view = view::ProvenView::new(id, path, &bundle);
            session.out.result(&view, || vec![view.file.clone()], || view.text());
            output::say(&format!("check it: homing verify {}", path.display()));
        }
    }
    Ok(OK)
}

fn export_log(session: &Session, dir: &Path) -> Outcome {
    let mut reader = reader(session)?;
    let exported = export(&mut reader, dir).map_err(|error| told(&error))?;
    let view = view::ExportView::new(&exported, dir, reader.key());
    session.out.result(&view, || vec![view.dir.clone()], || view.text());
    Ok(OK)
}

/// `homing verify`.
pub(crate) async fn verify(session: &Session, args: &VerifyArgs) -> Outcome {
    let bytes = read_bundle(&args.bundle)?;
    let what = args.bundle.display();
    let invalid = |why: String| {
        ApiError::new(Code::AuditChainBroken, format!("{what} proves nothing"))
            .why(why)
            .hint("ask for the proof again: homing audit prove")
    };
    let bundle: ProofBundle =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    let verified = bundle.verify().map_err(|error| invalid(error.to_string()))?;
    let anchors = anchor::check(&args.anchors, &bundle, &verified).await?;
    let view = VerifiedView::new(&verified, anchors);
    session.out.result(&view, || vec![view.entry.subject.clone()], || view.text());
    Ok(OK)
}

fn read_bundle(file: &Path) -> Result<Vec<u8>, ApiError> {
    let failed = |error: std::io::Error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Usage,
        };
        ApiError::new(code, format!("{} cannot be read", file.display())).why(error.to_string())
    };
    let limit = BUNDLE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    match bytes.len() <= BUNDLE_BYTES_MAX {
        true => Ok(bytes),
        false => Err(ApiError::new(Code::Usage, "a proof has at most 1 MiB")),
    }
}

/// An entry that is shown, signature checked.
fn checked(
    bytes: &[u8],
) -> Result<homing_core::audit::SignedEntry, homing_core::audit::EntryError> {
    UnverifiedEntry::parse(bytes)?.verify()
}
