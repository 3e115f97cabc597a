//! Trust outlives every move, and ends when it is ended.

use homing_core::io::TrustState;
use homing_sim::{Carry, NatKind};

use crate::{Expectations, friends, secs, strangers};

#[test]
fn a_revoked_peer_loses_its_streams_at_once_and_gets_nothing_more() {
    let mut two = friends(31, NatKind::PortRestricted, NatKind::Public, 1);
    let (a, b, world) = (two.a, two.b, &mut two.world);
    let ids = (world.id(a), world.id(b));
    world.connect(world.run_of(b), ids.0);
    world.run_for(secs(1));
    assert_eq!(world.open_streams(ids.0, ids.1), 1, "a trusted peer gets its stream");
    world.revoke(a, b);
    assert_eq!(world.open_streams(ids.0, ids.1), 0, "revocation closes it in the same moment");
    world.run_for(secs(5));
    let let_in = world.checks.authorized;
    world.connect(world.run_of(b), ids.0);
    world.run_for(secs(6));
    assert_eq!(world.checks.authorized, let_in);
    assert_eq!(world.trust_state(b, a), TrustState::RevokedByPeer);
    assert!(world.ping(b, a).is_err());
    world.holds();
}

#[test]
fn a_peer_that_was_away_learns_of_its_revocation_when_it_returns() {
    let mut two = friends(32, NatKind::PortRestricted, NatKind::Symmetric, 1);
    let (a, b, world) = (two.a, two.b, &mut two.world);
    world.kill(b);
    world.run_for(secs(3));
    world.revoke(a, b);
    world.run_for(secs(3));
    world.start(b);
    let told = world.run_until(secs(45), |w| w.trust_state(b, a) == TrustState::RevokedByPeer);
    world.holds();
    assert!(told, "{:?}", world.trust_state(b, a));
}

#[test]
fn an_expired_grant_behaves_as_revoked() {
    let mut two = strangers(33, NatKind::PortRestricted, NatKind::Public, 1);
    let (a, b, world) = (two.a, two.b, &mut two.world);
    world.befriend_for(a, b, Some(secs(8)));
    assert!(world.run_until(secs(5), |w| w.says_mutual(a, b) && w.says_mutual(b, a)));
    let ids = (world.id(a), world.id(b));
    world.connect(world.run_of(a), ids.1);
    world.run_for(secs(1));
    assert_eq!(world.open_streams(ids.0, ids.1), 1);
    world.run_for(secs(8));
    assert_eq!(world.open_streams(ids.0, ids.1), 0, "the stream ends with the grant");
    assert!(!world.says_mutual(a, b) && !world.says_mutual(b, a));
    assert!(world.ping(a, b).is_err());
    world.holds();
}

#[test]
fn an_agent_that_lost_everything_but_its_identity_gets_its_trust_back() {
    for lost in [true, false] {
        let mut two = friends(34, NatKind::PortRestricted, NatKind::Symmetric, 1);
        let (a, b, world) = (two.a, two.b, &mut two.world);
        let loser = if lost { a } else { b };
        world.move_to_new_ip(loser, NatKind::Public, Carry::IdentityOnly);
        let back = world.run_until(secs(45), |w| w.says_mutual(a, b) && w.says_mutual(b, a));
        world.holds();
        assert!(back, "{:?} and {:?}", world.trust_state(a, b), world.trust_state(b, a));
        world.demand_convergence(secs(20));
        world.holds();
        assert!(world.checks.notices("trust_restored") > 0);
    }
}

#[test]
fn a_revoked_peer_is_not_restored_with_the_identity() {
    let mut world = homing_sim::World::new(35);
    let relay = world.add_relay();
    world.run_for(secs(1));
    let agents = [(); 3].map(|()| world.agent(NatKind::PortRestricted, &[relay]));
    let [a, b, c] = agents;
    world.run_for(secs(2));
    world.befriend(a, b);
    world.befriend(a, c);
    world.run_for(secs(4));
    world.demand_convergence(secs(20));
    // b is away while it is revoked, so only a's newest record can say so.
    world.kill(b);
    world.revoke(a, b);
    world.run_for(secs(4));
    world.move_to_new_ip(a, NatKind::Public, Carry::IdentityOnly);
    world.run_for(secs(4));
    world.start(b);
    world.run_for(secs(30));
    world.holds();
    assert!(!world.says_mutual(a, b), "{:?}", world.trust_state(a, b));
    assert!(world.says_mutual(a, c) && world.says_mutual(c, a));
    assert!(!world.says_mutual(b, a), "{:?}", world.trust_state(b, a));
}

#[test]
fn a_request_to_an_agent_that_is_away_reaches_it_when_it_returns() {
    let mut two = strangers(36, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let (a, b, world) = (two.a, two.b, &mut two.world);
    world.kill(b);
    world.run_for(secs(5));
    world.befriend(a, b);
    world.run_for(secs(20));
    world.start(b);
    let mutual = world.run_until(secs(45), |w| w.says_mutual(a, b) && w.says_mutual(b, a));
    world.holds();
    assert!(mutual, "{:?} and {:?}", world.trust_state(a, b), world.trust_state(b, a));
}

#[test]
fn a_request_reaches_a_peer_that_lost_its_store_after_it_had_arrived() {
    let mut two = strangers(37, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    two.world.options.approve = false;
    let (a, b, world) = (two.a, two.b, &mut two.world);
    world.befriend(a, b);
    assert!(world.run_until(secs(5), |w| w.trust_state(b, a) == TrustState::Pending));
    world.run_for(secs(15));
    world.move_to_new_ip(b, NatKind::Public, Carry::IdentityOnly);
    let again = world.run_until(secs(20), |w| w.trust_state(b, a) == TrustState::Pending);
    world.holds();
    assert!(again, "{:?}", world.trust_state(b, a));
}

#[test]
fn an_open_request_outlives_the_revocation_of_another_peer_and_the_loss_of_the_store() {
    let mut world = homing_sim::World::new(38);
    let relay = world.add_relay();
    world.run_for(secs(1));
    let [a, b, c] = [(); 3].map(|()| world.agent(NatKind::PortRestricted, &[relay]));
    world.run_for(secs(2));
    world.befriend(a, b);
    world.demand_convergence(secs(20));
    world.options.approve = false;
    world.befriend(a, c);
    world.run_for(secs(2));
    world.revoke(a, b);
    world.run_for(secs(2));
    world.options.approve = true;
    world.review_now(c);
    world.run_for(secs(2));
    assert!(world.says_mutual(a, c) && world.says_mutual(c, a));
    world.move_to_new_ip(a, NatKind::Public, Carry::IdentityOnly);
    let back = world.run_until(secs(45), |w| w.says_mutual(a, c) && w.says_mutual(c, a));
    world.holds();
    assert!(back, "{:?} and {:?}", world.trust_state(a, c), world.trust_state(c, a));
    assert!(!world.says_mutual(a, b));
}
