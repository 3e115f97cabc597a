//! The review of a whole log: entry by entry, what is wrong is found and named.
//!
//! | done to the log | found as |
//! |---|---|
//! | flip | [`Fault::Entry`] (encoding, signature), [`Fault::Leaf`] |
//! | drop | [`Fault::Missing`] |
//! | reorder, repeat | [`Fault::OutOfOrder`] |
//! | truncate | [`Fault::Truncated`] |
//! | backdate | [`Fault::Backdated`] |
//! | replay from another log | [`Fault::OtherLog`] |
//! | fork | [`Fault::Fork`] against a head that was known, [`Fault::Root`] against its own |
//!
//! Signatures are checked beside it, by as many threads as there are: [`UnverifiedEntry::verify`].

use std::collections::BTreeMap;

use homing_base::{PublicKey, Wall};

use super::checkpoint::Checkpoint;
use super::entry::{Entry, EntryError, UnverifiedEntry};
use super::tree::{Frontier, Hash};

/// Where an author's entries ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// The sequence of its newest entry.
    pub sequence: u64,
    /// The leaf of its newest entry.
    pub leaf: Hash,
    /// The time of its newest entry.
    pub time: Wall,
}

/// Chains of the authors of one log: what the next entry of each must say.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    authors: BTreeMap<PublicKey, Last>,
}

impl Chains {
    /// Sets where an author's entries end: from a snapshot, or to take an entry back.
    pub fn set(&mut self, author: PublicKey, last: Option<Last>) {
        match last {
            Some(last) => self.authors.insert(author, last),
            None => self.authors.remove(&author),
        };
    }

    /// Every author, and where its entries end.
    pub fn authors(&self) -> impl ExactSizeIterator<Item = (PublicKey, Last)> + '_ {
        self.authors.iter().map(|(author, last)| (*author, *last))
    }

    /// The newest entry of an author.
    #[must_use]
    pub fn last(&self, author: &PublicKey) -> Option<Last> {
        self.authors.get(author).copied()
    }

    /// Checks that `entry` continues its author's chain, and takes it.
    ///
    /// # Errors
    /// [`Fault::Missing`], [`Fault::OutOfOrder`], [`Fault::Backdated`]; nothing changes then.
    pub fn take(&mut self, index: u64, entry: &Entry, leaf: Hash) -> Result<(), Fault> {
        let last = self.last(&entry.author);
        let expected = last.map_or(0, |last| last.sequence + 1);
        let got = entry.sequence;
        if got > expected {
            return Err(Fault::Missing { index, expected, got });
        }
        if got < expected || entry.previous != last.map(|last| last.leaf) {
            return Err(Fault::OutOfOrder { index, expected, got });
        }
        if let Some(before) = last.map(|last| last.time).filter(|before| entry.time < *before) {
            return Err(Fault::Backdated { index, time: entry.time, before });
        }
        self.authors.insert(entry.author, Last { sequence: got, leaf, time: entry.time });
        Ok(())
    }
}

/// A review in progress.
#[derive(Clone, Debug)]
pub struct Review {
    log: Hash,
    frontier: Frontier,
    chains: Chains,
    known: BTreeMap<u64, Vec<Hash>>,
}

impl Review {
    /// A review of the log `origin`; `known` are heads of it that somebody saw at some time.
    #[must_use]
    pub fn new(origin: &str, known: &[Checkpoint]) -> Self {
        let mut heads: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
        for head in known.iter().filter(|head| head.origin == origin && head.size > 0) {
            heads.entry(head.size).or_default().push(head.root);
        }
        Self {
            log: Hash::digest(origin.as_bytes()),
            frontier: Frontier::default(),
            chains: Chains::default(),
            known: heads,
        }
    }

    /// Takes the next entry; `tile` is its leaf as the tiles have it. The signature is yet to be checked.
    ///
    /// # Errors
    /// The first [`Fault`] of this entry.
    pub fn take(&mut self, bytes: &[u8], tile: Option<Hash>) -> Result<UnverifiedEntry, Fault> {
        let index = self.frontier.size();
        let entry = UnverifiedEntry::parse(bytes);
        let entry = entry.map_err(|source| Fault::Entry { index, source })?;
        let leaf = Hash::leaf(bytes);
        if let Err(fault) = self.place(index, entry.claimed(), leaf, tile) {
            // Of an entry that its author did not sign like this, nothing else is true.
            return Err(match entry.verify() {
                Err(source) => Fault::Entry { index, source },
                Ok(_) => fault,
            });
        }
        self.frontier.push(leaf);
        self.compare()?;
        Ok(entry)
    }

