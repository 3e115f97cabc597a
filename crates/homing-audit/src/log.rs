//! The log as its owner opens it: recovery, and the handle to the thread that appends.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use homing_base::derived::Delegation;
use homing_base::{IdentityKey, Wall};
use homing_core::audit::note::KeyType;
use homing_core::audit::review::Chains;
use homing_core::audit::tiles::{Edges, push_entry};
use homing_core::audit::{
    Checkpoint, Fact, Hash, NoteKey, NoteSigner, PURPOSE_LOG, SignedEntry, SignedNote,
    UnverifiedEntry, origin,
};
use nix::fcntl::{Flock, FlockArg};

use crate::admission;
use crate::limits::{
    BATCH_JOB_ENTRIES_MAX, BATCHES_WAITING_MAX, JOBS_MAX, LOG_BYTES_MAX, PENDING_MAX,
};
use crate::pending::{Noted, Pending};
use crate::tiler::{Tiler, Work, has_block, load_edges};
use crate::wal::{self, Bad, Batch, Head, Next, Segment};
use crate::writer::{Gate, LogError, Writer, io_error};

/// How to open a log.
pub struct Options {
    /// Keep facts aside until [`Log::release`]: the witnesses are asked first. A new log is never held.
    pub held: bool,
    /// The most that the log may take on disk.
    pub bytes_max: u64,
    /// Called by the writer's thread after every commit, with the newest checkpoint.
    pub told: Box<dyn Fn(&SignedNote) + Send>,
}

impl Default for Options {
    fn default() -> Self {
        Self { held: false, bytes_max: LOG_BYTES_MAX, told: Box::new(|_| {}) }
    }
}

/// The keys of one log.
#[derive(Clone, Debug)]
pub struct LogKeys {
    pub(crate) signer: NoteSigner,
    pub(crate) delegation: Delegation,
}

impl LogKeys {
    /// The keys of the log that `identity` began at `begun`.
    #[must_use]
    pub fn new(identity: &IdentityKey, begun: Wall) -> Self {
        let origin = origin(&identity.node_id(), begun);
        let secret = identity.derive(PURPOSE_LOG);
        let signer = NoteSigner::new(&origin, KeyType::Ed25519, secret);
        let signer = signer.expect("an origin has no white space and no plus");
        let key = signer.key().key;
        Self { delegation: identity.delegate(key, PURPOSE_LOG, &origin, begun), signer }
    }

    /// The public key; its name is the log's origin.
    #[must_use]
    pub fn key(&self) -> &NoteKey {
        self.signer.key()
    }

    /// The identity's word that the key speaks for it.
    #[must_use]
    pub fn delegation(&self) -> &Delegation {
        &self.delegation
    }
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The index of the first entry; `None`: kept until the witnesses have answered.
    pub first: Option<u64>,
    /// Entries in the log now; durable.
    pub size: u64,
}

pub(crate) type Reply = Box<dyn FnOnce(Result<Ack, LogError>) + Send>;

pub(crate) enum What {
    Facts(Vec<Noted>),
    Unverified(Vec<UnverifiedEntry>),
    Verified(Vec<SignedEntry>),
}

impl What {
    pub(crate) fn len(&self) -> usize {
        match self {
            What::Facts(facts) => facts.len(),
            What::Unverified(entries) => entries.len(),
            What::Verified(entries) => entries.len(),
        }
    }
}

pub(crate) enum Job {
    Append { what: What, reply: Reply },
    Release,
    Refuse(String),
    Stop,
}

/// An open log. Dropping it waits for what was handed over.
pub struct Log {
    jobs: SyncSender<Job>,
    threads: Vec<JoinHandle<()>>,
    dir: PathBuf,
    keys: LogKeys,
    head: SignedNote,
    _lock: Flock<std::fs::File>,
}

