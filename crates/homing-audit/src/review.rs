//! The review of a whole log, live or exported: every entry, every signature, every tile, the head.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use homing_base::NodeId;
use homing_base::derived::{Delegation, DelegationError};
use homing_core::audit::checkpoint::CheckpointError;
use homing_core::audit::limits::{TILE_LEVELS_MAX, TILE_WIDTH};
use homing_core::audit::review::{Fault, Review};
use homing_core::audit::tiles::{
    TileKind, parse_tile, partial_width, split_bundle, subtree, tile_path,
};
use homing_core::audit::{
    Checkpoint, Hash, NoteKey, PURPOSE_LOG, SignedNote, UnverifiedEntry, is_log_of,
};

use crate::reader::{Cosigned, ReadError, Reader};

/// Blocks of entries that wait for their signatures to be checked.
const BLOCKS_WAITING_MAX: usize = 64;

/// Where the entries come from.
pub enum Source {
    /// The directory of a log that is being written.
    Live(Box<Reader>),
    /// A directory that [`crate::export()`] wrote, or any tlog-tiles mirror of it.
    Exported(PathBuf),
}

impl Source {
    /// Looks at `dir`, and decides.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn at(dir: &Path) -> Result<Self, ReadError> {
        if dir.join("wal").is_dir() {
            return Ok(Self::Live(Box::new(Reader::open(dir)?)));
        }
        // An export of which files are gone is still one: what is missing is told then.
        if ["checkpoint", "key", "tile"].iter().any(|name| dir.join(name).exists()) {
            return Ok(Self::Exported(dir.to_path_buf()));
        }
        Err(ReadError::Missing { dir: dir.to_path_buf() })
    }
}

/// How far a review has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries read.
    pub entries: u64,
    /// Entries in the log.
    pub of: u64,
}

/// What a review found out, when nothing is wrong.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// The head that the entries lead to.
    pub head: Checkpoint,
    /// Whose log it is.
    pub owner: NodeId,
}

/// What is wrong with a log, or why it could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// A file is missing or malformed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something was done to the log.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The head is not one of this log.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A head that was seen is not one of this log.
    #[error("the checkpoint that was seen: {0}")]
    Seen(#[source] CheckpointError),
    /// The delegation of the log's key does not hold.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// The delegation speaks of another key, or of a log named after another identity.
    #[error(
        "the delegation is not that of this log: of another key, or under another identity's name"
    )]
    OtherKey,
    /// A tile of a higher level is not the one that the entries lead to.
    #[error("the tile {path} is not the one of the entries below it, from entry {index} on")]
    Tile {
        /// The tile.
        path: String,
        /// The first entry below the hash that differs.
        index: u64,
    },
}

/// Reviews a log: `known` are heads of it that somebody saw, `progress` hears of every block.
///
/// # Errors
/// The first thing that is wrong, by the order of the entries.
pub fn review(
    source: &mut Source,
    known: &[SignedNote],
    mut progress: impl FnMut(Progress),
) -> Result<Reviewed, ReviewError> {
    let (key, note) = source.head()?;
    let owner = source.owner(&key)?;
    let head = Checkpoint::verify(&note, &key)?;
    let known = known.iter().map(|note| Checkpoint::verify(note, &key));
    let mut known = known.collect::<Result<Vec<_>, _>>().map_err(ReviewError::Seen)?;
    known.extend(source.cosigned_head(&key)?);
    let review = Review::new(&head.origin, &known);
    let checked = Signatures::start();
    let mut levels = Levels::default();
    let entries = walk(source, &head, review, &checked, &mut levels, &mut progress);
    let entries = entries.map_err(|error| match error {
        ReviewError::Fault(fault) => moved(source, fault, head.size).into(),
        other => other,
    });
    // The fault that comes first is told, whichever thread found it.
    match (checked.finish(), entries) {
        (Some(bad), Err(ReviewError::Fault(fault))) => {
            let first = if entry_of(&fault).is_some_and(|at| at < bad.0) { fault } else { bad.1 };
            Err(first.into())
        }
        (Some(bad), _) => Err(bad.1.into()),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => {
            levels.compare(source, head.size)?;
            Ok(Reviewed { head, owner })
        }
    }
}

