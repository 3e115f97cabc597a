//! Signatures: by the identity, by the origin's keys, by nobody, by the wrong one.

use data_encoding::BASE64URL_NOPAD;
use homing_base::{IdentityKey, jws};
use homing_registry::cards::Card;
use homing_registry::cards::canonical::{jcs, payload};
use homing_registry::cards::jwks::{self, Jwk};
use homing_registry::cards::signature::{Keys, Signer, Verdict, check, key_urls, sign};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::support::full_card;

fn identity() -> IdentityKey {
    IdentityKey::from_seed([9; 32])
}

fn card() -> Card {
    Card::parse(full_card().to_string().as_bytes()).unwrap()
}

fn signed() -> Card {
    sign(&card(), &identity()).unwrap()
}

/// A card with one signature made by hand.
fn with_signature(card: &Value, header: &Value, sign: impl Fn(&str, &Card) -> Vec<u8>) -> Card {
    let protected = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
    let bare = Card::parse(card.to_string().as_bytes()).unwrap();
    let signature = BASE64URL_NOPAD.encode(&sign(&protected, &bare));
    let mut card = card.clone();
    card["signatures"] = json!([{ "protected": protected, "signature": signature }]);
    Card::parse(card.to_string().as_bytes()).unwrap()
}

fn by_identity(protected: &str, card: &Card) -> Vec<u8> {
    jws::sign(&identity(), protected, &payload(card)).unwrap().0.to_vec()
}

fn word(card: &Card, keys: &Keys) -> &'static str {
    check(card, keys).word()
}

#[test]
fn a_card_signed_by_the_identity_of_its_record_is_verified() {
    let keys = Keys::of_identity(identity().public());
    let Verdict::Verified { by, kid } = check(&signed(), &keys) else { panic!() };
    assert_eq!(by, Signer::Identity(identity().node_id()));
    assert!(kid.starts_with("did:key:z6Mk"));
    // The node ID names the same key.
    let header = json!({ "alg": "EdDSA", "kid": identity().node_id().to_string() });
    let card = with_signature(&full_card(), &header, by_identity);
    assert_eq!(word(&card, &keys), "verified");
    assert_eq!(word(&super::signing::card(), &keys), "unsigned");
}

#[test]
fn another_identity_does_not_sign_for_this_one() {
    let other = IdentityKey::from_seed([1; 32]);
    let keys = Keys::of_identity(other.public());
    assert_eq!(word(&signed(), &keys), "unknown_key");
    // Without a record it only says who has signed.
    let Verdict::Verified { by, .. } = check(&signed(), &Keys::default()) else { panic!() };
    assert_eq!(by, Signer::Identity(identity().node_id()));
}

#[test]
fn every_change_of_meaning_breaks_the_signature_and_no_other_does() {
    let keys = Keys::of_identity(identity().public());
    let text = String::from_utf8(signed().bytes().to_vec()).unwrap();
    let changed = |from: &str, to: &str| {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        word(&Card::parse(other.as_bytes()).unwrap(), &keys)
    };
    assert_eq!(changed("Route Planner", "Route planner"), "invalid");
    assert_eq!(changed("\"streaming\": true", "\"streaming\": false"), "invalid");
    assert_eq!(changed("\"kept\"", "\"dropped\""), "invalid");
    assert_eq!(
        changed("https://routes.example.com/a2a/v1", "https://evil.example.com/"),
        "invalid"
    );
    // Layout, key order and escapes are not meaning.
    let value: Value = serde_json::from_str(&text).unwrap();
    let compact = value.to_string();
    assert_eq!(word(&Card::parse(compact.as_bytes()).unwrap(), &keys), "verified");
    assert_eq!(changed("Route Planner", "R\\u006fute Planner"), "verified");
    let sorted = jcs(&value);
    assert_eq!(word(&Card::parse(&sorted).unwrap(), &keys), "verified");
}

#[test]
fn signing_again_replaces_our_signature_and_keeps_others() {
    let stranger = json!({ "protected": "e30", "signature": "AAAA" });
    let mut value: Value = serde_json::from_slice(signed().bytes()).unwrap();
    value["signatures"].as_array_mut().unwrap().push(stranger.clone());
    let twice = sign(&Card::parse(value.to_string().as_bytes()).unwrap(), &identity()).unwrap();
    assert_eq!(twice.signatures().len(), 2);
    assert_eq!(twice.signatures()[1], stranger);
    assert_eq!(word(&twice, &Keys::of_identity(identity().public())), "verified");
}