impl Log {
    /// Opens the log in `dir`, or begins one there, and recovers it to its last whole frame.
    ///
    /// # Errors
    /// [`LogError::Locked`], [`LogError::Foreign`], [`LogError::Damaged`], [`LogError::Io`].
    pub fn open(
        dir: &Path,
        identity: &IdentityKey,
        now: Wall,
        options: Options,
    ) -> Result<Self, LogError> {
        let lock = prepare(dir)?;
        let keys = keys_of(dir, identity, now)?;
        let recovered = recover(dir, &keys)?;
        let pending = Pending::open(dir, &recovered.noted).map_err(io_error(dir))?;
        let held = options.held && recovered.edges.size() > 0;
        let writer = Writer {
            dir: dir.to_path_buf(),
            identity: identity.clone(),
            signer: keys.signer.clone(),
            origin: Hash::digest(keys.key().name.as_bytes()),
            file: recovered.file,
            segment: recovered.segment,
            segment_bytes: recovered.segment_bytes,
            bytes: used(dir).map_err(io_error(dir))?,
            bytes_max: options.bytes_max,
            edges: recovered.edges,
            chains: recovered.chains,
            tail: recovered.tail,
            head: recovered.head.clone(),
            tiler: recovered.tiler,
            pending,
            gate: Gate::Held,
            told: options.told,
        };
        let (jobs, queue) = mpsc::sync_channel(JOBS_MAX);
        let (admitted, ready) = mpsc::sync_channel(BATCHES_WAITING_MAX);
        let name = |name: &str| std::thread::Builder::new().name(name.into());
        let admits = name("audit-admission").spawn(move || admission::run(&queue, &admitted));
        let writes = name("audit-log").spawn(move || writer.run(&ready));
        let threads = vec![admits.map_err(io_error(dir))?, writes.map_err(io_error(dir))?];
        let (dir, head) = (dir.to_path_buf(), recovered.head);
        let log = Self { jobs, threads, dir, keys, head, _lock: lock };
        if !held {
            log.release();
        }
        Ok(log)
    }

    /// The keys of the log.
    #[must_use]
    pub fn keys(&self) -> &LogKeys {
        &self.keys
    }

    /// The directory of the log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The checkpoint at which the log was opened.
    #[must_use]
    pub fn opened_at(&self) -> &SignedNote {
        &self.head
    }

    /// Records what happened, signed by the log's identity. `reply` comes from the log's thread when it
    /// is durable.
    pub fn record(
        &self,
        time: Wall,
        fact: Fact,
        reply: impl FnOnce(Result<Ack, LogError>) + Send + 'static,
    ) {
        self.send(What::Facts(vec![Noted { time, fact }]), Box::new(reply));
    }

    /// Appends entries whose signatures are yet to be checked; all of them or none.
    pub fn append(
        &self,
        entries: Vec<UnverifiedEntry>,
        reply: impl FnOnce(Result<Ack, LogError>) + Send + 'static,
    ) {
        self.send(What::Unverified(entries), Box::new(reply));
    }

    /// Appends entries that were verified on admission; all of them or none.
    pub fn append_verified(
        &self,
        entries: Vec<SignedEntry>,
        reply: impl FnOnce(Result<Ack, LogError>) + Send + 'static,
    ) {
        self.send(What::Verified(entries), Box::new(reply));
    }

    fn send(&self, what: What, reply: Reply) {
        let (got, max) = (what.len(), BATCH_JOB_ENTRIES_MAX);
        if got > max {
            return reply(Err(LogError::TooMany { got, max }));
        }
        if let Err(mpsc::SendError(Job::Append { reply, .. })) =
            self.jobs.send(Job::Append { what, reply })
        {
            reply(Err(LogError::Failed { why: "its thread has ended".into() }));
        }
    }

    /// The witnesses know nothing longer than this log: it may sign.
    pub fn release(&self) {
        let _ = self.jobs.send(Job::Release);
    }

    /// The witnesses know a longer history: nothing is signed any more. Facts are kept aside.
    pub fn refuse(&self, why: String) {
        let _ = self.jobs.send(Job::Refuse(why));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn prepare(dir: &Path) -> Result<Flock<std::fs::File>, LogError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir.join("wal"));
    made.map_err(io_error(dir))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"));
    let file = file.map_err(io_error(dir))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| LogError::Locked { dir: dir.to_path_buf() })
}

