//! Words: how text becomes what an index holds, and what it holds for one listing.
//!
//! ```text
//! text   ─► compatibility form, lower case, marks removed ─► runs of letters and digits (Han and Kana: each sign)
//! word   ─► token: itself in ASCII, else `_` ‖ hex of its UTF-8          both databases see [a-z0-9_] only
//! listing ─► strong (title, name, tags, skills, category, protocols) | weak (summary, descriptions) | facets
//!        └─► profile: words u16 | (hash u32, fields u8, times u8)*       little-endian, ascending by hash
//! ```
//! A facet is `_` ‖ letter ‖ 16 hex digits of a SHA-256: what a filter asks for, exactly. The profile answers
//! "which word stands in which field, how often" without the listing; ranking reads nothing else.
//! A hash of 32 bits may collide; that costs a place in the order, never a wrong hit.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::Filter;
use super::terms::Mark;
use crate::entity::Entity;
use crate::listing::{EntityKind, Listing};

/// Characters of one word; the rest of a longer one is cut off.
pub(crate) const WORD_CHARS_MAX: usize = 40;
/// Different words of one listing that are indexed.
pub(crate) const LISTING_WORDS_MAX: usize = 1_024;

/// Where a word stands: bits of a profile.
pub(crate) mod field {
    pub(crate) const TITLE: u8 = 1;
    pub(crate) const NAME: u8 = 2;
    pub(crate) const SUMMARY: u8 = 4;
    pub(crate) const TAGS: u8 = 8;
    pub(crate) const SKILLS: u8 = 16;
    pub(crate) const CATEGORY: u8 = 32;
    pub(crate) const PROTOCOLS: u8 = 64;
    /// The word is the whole name, tag or skill.
    pub(crate) const EXACT: u8 = 128;
    /// Every field with the word that users see.
    pub(crate) const NAMES: [(u8, &str); 7] = [
        (TITLE, "title"),
        (NAME, "name"),
        (SUMMARY, "summary"),
        (TAGS, "tags"),
        (SKILLS, "skills"),
        (CATEGORY, "category"),
        (PROTOCOLS, "protocols"),
    ];
}

/// The words of a text, folded, in order, with repetitions.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    each_word(text, |word| found.push(word.to_owned()));
    found
}

fn each_word(text: &str, mut take: impl FnMut(&str)) {
    if text.is_ascii() {
        let mut word = String::with_capacity(WORD_CHARS_MAX);
        let runs = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| !run.is_empty());
        for run in runs {
            word.clear();
            word.push_str(&run[..run.len().min(WORD_CHARS_MAX)]);
            word.make_ascii_lowercase();
            take(&word);
        }
        return;
    }
    let mut word = String::new();
    let mut length = 0;
    let mut finish = |word: &mut String, length: &mut usize| {
        *length = 0;
        if !word.is_empty() {
            take(word);
            word.clear();
        }
    };
    for c in fold(text) {
        if !c.is_alphanumeric() {
            finish(&mut word, &mut length);
        } else if stands_alone(c) {
            finish(&mut word, &mut length);
            word.push(c);
            finish(&mut word, &mut length);
        } else if length < WORD_CHARS_MAX {
            word.push(c);
            length += 1;
        }
    }
    finish(&mut word, &mut length);
}

/// Compatibility decomposition (UAX #15), no combining marks, lower case.
fn fold(text: &str) -> impl Iterator<Item = char> + '_ {
    let plain = text.nfkd().filter(|c| !is_combining_mark(*c));
    plain.flat_map(char::to_lowercase).filter(|c| !is_combining_mark(*c))
}

/// Scripts that write no spaces: every sign is a word.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// A word as both databases see it.
pub(crate) fn token(word: &str) -> String {
    if word.is_ascii() {
        return word.to_owned();
    }
    format!("_{}", data_encoding::HEXLOWER.encode(word.as_bytes()))
}

