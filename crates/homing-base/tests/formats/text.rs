//! One text form per newtype: what is printed is read back, and nothing else means the same.

use std::net::Ipv6Addr;

use homing_base::address::AddressParseError;
use homing_base::name::LabelError;
use homing_base::{Address, InstanceId, Name, NodeId, PublicKey, Seq, Service, Wall};
use proptest::prelude::*;

use crate::arbitrary::{key, keys, names, services};

#[test]
fn the_address_is_a_function_of_the_key() {
    // Computed with OpenSSL and a SHA-256 that are not ours.
    let id = key(7).node_id();
    assert_eq!(id.to_string(), "fe812c12f3ab4ce6ac5db69ac352f906cb1b11ef43fb33e252ef7ff552263889");
    assert_eq!(Address::of(&id).to_string(), "fdfe:812c:12f3:ab4c:e6ac:5db6:9ac3:52f9");
}

#[test]
fn an_address_is_a_ula_or_an_error() {
    assert_eq!("agent".parse::<Address>(), Err(AddressParseError::NotIpv6));
    assert_eq!("fd3a::1%eth0".parse::<Address>(), Err(AddressParseError::NotIpv6));
    assert_eq!("".parse::<Address>(), Err(AddressParseError::NotIpv6));
    let ip = Ipv6Addr::LOCALHOST;
    assert_eq!("::1".parse::<Address>(), Err(AddressParseError::NotUla { ip }));
    assert!("fc00::1".parse::<Address>().is_err(), "fc00::/8 is reserved, not ours");
    let upper: Address = "FD3A:0:0::D04E".parse().expect("any spelling of RFC 4291 is read");
    assert_eq!(upper.to_string(), "fd3a::d04e", "and one is written");
    assert_eq!(upper.fmt_short(), "fd3a:…:d04e");
}

#[test]
fn a_name_is_a_dns_label() {
    for good in ["a", "0", "my-agent", "a--b", &"x".repeat(63)] {
        assert_eq!(good.parse::<Name>().expect(good).as_str(), good);
    }
    let what = "name";
    assert_eq!("".parse::<Name>(), Err(LabelError::Empty { what }));
    let long = LabelError::Long { what, len: 64, max: 63 };
    assert_eq!("x".repeat(64).parse::<Name>(), Err(long));
    for (bad, found) in
        [("My", 'M'), ("a.b", '.'), ("a_b", '_'), ("a b", ' '), ("é", 'é'), ("a\n", '\n')]
    {
        assert_eq!(bad.parse::<Name>(), Err(LabelError::Character { what, found }));
    }
    for bad in ["-", "-a", "a-"] {
        assert_eq!(bad.parse::<Name>(), Err(LabelError::Hyphen { what }));
    }
}

#[test]
fn a_service_is_a_short_label_or_a_port() {
    for good in ["mcp", "8080", &"x".repeat(32)] {
        assert!(good.parse::<Service>().is_ok(), "{good}");
    }
    let long = LabelError::Long { what: "service", len: 33, max: 32 };
    assert_eq!("x".repeat(33).parse::<Service>(), Err(long));
}

#[test]
fn an_id_is_64_hexadecimal_digits() {
    for bad in ["", "ab", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
        assert!(bad.parse::<NodeId>().is_err(), "{bad:?}");
        assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
    }
    let error = "ab".parse::<NodeId>().expect_err("short");
    assert_eq!(error.to_string(), "a node ID is 64 hexadecimal digits, this has 2 characters");
}

#[test]
fn a_time_is_read_in_utc_only() {
    let parse = |text: &str| text.parse::<Wall>().ok().map(|w| w.0);
    assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(parse("2000-02-29T12:34:56.7Z"), Some(951_827_696_700));
    assert_eq!(parse("2026-11-21T03:00:00.000Z"), Some(1_795_230_000_000));
    for bad in [
        "",
        "2026-11-21",
        "2026-11-21T03:00:00",
        "2026-11-21T03:00:00+01:00",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-1-1T0:0:0Z",
        "2026-01-01T00:00:00.1234Z",
        "2026-01-01T00:00:00.Z",
        "+026-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "999999999-12-31T00:00:00Z",
    ] {
        assert_eq!(parse(bad), None, "{bad}");
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let secret = data_encoding::HEXLOWER.encode(&[7; 32]);
    let shown = format!("{:?}", key(7));
    assert!(shown.contains("hidden") && !shown.contains(&secret[..8]), "{shown}");
}

#[test]
fn a_sequence_rises_even_when_the_clock_falls_back() {
    assert_eq!(Seq(5).next(Wall(1_000)), Seq(1_000));
    assert_eq!(Seq(1_000).next(Wall(5)), Seq(1_001));
    assert_eq!(Seq(u64::MAX).next(Wall(5)), Seq(u64::MAX));
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(
        bytes in any::<[u8; 32]>(), name in names(), service in services(), ms in any::<u64>(),
    ) {
        let id = NodeId(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(PublicKey(bytes).to_string().parse(), Ok(PublicKey(bytes)));
        prop_assert_eq!(InstanceId(bytes).to_string().parse(), Ok(InstanceId(bytes)));
        let address = Address::of(&id);
        prop_assert_eq!(address.to_string().parse(), Ok(address));
        prop_assert_eq!(Address::from_prefix(address.prefix()), address);
        prop_assert!(address.matches(&id) && id.to_string().starts_with(&id.fmt_short()));
        prop_assert_eq!(name.to_string().parse(), Ok(name));
        prop_assert_eq!(service.to_string().parse(), Ok(service));
        prop_assert_eq!(Wall(ms).to_string().parse(), Ok(Wall(ms)));
    }

    #[test]
    fn json_has_the_same_text_forms(key in keys(), name in names()) {
        let id = key.node_id();
        prop_assert_eq!(serde_json::to_value(id).expect("json"), id.to_string());
        prop_assert_eq!(serde_json::to_value(Address::of(&id)).expect("json"), Address::of(&id).to_string());
        prop_assert_eq!(serde_json::to_value(&name).expect("json"), name.as_str());
        let back: NodeId = serde_json::from_value(id.to_string().into()).expect("own text");
        prop_assert_eq!(back, id);
    }

    #[test]
    fn an_address_matches_its_own_ids_only(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
        let matches = Address::of(&NodeId(a)).matches(&NodeId(b));
        prop_assert_eq!(matches, a[..15] == b[..15]);
    }

    #[test]
    fn any_text_ends_in_a_verdict(text in "\\PC{0,80}") {
        // What is read at all is printed in one form, and that form is read as the same value.
        if let Ok(name) = text.parse::<Name>() { prop_assert_eq!(name.as_str(), &text); }
        if let Ok(id) = text.parse::<NodeId>() { prop_assert_eq!(id.to_string(), text.to_lowercase()); }
        if let Ok(a) = text.parse::<Address>() { prop_assert_eq!(a.to_string().parse(), Ok(a)); }
        if let Ok(wall) = text.parse::<Wall>() { prop_assert_eq!(wall.to_string().parse(), Ok(wall)); }
    }
}
