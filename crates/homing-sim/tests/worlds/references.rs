//! References that gossip carries, between whole agents without a DHT and without relays.

use homing_core::Failure;
use homing_core::io::{Answer, Command, GossipSettings, Layer, ReferenceCommand, ReferenceKey};
use homing_sim::{AgentIx, NatKind, World};

use crate::{Expectations, secs};

/// Agents in a row; each trusts and knows only its neighbours.
fn row(world: &mut World, count: usize) -> Vec<AgentIx> {
    let mut agents: Vec<AgentIx> = Vec::new();
    for _ in 0..count {
        let host = world.add_host(NatKind::Public);
        let agent = world.add_agent(host, &[]);
        let hint = agents.last().map(|last| world.ticket(*last).expect("it runs"));
        world.identities[agent.0].hints.extend(hint);
        world.start(agent);
        world.run_for(secs(1));
        if let Some(last) = agents.last() {
            world.befriend(*last, agent);
        }
        agents.push(agent);
    }
    let pairs: Vec<_> = agents.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let all = |w: &World| pairs.iter().all(|(a, b)| w.says_mutual(*a, *b) && w.says_mutual(*b, *a));
    assert!(world.run_until(secs(30), all), "seed {:#x}: trust", world.seed);
    agents
}

fn publish(world: &mut World, owner: AgentIx, value: &str) {
    let (name, value) = ("planner/checkpoint".parse().expect("a name"), value.to_owned());
    let publish =
        ReferenceCommand::Publish { name, value, lifetime: None, ttl: None, keepers: None };
    tell(world, owner, publish);
}

fn tell(world: &mut World, owner: AgentIx, command: ReferenceCommand) {
    let run = world.run_of(owner);
    let request = world.command(run, Command::Reference(command));
    let answered = &world.runs[run.0].answered[&request];
    assert!(answered.answer.is_ok(), "{:?}", answered.answer);
}

fn resolve(world: &mut World, reader: AgentIx, owner: AgentIx) -> Result<Answer, Failure> {
    let name = "planner/checkpoint".parse().expect("a name");
    let key = ReferenceKey::Bound { owner: world.id(owner), name };
    let run = world.run_of(reader);
    let request = world.command(run, Command::ResolveReference { key, timeout: secs(5) });
    world.run_until(secs(8), |w| w.runs[run.0].answered.contains_key(&request));
    world.runs[run.0].answered[&request].answer.clone()
}

fn value(answer: Result<Answer, Failure>) -> (String, Layer) {
    match answer {
        Ok(Answer::ReferenceResolved(found)) => (found.reference.record.value_text(), found.layer),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reference_and_its_end_reach_an_agent_that_only_gossip_connects_with_the_owner() {
    let mut world = World::new(81);
    world.options.gossip = Some(GossipSettings::default());
    let agents = row(&mut world, 5);
    let (owner, reader) = (agents[0], agents[4]);
    publish(&mut world, owner, "/checkpoints/1");
    world.run_for(secs(3));
    // The owner is gone, and so is the only one who ever spoke to it.
    world.kill(owner);
    world.kill(agents[1]);
    let (found, layer) = value(resolve(&mut world, reader, owner));
    assert_eq!((found.as_str(), layer), ("/checkpoints/1", Layer::Gossip));
    // Both return; what happened meanwhile is caught up with, over a link that comes up later.
    world.start(owner);
    world.run_for(secs(2));
    publish(&mut world, owner, "/checkpoints/2");
    world.start(agents[1]);
    let newest = |w: &World| {
        let name = "planner/checkpoint".parse().expect("a name");
        let key = ReferenceKey::Bound { owner: w.id(owner), name };
        let known = w.core(reader).and_then(|core| core.known_reference(&key));
        known.is_some_and(|known| known.record.value_text() == "/checkpoints/2")
    };
    assert!(world.run_until(secs(120), newest), "seed {:#x}", world.seed);
    tell(
        &mut world,
        owner,
        ReferenceCommand::Withdraw("planner/checkpoint".parse().expect("a name")),
    );
    world.run_for(secs(12));
    let over = resolve(&mut world, reader, owner);
    assert!(matches!(over, Err(Failure::ReferenceOver { ends: None, .. })), "{over:?}");
    world.holds();
}
