//! What a strict reader would object to in a card, each with the place where it stands.
//!
//! Errors are what A2A 1.0 §4.4 (or 0.3 §5.5) demands; warnings are what agents and people will miss.
//! Places are JSON pointers (RFC 6901).

use serde::Serialize;
use serde_json::{Map, Value};

use super::limits::PROBLEMS_MAX;
use super::{Card, CardError, Dialect, LISTING_URI};
use crate::limits::{
    CATEGORY_CHARS_MAX, PRICING_BYTES_MAX, SKILLS_MAX, SUMMARY_CHARS_MAX, TITLE_CHARS_MAX,
};

/// One objection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: a JSON pointer; empty: the whole card.
    pub pointer: String,
    /// What.
    pub message: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// Readers may refuse the card.
    pub errors: Vec<Problem>,
    /// Readers will understand less than was meant.
    pub warnings: Vec<Problem>,
}

/// Looks at the bytes of a card.
#[must_use]
pub fn lint(bytes: &[u8]) -> Lint {
    let mut lint = Lint::default();
    match Card::parse(bytes) {
        Ok(card) => lint.card(&card),
        Err(CardError::Field { pointer, expected }) => {
            lint.error(pointer, &format!("expected {expected}"));
        }
        Err(error) => lint.error("", &error.to_string()),
    }
    lint
}

/// What a field must be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Object,
    Objects,
    Bool,
}

impl Kind {
    fn matches(self, value: &Value) -> bool {
        let all = |test: fn(&Value) -> bool| value.as_array().is_some_and(|l| l.iter().all(test));
        match self {
            Kind::Text => value.is_string(),
            Kind::Texts => all(Value::is_string),
            Kind::Object => value.is_object(),
            Kind::Objects => all(Value::is_object),
            Kind::Bool => value.is_boolean(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::Text => "a string",
            Kind::Texts => "a list of strings",
            Kind::Object => "an object",
            Kind::Objects => "a list of objects",
            Kind::Bool => "true or false",
        }
    }
}

/// Name, kind, and whether it must be there.
type Rule = (&'static str, Kind, bool);

const V1: &[Rule] = &[
    ("name", Kind::Text, true),
    ("description", Kind::Text, true),
    ("version", Kind::Text, true),
    ("supportedInterfaces", Kind::Objects, true),
    ("capabilities", Kind::Object, true),
    ("defaultInputModes", Kind::Texts, true),
    ("defaultOutputModes", Kind::Texts, true),
    ("skills", Kind::Objects, true),
    ("provider", Kind::Object, false),
    ("documentationUrl", Kind::Text, false),
    ("iconUrl", Kind::Text, false),
    ("securitySchemes", Kind::Object, false),
    ("securityRequirements", Kind::Objects, false),
    ("signatures", Kind::Objects, false),
];
const V03: &[Rule] = &[
    ("name", Kind::Text, true),
    ("description", Kind::Text, true),
    ("version", Kind::Text, true),
    ("url", Kind::Text, true),
    ("protocolVersion", Kind::Text, true),
    ("capabilities", Kind::Object, true),
    ("defaultInputModes", Kind::Texts, true),
    ("defaultOutputModes", Kind::Texts, true),
    ("skills", Kind::Objects, true),
    ("preferredTransport", Kind::Text, false),
    ("additionalInterfaces", Kind::Objects, false),
    ("signatures", Kind::Objects, false),
];
const INTERFACE: &[Rule] = &[
    ("url", Kind::Text, true),
    ("protocolBinding", Kind::Text, true),
    ("protocolVersion", Kind::Text, true),
    ("tenant", Kind::Text, false),
];
const INTERFACE_OLD: &[Rule] = &[("url", Kind::Text, true), ("transport", Kind::Text, true)];
const SKILL: &[Rule] = &[
    ("id", Kind::Text, true),
    ("name", Kind::Text, true),
    ("description", Kind::Text, true),
    ("tags", Kind::Texts, true),
    ("examples", Kind::Texts, false),
    ("inputModes", Kind::Texts, false),
    ("outputModes", Kind::Texts, false),
];
const CAPABILITIES: &[Rule] = &[
    ("streaming", Kind::Bool, false),
    ("pushNotifications", Kind::Bool, false),
    ("extendedAgentCard", Kind::Bool, false),
    ("extensions", Kind::Objects, false),
];
const PROVIDER: &[Rule] = &[("organization", Kind::Text, true), ("url", Kind::Text, true)];
const SIGNATURE: &[Rule] = &[("protected", Kind::Text, true), ("signature", Kind::Text, true)];
const PARAMS: &[Rule] = &[
    ("kind", Kind::Text, false),
    ("category", Kind::Text, false),
    ("tags", Kind::Texts, false),
    ("protocols", Kind::Texts, false),
    ("openapi_url", Kind::Text, false),
    ("owner_proof", Kind::Text, false),
];

impl Lint {
    fn error(&mut self, pointer: &str, message: &str) {
        push(&mut self.errors, pointer, message);
    }

    fn warn(&mut self, pointer: &str, message: &str) {
        push(&mut self.warnings, pointer, message);
    }

    fn card(&mut self, card: &Card) {
        let fields = card.fields();
        let (rules, list, interface) = match card.dialect() {
            Dialect::V1 => (V1, "supportedInterfaces", INTERFACE),
            Dialect::V03 => (V03, "additionalInterfaces", INTERFACE_OLD),
        };
        self.fields("", fields, rules);
        self.each(fields, list, interface);
        self.each(fields, "skills", SKILL);
        self.each(fields, "signatures", SIGNATURE);
        self.part(fields, "capabilities", CAPABILITIES);
        self.part(fields, "provider", PROVIDER);
        self.urls(card, list);
        self.skills(card);
        self.taste(card);
        self.params(card);
    }

    fn fields(&mut self, at: &str, fields: &Map<String, Value>, rules: &[Rule]) {
        for (name, kind, required) in rules {
            let pointer = format!("{at}/{name}");
            match fields.get(*name) {
                None if *required => self.error(&pointer, &format!("missing: {}", kind.words())),
                Some(value) if !kind.matches(value) => {
                    self.error(&pointer, &format!("expected {}", kind.words()));
                }
                _ => {}
            }
        }
    }

    fn each(&mut self, fields: &Map<String, Value>, name: &str, rules: &[Rule]) {
        let list = fields.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (i, item) in list.iter().enumerate() {
            if let Some(item) = item.as_object() {
                self.fields(&format!("/{name}/{i}"), item, rules);
            }
        }
    }

    fn part(&mut self, fields: &Map<String, Value>, name: &str, rules: &[Rule]) {
        if let Some(part) = fields.get(name).and_then(Value::as_object) {
            self.fields(&format!("/{name}"), part, rules);
        }
    }

    fn urls(&mut self, card: &Card, list: &str) {
        let old = card.dialect() == Dialect::V03;
        for (i, interface) in card.interfaces().iter().enumerate() {
            let pointer = match (old, i) {
                (true, 0) => "/url".to_owned(),
                (true, i) => format!("/{list}/{}/url", i - 1),
                (false, i) => format!("/{list}/{i}/url"),
            };
            match url::Url::parse(interface.url) {
                Err(error) => self.error(&pointer, &format!("not an absolute URL: {error}")),
                Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                    self.error(&pointer, "a card is public: no credentials in its URLs");
                }
                Ok(url) if url.scheme() == "http" => {
                    self.warn(&pointer, "http is for tests; clients expect https");
                }
                Ok(_) => {}
            }
        }
        if card.interfaces().is_empty() {
            self.warn(&format!("/{list}"), "no interface: clients learn what it is, not where");
        }
    }

    fn skills(&mut self, card: &Card) {
        let mut seen = std::collections::BTreeSet::new();
        for (i, skill) in card.skills().enumerate() {
            let id = super::text_of(skill, "id");
            if !id.is_empty() && !seen.insert(id.to_owned()) {
                self.error(&format!("/skills/{i}/id"), "another skill has this id");
            }
            if skill.get("tags").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                self.warn(
                    &format!("/skills/{i}/tags"),
                    "no tags: searches will not find it by tag",
                );
            }
        }
        match seen.len() {
            0 => self.warn("/skills", "no skills: searches find it by name only"),
            n if n > SKILLS_MAX => {
                self.warn("/skills", &format!("a registry indexes the first {SKILLS_MAX} only"));
            }
            _ => {}
        }
    }

