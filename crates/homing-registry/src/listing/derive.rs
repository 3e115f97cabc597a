//! From a record and its card to the words of the search, every one of them bounded.
//!
//! Text of strangers is shown in terminals and pages: control characters and marks that turn the
//! direction of text (Unicode TR 9) become spaces, runs of spaces one. What does not fit is cut.

use std::net::IpAddr;

use homing_base::limits::{TAG_BYTES_MAX, TAGS_MAX as RECORD_TAGS_MAX};
use homing_base::{Address, Record};
use serde_json::{Map, Value};

use super::{EntityKind, Listing, Skill};
use crate::cards::{Card, text_of};
use crate::limits::{
    CATEGORY_CHARS_MAX, PRICING_BYTES_MAX, PROTOCOLS_MAX, SKILLS_MAX, SUMMARY_CHARS_MAX, TAGS_MAX,
    TITLE_CHARS_MAX,
};

/// Bytes of a URL that is shown.
const URL_BYTES_MAX: usize = 512;

const _: () = assert!(RECORD_TAGS_MAX <= TAGS_MAX);

impl Listing {
    /// What a record and its card say. Without a card the record speaks alone.
    ///
    /// `owner` stays empty: whoever verifies the proof ([`Card::owner_proof`]) fills it in.
    #[must_use]
    pub fn of(record: &Record, card: Option<&Card>) -> Self {
        let mut listing = Self {
            title: record
                .name
                .as_ref()
                .map_or_else(|| Address::of(&record.node_id()).to_string(), ToString::to_string),
            ..Self::default()
        };
        add_words(&mut listing.tags, record.tags.iter().map(String::as_str), TAGS_MAX);
        if let Some(card) = card {
            listing.describe(card);
            listing.place(card, &Address::of(&record.node_id()));
            if let Some(params) = card.listing_params() {
                listing.refine(params);
            }
            for skill in card.skills() {
                add_words(&mut listing.tags, texts(skill, "tags"), TAGS_MAX);
            }
        }
        listing
    }

    fn describe(&mut self, card: &Card) {
        match clean(card.name(), TITLE_CHARS_MAX) {
            title if title.is_empty() => {}
            title => self.title = title,
        }
        self.summary = clean(card.description(), SUMMARY_CHARS_MAX);
        self.skills = card.skills().map(skill).filter(|s| !s.id.is_empty()).collect();
        self.skills.truncate(SKILLS_MAX);
    }

    fn place(&mut self, card: &Card, own: &Address) {
        let interfaces = card.interfaces();
        let bindings = interfaces.iter().map(|i| i.binding);
        let a2a = (!interfaces.is_empty()).then_some("a2a");
        add_words(&mut self.protocols, a2a.into_iter().chain(bindings), PROTOCOLS_MAX);
        self.service_url = interfaces.iter().find_map(|i| web_url(i.url, own));
    }

    /// The `params` of the extension `urn:homing:listing:1`.
    fn refine(&mut self, params: &Map<String, Value>) {
        if text_of(params, "kind") == "service" {
            self.kind = EntityKind::Service;
        }
        self.category = clean(text_of(params, "category"), CATEGORY_CHARS_MAX).to_lowercase();
        add_words(&mut self.tags, texts(params, "tags"), TAGS_MAX);
        add_words(&mut self.protocols, texts(params, "protocols"), PROTOCOLS_MAX);
        let url = text_of(params, "openapi_url");
        self.openapi_url = is_web(url).then(|| url.to_owned());
        let pricing = params.get("pricing").filter(|p| !p.is_null());
        self.pricing = pricing.filter(|p| p.to_string().len() <= PRICING_BYTES_MAX).cloned();
    }
}

fn skill(fields: &Map<String, Value>) -> Skill {
    let mut tags = Vec::new();
    add_words(&mut tags, texts(fields, "tags"), TAGS_MAX);
    Skill {
        id: clean(text_of(fields, "id"), TITLE_CHARS_MAX),
        name: clean(text_of(fields, "name"), TITLE_CHARS_MAX),
        description: clean(text_of(fields, "description"), SUMMARY_CHARS_MAX),
        tags,
    }
}

fn texts<'c>(fields: &'c Map<String, Value>, key: &str) -> impl Iterator<Item = &'c str> {
    fields.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Lower case, without duplicates, none longer than a record's tag may be, at most `max`.
fn add_words<'w>(list: &mut Vec<String>, words: impl Iterator<Item = &'w str>, max: usize) {
    for word in words {
        if list.len() >= max {
            return;
        }
        let word = clean(word, TAG_BYTES_MAX).to_lowercase();
        if !word.is_empty() && word.len() <= TAG_BYTES_MAX && !list.contains(&word) {
            list.push(word);
        }
    }
}

/// One line of at most `max` characters.
fn clean(text: &str, max: usize) -> String {
    let is_mark = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut line = String::new();
    // Longer than this many words is longer than `max` characters.
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || is_mark(c)) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > 4 * max {
            break;
        }
    }
    let mut cut: String = line.chars().take(max).collect();
    cut.truncate(cut.trim_end().len());
    cut
}

fn is_web(text: &str) -> bool {
    let parsed = url::Url::parse(text).ok().filter(|_| text.len() <= URL_BYTES_MAX);
    parsed.is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.username().is_empty())
}

/// A URL for programs without a daemon: not the agent's own address, which only daemons reach.
fn web_url(text: &str, own: &Address) -> Option<String> {
    if !is_web(text) {
        return None;
    }
    let url = url::Url::parse(text).ok()?;
    let own: IpAddr = own.to_string().parse().ok()?;
    let is_own = matches!(url.host(), Some(url::Host::Ipv6(ip)) if IpAddr::V6(ip) == own);
    (!is_own).then(|| text.to_owned())
}
