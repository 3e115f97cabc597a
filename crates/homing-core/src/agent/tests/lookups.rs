//! Finding a peer: names, neighbours, what is missing when nothing helps.

use super::instances::record;
use super::world::*;
use crate::io::*;
use crate::message::{Ask, AskKey, Message};
use homing_base::{AgentRecord, Record, Seq, Wall};

fn named(n: u8, run: u64, claimed: &str, wall: Wall) -> Record {
    let mut record = AgentRecord::new(key(n).public(), instance(n, run, 1), Seq(wall.0), wall);
    record.name = Some(claimed.parse().unwrap());
    record.sign(&key(n)).unwrap()
}

/// Node 9 learns a record as if its owner had been there.
fn teach(world: &mut World, record: &Record) {
    let link = world.stranger(9, record.instance);
    world.say(9, link, super::instances::hello(record));
}

fn resolve(peer: PeerRef) -> Command {
    Command::Resolve { peer, timeout: secs(2) }
}

#[test]
fn an_unknown_name_is_asked_of_neighbours_and_pinned() {
    let mut world = World::fleet(&[1, 2]);
    let Ok(Answer::Resolved(found)) = world.command(1, resolve(name("agent-2"))) else { panic!() };
    assert_eq!(found.record.node_id(), id(2));
    assert_eq!((found.layer, found.from), (Layer::Neighbours, Some(id(9))));
    assert_eq!(world.agent(1).pins(), [("agent-2".parse().unwrap(), id(2))]);
    let asked = world.command(
        1,
        Command::Handshake { peer: name("agent-2"), reason: None, services: None, lifetime: None },
    );
    assert!(matches!(asked, Ok(Answer::Trust { peer, .. }) if peer == id(2)));
}

#[test]
fn an_address_is_found_like_a_node_id() {
    let mut world = World::fleet(&[1, 2]);
    let address = homing_base::Address::of(&id(2));
    let found = world.command(1, resolve(PeerRef::Address(address)));
    assert!(matches!(found, Ok(Answer::Resolved(r)) if r.record.node_id() == id(2)));
}

#[test]
fn two_claimants_are_ambiguous_until_an_alias_decides() {
    let mut world = World::fleet(&[1, 2]);
    let wall = world.clock(9).wall;
    teach(&mut world, &named(5, 1, "agent-2", wall));
    let Err(Failure::Ambiguous { claimants, .. }) = world.command(1, resolve(name("agent-2")))
    else {
        panic!()
    };
    assert_eq!(claimants.len(), 2);
    assert!(matches!(
        world.command(
            1,
            Command::Handshake {
                peer: name("agent-2"),
                reason: None,
                services: None,
                lifetime: None,
            }
        ),
        Err(Failure::Ambiguous { .. })
    ));
    let alias = |peer| Command::Alias { name: "agent-2".parse().unwrap(), peer };
    let set = world.command(1, alias(Some(PeerRef::NodeId(id(2)))));
    assert!(matches!(set, Ok(Answer::Done { changed: true })));
    let found = world.command(1, resolve(name("agent-2")));
    assert!(matches!(found, Ok(Answer::Resolved(r)) if r.record.node_id() == id(2)));
    let again = world.command(1, alias(Some(PeerRef::NodeId(id(2)))));
    assert!(matches!(again, Ok(Answer::Done { changed: false })));
}

#[test]
fn a_pinned_name_that_moves_is_an_error_and_not_a_redirect() {
    let mut world = World::fleet(&[1, 2]);
    world.command(1, resolve(name("agent-2"))).unwrap();
    world.kill(2);
    let mut renamed = member(2, 2);
    renamed.name = Some("somebody-else".parse().unwrap());
    world.start(2, renamed);
    world.run_for(secs(1));
    let wall = world.clock(9).wall;
    let usurper = named(5, 1, "agent-2", wall);
    teach(&mut world, &usurper);
    let link = world.stranger(1, usurper.instance);
    world.say(1, link, super::instances::hello(&usurper));
    let moved = world.command(1, resolve(name("agent-2")));
    assert!(
        matches!(moved, Err(Failure::NameMoved { pinned, .. }) if pinned == id(2)),
        "{moved:?}"
    );
    assert!(world.events(1).iter().any(|e| matches!(e, Event::NameMoved { .. })));
}

