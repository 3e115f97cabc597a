//! Agent records: limits, order of checks, which of two wins.

use std::cmp::Ordering;
use std::time::Duration;

use homing_base::cbor::{self, CborError};
use homing_base::limits::{
    CARD_URL_BYTES_MAX, CLOCK_SKEW_MAX, DIRECT_ADDRESSES_MAX, RECORD_BYTES_MAX,
    RECORD_LIFETIME_MAX, RELAYS_MAX, SERVICES_MAX, TAG_BYTES_MAX, TAGS_MAX,
};
use homing_base::record::{CardRef, socket_addr_bytes, socket_addr_from_bytes};
use homing_base::sign1::{self, Domain};
use homing_base::{AgentRecord, Now, Record, RecordError, RelayRef, Seq, UnverifiedRecord, Wall};
use proptest::prelude::*;

use crate::arbitrary::{ISSUED, at, contents, key, now, plain, records, sockets};

fn sign(content: AgentRecord) -> Result<Record, RecordError> {
    content.sign(&key(3))
}

/// The same content signed without our own checks, as a malicious peer would.
fn forged(content: &AgentRecord) -> Vec<u8> {
    sign1::sign(&key(3), Domain::AgentRecord, &cbor::encode(content))
}

/// Both doors refuse the content for the same reason: signing it and reading it.
#[track_caller]
fn refused_both_ways(edit: impl FnOnce(&mut AgentRecord), expected: &RecordError) {
    let mut content = plain(&key(3));
    edit(&mut content);
    assert_eq!(UnverifiedRecord::parse(&forged(&content)).expect_err("read"), *expected);
    assert_eq!(sign(content).expect_err("signed"), *expected);
}

fn limit(what: &'static str, len: usize, max: usize) -> RecordError {
    RecordError::Limit { what, len, max }
}

#[test]
fn each_count_has_its_limit() {
    let relay: RelayRef = "https://a/".parse().expect("a relay");
    refused_both_ways(|r| r.relays = vec![relay; RELAYS_MAX + 1], &limit("relays", 5, 4));
    let socket = "192.0.2.1:1".parse().expect("a socket");
    refused_both_ways(
        |r| r.direct = vec![socket; DIRECT_ADDRESSES_MAX + 1],
        &limit("direct addresses", 17, 16),
    );
    let service = "s".parse().expect("a service");
    refused_both_ways(|r| r.services = vec![service; SERVICES_MAX + 1], &limit("services", 17, 16));
    refused_both_ways(|r| r.tags = vec![String::new(); TAGS_MAX + 1], &limit("tags", 21, 20));
    refused_both_ways(
        |r| r.tags = vec!["x".repeat(TAG_BYTES_MAX + 1)],
        &limit("bytes of a tag", 33, 32),
    );
    let card = CardRef { url: "x".repeat(CARD_URL_BYTES_MAX + 1), sha256: [0; 32] };
    refused_both_ways(|r| r.card = Some(card), &limit("bytes of the card URL", 257, 256));
}

#[test]
fn text_that_could_garble_a_terminal_is_refused() {
    let what = "a tag";
    refused_both_ways(
        |r| r.tags = vec!["a\u{1b}[2J".into()],
        &RecordError::ControlCharacter { what },
    );
    let what = "the card URL";
    let card = CardRef { url: "https://a/\r\n".into(), sha256: [0; 32] };
    refused_both_ways(|r| r.card = Some(card), &RecordError::ControlCharacter { what });
}

#[test]
fn a_relay_that_is_none_is_refused() {
    let url = "https://a/#quic=5".to_owned();
    let relay = RelayRef { url: url.clone(), pin: None, quic_port: None };
    refused_both_ways(|r| r.relays = vec![relay], &RecordError::Relay { url });
}

#[test]
fn a_life_is_longer_than_nothing_and_at_most_a_day() {
    let too_long = ISSUED.after(RECORD_LIFETIME_MAX + Duration::from_millis(1));
    for expires in [too_long, ISSUED, Wall(0)] {
        let error = RecordError::Lifetime { issued: ISSUED, expires };
        refused_both_ways(|r| r.expires = expires, &error);
    }
    let whole_day = AgentRecord { expires: ISSUED.after(RECORD_LIFETIME_MAX), ..plain(&key(3)) };
    assert!(sign(whole_day).is_ok());
}

#[test]
fn a_record_within_every_limit_may_still_be_too_long() {
    let mut content = plain(&key(3));
    content.tags = vec!["x".repeat(TAG_BYTES_MAX); TAGS_MAX];
    content.card = Some(CardRef { url: "x".repeat(CARD_URL_BYTES_MAX), sha256: [0; 32] });
    let len = forged(&content).len();
    let error = RecordError::Encoding(CborError::TooLong { len, max: RECORD_BYTES_MAX });
    assert_eq!(UnverifiedRecord::parse(&forged(&content)).expect_err("read"), error);
    assert_eq!(sign(content).expect_err("signed"), error);
}

#[test]
fn nobody_signs_for_another_key() {
    let (expected, got) = (key(4).public(), key(3).public());
    assert_eq!(plain(&key(3)).sign(&key(4)), Err(RecordError::Key { expected, got }));
    // The payload of 3, signed by 4: the signature is not that of the key it names.
    let bytes = sign1::sign(&key(4), Domain::AgentRecord, &cbor::encode(&plain(&key(3))));
    let verdict = UnverifiedRecord::parse(&bytes).expect("parses").verify(now());
    assert_eq!(verdict, Err(RecordError::Signature { key: got }));
}

