//! From record and card to listing: everything cut to its limit, nothing garbles a terminal.

use homing_base::{AgentRecord, IdentityKey, InstanceId, Record, Seq, Wall};
use homing_registry::cards::Card;
use homing_registry::limits::{
    CATEGORY_CHARS_MAX, PROTOCOLS_MAX, SKILLS_MAX, SUMMARY_CHARS_MAX, TAGS_MAX, TITLE_CHARS_MAX,
};
use homing_registry::listing::{EntityKind, Listing};
use serde_json::{Value, json};

use crate::support::{V03, full_card};

fn record(change: impl FnOnce(&mut AgentRecord)) -> Record {
    let key = IdentityKey::from_seed([9; 32]);
    let mut content = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(1), Wall(1));
    change(&mut content);
    content.sign(&key).unwrap()
}

fn of(card: &Value) -> Listing {
    let card = Card::parse(card.to_string().as_bytes()).unwrap();
    Listing::of(&record(|r| r.tags = vec!["Fleet".into()]), Some(&card))
}

#[test]
fn a_record_alone_is_listed_by_its_name_or_address() {
    let named = record(|r| r.name = Some("planner".parse().unwrap()));
    assert_eq!(Listing::of(&named, None).title, "planner");
    assert!(Listing::of(&record(|_| {}), None).title.starts_with("fd"));
}

#[test]
fn a_card_says_the_rest() {
    let listing = of(&full_card());
    assert_eq!(listing.title, "Route Planner");
    assert_eq!(listing.category, "travel");
    assert_eq!(listing.kind, EntityKind::Service);
    assert_eq!(listing.tags, ["fleet", "maps", "routing"]);
    assert_eq!(listing.protocols, ["a2a", "jsonrpc", "grpc", "mcp"]);
    assert_eq!(listing.service_url.as_deref(), Some("https://routes.example.com/a2a/v1"));
    assert_eq!(listing.openapi_url.as_deref(), Some("https://routes.example.com/openapi.json"));
    assert_eq!(listing.pricing, Some(json!({ "per_call": "0.001", "currency": "EUR" })));
    assert_eq!((listing.skills.len(), listing.skills[0].id.as_str()), (1, "route"));
    assert_eq!(listing.owner, None);
    let old = Card::parse(V03.as_bytes()).unwrap();
    let old = Listing::of(&record(|_| {}), Some(&old));
    assert_eq!(old.protocols, ["a2a", "grpc", "jsonrpc"]);
}

#[test]
fn everything_is_cut_to_its_limit() {
    let words: Vec<_> = (0..40).map(|i| format!("Word{i}")).collect();
    let skill = |i: usize| json!({ "id": format!("s{i}"), "name": "n".repeat(500), "description": "d".repeat(500), "tags": words });
    let listing = of(&json!({
        "name": "é".repeat(5_000), "description": "long ".repeat(5_000),
        "supportedInterfaces": (0..500).map(|i| json!({ "url": format!("https://a/{i}"), "protocolBinding": format!("P{i}") })).collect::<Vec<_>>(),
        "skills": (0..100).map(skill).collect::<Vec<_>>(),
        "capabilities": { "extensions": [{ "uri": "urn:homing:listing:1", "params": {
            "category": "c".repeat(500), "tags": words, "protocols": words, "pricing": { "x": "p".repeat(5_000) },
            "openapi_url": "javascript:alert(1)", "kind": 7,
        } }] },
    }));
    assert_eq!(listing.title.chars().count(), TITLE_CHARS_MAX);
    assert!(listing.summary.chars().count() <= SUMMARY_CHARS_MAX);
    assert_eq!(listing.category.chars().count(), CATEGORY_CHARS_MAX);
    assert_eq!(listing.tags.len(), TAGS_MAX);
    assert_eq!(listing.tags[0], "fleet");
    assert!(listing.protocols.len() <= PROTOCOLS_MAX);
    assert_eq!(listing.skills.len(), SKILLS_MAX);
    assert!(
        listing
            .skills
            .iter()
            .all(|s| s.name.chars().count() <= TITLE_CHARS_MAX && s.tags.len() <= TAGS_MAX)
    );
    assert_eq!((listing.pricing, listing.openapi_url), (None, None));
    assert_eq!(listing.kind, EntityKind::Agent);
}

#[test]
fn what_garbles_a_terminal_or_turns_text_around_is_gone() {
    let listing = of(&json!({
        "name": "\u{1b}[2Jroot\u{202e}gpj.exe\r\n", "description": "a\u{7}\u{0}b\tc",
        "supportedInterfaces": [{ "url": "file:///etc/passwd", "protocolBinding": "\u{1b}X" }],
        "skills": [{ "id": "\u{1b}", "name": "x" }],
    }));
    assert_eq!(listing.title, "[2Jroot gpj.exe");
    assert_eq!(listing.summary, "a b c");
    assert_eq!(listing.protocols, ["a2a", "x"]);
    assert_eq!((listing.service_url, listing.skills), (None, vec![]));
}

#[test]
fn the_agents_own_address_is_no_url_for_programs_without_a_daemon() {
    let own = homing_base::Address::of(&record(|_| {}).node_id());
    let listing = of(&json!({ "name": "a", "supportedInterfaces": [
        { "url": format!("http://[{own}]:8080/"), "protocolBinding": "JSONRPC" },
        { "url": "https://a.example.com/", "protocolBinding": "JSONRPC" },
    ] }));
    assert_eq!(listing.service_url.as_deref(), Some("https://a.example.com/"));
}