    fn taste(&mut self, card: &Card) {
        if card.name().chars().count() > TITLE_CHARS_MAX {
            self.warn("/name", &format!("a registry shows the first {TITLE_CHARS_MAX} characters"));
        }
        if card.description().chars().count() > SUMMARY_CHARS_MAX {
            let message = format!("lists show the first {SUMMARY_CHARS_MAX} characters");
            self.warn("/description", &message);
        }
        if card.dialect() == Dialect::V03 {
            self.warn("", "an A2A 0.3 card; homing card init writes one of version 1.0");
        }
        if card.signatures().is_empty() {
            self.warn("/signatures", "unsigned; homing card publish signs it");
        }
    }

    fn params(&mut self, card: &Card) {
        let Some(params) = card.listing_params() else { return };
        let at = extension_pointer(card);
        self.fields(&at, params, PARAMS);
        if !matches!(super::text_of(params, "kind"), "" | "agent" | "service") {
            self.error(&format!("{at}/kind"), "expected agent or service");
        }
        if super::text_of(params, "category").chars().count() > CATEGORY_CHARS_MAX {
            let message = format!("at most {CATEGORY_CHARS_MAX} characters");
            self.error(&format!("{at}/category"), &message);
        }
        let pricing = params.get("pricing").map_or(0, |p| p.to_string().len());
        if pricing > PRICING_BYTES_MAX {
            let message = format!("{pricing} bytes, at most {PRICING_BYTES_MAX} are kept");
            self.error(&format!("{at}/pricing"), &message);
        }
    }
}

fn extension_pointer(card: &Card) -> String {
    let list = card.fields().get("capabilities").and_then(|c| c.get("extensions"));
    let ours = |e: &Value| e.get("uri").and_then(Value::as_str) == Some(LISTING_URI);
    let index = list.and_then(Value::as_array).and_then(|l| l.iter().position(ours));
    format!("/capabilities/extensions/{}/params", index.unwrap_or_default())
}

fn push(list: &mut Vec<Problem>, pointer: &str, message: &str) {
    if list.len() < PROBLEMS_MAX {
        list.push(Problem { pointer: pointer.to_owned(), message: message.to_owned() });
    }
}
