//! Postings: for every term the entities that have it, in the order of their places.
//!
//! ```text
//! posting u32 = place (21 bits) | times (3) | fields (8)         a list ascends by place
//! term u64 ─► posting itself, if it is the only one              most terms are one entity's
//!        └──► number of a list
//! ```
//! Terms are hashes under a key of this process: nobody outside can make two of them meet. Sixteen bytes for
//! a term and four for a posting, so that 100,000 cards of some 85 terms take about 60 MB.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::super::terms::Mark;
use super::super::words::field;

/// Bits of a place.
pub(super) const PLACE_BITS: u32 = 21;
const SHIFT: u32 = 32 - PLACE_BITS;
/// Set: the value is a posting, not the number of a list.
const ALONE: u64 = 1 << 63;

/// One entity in the list of one term.
pub(super) type Posting = u32;

pub(super) fn posting(place: u32, mark: Mark) -> Posting {
    place << SHIFT | u32::from(mark.times.min(7)) << 8 | u32::from(mark.fields)
}

pub(super) fn place(posting: Posting) -> u32 {
    posting >> SHIFT
}

pub(super) fn mark(posting: Posting) -> Mark {
    let [fields, times, ..] = posting.to_le_bytes();
    Mark { fields, times: times & 7 }
}

/// The mark of facets, and of words that are only known by their beginning.
pub(super) const PLAIN: Mark = Mark { fields: field::SUMMARY, times: 1 };

/// Keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers")
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Lists {
    terms: HashMap<u64, u64, BuildHasherDefault<Hashed>>,
    lists: Vec<Vec<Posting>>,
    key: RandomState,
}

impl Lists {
    pub(super) fn word(&self, word: &str) -> u64 {
        self.key.hash_one(word)
    }

    pub(super) fn facet(&self, facet: u64) -> u64 {
        self.key.hash_one(facet)
    }

    /// The postings of a term.
    pub(super) fn find(&self, term: u64) -> Cow<'_, [Posting]> {
        match self.terms.get(&term) {
            None => Cow::Borrowed(&[]),
            Some(value) if value & ALONE != 0 => Cow::Owned(vec![*value as Posting]),
            Some(value) => Cow::Borrowed(&self.lists[*value as usize]),
        }
    }

    /// Adds a posting, or replaces the one of its place. Whether the term is new.
    pub(super) fn insert(&mut self, term: u64, new: Posting) -> bool {
        let mut entry = match self.terms.entry(term) {
            Entry::Vacant(entry) => {
                entry.insert(ALONE | u64::from(new));
                return true;
            }
            Entry::Occupied(entry) => entry,
        };
        let value = *entry.get();
        if value & ALONE == 0 {
            insert(&mut self.lists[value as usize], new);
            return false;
        }
        let old = value as Posting;
        if place(old) == place(new) {
            entry.insert(ALONE | u64::from(new));
        } else {
            entry.insert(self.lists.len() as u64);
            self.lists.push(vec![old.min(new), old.max(new)]);
        }
        false
    }

    /// Adds postings of one term that ascend by place. Whether the term is new.
    pub(super) fn extend(&mut self, term: u64, new: impl Iterator<Item = Posting>) -> bool {
        let next = self.lists.len();
        let (at, is_new) = match self.terms.entry(term) {
            Entry::Vacant(entry) => {
                entry.insert(next as u64);
                self.lists.push(Vec::new());
                (next, true)
            }
            Entry::Occupied(mut entry) => {
                let value = *entry.get();
                if value & ALONE != 0 {
                    entry.insert(next as u64);
                    self.lists.push(vec![value as Posting]);
                }
                (if value & ALONE != 0 { next } else { value as usize }, false)
            }
        };
        new.for_each(|posting| insert(&mut self.lists[at], posting));
        is_new
    }

    /// Takes a place out of the list of a term.
    pub(super) fn remove(&mut self, term: u64, gone: u32) {
        let Entry::Occupied(entry) = self.terms.entry(term) else { return };
        let value = *entry.get();
        if value & ALONE == 0 {
            let list = &mut self.lists[value as usize];
            if let Ok(at) = list.binary_search_by_key(&gone, |p| place(*p)) {
                list.remove(at);
            }
        } else if place(value as Posting) == gone {
            entry.remove();
        }
    }

    /// Gives every place its new number; postings without one are dropped, and terms without postings.
    pub(super) fn renumber(&mut self, new: &[Option<u32>]) {
        let moved = |p: Posting| {
            let to = new.get(place(p) as usize).copied().flatten()?;
            Some(posting(to, mark(p)))
        };
        let mut lists = Vec::new();
        self.terms.retain(|_, value| {
            let list = match *value & ALONE != 0 {
                true => moved(*value as Posting).into_iter().collect(),
                false => {
                    let old = std::mem::take(&mut self.lists[*value as usize]);
                    old.into_iter().filter_map(moved).collect::<Vec<_>>()
                }
            };
            *value = match list.as_slice() {
                [] => return false,
                [only] => ALONE | u64::from(*only),
                _ => {
                    lists.push(list);
                    lists.len() as u64 - 1
                }
            };
            true
        });
        self.lists = lists;
    }
}

