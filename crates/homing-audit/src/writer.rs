//! The one thread that appends: it gathers what waits, signs and checks it, and makes it durable at once.
//!
//! ```text
//! what was admitted ─► batch ─► sign facts, chain, hash ─► sign the checkpoint
//!                                ─► one frame, one fdatasync ─► acknowledge ─► full tiles to another thread
//! ```
//! While it waits for the disk, `admission` verifies what comes next.
//! The first failed write ends the log: nothing is acknowledged any more until it is opened again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use homing_base::{IdentityKey, Wall};
use homing_core::audit::limits::TILE_WIDTH;
use homing_core::audit::review::{Chains, Fault};
use homing_core::audit::tiles::{Edges, Tile, push_entry};
use homing_core::audit::{
    Checkpoint, Entry, EntryError, Hash, NoteSigner, SignedEntry, SignedNote,
};

use crate::admission::{Admitted, Ready};
use crate::limits::{AUTHORS_MAX, BATCH_VERIFIED_MAX, ENTRY_OVERHEAD_BYTES, SEGMENT_BYTES};
use crate::log::{Ack, Reply};
use crate::pending::{Noted, Pending};
use crate::tiler::{Tiler, Work};
use crate::wal::{self, Head};

/// Why the log does not take something, or cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The files cannot be read or written.
    #[error("the audit log in {dir}: {source}")]
    Io {
        /// Where the log is.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The log's bytes were changed.
    #[error("the audit log was damaged: {file}: {what}")]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another process writes to this log.
    #[error("another process writes to the audit log in {dir}")]
    Locked {
        /// Where the log is.
        dir: PathBuf,
    },
    /// The directory holds the log of another identity.
    #[error("the audit log in {dir} is that of another identity")]
    Foreign {
        /// Where the log is.
        dir: PathBuf,
    },
    /// An entry does not hold.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An entry does not continue the log.
    #[error(transparent)]
    Chain(#[from] Fault),
    /// Too many authors.
    #[error("a log has at most {AUTHORS_MAX} authors")]
    Authors,
    /// Too many entries in one call.
    #[error("{got} entries at once, at most {max} are taken")]
    TooMany {
        /// Entries given.
        got: usize,
        /// Entries allowed.
        max: usize,
    },
    /// The log has reached its limit on disk.
    #[error("the audit log has reached its limit of {max} bytes")]
    Full {
        /// The limit.
        max: u64,
    },
    /// The witnesses know a longer history of this log: it was restored from an old copy.
    #[error("{why}")]
    Refused {
        /// Which witness knows what.
        why: String,
    },
    /// The log waits for its witnesses' answer, and takes facts only.
    #[error("the audit log waits for its witnesses")]
    Held,
    /// A write failed before; the log has to be opened again.
    #[error("the audit log failed before: {why}")]
    Failed {
        /// The first failure.
        why: String,
    },
}

/// Whether the log signs.
pub(crate) enum Gate {
    /// It does.
    Open,
    /// It waits for its witnesses; facts are kept.
    Held,
    /// It never will: why.
    Refused(String),
    /// A write failed.
    Failed(String),
}

/// Everything that the thread owns.
pub(crate) struct Writer {
    pub(crate) dir: PathBuf,
    pub(crate) identity: IdentityKey,
    pub(crate) signer: NoteSigner,
    pub(crate) origin: Hash,
    pub(crate) file: File,
    pub(crate) segment: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) edges: Edges,
    pub(crate) chains: Chains,
    /// The entries of the partial bundle.
    pub(crate) tail: Vec<Vec<u8>>,
    pub(crate) head: SignedNote,
    pub(crate) tiler: Tiler,
    pub(crate) pending: Pending,
    pub(crate) gate: Gate,
    pub(crate) told: Box<dyn Fn(&SignedNote) + Send>,
}

/// A job whose entries are in the batch.
struct Taken {
    reply: Reply,
    first: u64,
    count: u64,
}

/// An entry that continues its author's chain.
struct Chained {
    entry: SignedEntry,
    leaf: Hash,
}

/// A batch in the making: nothing of it is in the log before its frame is durable.
#[derive(Default)]
struct Draft {
    entries: Vec<Chained>,
    taken: Vec<Taken>,
}

impl Writer {
    pub(crate) fn run(mut self, admitted: &Receiver<Vec<Admitted>>) {
        while let Ok(some) = admitted.recv() {
            let mut draft = Draft::default();
            let mut next = Some(some);
            let mut stop = false;
            while let Some(some) = next.take() {
                stop = self.serve(&mut draft, some);
                if stop || draft.entries.len() >= BATCH_VERIFIED_MAX {
                    break;
                }
                next = admitted.try_recv().ok();
            }
            self.commit(&mut draft);
            if stop {
                return;
            }
        }
    }

