//! Matching: which entities a query means, walked from the newest to the oldest.
//!
//! ```text
//! shortest list ─► each place: status? ─► in every other list? ─► score ─► the best `limit` from `offset` on
//! ```
//! Every match is scored, up to [`SCORED_MAX`], so that an old entity with the better name stands before a
//! thousand new ones that mention the word. The order of equals is that of their node IDs.

use std::borrow::Cow;
use std::ops::Bound;

use homing_base::Now;

use super::lists::{self, Cursor, PLAIN, Posting};
use super::{Index, Slot};
use crate::entity::{HEARTBEAT_LIFE_MS, Status};
use crate::storage::rank::{self, Ranking, Read, TOTAL_MAX, Word};
use crate::storage::terms::Mark;
use crate::storage::words::{self, Facet};
use crate::storage::{Filter, Query, Score};

/// Matches that are scored; those beyond are older than all of them.
const SCORED_MAX: usize = 262_144;
/// Words that one beginning stands for.
const PREFIX_WORDS_MAX: usize = 1_024;

type List<'i> = Cow<'i, [Posting]>;

/// What a query found.
pub(crate) struct Found {
    /// Rows, best first; scores without `matched`, and where each word of the query stands.
    pub(crate) hits: Vec<(i64, Score, Vec<Option<Mark>>)>,
    /// How many there are in all, up to [`TOTAL_MAX`].
    pub(crate) total: u64,
    pub(crate) ranking: Ranking,
}

/// What must hold of a place.
struct Wanted<'i> {
    words: Vec<List<'i>>,
    /// One of the words is enough.
    any: bool,
    facets: Vec<List<'i>>,
    status: Option<Status>,
    now: Now,
}

impl Index {
    /// The hits of a query in their order.
    pub(crate) fn find(&self, now: Now, query: &Query) -> Found {
        let words = self.weighted(&query.text);
        let entities = self.slots.len() - self.gone;
        let ranking = Ranking::new(now, words.clone(), entities as u64);
        let lists: Vec<_> = words.iter().map(|word| self.list(word)).collect();
        let known = lists.iter().filter(|list| !list.is_empty()).count();
        if known == 0 && !words.is_empty() {
            return Found { hits: Vec::new(), total: 0, ranking };
        }
        let (facets, status) = (self.facets(&query.filter), query.filter.status);
        let mut wanted = Wanted { words: lists, any: false, facets, status, now };
        let mut matched = self.scored(&wanted, &ranking);
        if matched.is_empty() && known > 1 {
            wanted.any = true;
            matched = self.scored(&wanted, &ranking);
        }
        let total = (matched.len() as u64).min(TOTAL_MAX);
        let (first, end) = rank::window(query);
        let best = self.best(matched, first, end);
        let hits = best.into_iter().map(|(_, at)| {
            let marks = wanted.marks(at);
            let score = ranking.score_read(marks.iter().copied(), &self.read(at, now));
            (self.slots[at as usize].place.seq, score, marks)
        });
        Found { hits: hits.collect(), total, ranking }
    }

