//! Values held for others.

use std::sync::Arc;

use super::super::store::{Quota, Values, digest};
use super::*;

fn values(quota: Quota) -> Values<Record> {
    Values::new(id(0), quota)
}

fn put(values: &mut Values<Record>, n: u16, sequence: u64, by: u16, now: Now) -> Verdict {
    values.put(Slot::agent(id(n)), record(n, sequence, now), id(by), Wall(u64::MAX), now)
}

#[test]
fn the_highest_sequence_wins_whatever_the_order() {
    let mut values = values(Quota::default());
    assert_eq!(put(&mut values, 1, 5, 9, at(0)), Verdict::Kept);
    assert_eq!(put(&mut values, 1, 4, 9, at(0)), Verdict::Stale);
    assert_eq!(put(&mut values, 1, 5, 9, at(0)), Verdict::Same);
    assert_eq!(put(&mut values, 1, 6, 9, at(0)), Verdict::Kept);
    let held: Vec<_> = values.find(&Slot::agent(id(1)), at(0)).map(|r| r.sequence).collect();
    assert_eq!(held, [Seq(6)]);
}

#[test]
fn storing_again_never_extends_what_the_origin_signed() {
    let mut values = values(Quota::default());
    let (slot, value) = (Slot::agent(id(1)), record(1, 5, at(0)));
    for hour in 0..24 {
        values.put(slot, value.clone(), id(9), Wall(u64::MAX), at(hour * 3_600));
    }
    assert_eq!(values.find(&slot, at(24 * 3_600 - 1)).count(), 1);
    assert_eq!(values.find(&slot, at(24 * 3_600)).count(), 0);
    assert_eq!(values.put(slot, value, id(9), Wall(u64::MAX), at(24 * 3_600)), Verdict::Refused);
    assert_eq!(values.sweep(at(24 * 3_600)), 1);
    assert!(values.is_empty());
}

#[test]
fn a_tombstone_beats_the_record_it_follows() {
    let mut values = values(Quota::default());
    put(&mut values, 1, 5, 9, at(0));
    let key = key(1);
    let mut grave = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(6), at(1).wall);
    grave.withdrawn = Some(true);
    let grave = grave.sign(&key).expect("within bounds");
    let slot = Slot::agent(id(1));
    assert_eq!(values.put(slot, grave, id(9), Wall(u64::MAX), at(1)), Verdict::Kept);
    assert_eq!(put(&mut values, 1, 5, 9, at(2)), Verdict::Stale);
    assert!(values.find(&slot, at(2)).all(Record::is_withdrawn));
}

#[test]
fn an_address_finds_the_record_whose_node_id_it_abbreviates() {
    let mut values = values(Quota::default());
    for n in 1..50 {
        put(&mut values, n, 1, 9, at(0));
    }
    let address = homing_base::Address::of(&id(7));
    let found: Vec<_> = values.find(&Slot::address(&address), at(0)).map(Record::node_id).collect();
    assert_eq!(found, [id(7)]);
}

#[test]
fn a_name_keeps_a_bounded_set_of_claims() {
    let mut values = values(Quota::default());
    let name: homing_base::Name = "planner".parse().expect("a name");
    let slot = Slot::name(&name);
    for n in 1..=20u16 {
        let key = key(n);
        let now = at(u64::from(n));
        let mut claim = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(1), now.wall);
        claim.name = Some(name.clone());
        let claim = claim.sign(&key).expect("within bounds");
        assert_eq!(values.put(slot, claim, id(99), Wall(u64::MAX), now), Verdict::Kept);
    }
    assert_eq!(values.find(&slot, at(21)).count(), limits::CLAIMS_PER_NAME_MAX);
    assert_eq!(
        values.put(slot, record(1, 1, at(0)), id(9), Wall(u64::MAX), at(0)),
        Verdict::Refused
    );
}

#[test]
fn when_full_the_most_distant_goes_first_and_nothing_grows() {
    let quota = Quota { records: 10, ..Quota::default() };
    let mut values = values(quota);
    for n in 1..200 {
        put(&mut values, n, 1, n, at(u64::from(n)));
        assert!(values.len() <= 10);
    }
    let bits = |n: u16| Distance::between(&id(0), &id(n)).common_bits();
    let mut all: Vec<_> = (1..200).map(bits).collect();
    all.sort_unstable();
    let mut held: Vec<_> =
        values.iter().map(|(slot, _)| Distance::between(&id(0), &slot.key).common_bits()).collect();
    held.sort_unstable();
    assert_eq!(held, all[all.len() - 10..]);
}

#[test]
fn one_peer_cannot_fill_the_store() {
    let quota = Quota { peer_records: 5, ..Quota::default() };
    let mut values = values(quota);
    let kept = (1..100).filter(|n| put(&mut values, *n, 1, 500, at(0)) == Verdict::Kept).count();
    assert_eq!(kept, 5);
    assert_eq!(put(&mut values, 100, 1, 501, at(0)), Verdict::Kept);
}

#[test]
fn offers_name_versions_so_that_only_news_travels() {
    let mut values = values(Quota::default());
    put(&mut values, 1, 5, 9, at(0));
    let slot = Slot::agent(id(1));
    let (same, newer) = (digest(&slot, &record(1, 5, at(0))), digest(&slot, &record(1, 6, at(0))));
    assert_eq!(values.missing(&[same, newer], Mono(1)), [newer]);
}

#[test]
fn every_altered_byte_of_a_record_is_found_out() {
    let good = record(1, 5, at(0));
    for at_byte in 0..good.bytes().len() {
        let mut bytes = good.bytes().to_vec();
        bytes[at_byte] ^= 0x10;
        let wire: Arc<[u8]> = bytes.into();
        assert!(Record::verify(&wire, at(0)).is_err(), "byte {at_byte}");
    }
}