    /// Takes what was admitted into the batch; `true`: it is the end.
    fn serve(&mut self, draft: &mut Draft, admitted: Vec<Admitted>) -> bool {
        for one in admitted {
            match one {
                Admitted::Append { what, reply } => self.admit(draft, what, reply),
                Admitted::Release => {
                    self.commit(draft);
                    self.release(draft);
                }
                Admitted::Refuse(why) => {
                    self.commit(draft);
                    self.gate = Gate::Refused(why);
                }
                Admitted::Stop => return true,
            }
        }
        false
    }

    /// Takes a call into the batch, or answers it at once.
    fn admit(&mut self, draft: &mut Draft, what: Ready, reply: Reply) {
        match self.take(draft, what) {
            Ok(Some((first, count))) => draft.taken.push(Taken { reply, first, count }),
            Ok(None) => reply(Ok(Ack { first: None, size: self.edges.size() })),
            Err(error) => reply(Err(error)),
        }
    }

    fn take(&mut self, draft: &mut Draft, what: Ready) -> Result<Option<(u64, u64)>, LogError> {
        let what = match (&self.gate, what) {
            (Gate::Open, what) => what,
            (Gate::Failed(why), _) => return Err(LogError::Failed { why: why.clone() }),
            (Gate::Held | Gate::Refused(_), Ready::Facts(facts)) => return self.keep(facts),
            (Gate::Held, _) => return Err(LogError::Held),
            (Gate::Refused(why), _) => return Err(LogError::Refused { why: why.clone() }),
        };
        let room = what.bytes() as u64 + what.len() as u64 * ENTRY_OVERHEAD_BYTES;
        if self.bytes + room > self.bytes_max {
            return Err(LogError::Full { max: self.bytes_max });
        }
        let first = self.edges.size() + draft.entries.len() as u64;
        let entries = match what {
            Ready::Facts(facts) => self.sign_all(first, facts)?,
            Ready::Verified(entries) => self.chain_all(first, entries)?,
        };
        let count = entries.len() as u64;
        draft.entries.extend(entries);
        self.bytes += room;
        Ok(Some((first, count)))
    }

    fn keep(&mut self, facts: Vec<Noted>) -> Result<Option<(u64, u64)>, LogError> {
        for noted in &facts {
            noted.fact.check()?;
        }
        match self.pending.push(facts) {
            Ok(true) => Ok(None),
            Ok(false) => Err(LogError::Held),
            Err(source) => Err(LogError::Io { dir: self.dir.clone(), source }),
        }
    }

    /// Signs facts as the next entries of the log's own identity. Its time never falls.
    fn sign_all(&mut self, first: u64, facts: Vec<Noted>) -> Result<Vec<Chained>, LogError> {
        for noted in &facts {
            noted.fact.check()?;
        }
        let author = self.identity.public();
        let mut signed = Vec::with_capacity(facts.len());
        for (index, noted) in (first..).zip(facts) {
            let last = self.chains.last(&author);
            let entry = Entry {
                log: self.origin,
                author,
                sequence: last.map_or(0, |last| last.sequence + 1),
                previous: last.map(|last| last.leaf),
                time: noted.time.max(last.map_or(Wall(0), |last| last.time)),
                fact: noted.fact,
            };
            let entry = entry.sign(&self.identity)?;
            let leaf = entry.leaf();
            self.chains.take(index, &entry, leaf)?;
            signed.push(Chained { entry, leaf });
        }
        Ok(signed)
    }

    /// Checks that entries are of this log and continue their authors' chains: all of them or none.
    fn chain_all(
        &mut self,
        first: u64,
        entries: Vec<SignedEntry>,
    ) -> Result<Vec<Chained>, LogError> {
        let mut undo = Vec::with_capacity(entries.len());
        let mut chained = Vec::with_capacity(entries.len());
        for (index, entry) in (first..).zip(entries) {
            let (author, leaf) = (entry.author, entry.leaf());
            let before = self.chains.last(&author);
            if let Err(error) = self.chain(index, &entry, leaf, before.is_none()) {
                for (author, before) in undo.into_iter().rev() {
                    self.chains.set(author, before);
                }
                return Err(error);
            }
            undo.push((author, before));
            chained.push(Chained { entry, leaf });
        }
        Ok(chained)
    }

