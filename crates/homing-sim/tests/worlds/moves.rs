//! An address outlives its host.

use homing_sim::{Carry, NatKind};

use crate::{Expectations, friends, ms, secs};

#[test]
fn an_address_outlives_its_host_eleven_times() {
    let kinds = [NatKind::PortRestricted, NatKind::Symmetric, NatKind::Public, NatKind::Cgnat];
    let mut two = friends(11, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let world = &mut two.world;
    let address = world.address(two.b);
    let mut times = Vec::new();
    for i in 0..11 {
        world.move_to_new_ip(two.b, kinds[i % kinds.len()], Carry::Home);
        let took = world.first_ping(two.a, two.b, secs(10));
        world.holds();
        let took = took.unwrap_or_else(|| panic!("move {i}: no ping answered in 10 s"));
        assert!(took < secs(2), "move {i}: the first ping took {took:?}");
        times.push(took);
        assert_eq!(world.address(two.b), address);
        world.demand_convergence(secs(20));
        assert!(world.says_mutual(two.a, two.b) && world.says_mutual(two.b, two.a));
        world.holds();
    }
    times.sort();
    assert!(times[5] < secs(1), "median of {times:?}");
}

#[test]
fn both_ends_may_move_at_once() {
    let mut two = friends(12, NatKind::PortRestricted, NatKind::Public, 1);
    let world = &mut two.world;
    world.kill(two.a);
    world.move_to_new_ip(two.b, NatKind::Symmetric, Carry::Home);
    world.run_for(secs(1));
    world.move_to_new_ip(two.a, NatKind::Cgnat, Carry::Home);
    let took = world.first_ping(two.a, two.b, secs(10));
    world.holds();
    assert!(took.is_some_and(|took| took < secs(3)), "{took:?}");
}

#[test]
fn an_address_change_under_a_live_link_loses_less_than_a_second() {
    let mut two = friends(13, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let world = &mut two.world;
    let host = world.identities[two.b.0].host;
    world.change_address(host, NatKind::PortRestricted);
    let took = world.first_ping(two.a, two.b, secs(10));
    world.holds();
    assert!(took.is_some_and(|took| took < secs(1)), "{took:?}");
}

#[test]
fn a_takeover_answers_while_the_old_host_still_runs() {
    let mut two = friends(14, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let world = &mut two.world;
    let old = world.run_of(two.b);
    let new = world.start_twin(two.b, NatKind::PortRestricted, true);
    for _ in 0..30 {
        let took = world.first_ping(two.a, two.b, secs(3));
        world.holds();
        assert!(took.is_some_and(|took| took < ms(500)), "{took:?}");
    }
    world.demand_convergence(secs(20));
    world.holds();
    let superseded = world.runs[old.0].core().expect("it drains").superseded_by();
    assert_eq!(superseded, Some(world.runs[new.0].front));
}

#[test]
fn a_clean_stop_and_start_is_back_in_less_than_a_second() {
    let mut two = friends(15, NatKind::Symmetric, NatKind::PortRestricted, 1);
    let world = &mut two.world;
    world.stop(two.b);
    world.run_for(secs(3));
    assert!(!world.any_run(two.b), "the run ends after its goodbye");
    world.start(two.b);
    let took = world.first_ping(two.a, two.b, secs(10));
    world.holds();
    assert!(took.is_some_and(|took| took < secs(1)), "{took:?}");
}
