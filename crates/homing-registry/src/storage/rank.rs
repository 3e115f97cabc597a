//! Ranking: which entities a query means, and why in this order. Both databases only fetch.
//!
//! ```text
//! query ─► words ─► how many entities have each ─► expressions, narrow to wide ─► ≤ 512 candidates ─► scores
//! total = 0.6 · text + 0.2 · exact + 0.1 · freshness + 0.1 · active        ties: smaller node ID first
//! text  = Σ idf · tf / (k₁ · (1 − b + b · length / 60) + tf) / Σ idf       tf = Σ weights of the fields
//! ```
//! BM25F (Robertson & Zaragoza 2009, §3.5 and eq. 3.15) with a fixed mean length, so that a score does not
//! depend on who else is registered. Every word that anybody has must be there; if no entity has them all,
//! fewer will do. The last word may be the beginning of one if nobody has it whole. Candidates come newest
//! first, strong fields before descriptions; behind the 512 that are ranked the rest follows in that order.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use homing_base::limits::RECORD_LIFETIME_MAX;
use homing_base::{NodeId, Now, Wall};

use super::terms::Mark;
use super::words::{self, Facet, Profile, field};
use super::{Match, Query, Score};
use crate::entity::{Entity, HEARTBEAT_LIFE_MS, Status};
use crate::limits::{HITS_MAX, OFFSET_MAX};

/// Words of a query; further ones are not looked at.
pub(crate) const QUERY_WORDS_MAX: usize = 16;
/// Entities that are scored against each other.
pub(crate) const CANDIDATES_MAX: usize = 512;
/// Entities are counted up to here.
pub(crate) const TOTAL_MAX: u64 = 10_000;
/// Entities with a word are counted up to here: beyond, words weigh alike.
pub(crate) const FREQUENCY_MAX: u64 = 2_000;
/// Characters of a last word that may be a beginning.
pub(crate) const PREFIX_CHARS_MIN: usize = 3;

const WEIGHTS: [(u8, f64); 7] = [
    (field::NAME, 4.0),
    (field::TITLE, 3.0),
    (field::TAGS, 3.0),
    (field::SKILLS, 2.0),
    (field::CATEGORY, 2.0),
    (field::PROTOCOLS, 1.0),
    (field::SUMMARY, 1.0),
];
/// The sum of the weights of any set of fields.
const WEIGHT_OF: [f64; 256] = {
    let mut sums = [0.0; 256];
    let mut fields = 0;
    while fields < sums.len() {
        let mut n = 0;
        while n < WEIGHTS.len() {
            if fields & WEIGHTS[n].0 as usize != 0 {
                sums[fields] += WEIGHTS[n].1;
            }
            n += 1;
        }
        fields += 1;
    }
    sums
};
const K1: f64 = 1.2;
const B: f64 = 0.4;
const LENGTH_MEAN: f64 = 60.0;
const TEXT: f64 = 0.6;
const EXACT: f64 = 0.2;
const FRESHNESS: f64 = 0.1;
const ACTIVE: f64 = 0.1;

/// One word of a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Any word that begins so.
    pub(crate) prefix: bool,
    /// Entities that have it, up to [`FREQUENCY_MAX`].
    pub(crate) frequency: u64,
}

/// The words of a query, each once.
pub(crate) fn query_words(text: &str) -> Vec<Word> {
    let mut seen = BTreeSet::new();
    let all = words::words(text).into_iter().filter(|w| seen.insert(w.clone()));
    all.take(QUERY_WORDS_MAX).map(|text| Word { text, prefix: false, frequency: 0 }).collect()
}

/// Whether a word that nobody has may be taken as a beginning.
pub(crate) fn may_be_prefix(word: &Word) -> bool {
    word.frequency == 0 && word.text.chars().count() >= PREFIX_CHARS_MIN
}

/// What an index is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expression {
    /// Terms; all, or any of them.
    pub(crate) terms: Vec<Term>,
    /// One of the terms is enough.
    pub(crate) any: bool,
    /// One of each group.
    pub(crate) facets: Vec<Vec<Facet>>,
}

/// One word in an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) token: String,
    pub(crate) prefix: bool,
    /// Only in the strong fields.
    pub(crate) strong: bool,
}