    /// Whether the entry is of this log, follows its author's last one, and is the one in the tree.
    fn place(
        &mut self,
        index: u64,
        entry: &Entry,
        leaf: Hash,
        tile: Option<Hash>,
    ) -> Result<(), Fault> {
        if entry.log != self.log {
            return Err(Fault::OtherLog { index });
        }
        self.chains.take(index, entry, leaf)?;
        match tile.filter(|tile| *tile != leaf) {
            Some(expected) => Err(Fault::Leaf { index, got: leaf, expected }),
            None => Ok(()),
        }
    }

    fn compare(&self) -> Result<(), Fault> {
        let size = self.frontier.size();
        let Some(known) = self.known.get(&size) else { return Ok(()) };
        let root = self.frontier.root();
        match known.iter().find(|known| **known != root) {
            Some(other) => Err(Fault::Fork { size, root, other: *other }),
            None => Ok(()),
        }
    }

    /// Entries taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Ends the review: the entries must be those of `head`.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::Root`].
    pub fn finish(self, head: &Checkpoint) -> Result<(), Fault> {
        let entries = self.frontier.size();
        let known = self.known.last_key_value().map_or(0, |(size, _)| *size);
        let size = head.size.max(known);
        if entries < size {
            return Err(Fault::Truncated { entries, size });
        }
        let root = self.frontier.root();
        if entries > head.size || root != head.root {
            return Err(Fault::Root { size: head.size, root, expected: head.root });
        }
        Ok(())
    }
}

/// What is wrong with a log, and at which entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An entry is malformed or its signature is wrong: bytes were changed.
    #[error("entry {index} was changed: {source}")]
    Entry {
        /// Which.
        index: u64,
        /// Why.
        source: EntryError,
    },
    /// An entry is genuine, but not the one that the tree holds at this place.
    #[error(
        "entry {index} is not the one in the tree: its leaf is {got}, the tile says {expected}"
    )]
    Leaf {
        /// Which.
        index: u64,
        /// The leaf of the entry.
        got: Hash,
        /// The leaf in the tile.
        expected: Hash,
    },
    /// An entry was signed for another log.
    #[error("entry {index} was signed for another log: it was replayed into this one")]
    OtherLog {
        /// Which.
        index: u64,
    },
    /// Entries of the author are gone.
    #[error(
        "before entry {index} something was dropped: its author's entry {expected} is missing, this one is {got}"
    )]
    Missing {
        /// The first entry behind the gap.
        index: u64,
        /// The sequence that should come.
        expected: u64,
        /// The sequence that came.
        got: u64,
    },
    /// An entry of the author stands at the wrong place or twice.
    #[error(
        "entry {index} is out of order: its author's entry {expected} should follow, this one is {got}"
    )]
    OutOfOrder {
        /// Which.
        index: u64,
        /// The sequence that should come.
        expected: u64,
        /// The sequence that came.
        got: u64,
    },
    /// An entry claims an earlier time than its author's entry before it.
    #[error("entry {index} is backdated: it says {time}, the one before it {before}")]
    Backdated {
        /// Which.
        index: u64,
        /// Its time.
        time: Wall,
        /// The time of the author's entry before it.
        before: Wall,
    },
    /// Entries are missing at the end.
    #[error("the log was truncated: entry {entries} and later ones up to {size} are missing")]
    Truncated {
        /// Entries found.
        entries: u64,
        /// Entries in the head.
        size: u64,
    },
    /// The tree is not that of the head.
    #[error("the tree of {size} entries has the root {root}, the checkpoint says {expected}")]
    Root {
        /// Entries in the head.
        size: u64,
        /// The root of the entries.
        root: Hash,
        /// The root in the head.
        expected: Hash,
    },
    /// Somebody was shown another history.
    #[error(
        "the log was forked before entry {size}: its root is {root} here, {other} was shown elsewhere"
    )]
    Fork {
        /// Entries at which the histories differ.
        size: u64,
        /// The root here.
        root: Hash,
        /// The root there.
        other: Hash,
    },
}
