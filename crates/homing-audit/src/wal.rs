//! The write-ahead log: segments of frames.
//!
//! ```text
//! segment   "homing audit wal 1\n" | frame (head) | frame | frame | …
//! frame     payload length u32 BE | SHA-256(payload)[..8] | payload
//! head      base u64 | size u64 | authors u32 | (key 32 | sequence u64 | leaf 32 | time ms u64)*
//! batch     first index u64 | entries u32 | (length u16 | entry)* | length u16 | checkpoint
//! ```
//! `base` is a multiple of 256: everything below lies in tiles. `size` is the log's size when the segment
//! was begun and the authors are its chains at that size; the first batch repeats the entries from
//! `base` to `size`. A frame that ends early or does not match its hash, with nothing whole behind it, is a
//! write that a crash cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use homing_base::{PublicKey, Wall};
use homing_core::audit::review::Last;
use homing_core::audit::{Hash, SignedNote};

use crate::limits::{AUTHORS_MAX, FRAME_BYTES_MAX};

const MAGIC: &[u8] = b"homing audit wal 1\n";
const FRAME_HEAD: usize = 12;

/// Where a segment begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) authors: Vec<(PublicKey, Last)>,
}

/// A batch as a frame holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) first: u64,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) checkpoint: String,
}

/// The segments of a log, oldest first.
pub(crate) fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir.join("wal"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "wal") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn segment_path(dir: &Path, base: u64) -> PathBuf {
    dir.join("wal").join(format!("{base:016x}.wal"))
}

/// A file of the log that only its owner reads.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes a file so that it is there whole and durable, or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("tmp");
    let mut file = create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Appends a frame with this payload.
pub(crate) fn push_frame(out: &mut Vec<u8>, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("a frame is within its limit");
    out.extend(len.to_be_bytes());
    out.extend(&Hash::digest(payload).0[..8]);
    out.extend(payload);
}

/// The payload of a batch.
pub(crate) fn batch_payload<'e>(
    first: u64,
    entries: impl ExactSizeIterator<Item = &'e [u8]>,
    checkpoint: &SignedNote,
) -> Vec<u8> {
    let mut payload = Vec::new();
    push_batch(&mut payload, first, entries, checkpoint);
    payload
}

fn push_batch<'e>(
    out: &mut Vec<u8>,
    first: u64,
    entries: impl ExactSizeIterator<Item = &'e [u8]>,
    checkpoint: &SignedNote,
) {
    out.extend(first.to_be_bytes());
    let count = u32::try_from(entries.len()).expect("a batch is within its limit");
    out.extend(count.to_be_bytes());
    for entry in entries {
        homing_core::audit::tiles::push_entry(out, entry);
    }
    let note = checkpoint.to_string();
    out.extend(u16::try_from(note.len()).expect("a note is within its limit").to_be_bytes());
    out.extend(note.as_bytes());
}

/// The frame of a batch: its payload is written once, and hashed where it stands.
pub(crate) fn batch_frame<'e>(
    first: u64,
    entries: impl ExactSizeIterator<Item = &'e [u8]>,
    checkpoint: &SignedNote,
) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEAD];
    push_batch(&mut frame, first, entries, checkpoint);
    let (head, payload) = frame.split_at_mut(FRAME_HEAD);
    let len = u32::try_from(payload.len()).expect("a frame is within its limit");
    head[..4].copy_from_slice(&len.to_be_bytes());
    head[4..].copy_from_slice(&Hash::digest(payload).0[..8]);
    frame
}

fn head_payload(head: &Head) -> Vec<u8> {
    let mut payload = head.base.to_be_bytes().to_vec();
    payload.extend(head.size.to_be_bytes());
    let authors = u32::try_from(head.authors.len()).expect("authors are within their limit");
    payload.extend(authors.to_be_bytes());
    for (key, last) in &head.authors {
        payload.extend(key.0);
        payload.extend(last.sequence.to_be_bytes());
        payload.extend(last.leaf.0);
        payload.extend(last.time.0.to_be_bytes());
    }
    payload
}

/// Begins a segment with its head and, unless the log is empty, what lies between base and size.
pub(crate) fn begin(
    dir: &Path,
    head: &Head,
    carried: Option<&[u8]>,
) -> io::Result<(File, PathBuf, u64)> {
    let path = segment_path(dir, head.base);
    let mut bytes = MAGIC.to_vec();
    push_frame(&mut bytes, &head_payload(head));
    if let Some(payload) = carried {
        push_frame(&mut bytes, payload);
    }
    replace(&path, &bytes)?;
    let mut file = OpenOptions::new().write(true).open(&path)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, path, bytes.len() as u64))
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<&'b [u8]> {
        let len = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::from(len))
    }

    fn hash(&mut self) -> Option<[u8; 32]> {
        self.take(32)?.try_into().ok()
    }
}

