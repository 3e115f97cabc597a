//! The daemon's own audit log in `$HOMING_HOME/audit`: what the core says happened, signed and durable.
//!
//! A log that cannot be opened or written stops nothing else: the daemon runs, `health` says so, and every fact
//! that is not in the log is counted. Not here: the log itself (`homing-audit`), what is logged
//! (`homing-core`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use homing_audit::{Cosigned, Log, LogError, Options, ReadError, Reader};
use homing_base::derived::Delegation;
use homing_base::{IdentityKey, Wall};
use homing_core::audit::entry::RoleChange;
use homing_core::audit::{Checkpoint, Consistency, Fact, SignedNote};
use homing_core::io::{LogNews, LogOrder};
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use crate::config::AuditConfig;
use crate::health::Health;

/// The log of one node.
pub(crate) struct AuditRoom {
    log: Option<Log>,
    reader: Mutex<Option<Reader>>,
    dir: PathBuf,
    head: watch::Receiver<Option<SignedNote>>,
    /// Facts that are not in the log.
    missed: AtomicU64,
    health: Arc<Health>,
}

impl AuditRoom {
    /// Opens the log, or begins one.
    pub(crate) fn open(
        dir: PathBuf,
        config: &AuditConfig,
        identity: &IdentityKey,
        now: Wall,
        health: Arc<Health>,
    ) -> Arc<Self> {
        let (told, head) = watch::channel(None);
        let options = Options {
            held: true,
            bytes_max: config.bytes_max,
            told: Box::new(move |note| drop(told.send_replace(Some(note.clone())))),
        };
        let opened = config.enabled.then(|| Log::open(&dir, identity, now, options));
        let log = match opened.transpose() {
            Ok(log) => log,
            Err(error) => {
                warn!(%error, "the audit log cannot be opened");
                health.raise("audit_failed", error.to_string());
                None
            }
        };
        if let Some(log) = &log {
            info!(origin = log.keys().key().name, "audit log open");
        }
        let (reader, missed) = (Mutex::new(None), AtomicU64::new(0));
        Arc::new(Self { log, reader, dir, head, missed, health })
    }

    /// Puts a fact into the log; returns when it is durable, or could not be logged.
    pub(crate) async fn record(&self, time: Wall, fact: Fact) {
        let Some(log) = &self.log else { return };
        let kind = fact.kind();
        let (sender, acked) = oneshot::channel();
        log.record(time, fact, move |ack| drop(sender.send(ack)));
        match acked.await {
            Ok(Ok(ack)) => debug!(kind, index = ack.first, "audited"),
            Ok(Err(error)) => self.miss(&error),
            Err(_) => self.miss(&LogError::Failed { why: "its thread has ended".into() }),
        }
    }

    /// Logs the roles that this run begins or no longer has; `on` are all that it has. Those of the last run
    /// are in a file beside the log, because the log itself may be long.
    pub(crate) async fn record_roles(&self, time: Wall, on: &BTreeSet<&str>) {
        if self.log.is_none() {
            return;
        }
        let path = self.dir.join("roles");
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        let known: BTreeSet<&str> = known.lines().collect();
        for role in known.symmetric_difference(on) {
            let change = RoleChange { role: (*role).into(), on: on.contains(role) };
            self.record(time, Fact::Role(change)).await;
        }
        let text: String = on.iter().map(|role| format!("{role}\n")).collect();
        if *on != known
            && let Err(error) = std::fs::write(&path, text)
        {
            warn!(%error, "what roles were logged is not remembered: they are logged again");
        }
    }

    fn miss(&self, error: &LogError) {
        let missed = self.missed.fetch_add(1, Ordering::Relaxed) + 1;
        warn!(%error, missed, "a fact is not in the audit log");
        self.health.raise("audit_failed", format!("{error}; {missed} facts are missing from it"));
    }

    /// What the core is told at start; `None`: there is no log.
    pub(crate) fn opened(&self) -> Option<LogNews> {
        let log = self.log.as_ref()?;
        let (delegation, head) = (log.keys().delegation().clone(), log.opened_at().clone());
        Some(LogNews::Opened { delegation, head })
    }

    /// The newest checkpoint of this run, as it changes.
    pub(crate) fn head(&self) -> watch::Receiver<Option<SignedNote>> {
        self.head.clone()
    }

    /// Does what the core asks of the log; an answer, if there is one.
    pub(crate) fn perform(&self, order: LogOrder) -> Option<LogNews> {
        let log = self.log.as_ref()?;
        match order {
            LogOrder::Release => log.release(),
            LogOrder::Refuse(why) => {
                warn!(%why, "the audit log signs nothing");
                self.health.raise("audit_rolled_back", why.clone());
                log.refuse(why);
            }
            LogOrder::Prove { witness, old } => match self.prove(old) {
                Ok((head, proof)) => return Some(LogNews::Proof { witness, head, proof }),
                Err(error) => warn!(%error, "no proof for a witness"),
            },
            LogOrder::Cosigned(note, said) => self.keep_cosigned(&note, &said),
        }
        None
    }

    fn prove(&self, old: u64) -> Result<(SignedNote, Consistency), ReadError> {
        let mut guard = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reader = match guard.take() {
            Some(reader) => reader,
            None => Reader::open(&self.dir)?,
        };
        reader.refresh()?;
        let no_entry = ReadError::NoEntry { index: old, size: reader.size() };
        let head = reader.head().cloned().ok_or(no_entry)?;
        let size = Checkpoint::parse(&head.text).map_or(0, |head| head.size);
        let proof = reader.consistency(old, size)?;
        *guard = Some(reader);
        Ok((head, proof))
    }

    fn keep_cosigned(&self, note: &SignedNote, said: &[Delegation]) {
        debug!(witnesses = said.len(), "the audit log was cosigned");
        if let Err(error) = Cosigned::new(note, said).save(&self.dir) {
            self.health.raise("audit_failed", error.to_string());
        }
    }
}
