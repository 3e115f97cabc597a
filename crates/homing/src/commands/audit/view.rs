//! What `homing audit` and `homing verify` print.

use std::path::Path;
use std::time::Duration;

use homing_api::Stamp;
use homing_audit::{Exported, Reviewed};
use homing_base::{NodeId, Wall};
use homing_core::audit::bundle::Verified;
use homing_core::audit::{EntryError, Fact, Hash, NoteKey, ProofBundle};
use serde::Serialize;

use super::anchor::AnchorView;
use crate::render::table::Table;
use crate::render::{fields, words};
use crate::session::Session;

/// One entry.
#[derive(Debug, Serialize)]
pub(super) struct EntryView {
    schema: &'static str,
    pub(super) index: u64,
    time: Stamp,
    pub(super) subject: String,
    author: NodeId,
    sequence: u64,
    leaf: Hash,
    fact: Fact,
    #[serde(skip)]
    wall: Wall,
}

impl EntryView {
    pub(super) fn read(index: u64, bytes: &[u8]) -> Result<Self, EntryError> {
        Ok(Self::of(index, &super::checked(bytes)?))
    }

    fn of(index: u64, entry: &homing_core::audit::SignedEntry) -> Self {
        Self {
            schema: "homing.audit_entry/v1",
            index,
            time: Stamp::from(entry.time),
            subject: entry.fact.subject(&entry.author),
            author: entry.author.node_id(),
            sequence: entry.sequence,
            leaf: entry.leaf(),
            fact: entry.fact.clone(),
            wall: entry.time,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        self.fact.kind()
    }

    pub(super) fn wall(&self) -> Wall {
        self.wall
    }

    /// A node ID in its short form; whatever else as it is.
    fn short_subject(&self) -> String {
        match self.subject.parse::<NodeId>() {
            Ok(id) => id.fmt_short(),
            Err(_) => self.subject.clone(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let (index, time) = (self.index.to_string(), self.wall.to_string());
        vec![index, time, self.kind().into(), self.short_subject(), self.what()]
    }

    /// For `-f`.
    pub(super) fn line(&self) -> String {
        self.cells().join("  ")
    }

    fn what(&self) -> String {
        match &self.fact {
            Fact::Record(change) if change.withdrawn == Some(true) => "withdrawn".into(),
            Fact::Record(change) => format!("endpoints {}", short(&change.new)),
            Fact::Reference(update) => {
                let before = update.previous.as_deref().unwrap_or("nothing");
                format!("{before} → {}", update.value)
            }
            Fact::Trust(change) => format!("{} → {}", change.from, change.to),
            Fact::Key(event) => event.event.clone(),
            Fact::Evidence(verdict) => format!("{}: {}", verdict.evidence, verdict.verdict),
            Fact::Role(change) => if change.on { "on" } else { "off" }.into(),
        }
    }
}

fn short(hash: &Hash) -> String {
    hash.to_string().chars().take(10).collect()
}

#[derive(Debug, Serialize)]
struct ListView {
    schema: &'static str,
    entries: Vec<EntryView>,
}

/// Prints entries: a table, one object, or one object per line.
pub(super) fn list(session: &Session, entries: Vec<EntryView>) {
    if session.out.format == crate::output::Format::Jsonl {
        entries.iter().for_each(|entry| session.out.line(entry));
        return;
    }
    let list = ListView { schema: "homing.audit_log/v1", entries };
    let names = || list.entries.iter().map(|e| e.index.to_string()).collect();
    session.out.result(&list, names, || table(&list.entries));
}

fn table(entries: &[EntryView]) -> String {
    if entries.is_empty() {
        return "no entries\n".into();
    }
    let mut table = Table::new(&["ENTRY", "TIME", "KIND", "SUBJECT", "WHAT"]);
    entries.iter().for_each(|entry| table.row(entry.cells()));
    table.render()
}

/// A review that found nothing wrong.
#[derive(Debug, Serialize)]
pub(super) struct ReviewView {
    schema: &'static str,
    dir: String,
    origin: String,
    owner: NodeId,
    entries: u64,
    pub(super) root: String,
    seconds: f64,
}

impl ReviewView {
    pub(super) fn new(reviewed: &Reviewed, dir: &Path, took: Duration) -> Self {
        Self {
            schema: "homing.audit_review/v1",
            dir: dir.display().to_string(),
            origin: reviewed.head.origin.clone(),
            owner: reviewed.owner,
            entries: reviewed.head.size,
            root: reviewed.head.root.to_string(),
            seconds: (took.as_secs_f64() * 1_000.0).round() / 1_000.0,
        }
    }

    pub(super) fn text(&self) -> String {
        fields(&[
            ("verified", format!("{} entries in {} s", self.entries, self.seconds)),
            ("log", self.origin.clone()),
            ("owner", self.owner.to_string()),
            ("root", self.root.clone()),
        ])
    }
}

/// An export.
#[derive(Debug, Serialize)]
pub(super) struct ExportView {
    schema: &'static str,
    pub(super) dir: String,
    key: String,
    entries: u64,
    files: u64,
}

impl ExportView {
    pub(super) fn new(exported: &Exported, dir: &Path, key: &NoteKey) -> Self {
        Self {
            schema: "homing.audit_export/v1",
            dir: dir.display().to_string(),
            key: key.to_string(),
            entries: exported.entries,
            files: exported.files,
        }
    }

    pub(super) fn text(&self) -> String {
        let written = words::count(self.files, "file");
        fields(&[
            ("exported", format!("{} entries, {written} written", self.entries)),
            ("to", self.dir.clone()),
            ("key", self.key.clone()),
        ])
    }
}

/// A proof that was written.
#[derive(Debug, Serialize)]
pub(super) struct ProvenView {
    schema: &'static str,
    index: u64,
    pub(super) file: String,
    witnesses: usize,
    anchors: usize,
}

impl ProvenView {
    pub(super) fn new(index: u64, file: &Path, bundle: &ProofBundle) -> Self {
        Self {
            schema: "homing.audit_proven/v1",
            index,
            file: file.display().to_string(),
            witnesses: bundle.witnesses.len(),
            anchors: bundle.anchors.len(),
        }
    }

    pub(super) fn text(&self) -> String {
        fields(&[
            ("proof", format!("of entry {}, {}", self.index, self.file)),
            ("cosigned by", words::count(self.witnesses as u64, "peer")),
            ("anchors", self.anchors.to_string()),
        ])
    }
}

/// A proof that holds.
#[derive(Debug, Serialize)]
pub(super) struct VerifiedView {
    schema: &'static str,
    pub(super) entry: EntryView,
    owner: NodeId,
    origin: String,
    size: u64,
    cosigned: Vec<CosignedView>,
    anchors: Vec<AnchorView>,
}

#[derive(Debug, Serialize)]
struct CosignedView {
    witness: NodeId,
    time: Stamp,
}

impl VerifiedView {
    pub(super) fn new(verified: &Verified, anchors: Vec<AnchorView>) -> Self {
        let cosigned = verified.cosignatures.iter().map(|(witness, cosignature)| {
            let time = Stamp::from(Wall(cosignature.time.saturating_mul(1_000)));
            CosignedView { witness: *witness, time }
        });
        Self {
            schema: "homing.audit_verified/v1",
            entry: EntryView::of(verified.index, &verified.entry),
            owner: verified.owner,
            origin: verified.checkpoint.origin.clone(),
            size: verified.checkpoint.size,
            cosigned: cosigned.collect(),
            anchors,
        }
    }

    pub(super) fn text(&self) -> String {
        let entry = &self.entry;
        let cosigned = match self.cosigned.len() {
            0 => "nobody: the owner could have shown others another log".into(),
            _ => {
                let who = self.cosigned.iter().map(|c| c.witness.fmt_short());
                who.collect::<Vec<_>>().join(", ")
            }
        };
        let anchored = match self.anchors.as_slice() {
            [] => "nowhere".into(),
            anchors => anchors.iter().map(AnchorView::text).collect::<Vec<_>>().join("; "),
        };
        fields(&[
            ("proven", format!("entry {} of {}", entry.index, self.size)),
            ("says", format!("{}: {}", entry.kind(), entry.what())),
            ("about", entry.subject.clone()),
            ("signed by", entry.author.to_string()),
            ("at", format!("{} by its own clock", entry.wall)),
            ("log", format!("{} of {}", self.origin, self.owner)),
            ("cosigned by", cosigned),
            ("anchored", anchored),
        ])
    }
}