fn parse_head(payload: &[u8]) -> Option<Head> {
    let mut at = Cursor(payload);
    let (base, size, count) = (at.u64()?, at.u64()?, at.u32()?);
    let mut authors = Vec::new();
    for _ in 0..usize::try_from(count).ok().filter(|count| *count <= AUTHORS_MAX)? {
        let key = PublicKey(at.hash()?);
        let last = Last { sequence: at.u64()?, leaf: Hash(at.hash()?), time: Wall(at.u64()?) };
        authors.push((key, last));
    }
    (at.0.is_empty() && base.is_multiple_of(256)).then_some(Head { base, size, authors })
}

pub(crate) fn parse_batch(payload: &[u8]) -> Option<Batch> {
    let mut at = Cursor(payload);
    let (first, count) = (at.u64()?, at.u32()?);
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(at.short()?.to_vec());
    }
    let checkpoint = std::str::from_utf8(at.short()?).ok()?.to_owned();
    at.0.is_empty().then_some(Batch { first, entries, checkpoint })
}

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Batch(Batch),
    /// The end, behind a whole frame.
    End,
    /// A frame that a crash cut off, or that is being written right now: nothing whole follows.
    Torn,
}

/// A segment being read, frame by frame.
pub(crate) struct Segment {
    file: BufReader<File>,
    pub(crate) path: PathBuf,
    pub(crate) head: Head,
    /// Behind the last whole frame.
    pub(crate) offset: u64,
    /// The file stands at `offset`.
    there: bool,
}

/// Why a segment cannot be read.
#[derive(Debug)]
pub(crate) enum Bad {
    Io(io::Error),
    /// Not written by a crash: bytes were changed.
    Damaged(&'static str),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Bad::Io(error)
    }
}

impl Segment {
    pub(crate) fn open(path: &Path) -> Result<Self, Bad> {
        let mut file = BufReader::with_capacity(256 * 1_024, File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(|_| Bad::Damaged("no segment of a log"))?;
        if magic != MAGIC {
            return Err(Bad::Damaged("no segment of a log"));
        }
        let mut segment = Self {
            file,
            path: path.to_path_buf(),
            head: Head::default(),
            offset: MAGIC.len() as u64,
            there: true,
        };
        let payload = segment.frame()?.ok_or(Bad::Damaged("the head is not whole"))?;
        segment.head = parse_head(&payload).ok_or(Bad::Damaged("the head is malformed"))?;
        Ok(segment)
    }

    /// The next payload; `None`: no whole frame follows, and the position is where it was.
    fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !std::mem::replace(&mut self.there, false) {
            self.file.seek(SeekFrom::Start(self.offset))?;
        }
        let mut head = [0; FRAME_HEAD];
        if !fill(&mut self.file, &mut head)? {
            return Ok(None);
        }
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if len > FRAME_BYTES_MAX {
            return Ok(None);
        }
        let mut payload = Vec::new();
        (&mut self.file).take(len as u64).read_to_end(&mut payload)?;
        if payload.len() < len || Hash::digest(&payload).0[..8] != head[4..] {
            return Ok(None);
        }
        self.offset += (FRAME_HEAD + len) as u64;
        self.there = true;
        Ok(Some(payload))
    }

    pub(crate) fn next(&mut self) -> Result<Next, Bad> {
        if let Some(payload) = self.frame()? {
            let batch = parse_batch(&payload).ok_or(Bad::Damaged("a batch is malformed"))?;
            return Ok(Next::Batch(batch));
        }
        let len = self.file.get_ref().metadata()?.len();
        if len == self.offset {
            return Ok(Next::End);
        }
        Ok(Next::Torn)
    }

    /// Whether a whole frame stands somewhere behind the one that is not: then bytes were changed, and it
    /// was no crash. `size`: entries up to here.
    pub(crate) fn is_damaged(&mut self, size: u64) -> io::Result<bool> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        let mut rest = Vec::new();
        self.file.read_to_end(&mut rest)?;
        let is_frame = |at: usize| {
            let head = rest.get(at..at + FRAME_HEAD + 8)?;
            let len = u32::from_be_bytes(head[..4].try_into().ok()?) as usize;
            let first = u64::from_be_bytes(head[FRAME_HEAD..].try_into().ok()?);
            if first <= size || first - size > 1 << 24 {
                return None;
            }
            let payload = rest.get(at + FRAME_HEAD..at + FRAME_HEAD + len)?;
            (Hash::digest(payload).0[..8] == head[4..FRAME_HEAD]).then_some(())
        };
        Ok((1..rest.len()).any(|at| is_frame(at).is_some()))
    }
}

/// Fills `buffer`; `false`: the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
