//! Reading a log: by any process, beside a writer or without one.
//!
//! What lies in full bundles is read from there; the rest, from the frames, is kept in memory: at most what
//! the second thread has not written yet. [`Reader::refresh`] follows the writer.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use homing_base::derived::Delegation;
use homing_core::audit::bundle::BUNDLE_SCHEMA;
use homing_core::audit::limits::TILE_WIDTH;
use homing_core::audit::note::KeyType;
use homing_core::audit::tiles::{Edges, TileKind, parse_bundle, subtree, tile_path};
use homing_core::audit::tree::{HashSource, consistency_proof, inclusion_proof};
use homing_core::audit::{
    Checkpoint, Consistency, Hash, Inclusion, NoteKey, ProofBundle, SignedNote, TlogProof,
};
use serde::{Deserialize, Serialize};

use crate::tiler::{has_block, load_edges, read_tile};
use crate::wal::{self, Bad, Batch, Next, Segment};

/// Times that a reader begins again when the writer removes a segment under its hands.
const RETRIES: usize = 8;

/// The newest checkpoint that witnesses cosigned (`cosigned.json`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosigned {
    /// The signed note with its cosignatures.
    pub note: String,
    /// The witnesses' keys (vkeys).
    pub witnesses: Vec<String>,
    /// The witnesses' delegations, base64.
    pub delegations: Vec<String>,
}

impl Cosigned {
    /// The head with its cosignatures, and the delegations of the cosigners' keys.
    #[must_use]
    pub fn new(note: &SignedNote, said: &[Delegation]) -> Self {
        let key = |d: &Delegation| NoteKey::new(&d.name, KeyType::CosignatureV1, d.key);
        Self {
            note: note.to_string(),
            witnesses: said.iter().filter_map(key).map(|key| key.to_string()).collect(),
            delegations: said.iter().map(|d| BASE64.encode(d.bytes())).collect(),
        }
    }

    /// Writes it into the directory of a log, in place of the one before.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn save(&self, dir: &Path) -> Result<(), ReadError> {
        let path = dir.join("cosigned.json");
        let json = serde_json::to_vec_pretty(self).expect("plain strings serialise");
        wal::replace(&path, &json).map_err(at(&path))
    }
}

/// A log, open for reading.
pub struct Reader {
    dir: PathBuf,
    key: NoteKey,
    segment: Segment,
    edges: Edges,
    head: Option<SignedNote>,
    /// Index of the first entry of `tail`, a multiple of 256.
    tail_start: u64,
    tail: VecDeque<Vec<u8>>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no log.
    #[error("there is no audit log in {dir}")]
    Missing {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file's bytes were changed.
    #[error("{file} was damaged: {what}")]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No such entry.
    #[error("there is no entry {index}: the log has {size}")]
    NoEntry {
        /// Which was asked for.
        index: u64,
        /// Entries in the log.
        size: u64,
    },
}

impl Reader {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        let missing = || ReadError::Missing { dir: dir.to_path_buf() };
        let key = std::fs::read_to_string(dir.join("key")).map_err(|_| missing())?;
        let key: NoteKey = key.trim_end().parse().map_err(|error| ReadError::Damaged {
            file: dir.join("key"),
            what: format!("{error}"),
        })?;
        let mut tries = 0;
        loop {
            match Self::begin(dir, &key).and_then(|mut reader| reader.refresh().map(|()| reader)) {
                Err(ReadError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && tries < RETRIES =>
                {
                    tries += 1;
                }
                ended => return ended,
            }
        }
    }

    fn begin(dir: &Path, key: &NoteKey) -> Result<Self, ReadError> {
        let paths = wal::segments(dir).map_err(at(dir))?;
        let first = paths.first().ok_or(ReadError::Missing { dir: dir.to_path_buf() })?;
        let segment = Segment::open(first).map_err(|bad| bad_segment(first, bad))?;
        let base = segment.head.base;
        let edges = load_edges(dir, base).map_err(at(dir))?;
        let (dir, key) = (dir.to_path_buf(), key.clone());
        Ok(Self { dir, key, segment, edges, head: None, tail_start: base, tail: VecDeque::new() })
    }

