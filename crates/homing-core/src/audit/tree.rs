//! The Merkle tree of RFC 9162 §2.1: hashes, roots, inclusion and consistency proofs.
//!
//! ```text
//! leaf = SHA-256(0x00 ‖ entry)      node = SHA-256(0x01 ‖ left ‖ right)      empty = SHA-256()
//! ```
//! [`Frontier`] is the compact form of a growing tree: the roots of its perfect subtrees, largest first.
//! Proofs are built from any [`HashSource`] that knows the roots of perfect subtrees.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

/// A SHA-256 hash: a leaf, a node or a root. Text: 64 lowercase hex; in notes and proofs base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Hash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl Hash {
    /// The hash of these bytes, without any prefix: digests of records and endpoints.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The leaf of an entry.
    #[must_use]
    pub fn leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
    }

    /// The parent of two nodes.
    #[must_use]
    pub fn node(left: &Hash, right: &Hash) -> Self {
        Self(
            Sha256::new()
                .chain_update([1])
                .chain_update(left.0)
                .chain_update(right.0)
                .finalize()
                .into(),
        )
    }

    /// The root of the empty tree.
    #[must_use]
    pub fn empty() -> Self {
        Self::digest(&[])
    }

    /// Standard base64, 44 characters.
    #[must_use]
    pub fn base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Reads [`Hash::base64`]; `None` when it is no canonical base64 of 32 bytes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(BASE64.decode(text.as_bytes()).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", HEXLOWER.encode(&self.0[..5]))
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// The roots of the perfect subtrees of a growing tree, largest first: 2^63 leaves in 63 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree of `size` leaves, from the roots of its perfect subtrees, largest first;
    /// `None` when their number is not that of the ones in `size`.
    #[must_use]
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// Leaves in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.roots.pop().expect("a root for every one in the size");
            node = Hash::node(&left, &node);
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let folded =
            self.roots.iter().rev().copied().reduce(|right, left| Hash::node(&left, &right));
        folded.unwrap_or_else(Hash::empty)
    }
}

/// Roots of perfect subtrees: `hash(level, n)` covers the leaves `n·2^level .. (n+1)·2^level`.
pub trait HashSource {
    /// What goes wrong when a hash is not there.
    type Error;

    /// The root of one perfect subtree.
    ///
    /// # Errors
    /// When the source does not have it.
    fn hash(&mut self, level: u32, n: u64) -> Result<Hash, Self::Error>;
}

impl HashSource for &[Hash] {
    type Error = OutOfRange;

    fn hash(&mut self, level: u32, n: u64) -> Result<Hash, OutOfRange> {
        let index = |n: u64| usize::try_from(n).map_err(|_| OutOfRange);
        if level == 0 {
            return self.get(index(n)?).copied().ok_or(OutOfRange);
        }
        let left = self.hash(level - 1, n * 2)?;
        Ok(Hash::node(&left, &self.hash(level - 1, n * 2 + 1)?))
    }
}

/// A leaf or a tree beyond what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree is not that large")]
pub struct OutOfRange;

/// The root of the leaves `start..end`, where `start` is a multiple of the smallest power of two that
/// is not smaller than the length (as all ranges of RFC 9162 proofs are).
///
/// # Errors
/// What the source says.
pub fn range_root<S: HashSource>(source: &mut S, start: u64, end: u64) -> Result<Hash, S::Error> {
    let mut parts = Vec::new();
    let mut at = start;
    while at < end {
        let level = (end - at).ilog2();
        parts.push(source.hash(level, at >> level)?);
        at += 1 << level;
    }
    let folded = parts.into_iter().rev().reduce(|right, left| Hash::node(&left, &right));
    Ok(folded.unwrap_or_else(Hash::empty))
}

/// The largest power of two smaller than `n`, for `n` ≥ 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// `PATH(index, D[size])` of RFC 9162 §2.1.3.1, leaf's sibling first; `index` must be below `size`.
///
/// # Errors
/// What the source says.
pub fn inclusion_proof<S: HashSource>(
    source: &mut S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, S::Error> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range_root(source, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(source, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// `PROOF(old, D[size])` of RFC 9162 §2.1.4.1; empty when `old` is 0 or `size`.
///
/// # Errors
/// What the source says.
pub fn consistency_proof<S: HashSource>(
    source: &mut S,
    old: u64,
    size: u64,
) -> Result<Vec<Hash>, S::Error> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    if old == 0 || old == size {
        return Ok(path);
    }
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_root(source, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(source, start, middle)?);
            start = middle;
        }
    }
    if start > 0 {
        path.push(range_root(source, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// The root that `path` leads to from `leaf`, RFC 9162 §2.1.3.2; `None`: no path of this shape exists.
#[must_use]
pub fn root_from_inclusion(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut root) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            root = Hash::node(sibling, &root);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            root = Hash::node(&root, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// Whether the tree of `size` leaves and root `root` begins with the one of `old` leaves and root
/// `old_root`, RFC 9162 §2.1.4.2. From the empty tree every tree grows, with an empty proof.
#[must_use]
pub fn is_consistent(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if old == 0 {
        return proof.is_empty() && *old_root == Hash::empty();
    }
    if old >= size {
        return old == size && proof.is_empty() && old_root == root;
    }
    let mut path = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let shift = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> shift, (size - 1) >> shift);
    let (mut from_old, mut from_new) = (*first, *first);
    for hash in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            from_old = Hash::node(hash, &from_old);
            from_new = Hash::node(hash, &from_new);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            from_new = Hash::node(&from_new, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && from_old == *old_root && from_new == *root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| Hash::leaf(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_frontier_agrees_with_the_definition() {
        let all = leaves(300);
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), Hash::empty());
        for size in 1..=300 {
            frontier.push(all[size - 1]);
            let root = range_root(&mut &all[..], 0, size as u64).unwrap();
            assert_eq!(frontier.root(), root, "size {size}");
        }
    }

    #[test]
    fn every_inclusion_proof_leads_to_the_root_and_no_other_does() {
        for size in 1..=66_u64 {
            let all = leaves(size);
            let root = range_root(&mut &all[..], 0, size).unwrap();
            for index in 0..size {
                let path = inclusion_proof(&mut &all[..], index, size).unwrap();
                let leaf = all[index as usize];
                assert_eq!(root_from_inclusion(index, size, leaf, &path), Some(root));
                assert_ne!(
                    root_from_inclusion(index, size, Hash::leaf(b"other"), &path),
                    Some(root)
                );
                let mut longer = path.clone();
                longer.push(root);
                assert_eq!(root_from_inclusion(index, size, leaf, &longer), None);
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(root_from_inclusion(other, size, leaf, &path), Some(root));
                }
            }
        }
    }

    #[test]
    fn every_consistency_proof_holds_and_every_flipped_one_does_not() {
        let all = leaves(66);
        let root = |n| range_root(&mut &all[..], 0, n).unwrap();
        for size in 1..=66 {
            for old in 0..=size {
                let proof = consistency_proof(&mut &all[..], old, size).unwrap();
                assert!(is_consistent(old, &root(old), size, &root(size), &proof), "{old}..{size}");
                for at in 0..proof.len() {
                    let mut bad = proof.clone();
                    bad[at].0[0] ^= 1;
                    assert!(!is_consistent(old, &root(old), size, &root(size), &bad));
                }
                let other = Hash::leaf(b"other");
                assert!(old == 0 || !is_consistent(old, &other, size, &root(size), &proof));
            }
        }
    }
}
