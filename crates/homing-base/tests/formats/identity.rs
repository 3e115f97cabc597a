//! `identity.json`: one good file, and every way in which it can be damaged.

use homing_base::IdentityKey;
use homing_base::identity::{IDENTITY_FILE_BYTES_MAX, IdentityError, from_json, to_json};
use proptest::prelude::*;

use crate::arbitrary::{key, keys};

/// The file of key 7 with one value replaced.
fn edited(field: &str, value: serde_json::Value) -> String {
    let mut file: serde_json::Value = serde_json::from_str(&to_json(&key(7))).expect("own file");
    file[field] = value;
    file.to_string()
}

fn refusal(text: &str) -> IdentityError {
    from_json(text).expect_err("a damaged identity was accepted")
}

#[test]
fn an_empty_file_is_named_as_such() {
    assert_eq!(refusal(""), IdentityError::Empty);
    assert_eq!(refusal(" \n\t"), IdentityError::Empty);
}

#[test]
fn every_truncation_is_refused() {
    let text = to_json(&key(7));
    for end in 1..text.trim_end().len() {
        assert!(matches!(refusal(&text[..end]), IdentityError::Syntax { .. }), "cut at {end}");
    }
}

#[test]
fn another_schema_or_key_type_is_named() {
    assert_eq!(refusal("{}"), IdentityError::Schema { got: "none".into() });
    assert_eq!(refusal("[1]"), IdentityError::Schema { got: "none".into() });
    assert_eq!(
        refusal(&edited("schema", "homing.identity/v2".into())),
        IdentityError::Schema { got: "homing.identity/v2".into() }
    );
    assert_eq!(refusal(&edited("type", "rsa".into())), IdentityError::Type { got: "rsa".into() });
    assert_eq!(refusal(&edited("type", 5.into())), IdentityError::Type { got: "none".into() });
    let IdentityError::Schema { got } = refusal(&edited("schema", "x".repeat(999).into())) else {
        panic!("not a schema error");
    };
    assert_eq!(got.len(), 64, "an error does not repeat a whole foreign file");
}

#[test]
fn a_missing_extra_or_malformed_field_is_refused() {
    assert_eq!(refusal(&edited("comment", "mine".into())), IdentityError::Fields);
    for field in ["node_id", "address", "public_key", "secret_key"] {
        assert_eq!(refusal(&edited(field, 5.into())), IdentityError::Fields, "{field}");
        assert_eq!(refusal(&edited(field, serde_json::Value::Null)), IdentityError::Fields);
    }
    assert_eq!(refusal(&edited("node_id", "abc".into())), IdentityError::Fields);
    assert_eq!(refusal(&edited("secret_key", "abc".into())), IdentityError::Secret);
    for field in ["schema", "secret_key"] {
        let twice = to_json(&key(7)).replacen('{', &format!("{{\"{field}\": \"x\","), 1);
        assert_eq!(refusal(&twice), IdentityError::Fields, "{field} twice");
    }
}

#[test]
fn an_array_of_the_right_values_is_no_identity() {
    let file: serde_json::Value = serde_json::from_str(&to_json(&key(7))).expect("own file");
    let values: Vec<_> = file.as_object().expect("an object").values().collect();
    let array = serde_json::to_string(&values).expect("json");
    assert_eq!(refusal(&array), IdentityError::Schema { got: "none".into() });
}

#[test]
fn parts_of_two_identities_are_refused() {
    let other: serde_json::Value = serde_json::from_str(&to_json(&key(8))).expect("own file");
    for field in ["public_key", "node_id", "address"] {
        let mixed = edited(field, other[field].clone());
        assert_eq!(refusal(&mixed), IdentityError::Swapped { what: field });
    }
    let swapped = edited("secret_key", other["secret_key"].clone());
    assert_eq!(refusal(&swapped), IdentityError::Swapped { what: "public_key" });
}

#[test]
fn no_error_repeats_the_secret() {
    let secret = "5e".repeat(32);
    for text in [
        edited("secret_key", secret.clone().into()),
        edited("secret_key", format!("{secret}zz").into()),
        format!(
            "{{\"schema\":\"homing.identity/v1\",\"type\":\"ed25519\",\"secret_key\":\"{secret}"
        ),
    ] {
        let error = refusal(&text);
        assert!(!format!("{error} {error:?}").contains(&secret[..8]), "{error:?}");
    }
}

proptest! {
    #[test]
    fn the_file_brings_the_same_key_back(key in keys()) {
        let text = to_json(&key);
        prop_assert!(text.len() as u64 <= IDENTITY_FILE_BYTES_MAX);
        let back = from_json(&text).expect("own file");
        prop_assert_eq!(back.to_secret_seed(), key.to_secret_seed());
    }

    #[test]
    fn a_changed_character_never_gives_another_identity(
        at in any::<prop::sample::Index>(), with in "[0-9a-fA-F\" ,:{}]",
    ) {
        let key = IdentityKey::from_seed([7; 32]);
        let mut text = to_json(&key);
        let at = at.index(text.len());
        text.replace_range(at..=at, &with);
        if let Ok(read) = from_json(&text) {
            prop_assert_eq!(read.to_secret_seed(), key.to_secret_seed());
        }
    }
}