/// The keys of the log that is here, or of one that begins now.
fn keys_of(dir: &Path, identity: &IdentityKey, now: Wall) -> Result<LogKeys, LogError> {
    let path = dir.join("key");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let foreign = || LogError::Foreign { dir: dir.to_path_buf() };
            let key: NoteKey = text.trim_end().parse().map_err(|_| foreign())?;
            let begun = key.name.rsplit('/').next().and_then(|ms| ms.parse().ok());
            let keys = LogKeys::new(identity, Wall(begun.ok_or_else(foreign)?));
            if *keys.key() == key { Ok(keys) } else { Err(foreign()) }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keys = LogKeys::new(identity, now);
            let io = io_error(dir);
            wal::replace(&dir.join("delegation"), keys.delegation.bytes())
                .and_then(|()| wal::replace(&path, format!("{}\n", keys.key()).as_bytes()))
                .map_err(io)?;
            Ok(keys)
        }
        Err(error) => Err(io_error(dir)(error)),
    }
}

/// Bytes that the log takes on disk.
fn used(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => open.push(entry.path()),
                false => bytes += entry.metadata()?.len(),
            }
        }
    }
    Ok(bytes)
}

/// The state that the frames lead to.
struct Recovered {
    file: std::fs::File,
    segment: PathBuf,
    segment_bytes: u64,
    edges: Edges,
    chains: Chains,
    tail: Vec<Vec<u8>>,
    head: SignedNote,
    tiler: Tiler,
    /// Digests of the newest facts, so that none is logged twice.
    noted: BTreeSet<Hash>,
}

fn recover(dir: &Path, keys: &LogKeys) -> Result<Recovered, LogError> {
    let io = |source| LogError::Io { dir: dir.to_path_buf(), source };
    for entry in std::fs::read_dir(dir.join("wal")).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|e| e == "tmp") {
            std::fs::remove_file(path).map_err(io)?;
        }
    }
    let mut paths = wal::segments(dir).map_err(io)?;
    if paths.is_empty() {
        let (_, path, _) = wal::begin(dir, &Head::default(), None).map_err(io)?;
        paths.push(path);
    }
    let mut replay = Replay::begin(dir, keys, &paths[0])?;
    for (at, path) in paths.iter().enumerate() {
        let is_last = at + 1 == paths.len();
        let offset = replay.segment(path, is_last)?;
        if !is_last {
            replay.tiler.hand(Work::Retire { segment: path.clone() }).map_err(io)?;
            continue;
        }
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        file.set_len(offset).and_then(|()| file.sync_all()).map_err(io)?;
        return replay.finish(file, path, offset);
    }
    unreachable!("there is a last segment")
}

struct Replay<'k> {
    dir: &'k Path,
    keys: &'k LogKeys,
    edges: Edges,
    chains: Chains,
    tail: Vec<Vec<u8>>,
    head: SignedNote,
    tiler: Tiler,
    noted: VecDeque<Hash>,
}

impl<'k> Replay<'k> {
    fn begin(dir: &'k Path, keys: &'k LogKeys, first: &Path) -> Result<Self, LogError> {
        let io = |source| LogError::Io { dir: dir.to_path_buf(), source };
        let segment = Segment::open(first).map_err(|bad| bad_segment(dir, first, bad))?;
        let edges = load_edges(dir, segment.head.base).map_err(io)?;
        let empty = Checkpoint::new(&keys.key().name, 0, Hash::empty());
        let mut chains = Chains::default();
        segment.head.authors.iter().for_each(|(key, last)| chains.set(*key, Some(*last)));
        Ok(Self {
            dir,
            keys,
            edges,
            chains,
            tail: Vec::new(),
            head: empty.sign(&keys.signer),
            tiler: Tiler::start(dir).map_err(io)?,
            noted: VecDeque::new(),
        })
    }

