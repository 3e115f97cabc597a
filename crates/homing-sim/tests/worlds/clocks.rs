//! Wrong clocks are noticed, harm nothing for good, and heal.

use homing_sim::{Carry, NatKind};

use crate::{Expectations, friends, secs, strangers};

#[test]
fn a_clock_one_hour_off_is_named_and_heals_when_it_is_set_right() {
    for hours in [1, -1] {
        let mut two = friends(61, NatKind::PortRestricted, NatKind::Public, 1);
        let world = &mut two.world;
        let host = world.identities[two.b.0].host;
        world.kill(two.b);
        world.set_clock(host, hours * 3_600_000);
        world.start(two.b);
        world.run_for(secs(20));
        if hours > 0 {
            assert!(world.checks.notices("clock_skew") > 0, "somebody is told about the clock");
        }
        world.set_clock(host, 0);
        world.demand_convergence(secs(60));
        world.holds();
        assert!(world.says_mutual(two.a, two.b));
        assert!(world.ping(two.a, two.b).is_ok());
    }
}

#[test]
fn clocks_five_minutes_apart_do_not_matter() {
    for minutes in [5, -5] {
        let mut two = friends(62, NatKind::PortRestricted, NatKind::Public, 1);
        let world = &mut two.world;
        let host = world.identities[two.b.0].host;
        world.set_clock(host, minutes * 60_000);
        world.move_to_new_ip(two.b, NatKind::Symmetric, Carry::Home);
        let took = world.first_ping(two.a, two.b, secs(10));
        world.holds();
        assert!(took.is_some_and(|took| took < secs(2)), "{minutes} min: {took:?}");
    }
}

#[test]
fn words_given_by_a_clock_one_hour_ahead_are_given_again_when_it_is_set_right() {
    for asker in [true, false] {
        let mut two = strangers(63, NatKind::PortRestricted, NatKind::Public, 1);
        let (a, b, world) = (two.a, two.b, &mut two.world);
        let host = world.identities[if asker { a.0 } else { b.0 }].host;
        world.set_clock(host, 3_600_000);
        world.befriend(a, b);
        world.run_for(secs(8));
        world.set_clock(host, 0);
        world.demand_convergence(secs(45));
        world.holds();
        assert!(world.says_mutual(a, b) && world.says_mutual(b, a));
    }
}
