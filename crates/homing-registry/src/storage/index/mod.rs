//! The search index of the SQLite backend: in memory, derived from the rows, never written.
//!
//! ```text
//! rows ─ open ─► places (one for each entity, in the order of registration) + lists (term ─► places)
//! writer ─ commit ─► apply ─► answer              whoever was answered is found from then on
//! ```
//! Nothing can be lost with it: it is made anew from the `terms` of every row when the file is opened, and a
//! crash leaves rows only. A renewed record touches its place, not the lists. What is gone keeps its place
//! until half of all are gone. Why no library and no FTS5: `docs/decisions/008-search-index-in-memory.md`.
//! Not here: how matches are found (`find`), how they are ranked ([`super::rank`]).

mod find;
mod lists;

use std::collections::BTreeSet;

use homing_base::{NodeId, Wall};

use self::lists::{Lists, PLACE_BITS, PLAIN};
use super::terms::{Term, Terms};
use crate::limits::ENTITIES_MAX;

const _: () = assert!(ENTITIES_MAX < 1 << PLACE_BITS);

/// Places are renumbered when this many are empty and half of all are.
const GONE_MIN: usize = 1_024;

/// What matching and ranking read of one entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Of its row; ascends with the places.
    pub(crate) seq: i64,
    /// The beginning of its node ID: the order of those with one score.
    pub(crate) tie: u64,
    pub(crate) issued: Wall,
    pub(crate) expires: Wall,
    pub(crate) heartbeat: Option<Wall>,
    pub(crate) withdrawn: bool,
}

impl Place {
    pub(crate) fn tie(id: &NodeId) -> u64 {
        id.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

/// What one write changed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A row is there, or has another record.
    Row(Place),
    /// What an entity is known by is no longer `old`.
    Terms { seq: i64, old: Terms, new: Terms },
    /// A newer heartbeat.
    Heartbeat { seq: i64, at: Wall },
    /// The row is gone.
    Gone { seq: i64 },
}

/// A place, and what only the index knows of it.
#[derive(Clone, Copy)]
struct Slot {
    place: Place,
    /// Words of its listing.
    length: u16,
    gone: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Index {
    slots: Vec<Slot>,
    /// Slots that are gone.
    gone: usize,
    lists: Lists,
    /// For the beginnings of words.
    words: BTreeSet<Box<str>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

/// Terms of new entities, to be sorted: each list is then visited once for all of them, and in order.
#[derive(Default)]
struct Gathered {
    /// Term, posting, where its word stands in `text`; no word: a facet.
    terms: Vec<(u64, lists::Posting, u32, u32)>,
    text: String,
}

impl Index {
    /// Takes over many changes, in their order.
    pub(crate) fn apply_all(&mut self, changes: impl Iterator<Item = Change>) {
        let mut gathered = Gathered::default();
        for change in changes {
            match change {
                Change::Terms { seq, old, new } if old.0.is_empty() => {
                    self.gather(seq, &new, &mut gathered);
                }
                Change::Row(place) if self.slots.len() < 1 << PLACE_BITS => self.row(place),
                other => {
                    self.take_in(&mut gathered);
                    self.apply(other);
                }
            }
        }
        self.take_in(&mut gathered);
    }

    fn gather(&mut self, seq: i64, terms: &Terms, gathered: &mut Gathered) {
        let Some(at) = self.at(seq) else { return };
        self.slots[at].length = terms.length();
        let Gathered { terms: all, text } = gathered;
        terms.each(|term| match term {
            Term::Word(word, mark) => {
                let from = text.len() as u32;
                text.push_str(word);
                let posting = lists::posting(at as u32, mark);
                all.push((self.lists.word(word), posting, from, text.len() as u32));
            }
            Term::Facet(facet) => {
                all.push((self.lists.facet(facet), lists::posting(at as u32, PLAIN), 0, 0));
            }
        });
    }

    fn take_in(&mut self, gathered: &mut Gathered) {
        let Gathered { mut terms, text } = std::mem::take(gathered);
        terms.sort_unstable();
        for same in terms.chunk_by(|a, b| a.0 == b.0) {
            let (term, posting, from, to) = same[0];
            let is_new = match same.len() {
                1 => self.lists.insert(term, posting),
                _ => self.lists.extend(term, same.iter().map(|t| t.1)),
            };
            if is_new && from < to {
                self.words.insert(text[from as usize..to as usize].into());
            }
        }
    }

    /// Takes over what a transaction changed.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Row(place) => self.row(place),
            Change::Terms { seq, old, new } => {
                let Some(at) = self.at(seq) else { return };
                self.forget(at, &old);
                self.learn(at, &new);
            }
            Change::Heartbeat { seq, at } => {
                if let Some(slot) = self.at(seq) {
                    self.slots[slot].place.heartbeat = Some(at);
                }
            }
            Change::Gone { seq } => {
                let Some(at) = self.at(seq) else { return };
                self.gone += usize::from(!std::mem::replace(&mut self.slots[at].gone, true));
                if self.gone >= GONE_MIN.max(self.slots.len() / 2) {
                    self.renumber();
                }
            }
        }
    }