    /// Replays a segment; returns where its last whole frame ends.
    fn segment(&mut self, path: &Path, is_last: bool) -> Result<u64, LogError> {
        let bad = |bad| bad_segment(self.dir, path, bad);
        let mut segment = Segment::open(path).map_err(bad)?;
        let known = segment.head.size;
        loop {
            let next = segment.next().map_err(|b| bad_segment(self.dir, path, b))?;
            match next {
                Next::Batch(batch) => self.batch(path, batch, known)?,
                Next::End => return Ok(segment.offset),
                Next::Torn => {
                    let size = self.edges.size();
                    let damaged = !is_last
                        || segment
                            .is_damaged(size)
                            .map_err(|source| bad_segment(self.dir, path, Bad::Io(source)))?;
                    if damaged {
                        let what = format!("the frame behind entry {size} was changed");
                        return Err(LogError::Damaged { file: path.to_path_buf(), what });
                    }
                    tracing::info!(size, "the audit log ends in a write that was cut off");
                    return Ok(segment.offset);
                }
            }
        }
    }

    fn batch(&mut self, path: &Path, batch: Batch, known: u64) -> Result<(), LogError> {
        let damaged = |what: String| LogError::Damaged { file: path.to_path_buf(), what };
        let size = self.edges.size();
        let skip = size.saturating_sub(batch.first);
        if batch.first > size {
            return Err(damaged(format!("entries {size} to {} are missing", batch.first)));
        }
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        for entry in batch.entries.into_iter().skip(skip) {
            self.entry(path, entry, known)?;
        }
        let size = self.edges.size();
        let head = SignedNote::parse(&batch.checkpoint).map_err(|e| damaged(e.to_string()))?;
        let said = Checkpoint::parse(&head.text).map_err(|e| damaged(e.to_string()))?;
        if said.size == size && said.root != self.edges.frontier().root() {
            return Err(damaged(format!(
                "the entries up to {size} are not those of the checkpoint"
            )));
        }
        self.head = head;
        Ok(())
    }

    fn entry(&mut self, path: &Path, bytes: Vec<u8>, known: u64) -> Result<(), LogError> {
        let index = self.edges.size();
        let damaged = |what: String| LogError::Damaged { file: path.to_path_buf(), what };
        let entry = UnverifiedEntry::parse(&bytes);
        let entry = entry.map_err(|e| damaged(format!("entry {index}: {e}")))?;
        let claimed = entry.claimed();
        if index >= known {
            let taken = self.chains.take(index, claimed, Hash::leaf(&bytes));
            taken.map_err(|fault| damaged(fault.to_string()))?;
        }
        let noted = Noted { time: claimed.time, fact: claimed.fact.clone() };
        self.noted.push_back(noted.digest());
        if self.noted.len() > PENDING_MAX {
            self.noted.pop_front();
        }
        let mut full = Vec::new();
        self.edges.push(Hash::leaf(&bytes), &mut full);
        self.tail.push(bytes);
        let Some(n) = full.first().map(|tile| tile.n) else { return Ok(()) };
        let mut bundle = Vec::new();
        self.tail.drain(..).for_each(|entry| push_entry(&mut bundle, &entry));
        if has_block(self.dir, n) && full.len() == 1 {
            return Ok(());
        }
        let work = Work::Block { n, bundle, tiles: full };
        self.tiler.hand(work).map_err(|source| LogError::Io { dir: self.dir.into(), source })
    }

    fn finish(
        self,
        file: std::fs::File,
        segment: &Path,
        segment_bytes: u64,
    ) -> Result<Recovered, LogError> {
        let Self { edges, chains, tail, head, tiler, noted, keys, .. } = self;
        let damaged = |what: String| LogError::Damaged { file: segment.to_path_buf(), what };
        let checkpoint = Checkpoint::verify(&head, keys.key());
        let checkpoint = checkpoint.map_err(|error| damaged(error.to_string()))?;
        if checkpoint.size != edges.size() {
            let (said, size) = (checkpoint.size, edges.size());
            return Err(damaged(format!("{size} entries, the last checkpoint says {said}")));
        }
        Ok(Recovered {
            file,
            segment: segment.to_path_buf(),
            segment_bytes,
            edges,
            chains,
            tail,
            head,
            tiler,
            noted: noted.into_iter().collect(),
        })
    }
}

fn bad_segment(dir: &Path, path: &Path, bad: Bad) -> LogError {
    match bad {
        Bad::Io(source) => LogError::Io { dir: dir.to_path_buf(), source },
        Bad::Damaged(what) => LogError::Damaged { file: path.to_path_buf(), what: what.into() },
    }
}