impl Expression {
    pub(crate) fn of<'a>(
        words: impl IntoIterator<Item = &'a Word>,
        facets: &[Vec<Facet>],
        any: bool,
    ) -> Self {
        let term =
            |w: &Word| Term { token: words::token(&w.text), prefix: w.prefix, strong: false };
        let terms = words.into_iter().map(term).collect();
        Self { terms, any, facets: facets.to_vec() }
    }

    /// Nothing is asked: everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.terms.is_empty() && self.facets.is_empty()
    }

    fn strengthened(&self, which: impl Fn(usize) -> bool) -> Self {
        let mut stronger = self.clone();
        for (n, term) in stronger.terms.iter_mut().enumerate() {
            term.strong |= which(n);
        }
        stronger
    }

    fn without(&self, left_out: usize) -> Self {
        let mut fewer = Self { any: false, ..self.clone() };
        fewer.terms.remove(left_out);
        fewer
    }

    /// Narrower expressions to fill the candidates from, best first; the last is this one.
    pub(crate) fn tiers(&self) -> Vec<Self> {
        let n = self.terms.len();
        let mut tiers = Vec::new();
        if self.any {
            if n <= 6 {
                tiers.extend((0..n).map(|i| self.without(i)));
            }
        } else if n > 0 {
            tiers.push(self.strengthened(|_| true));
            if (2..=4).contains(&n) {
                tiers.extend((0..n).map(|i| self.strengthened(|j| i == j)));
            }
        }
        tiers.push(self.clone());
        tiers
    }
}

/// What ranking reads of one entity.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: i64,
    pub(crate) node_id: NodeId,
    pub(crate) issued: Wall,
    pub(crate) heartbeat: Option<Wall>,
    pub(crate) live: bool,
    pub(crate) profile: Vec<u8>,
}

/// What a score is made of besides words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) length: u16,
    pub(crate) issued: Wall,
    pub(crate) heartbeat: Option<Wall>,
    pub(crate) live: bool,
}

/// A query in numbers.
pub(crate) struct Ranking {
    words: Vec<(Word, u32, f64)>,
    idf_sum: f64,
    now: Now,
}

impl Ranking {
    /// `entities`: how many there are in all.
    pub(crate) fn new(now: Now, words: Vec<Word>, entities: u64) -> Self {
        let n = entities as f64;
        let idf = |w: &Word| {
            let df = w.frequency as f64;
            ((n - df).max(0.0) + 0.5) / (df + 0.5)
        };
        let words = words.into_iter().map(|w| {
            let (hash, idf) = (words::hash(&w.text), (1.0 + idf(&w)).ln());
            (w, hash, idf)
        });
        let words: Vec<_> = words.collect();
        let idf_sum = words.iter().map(|(.., idf)| idf).sum();
        Self { words, idf_sum, now }
    }

    /// Why one candidate stands where it stands; `matched` is left for [`Ranking::explain`].
    pub(crate) fn score(&self, candidate: &Candidate) -> Score {
        let profile = Profile(&candidate.profile);
        let marks = self.words.iter().map(|(word, hash, _)| {
            let found = profile.find(*hash).or(word.prefix.then_some((field::SUMMARY, 1)));
            found.map(|(fields, times)| Mark { fields, times })
        });
        let read = Read {
            length: profile.length(),
            issued: candidate.issued,
            heartbeat: candidate.heartbeat,
            live: candidate.live,
        };
        self.score_read(marks, &read)
    }

    /// The score of one entity; `marks`: where each word of the query stands.
    pub(crate) fn score_read(
        &self,
        marks: impl Iterator<Item = Option<Mark>>,
        read: &Read,
    ) -> Score {
        let (mut text, mut exact) = (0.0, 0.0);
        let norm = K1 * (1.0 - B + B * f64::from(read.length) / LENGTH_MEAN);
        for ((_, _, idf), mark) in self.words.iter().zip(marks) {
            let Some(mark) = mark else { continue };
            text += idf * saturated(mark, norm);
            exact += f64::from(u8::from(mark.fields & field::EXACT != 0));
        }
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let mut score = Score {
            text: share(text, self.idf_sum),
            exact: share(exact, self.words.len() as f64),
            freshness: self.freshness(read.issued),
            active: f64::from(u8::from(read.live && self.is_heard(read.heartbeat))),
            ..Score::default()
        };
        score.total = TEXT * score.text
            + EXACT * score.exact
            + FRESHNESS * score.freshness
            + ACTIVE * score.active;
        score
    }

    /// The score of an entity that was not among the candidates.
    pub(crate) fn score_of(&self, seq: i64, entity: &Entity, profile: &[u8]) -> Score {
        self.score(&Candidate {
            seq,
            node_id: entity.node_id(),
            issued: entity.record.issued,
            heartbeat: entity.heartbeat,
            live: matches!(entity.status(self.now), Status::Active | Status::Inactive),
            profile: profile.to_vec(),
        })
    }

    fn freshness(&self, issued: Wall) -> f64 {
        let age = self.now.wall.0.saturating_sub(issued.0) as f64;
        (1.0 - age / RECORD_LIFETIME_MAX.as_millis() as f64).max(0.0)
    }

