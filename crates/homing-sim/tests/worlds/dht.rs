//! Agents that have no common relay find each other through the DHT.

use homing_core::io::{Answer, Command, DhtKey, DhtSettings, Resolution};
use homing_sim::{AgentIx, Carry, NatKind, World};

use crate::{Expectations, ms, secs};

/// Public agents without any relay; each was given one earlier one as the way in.
fn swarm_of(world: &mut World, count: usize) -> Vec<AgentIx> {
    let mut agents: Vec<AgentIx> = Vec::new();
    for i in 0..count {
        let before = i.checked_sub(1).map(|last| agents[last / 2]);
        agents.push(newcomer(world, before));
        world.run_for(ms(60));
    }
    agents
}

fn newcomer(world: &mut World, through: Option<AgentIx>) -> AgentIx {
    let host = world.add_host(NatKind::Public);
    let agent = world.add_agent(host, &[]);
    let hint = through.map(|through| world.ticket(through).expect("it runs"));
    world.identities[agent.0].hints.extend(hint);
    world.start(agent);
    agent
}

fn with_dht(seed: u64) -> World {
    let mut world = World::new(seed);
    world.options.dht = Some(DhtSettings::default());
    world
}

/// What `from` finds out about `to`, and in which layer.
fn resolve(world: &mut World, from: AgentIx, to: AgentIx) -> Result<Resolution, String> {
    let (run, peer) = (world.run_of(from), world.peer(to));
    let request = world.command(run, Command::Resolve { peer, timeout: secs(5) });
    world.run_until(secs(6), |w| w.runs[run.0].answered.contains_key(&request));
    let answered = world.runs[run.0].answered.get(&request).ok_or("no answer at all")?;
    match answered.answer.clone() {
        Ok(Answer::Resolved(found)) => Ok(*found),
        other => Err(format!("{other:?}")),
    }
}

/// Whether the DHT itself holds the record of `to`, as seen from `from`.
fn holds(world: &mut World, from: AgentIx, to: AgentIx) -> bool {
    let (run, key) = (world.run_of(from), DhtKey::NodeId(world.id(to)));
    let request = world.command(run, Command::DhtLookup { key, timeout: secs(5) });
    world.run_until(secs(6), |w| w.runs[run.0].answered.contains_key(&request));
    let answered = world.runs[run.0].answered.get(&request);
    matches!(answered.map(|a| &a.answer), Some(Ok(Answer::DhtLookup(found))) if !found.values.is_empty())
}

fn meet(world: &mut World, one: AgentIx, other: AgentIx) {
    let hint = world.ticket(other).expect("it runs");
    let run = world.run_of(one);
    world.command(run, Command::AddPeer(hint));
}

#[test]
fn private_agents_without_a_common_relay_find_and_befriend_each_other() {
    let mut world = with_dht(0xd471);
    let open = swarm_of(&mut world, 24);
    let relays = [world.add_relay(), world.add_relay()];
    for (relay, to) in relays.into_iter().zip([open[5], open[11]]) {
        let serves = world.relays[relay.0].agent;
        meet(&mut world, serves, to);
    }
    world.run_for(secs(5));
    let a = world.agent(NatKind::PortRestricted, &relays[..1]);
    let b = world.agent(NatKind::Symmetric, &relays[1..]);
    world.run_for(secs(15));
    world.holds();
    let found = resolve(&mut world, a, b).unwrap();
    assert_eq!(found.record.node_id(), world.id(b));
    world.befriend(a, b);
    world.demand_convergence_of_friends(a, b);
    assert!(world.ping(a, b).is_ok());
    world.holds();
}

#[test]
fn a_quarter_may_die_at_once() {
    let mut world = with_dht(0xd472);
    let agents = swarm_of(&mut world, 40);
    world.run_for(secs(20));
    let (dead, alive): (Vec<_>, Vec<_>) = agents.iter().partition(|a| a.0 % 4 == 3);
    dead.iter().for_each(|agent| world.kill(*agent));
    // Somebody who has never spoken with most of them.
    let fresh = newcomer(&mut world, Some(alive[0]));
    world.run_for(secs(5));
    for to in alive.iter().skip(1).step_by(3) {
        let found = resolve(&mut world, fresh, *to);
        assert!(found.is_ok(), "{to:?}: {found:?}");
        assert!(holds(&mut world, alive[0], *to), "{to:?}");
    }
    world.holds();
}

#[test]
fn friends_that_moved_at_the_same_moment_find_each_other_again() {
    let mut world = with_dht(0xd474);
    let agents = swarm_of(&mut world, 24);
    let (a, b) = (agents[20], agents[23]);
    world.run_for(secs(10));
    world.befriend(a, b);
    world.demand_convergence_of_friends(a, b);
    world.run_for(secs(10));
    world.kill(a);
    world.move_to_new_ip(b, NatKind::Public, Carry::Home);
    world.move_to_new_ip(a, NatKind::Public, Carry::Home);
    let took = world.first_ping(a, b, secs(60));
    assert!(took.is_some(), "neither knew where the other was");
    world.holds();
}

#[test]
fn switched_off_it_sends_nothing() {
    let mut world = World::new(0xd475);
    let agents = swarm_of(&mut world, 12);
    let relay = world.add_relay();
    world.agent(NatKind::PortRestricted, &[relay]);
    world.run_for(secs(60));
    assert_eq!(world.checks.dht_messages, 0);
    let core = world.core(agents[3]).expect("it runs");
    assert!(core.dht_view(world.now_of(world.run_of(agents[3]))).is_none());
    world.holds();
}
#[test]
fn two_islands_that_meet_know_each_other_within_a_minute() {
    let mut world = with_dht(0xd473);
    let (west, east) = (swarm_of(&mut world, 30), swarm_of(&mut world, 30));
    world.run_for(secs(90));
    assert!(!holds(&mut world, west[7], east[7]), "they are two islands");
    meet(&mut world, west[3], east[20]);
    world.run_for(secs(50));
    world.holds();
    for i in [0, 7, 15, 29] {
        assert!(holds(&mut world, west[i], east[29 - i]), "west {i} to east");
        assert!(holds(&mut world, east[i], west[29 - i]), "east {i} to west");
    }
    world.holds();
}
