//! Gossip between whole agents.

use super::world::*;
use crate::io::*;
use crate::message::Message;
use homing_base::{AgentRecord, InstanceId, Record, Seq};

/// Public agents of which each knows the one before.
fn line(world: &mut World, members: &[u8]) {
    for (i, n) in members.iter().enumerate() {
        let before = i.checked_sub(1).map(|before| members[before]);
        start(world, *n, before);
    }
}

fn start(world: &mut World, n: u8, through: Option<u8>) {
    let hint = |n| PeerHint::At { peer: Some(PeerRef::NodeId(id(n))), direct: vec![addr(n)] };
    let peers = through.map(hint).into_iter().collect();
    let gossip = Some(GossipSettings::default());
    world.start(n, Settings { peers, gossip, public: true, ..settings(n, 1) });
    world.run_for(millis(500));
}

/// The record of somebody who runs no agent here.
fn stranger(world: &World, n: u8) -> Record {
    let wall = world.clock(n).wall;
    let record = AgentRecord::new(key(n).public(), InstanceId([3; 32]), Seq(wall.0), wall);
    record.sign(&key(n)).expect("a small record")
}

fn layers(spent: &[(Layer, std::time::Duration)]) -> Vec<Layer> {
    spent.iter().map(|(layer, _)| *layer).collect()
}

fn resolved(world: &mut World, n: u8, who: u8) -> Result<Resolution, Failure> {
    let peer = PeerRef::NodeId(id(who));
    match world.command(n, Command::Resolve { peer, timeout: secs(3) })? {
        Answer::Resolved(found) => Ok(*found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_registered_at_one_end_is_resolved_at_the_other() {
    let mut world = World::new();
    line(&mut world, &[1, 2, 3, 4]);
    world.run_for(secs(2));
    let record = stranger(&world, 77);
    let offer = Command::Offer { record: Box::new(record.clone()) };
    let told = world.command(1, offer);
    assert!(matches!(told, Ok(Answer::Done { changed: true })), "{told:?}");
    world.run_for(secs(2));
    let found = resolved(&mut world, 4, 77).expect("it is known there");
    assert_eq!((&found.record, found.layer), (&record, Layer::Gossip));
    assert_eq!(layers(&found.spent), [Layer::Local, Layer::Gossip], "nobody was asked");
    assert_eq!(resolved(&mut world, 4, 77).expect("still").layer, Layer::Local);
}

#[test]
fn a_name_is_asked_of_neighbours_although_gossip_knows_it_and_nobody_goes_deeper() {
    let mut world = World::new();
    line(&mut world, &[1, 2, 3]);
    world.run_for(secs(2));
    let wall = world.clock(1).wall;
    let mut record = AgentRecord::new(key(77).public(), InstanceId([3; 32]), Seq(wall.0), wall);
    record.name = Some("planner".parse().expect("a name"));
    let record = record.sign(&key(77)).expect("a small record");
    let offer = Command::Offer { record: Box::new(record) };
    assert!(world.command(1, offer).is_ok());
    world.run_for(secs(2));
    let peer = PeerRef::Name("planner".parse().expect("a name"));
    let found = world.command(3, Command::Resolve { peer, timeout: secs(3) });
    let Ok(Answer::Resolved(found)) = found else { panic!("{found:?}") };
    assert_eq!((found.record.node_id(), found.layer), (id(77), Layer::Gossip));
    assert_eq!(layers(&found.spent), [Layer::Local, Layer::Gossip, Layer::Neighbours]);
    let nobody = PeerRef::Name("nobody".parse().expect("a name"));
    let missed = world.command(3, Command::Resolve { peer: nobody, timeout: secs(3) });
    assert!(matches!(missed, Err(Failure::NotFound { .. })), "{missed:?}");
}

#[test]
fn who_comes_late_knows_it_although_its_origin_is_gone() {
    let mut world = World::new();
    line(&mut world, &[1, 2, 3]);
    world.run_for(secs(2));
    let record = stranger(&world, 77);
    let offer = Command::Offer { record: Box::new(record) };
    let told = world.command(1, offer);
    assert!(matches!(told, Ok(Answer::Done { changed: true })), "{told:?}");
    world.run_for(secs(5));
    world.kill(1);
    start(&mut world, 4, Some(3));
    world.run_for(secs(10));
    assert_eq!(resolved(&mut world, 4, 77).expect("it is known there").layer, Layer::Gossip);
    assert!(world.agent(4).gossip_records(None, 10).iter().any(|r| r.node_id() == id(77)));
}

#[test]
fn an_agent_that_does_not_gossip_sends_nothing_of_it() {
    let mut world = World::new();
    line(&mut world, &[1, 2]);
    world.start(3, Settings { public: true, ..settings(3, 1) });
    world.run_for(secs(40));
    let gossips = |n: u8, world: &World| {
        let is = |o: &Output| matches!(o, Output::Send { message: Message::Gossip(_), .. });
        world.log.iter().any(|(from, output)| *from == n && is(output))
    };
    assert!(gossips(1, &world) && !gossips(3, &world));
    assert!(world.agent(3).gossip_view().is_none());
    let record = Box::new(stranger(&world, 77));
    let refused = world.command(3, Command::Offer { record });
    assert!(matches!(refused, Err(Failure::Disabled { .. })), "{refused:?}");
}