    fn chain(
        &mut self,
        index: u64,
        entry: &SignedEntry,
        leaf: Hash,
        is_new: bool,
    ) -> Result<(), LogError> {
        if entry.log != self.origin {
            return Err(LogError::Chain(Fault::OtherLog { index }));
        }
        if is_new && self.chains.authors().len() >= AUTHORS_MAX {
            return Err(LogError::Authors);
        }
        self.chains.take(index, entry, leaf).map_err(LogError::Chain)
    }

    /// Makes the batch durable, acknowledges it and hands full tiles over.
    fn commit(&mut self, draft: &mut Draft) {
        let Draft { entries, taken } = std::mem::take(draft);
        if entries.is_empty() {
            let size = self.edges.size();
            taken.into_iter().for_each(|taken| (taken.reply)(Ok(Ack { first: None, size })));
            return;
        }
        match self.append(entries) {
            Ok(()) => {
                let size = self.edges.size();
                for Taken { reply, first, count } in taken {
                    reply(Ok(Ack { first: (count > 0).then_some(first), size }));
                }
                (self.told)(&self.head);
            }
            Err(error) => {
                let why = error.to_string();
                tracing::error!(%error, "the audit log cannot be written");
                self.gate = Gate::Failed(why.clone());
                for Taken { reply, .. } in taken {
                    reply(Err(LogError::Failed { why: why.clone() }));
                }
            }
        }
    }

    fn append(&mut self, entries: Vec<Chained>) -> io::Result<()> {
        let first = self.edges.size();
        let mut full = Vec::new();
        for chained in &entries {
            self.edges.push(chained.leaf, &mut full);
        }
        let root = self.edges.frontier().root();
        let origin = &self.signer.key().name;
        self.head = Checkpoint::new(origin, self.edges.size(), root).sign(&self.signer);
        let bytes = entries.iter().map(|chained| chained.entry.bytes());
        let frame = wal::batch_frame(first, bytes, &self.head);
        self.file.write_all(&frame)?;
        self.file.sync_data()?;
        self.segment_bytes += frame.len() as u64;
        for chained in entries {
            self.tail.push(chained.entry.into_bytes());
            self.hand_block(&mut full)?;
        }
        if self.segment_bytes > SEGMENT_BYTES { self.rotate() } else { Ok(()) }
    }

    /// When the partial bundle is full, hands it over with the tiles that it filled.
    fn hand_block(&mut self, full: &mut Vec<Tile>) -> io::Result<()> {
        if (self.tail.len() as u64) < TILE_WIDTH {
            return Ok(());
        }
        let mut bundle = Vec::with_capacity(self.tail.iter().map(|e| e.len() + 2).sum());
        self.tail.drain(..).for_each(|entry| push_entry(&mut bundle, &entry));
        // Tiles come in order: one of level 0, then the higher ones that it completed.
        let end =
            full.iter().skip(1).position(|tile| tile.level == 0).map_or(full.len(), |at| at + 1);
        let tiles: Vec<Tile> = full.drain(..end).collect();
        let n = tiles.first().map_or(0, |tile| tile.n);
        self.tiler.hand(Work::Block { n, bundle, tiles })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let size = self.edges.size();
        let base = size - self.tail.len() as u64;
        let head = Head { base, size, authors: self.chains.authors().collect() };
        let carried = self.tail.iter().map(Vec::as_slice);
        let carried = wal::batch_payload(base, carried, &self.head);
        let (file, path, bytes) = wal::begin(&self.dir, &head, Some(&carried))?;
        let old = std::mem::replace(&mut self.segment, path);
        (self.file, self.segment_bytes) = (file, bytes);
        self.tiler.hand(Work::Retire { segment: old })
    }

    /// The witnesses know nothing longer: what waited becomes entries.
    fn release(&mut self, draft: &mut Draft) {
        if !matches!(self.gate, Gate::Held) {
            return;
        }
        self.gate = Gate::Open;
        let facts = self.pending.facts().to_vec();
        if facts.is_empty() {
            return;
        }
        // What cannot be logged, on a full disk say, waits on.
        match self.take(draft, Ready::Facts(facts)) {
            Ok(taken) => draft.taken.extend(taken.map(|(first, count)| Taken {
                reply: Box::new(|_| {}),
                first,
                count,
            })),
            Err(error) => return tracing::warn!(%error, "pending facts cannot be logged yet"),
        }
        self.commit(draft);
        if !matches!(self.gate, Gate::Open) {
            return;
        }
        if let Err(error) = self.pending.clear() {
            tracing::warn!(%error, "the file of pending facts cannot be removed");
        }
    }
}

/// The directory of the log, for messages.
pub(crate) fn io_error(dir: &Path) -> impl FnOnce(io::Error) -> LogError + '_ {
    move |source| LogError::Io { dir: dir.to_path_buf(), source }
}