    fn is_heard(&self, heartbeat: Option<Wall>) -> bool {
        let silent = |at: Wall| self.now.wall.0.saturating_sub(at.0) > HEARTBEAT_LIFE_MS;
        !heartbeat.is_some_and(silent)
    }

    /// Words and fields of a hit, by its profile.
    pub(crate) fn explain(&self, profile: &[u8], entity: &Entity, score: &mut Score) {
        let mark = |(_, hash, _): &(Word, u32, f64)| {
            let found = Profile(profile).find(*hash);
            found.map(|(fields, times)| Mark { fields, times })
        };
        let marks: Vec<_> = self.words.iter().map(mark).collect();
        self.explain_marks(&marks, entity, score);
    }

    /// Words and fields of a hit; `marks`: where each word of the query stands.
    pub(crate) fn explain_marks(&self, marks: &[Option<Mark>], entity: &Entity, score: &mut Score) {
        for ((word, ..), mark) in self.words.iter().zip(marks) {
            let fields = match word.prefix {
                true => words::fields_with_prefix(entity, &word.text),
                false => mark.map_or(0, |mark| mark.fields),
            };
            let named = field::NAMES.iter().filter(|(bit, _)| fields & bit != 0);
            let found = |(_, name): &(u8, &str)| Match {
                word: word.text.clone(),
                field: (*name).to_owned(),
            };
            score.matched.extend(named.map(found));
        }
    }

    /// Best first.
    pub(crate) fn sort(&self, candidates: Vec<Candidate>) -> Vec<(Candidate, Score)> {
        let mut scored: Vec<_> = candidates
            .into_iter()
            .map(|c| {
                let score = self.score(&c);
                (c, score)
            })
            .collect();
        scored.sort_by(|(a, x), (b, y)| order(x, &a.node_id, y, &b.node_id));
        scored
    }
}

fn order(x: &Score, a: &NodeId, y: &Score, b: &NodeId) -> Ordering {
    y.total.total_cmp(&x.total).then_with(|| a.cmp(b))
}

/// BM25's term frequency; `norm` is its share that grows with the listing.
fn saturated(mark: Mark, norm: f64) -> f64 {
    let tf = WEIGHT_OF[usize::from(mark.fields)]
        + f64::from(mark.times.saturating_sub(1)).min(4.0) * 0.25;
    tf / (norm + tf)
}

/// First and one past the last place of the hits that a query asks for.
pub(crate) fn window(query: &Query) -> (usize, usize) {
    let first = query.offset.min(OFFSET_MAX) as usize;
    (first, first + query.limit.min(HITS_MAX) as usize)
}

#[cfg(test)]
mod tests {
    use homing_base::Mono;

    use super::*;
    use crate::listing::Listing;

    fn word(text: &str, frequency: u64) -> Word {
        Word { text: text.into(), prefix: false, frequency }
    }

    fn candidate(title: &str, summary: &str) -> Candidate {
        let listing =
            Listing { title: title.into(), summary: summary.into(), ..Listing::default() };
        let profile = words::Indexed::of(&listing, None).profile;
        let (node_id, issued) = (NodeId([1; 32]), Wall(0));
        Candidate { seq: 1, node_id, issued, heartbeat: None, live: true, profile }
    }

    #[test]
    fn every_part_lies_between_none_and_one() {
        let now = Now { mono: Mono(0), wall: Wall(0) };
        let ranking = Ranking::new(now, vec![word("law", 3), word("german", 9)], 100);
        let best = ranking.score(&candidate("german law", "german law"));
        let poor = ranking.score(&candidate("cook", "knows some law"));
        assert!(best.text > poor.text && best.total > poor.total);
        for part in [best.total, best.text, best.exact, best.freshness, best.active, poor.text] {
            assert!((0.0..=1.0).contains(&part), "{part}");
        }
    }

    #[test]
    fn a_rare_word_weighs_more_than_a_common_one() {
        let now = Now { mono: Mono(0), wall: Wall(0) };
        let ranking = Ranking::new(now, vec![word("agent", 2_000), word("glacier", 2)], 100_000);
        let rare = ranking.score(&candidate("glacier", ""));
        let common = ranking.score(&candidate("agent", ""));
        assert!(rare.text > 2.0 * common.text);
    }

    #[test]
    fn tiers_narrow_from_strong_fields_to_the_expression_itself() {
        let words = [word("a", 1), word("b", 1)];
        let all = Expression::of(&words, &[], false);
        let strong = |t: &Expression| t.terms.iter().map(|t| t.strong).collect::<Vec<_>>();
        let tiers: Vec<_> = all.tiers().iter().map(strong).collect();
        assert_eq!(tiers, [[true, true], [true, false], [false, true], [false, false]]);
    }
}
