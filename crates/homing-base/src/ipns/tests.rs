//! Records of ours, broken ones, and those that other programs made.

use proptest::prelude::*;

use super::*;
use crate::PublicKey;

fn key() -> IdentityKey {
    IdentityKey::from_seed([9; 32])
}

fn at(ms: u64) -> Now {
    Now { mono: Default::default(), wall: Wall(ms) }
}

fn content(sequence: u64) -> IpnsContent {
    IpnsContent {
        value: b"/ipfs/bafkqaaa".to_vec(),
        sequence,
        validity: validity_text(Wall(10_000)),
        ttl: Duration::from_secs(300),
    }
}

fn record(sequence: u64) -> IpnsRecord {
    content(sequence).sign(&key()).unwrap()
}

/// The record with some fields left out or replaced, its data signed anew by nobody.
fn altered(change: impl FnOnce(&mut Entry<'_>)) -> Vec<u8> {
    let bytes = record(1).bytes().to_vec();
    let mut entry = Entry::parse(&bytes).unwrap();
    change(&mut entry);
    entry.encode()
}

fn verify(bytes: &[u8]) -> Result<IpnsRecord, IpnsError> {
    IpnsRecord::verify(bytes, &IpnsName::of(key().public()), at(0))
}

#[test]
fn a_record_reads_back() {
    let record = record(7);
    assert_eq!(verify(record.bytes()).as_ref(), Ok(&record));
    assert_eq!((record.sequence, record.value_text().as_str()), (7, "/ipfs/bafkqaaa"));
    assert_eq!(record.ends(), Wall(10_000));
}

#[test]
fn a_v2_only_record_is_read() {
    let bytes = altered(|e| {
        *e = Entry { signature_v2: e.signature_v2, data: e.data, ..Entry::default() };
    });
    assert_eq!(verify(&bytes).unwrap().sequence, 1);
}

#[test]
fn what_is_wrong_is_refused_with_the_reason() {
    let name = IpnsName::of(key().public());
    let long = vec![0; IPNS_BYTES_MAX + 1];
    assert_eq!(verify(&long), Err(IpnsError::TooLong { len: long.len(), max: IPNS_BYTES_MAX }));
    assert_eq!(verify(&altered(|e| e.signature_v2 = None)), Err(IpnsError::V1Only));
    assert_eq!(verify(&altered(|e| *e = Entry::default())), Err(IpnsError::Unsigned));
    assert_eq!(verify(&altered(|e| e.value = Some(b"/ipfs/x"))), Err(IpnsError::Legacy("value")));
    assert_eq!(verify(&altered(|e| e.sequence = Some(2))), Err(IpnsError::Legacy("sequence")));
    assert_eq!(verify(&altered(|e| e.ttl = None)), Err(IpnsError::Legacy("ttl")));
    assert_eq!(verify(&altered(|e| e.validity = None)), Err(IpnsError::Legacy("validity")));
    assert_eq!(verify(&altered(|e| e.public_key = Some(&[1; 36]))), Err(IpnsError::Key));
    assert_eq!(verify(&altered(|e| e.data = Some(b"x"))), Err(IpnsError::Signature { name }));
    assert_eq!(
        IpnsRecord::verify(record(1).bytes(), &name, at(10_000)),
        Err(IpnsError::Expired { ends: Wall(10_000), now: Wall(10_000) })
    );
    let other = IpnsName::of(IdentityKey::from_seed([8; 32]).public());
    let foreign = IpnsRecord::verify(record(1).bytes(), &other, at(0));
    assert_eq!(foreign, Err(IpnsError::Signature { name: other }));
    assert_eq!(
        verify(b"\x0a\x05ab"),
        Err(IpnsError::Malformed("the protobuf ends inside a field"))
    );
}

#[test]
fn a_broken_v1_signature_is_no_matter() {
    assert!(verify(&altered(|e| e.signature_v1 = Some(&[0; 64]))).is_ok());
}

#[test]
fn the_higher_sequence_counts_then_the_later_end_then_the_bytes() {
    let later = IpnsContent { validity: validity_text(Wall(10_001)), ..content(1) };
    let finer = IpnsContent { validity: "1970-01-01T00:00:10.000000001Z".into(), ..content(1) };
    let (later, finer) = (later.sign(&key()).unwrap(), finer.sign(&key()).unwrap());
    assert!(record(2).precedence(&later).is_gt());
    assert!(later.precedence(&finer).is_gt());
    assert!(finer.precedence(&record(1)).is_gt());
    assert!(record(1).precedence(&record(1)).is_eq());
}

#[test]
fn names_have_one_text_and_are_read_in_every_base() {
    // The Ed25519 key of the specification's first record.
    let text = "k51qzi5uqu5dm4tm0wt8srkg9h9suud4wuiwjimndrkydqm81cqtlb5ak6p7ku";
    let name: IpnsName = text.parse().unwrap();
    assert_eq!(name.to_string(), text);
    let cid: crate::cid::Cid = text.parse().unwrap();
    assert_eq!(cid.to_string().parse(), Ok(name));
    assert_eq!(format!("/ipns/{text}").parse(), Ok(name));
    let peer_id = crate::multibase::base58(&cid.to_bytes()[2..]);
    assert!(peer_id.starts_with("12D3Koo"), "{peer_id}");
    assert_eq!(peer_id.parse(), Ok(name));
    assert_eq!("bafkqaaa".parse::<IpnsName>(), Err(NameError::Codec(0x55)));
    let rsa = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    assert_eq!(rsa.parse::<IpnsName>(), Err(NameError::Hashed));
    assert_eq!("planner".parse::<IpnsName>(), Err(NameError::Text));
}

#[test]
fn the_point_is_the_hash_of_the_routing_key() {
    let name = IpnsName::of(PublicKey([0x11; 32]));
    assert_eq!(name.routing_key()[..12], *b"/ipns/\x00\x24\x08\x01\x12\x20");
    assert_eq!(name.routing_key().len(), 44);
}

#[test]
fn an_end_of_life_is_a_time() {
    for bad in ["", "Z", "2026-11-21", "2026-11-21T03:00:00", "2026-11-21T03:00:00.Z", "x.1Z"] {
        assert_eq!(parse_validity(bad), Err(IpnsError::Validity), "{bad}");
    }
    assert_eq!(parse_validity("1970-01-01T00:00:01Z"), Ok((Wall(1_000), 0)));
    assert_eq!(parse_validity("1970-01-01T00:00:01.5Z"), Ok((Wall(1_500), 0)));
    assert_eq!(parse_validity("1970-01-01T00:00:01.000000009Z"), Ok((Wall(1_000), 9)));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = verify(&bytes);
        let _ = decode_data(&bytes);
    }

    #[test]
    fn a_flipped_bit_changes_nothing_that_is_believed(byte in 0_usize..400, bit in 0_u8..8) {
        let original = record(1);
        let mut bytes = original.bytes().to_vec();
        let byte = byte % bytes.len();
        bytes[byte] ^= 1 << bit;
        if let Ok(read) = verify(&bytes) {
            prop_assert_eq!(&*read, &*original);
        }
    }
}

#[test]
fn a_record_ends_before_the_year_10_000() {
    let ends_at = |validity: &str| {
        let content = IpnsContent { validity: validity.into(), ..content(1) };
        content.sign(&key()).and_then(|r| verify(r.bytes())).map(|record| record.ends())
    };
    assert_eq!(ends_at("9999-12-31T23:59:59.999999999Z"), Ok(Wall(253_402_300_799_999)));
    for late in ["10000-01-01T00:00:00Z", "+10000-01-01T00:00:00Z", "99999-01-01T00:00:00.0Z"] {
        assert_eq!(ends_at(late), Err(IpnsError::Validity), "{late}");
    }
}
