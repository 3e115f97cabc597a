//! The terms of one entity: what an index knows it by, as the bytes that are stored beside it.
//!
//! ```text
//! length u16 | words u16 | (fields u8, times u8, bytes u8, UTF-8)* | facet u64*        little-endian
//! ```
//! `length` counts the words of the whole listing with repetitions, `fields` and `times` say where a word
//! stands and how often ([`words::field`]). Some 800 bytes for a card of three skills. An index in memory is
//! made from these bytes alone, without reading listings.

use sha2::{Digest, Sha256};

use super::words::{self, Collected};
use crate::listing::Listing;

/// See the module. Empty: the entity is not searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms(pub(crate) Vec<u8>);

/// Where and how often a word stands in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) fields: u8,
    pub(crate) times: u8,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Term<'t> {
    /// A word of the listing.
    Word(&'t str, Mark),
    /// What a filter asks for.
    Facet(u64),
}

impl Terms {
    /// What a listing and the name in its record give.
    pub(crate) fn of(listing: &Listing, name: Option<&str>) -> Self {
        let collected = Collected::of(listing, name);
        let words = collected.words();
        let mut bytes = Vec::with_capacity(1_024);
        bytes.extend(collected.length().to_le_bytes());
        bytes.extend(u16::try_from(words.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (word, mark) in words {
            let length = u8::try_from(word.len()).expect("40 characters have at most 160 bytes");
            bytes.extend([mark.fields, mark.times, length]);
            bytes.extend(word.as_bytes());
        }
        for key in words::facet_keys(listing) {
            bytes.extend(key.to_le_bytes());
        }
        Self(bytes)
    }

    /// Words of the whole listing, with repetitions.
    pub(crate) fn length(&self) -> u16 {
        self.number(0)
    }

    fn number(&self, at: usize) -> u16 {
        self.0.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
    }

    /// Hands out every term. Bytes that are no terms end early.
    pub(crate) fn each(&self, mut take: impl FnMut(Term<'_>)) {
        let mut rest = self.0.get(4..).unwrap_or_default();
        for _ in 0..self.number(2) {
            let [fields, times, length, text @ ..] = rest else { return };
            let Some((text, after)) = text.split_at_checked(usize::from(*length)) else { return };
            let Ok(text) = std::str::from_utf8(text) else { return };
            take(Term::Word(text, Mark { fields: *fields, times: *times }));
            rest = after;
        }
        rest.as_chunks::<8>().0.iter().for_each(|key| take(Term::Facet(u64::from_le_bytes(*key))));
    }
}

/// What the index has of one entity, and the digest by which a change is noticed.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) terms: Terms,
    /// Of everything that the index and the counts are made from.
    pub(crate) digest: Vec<u8>,
}

impl Entry {
    pub(crate) fn of(listing: &Listing, name: Option<&str>) -> Self {
        let terms = Terms::of(listing, name);
        let mut hasher = Sha256::new();
        hasher.update(&terms.0);
        hasher.update(&listing.category);
        listing.tags.iter().for_each(|tag| {
            hasher.update([0]);
            hasher.update(tag);
        });
        Self { terms, digest: hasher.finalize()[..16].to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::field;
    use super::*;

    fn listing() -> Listing {
        Listing {
            title: "German translator".into(),
            summary: "translates german Übersetzung".into(),
            tags: vec!["german".into()],
            ..Listing::default()
        }
    }

    fn read(terms: &Terms) -> (Vec<(String, Mark)>, Vec<u64>) {
        let (mut words, mut facets) = (Vec::new(), Vec::new());
        terms.each(|term| match term {
            Term::Word(word, mark) => words.push((word.to_owned(), mark)),
            Term::Facet(key) => facets.push(key),
        });
        (words, facets)
    }

    #[test]
    fn terms_come_back_as_they_were_put_in() {
        let terms = Terms::of(&listing(), Some("hermes"));
        let (words, facets) = read(&terms);
        let texts: Vec<_> = words.iter().map(|(word, _)| word.as_str()).collect();
        assert_eq!(texts, ["german", "hermes", "translates", "translator", "ubersetzung"]);
        let fields = field::TITLE | field::TAGS | field::SUMMARY | field::EXACT;
        assert_eq!(words[0].1, Mark { fields, times: 3 });
        assert_eq!((terms.length(), facets.len()), (7, 2), "its kind and its tag");
    }

    #[test]
    fn torn_bytes_end_early_and_never_panic() {
        let whole = Terms::of(&listing(), None);
        for length in 0..whole.0.len() {
            let torn = Terms(whole.0[..length].to_vec());
            assert!(read(&torn).0.len() <= read(&whole).0.len());
        }
        read(&Terms(vec![0xff; 600]));
    }

    #[test]
    fn tags_that_are_worded_alike_are_other_tags() {
        let with = |tag: &str| Listing { tags: vec![tag.into()], ..Listing::default() };
        let (one, other) = (Entry::of(&with("Ab c"), None), Entry::of(&with("ab c"), None));
        assert_eq!(one.terms, other.terms);
        assert_ne!(one.digest, other.digest, "they are counted by their letters");
    }
}