    /// Takes in what was appended since.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        loop {
            match self.segment.next().map_err(|bad| bad_segment(&self.segment.path, bad))? {
                Next::Batch(batch) => self.take(batch)?,
                Next::End | Next::Torn => {
                    let paths = wal::segments(&self.dir).map_err(at(&self.dir))?;
                    let Some(next) = paths.iter().find(|path| **path > self.segment.path) else {
                        return Ok(());
                    };
                    // The writer begins a segment when the one before is complete.
                    while let Next::Batch(batch) =
                        self.segment.next().map_err(|bad| bad_segment(&self.segment.path, bad))?
                    {
                        self.take(batch)?;
                    }
                    self.segment = Segment::open(next).map_err(|bad| bad_segment(next, bad))?;
                }
            }
        }
    }

    fn take(&mut self, batch: Batch) -> Result<(), ReadError> {
        let size = self.edges.size();
        if batch.first > size {
            let what = format!("entries {size} to {} are missing", batch.first);
            return Err(ReadError::Damaged { file: self.segment.path.clone(), what });
        }
        let skip = usize::try_from(size - batch.first).unwrap_or(usize::MAX);
        let mut full = Vec::new();
        for entry in batch.entries.into_iter().skip(skip) {
            self.edges.push(Hash::leaf(&entry), &mut full);
            self.tail.push_back(entry);
        }
        self.trim();
        let note = SignedNote::parse(&batch.checkpoint).map_err(|error| ReadError::Damaged {
            file: self.segment.path.clone(),
            what: error.to_string(),
        })?;
        let size = Checkpoint::parse(&note.text).map_or(0, |head| head.size);
        if size == self.edges.size() {
            self.head = Some(note);
        }
        Ok(())
    }

    /// Forgets what lies in bundles.
    fn trim(&mut self) {
        while self.tail.len() as u64 >= TILE_WIDTH
            && has_block(&self.dir, self.tail_start / TILE_WIDTH)
        {
            self.tail.drain(..TILE_WIDTH as usize);
            self.tail_start += TILE_WIDTH;
        }
    }

    /// Entries in the log.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.edges.size()
    }

    /// The log's public key; its name is the origin.
    #[must_use]
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// The directory of the log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The newest signed checkpoint; `None`: the log is empty.
    #[must_use]
    pub fn head(&self) -> Option<&SignedNote> {
        self.head.as_ref()
    }

    /// The entries of block `n`: up to 256, from `256·n` on.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn block(&mut self, n: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        let start = n * TILE_WIDTH;
        if start >= self.tail_start {
            let skip = usize::try_from(start - self.tail_start).unwrap_or(usize::MAX);
            return Ok(self.tail.iter().skip(skip).take(TILE_WIDTH as usize).cloned().collect());
        }
        let path = self.dir.join(tile_path(TileKind::Entries, n, TILE_WIDTH));
        let bytes = std::fs::read(&path).map_err(at(&path))?;
        let entries = parse_bundle(&bytes).filter(|entries| entries.len() as u64 == TILE_WIDTH);
        let entries = entries.ok_or_else(|| ReadError::Damaged {
            file: path.clone(),
            what: "not a bundle of 256 entries".into(),
        })?;
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// The leaves of block `n`, as the tiles have them; `None`: the tile is not on disk (yet).
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn leaves(&self, n: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        if (n + 1) * TILE_WIDTH > self.edges.size() {
            return Ok(Some(self.edges.level(0).to_vec()));
        }
        read_tile(&self.dir, 0, n).map_err(at(&self.dir))
    }

    /// One entry.
    ///
    /// # Errors
    /// [`ReadError::NoEntry`] and others.
    pub fn entry(&mut self, index: u64) -> Result<Vec<u8>, ReadError> {
        let no_entry = ReadError::NoEntry { index, size: self.size() };
        if index >= self.size() {
            return Err(no_entry);
        }
        let block = self.block(index / TILE_WIDTH)?;
        block.into_iter().nth((index % TILE_WIDTH) as usize).ok_or(no_entry)
    }

    /// The proof that entry `index` stands in the tree of `size` entries.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn inclusion(&mut self, index: u64, size: u64) -> Result<Inclusion, ReadError> {
        let have = self.size();
        if index >= size || size > have {
            return Err(ReadError::NoEntry { index: index.max(size), size: have });
        }
        Ok(Inclusion { index, path: inclusion_proof(self, index, size)? })
    }

    /// The proof that the tree of `size` entries begins with that of `old`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn consistency(&mut self, old: u64, size: u64) -> Result<Consistency, ReadError> {
        let have = self.size();
        if old > size || size > have {
            return Err(ReadError::NoEntry { index: old.max(size), size: have });
        }
        Ok(Consistency { old, path: consistency_proof(self, old, size)? })
    }

    /// What witnesses cosigned last, if anything.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn cosigned(&self) -> Result<Option<Cosigned>, ReadError> {
        let path = self.dir.join("cosigned.json");
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                ReadError::Damaged { file: path.clone(), what: error.to_string() }
            }),
        }
    }

    /// The newest checkpoint that holds entry `index`, a cosigned one if there is one, with what says who
    /// cosigned it.
    fn checkpoint_with(&self, index: u64) -> Result<(SignedNote, u64, Cosigned), ReadError> {
        let parse = |text: &str| {
            let note = SignedNote::parse(text).ok()?;
            let size = Checkpoint::parse(&note.text).ok()?.size;
            (index < size && size <= self.size()).then_some((note, size))
        };
        if let Some(cosigned) = self.cosigned()?
            && let Some((note, size)) = parse(&cosigned.note)
        {
            return Ok((note, size, cosigned));
        }
        let no_entry = ReadError::NoEntry { index, size: self.size() };
        let head = self.head.clone().filter(|_| index < self.size()).ok_or(no_entry)?;
        Ok((head, self.size(), Cosigned::default()))
    }

    /// The offline proof of entry `index`: nothing else is needed to check it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn prove(&mut self, index: u64) -> Result<ProofBundle, ReadError> {
        let (checkpoint, size, cosigned) = self.checkpoint_with(index)?;
        let inclusion = self.inclusion(index, size)?;
        let proof = TlogProof { extra: None, inclusion, checkpoint };
        let path = self.dir.join("delegation");
        let delegation = std::fs::read(&path).map_err(at(&path))?;
        let mut delegations = vec![BASE64.encode(&delegation)];
        delegations.extend(cosigned.delegations);
        Ok(ProofBundle {
            schema: BUNDLE_SCHEMA.into(),
            entry: BASE64.encode(&self.entry(index)?),
            proof: proof.to_string(),
            log_key: self.key.to_string(),
            delegations,
            witnesses: cosigned.witnesses,
            anchors: Vec::new(),
        })
    }
}

