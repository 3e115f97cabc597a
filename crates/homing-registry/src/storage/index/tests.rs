//! The index against a plain list of the same entities, under changes in any order.

use std::collections::BTreeMap;

use homing_base::{Mono, Now, Wall};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::entity::Status;
use crate::listing::Listing;
use crate::storage::{Filter, Query};

const WORDS: [&str; 12] =
    ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "kite", "lynx"];

fn now() -> Now {
    Now { mono: Mono(0), wall: Wall(1_000_000) }
}

#[derive(Clone, Debug, PartialEq)]
struct Model {
    place: Place,
    words: Vec<&'static str>,
}

impl Model {
    fn terms(&self) -> Terms {
        let tags: Vec<String> = self.words.iter().map(|w| (*w).to_owned()).collect();
        match self.place.withdrawn {
            true => Terms::default(),
            false => Terms::of(&Listing { tags, ..Listing::default() }, None),
        }
    }

    fn fits(&self, words: &[&str], status: Option<Status>) -> bool {
        let live = !self.place.withdrawn && self.place.expires > now().wall;
        let fits = match status {
            Some(Status::Withdrawn) => self.place.withdrawn,
            Some(Status::Expired) => !live && !self.place.withdrawn,
            _ => live,
        };
        let there = |word: &&str| self.words.contains(word) && !self.place.withdrawn;
        fits && words.iter().all(there)
    }
}

struct World {
    rng: ChaCha8Rng,
    index: Index,
    /// Not yet taken over.
    changes: Vec<Change>,
    model: BTreeMap<i64, Model>,
    next: i64,
}

impl World {
    fn below(&mut self, n: u32) -> u32 {
        self.rng.next_u32() % n
    }

    fn words(&mut self) -> Vec<&'static str> {
        let all = self.rng.next_u32() & self.rng.next_u32();
        (0..WORDS.len()).filter(|n| all >> n & 1 == 1).map(|n| WORDS[n]).collect()
    }

    fn anybody(&mut self) -> Option<i64> {
        let n = self.model.len();
        (n > 0)
            .then(|| self.below(n as u32) as usize)
            .and_then(|n| self.model.keys().nth(n).copied())
    }

    fn put(&mut self, seq: i64) {
        let expires = Wall(if self.below(6) == 0 { 900_000 } else { 2_000_000 });
        let place = Place {
            seq,
            tie: u64::from(self.below(50)),
            issued: Wall(u64::from(self.below(900_000))),
            expires,
            heartbeat: None,
            withdrawn: self.below(8) == 0,
        };
        let new = Model { place, words: self.words() };
        let old = self.model.insert(seq, new.clone()).map(|old| old.terms()).unwrap_or_default();
        self.changes.push(Change::Row(place));
        if old != new.terms() {
            self.changes.push(Change::Terms { seq, old, new: new.terms() });
        }
    }

    fn step(&mut self) {
        match (self.below(10), self.anybody()) {
            (0..=1, Some(seq)) => self.put(seq),
            (2..=4, Some(seq)) => {
                self.model.remove(&seq);
                self.changes.push(Change::Gone { seq });
            }
            _ => {
                self.next += 1;
                self.put(self.next);
            }
        }
    }

    /// One by one or together: it makes no difference.
    fn take_over(&mut self) {
        let changes = std::mem::take(&mut self.changes).into_iter();
        match self.below(2) {
            0 => changes.for_each(|change| self.index.apply(change)),
            _ => self.index.apply_all(changes),
        }
    }

    fn agree(&mut self) {
        let mut words = self.words();
        words.truncate(3);
        let status = [None, Some(Status::Expired), Some(Status::Withdrawn)][self.below(3) as usize];
        let tags = words.iter().map(|w| (*w).to_owned()).collect();
        let filter = Filter { tags, status, ..Filter::default() };
        let fitting: Vec<i64> =
            self.model.iter().filter(|(_, m)| m.fits(&words, status)).map(|(s, _)| *s).collect();
        assert_eq!(self.index.page(now(), &filter, 0, usize::MAX), fitting, "{words:?} {status:?}");
        let half = fitting.len() / 2;
        if let Some(after) = fitting.get(half) {
            assert_eq!(
                self.index.page(now(), &filter, *after, 3),
                fitting[half + 1..].iter().copied().take(3).collect::<Vec<_>>()
            );
        }
        for query in [
            Query { filter, limit: 100, ..Query::default() },
            Query {
                text: words.join(" "),
                filter: Filter { status, ..Filter::default() },
                limit: 100,
                offset: 0,
            },
        ] {
            let found = self.index.find(now(), &query);
            if !fitting.is_empty() {
                assert_eq!(found.total, fitting.len() as u64, "{query:?}");
            }
            assert!(found.hits.is_sorted_by(|a, b| a.1.total >= b.1.total));
            let mut seqs: Vec<_> = found.hits.iter().map(|hit| hit.0).collect();
            seqs.sort_unstable();
            seqs.dedup();
            assert_eq!(seqs.len() as u64, found.total.min(100), "each once");
            if !fitting.is_empty() {
                assert!(seqs.iter().all(|seq| fitting.contains(seq)));
            }
        }
    }
}

#[test]
fn it_finds_what_a_plain_list_finds_whatever_was_changed() {
    let seed = std::env::var("HOMING_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed);
    println!("HOMING_SEED={seed}");
    let rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World {
        rng,
        index: Index::default(),
        changes: Vec::new(),
        model: BTreeMap::new(),
        next: 0,
    };
    let mut renumbered = false;
    for step in 0..12_000 {
        let gone = world.index.gone;
        world.step();
        if world.below(8) == 0 {
            world.take_over();
        }
        renumbered |= world.index.gone + 1 < gone;
        if step % 20 == 0 {
            world.take_over();
            world.agree();
        }
    }
    assert!(renumbered, "the gaps were never closed");
    world.take_over();
    let mut anew = Index::default();
    for (seq, model) in &world.model {
        anew.apply(Change::Row(model.place));
        anew.apply(Change::Terms { seq: *seq, old: Terms::default(), new: model.terms() });
    }
    assert_eq!(world.index.difference(&anew), None);
}
