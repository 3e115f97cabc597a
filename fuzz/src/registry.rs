//! Bodies for the decoders of homing-registry.

use homing_base::{AgentRecord, IdentityKey, InstanceId, Seq, Wall};
use homing_registry::cards::canonical;
use homing_registry::cards::lint::lint;
use homing_registry::cards::signature::{self, Keys, Verdict};
use homing_registry::cards::{Card, jwks};
use homing_registry::limits::{
    CATEGORY_CHARS_MAX, PROTOCOLS_MAX, SKILLS_MAX, SUMMARY_CHARS_MAX, TAGS_MAX, TITLE_CHARS_MAX,
};
use homing_registry::listing::Listing;

use crate::replay::Target;

/// Every target of this file, by the name of its corpus.
pub const TARGETS: &[Target] = &[("card_parse", card_parse)];

/// The bytes as a card: kept as they are, bounded as a listing, canonical twice the same, and signed by us
/// verified, whatever else stands in it. The same bytes as a JWK set.
pub fn card_parse(data: &[u8]) {
    let _ = jwks::parse(data);
    let found = lint(data);
    let Ok(card) = Card::parse(data) else {
        assert!(!found.errors.is_empty());
        return;
    };
    assert_eq!(card.bytes(), data);
    let key = IdentityKey::from_seed([1; 32]);
    let record = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(1), Wall(1));
    let record = record.sign(&key).expect("a record with the mandatory fields");
    bounded(&Listing::of(&record, Some(&card)));
    let payload = canonical::payload(&card);
    let again: serde_json::Value =
        serde_json::from_slice(&payload).expect("canonical JSON is JSON");
    assert_eq!(canonical::jcs(&again), payload, "canonical once is canonical");
    let keys = Keys::of_identity(key.public());
    let _ = signature::key_urls(&card);
    let _ = signature::check(&card, &Keys::default());
    if let Ok(signed) = signature::sign(&card, &key) {
        let verdict = signature::check(&signed, &keys);
        // Only among the first few signatures is ours looked for, and it stands first.
        assert!(matches!(verdict, Verdict::Verified { .. }), "{verdict:?}");
        assert_eq!(canonical::payload(&signed), payload);
    }
}

fn bounded(listing: &Listing) {
    let printable = |text: &str| !text.chars().any(char::is_control);
    assert!(listing.title.chars().count() <= TITLE_CHARS_MAX && printable(&listing.title));
    assert!(!listing.title.is_empty());
    assert!(listing.summary.chars().count() <= SUMMARY_CHARS_MAX && printable(&listing.summary));
    assert!(listing.category.chars().count() <= CATEGORY_CHARS_MAX);
    assert!(listing.tags.len() <= TAGS_MAX && listing.protocols.len() <= PROTOCOLS_MAX);
    assert!(listing.tags.iter().chain(&listing.protocols).all(|word| printable(word)));
    assert!(listing.skills.len() <= SKILLS_MAX && listing.owner.is_none());
}
