//! What is a card, what is its canonical form, what a lint says.

use homing_registry::cards::canonical::{jcs, payload};
use homing_registry::cards::lint::lint;
use homing_registry::cards::signature::{Keys, check, sign};
use homing_registry::cards::{Card, CardError, Dialect, Interface, did_key};
use homing_registry::limits::CARD_BYTES_MAX;
use serde_json::{Value, json};

use crate::support::{V03, full_card};

fn parse(value: &Value) -> Result<Card, CardError> {
    Card::parse(value.to_string().as_bytes())
}

#[test]
fn a_card_of_1_0_reads_and_its_bytes_stay() {
    let text = format!("  {} \n", serde_json::to_string_pretty(&full_card()).unwrap());
    let card = Card::parse(text.as_bytes()).unwrap();
    assert_eq!(card.dialect(), Dialect::V1);
    assert_eq!((card.name(), card.version()), ("Route Planner", "1.2.0"));
    assert_eq!(card.bytes(), text.as_bytes());
    assert_eq!(card.fields()["x-unknown"], json!({ "kept": [1, null, ""] }));
    let first = Interface { url: "https://routes.example.com/a2a/v1", binding: "JSONRPC" };
    assert_eq!(card.interfaces()[0], first);
    assert_eq!(card.skills().count(), 1);
}

#[test]
fn a_card_of_0_3_reads_with_its_preferred_transport_first() {
    let card = Card::parse(V03.as_bytes()).unwrap();
    assert_eq!(card.dialect(), Dialect::V03);
    let urls: Vec<_> = card.interfaces().iter().map(|i| (i.binding, i.url)).collect();
    // The first of `additionalInterfaces` repeats `url`, as 0.3 §5.6.3 asks.
    let expected =
        [("GRPC", "https://old.example.com/grpc"), ("JSONRPC", "https://old.example.com/rpc")];
    assert_eq!(urls, expected);
}

#[test]
fn what_is_no_card_is_refused_with_the_place() {
    let field = |value: Value| match parse(&value) {
        Err(CardError::Field { pointer, .. }) => pointer,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(json!({})), "/name");
    assert_eq!(field(json!({ "name": "  ", "url": "https://a" })), "/name");
    assert_eq!(field(json!({ "name": 5, "url": "https://a" })), "/name");
    assert_eq!(field(json!({ "name": "a" })), "/supportedInterfaces");
    assert_eq!(field(json!({ "name": "a", "supportedInterfaces": {} })), "/supportedInterfaces");
    assert_eq!(parse(&json!([])), Err(CardError::NoObject));
    assert!(matches!(Card::parse(b"{\"name\": \"a\","), Err(CardError::Json { line: 1, .. })));
    assert!(matches!(Card::parse(b"{} {}"), Err(CardError::Json { .. })));
    assert!(matches!(Card::parse(b"\xff\xfe"), Err(CardError::Json { .. })));
}