/// FNV-1a (32 bits) of a word.
pub(crate) fn hash(word: &str) -> u32 {
    word.bytes().fold(0x811c_9dc5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// What the index holds for one entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// Tokens of the fields that name the entity, separated by spaces.
    pub(crate) strong: String,
    /// Tokens of its descriptions that are not in `strong`.
    pub(crate) weak: String,
    /// What filters ask for.
    pub(crate) facets: String,
    /// See the module.
    pub(crate) profile: Vec<u8>,
}

impl Indexed {
    /// What a listing and the name in its record give.
    pub(crate) fn of(listing: &Listing, name: Option<&str>) -> Self {
        let collected = Collected::of(listing, name);
        let mut indexed = Self::default();
        for word in &collected.found {
            let column = if word.strong { &mut indexed.strong } else { &mut indexed.weak };
            push(column, &token(&collected.text[word.from..word.to]));
        }
        indexed.profile = collected.profile();
        for facet in facets_of(listing) {
            push(&mut indexed.facets, &facet.text());
        }
        indexed
    }
}

fn push(column: &mut String, token: &str) {
    if !column.is_empty() {
        column.push(' ');
    }
    column.push_str(token);
}

/// The words of a listing and where they stand.
#[derive(Default)]
pub(crate) struct Collected {
    /// Every word, one after the other, with repetitions.
    text: String,
    found: Vec<Occurrence>,
    /// Words of the whole listing, with repetitions.
    length: u16,
}

/// One word, or all its places together.
#[derive(Clone, Copy)]
struct Occurrence {
    from: usize,
    to: usize,
    mark: Mark,
    strong: bool,
}

impl Collected {
    pub(crate) fn of(listing: &Listing, name: Option<&str>) -> Self {
        let mut collected = Self::default();
        collected.listing(listing, name.unwrap_or(""));
        collected.merge();
        collected
    }

    /// Words of the whole listing, with repetitions.
    pub(crate) fn length(&self) -> u16 {
        self.length
    }

    /// Every word once, in order.
    pub(crate) fn words(&self) -> impl ExactSizeIterator<Item = (&str, Mark)> {
        self.found.iter().map(|word| (&self.text[word.from..word.to], word.mark))
    }

    fn listing(&mut self, listing: &Listing, name: &str) {
        self.named(name, field::NAME);
        self.text(&listing.title, field::TITLE, true);
        self.text(&listing.category, field::CATEGORY, true);
        for tag in &listing.tags {
            self.named(tag, field::TAGS);
        }
        for protocol in &listing.protocols {
            self.text(protocol, field::PROTOCOLS, true);
        }
        for skill in &listing.skills {
            self.named(&skill.id, field::SKILLS);
            self.named(&skill.name, field::SKILLS);
            for tag in &skill.tags {
                self.named(tag, field::SKILLS);
            }
        }
        self.text(&listing.summary, field::SUMMARY, false);
        for skill in &listing.skills {
            self.text(&skill.description, field::SKILLS, false);
        }
    }

    /// A short text that may be one word as a whole.
    fn named(&mut self, text: &str, field: u8) {
        let first = self.found.len();
        self.text(text, field, true);
        if let [only] = &mut self.found[first..] {
            only.mark.fields |= field::EXACT;
        }
    }

    fn text(&mut self, text: &str, fields: u8, strong: bool) {
        each_word(text, |word| {
            let from = self.text.len();
            self.text.push_str(word);
            let mark = Mark { fields, times: 1 };
            self.found.push(Occurrence { from, to: self.text.len(), mark, strong });
            self.length = self.length.saturating_add(1);
        });
    }

    /// Brings the places of each word together; the words that come first in the listing stay.
    fn merge(&mut self) {
        let Self { text, found, .. } = self;
        let word = |o: &Occurrence| &text[o.from..o.to];
        found.sort_unstable_by(|a, b| word(a).cmp(word(b)).then(a.from.cmp(&b.from)));
        found.dedup_by(|other, one| {
            let same = word(other) == word(one);
            if same {
                one.mark.fields |= other.mark.fields;
                one.mark.times = one.mark.times.saturating_add(1);
                one.strong |= other.strong;
            }
            same
        });
        if found.len() > LISTING_WORDS_MAX {
            found.sort_unstable_by_key(|o| o.from);
            found.truncate(LISTING_WORDS_MAX);
            found.sort_unstable_by(|a, b| word(a).cmp(word(b)));
        }
    }

    fn profile(&self) -> Vec<u8> {
        let mut rows: Vec<_> = self.words().map(|(word, mark)| (hash(word), mark)).collect();
        rows.sort_unstable_by_key(|(hash, mark)| (*hash, mark.fields, mark.times));
        let mut bytes = self.length.to_le_bytes().to_vec();
        for (hash, mark) in rows {
            bytes.extend(hash.to_le_bytes());
            bytes.extend([mark.fields, mark.times]);
        }
        bytes
    }
}

/// A profile, read.
#[derive(Clone, Copy)]
pub(crate) struct Profile<'a>(pub(crate) &'a [u8]);

impl Profile<'_> {
    /// Words of the whole listing, with repetitions.
    pub(crate) fn length(self) -> u16 {
        self.0.first_chunk().map_or(0, |b| u16::from_le_bytes(*b))
    }

    /// Fields and times of a word.
    pub(crate) fn find(self, word: u32) -> Option<(u8, u8)> {
        let rows = self.0.get(2..)?.as_chunks::<6>().0;
        let key = |row: &[u8; 6]| u32::from_le_bytes([row[0], row[1], row[2], row[3]]);
        let place = rows.binary_search_by_key(&word, key).ok()?;
        Some((rows[place][4], rows[place][5]))
    }
}

/// What a filter asks for: a letter for what it is, and the beginning of the digest of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Facet(char, u64);

impl Facet {
    fn new(letter: char, value: &str) -> Self {
        let digest = Sha256::digest(value.trim().to_lowercase().as_bytes());
        Self(letter, u64::from_be_bytes(*digest.first_chunk().expect("32 bytes")))
    }

    /// As databases see it.
    pub(crate) fn text(self) -> String {
        format!("_{}{:016x}", self.0, self.1)
    }

