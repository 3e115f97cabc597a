//! Deterministic CBOR: every other spelling of a value is refused, and every bound holds.

use homing_base::cbor::{CborError, check_deterministic, decode, encode};
use homing_base::limits::{CBOR_DEPTH_MAX, CBOR_ITEMS_MAX};
use homing_base::{AgentRecord, RelayRef};
use proptest::prelude::*;

use crate::arbitrary::{contents, key};

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = check_deterministic(bytes).expect_err("another spelling was accepted");
    assert!(format!("{error:?}").contains(expected), "{error:?}");
}

#[test]
fn each_other_spelling_is_refused() {
    for long in [&[0x18, 0x17][..], &[0x19, 0, 0xff], &[0x1a, 0, 0, 0xff, 0xff]] {
        refused(long, "shortest");
    }
    refused(&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "shortest");
    refused(&[0x58, 0x01, 0x00], "shortest");
    for indefinite in [0x5f, 0x7f, 0x9f, 0xbf] {
        refused(&[indefinite, 0xff], "indefinite");
    }
    for reserved in [0x1c, 0x1d, 0x1e] {
        refused(&[reserved], "reserved");
    }
    refused(&[0xa2, 0x02, 0x00, 0x01, 0x00], "out of order");
    refused(&[0xa2, 0x01, 0x00, 0x01, 0x00], "repeated");
    refused(&[0xf6], "null");
    for float_or_simple in
        [&[0xf9, 0x3c, 0x00][..], &[0xfa, 0, 0, 0, 0], &[0xf7], &[0xf8, 0x20], &[0xff]]
    {
        refused(float_or_simple, "floats");
    }
}

#[test]
fn bytes_after_and_bytes_missing_are_refused() {
    assert_eq!(check_deterministic(&[0x01, 0x02]), Err(CborError::Trailing(1)));
    for cut in [&[][..], &[0x18], &[0x42, 0x00], &[0x82, 0x00], &[0xa1, 0x00], &[0xd2]] {
        assert_eq!(check_deterministic(cut), Err(CborError::Truncated), "{cut:x?}");
    }
    assert!(matches!(check_deterministic(&[0x61, 0xff]), Err(CborError::Shape(_))), "not UTF-8");
}

#[test]
fn an_attackers_length_costs_nothing() {
    // Arrays, maps and strings that announce 2^64 - 1 elements and bring none.
    for major in [0x5b, 0x7b, 0x9b, 0xbb] {
        let mut bytes = vec![major];
        bytes.extend([0xff; 8]);
        assert_eq!(check_deterministic(&bytes), Err(CborError::Truncated));
    }
}

#[test]
fn nesting_and_items_are_bounded() {
    let nested = |depth: usize| [vec![0x81; depth], vec![0x00]].concat();
    assert_eq!(check_deterministic(&nested(CBOR_DEPTH_MAX)), Ok(()));
    assert_eq!(check_deterministic(&nested(CBOR_DEPTH_MAX + 1)), Err(CborError::OutOfBounds));
    assert_eq!(
        check_deterministic(&vec![0xd2; 1_000_000]),
        Err(CborError::OutOfBounds),
        "tags nest"
    );
    let flat = |items: usize| {
        let len = u16::try_from(items - 1).expect("fits").to_be_bytes();
        [vec![0x99, len[0], len[1]], vec![0x00; items - 1]].concat()
    };
    assert_eq!(check_deterministic(&flat(CBOR_ITEMS_MAX)), Ok(()));
    assert_eq!(check_deterministic(&flat(CBOR_ITEMS_MAX + 1)), Err(CborError::OutOfBounds));
}

#[test]
fn too_many_bytes_are_refused_before_they_are_read() {
    let error = decode::<RelayRef>(&[0xff; 9], 8);
    assert_eq!(error, Err(CborError::TooLong { len: 9, max: 8 }));
}

#[test]
fn an_unknown_key_is_skipped_whatever_it_holds() {
    // {1: "https://a/", 9: {1: [h'00', true]}}: key 9 is of a later version.
    let url = b"https://a/";
    let head = [&[0xa2, 0x01, 0x6a][..], url].concat();
    let bytes = [&head[..], &[0x09, 0xa1, 0x01, 0x82, 0x41, 0x00, 0xf5]].concat();
    let relay: RelayRef = decode(&bytes, 128).expect("unknown keys are no error");
    assert_eq!(relay, RelayRef { url: "https://a/".into(), pin: None, quic_port: None });
}

#[test]
fn a_value_of_another_shape_is_refused() {
    let as_text = encode(&"https://a/");
    assert!(matches!(decode::<RelayRef>(&as_text, 128), Err(CborError::Shape(_))));
    // {2: h''}: the mandatory key 1 is missing.
    assert!(matches!(decode::<RelayRef>(&[0xa1, 0x02, 0x40], 128), Err(CborError::Shape(_))));
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = check_deterministic(&bytes);
        let _ = decode::<AgentRecord>(&bytes, 1_000);
    }

    #[test]
    fn what_we_encode_is_deterministic_and_reads_back(content in contents(key(1))) {
        let bytes = encode(&content);
        prop_assert_eq!(check_deterministic(&bytes), Ok(()));
        prop_assert_eq!(decode::<AgentRecord>(&bytes, 2_000).expect("own encoding"), content);
    }

    /// Whatever is accepted has one spelling: reading and writing gives the same bytes.
    #[test]
    fn accepted_bytes_are_the_only_spelling(
        content in contents(key(1)), at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut bytes = encode(&content);
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(other) = decode::<AgentRecord>(&bytes, 2_000) {
            let unknown_keys = encode(&other).len() != bytes.len();
            prop_assert!(unknown_keys || encode(&other) == bytes);
        }
    }
}