impl HashSource for Reader {
    type Error = ReadError;

    fn hash(&mut self, level: u32, n: u64) -> Result<Hash, ReadError> {
        let (tile_level, within) = (level / 8, level % 8);
        let tile_level = u8::try_from(tile_level).expect("a tree has at most 64 levels");
        let first = n << within;
        let (tile, at) = (first / TILE_WIDTH, (first % TILE_WIDTH) as usize);
        let hashes = self.hashes(tile_level, tile)?;
        let part = hashes.get(at..at + (1 << within));
        let size = self.size();
        part.map(subtree).ok_or(ReadError::NoEntry { index: first, size })
    }
}

impl Reader {
    /// The hashes of a tile: from disk, from the edges, or from what lies below.
    pub(crate) fn hashes(&mut self, level: u8, n: u64) -> Result<Vec<Hash>, ReadError> {
        let end = self.size() >> (8 * u32::from(level));
        if (n + 1) * TILE_WIDTH > end {
            return Ok(self.edges.level(level).to_vec());
        }
        if let Some(hashes) = read_tile(&self.dir, level, n).map_err(at(&self.dir))? {
            return Ok(hashes);
        }
        if level == 0 {
            return Ok(self.block(n)?.iter().map(|entry| Hash::leaf(entry)).collect());
        }
        let below = n * TILE_WIDTH..(n + 1) * TILE_WIDTH;
        below.map(|n| Ok(subtree(&self.hashes(level - 1, n)?))).collect()
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ReadError + use<> {
    let path = path.to_path_buf();
    move |source| ReadError::Io { path, source }
}

fn bad_segment(path: &Path, bad: Bad) -> ReadError {
    match bad {
        Bad::Io(source) => at(path)(source),
        Bad::Damaged(what) => ReadError::Damaged { file: path.to_path_buf(), what: what.into() },
    }
}
