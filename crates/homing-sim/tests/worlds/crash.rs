//! kill −9 between any two outputs of a handshake leaves the old state or the new, never half.

use homing_core::io::TrustState;
use homing_sim::{AgentIx, NatKind, RunIx, World};

use crate::{Expectations, Two, ms, secs, strangers};

/// Outputs of both sides from the request on, when nobody dies.
fn handshake(two: &mut Two, dying: Option<(bool, u64)>) -> (RunIx, u64) {
    let Two { world, a, b, .. } = two;
    let (a, b) = (*a, *b);
    let asker_dies = dying.is_some_and(|(asker, _)| asker);
    let run = world.run_of(if asker_dies { a } else { b });
    let before = world.runs[run.0].outputs;
    if let Some((_, outputs)) = dying {
        world.runs[run.0].crash_at = Some(before + outputs);
    }
    world.befriend(a, b);
    world.run_for(secs(3));
    (run, world.runs[run.0].outputs - before)
}

fn dies_after(asker: bool, outputs: u64) {
    let mut two = strangers(21, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let (run, _) = handshake(&mut two, Some((asker, outputs)));
    let (a, b) = (two.a, two.b);
    let world = &mut two.world;
    let died = !world.runs[run.0].alive();
    restart(world, if asker { a } else { b });
    world.run_for(secs(5));
    if died && world.trust_state(a, b) == TrustState::None {
        // The old state: nothing was durable, so nobody may know of a request.
        assert_eq!(world.trust_state(b, a), TrustState::None, "asker {asker}, output {outputs}");
        world.befriend(a, b);
    }
    let mutual = world.run_until(secs(20), |w| w.says_mutual(a, b) && w.says_mutual(b, a));
    let states = (world.trust_state(a, b), world.trust_state(b, a));
    assert!(mutual, "asker {asker}, output {outputs}: {states:?}");
    world.demand_convergence(secs(20));
    world.holds();
}

fn restart(world: &mut World, agent: AgentIx) {
    world.kill(agent);
    world.run_for(ms(200));
    world.start(agent);
}

fn dies_everywhere(asker: bool) {
    let mut two = strangers(21, NatKind::PortRestricted, NatKind::PortRestricted, 1);
    let which = if asker { two.a } else { two.b };
    let before = two.world.runs[two.world.run_of(which).0].outputs;
    handshake(&mut two, None);
    two.world.holds();
    let outputs = two.world.runs[two.world.run_of(which).0].outputs - before;
    assert!(outputs > 8, "a handshake has more than {outputs} outputs");
    for output in 0..outputs {
        dies_after(asker, output);
    }
}

#[test]
fn the_asker_may_die_between_any_two_outputs_of_a_handshake() {
    dies_everywhere(true);
}

#[test]
fn the_asked_may_die_between_any_two_outputs_of_a_handshake() {
    dies_everywhere(false);
}

#[test]
fn a_revocation_that_was_answered_survives_the_crash_that_follows() {
    for outputs in 0..12 {
        let mut two = crate::friends(22, NatKind::Public, NatKind::PortRestricted, 1);
        let (a, b) = (two.a, two.b);
        let world = &mut two.world;
        let run = world.run_of(a);
        world.runs[run.0].crash_at = Some(world.runs[run.0].outputs + outputs);
        world.revoke(a, b);
        let durable = !world.trusts(run, world.id(b));
        restart(world, a);
        world.run_for(secs(6));
        let states = (world.trust_state(a, b), world.trust_state(b, a));
        let both = (world.says_mutual(a, b), world.says_mutual(b, a));
        assert_eq!(both, (!durable, !durable), "output {outputs}: {states:?}");
        world.holds();
    }
}
