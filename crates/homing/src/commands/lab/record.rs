//! `homing lab record`: joins and leaves of a live fleet, from its daemons, as a log for `simulate --events`.
//!
//! ```text
//! daemon ── /v1/events: peer_connected ──┐
//!        ── /v1/dht/peers, every 5 s ────┴─► Roster ─► FILE, one JSON object per line, on disk after every look
//! ```
//! The log is continued when it exists; a line that a crash cut off is removed. Daemons may come and go. A
//! daemon knows all of a fleet of some hundred agents, of a larger one only a part: name several.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use homing_api::dht::DhtPeerState;
use homing_api::{ApiError, Client, Code};
use homing_base::{NodeId, Wall};
use homing_node::clock;
use homing_node::home::Home;
use serde_json::json;

use super::super::{OK, Outcome};
use super::course::interrupted;
use super::roster::{Line, Roster};
use crate::output;
use crate::session::{Session, told};

/// Largest log, as `simulate --events` takes it.
const LOG_BYTES_MAX: u64 = homing_sim::lab::limits::LOG_BYTES_MAX;
/// Most daemons that are asked.
const DAEMONS_MAX: usize = 64;
/// A daemon that does not answer in this time is taken as down.
const ANSWER: Duration = Duration::from_secs(2);
/// A contact that answered within this time counts as heard now.
const FRESH: Duration = Duration::from_secs(90);

/// Log who joins and leaves a live fleet, for `homing lab simulate --events`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  homing lab record fleet.jsonl\n  homing lab record fleet.jsonl --for 24h\n  homing lab record fleet.jsonl --daemon /srv/agent-a --daemon /srv/agent-b"
)]
pub(crate) struct RecordArgs {
    /// The log; continued if it exists
    file: PathBuf,
    /// Homes of daemons to ask [default: this home's]; again for more
    #[arg(long, value_name = "HOME")]
    daemon: Vec<PathBuf>,
    /// Stop after this long; without it, at Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::render::time::parse_duration)]
    length: Option<Duration>,
    /// Between two looks at the routing tables
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = crate::render::time::parse_duration)]
    every: Duration,
    /// An agent that nobody heard for so long has left
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = crate::render::time::parse_duration)]
    patience: Duration,
}

struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    lines: usize,
}

pub(crate) async fn run(session: &Session, args: &RecordArgs) -> Outcome {
    let clients = clients(session, args)?;
    let silent = silent(&clients).await;
    if silent.len() == clients.len() {
        return Err(ApiError::new(Code::DaemonNotRunning, "none of the daemons answers")
            .hint("homing up, or name running ones with --daemon HOME"));
    }
    for socket in silent {
        output::say(&format!("note: no daemon answers at {}; it is asked again", socket.display()));
    }
    let (mut log, up, last) = open(&args.file)?;
    let mut roster = Roster::new(args.patience, up, last, clock::wall());
    look(&clients, &mut roster, &mut log).await?;
    let daemons = clients.len();
    output::say(&format!(
        "recording {} agents from {daemons} daemons to {}; Ctrl-C ends it",
        roster.len(),
        log.path.display()
    ));
    let length = [args.length, session.timeout].into_iter().flatten().min();
    let end = async {
        match length {
            Some(length) => tokio::time::sleep(length).await,
            None => std::future::pending().await,
        }
    };
    let stopped = interrupted();
    tokio::pin!(end, stopped);
    let (hear, mut heard) = tokio::sync::mpsc::channel(1_024);
    let listening: Vec<_> =
        clients.iter().map(|client| tokio::spawn(listen(client.clone(), hear.clone()))).collect();
    let mut looks = tokio::time::interval(args.every.max(Duration::from_millis(200)));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            () = &mut end => break Ok(()),
            _ = &mut stopped => break Ok(()),
            Some(peer) = heard.recv() => {
                let lines = roster.heard(clock::wall(), &[peer]);
                if let Err(error) = log.append(&lines) { break Err(error) }
            }
            _ = looks.tick() => if let Err(error) = look(&clients, &mut roster, &mut log).await { break Err(error) }
        }
    };
    listening.iter().for_each(tokio::task::JoinHandle::abort);
    outcome?;
    let answer = json!({
        "schema": "homing.lab_record/v1", "file": log.path, "lines": log.lines, "agents_up": roster.len(),
    });
    let text = || {
        format!(
            "{} lines in {}, {} agents up\nplay it: homing lab simulate --events {}\n",
            log.lines,
            log.path.display(),
            roster.len(),
            log.path.display()
        )
    };
    session.out.result(&answer, || vec![log.path.display().to_string()], text);
    Ok(OK)
}

