//! Strangers and adversaries get a stranger's due: no address, no stream, no belief.

use homing_core::io::{Command, TrustState};
use homing_sim::NatKind;

use crate::{Expectations, secs, strangers};

#[test]
fn a_stranger_that_asks_learns_no_address() {
    let mut two = strangers(71, NatKind::PortRestricted, NatKind::Public, 1);
    two.world.options.approve = false;
    let (a, b, world) = (two.a, two.b, &mut two.world);
    world.befriend(a, b);
    world.run_for(secs(10));
    assert_eq!(world.trust_state(b, a), TrustState::Pending);
    assert!(world.ping(a, b).is_err(), "nobody approved");
    // The checkers watched every record, candidate, dial and path on the way.
    world.holds();
    let (run, timeout) = (world.run_of(a), secs(3));
    let peer = world.peer(b);
    let request = world.command(run, Command::Resolve { peer, timeout });
    world.run_for(secs(4));
    let answer = world.runs[run.0].answered[&request].answer.clone();
    let Ok(homing_core::Answer::Resolved(found)) = answer else { panic!("{answer:?}") };
    assert!(found.record.direct.is_empty() && !found.record.relays.is_empty());
}

#[test]
fn an_adversary_is_believed_by_nobody() {
    for seed in 0..8 {
        let mut two = strangers(7_200 + seed, NatKind::PortRestricted, NatKind::Public, 2);
        let world = &mut two.world;
        let relays = two.relays.clone();
        for _ in 0..3 {
            world.add_hostile(&relays);
        }
        world.befriend(two.a, two.b);
        world.run_for(secs(40));
        world.demand_convergence(secs(20));
        world.demand_pings(4);
        world.holds();
        assert!(world.says_mutual(two.a, two.b));
        assert!(world.checks.notices("misbehaviour") > 0, "somebody noticed");
    }
}
