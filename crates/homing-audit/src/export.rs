//! The log as a static directory after C2SP tlog-tiles, for any web server and any reader.

use std::io;
use std::path::{Path, PathBuf};

use homing_core::audit::limits::{TILE_LEVELS_MAX, TILE_WIDTH};
use homing_core::audit::tiles::{TileKind, partial_width, push_entry, tile_bytes, tile_path};

use crate::reader::{ReadError, Reader};

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Entries in the log.
    pub entries: u64,
    /// Files written.
    pub files: u64,
}

/// Writes the log to `to`: `checkpoint`, `key`, `delegation`, tiles and bundles, partial ones included.
/// Files of an earlier export are overwritten; full tiles that are there already are kept.
///
/// # Errors
/// [`ReadError`].
pub fn export(reader: &mut Reader, to: &Path) -> Result<Exported, ReadError> {
    let mut out = Out { to: to.to_path_buf(), files: 0 };
    let size = reader.size();
    for n in 0..size.div_ceil(TILE_WIDTH) {
        let width = (size - n * TILE_WIDTH).min(TILE_WIDTH);
        if width == TILE_WIDTH && out.has(TileKind::Entries, n) {
            continue;
        }
        let mut bundle = Vec::new();
        reader.block(n)?.iter().for_each(|entry| push_entry(&mut bundle, entry));
        out.write(&tile_path(TileKind::Entries, n, width), &bundle)?;
    }
    for level in 0..TILE_LEVELS_MAX as u8 {
        let hashes = size >> (8 * u32::from(level));
        for n in 0..hashes.div_ceil(TILE_WIDTH) {
            let full = (n + 1) * TILE_WIDTH <= hashes;
            if full && out.has(TileKind::Hashes(level), n) {
                continue;
            }
            let width = if full { TILE_WIDTH } else { partial_width(level, size) };
            let tile = reader.hashes(level, n)?;
            out.write(&tile_path(TileKind::Hashes(level), n, width), &tile_bytes(&tile))?;
        }
    }
    for name in ["delegation", "cosigned.json"] {
        match std::fs::read(reader.dir().join(name)) {
            Ok(bytes) => out.write(name, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ReadError::Io { path: reader.dir().join(name), source }),
        }
    }
    out.write("key", format!("{}\n", reader.key()).as_bytes())?;
    if let Some(head) = reader.head() {
        out.write("checkpoint", head.to_string().as_bytes())?;
    }
    Ok(Exported { entries: size, files: out.files })
}

struct Out {
    to: PathBuf,
    files: u64,
}

impl Out {
    fn has(&self, kind: TileKind, n: u64) -> bool {
        self.to.join(tile_path(kind, n, TILE_WIDTH)).exists()
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), ReadError> {
        let path = self.to.join(name);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let fresh = path.with_extension("tmp");
        let written = written
            .and_then(|()| std::fs::write(&fresh, bytes))
            .and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|source| ReadError::Io { path, source })?;
        self.files += 1;
        Ok(())
    }
}