fn insert(list: &mut Vec<Posting>, new: Posting) {
    if list.last().is_none_or(|last| place(*last) < place(new)) {
        if list.len() == list.capacity() {
            // By a quarter: doubling would leave a third of the memory empty.
            list.reserve_exact(list.len() / 4 + 2);
        }
        return list.push(new);
    }
    match list.binary_search_by_key(&place(new), |p| place(*p)) {
        Ok(at) => list[at] = new,
        Err(at) => list.insert(at, new),
    }
}

/// A list that is walked from its end.
pub(super) struct Cursor<'l>(pub(super) &'l [Posting]);

impl Cursor<'_> {
    /// The posting of a place. Places are asked for in descending order.
    pub(super) fn seek(&mut self, asked: u32) -> Option<Posting> {
        let (list, mut step) = (self.0, 1);
        while step <= list.len() && place(list[list.len() - step]) > asked {
            step *= 2;
        }
        let (low, high) = (list.len().saturating_sub(step), list.len() - step / 2);
        let cut = low + list[low..high].partition_point(|p| place(*p) <= asked);
        self.0 = &list[..cut];
        self.0.last().copied().filter(|p| place(*p) == asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: u32) -> Posting {
        posting(place, PLAIN)
    }

    #[test]
    fn a_posting_holds_the_last_place_and_every_field() {
        let last = (1 << PLACE_BITS) - 1;
        let held = posting(last, Mark { fields: 0xff, times: 5 });
        assert_eq!((place(held), mark(held)), (last, Mark { fields: 0xff, times: 5 }));
        assert_eq!(mark(posting(0, Mark { fields: 1, times: 200 })).times, 7);
    }

    #[test]
    fn lists_ascend_whatever_the_order_of_insertion() {
        let mut lists = Lists::default();
        for place in [5, 3, 9, 3, 1] {
            lists.insert(7, at(place));
        }
        assert_eq!(lists.find(7).as_ref(), [at(1), at(3), at(5), at(9)]);
        for gone in [3, 4, 9] {
            lists.remove(7, gone);
        }
        assert_eq!(lists.find(7).as_ref(), [at(1), at(5)]);
        lists.renumber(&[None, None, None, None, None, Some(2)]);
        assert_eq!(lists.find(7).as_ref(), [at(2)]);
        lists.remove(7, 2);
        assert!(lists.find(7).is_empty());
    }

    #[test]
    fn a_cursor_finds_what_a_search_from_the_front_finds() {
        let list: Vec<_> = (0..400).filter(|n| n % 3 == 0 || n % 7 == 0).map(at).collect();
        for stride in [1, 2, 5, 64, 399] {
            let mut cursor = Cursor(&list);
            for asked in (0..420).rev().step_by(stride) {
                let there = list.iter().copied().find(|p| place(*p) == asked);
                assert_eq!(cursor.seek(asked), there, "{asked} by {stride}");
            }
        }
    }
}