    fn row(&mut self, place: Place) {
        if let Some(at) = self.at(place.seq) {
            self.slots[at].place = place;
            return;
        }
        if self.slots.len() >= 1 << PLACE_BITS {
            self.renumber();
        }
        self.slots.push(Slot { place, length: 0, gone: false });
    }

    fn at(&self, seq: i64) -> Option<usize> {
        match self.slots.last() {
            Some(last) if last.place.seq == seq => Some(self.slots.len() - 1),
            _ => self.slots.binary_search_by_key(&seq, |slot| slot.place.seq).ok(),
        }
    }

    fn learn(&mut self, at: usize, terms: &Terms) {
        let Self { lists, words, .. } = self;
        terms.each(|term| match term {
            Term::Word(word, mark) => {
                if lists.insert(lists.word(word), lists::posting(at as u32, mark)) {
                    words.insert(word.into());
                }
            }
            Term::Facet(facet) => {
                lists.insert(lists.facet(facet), lists::posting(at as u32, PLAIN));
            }
        });
        self.slots[at].length = terms.length();
    }

    fn forget(&mut self, at: usize, terms: &Terms) {
        let lists = &mut self.lists;
        terms.each(|term| match term {
            Term::Word(word, _) => lists.remove(lists.word(word), at as u32),
            Term::Facet(facet) => lists.remove(lists.facet(facet), at as u32),
        });
    }

    /// What is not the same in an index of the same rows.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let there = |index: &Self| {
            let slots = index.slots.iter().filter(|slot| !slot.gone);
            slots.map(|slot| (slot.place, slot.length)).collect::<Vec<_>>()
        };
        if there(self) != there(other) {
            return Some("entities".into());
        }
        let of_word = |index: &Self, word: &str| {
            let list = index.lists.find(index.lists.word(word));
            let at = |p: &lists::Posting| &index.slots[lists::place(*p) as usize];
            let there = list.iter().filter(|p| !at(p).gone);
            there.map(|p| (at(p).place.seq, lists::mark(*p))).collect::<Vec<_>>()
        };
        let mut words = self.words.iter().chain(&other.words);
        words
            .find(|word| of_word(self, word) != of_word(other, word))
            .map(|word| format!("{word:?}"))
    }

    /// Closes the gaps that the gone have left.
    fn renumber(&mut self) {
        let mut next = 0;
        let number = |slot: &Slot| {
            next += u32::from(!slot.gone);
            (!slot.gone).then(|| next - 1)
        };
        let new: Vec<_> = self.slots.iter().map(number).collect();
        self.slots.retain(|slot| !slot.gone);
        self.gone = 0;
        self.lists.renumber(&new);
        let Self { words, lists, .. } = self;
        words.retain(|word| !lists.find(lists.word(word)).is_empty());
    }
}

#[cfg(test)]
mod tests;