fn walk(
    source: &mut Source,
    head: &Checkpoint,
    mut review: Review,
    checked: &Signatures,
    levels: &mut Levels,
    progress: &mut impl FnMut(Progress),
) -> Result<(), ReviewError> {
    for n in 0..head.size.div_ceil(TILE_WIDTH) {
        let width = (head.size - n * TILE_WIDTH).min(TILE_WIDTH);
        let Some(entries) = source.entries(n, width)? else { break };
        let tile = source.leaves(n, width)?;
        let first = review.size();
        let mut block = Vec::with_capacity(entries.whole.len());
        let mut leaves = Vec::with_capacity(entries.whole.len());
        let mut fault = None;
        for (at, entry) in entries.whole.iter().enumerate() {
            let leaf = tile.as_ref().and_then(|tile| tile.get(at).copied());
            match review.take(entry, leaf) {
                Ok(taken) => block.push(taken),
                Err(found) => {
                    fault = Some(found);
                    break;
                }
            }
            leaves.push(Hash::leaf(entry));
        }
        let short = (block.len() as u64) < width;
        // Also before a fault: a signature that is wrong further ahead comes first.
        checked.check(first, block);
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        if let Some(file) = entries.cut {
            let what = format!("entry {} is cut off, or its length was changed", review.size());
            return Err(ReadError::Damaged { file, what }.into());
        }
        levels.push(&leaves);
        progress(Progress { entries: review.size(), of: head.size });
        if short {
            break;
        }
    }
    Ok(review.finish(head)?)
}

/// What is missing at its place and stands further ahead was not dropped.
fn moved(source: &mut Source, fault: Fault, size: u64) -> Fault {
    let Fault::Missing { index, expected, got } = fault else { return fault };
    let blocks = index / TILE_WIDTH..size.div_ceil(TILE_WIDTH);
    let mut author = None;
    for n in blocks {
        let width = (size - n * TILE_WIDTH).min(TILE_WIDTH);
        let Ok(Some(block)) = source.entries(n, width) else { break };
        let from = usize::try_from(index.saturating_sub(n * TILE_WIDTH)).unwrap_or(usize::MAX);
        for bytes in block.whole.iter().skip(from) {
            let Ok(entry) = UnverifiedEntry::parse(bytes).and_then(UnverifiedEntry::verify) else {
                continue;
            };
            if *author.get_or_insert(entry.author) == entry.author && entry.sequence == expected {
                return Fault::OutOfOrder { index, expected, got };
            }
        }
    }
    fault
}

/// The entries of a bundle.
struct Block {
    whole: Vec<Vec<u8>>,
    /// The file, if something follows them that is no entry.
    cut: Option<PathBuf>,
}

fn entry_of(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Entry { index, .. }
        | Fault::Leaf { index, .. }
        | Fault::OtherLog { index }
        | Fault::Missing { index, .. }
        | Fault::OutOfOrder { index, .. }
        | Fault::Backdated { index, .. } => Some(*index),
        _ => None,
    }
}

/// Threads that check signatures, one per core.
struct Signatures {
    blocks: std::sync::mpsc::SyncSender<(u64, Vec<UnverifiedEntry>)>,
    threads: Vec<std::thread::JoinHandle<()>>,
    bad: Arc<Mutex<Option<(u64, Fault)>>>,
}

impl Signatures {
    fn start() -> Self {
        let (blocks, queue) = sync_channel::<(u64, Vec<UnverifiedEntry>)>(BLOCKS_WAITING_MAX);
        let queue = Arc::new(Mutex::new(queue));
        let bad = Arc::new(Mutex::new(None));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let check = |queue: Arc<Mutex<std::sync::mpsc::Receiver<_>>>,
                     bad: Arc<Mutex<Option<(u64, Fault)>>>| loop {
            let next = queue.lock().expect("nobody panics with the lock").recv();
            let Ok((first, block)) = next else { return };
            if let Some(fault) = first_bad(first, block) {
                let mut bad = bad.lock().expect("nobody panics with the lock");
                if bad.as_ref().is_none_or(|(at, _)| fault.0 < *at) {
                    *bad = Some(fault);
                }
            }
        };
        let spawn = |_| {
            let (queue, bad) = (queue.clone(), bad.clone());
            std::thread::spawn(move || check(queue, bad))
        };
        Self { threads: (0..cores).map(spawn).collect(), blocks, bad }
    }

    fn check(&self, first: u64, block: Vec<UnverifiedEntry>) {
        let _ = self.blocks.send((first, block));
    }

    fn finish(self) -> Option<(u64, Fault)> {
        drop(self.blocks);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.bad.lock().expect("nobody panics with the lock").take()
    }
}

fn first_bad(first: u64, block: Vec<UnverifiedEntry>) -> Option<(u64, Fault)> {
    for (index, entry) in (first..).zip(block) {
        if let Err(source) = entry.verify() {
            return Some((index, Fault::Entry { index, source }));
        }
    }
    None
}

/// The hashes of every tile level above the leaves.
#[derive(Default)]
struct Levels {
    roots: Vec<Hash>,
}

impl Levels {
    fn push(&mut self, leaves: &[Hash]) {
        if leaves.len() as u64 == TILE_WIDTH {
            self.roots.push(subtree(leaves));
        }
    }

