//! Where content is kept: `content/` in the home.
//!
//! ```text
//! content/            0700
//! ├── bafkr4i…        0600   the bytes; there only when they are whole and were verified
//! ├── bafkr4i….tree   0600   the pairs of the hash tree ([`super::tree`])
//! └── .partial/       0700   what is being fetched, under the same two names and at full length from the start,
//!                            so that the room is taken; what is true of it, its pairs prove
//! ```
//! No list beside the files can disagree with them. A crash leaves whole files, or partial ones that go on; power loss
//! too, because files are synced before they get their name.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, Weak};

use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::CreateOutboard;
use homing_api::content::ContentItem;
use homing_api::{ApiError, Code, Stamp};
use homing_base::{ContentId, Wall};
use nix::fcntl::OFlag;
use tempfile::NamedTempFile;

use super::limits::{CONTENT_BYTES_MAX, LISTED_MAX, SPARE_BYTES};
use super::tree::{Tree, geometry, groups};

/// What a file that is being copied in is called until its CID is known.
const INCOMING: &str = "incoming-";

/// The folder of content.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    max_bytes: u64,
    /// Held while room is taken, so that two do not take the same.
    room: Mutex<()>,
}

/// What is partly here.
pub(super) struct Partial {
    pub(super) tree: Tree,
    pub(super) missing: Vec<(u64, u64)>,
}

