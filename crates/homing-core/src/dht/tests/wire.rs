//! The byte form.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::wire::{decode, encode};
use super::*;

fn all_bodies() -> Vec<Body<Reach, <Record as Value>::Wire>> {
    let contacts: Vec<_> = (0..3).map(contact).collect();
    let slot = Slot::agent(id(1));
    let value = record(1, 5, at(0)).wire();
    vec![
        Body::Ping,
        Body::FindNode { target: id(1) },
        Body::FindValue { slot },
        Body::Store { slot, value: value.clone() },
        Body::Exchange {
            known: vec![1, u64::MAX],
            fresh: contacts.clone(),
            session_s: 5_000,
            leaf: None,
        },
        Body::Offer { digests: vec![0, 24, 256, 65_536, u64::MAX] },
        Body::Leaving,
        Body::Pong,
        Body::Nodes { contacts: contacts.clone() },
        Body::Values { values: vec![value], contacts: contacts.clone() },
        Body::Stored { verdict: Verdict::Stale },
        Body::Siblings { contacts, doubted: vec![9], session_s: 60, leaf: None },
        Body::Wanted { digests: vec![7] },
        Body::Busy,
    ]
}

#[test]
fn every_message_survives_the_round_trip_and_knows_its_length() {
    for body in all_bodies() {
        let message = request(70_000, body);
        let bytes = encode(&message);
        assert_eq!(decode(&bytes).as_ref(), Ok(&message));
        assert_eq!(message.wire_len::<Record>(), bytes.len(), "{:?}", message.body);
    }
}

#[test]
fn the_bytes_are_pinned() {
    let ping = encode(&request(1, Body::Ping));
    assert_eq!(ping, [0x83, 0x01, 0xf5, 0x81, 0x01]);
    let find = encode(&request(258, Body::FindNode { target: NodeId([0xab; 32]) }));
    assert_eq!(find[..9], [0x83, 0x19, 0x01, 0x02, 0xf5, 0x82, 0x02, 0x58, 0x20]);
    assert_eq!(find[9..], [0xab; 32]);
    let stored = encode(&request(2, Body::Stored { verdict: Verdict::Full }));
    assert_eq!(stored, [0x83, 0x02, 0xf5, 0x82, 0x0e, 0x05]);
}

#[test]
fn an_answer_with_twenty_contacts_fits_its_bound() {
    let contacts =
        (0..20).map(|n| place(id(n), SocketAddr::from(([0x2001, 0xdb8, 1, 2, 3, 4, 5, n], 4_433))));
    let bytes = encode(&request(u32::MAX, Body::Nodes { contacts: contacts.collect() }));
    assert!(bytes.len() <= limits::NODES_ANSWER_BYTES_MAX, "{}", bytes.len());
    assert_eq!(bytes.len(), 1_770);
}

/// A node that only a relay leads to, with a name as long as they come in practice.
fn behind_relay(n: u16) -> Contact<Reach> {
    let relay: homing_base::RelayRef =
        format!("https://relay-{n:05}.eu-central.example.org:443/").parse().expect("a relay");
    let instance = InstanceId([1; 32]);
    Contact { id: id(n), place: Reach { instance, direct: None, relay: Some(Arc::new(relay)) } }
}

#[test]
fn contacts_that_only_a_relay_leads_to_are_left_out_from_the_far_end_when_they_do_not_fit() {
    let mut dht = node(0);
    for n in 1..30 {
        dht.table.admit(&behind_relay(n), at(0).mono);
    }
    let target = id(500);
    let answer = says(&mut dht, 99, request(u32::MAX, Body::FindNode { target }), at(1));
    let bytes = encode(&answer[0]);
    let Body::Nodes { contacts } = &answer[0].body else { panic!("{answer:?}") };
    assert!(bytes.len() <= limits::NODES_ANSWER_BYTES_MAX, "{}", bytes.len());
    assert!(bytes.len() > limits::NODES_ANSWER_BYTES_MAX - 150, "{}", bytes.len());
    let closest = dht.table.closest(&target, 20, None);
    assert!(contacts.len() < closest.len(), "{}", contacts.len());
    assert_eq!(contacts[..], closest[..contacts.len()]);
}

#[test]
fn a_wider_k_has_a_wider_answer() {
    let config = Config { k: 40, ..Config::default() };
    let mut dht = RealDht::new(config, contact(0), true, [3; 32], at(0));
    for n in 1..60 {
        dht.table.admit(&contact(n), at(0).mono);
    }
    let answer = says(&mut dht, 99, request(1, Body::FindNode { target: id(500) }), at(1));
    assert!(matches!(&answer[0].body, Body::Nodes { contacts } if contacts.len() == 40));
    assert_eq!(decode(&encode(&answer[0])).as_ref(), Ok(&answer[0]));
}

#[test]
fn lists_longer_than_their_bounds_are_refused() {
    let contacts = (0..41).map(contact).collect();
    assert!(decode(&encode(&request(1, Body::Nodes { contacts }))).is_err());
    assert!(decode(&encode(&request(1, Body::Offer { digests: vec![1; 65] }))).is_err());
}

proptest! {
    #[test]
    fn perturbed_bytes_never_panic(which in 0..14usize, at_byte in any::<prop::sample::Index>(), bits in 1..=255u8) {
        let mut bytes = encode(&request(9, all_bodies().swap_remove(which)));
        let index = at_byte.index(bytes.len());
        bytes[index] ^= bits;
        if let Ok(message) = decode(&bytes) {
            prop_assert_eq!(encode(&message), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }
}
