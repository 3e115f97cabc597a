//! One identity on two hosts: the newest record wins, the other stands back.

use homing_sim::NatKind;

use crate::{Expectations, friends, secs};

#[test]
fn of_two_hosts_with_one_key_the_newer_wins_and_the_older_stands_back() {
    let mut two = friends(41, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let world = &mut two.world;
    let old = world.run_of(two.b);
    let new = world.start_twin(two.b, NatKind::Symmetric, false);
    world.demand_convergence(secs(20));
    world.holds();
    let superseded = |run: homing_sim::RunIx| world.runs[run.0].core().unwrap().superseded_by();
    assert_eq!(superseded(old), Some(world.runs[new.0].front));
    assert_eq!(superseded(new), None);
    let published = world.checks.notices("published");
    assert!(world.checks.notices("superseded") >= 1);
    world.run_for(secs(60));
    world.holds();
    assert!(world.checks.notices("published") <= published + 1, "nobody fights back");
    assert!(world.ping(two.a, two.b).is_ok());
}

#[test]
fn two_runs_that_start_in_one_moment_settle_on_one() {
    for seed in 0..20 {
        let mut two = friends(4_200 + seed, NatKind::PortRestricted, NatKind::Public, 1);
        let world = &mut two.world;
        world.kill(two.b);
        world.run_for(secs(1));
        let first = world.start(two.b);
        let second = world.start_twin(two.b, NatKind::Cgnat, false);
        world.demand_convergence(secs(30));
        world.holds();
        let stands =
            |run: homing_sim::RunIx| world.runs[run.0].core().unwrap().superseded_by().is_none();
        assert!(stands(first) != stands(second));
    }
}

#[test]
fn a_home_restored_from_an_old_copy_takes_its_identity_over_again() {
    let mut two = friends(43, NatKind::PortRestricted, NatKind::Public, 1);
    let world = &mut two.world;
    let host = world.identities[two.b.0].host;
    let copy = world.homes[&(two.b, host)].clone();
    for _ in 0..3 {
        world.restart(two.b, secs(1));
        world.run_for(secs(3));
    }
    world.kill(two.b);
    world.homes.insert((two.b, host), copy);
    // The clock stands an hour back as well: the sequence cannot come from it.
    world.set_clock(host, -300_000);
    world.start(two.b);
    world.demand_convergence(secs(45));
    world.holds();
    assert!(world.ping(two.a, two.b).is_ok());
}