#[test]
fn a_key_that_stands_twice_is_refused_at_every_depth() {
    for text in [
        r#"{"name":"a","url":"https://a","name":"b"}"#,
        r#"{"name":"a","url":"https://a","x":[{"y":{"z":1,"z":2}}]}"#,
        r#"{"name":"a","url":"https://a","na\u006de":"b"}"#,
    ] {
        match Card::parse(text.as_bytes()) {
            Err(CardError::Json { why, .. }) => assert!(why.contains("twice"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn length_depth_and_number_of_values_are_bounded() {
    let long = format!(r#"{{"name":"{}","url":"https://a"}}"#, "n".repeat(CARD_BYTES_MAX));
    assert!(matches!(Card::parse(long.as_bytes()), Err(CardError::TooLong { .. })));
    let deep = format!(r#"{{"name":"a","url":"u","x":{}}}"#, "[".repeat(100_000));
    assert!(matches!(Card::parse(deep.as_bytes()), Err(CardError::Json { .. })));
    let nested =
        |n: usize| format!(r#"{{"name":"a","url":"u","x":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(Card::parse(nested(20).as_bytes()).is_ok());
    assert!(Card::parse(nested(40).as_bytes()).is_err());
    let many = format!(r#"{{"name":"a","url":"u","x":[{}0]}}"#, "0,".repeat(30_000));
    match Card::parse(many.as_bytes()) {
        Err(CardError::Json { why, .. }) => assert!(why.contains("values"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// RFC 8785 §3.2.2 and §3.2.3.
#[test]
fn canonical_json_is_that_of_the_rfc() {
    let sample: Value = serde_json::from_str(
        r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
    )
    .unwrap();
    let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    assert_eq!(String::from_utf8(jcs(&sample)).unwrap(), expected);

    let keys: Value = serde_json::from_str(
        r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#,
    )
    .unwrap();
    let sorted: String = String::from_utf8(jcs(&keys)).unwrap();
    let order: Vec<_> = sorted.chars().filter(|c| ('2'..='7').contains(c)).collect();
    assert_eq!(
        order.iter().collect::<String>(),
        "246753",
        "by UTF-16, not by code point: {sorted}"
    );
}

/// RFC 8785, appendix B.
#[test]
fn numbers_are_written_as_ecmascript_does() {
    for (bits, text) in [
        (0x0000_0000_0000_0000_u64, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        let written = jcs(&json!(f64::from_bits(bits)));
        assert_eq!(String::from_utf8(written).unwrap(), text, "{bits:016x}");
    }
    // An integer beyond 2^53 is the double it means to an ECMAScript reader.
    assert_eq!(jcs(&json!(9_007_199_254_740_993_u64)), b"9007199254740992");
}

/// A2A 1.0 §8.4.1, "Example of Default Value Removal", with the field that makes it a card.
#[test]
fn defaults_are_left_out_by_the_presence_rules() {
    let card = parse(&json!({
        "name": "Example Agent", "description": "", "supportedInterfaces": [],
        "capabilities": { "streaming": false, "pushNotifications": false, "extensions": [] },
        "skills": [], "securityRequirements": [], "iconUrl": null, "signatures": [{}],
    }))
    .unwrap();
    let expected = r#"{"capabilities":{"pushNotifications":false,"streaming":false},"description":"","name":"Example Agent","skills":[],"supportedInterfaces":[]}"#;
    assert_eq!(String::from_utf8(payload(&card)).unwrap(), expected);
}

#[test]
fn a_did_key_reads_back_and_nothing_else_does() {
    let key = "2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6".parse().unwrap();
    let did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    assert_eq!(did_key::encode(&key), did);
    assert_eq!(did_key::decode(did), Some(key));
    let twice = format!("{did}#z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK");
    assert_eq!(did_key::decode(&twice), Some(key));
    for wrong in [
        "",
        "did:key:z",
        "did:web:example.com",
        &did[..did.len() - 1],
        &format!("{did}1"),
        &did.replace('h', "0"),
        &did.replace("z6Mk", "z6Xk"),
        &format!("{did}#z6Mk"),
        "did:key:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    ] {
        assert_eq!(did_key::decode(wrong), None, "{wrong}");
    }
    for seed in 0..=255 {
        let key = homing_base::IdentityKey::from_seed([seed; 32]).public();
        assert_eq!(did_key::decode(&did_key::encode(&key)), Some(key));
    }
}

#[test]
fn a_lint_names_the_place_of_every_error() {
    let clean = lint(full_card().to_string().as_bytes());
    assert_eq!(clean.errors, []);
    let mut broken = full_card();
    broken["description"] = json!(7);
    broken["skills"][0].as_object_mut().unwrap().remove("tags");
    broken["supportedInterfaces"][1]["url"] = json!("routes.example.com/grpc");
    broken["supportedInterfaces"][0]["url"] = json!("https://user:secret@routes.example.com/");
    broken["capabilities"]["streaming"] = json!("yes");
    broken["capabilities"]["extensions"][0]["params"]["kind"] = json!("daemon");
    let found = lint(broken.to_string().as_bytes());
    let mut pointers: Vec<_> = found.errors.iter().map(|p| p.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/capabilities/extensions/0/params/kind",
            "/capabilities/streaming",
            "/description",
            "/skills/0/tags",
            "/supportedInterfaces/0/url",
            "/supportedInterfaces/1/url",
        ]
    );
    assert!(lint(b"{").errors[0].message.contains("line 1"));
    let old = lint(V03.as_bytes());
    assert_eq!(old.errors, []);
    assert!(old.warnings.iter().any(|w| w.message.contains("0.3")));
}

/// Perturbed bytes never panic, and never pass for what was signed.
#[test]
fn a_card_with_one_byte_changed_is_never_verified_as_another() {
    let key = homing_base::IdentityKey::from_seed([9; 32]);
    let card = Card::parse(full_card().to_string().as_bytes()).unwrap();
    let signed = sign(&card, &key).unwrap();
    let keys = Keys::of_identity(key.public());
    let meaning = payload(&signed);
    let mut random = 0x1234_5678_9abc_def0_u64;
    for round in 0..1_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = (random >> 33) as usize % signed.bytes().len();
        let mut bytes = signed.bytes().to_vec();
        bytes[place] ^= 1 << (random >> 60 & 7);
        let _ = lint(&bytes);
        let Ok(changed) = Card::parse(&bytes) else { continue };
        if check(&changed, &keys).word() == "verified" {
            assert_eq!(payload(&changed), meaning, "round {round}, byte {place}");
        }
    }
}
