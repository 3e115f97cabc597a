//! Port prediction between two agents: who is tried, over which link, and who is not.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::world::*;
use crate::io::*;
use crate::message::{Message, Network};

const CONE: Network =
    Network { udp_v4: Some(true), udp_v6: Some(false), mapping_varies: Some(false) };
const SYMMETRIC: Network = Network { mapping_varies: Some(true), ..CONE };

fn outside(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, n), 41_641)
}

/// Two friends, 1 and 2, whose links a relay carries; `on`: who takes part.
fn friends(networks: [Network; 2], on: [bool; 2]) -> World {
    let mut world = World::new();
    let hint = |n| PeerHint::At { peer: Some(PeerRef::NodeId(id(n))), direct: vec![addr(n)] };
    for (n, other) in [(1_u8, 2_u8), (2, 1)] {
        let port_prediction = on[usize::from(n) - 1];
        let peers = vec![hint(other)];
        world.start(n, Settings { peers, port_prediction, ..settings(n, 1) });
    }
    world.run_for(millis(500));
    for n in [1, 2] {
        let network = networks[usize::from(n) - 1];
        let direct = vec![addr(n), outside(n).into()];
        let facts = EndpointFacts { direct, network, online: true, ..EndpointFacts::default() };
        world.input(n, Input::Endpoint(Box::new(facts)));
    }
    world.shake_hands(1, 2);
    for n in [1, 2] {
        set_relayed(&mut world, n, true);
    }
    world
}

fn set_relayed(world: &mut World, n: u8, relayed: bool) {
    let links = world.view(n, 3 - n).unwrap().links;
    for link in links {
        let news = PortNews::Relayed { link: link.link, relayed };
        world.input(n, Input::Ports(news));
    }
}

fn orders(world: &World, n: u8) -> Vec<PortOrder> {
    let of = |(who, output): &(u8, Output)| match output {
        Output::Ports(order) if *who == n => Some(order.clone()),
        _ => None,
    };
    world.log.iter().filter_map(of).collect()
}

fn attempt(world: &World, n: u8) -> u64 {
    match orders(world, n)[..] {
        [PortOrder::Measure { attempt }] => attempt,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn an_easy_and_a_symmetric_side_find_each_other() {
    let mut world = friends([CONE, SYMMETRIC], [true; 2]);
    world.run_for(secs(2));
    let attempt = attempt(&world, 1);
    let found = Some((outside(1), [5; 32]));
    world.input(1, Input::Ports(PortNews::Measured { attempt, found }));
    world.run_for(millis(100));
    assert!(matches!(orders(&world, 2)[..], [PortOrder::Fan { at, .. }] if at == outside(1)));
    let ip = Some(*outside(2).ip());
    world.input(2, Input::Ports(PortNews::Fanned { attempt, ip }));
    world.run_for(millis(100));
    let knock = orders(&world, 1).pop();
    assert!(matches!(knock, Some(PortOrder::Knock { ip, .. }) if ip == *outside(2).ip()));
    for n in [1, 2] {
        let entry = SocketAddrV4::new(Ipv4Addr::new(127, n, n, n), 40_000);
        world.input(n, Input::Ports(PortNews::Through { attempt, entry }));
    }
    world.run_for(millis(100));
    let shown: Vec<(u8, PortOrder)> = [1, 2]
        .into_iter()
        .flat_map(|n| orders(&world, n).into_iter().map(move |order| (n, order)))
        .filter(|(_, order)| matches!(order, PortOrder::Show { .. }))
        .collect();
    let [(n, PortOrder::Show { entry })] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!(entry.ip().octets()[1], 3 - n, "the other's entry, on the accepting side alone");
    for n in [1, 2] {
        set_relayed(&mut world, n, false);
        let counts = world.agent(n).counters().ports;
        assert_eq!((counts.attempts, counts.found), (1, 1));
    }
    let before = world.log.len();
    world.run_for(secs(100));
    let again = world.log[before..].iter().any(|(_, o)| matches!(o, Output::Ports(_)));
    assert!(!again, "a direct pair is left alone");
}

#[test]
fn nothing_is_tried_where_it_does_not_help_or_is_not_wanted() {
    let blocked = Network { udp_v4: Some(false), ..CONE };
    let cases = [
        ("both symmetric", [SYMMETRIC, SYMMETRIC], [true; 2]),
        ("neither", [CONE, CONE], [true; 2]),
        ("unknown", [CONE, Network::default()], [true; 2]),
        ("blocked", [blocked, SYMMETRIC], [true; 2]),
        ("off here", [CONE, SYMMETRIC], [false, true]),
        ("off there", [CONE, SYMMETRIC], [true, false]),
    ];
    for (name, networks, on) in cases {
        let mut world = friends(networks, on);
        world.run_for(secs(120));
        assert!(orders(&world, 1).is_empty() && orders(&world, 2).is_empty(), "{name}");
        let said = |(_, output): &(u8, Output)| {
            matches!(output, Output::Send { message: Message::Port(_), .. })
        };
        assert!(!world.log.iter().any(said), "{name}");
    }
}

#[test]
fn a_revoked_peer_is_not_probed_for() {
    let mut world = friends([CONE, SYMMETRIC], [true; 2]);
    world.run_for(secs(2));
    let attempt = attempt(&world, 1);
    world.command(1, revoke(2)).unwrap();
    let found = Some((outside(1), [5; 32]));
    world.input(1, Input::Ports(PortNews::Measured { attempt, found }));
    world.run_for(secs(10));
    assert!(orders(&world, 2).is_empty());
    assert!(matches!(orders(&world, 1).last(), Some(PortOrder::Drop { .. })));
}
