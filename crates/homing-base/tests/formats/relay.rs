//! Relay references: the URL people paste, with its pin.

use homing_base::RelayRef;
use homing_base::cbor;
use homing_base::relay::RelayParseError;
use proptest::prelude::*;

use crate::arbitrary::relays;

fn parse(text: &str) -> Result<RelayRef, RelayParseError> {
    text.parse()
}

#[test]
fn the_slash_and_the_case_do_not_matter() {
    let relay = parse("HTTPS://Relay.Example:3340").expect("a relay URL");
    assert_eq!(relay.url, "https://relay.example:3340/");
    assert_eq!(relay.authority(), "relay.example:3340");
    assert_eq!(
        parse("https://[2001:db8::7]:3340/").expect("IPv6").authority(),
        "[2001:db8::7]:3340"
    );
}

#[test]
fn pin_and_port_come_after_the_hash() {
    let text = format!("https://198.51.100.7:3340/#sha256={}&quic=7000", "ab".repeat(32));
    let relay = parse(&text).expect("a pinned relay");
    assert_eq!((relay.pin, relay.quic_port), (Some([0xab; 32]), Some(7_000)));
    assert_eq!(relay.to_string(), text);
}

#[test]
fn each_mistake_has_its_own_answer() {
    use RelayParseError::{Authority, Fragment, Long, Pin, QuicPort, Scheme};
    for bad in ["", "relay.example", "ftp://a/", "https:/a/", "wss://a/"] {
        assert_eq!(parse(bad), Err(Scheme), "{bad}");
    }
    for bad in [
        "https://",
        "https:///",
        "https://a/b",
        "https://u@a/",
        "https://a:0/",
        "https://a:70000/",
        "https://a:+5/",
        "https://a:/",
        "https://:80/",
        "https://a..b/",
        "https://[::1/",
        "https://[x]/",
        "https://a b/",
        "https://a?x/",
        "https://::1/",
        "https://[::1]x/",
    ] {
        assert_eq!(parse(bad), Err(Authority), "{bad}");
    }
    let short = parse("https://a/#sha256=abcd");
    assert_eq!(short, Err(Pin));
    for bad in
        ["https://a/#quic=", "https://a/#quic=0", "https://a/#quic=+5", "https://a/#quic=70000"]
    {
        assert_eq!(parse(bad), Err(QuicPort), "{bad}");
    }
    assert_eq!(parse("https://a/#pin=1"), Err(Fragment { part: "pin=1".into() }));
    assert_eq!(parse("https://a/#quic=1&quic=2"), Err(Fragment { part: "quic=2".into() }), "twice");
    let long = format!("https://{}", "a".repeat(120));
    assert_eq!(parse(&long), Err(Long { len: 129, max: 128 }), "the slash counts");
}

#[test]
fn a_url_from_the_wire_must_be_one_that_text_could_say() {
    let of = |url: &str| RelayRef { url: url.into(), pin: None, quic_port: None };
    assert!(of("https://a/").is_well_formed());
    for bad in [
        "https://a",
        "https://A/",
        "https://a/#quic=5",
        "https://a/x",
        "javascript:1",
        "https://a/\n",
    ] {
        assert!(!of(bad).is_well_formed(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(relay in relays()) {
        prop_assert_eq!(relay.to_string().parse(), Ok(relay.clone()));
        prop_assert!(relay.is_well_formed());
    }

    #[test]
    fn bytes_round_trip_and_perturbed_bytes_never_panic(
        relay in relays(), at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut bytes = cbor::encode(&relay);
        prop_assert_eq!(cbor::decode::<RelayRef>(&bytes, 512).expect("own bytes"), relay);
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(other) = cbor::decode::<RelayRef>(&bytes, 512) {
            let _ = (other.is_well_formed(), other.authority().len());
        }
    }

    #[test]
    fn what_is_accepted_is_kept_whole(text in "(https?://)?[a-zA-Z0-9.:\\[\\]/#=&-]{0,60}") {
        if let Ok(relay) = parse(&text) {
            prop_assert!(relay.is_well_formed(), "{text} → {relay}");
        }
    }
}