    /// Rows under a filter, in the order of registration: at most `limit` after the row `after`.
    pub(crate) fn page(&self, now: Now, filter: &Filter, after: i64, limit: usize) -> Vec<i64> {
        let facets = self.facets(filter);
        let fits = |at: u32| {
            let slot = &self.slots[at as usize];
            let there = |list: &List<'_>| {
                list.binary_search_by_key(&at, |posting| lists::place(*posting)).is_ok()
            };
            fits(slot, filter.status, now) && facets.iter().all(there)
        };
        let first = self.slots.partition_point(|slot| slot.place.seq <= after) as u32;
        let seq = |at: u32| self.slots[at as usize].place.seq;
        match facets.iter().min_by_key(|list| list.len()) {
            None => (first..self.slots.len() as u32)
                .filter(|at| fits(*at))
                .map(seq)
                .take(limit)
                .collect(),
            Some(list) => {
                let rest = list.iter().map(|posting| lists::place(*posting));
                rest.filter(|at| *at >= first && fits(*at)).map(seq).take(limit).collect()
            }
        }
    }

    /// The words of a query and how many entities have each, dead ones included: weights, not answers.
    fn weighted(&self, text: &str) -> Vec<Word> {
        let mut words = rank::query_words(text);
        for word in &mut words {
            word.frequency = self.frequency(word);
        }
        if let Some(last) = words.last_mut().filter(|word| rank::may_be_prefix(word)) {
            last.prefix = true;
            last.frequency = self.frequency(last);
        }
        words
    }

    fn frequency(&self, word: &Word) -> u64 {
        (self.list(word).len() as u64).min(rank::FREQUENCY_MAX)
    }

    fn list(&self, word: &Word) -> List<'_> {
        if !word.prefix {
            return self.lists.find(self.lists.word(&word.text));
        }
        let bounds = (Bound::Included(word.text.as_str()), Bound::Unbounded);
        let from = self.words.range::<str, _>(bounds);
        let same = from.take_while(|w| w.starts_with(&word.text)).take(PREFIX_WORDS_MAX);
        self.union(same.map(|w| self.lists.find(self.lists.word(w))))
    }

    fn facets(&self, filter: &Filter) -> Vec<List<'_>> {
        let list = |facet: &Facet| self.lists.find(self.lists.facet(facet.key()));
        let group = |group: &Vec<Facet>| match group.as_slice() {
            [only] => list(only),
            several => self.union(several.iter().map(list)),
        };
        words::facet_groups(filter).iter().map(group).collect()
    }

    /// Every place of the lists once.
    fn union<'l>(&self, several: impl Iterator<Item = List<'l>>) -> List<'static> {
        let mut there = vec![0_u64; self.slots.len().div_ceil(64)];
        for posting in several.flat_map(Cow::into_owned) {
            let at = lists::place(posting);
            there[at as usize / 64] |= 1 << (at % 64);
        }
        let mut all = Vec::new();
        for (n, mut bits) in there.into_iter().enumerate() {
            while bits != 0 {
                let at = n as u32 * 64 + bits.trailing_zeros();
                all.push(lists::posting(at, PLAIN));
                bits &= bits - 1;
            }
        }
        Cow::Owned(all)
    }

    /// Everything that matches, newest first, with its score.
    fn scored(&self, wanted: &Wanted<'_>, ranking: &Ranking) -> Vec<(f64, u32)> {
        let mut walk = wanted.walk();
        let mut marks = Vec::with_capacity(wanted.words.len());
        let mut matched = Vec::new();
        let mut visit = |at: u32| {
            let slot = &self.slots[at as usize];
            if fits(slot, wanted.status, wanted.now) && walk.matches(at, wanted.any, &mut marks) {
                let read = slot.read(wanted.now);
                let score = ranking.score_read(marks.iter().copied(), &read);
                matched.push((score.total, at));
            }
            matched.len() < SCORED_MAX
        };
        let union;
        let all = wanted.facets.iter().chain(wanted.words.iter().filter(|list| !list.is_empty()));
        let shortest = match wanted.any {
            true => {
                union = self.union(wanted.words.iter().cloned());
                Some(&union)
            }
            false => all.min_by_key(|list| list.len()),
        };
        // Until the bound is met.
        let _ = match shortest {
            Some(list) => list.iter().rev().all(|posting| visit(lists::place(*posting))),
            None => (0..self.slots.len() as u32).rev().all(visit),
        };
        matched
    }

    /// Those from `first` to `end` in the order of their scores.
    fn best(&self, mut matched: Vec<(f64, u32)>, first: usize, end: usize) -> Vec<(f64, u32)> {
        let tie = |at: u32| self.slots[at as usize].place.tie;
        let order = |a: &(f64, u32), b: &(f64, u32)| {
            b.0.total_cmp(&a.0).then_with(|| tie(a.1).cmp(&tie(b.1))).then(a.1.cmp(&b.1))
        };
        if end < matched.len() {
            matched.select_nth_unstable_by(end, order);
            matched.truncate(end);
        }
        matched.sort_unstable_by(order);
        matched.drain(..first.min(matched.len()));
        matched
    }

    fn read(&self, at: u32, now: Now) -> Read {
        self.slots[at as usize].read(now)
    }
}

impl Slot {
    fn read(&self, now: Now) -> Read {
        Read {
            length: self.length,
            issued: self.place.issued,
            heartbeat: self.place.heartbeat,
            live: !self.place.withdrawn && self.place.expires > now.wall,
        }
    }
}

fn fits(slot: &Slot, status: Option<Status>, now: Now) -> bool {
    let place = &slot.place;
    let oldest = now.wall.0.saturating_sub(HEARTBEAT_LIFE_MS);
    let heard = place.heartbeat.is_none_or(|at| at.0 >= oldest);
    let fits = match status {
        Some(Status::Withdrawn) => return place.withdrawn && !slot.gone,
        Some(Status::Expired) => place.expires <= now.wall,
        Some(Status::Active) => place.expires > now.wall && heard,
        Some(Status::Inactive) => place.expires > now.wall && !heard,
        None => place.expires > now.wall,
    };
    fits && !place.withdrawn && !slot.gone
}

impl Wanted<'_> {
    fn walk(&self) -> Walk<'_> {
        Walk {
            words: self.words.iter().map(|list| (Cursor(list), !list.is_empty())).collect(),
            facets: self.facets.iter().map(|list| Cursor(list)).collect(),
        }
    }

    /// Where each word stands in one place.
    fn marks(&self, at: u32) -> Vec<Option<Mark>> {
        let mark = |list: &List<'_>| Cursor(list).seek(at).map(lists::mark);
        self.words.iter().map(mark).collect()
    }
}

/// A walk through all lists, from the newest place to the oldest.
struct Walk<'l> {
    /// And whether anybody has the word: what nobody has is not asked for.
    words: Vec<(Cursor<'l>, bool)>,
    facets: Vec<Cursor<'l>>,
}

impl Walk<'_> {
    /// Whether a place has what is wanted, and where its words stand.
    fn matches(&mut self, at: u32, any: bool, marks: &mut Vec<Option<Mark>>) -> bool {
        marks.clear();
        for (word, known) in &mut self.words {
            let found = word.seek(at);
            if found.is_none() && *known && !any {
                return false;
            }
            marks.push(found.map(lists::mark));
        }
        self.facets.iter_mut().all(|facet| facet.seek(at).is_some())
    }
}