fn clients(session: &Session, args: &RecordArgs) -> Result<Vec<Client>, ApiError> {
    if args.daemon.is_empty() {
        return Ok(vec![session.client()?.clone()]);
    }
    if args.daemon.len() > DAEMONS_MAX {
        let message = format!("{} daemons: at most {DAEMONS_MAX}", args.daemon.len());
        return Err(
            ApiError::new(Code::Usage, message).hint("a few that are up all the time see enough")
        );
    }
    // The same home under two names is one daemon.
    let homes: BTreeSet<PathBuf> =
        args.daemon.iter().map(|home| home.canonicalize().unwrap_or(home.clone())).collect();
    let client = |home: &PathBuf| Ok(Client::new(Home::at(home).socket().map_err(told)?));
    homes.iter().map(client).collect()
}

/// The sockets at which nobody answers now.
async fn silent(clients: &[Client]) -> Vec<&Path> {
    let mut silent = Vec::new();
    for client in clients {
        if !matches!(tokio::time::timeout(ANSWER, client.info()).await, Ok(Ok(_))) {
            silent.push(client.socket());
        }
    }
    silent
}

/// Whom the daemons hear now; `None`: none of them answers.
async fn ask(clients: &[Client]) -> Option<Vec<NodeId>> {
    let mut seen = BTreeSet::new();
    for client in clients {
        let asked = async { Ok::<_, ApiError>((client.info().await?, client.dht_peers().await?)) };
        let Ok(Ok((info, peers))) = tokio::time::timeout(ANSWER, asked).await else { continue };
        seen.insert(info.node_id);
        let now = clock::wall();
        let there = peers.peers.into_iter().filter(|p| {
            p.linked || (p.state == DhtPeerState::Good && now.since(p.heard.0) < FRESH)
        });
        seen.extend(there.map(|p| p.peer.node_id));
    }
    (!seen.is_empty()).then(|| seen.into_iter().collect())
}

/// One look at the fleet, and what follows from it on disk.
async fn look(clients: &[Client], roster: &mut Roster, log: &mut Log) -> Result<(), ApiError> {
    let seen = ask(clients).await;
    let now = clock::wall();
    let mut lines = roster.heard(now, seen.as_deref().unwrap_or_default());
    lines.extend(roster.looked(now, seen.is_some()));
    log.append(&lines)
}

/// Hears of connections at once; comes back when the daemon does.
async fn listen(client: Client, hear: tokio::sync::mpsc::Sender<NodeId>) {
    loop {
        if let Ok(mut events) = client.events().await {
            while let Ok(Some(event)) = events.recv_event().await {
                let peer = event.peer.filter(|_| event.kind == "peer_connected");
                if let Some(peer) = peer
                    && hear.send(peer.node_id).await.is_err()
                {
                    return;
                }
            }
        }
        tokio::time::sleep(ANSWER).await;
    }
}

/// Opens the log at its end, without a line that was cut off, and says who was up and when it ended.
fn open(path: &Path) -> Result<(Log, Vec<NodeId>, Wall), ApiError> {
    let failed = |e: std::io::Error| {
        let code = if e.kind() == std::io::ErrorKind::PermissionDenied {
            Code::PermissionDenied
        } else {
            Code::NotFound
        };
        ApiError::new(code, format!("{}: {e}", path.display()))
            .hint("name a file in a directory that exists")
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(failed)?;
    if file.metadata().map_err(failed)?.len() >= LOG_BYTES_MAX {
        return Err(full(path));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut up = BTreeSet::new();
    let (mut last, mut lines) = (Wall(0), 0);
    for (nth, text) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
        let foreign = || {
            let message =
                format!("{}, line {}: not written by homing lab record", path.display(), nth + 1);
            ApiError::new(Code::ConfigInvalid, message).hint("name another file")
        };
        let line: Line = serde_json::from_slice(text).map_err(|_| foreign())?;
        let id: NodeId = line.agent.parse().map_err(|_| foreign())?;
        last = last.max(line.at.parse().map_err(|_| foreign())?);
        if line.event == "join" {
            up.insert(id)
        } else {
            up.remove(&id)
        };
        lines = nth + 1;
    }
    file.set_len(whole as u64).map_err(failed)?;
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    let log = Log { path: path.to_owned(), file, bytes: whole as u64, lines };
    Ok((log, up.into_iter().collect(), last))
}

fn full(path: &Path) -> ApiError {
    let message = format!("{} is full: {LOG_BYTES_MAX} bytes", path.display());
    ApiError::new(Code::DiskFull, message).hint("go on with another file")
}

impl Log {
    /// On disk when this returns.
    fn append(&mut self, lines: &[Line]) -> Result<(), ApiError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for line in lines {
            text.push_str(&serde_json::to_string(line).expect("a line is JSON"));
            text.push('\n');
        }
        if self.bytes + text.len() as u64 > LOG_BYTES_MAX {
            return Err(full(&self.path));
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written
            .map_err(|e| ApiError::new(Code::DiskFull, format!("{}: {e}", self.path.display())))?;
        self.bytes += text.len() as u64;
        self.lines += lines.len();
        Ok(())
    }
}
