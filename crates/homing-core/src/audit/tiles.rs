//! Tiles and entry bundles (C2SP tlog-tiles): where they lie, how they grow, what is in them.
//!
//! ```text
//! checkpoint                        the newest signed checkpoint
//! tile/<level>/<n>[.p/<width>]      256 (or width) hashes; n as x001/x234/067
//! tile/entries/<n>[.p/<width>]      256 (or width) entries, each behind its length as u16, big endian
//! ```

use super::limits::{TILE_LEVELS_MAX, TILE_WIDTH};
use super::tree::{Frontier, Hash};

/// What a file under `tile/` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of one level: roots of subtrees of 256^level leaves.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// The path of tile `n`, relative to the log's prefix; `width` below 256: a partial one.
#[must_use]
pub fn tile_path(kind: TileKind, n: u64, width: u64) -> String {
    let mut parts = vec![format!("{:03}", n % 1_000)];
    let mut rest = n / 1_000;
    while rest > 0 {
        parts.push(format!("x{:03}", rest % 1_000));
        rest /= 1_000;
    }
    parts.reverse();
    let n = parts.join("/");
    let level = match kind {
        TileKind::Hashes(level) => level.to_string(),
        TileKind::Entries => "entries".into(),
    };
    let partial = if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{n}{partial}")
}

/// Width of the last, partial tile of `level` in a tree of `size` leaves; 0: there is none.
#[must_use]
pub fn partial_width(level: u8, size: u64) -> u64 {
    (size >> (8 * u32::from(level))) % TILE_WIDTH
}

/// A full tile of hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Its level.
    pub level: u8,
    /// Its index in the level.
    pub n: u64,
    /// 256 hashes.
    pub hashes: Vec<Hash>,
}

/// The partial tiles of a growing tree: at most 255 hashes per level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edges {
    /// The edges of a tree of `size` leaves, from its partial tiles, level 0 first; `None` when a
    /// level has not as many hashes as the size says.
    #[must_use]
    pub fn from_parts(size: u64, levels: Vec<Vec<Hash>>) -> Option<Self> {
        let fits = |level: usize, hashes: &Vec<Hash>| {
            u8::try_from(level).is_ok_and(|l| partial_width(l, size) == hashes.len() as u64)
        };
        let all = levels.len() <= TILE_LEVELS_MAX
            && levels.iter().enumerate().all(|(level, hashes)| fits(level, hashes))
            && size.checked_shr(8 * u32::try_from(levels.len()).ok()?).unwrap_or(0) == 0;
        all.then_some(Self { size, levels })
    }

    /// Leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The partial tile of `level`.
    #[must_use]
    pub fn level(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Adds a leaf; tiles that are full now go to `full`, lowest level first.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0..TILE_LEVELS_MAX {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(hash);
            if (self.levels[level].len() as u64) < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(&mut self.levels[level]);
            hash = subtree(&hashes);
            let n = (self.size >> (8 * (level + 1))) - 1;
            let level = u8::try_from(level).expect("at most eight levels");
            full.push(Tile { level, n, hashes });
        }
    }

    /// The roots of the perfect subtrees.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let mut roots = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = &hashes[..];
            while !rest.is_empty() {
                let (perfect, after) = rest.split_at(1 << rest.len().ilog2());
                roots.push(subtree(perfect));
                rest = after;
            }
        }
        Frontier::from_parts(self.size, roots).expect("a perfect subtree for every one in the size")
    }
}

/// The root over `hashes`, whose number is a power of two.
#[must_use]
pub fn subtree(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
    }
    row.first().copied().unwrap_or_else(Hash::empty)
}

/// The bytes of a tile.
#[must_use]
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes in the bytes of a tile; `None` when they are no whole hashes or more than 256.
#[must_use]
pub fn parse_tile(bytes: &[u8]) -> Option<Vec<Hash>> {
    let whole = bytes.len().is_multiple_of(32) && bytes.len() as u64 <= TILE_WIDTH * 32;
    let hash = |chunk: &[u8]| Hash(chunk.try_into().expect("chunks of 32 bytes"));
    whole.then(|| bytes.chunks_exact(32).map(hash).collect())
}

/// Appends an entry to a bundle. Entries are at most 4 096 bytes.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let len = u16::try_from(entry.len()).expect("an entry is at most 4 096 bytes");
    bundle.extend(len.to_be_bytes());
    bundle.extend(entry);
}

/// The entries in the bytes of a bundle; `None` when they end inside an entry or are more than 256.
#[must_use]
pub fn parse_bundle(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (entries, rest) = split_bundle(bytes);
    (rest.is_empty() && entries.len() as u64 <= TILE_WIDTH).then_some(entries)
}

/// The whole entries at the beginning of a bundle, at most one more than it may have, and what is left.
#[must_use]
pub fn split_bundle(mut bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut entries = Vec::new();
    while entries.len() as u64 <= TILE_WIDTH {
        let Some((len, rest)) = bytes.split_first_chunk::<2>() else { break };
        let Some((entry, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
        else {
            break;
        };
        entries.push(entry);
        bytes = rest;
    }
    (entries, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tree::range_root;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(TileKind::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile_path(TileKind::Entries, 0, 256), "tile/entries/000");
        assert_eq!(tile_path(TileKind::Hashes(1), 273, 17), "tile/1/273.p/17");
        // The example of the specification: 70 000 entries.
        let widths: Vec<u64> = (0..3).map(|level| partial_width(level, 70_000)).collect();
        assert_eq!(widths, [112, 17, 1]);
    }

    #[test]
    fn edges_and_full_tiles_hold_the_tree() {
        let leaves: Vec<Hash> = (0..66_000_u64).map(|i| Hash::leaf(&i.to_be_bytes())).collect();
        let (mut edges, mut full, mut frontier) =
            (Edges::default(), Vec::new(), Frontier::default());
        for (at, leaf) in leaves.iter().enumerate() {
            edges.push(*leaf, &mut full);
            frontier.push(*leaf);
            if at % 977 == 0 {
                assert_eq!(edges.frontier(), frontier, "size {}", at + 1);
            }
        }
        assert_eq!(full.iter().filter(|t| t.level == 0).count(), 257);
        let top = full.iter().find(|t| t.level == 1).unwrap();
        assert_eq!((top.n, top.hashes.len()), (0, 256));
        let root = range_root(&mut &leaves[..], 0, 66_000).unwrap();
        assert_eq!(edges.frontier().root(), root);
        let again = Edges::from_parts(66_000, edges.levels.clone()).unwrap();
        assert_eq!(again, edges);
        assert_eq!(Edges::from_parts(65_999, edges.levels), None);
    }

    #[test]
    fn bundles_are_read_as_written() {
        let mut bundle = Vec::new();
        for entry in [&b"one"[..], b"", b"three"] {
            push_entry(&mut bundle, entry);
        }
        assert_eq!(parse_bundle(&bundle).unwrap(), [&b"one"[..], b"", b"three"]);
        assert_eq!(parse_bundle(&bundle[..bundle.len() - 1]), None);
    }
}