#[test]
fn a_record_is_true_from_issue_to_expiry() {
    let record = sign(plain(&key(3))).expect("signs");
    let verify = |now: Now| UnverifiedRecord::parse(record.bytes()).expect("parses").verify(now);
    let last = at(RECORD_LIFETIME_MAX - Duration::from_millis(1));
    assert_eq!(verify(last).expect("still true").life_left(last), Duration::from_millis(1));
    let end = at(RECORD_LIFETIME_MAX);
    assert_eq!(verify(end), Err(RecordError::Expired { expires: end.wall, now: end.wall }));

    let behind = Now { wall: Wall(ISSUED.0 - CLOCK_SKEW_MAX.as_millis() as u64), ..now() };
    assert!(verify(behind).is_ok(), "a clock may be ten minutes behind");
    let further = Now { wall: Wall(behind.wall.0 - 1), ..now() };
    let error = RecordError::FromTheFuture { issued: ISSUED, now: further.wall };
    assert_eq!(verify(further), Err(error));
}

#[test]
fn a_forgery_is_called_a_forgery_even_when_it_is_also_late() {
    let bytes = sign1::sign(&key(4), Domain::AgentRecord, &cbor::encode(&plain(&key(3))));
    let late = at(2 * RECORD_LIFETIME_MAX);
    let verdict = UnverifiedRecord::parse(&bytes).expect("parses").verify(late);
    assert!(matches!(verdict, Err(RecordError::Signature { .. })), "{verdict:?}");
}

#[test]
fn an_expired_record_still_serves_as_evidence() {
    let record = sign(plain(&key(3))).expect("signs");
    let unverified = UnverifiedRecord::parse(record.bytes()).expect("parses");
    assert_eq!(unverified.verify_signature(), Ok(record));
}

#[test]
fn unknown_keys_are_kept_in_the_bytes() {
    let mut payload = cbor::encode(&plain(&key(3)));
    payload[0] += 1; // one more entry in the map
    payload.extend([0x18, 0x63, 0x81, 0xf5]); // 99: [true]
    let bytes = sign1::sign(&key(3), Domain::AgentRecord, &payload);
    let record = UnverifiedRecord::parse(&bytes).expect("parses").verify(now()).expect("verifies");
    assert_eq!(*record, plain(&key(3)));
    assert_eq!(record.bytes(), bytes);
}

#[test]
fn every_single_bit_matters() {
    let mut content = plain(&key(3));
    content.name = Some("planner".parse().expect("a name"));
    content.relays = vec!["https://relay.example:3340/#quic=7000".parse().expect("a relay")];
    let good = sign(content).expect("signs").bytes().to_vec();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verdict = UnverifiedRecord::parse(&bytes).and_then(UnverifiedRecord::verify_signature);
        assert!(verdict.is_err(), "bit {bit} was changed unnoticed");
    }
}

#[test]
fn a_tombstone_is_a_record() {
    let content = AgentRecord { withdrawn: Some(true), ..plain(&key(3)) };
    assert!(sign(content).expect("signs").is_withdrawn());
    assert!(!sign(plain(&key(3))).expect("signs").is_withdrawn());
}

#[test]
fn equivocation_needs_one_key_one_sequence_and_two_contents() {
    let one = sign(plain(&key(3))).expect("signs");
    let other = sign(AgentRecord { withdrawn: Some(true), ..plain(&key(3)) }).expect("signs");
    let later = sign(AgentRecord { sequence: Seq(ISSUED.0 + 1), ..plain(&key(3)) }).expect("signs");
    let foreign = plain(&key(4)).sign(&key(4)).expect("signs");
    assert!(one.equivocates(&other) && other.equivocates(&one));
    assert!(!one.equivocates(&one) && !one.equivocates(&later) && !one.equivocates(&foreign));
    let winner = if one.digest() < other.digest() { &one } else { &other };
    assert_eq!(
        one.precedence(&other) == Ordering::Greater,
        winner == &one,
        "the smaller hash wins"
    );
}

proptest! {
    #[test]
    fn bytes_bring_the_same_record_back(record in records()) {
        let issued = Now { wall: record.issued, ..now() };
        let back = UnverifiedRecord::parse(record.bytes()).expect("parses").verify(issued);
        prop_assert_eq!(back.expect("verifies"), record);
    }

    #[test]
    fn perturbed_bytes_never_verify(
        record in records(), at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = record.bytes().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = with }
        prop_assume!(bytes != record.bytes());
        let verdict = UnverifiedRecord::parse(&bytes).and_then(UnverifiedRecord::verify_signature);
        prop_assert!(verdict.is_err());
    }

    #[test]
    fn precedence_is_a_total_order(a in contents(key(3)), b in contents(key(3)), c in contents(key(3)), same in any::<bool>()) {
        // Half of the cases have equal sequences, where only the hash decides.
        let fix = |r: AgentRecord| if same { AgentRecord { sequence: Seq(1), ..r } } else { r };
        let [a, b, c] = [a, b, c].map(|r| sign(fix(r)).expect("within limits"));
        prop_assert_eq!(a.precedence(&a), Ordering::Equal);
        prop_assert_eq!(a.precedence(&b), b.precedence(&a).reverse());
        prop_assert_eq!(a.precedence(&b) == Ordering::Equal, a == b);
        if a.precedence(&b).is_lt() && b.precedence(&c).is_lt() {
            prop_assert!(a.precedence(&c).is_lt());
        }
        if a.sequence > b.sequence {
            prop_assert!(a.precedence(&b).is_gt(), "the higher sequence wins whatever the hash");
        }
    }

    #[test]
    fn socket_addresses_round_trip(socket in sockets(), junk in proptest::collection::vec(any::<u8>(), 0..24)) {
        prop_assert_eq!(socket_addr_from_bytes(&socket_addr_bytes(&socket)), Some(socket));
        prop_assert_eq!(socket_addr_from_bytes(&junk).is_some(), junk.len() == 6 || junk.len() == 18);
    }
}