    /// Compares the tiles above level 0 with what the entries lead to.
    fn compare(self, source: &Source, size: u64) -> Result<(), ReviewError> {
        let mut row = self.roots;
        for level in 1..TILE_LEVELS_MAX as u8 {
            if row.is_empty() {
                return Ok(());
            }
            for (n, hashes) in (0_u64..).zip(row.chunks(TILE_WIDTH as usize)) {
                let width = hashes.len() as u64;
                let Some(tile) = source.tile(level, n, width)? else { continue };
                let differs = tile.iter().zip(hashes).position(|(tile, hash)| tile != hash);
                if let Some(at) = differs.or_else(|| (tile.len() != hashes.len()).then_some(0)) {
                    let path = tile_path(TileKind::Hashes(level), n, width);
                    let index = (n * TILE_WIDTH + at as u64) << (8 * u32::from(level));
                    return Err(ReviewError::Tile { path, index });
                }
            }
            debug_assert_eq!(partial_width(level, size), row.len() as u64 % TILE_WIDTH);
            row = row.chunks_exact(TILE_WIDTH as usize).map(subtree).collect();
        }
        Ok(())
    }
}

impl Source {
    fn dir(&self) -> &Path {
        match self {
            Self::Live(reader) => reader.dir(),
            Self::Exported(dir) => dir,
        }
    }

    fn head(&self) -> Result<(NoteKey, SignedNote), ReviewError> {
        let text = |name: &str| {
            let path = self.dir().join(name);
            let bytes = read(&path)?.ok_or_else(|| missing(&path))?;
            let what = "no text".to_owned();
            String::from_utf8(bytes).map_err(|_| ReadError::Damaged { file: path, what })
        };
        let damaged =
            |name: &str, what: String| ReadError::Damaged { file: self.dir().join(name), what };
        let key: NoteKey =
            text("key")?.trim_end().parse().map_err(|e| damaged("key", format!("{e}")))?;
        let note = match self {
            Self::Live(reader) => match reader.head() {
                Some(head) => head.clone(),
                None => return Err(damaged("wal", "the log is empty".into()).into()),
            },
            Self::Exported(_) => SignedNote::parse(&text("checkpoint")?)
                .map_err(|e| damaged("checkpoint", e.to_string()))?,
        };
        Ok((key, note))
    }

    fn owner(&self, key: &NoteKey) -> Result<NodeId, ReviewError> {
        let path = self.dir().join("delegation");
        let bytes = read(&path)?.ok_or_else(|| missing(&path))?;
        let said = Delegation::verify(&bytes)?;
        let same = said.key == key.key && said.name == key.name && said.purpose == PURPOSE_LOG;
        if same && is_log_of(&said.name, &said.identity.node_id()) {
            Ok(said.identity.node_id())
        } else {
            Err(ReviewError::OtherKey)
        }
    }

    /// The head that witnesses saw last: the log must hold it.
    fn cosigned_head(&self, key: &NoteKey) -> Result<Option<Checkpoint>, ReviewError> {
        let path = self.dir().join("cosigned.json");
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let cosigned: Cosigned = serde_json::from_slice(&bytes)
            .map_err(|e| ReadError::Damaged { file: path.clone(), what: e.to_string() })?;
        let note = SignedNote::parse(&cosigned.note).map_err(CheckpointError::from)?;
        Ok(Some(Checkpoint::verify(&note, key)?))
    }

    fn entries(&mut self, n: u64, width: u64) -> Result<Option<Block>, ReviewError> {
        let dir = match self {
            Self::Live(reader) => {
                let mut block = reader.block(n)?;
                block.truncate(usize::try_from(width).unwrap_or(usize::MAX));
                return Ok(Some(Block { whole: block, cut: None }));
            }
            Self::Exported(dir) => dir,
        };
        let path = dir.join(tile_path(TileKind::Entries, n, width));
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let (entries, rest) = split_bundle(&bytes);
        let whole = entries.into_iter().map(<[u8]>::to_vec).collect();
        Ok(Some(Block { whole, cut: (!rest.is_empty()).then_some(path) }))
    }

    fn leaves(&self, n: u64, width: u64) -> Result<Option<Vec<Hash>>, ReviewError> {
        match self {
            Self::Live(reader) => Ok(reader.leaves(n)?),
            Self::Exported(_) => self.tile(0, n, width),
        }
    }

    fn tile(&self, level: u8, n: u64, width: u64) -> Result<Option<Vec<Hash>>, ReviewError> {
        let live = matches!(self, Self::Live(_));
        if live && width < TILE_WIDTH {
            return Ok(None);
        }
        let path = self.dir().join(tile_path(TileKind::Hashes(level), n, width));
        let Some(bytes) = read(&path)? else {
            return if live { Ok(None) } else { Err(missing(&path).into()) };
        };
        let hashes = parse_tile(&bytes)
            .ok_or_else(|| ReadError::Damaged { file: path, what: "not whole hashes".into() })?;
        Ok(Some(hashes))
    }
}

fn missing(path: &Path) -> ReadError {
    ReadError::Damaged { file: path.to_path_buf(), what: "it is missing".into() }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::Io { path: path.to_path_buf(), source }),
    }
}
