//! Relays die, restart, are missing; translators decide who goes direct.

use homing_sim::{Carry, NatKind, World};

use crate::{Expectations, friends, ms, secs};

#[test]
fn a_dead_relay_is_replaced_by_the_second_in_seconds() {
    let mut two = friends(51, NatKind::Symmetric, NatKind::Symmetric, 2);
    let relay = two.relays[0];
    let world = &mut two.world;
    world.kill_relay(relay, None);
    let took = world.first_ping(two.a, two.b, secs(20));
    world.holds();
    assert!(took.is_some_and(|took| took < secs(4)), "{took:?}");
    // It stays so: two minutes later everything still answers.
    world.run_for(secs(120));
    assert!(world.ping(two.a, two.b).is_ok());
    world.holds();
}

#[test]
fn a_relay_that_restarts_is_used_again() {
    let mut two = friends(52, NatKind::Symmetric, NatKind::CgnatSymmetric, 1);
    let relay = two.relays[0];
    let world = &mut two.world;
    world.kill_relay(relay, Some(secs(1)));
    let took = world.first_ping(two.a, two.b, secs(20));
    world.holds();
    assert!(took.is_some_and(|took| took < secs(6)), "{took:?}");
}

#[test]
fn symmetric_networks_stay_relayed_and_others_go_direct() {
    use NatKind::{Cgnat, FullCone, PortRestricted, Public, Symmetric, UdpBlocked};
    let cases = [
        (Symmetric, Symmetric, false),
        (Symmetric, PortRestricted, false),
        (UdpBlocked, Public, false),
        (PortRestricted, PortRestricted, true),
        (Cgnat, PortRestricted, true),
        (FullCone, Symmetric, true),
        (Public, Symmetric, true),
    ];
    for (kind_a, kind_b, direct) in cases {
        let two = friends(53, kind_a, kind_b, 1);
        let link = two.world.linked(two.a, two.b).expect("friends are linked");
        assert_eq!(two.world.links[link.0].paths.direct, direct, "{kind_a:?} × {kind_b:?}");
    }
}

#[test]
fn without_relay_and_bootstrap_last_addresses_still_connect() {
    let mut two = friends(54, NatKind::PortRestricted, NatKind::Public, 1);
    let relay = two.relays[0];
    let world = &mut two.world;
    world.kill_relay(relay, None);
    world.run_for(secs(5));
    // b restarts at the same place with a new instance: nobody can tell a but b's old socket.
    world.restart(two.b, ms(500));
    world.run_for(ms(600));
    let took = world.first_ping(two.a, two.b, secs(60));
    world.holds();
    assert!(took.is_some(), "a knows where b last was");
}

#[test]
fn two_public_agents_need_no_relay_at_all() {
    let mut world = World::new(55);
    let a = world.agent(NatKind::Public, &[]);
    world.run_for(secs(1));
    let hint = world.ticket(a).expect("it has published");
    let host = world.add_host(NatKind::PortRestricted);
    let b = world.add_agent(host, &[]);
    world.identities[b.0].hints.push(hint);
    world.start(b);
    world.run_for(secs(2));
    world.befriend(b, a);
    world.demand_convergence_of_friends(a, b);
    world.move_to_new_ip(b, NatKind::Symmetric, Carry::Home);
    let took = world.first_ping(b, a, secs(5));
    world.holds();
    assert!(took.is_some_and(|took| took < secs(2)), "{took:?}");
}

#[test]
fn a_peer_that_is_gone_fails_in_seconds_and_says_so() {
    let mut two = friends(56, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let world = &mut two.world;
    world.kill(two.b);
    world.run_for(secs(5));
    let failure = world.ping(two.a, two.b).unwrap_err();
    assert!(failure.contains("Offline") || failure.contains("Timeout"), "{failure}");
    world.holds();
}