impl Store {
    /// The one in a home. What a crash left of files that were being copied in is removed.
    pub(crate) fn open(home: &Path, max_bytes: u64) -> Self {
        let store = Self { dir: home.join("content"), max_bytes, room: Mutex::default() };
        for entry in std::fs::read_dir(store.partial_dir()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(INCOMING) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        store
    }

    /// The most bytes that are kept.
    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Where whole content is.
    pub(super) fn path(&self, cid: ContentId) -> PathBuf {
        self.dir.join(cid.to_string())
    }

    /// Whole content, to be read; `None`: it is not here.
    pub(super) fn whole(&self, cid: ContentId) -> io::Result<Option<Tree>> {
        let path = self.path(cid);
        let opened = File::open(&path).and_then(|data| Ok((data, File::open(pairs_of(&path))?)));
        match opened {
            Ok((data, pairs)) => {
                let size = data.metadata()?.len();
                Ok(Some(Tree::new(cid, size, data, pairs)))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What is here of content of a proven size; room for all of it is taken.
    pub(super) fn partial(&self, cid: ContentId, size: u64) -> Result<Partial, ApiError> {
        let path = self.partial_path(cid);
        let _room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        self.check_room(cid.fmt_short().as_str(), size, before)?;
        let opened = (|| {
            self.prepare()?;
            let (data, pairs) = (open_for_both(&path)?, open_for_both(&pairs_of(&path))?);
            let known = data.metadata()?.len() == size && before == size && size > 0;
            if !known {
                pairs.set_len(0)?;
            }
            data.set_len(size)?;
            let tree = Tree::new(cid, size, data, pairs);
            let missing = if known { tree.missing()? } else { vec![(0, groups(size))] };
            Ok(Partial { tree, missing })
        })();
        opened.map_err(|e| failed("the content cannot be kept", &e))
    }

    /// Gives content that is whole and verified its name.
    pub(super) fn settle(&self, cid: ContentId, tree: &Tree) -> Result<(), ApiError> {
        let (from, to) = (self.partial_path(cid), self.path(cid));
        let settled = (|| {
            tree.data.sync_all()?;
            tree.pairs.data.sync_all()?;
            std::fs::rename(pairs_of(&from), pairs_of(&to))?;
            std::fs::rename(&from, &to)?;
            File::open(&self.dir)?.sync_all()
        })();
        settled.map_err(|e| failed("the content cannot be kept", &e))
    }

    /// What is here is not what its name says any more: it counts as partial, and what is still true of it need not be
    /// fetched again.
    pub(super) fn demote(&self, cid: ContentId) -> io::Result<()> {
        let (from, to) = (self.path(cid), self.partial_path(cid));
        self.prepare()?;
        std::fs::rename(&from, &to)?;
        std::fs::rename(pairs_of(&from), pairs_of(&to))
    }

    /// Copies a file in. Its CID, its size, and whether it was not here before.
    pub(super) fn add(
        &self,
        text: &str,
        wanted: &Weak<()>,
    ) -> Result<(ContentId, u64, bool), ApiError> {
        let (file, size) = source(text)?;
        let failed = |e: io::Error| failed("the content cannot be kept", &e);
        self.prepare().map_err(failed)?;
        let incoming = || tempfile::Builder::new().prefix(INCOMING).tempfile_in(self.partial_dir());
        let (data, pairs) = (incoming().map_err(failed)?, incoming().map_err(failed)?);
        {
            let _room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            self.check_room(text, size, 0)?;
            data.as_file().set_len(size).map_err(failed)?;
        }
        let cid = copy(&file, size, &data, &pairs, wanted).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => being_written(text),
            _ => failed(e),
        })?;
        if file.metadata().map_err(failed)?.len() != size {
            return Err(being_written(text));
        }
        let path = self.path(cid);
        let new = !path.exists();
        let kept = (|| {
            pairs.persist(pairs_of(&path)).map_err(|e| e.error)?;
            data.persist(&path).map_err(|e| e.error)?;
            self.forget_partial(cid)?;
            File::open(&self.dir)?.sync_all()
        })();
        kept.map_err(failed)?;
        Ok((cid, size, new))
    }

    /// What is here, whole or in part, by CID.
    pub(super) fn list(&self) -> io::Result<Vec<ContentItem>> {
        let mut items = Vec::new();
        for (dir, whole) in [(self.dir.clone(), true), (self.partial_dir(), false)] {
            let entries = match std::fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            for entry in entries.take(2 * LISTED_MAX) {
                let entry = entry?;
                let Some(cid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                let Ok(metadata) = entry.metadata() else { continue };
                let changed = u64::try_from(metadata.mtime()).unwrap_or(0) * 1_000;
                items.push(ContentItem {
                    cid,
                    size_bytes: metadata.len(),
                    whole,
                    since: Stamp(Wall(changed)),
                });
            }
        }
        items.sort_by_key(|item| (item.cid, !item.whole));
        items.dedup_by_key(|item| item.cid);
        items.truncate(LISTED_MAX);
        Ok(items)
    }

    /// Bytes that count against the limit.
    pub(super) fn used_bytes(&self) -> io::Result<u64> {
        let lengths = |dir: &Path| -> u64 {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let data = entries.filter(|e| !e.file_name().to_string_lossy().ends_with(".tree"));
            data.filter_map(|e| e.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
        };
        Ok(lengths(&self.dir) + lengths(&self.partial_dir()))
    }

    /// Content leaves. Whether there was any; who is reading it reads on.
    pub(super) fn remove(&self, cid: ContentId) -> io::Result<bool> {
        let path = self.path(cid);
        let whole = remove_file(&path)?;
        remove_file(&pairs_of(&path))?;
        Ok(self.forget_partial(cid)? || whole)
    }

    fn forget_partial(&self, cid: ContentId) -> io::Result<bool> {
        let path = self.partial_path(cid);
        let was = remove_file(&path)?;
        remove_file(&pairs_of(&path))?;
        Ok(was)
    }

    fn check_room(&self, what: &str, size: u64, before: u64) -> Result<(), ApiError> {
        let failed = |e| failed("the content cannot be counted", &e);
        let used = self.used_bytes().map_err(failed)?.saturating_sub(before);
        if used.saturating_add(size) > self.max_bytes {
            let left = self.max_bytes.saturating_sub(used);
            return Err(ApiError::new(Code::LimitReached, format!("there is no room for {what}"))
                .why(format!("it has {size} bytes, {left} of {} are free", self.max_bytes))
                .hint("homing content rm CID, or homing config set content.max_bytes BYTES and start the daemon again"));
        }
        let free = free_bytes(self.dir.parent().unwrap_or(&self.dir));
        if size.saturating_sub(before) > free.saturating_sub(SPARE_BYTES) {
            return Err(disk_full(format!("it has {size} bytes, the disk has {free} left")));
        }
        Ok(())
    }

    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.partial_dir())
    }

    fn partial_dir(&self) -> PathBuf {
        self.dir.join(".partial")
    }

    fn partial_path(&self, cid: ContentId) -> PathBuf {
        self.partial_dir().join(cid.to_string())
    }
}

/// The file of pairs beside a file.
fn pairs_of(path: &Path) -> PathBuf {
    path.with_extension("tree")
}

fn open_for_both(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn remove_file(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// A file that somebody wants to publish, and its size.
fn source(text: &str) -> Result<(File, u64), ApiError> {
    let refuse =
        |why: String| ApiError::new(Code::Usage, format!("{text} cannot be published")).why(why);
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(refuse("it is no absolute path".into()));
    }
    // A pipe without a writer is not waited for.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = file.map_err(|e| refuse(e.to_string()))?;
    let metadata = file.metadata().map_err(|e| refuse(e.to_string()))?;
    match () {
        () if metadata.is_dir() => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(refuse("directories are not supported".into())
                .hint(format!("tar it: tar -cf {name}.tar {name}")))
        }
        () if !metadata.is_file() => Err(refuse("it is not a file".into())),
        () if metadata.len() > CONTENT_BYTES_MAX => Err(refuse("it is too large".into())),
        () => Ok((file, metadata.len())),
    }
}

/// Copies `size` bytes and hashes what it copies, not what the file is by then.
fn copy(
    from: &File,
    size: u64,
    data: &NamedTempFile,
    pairs: &NamedTempFile,
    wanted: &Weak<()>,
) -> io::Result<ContentId> {
    let tree = geometry(size);
    let mut outboard =
        PreOrderOutboard { root: [0; 32].into(), tree, data: pairs.as_file().try_clone()? };
    let from = BufReader::with_capacity(1 << 20, from);
    let mut copying = Copying { from, to: BufWriter::with_capacity(1 << 20, data), wanted };
    outboard.init_from(&mut copying)?;
    copying.to.flush()?;
    drop(copying);
    data.as_file().sync_all()?;
    pairs.as_file().sync_all()?;
    Ok(ContentId(*outboard.root.as_bytes()))
}

/// What is read is written, for as long as somebody waits for what comes of it.
struct Copying<'a> {
    from: BufReader<&'a File>,
    to: BufWriter<&'a NamedTempFile>,
    wanted: &'a Weak<()>,
}

impl Read for Copying<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.wanted.strong_count() == 0 {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        let read = self.from.read(buffer)?;
        self.to.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// What went wrong on the disk, as a user is told.
pub(super) fn failed(message: &str, error: &io::Error) -> ApiError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => disk_full(error.to_string()),
        ErrorKind::PermissionDenied => {
            ApiError::new(Code::PermissionDenied, message).why(error.to_string())
        }
        _ => ApiError::new(Code::Internal, message).why(error.to_string()),
    }
}

fn disk_full(why: String) -> ApiError {
    ApiError::new(Code::DiskFull, "the disk is full")
        .why(why)
        .hint("free space, or remove content: homing content list")
}

fn being_written(text: &str) -> ApiError {
    ApiError::new(Code::Usage, format!("{text} cannot be published"))
        .why("somebody is writing to it")
        .hint("publish it when it is complete")
}

/// Bytes that may still be written to the file system of `dir`.
fn free_bytes(dir: &Path) -> u64 {
    let Ok(stat) = nix::sys::statvfs::statvfs(dir) else { return u64::MAX };
    #[allow(clippy::useless_conversion, reason = "the types differ between systems")]
    let (blocks, size) = (u64::from(stat.blocks_available()), u64::from(stat.fragment_size()));
    blocks.saturating_mul(size)
}
