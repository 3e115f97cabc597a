//! The routing table.

use super::super::table::{Admission, Table};
use super::*;

fn table_of(n: u16) -> Table<Reach> {
    let mut table = Table::new(id(0), 20, true);
    for i in 1..=n {
        table.admit(&contact(i), Mono(1));
    }
    table
}

#[test]
fn a_bucket_is_the_range_with_that_many_common_bits() {
    let table = table_of(300);
    let mut total = 0;
    for bucket in 0..256 {
        for entry in &table.entries()[table.bucket(bucket)] {
            assert_eq!(Distance::between(&id(0), &entry.contact.id).common_bits(), bucket);
            total += 1;
        }
    }
    assert_eq!(total, table.len());
}

#[test]
fn the_closest_are_those_that_sorting_by_distance_finds() {
    let table = table_of(300);
    for target in (400..450).map(id) {
        let mut all: Vec<_> = table.entries().iter().map(|e| e.contact.id).collect();
        all.sort_by_key(|i| Distance::between(i, &target));
        let found: Vec<_> = table.closest(&target, 20, None).into_iter().map(|c| c.id).collect();
        assert_eq!(found, all[..20]);
    }
}

#[test]
fn a_full_bucket_keeps_its_old_contacts_and_makes_newcomers_spares() {
    let table = table_of(300);
    assert_eq!(table.bucket(0).len(), 20);
    let newcomer =
        (301..400).map(contact).find(|c| table.bucket_of(&c.id) == 0).expect("half of all");
    let mut table = table;
    assert_eq!(table.admit(&newcomer, Mono(2)), Admission::Spare);
    assert_eq!(table.bucket(0).len(), 20);
}

#[test]
fn our_own_k_closest_are_all_admitted() {
    let table = table_of(300);
    let mut all: Vec<_> = (1..=300).map(id).collect();
    all.sort_by_key(|i| Distance::between(i, &id(0)));
    let siblings: Vec<_> = table.siblings().map(|e| e.contact.id).collect();
    assert_eq!(siblings, all[..20]);
}

#[test]
fn we_are_never_in_our_own_table() {
    let mut table = table_of(5);
    assert_eq!(table.admit(&contact(0), Mono(1)), Admission::Refused);
    assert_eq!(table.len(), 5);
}

#[test]
fn one_neighbourhood_fills_neither_a_bucket_nor_the_table() {
    let mut table = Table::new(id(0), 20, true);
    for i in 1..200u16 {
        let addr = SocketAddr::from(([203, 0, 113, 7], i));
        table.admit(&place(id(i), addr), Mono(1));
    }
    assert_eq!(table.len(), 10);
    assert!((0..256).all(|b| table.bucket(b).len() <= 2));
}

#[test]
fn a_fleet_on_one_private_network_is_no_neighbourhood() {
    let mut table = Table::new(id(0), 20, true);
    for i in 1..30u16 {
        table.admit(&place(id(i), SocketAddr::from(([127, 0, 0, 1], i))), Mono(1));
    }
    assert!(table.len() > 25);
}

#[test]
fn buckets_beyond_the_64th_bit_work_too() {
    let mut table = Table::new(NodeId([0; 32]), 20, false);
    for bit in [70usize, 100, 255] {
        let near = contact::flip_bit(&NodeId([0; 32]), bit);
        table.admit(&place(near, SocketAddr::from(([9, 9, 9, 9], 1))), Mono(1));
    }
    assert_eq!([70, 71, 100, 255].map(|b| table.bucket(b).len()), [1, 0, 1, 1]);
}