    /// As an index in memory sees it: another letter is another number.
    pub(crate) fn key(self) -> u64 {
        self.1 ^ u64::from(self.0) << 56
    }
}

fn facet(letter: char, value: &str) -> Facet {
    Facet::new(letter, value)
}

fn kind_letter(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Agent => "agent",
        EntityKind::Service => "service",
    }
}

/// Every facet of a listing, each once, in numbers.
pub(crate) fn facet_keys(listing: &Listing) -> impl Iterator<Item = u64> {
    facets_of(listing).into_iter().map(Facet::key)
}

/// Every facet of a listing, each once.
fn facets_of(listing: &Listing) -> Vec<Facet> {
    let mut facets = vec![facet('k', kind_letter(listing.kind))];
    if !listing.category.is_empty() {
        facets.push(facet('c', &listing.category));
    }
    facets.extend(listing.owner.iter().map(|o| facet('o', o)));
    facets.extend(listing.tags.iter().map(|t| facet('t', t)));
    facets.extend(listing.protocols.iter().map(|p| facet('p', p)));
    for skill in &listing.skills {
        let names = [&skill.id, &skill.name].into_iter().chain(&skill.tags);
        for name in names {
            facets.push(facet('s', name));
            let others = |word: &str| {
                if word != name {
                    facets.push(facet('s', word))
                }
            };
            each_word(name, others);
        }
    }
    facets.sort_unstable();
    facets.dedup();
    facets
}

/// What a filter asks for: one of each group. Status is not here, it depends on the time.
pub(crate) fn facet_groups(filter: &Filter) -> Vec<Vec<Facet>> {
    let mut groups = Vec::new();
    groups.extend(filter.category.iter().map(|c| vec![facet('c', c)]));
    groups.extend(filter.tags.iter().map(|t| vec![facet('t', t)]));
    groups.extend(filter.skills.iter().map(|s| vec![facet('s', s)]));
    groups.extend(filter.kind.iter().map(|k| vec![facet('k', kind_letter(*k))]));
    groups.extend(filter.owner.iter().map(|o| vec![facet('o', o)]));
    if !filter.protocols.is_empty() {
        groups.push(filter.protocols.iter().map(|p| facet('p', p)).collect());
    }
    groups
}

/// Fields of an entity that have a word beginning with `prefix`.
pub(crate) fn fields_with_prefix(entity: &Entity, prefix: &str) -> u8 {
    let name = entity.record.name.as_ref().map(ToString::to_string);
    let collected = Collected::of(&entity.listing, name.as_deref());
    let begun = collected.words().filter(|(word, _)| word.starts_with(prefix));
    begun.fold(0, |fields, (_, mark)| fields | mark.fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_marks_and_width_do_not_matter() {
        assert_eq!(words("Über-Café ＡＢＣ ﬁne"), ["uber", "cafe", "abc", "fine"]);
        assert_eq!(words("翻訳 agent"), ["翻", "訳", "agent"]);
        assert_eq!(words("\"a* OR NEAR(b)\""), ["a", "or", "near", "b"]);
        assert_eq!(words(" \u{301}\0_-"), Vec::<String>::new());
    }

    #[test]
    fn plain_text_is_split_like_any_other() {
        let long = "x".repeat(WORD_CHARS_MAX + 9);
        for text in ["A-b_c 12,x3  Z", "", " .,;", long.as_str(), "a\tb\u{7f}c"] {
            let mut other = words(&format!("{text} \u{e9}"));
            assert_eq!(other.pop().unwrap(), "e");
            assert_eq!(words(text), other, "{text:?}");
        }
    }

    #[test]
    fn a_token_is_plain_ascii() {
        let texts = ["naïve", "Ελλάδα", "हिन्दी", "日本", "x'y\"z", "\u{1F600}1"];
        for word in texts.iter().flat_map(|t| words(t)) {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!(token(&word).bytes().all(plain), "{word}");
        }
    }

    #[test]
    fn a_profile_finds_its_words_and_their_fields() {
        let listing = Listing {
            title: "German translator".into(),
            summary: "translates german german law".into(),
            tags: vec!["german".into()],
            ..Listing::default()
        };
        let indexed = Indexed::of(&listing, Some("hermes"));
        let profile = Profile(&indexed.profile);
        assert_eq!(profile.length(), 8);
        let (fields, times) = profile.find(hash("german")).unwrap();
        assert_eq!(fields, field::TITLE | field::TAGS | field::SUMMARY | field::EXACT);
        assert_eq!(times, 4);
        assert_eq!(profile.find(hash("hermes")), Some((field::NAME | field::EXACT, 1)));
        assert_eq!(profile.find(hash("absent")), None);
        assert_eq!(indexed.weak, "law translates");
    }

    #[test]
    fn a_hostile_listing_stays_bounded() {
        let text: String = (0..20_000).map(|n| format!("w{n} ")).collect();
        let listing = Listing { summary: text, ..Listing::default() };
        let indexed = Indexed::of(&listing, None);
        assert_eq!(indexed.profile.len(), 2 + 6 * LISTING_WORDS_MAX);
    }
}