#[test]
fn a_key_that_nobody_knows_is_not_found_naming_how_many_were_asked() {
    let mut world = World::fleet(&[1, 2]);
    let missing = world.command(1, resolve(PeerRef::NodeId(id(77))));
    assert!(matches!(missing, Err(Failure::NotFound { asked: 1, .. })), "{missing:?}");
    world.log.clear();
    // A moment later nobody is bothered again.
    let missing = world.command(1, resolve(PeerRef::NodeId(id(77))));
    assert!(matches!(missing, Err(Failure::NotFound { .. })));
    assert!(
        !world.log.iter().any(|(_, o)| matches!(o, Output::Send { message: Message::Ask(_), .. }))
    );
}

#[test]
fn concurrent_lookups_of_one_key_share_one_question() {
    let mut world = World::fleet(&[1, 2]);
    world.log.clear();
    let requests: Vec<u64> =
        (0..5).map(|_| world.begin(1, resolve(PeerRef::NodeId(id(2))))).collect();
    world.run_for(millis(100));
    let asks = world
        .log
        .iter()
        .filter(|(n, o)| *n == 1 && matches!(o, Output::Send { message: Message::Ask(_), .. }));
    assert_eq!(asks.count(), 1);
    assert!(requests.iter().all(|r| matches!(world.replies[r], Ok(Answer::Resolved(_)))));
}

#[test]
fn a_public_node_answers_strangers_and_tells_watchers_of_a_move() {
    let mut world = World::fleet(&[1]);
    let stranger = record(5, 1, WALL, world.clock(9).wall);
    let link = world.stranger(9, stranger.instance);
    world.say(9, link, super::instances::hello(&stranger));
    world.say(9, link, Message::Ask(Ask { id: 3, key: AskKey::NodeId(id(1)), errand: None }));
    let answer = world.heard(9, link).into_iter().find_map(|m| match m {
        Message::Answer(answer) => Some(answer.clone()),
        _ => None,
    });
    assert_eq!(answer.map(|a| (a.id, a.records.len())), Some((3, 1)));
    world.say(9, link, Message::Watch(vec![id(1)]));
    world.log.clear();
    world.kill(1);
    world.start(1, member(1, 2));
    world.run_for(millis(100));
    assert!(world.heard(9, link).iter().any(|m| matches!(m, Message::Records(_))));
}

#[test]
fn what_is_missing_is_named_at_once() {
    let mut world = World::friends();
    world.kill(1);
    world.kill(2);
    let disk = world.disks.get_mut(&1).unwrap();
    disk.records.clear();
    disk.last_addresses.clear();
    world.start(1, settings(1, 2));
    world.run_for(millis(100));
    let started = world.now;
    let failed = world.command(1, ping(2));
    let Err(Failure::NoRoute { missing, .. }) = failed else { panic!("{failed:?}") };
    assert!(missing.contains("no relay is configured"), "{missing}");
    assert!(world.now.since(started) < millis(300));
}

#[test]
fn an_offline_friend_is_reported_with_what_was_tried() {
    let mut world = World::friends();
    world.kill(2);
    world.run_for(secs(3));
    let started = world.now;
    let failed = world.command(1, ping(2));
    let Err(Failure::Offline { tried, last_seen, .. }) = failed else { panic!("{failed:?}") };
    assert!(!tried.is_empty() && last_seen.is_some());
    assert!(world.now.since(started) < millis(1_950));
}

#[test]
fn nobody_pings_a_stranger_or_themselves() {
    let mut world = World::pair();
    assert!(matches!(
        world.command(1, ping(2)),
        Err(Failure::NotTrusted { state: TrustState::None, .. })
    ));
    assert_eq!(world.command(1, ping(1)).unwrap_err(), Failure::Myself);
}

#[test]
fn a_ping_in_the_middle_of_a_move_is_answered() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.run_for(secs(4));
    world.kill(1);
    let request = world.begin(2, ping(1));
    world.run_for(secs(1));
    world.start(1, member(1, 2));
    world.run_for(secs(1));
    assert!(
        matches!(world.replies[&request], Ok(Answer::Pinged { .. })),
        "{:?}",
        world.replies[&request]
    );
}
