//! Records kept and records signed, without any agent.

use homing_base::{AgentRecord, IdentityKey, InstanceId, Mono, NodeId, Now, Record, Seq, Wall};

use super::known::{Known, Novelty};
use super::own::{Own, OwnSeen};
use crate::io::{EndpointFacts, Settings};
use crate::limits::{ADOPT_WINDOW, ADOPTIONS_MAX};

const WALL: u64 = 1_795_230_000_000;

fn at(seconds: u64) -> Now {
    Now { mono: Mono(seconds * 1_000_000), wall: Wall(WALL + seconds * 1_000) }
}

fn key(n: u16) -> IdentityKey {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    IdentityKey::from_seed(seed)
}

fn record(n: u16, sequence: u64, issued: Wall, name: Option<&str>) -> Record {
    let instance = InstanceId([1; 32]);
    let mut content = AgentRecord::new(key(n).public(), instance, Seq(sequence), issued);
    content.name = name.map(|name| name.parse().unwrap());
    content.sign(&key(n)).unwrap()
}

fn settings() -> Settings {
    Settings {
        name: None,
        instance: InstanceId([9; 32]),
        main: InstanceId([9; 32]),
        relays: Vec::new(),
        peers: Vec::new(),
        public: false,
        services: Vec::new(),
        software: String::new(),
        record_lifetime: std::time::Duration::from_secs(3_600),
        takeover: false,
        dht: None,
        gossip: None,
        references: Default::default(),
        port_prediction: false,
    }
}

#[test]
fn only_a_newer_record_is_news() {
    let (old, new) = (record(1, 1, Wall(WALL), None), record(1, 2, Wall(WALL), None));
    let mut known = Known::new(vec![], 10);
    assert_eq!(known.novelty(&old), Novelty::First);
    known.keep(old.clone(), true);
    assert_eq!(known.novelty(&old), Novelty::Same);
    assert!(matches!(known.novelty(&new), Novelty::Newer { .. }));
    known.keep(new, true);
    assert_eq!(known.novelty(&old), Novelty::Older);
}

#[test]
fn a_name_is_claimed_by_valid_newest_records_only() {
    let planner = "planner".parse().unwrap();
    let mut known = Known::new(vec![record(1, 1, Wall(WALL), Some("planner"))], 10);
    known.keep(record(2, 1, Wall(WALL), Some("planner")), true);
    let mut both = vec![key(1).node_id(), key(2).node_id()];
    both.sort();
    assert_eq!(known.claimants(at(1), &planner), both);
    known.keep(record(1, 2, Wall(WALL), Some("other")), true);
    assert_eq!(known.claimants(at(1), &planner), [key(2).node_id()]);
    assert!(known.claimants(at(25 * 3_600), &planner).is_empty());
}

#[test]
fn at_the_bound_the_oldest_without_a_relation_goes() {
    let mut known = Known::new(vec![], 32);
    for n in 0..33 {
        known.keep(record(n, 1, Wall(WALL + u64::from(n)), None), true);
    }
    let related = key(0).node_id();
    let gone = known.make_room(|id| id == related);
    assert_eq!(gone, [1, 2, 3].map(|n| key(n).node_id()));
    assert!(known.record(related).is_some() && known.len() == 30);
}

#[test]
fn an_address_finds_the_node_it_abbreviates() {
    let known = Known::new(vec![record(1, 1, Wall(WALL), None)], 10);
    let id = key(1).node_id();
    assert_eq!(known.by_address(homing_base::Address::of(&id).prefix()), Some(id));
    assert_eq!(known.by_address([0; 15]), None);
    let _: NodeId = id;
}

#[test]
fn a_record_is_signed_anew_when_it_must_be_and_only_then() {
    let (settings, facts, key) = (settings(), EndpointFacts::default(), key(1));
    let mut own = Own::new(at(0), &settings, None);
    assert!(own.due(at(0), &key, &settings, &facts));
    let signed = own.sign(at(0), &key, &settings, &facts).unwrap();
    own.keep(at(0), signed);
    assert!(!own.due(at(1), &key, &settings, &facts));
    assert!(own.due(at(1_800), &key, &settings, &facts), "half its life is over");
    let back = Now { wall: Wall(WALL - 120_000), ..at(1) };
    assert!(own.due(back, &key, &settings, &facts), "the clock went back");
    let mut more = facts.clone();
    more.relays.push("https://relay.test/".parse().unwrap());
    assert!(own.due(at(1), &key, &settings, &more));
    assert!(!own.may_publish(at(0)) && own.may_publish(at(1)));
}

#[test]
fn what_does_not_fit_is_left_out_and_not_tried_again() {
    let mut settings = settings();
    settings.services = (0..16).map(|n| format!("{n:0>32}").parse().unwrap()).collect();
    let url = |n: u8| format!("https://{}{n}.test/", "x".repeat(110)).parse().unwrap();
    let facts = EndpointFacts {
        relays: (0..4).map(url).collect(),
        direct: (0..16).map(|n| ([10, 0, 0, n], 1).into()).collect(),
        publish_direct: true,
        ..EndpointFacts::default()
    };
    let mut own = Own::new(at(0), &settings, None);
    let signed = own.sign(at(0), &key(1), &settings, &facts).unwrap();
    assert!(signed.record.bytes().len() <= 1_000 && !signed.record.relays.is_empty());
    own.keep(at(0), signed);
    assert!(!own.due(at(10), &key(1), &settings, &facts));
}

#[test]
fn the_sequence_follows_every_run_before() {
    let stored = record(1, WALL * 2, Wall(WALL), None);
    let settings = settings();
    let own = Own::new(at(0), &settings, Some(&stored));
    let signed = own.sign(at(0), &key(1), &settings, &EndpointFacts::default()).unwrap();
    assert_eq!(signed.record.sequence, Seq(WALL * 2 + 1));
}

#[test]
fn a_higher_sequence_is_outbid_early_and_obeyed_late() {
    let (settings, facts) = (settings(), EndpointFacts::default());
    let fresh = || {
        let mut own = Own::new(at(0), &settings, None);
        let signed = own.sign(at(0), &key(1), &settings, &facts).unwrap();
        own.keep(at(0), signed);
        own
    };
    let higher = record(1, WALL * 2, Wall(WALL), None);
    let mut own = fresh();
    for _ in 0..ADOPTIONS_MAX {
        let above = own.record().unwrap().sequence.0.max(WALL * 2) + 10;
        let higher = record(1, above, Wall(WALL), None);
        assert_eq!(own.on_seen(at(1), &higher, &settings), OwnSeen::Outbid);
        let signed = own.sign(at(1), &key(1), &settings, &facts).unwrap();
        assert!(signed.record.sequence > higher.sequence);
        own.keep(at(1), signed);
    }
    let last = record(1, WALL * 3, Wall(WALL), None);
    assert_eq!(own.on_seen(at(2), &last, &settings), OwnSeen::Superseded);
    let mut own = fresh();
    let late = at(ADOPT_WINDOW.as_secs());
    assert_eq!(own.on_seen(late, &higher, &settings), OwnSeen::Superseded);
    assert_eq!(own.on_seen(late, &higher, &settings), OwnSeen::Old);
    let lower = record(1, 5, Wall(WALL), None);
    assert_eq!(fresh().on_seen(at(1), &lower, &settings), OwnSeen::Old);
}
