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

fn planner() -> homing_base::Name {
    "planner".parse().expect("a name")
}

fn claim(values: &mut Values<Record>, n: u16, sequence: u64, now: Now) -> Verdict {
    let key = key(n);
    let mut claim = AgentRecord::new(key.public(), InstanceId([2; 32]), Seq(sequence), now.wall);
    claim.name = Some(planner());
    let claim = claim.sign(&key).expect("within bounds");
    values.put(Slot::name(&planner()), claim, id(99), Wall(u64::MAX), now)
}

#[test]
fn whoever_claimed_a_name_first_stays_and_only_an_expired_claim_makes_room() {
    let mut values = values(Quota::default());
    let slot = Slot::name(&planner());
    for n in 1..=100u16 {
        let kept = usize::from(n) <= limits::CLAIMS_PER_NAME_MAX;
        let verdict = if kept { Verdict::Kept } else { Verdict::Full };
        assert_eq!(claim(&mut values, n, 1, at(u64::from(n))), verdict, "claimant {n}");
    }
    assert_eq!(claim(&mut values, 3, 2, at(200)), Verdict::Kept);
    let signers = |values: &Values<Record>, now| {
        let mut all: Vec<_> = values.find(&slot, now).map(Record::node_id).collect();
        all.sort_unstable();
        all
    };
    let mut first: Vec<_> = (1..=8).map(id).collect();
    first.sort_unstable();
    assert_eq!(signers(&values, at(201)), first);
    // The first claim is over after a day; one newcomer, and only one, takes its place.
    let later = at(24 * 3_600 + 1);
    assert_eq!(claim(&mut values, 50, 1, later), Verdict::Kept);
    assert_eq!(claim(&mut values, 51, 1, later), Verdict::Full);
    assert_eq!(signers(&values, later).len(), limits::CLAIMS_PER_NAME_MAX);
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
fn a_flood_from_thousands_of_storers_stays_within_records_bytes_and_accounts() {
    let quota = Quota { records: 50, bytes: 20_000, ..Quota::default() };
    let mut values = values(quota);
    let records: Vec<_> = (1..300).map(|n| record(n, 1, at(0))).collect();
    for by in 0..=u16::MAX {
        let value = records[usize::from(by) % records.len()].clone();
        let slot = Slot::agent(value.node_id());
        let storer =
            NodeId([by.to_be_bytes()[0], by.to_be_bytes()[1]].repeat(16).try_into().expect("32"));
        values.put(slot, value, storer, Wall(u64::MAX), at(0));
        assert!(values.len() <= 50 && values.bytes() <= 20_000 && values.storers() <= 50);
    }
    assert!(values.len() > 40, "{}", values.len());
}

#[test]
fn the_highest_sequence_there_is_pins_only_its_own_signer_and_only_until_it_expires() {
    let mut values = values(Quota::default());
    assert_eq!(put(&mut values, 1, u64::MAX, 9, at(0)), Verdict::Kept);
    assert_eq!(put(&mut values, 1, u64::MAX - 1, 9, at(1)), Verdict::Stale);
    assert_eq!(put(&mut values, 2, 7, 9, at(1)), Verdict::Kept);
    assert_eq!(Seq(u64::MAX).next(at(2).wall), Seq(u64::MAX));
    let over = at(24 * 3_600 + 1);
    assert_eq!(put(&mut values, 1, 8, 9, over), Verdict::Kept);
    let held: Vec<_> = values.find(&Slot::agent(id(1)), over).map(|r| r.sequence).collect();
    assert_eq!(held, [Seq(8)]);
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