#[test]
fn signers_that_keep_or_drop_empty_values_are_understood() {
    let mut value = full_card();
    value["securityRequirements"] = json!([]);
    value["provider"] = json!({ "organization": "Routes", "url": "" });
    let keys = Keys::of_identity(identity().public());
    let header = json!({ "alg": "EdDSA", "typ": "JOSE", "kid": identity().node_id().to_string() });
    let as_written = with_signature(&value, &header, |protected, card| {
        let payload = jcs(&Value::Object(card.fields().clone()));
        jws::sign(&identity(), protected, &payload).unwrap().0.to_vec()
    });
    assert_eq!(word(&as_written, &keys), "verified");
    let emptied = with_signature(&value, &header, |protected, card| {
        let mut fields = card.fields().clone();
        fields.remove("securityRequirements");
        fields["provider"] = json!({ "organization": "Routes" });
        fields["x-unknown"] = json!({ "kept": [1] });
        jws::sign(&identity(), protected, &jcs(&Value::Object(fields))).unwrap().0.to_vec()
    });
    assert_eq!(word(&emptied, &keys), "verified");
}

#[test]
fn an_embedded_key_and_unknown_demands_prove_nothing() {
    let keys = Keys::of_identity(identity().public());
    let attacker = IdentityKey::from_seed([66; 32]);
    let by_attacker = |protected: &str, card: &Card| {
        jws::sign(&attacker, protected, &payload(card)).unwrap().0.to_vec()
    };
    let x = BASE64URL_NOPAD.encode(&attacker.public().0);
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k" });
    let embedded = json!({ "alg": "EdDSA", "kid": "k", "jwk": jwk });
    assert_eq!(word(&with_signature(&full_card(), &embedded, by_attacker), &keys), "unknown_key");
    // Another's key under our name.
    let stolen = json!({ "alg": "EdDSA", "kid": identity().node_id().to_string(), "jwk": jwk });
    assert_eq!(word(&with_signature(&full_card(), &stolen, by_attacker), &keys), "invalid");
    let critical = json!({ "alg": "EdDSA", "kid": identity().node_id().to_string(), "crit": ["b64"], "b64": false });
    assert_eq!(word(&with_signature(&full_card(), &critical, by_identity), &keys), "invalid");
    for alg in ["none", "HS256", "RS256", ""] {
        let header = json!({ "alg": alg, "kid": identity().node_id().to_string() });
        assert_eq!(word(&with_signature(&full_card(), &header, by_identity), &keys), "unknown_key");
    }
    let confused = json!({ "alg": "ES256", "kid": identity().node_id().to_string() });
    assert_eq!(word(&with_signature(&full_card(), &confused, by_identity), &keys), "invalid");
    let mut odd = full_card();
    for signatures in
        [json!({}), json!([7]), json!([{}]), json!([{ "protected": "=", "signature": "AA" }])]
    {
        odd["signatures"] = signatures;
        assert_eq!(word(&Card::parse(odd.to_string().as_bytes()).unwrap(), &keys), "invalid");
    }
}

#[test]
fn es256_by_a_key_of_the_origin_is_verified_and_says_so() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
        .unwrap();
    let point = pair.public_key().as_ref();
    let set = json!({ "keys": [
        { "kty": "RSA", "kid": "key-1", "n": "AQAB", "e": "AQAB" },
        { "kty": "EC", "crv": "P-256", "kid": "key-1", "use": "enc", "x": "AA", "y": "AA" },
        { "kty": "EC", "crv": "P-256", "kid": "key-1", "x": BASE64URL_NOPAD.encode(&point[1..33]),
          "y": BASE64URL_NOPAD.encode(&point[33..]) },
    ] });
    let jwks: Vec<Jwk> = jwks::parse(set.to_string().as_bytes());
    assert_eq!(jwks.len(), 1);
    let header = json!({ "alg": "ES256", "typ": "JOSE", "kid": "key-1", "jku": "https://routes.example.com/jwks.json" });
    let card = with_signature(&full_card(), &header, |protected, card| {
        let input = jws::signing_input(protected, &payload(card));
        pair.sign(&random, &input).unwrap().as_ref().to_vec()
    });
    assert_eq!(key_urls(&card), ["https://routes.example.com/jwks.json"]);
    let origin = "https://routes.example.com".to_owned();
    let keys = Keys { identity: Some(identity().public()), origin: Some((origin.clone(), jwks)) };
    assert_eq!(
        check(&card, &keys),
        Verdict::Verified { by: Signer::Origin(origin), kid: "key-1".into() }
    );
    assert_eq!(word(&card, &Keys::of_identity(identity().public())), "unknown_key");
    let tampered = String::from_utf8(card.bytes().to_vec()).unwrap().replace("1.2.0", "1.2.1");
    assert_eq!(word(&Card::parse(tampered.as_bytes()).unwrap(), &keys), "invalid");
}
