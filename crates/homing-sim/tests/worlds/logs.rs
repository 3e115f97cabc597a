//! Audit logs and their witnesses: a log that shows two histories is noticed by everybody who saw it.

use homing_core::audit::witness::proves_fork;
use homing_sim::{AgentIx, NatKind, World};

use crate::{Expectations, ms, secs};

/// Agents that keep logs and trust each other, all of them.
fn circle(seed: u64, count: usize) -> (World, Vec<AgentIx>) {
    let mut world = World::new(seed);
    world.options.audit = true;
    let relay = world.add_relay();
    world.run_for(ms(300));
    let kinds = [NatKind::PortRestricted, NatKind::Public, NatKind::Symmetric];
    let agents: Vec<_> =
        (0..count).map(|n| world.agent(kinds[n % kinds.len()], &[relay])).collect();
    world.run_for(secs(2));
    for (at, a) in agents.iter().enumerate() {
        for b in &agents[at + 1..] {
            world.befriend(*a, *b);
            let mutual =
                world.run_until(secs(30), |w| w.says_mutual(*a, *b) && w.says_mutual(*b, *a));
            assert!(mutual, "seed {seed}: {a:?} and {b:?}");
        }
    }
    world.run_for(secs(60));
    (world, agents)
}

fn forks(world: &World, agent: AgentIx) -> usize {
    let host = world.identities[agent.0].host;
    world.homes[&(agent, host)].forks.len()
}

#[test]
fn honest_logs_are_never_called_forked() {
    for seed in 700..704 {
        let (mut world, agents) = circle(seed, 4);
        for round in 0..20 {
            world.log_something(agents[round % 4]);
            world.run_for(secs(47));
            if round % 7 == 3 {
                world.restart(agents[(round + 1) % 4], secs(2));
            }
        }
        world.holds();
        assert!(agents.iter().all(|agent| forks(&world, *agent) == 0), "seed {seed}");
    }
}

#[test]
fn a_log_that_forks_is_noticed_by_every_node_that_saw_it() {
    for seed in 710..714 {
        let (mut world, agents) = circle(seed, 5);
        let owner = agents[0];
        world.log_something(owner);
        world.run_for(secs(30));
        let before = world.checks.notices("log_forked");
        // Two of the four witnesses are shown another history from here on.
        world.forge_log(owner, &agents[3..]);
        world.log_something(owner);
        let noticed = |w: &World| agents[1..].iter().all(|witness| forks(w, *witness) == 1);
        assert!(world.run_until(secs(120), noticed), "seed {seed}");
        assert!(world.checks.notices("log_forked") >= before + 4, "seed {seed}");
        for witness in &agents[1..] {
            let host = world.identities[witness.0].host;
            let fork = &world.homes[&(*witness, host)].forks[0];
            let (who, _) = proves_fork(fork).expect("both heads are kept, and contradict");
            assert_eq!(who, world.id(owner), "seed {seed}");
        }
        // Kept over a restart, and told to whoever comes later.
        world.restart(agents[2], secs(1));
        world.run_for(secs(20));
        assert_eq!(forks(&world, agents[2]), 1, "seed {seed}");
    }
}
