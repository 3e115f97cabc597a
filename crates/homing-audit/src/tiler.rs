//! The thread that writes full tiles and bundles, and the reading of them.
//!
//! A tile appears under its name whole, by rename. Nothing here is synced at once: the frames are the truth
//! until their segment is retired, and before that every file that replaces it is synced.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use homing_core::audit::Hash;
use homing_core::audit::limits::TILE_WIDTH;
use homing_core::audit::tiles::{
    Edges, Tile, TileKind, parse_tile, partial_width, subtree, tile_bytes, tile_path,
};

use crate::limits::TILES_WAITING_MAX;
use crate::wal::create;

/// What the writer hands over, in order.
pub(crate) enum Work {
    /// 256 entries and the tiles that they filled.
    Block { n: u64, bundle: Vec<u8>, tiles: Vec<Tile> },
    /// Everything below the end of this segment was handed over: it may go once that is durable.
    Retire { segment: PathBuf },
}

/// The thread, from the writer's side.
pub(crate) struct Tiler {
    work: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Tiler {
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let (work, queue) = sync_channel(TILES_WAITING_MAX);
        let failure = Arc::new(Mutex::new(None));
        let (dir, shared) = (dir.to_path_buf(), failure.clone());
        let run = move || {
            if let Err(error) = run(&dir, &queue) {
                tracing::error!(%error, "the audit log's tiles cannot be written");
                *shared.lock().expect("nobody panics with the lock") = Some(error.to_string());
            }
        };
        let thread = std::thread::Builder::new().name("audit-tiles".into()).spawn(run)?;
        Ok(Self { work: Some(work), thread: Some(thread), failure })
    }

    /// Hands work over; waits while too much of it is waiting.
    pub(crate) fn hand(&self, work: Work) -> io::Result<()> {
        let sender = self.work.as_ref().expect("open until dropped");
        sender.send(work).map_err(|_| {
            let why = self.failure.lock().expect("nobody panics with the lock").clone();
            io::Error::other(why.unwrap_or_else(|| "the thread that writes tiles ended".into()))
        })
    }
}

impl Drop for Tiler {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(dir: &Path, queue: &Receiver<Work>) -> io::Result<()> {
    let mut unsynced = Vec::new();
    for work in queue {
        match work {
            Work::Block { n, bundle, tiles } => {
                unsynced.push(write(dir, TileKind::Entries, n, &bundle)?);
                for tile in tiles {
                    let kind = TileKind::Hashes(tile.level);
                    unsynced.push(write(dir, kind, tile.n, &tile_bytes(&tile.hashes))?);
                }
            }
            Work::Retire { segment } => {
                sync_all(dir, &unsynced)?;
                unsynced.clear();
                std::fs::remove_file(segment)?;
            }
        }
    }
    Ok(())
}

fn write(dir: &Path, kind: TileKind, n: u64, bytes: &[u8]) -> io::Result<PathBuf> {
    let path = dir.join(tile_path(kind, n, TILE_WIDTH));
    let fresh = path.with_extension("tmp");
    let mut file = match create(&fresh) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
            create(&fresh)?
        }
        created => created?,
    };
    file.write_all(bytes)?;
    std::fs::rename(&fresh, &path)?;
    Ok(path)
}

/// Makes files and the directories that name them durable. Every file is on its way to the disk before the first
/// is waited for: they share a few commits of the file system instead of taking one each from the writer.
fn sync_all(dir: &Path, files: &[PathBuf]) -> io::Result<()> {
    for path in files {
        hasten(&File::open(path)?);
    }
    let mut dirs = BTreeSet::new();
    for path in files {
        File::open(path)?.sync_all()?;
        let above = path.ancestors().skip(1).take_while(|above| above.starts_with(dir));
        dirs.extend(above.map(Path::to_path_buf));
    }
    dirs.iter().try_for_each(|dir| File::open(dir)?.sync_all())
}

/// Begins to write a file to the disk. Only advice: where it is not taken, the sync does it all.
#[cfg(target_os = "linux")]
fn hasten(file: &File) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

#[cfg(not(target_os = "linux"))]
fn hasten(_: &File) {}

/// The full tile of hashes, if it lies on disk whole.
pub(crate) fn read_tile(dir: &Path, level: u8, n: u64) -> io::Result<Option<Vec<Hash>>> {
    let bytes = match std::fs::read(dir.join(tile_path(TileKind::Hashes(level), n, TILE_WIDTH))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    Ok(parse_tile(&bytes).filter(|hashes| hashes.len() as u64 == TILE_WIDTH))
}

/// Whether the bundle `n` lies on disk. It appears whole, and before the tiles that it filled.
pub(crate) fn has_block(dir: &Path, n: u64) -> bool {
    let has = |kind| dir.join(tile_path(kind, n, TILE_WIDTH)).exists();
    has(TileKind::Entries) && has(TileKind::Hashes(0))
}

/// The edges of the tree of `base` leaves, a multiple of 256, from the tiles below it.
pub(crate) fn load_edges(dir: &Path, base: u64) -> io::Result<Edges> {
    let mut levels = vec![Vec::new()];
    let mut level = 1_u8;
    while base >> (8 * u32::from(level)) > 0 {
        let end = base >> (8 * u32::from(level));
        let mut hashes = Vec::new();
        for n in end - partial_width(level, base)..end {
            let below = read_tile(dir, level - 1, n)?;
            let path = || tile_path(TileKind::Hashes(level - 1), n, TILE_WIDTH);
            let below = below.ok_or_else(|| io::Error::other(format!("{} is missing", path())))?;
            hashes.push(subtree(&below));
        }
        levels.push(hashes);
        level += 1;
    }
    if base == 0 {
        levels.clear();
    }
    Edges::from_parts(base, levels).ok_or_else(|| io::Error::other("tiles do not fit the size"))
}
