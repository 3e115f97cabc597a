//! The hash tree beside each file: BLAKE3's own, down to groups of 16 KiB.
//!
//! ```text
//! root = the CID's hash
//! ├── pair (64 bytes)         CID.tree: the pairs in pre-order, nothing else
//! │   ├── group 0  16 KiB     64 bytes per 16 KiB: 0.4 % of the data
//! │   └── group 1
//! └── …                       the last group is what is left, 1 to 16,384 bytes (0 of an empty file)
//! ```
//! With the pairs on the way from the root every group is verified alone. The arithmetic is the crate `bao-tree`'s; not
//! here: where files are ([`super::store`]), and who they come from.

use std::fs::File;
use std::io::{self, ErrorKind};

use bao_tree::io::EncodeError;
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::encode_ranges_validated;
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use homing_base::ContentId;

/// Bytes verified at once.
pub(super) const GROUP_BYTES: u64 = 16 * 1_024;
/// Chunks of 1,024 bytes in a group.
const GROUP_CHUNKS: u64 = GROUP_BYTES / 1_024;

/// A file and its pairs, whole or in part, at a size that is known.
pub(super) struct Tree {
    pub(super) data: File,
    pub(super) pairs: PreOrderOutboard<File>,
}

impl Tree {
    pub(super) fn new(cid: ContentId, size: u64, data: File, pairs: File) -> Self {
        let (root, tree) = (cid.0.into(), geometry(size));
        Self { data, pairs: PreOrderOutboard { root, tree, data: pairs } }
    }

    /// The pairs, to be written to.
    pub(super) fn pairs_to_write(&self) -> io::Result<PreOrderOutboard<File>> {
        let PreOrderOutboard { root, tree, data } = &self.pairs;
        Ok(PreOrderOutboard { root: *root, tree: *tree, data: data.try_clone()? })
    }

    /// The groups that are not here, or not what the root says. Reads everything once.
    pub(super) fn missing(&self) -> io::Result<Vec<(u64, u64)>> {
        let groups = groups(self.pairs.tree.size());
        let mut missing: Vec<(u64, u64)> = Vec::new();
        let mut at = 0;
        while at < groups {
            let bad = match self.encode(&[(at, groups)], io::sink()) {
                Ok(()) => break,
                Err(EncodeError::LeafHashMismatch(chunk)) => within(chunk.0, chunk.0 + 1),
                Err(EncodeError::ParentHashMismatch(node)) => {
                    let chunks = node.chunk_range();
                    within(chunks.start.0, chunks.end.0)
                }
                Err(EncodeError::Io(e)) if e.kind() == ErrorKind::UnexpectedEof => (at, groups),
                Err(other) => return Err(other.into()),
            };
            let (from, to) = (bad.0.max(at), bad.1.min(groups).max(at + 1));
            match missing.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => missing.push((from, to)),
            }
            at = to;
        }
        Ok(missing)
    }

    /// Writes groups and the pairs that prove them. Nothing is written that the root does not prove.
    pub(super) fn encode(
        &self,
        groups: &[(u64, u64)],
        to: impl io::Write,
    ) -> Result<(), EncodeError> {
        encode_ranges_validated(&self.data, &self.pairs, &ranges(groups), to)
    }
}

/// The tree over `size` bytes.
pub(super) fn geometry(size: u64) -> BaoTree {
    BaoTree::new(size, BlockSize::from_chunk_log(GROUP_CHUNKS.trailing_zeros() as u8))
}

/// Groups of `size` bytes; an empty file has one, empty.
pub(super) fn groups(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES).max(1)
}

/// The group that proves the size.
pub(super) fn last_group(size: u64) -> [(u64, u64); 1] {
    let groups = groups(size);
    [(groups - 1, groups)]
}

/// Groups, each from … to before, as the library's ranges.
pub(super) fn ranges(groups: &[(u64, u64)]) -> ChunkRanges {
    let mut ranges = ChunkRanges::empty();
    for (from, to) in groups {
        let (from, to) = (from * GROUP_CHUNKS, to * GROUP_CHUNKS);
        ranges |= ChunkRanges::from(ChunkNum(from)..ChunkNum(to));
    }
    ranges
}

/// Bytes in groups of a file of `size` bytes.
pub(super) fn bytes_in(groups: &[(u64, u64)], size: u64) -> u64 {
    let end = |group: u64| (group * GROUP_BYTES).min(size);
    groups.iter().map(|(from, to)| end(*to) - end(*from)).sum()
}

/// The groups that hold these chunks.
fn within(from: u64, to: u64) -> (u64, u64) {
    (from / GROUP_CHUNKS, to.div_ceil(GROUP_CHUNKS))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bao_tree::io::sync::CreateOutboard;

    use super::*;

    fn tree(data: &[u8]) -> Tree {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        let cid = ContentId(*bao_tree::blake3::hash(data).as_bytes());
        let mut tree = Tree::new(cid, data.len() as u64, file, tempfile::tempfile().unwrap());
        tree.pairs.init_from(data).unwrap();
        assert_eq!(tree.pairs.root.as_bytes(), &cid.0, "the tree's root is BLAKE3 of the file");
        tree
    }

    #[test]
    fn every_flipped_byte_is_found_in_its_group_and_nowhere_else() {
        use std::os::unix::fs::FileExt;
        for size in [0, 1, 1_023, 1_024, 1_025, 16_384, 16_385, 100_000, 163_840] {
            let data: Vec<u8> = (0..size).map(|n: u32| (n * 31 % 251) as u8).collect();
            let tree = tree(&data);
            assert_eq!(tree.missing().unwrap(), [], "{size}");
            for at in (0..data.len()).step_by(7_919) {
                tree.data.write_all_at(&[data[at] ^ 1], at as u64).unwrap();
                let group = at as u64 / GROUP_BYTES;
                assert_eq!(tree.missing().unwrap(), [(group, group + 1)], "{at} of {size}");
                tree.data.write_all_at(&[data[at]], at as u64).unwrap();
            }
        }
    }

    #[test]
    fn a_damaged_pair_takes_its_groups_along() {
        use std::os::unix::fs::FileExt;
        let tree = tree(&[7; 163_840]);
        let pairs = tree.pairs.data.metadata().unwrap().len();
        assert_eq!(pairs, 9 * 64, "ten groups have nine pairs");
        tree.pairs.data.write_all_at(&[0], 0).unwrap();
        assert_eq!(tree.missing().unwrap(), [(0, 10)]);
    }
}
