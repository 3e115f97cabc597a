//! One identity: its record, its moves, its two instances, its clock.

use super::world::*;
use crate::io::*;
use crate::message::{ByeReason, Hello, Message};
use homing_base::{AgentRecord, Record, Seq, Wall};

pub(super) fn record(n: u8, run: u64, sequence: u64, issued: Wall) -> Record {
    AgentRecord::new(key(n).public(), instance(n, run, 1), Seq(sequence), issued)
        .sign(&key(n))
        .unwrap()
}

pub(super) fn hello(record: &Record) -> Message {
    Message::Hello(Hello {
        version: 1,
        record: record.bytes().to_vec(),
        proof: None,
        public: None,
        software: None,
        dht: None,
        brief: None,
    })
}

#[test]
fn the_own_record_is_durable_before_anybody_sees_it() {
    let mut world = World::new();
    let link = {
        world.start(1, settings(1, 1));
        world.stranger(1, instance(5, 1, 1))
    };
    let own = world.agent(1).own_record().unwrap().clone();
    let outputs: Vec<&Output> = world.log.iter().map(|(_, o)| o).collect();
    let persisted = outputs
        .iter()
        .position(|o| matches!(o, Output::Persist(b) if b == &[Write::OwnRecord(own.clone())]));
    let shown =
        outputs.iter().position(|o| matches!(o, Output::Send { message: Message::Hello(_), .. }));
    assert!(persisted.unwrap() < shown.unwrap());
    assert_eq!(world.heard(1, link).len(), 1);
}

#[test]
fn a_restart_outranks_the_run_before_even_with_its_clock_set_back() {
    let mut world = World::new();
    world.start(1, settings(1, 1));
    let first = world.agent(1).own_record().unwrap().sequence;
    world.kill(1);
    world.skew.insert(1, -3_600_000);
    world.start(1, settings(1, 2));
    assert_eq!(world.agent(1).own_record().unwrap().sequence, Seq(first.0 + 1));
}

#[test]
fn a_lost_store_and_a_clock_set_back_heal_within_the_grace() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    let before = world.agent(1).own_record().unwrap().sequence;
    world.kill(1);
    world.disks.remove(&1);
    world.skew.insert(1, -300_000);
    world.start(1, member(1, 2));
    world.run_for(secs(3));
    assert!(world.agent(1).own_record().unwrap().sequence > before);
    assert_eq!(world.agent(1).superseded_by(), None);
    assert!(matches!(world.command(2, ping(1)), Ok(Answer::Pinged { .. })));
}

#[test]
fn a_peer_follows_eleven_moves_without_being_told() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    for run in 2..13 {
        world.run_for(secs(5));
        world.kill(1);
        world.run_for(millis(300));
        world.disks.remove(&1);
        world.start(1, member(1, run));
        let started = world.now;
        let pinged = world.command(2, ping(1));
        let took = world.now.since(started);
        assert!(matches!(pinged, Ok(Answer::Pinged { .. })), "move {run}: {pinged:?}");
        assert!(took < millis(500), "move {run} took {took:?}");
        assert_eq!(world.state(2, 1), TrustState::Mutual);
    }
}

#[test]
fn a_silent_death_is_noticed_in_two_seconds_and_the_return_at_once() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.run_for(secs(4));
    world.dark.insert(1);
    world.run_for(millis(2_200));
    assert_eq!(world.links(2, 1), 0);
    world.kill(1);
    world.dark.clear();
    let ended =
        |world: &World| world.log.iter().any(|(n, o)| *n == 2 && matches!(o, Output::Expel { .. }));
    assert!(!ended(&world), "a cable may be repaired");
    world.start(1, member(1, 2));
    world.run_for(millis(300));
    assert!(world.links(2, 1) > 0);
    assert!(ended(&world), "streams of the dead run do not wait");
}

#[test]
fn two_instances_settle_on_one_and_the_other_never_fights_back() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.run_for(secs(20));
    // The same key on another host, which the world knows as node 3.
    let taken = world.agent(1).own_record().unwrap().sequence;
    let newer = record(1, 7, taken.0 + 1_000_000, world.clock(1).wall);
    let link = world.stranger(1, newer.instance);
    world.say(1, link, hello(&newer));
    assert_eq!(world.agent(1).superseded_by(), Some(newer.instance));
    let told = |e: &&Event| matches!(e, Event::Superseded { .. });
    assert_eq!(world.events(1).iter().filter(|e| told(e)).count(), 1);
    world.log.clear();
    world.run_for(secs(120));
    let fights = world.log.iter().any(|(n, o)| {
        *n == 1 && matches!(o, Output::Dial { .. } | Output::Notify(Event::Published { .. }))
    });
    assert!(!fights);
    assert!(matches!(
        world.command(1, ping(2)),
        Err(Failure::NotTrusted { .. } | Failure::Superseded { .. })
    ));
    assert_eq!(world.links(1, 2), 0);
}

#[test]
fn early_in_a_run_a_higher_sequence_is_outbid_but_only_twice() {
    let mut world = World::new();
    world.start(1, settings(1, 1));
    for round in 0..3_u64 {
        let own = world.agent(1).own_record().unwrap().sequence;
        let other = record(1, 50 + round, own.0 + 5, world.clock(1).wall);
        let link = world.stranger(1, other.instance);
        world.say(1, link, hello(&other));
        let by = world.agent(1).superseded_by();
        if round < 2 {
            assert_eq!(by, None);
            assert_eq!(world.agent(1).own_record().unwrap().sequence, Seq(own.0 + 6));
        } else {
            assert_eq!(by, Some(other.instance));
        }
    }
}

#[test]
fn a_record_that_is_not_right_is_refused_by_name() {
    let mut world = World::new();
    world.start(1, settings(1, 1));
    let wall = world.clock(1).wall;
    let refused = |world: &mut World, message: Message, remote| {
        let link = world.stranger(1, remote);
        world.say(1, link, message);
        world.was_closed(1, link)
    };
    let ahead = record(5, 1, WALL, Wall(wall.0 + 3_600_000));
    assert_eq!(refused(&mut world, hello(&ahead), ahead.instance), Some(ByeReason::ClockSkew));
    assert!(world.events(1).iter().any(|e| matches!(e, Event::ClockSkew { .. })));
    let quiet = world.events(1).iter().all(|e| !matches!(e, Event::Misbehaviour { .. }));
    let expired = record(5, 1, WALL, Wall(wall.0 - 25 * 3_600_000));
    let gone = refused(&mut world, hello(&expired), expired.instance);
    assert_eq!(gone, Some(ByeReason::RecordRefused));
    assert!(quiet);
    let good = record(5, 1, WALL, wall);
    let stolen = refused(&mut world, hello(&good), instance(6, 1, 1));
    assert_eq!(stolen, Some(ByeReason::RecordRefused));
    let mut forged = good.bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let Message::Hello(mut bad) = hello(&good) else { panic!() };
    bad.record = forged;
    let bad = refused(&mut world, Message::Hello(bad), good.instance);
    assert_eq!(bad, Some(ByeReason::RecordRefused));
    let misdeeds = world.events(1).into_iter().filter(|e| matches!(e, Event::Misbehaviour { .. }));
    assert_eq!(misdeeds.count(), 2);
    assert_eq!(world.agent(1).counters().records_refused["expired"], 1);
    assert_eq!(world.agent(1).counters().records_refused["from_the_future"], 1);
}

#[test]
fn a_refused_clock_is_told_and_does_not_loop() {
    let mut world = World::new();
    world.skew.insert(1, 3_600_000);
    let hint = |n| PeerHint::At { peer: None, direct: vec![addr(n)] };
    world.start(2, settings(2, 1));
    world.start(1, Settings { peers: vec![hint(2)], ..settings(1, 1) });
    world.run_for(secs(60));
    assert!(world.events(1).iter().any(|e| matches!(e, Event::ClockSkew { .. })));
    assert!(world.agent(1).counters().dials < 20, "{}", world.agent(1).counters().dials);
    // The clock is set right: the next record is believed.
    world.skew.insert(1, 0);
    world.run_for(secs(40));
    assert!(world.links(1, 2) > 0);
}

#[test]
fn one_sequence_with_two_contents_is_kept_as_evidence() {
    let mut world = World::pair();
    let known = world.view(1, 2).unwrap().record.unwrap();
    let mut other = (*known).clone();
    other.tags = vec!["twin".into()];
    let other = other.sign(&key(2)).unwrap();
    let link = world.view(1, 2).unwrap().links[0].link;
    for _ in 0..2 {
        world.say(1, link, Message::Records(vec![other.bytes().to_vec().into()]));
    }
    let evidence = world.log.iter().filter(|(n, o)| {
        *n == 1 && matches!(o, Output::Persist(b) if matches!(b[0], Write::Evidence { .. }))
    });
    assert_eq!(evidence.count(), 1);
    let served = world.view(1, 2).unwrap().record.unwrap();
    assert_eq!(served.digest(), known.digest().min(other.digest()));
}

#[test]
fn a_takeover_stays_silent_until_it_answers() {
    let mut world = World::new();
    world.nodes.clear();
    let mut waiting = Settings { takeover: true, ..settings(1, 1) };
    waiting.takeover = true;
    world.start(1, waiting);
    assert!(world.agent(1).own_record().is_some(), "online from the start");
    let mut agent = crate::Agent::new(
        Settings { takeover: true, ..settings(1, 2) },
        key(1),
        Stored::default(),
        [0; 32],
        world.clock(1),
    );
    let mut facts = EndpointFacts { direct: vec![addr(1)], ..EndpointFacts::default() };
    agent.handle(world.clock(1), Input::Endpoint(Box::new(facts.clone())));
    assert!(agent.own_record().is_none());
    facts.online = true;
    agent.handle(world.clock(1), Input::Endpoint(Box::new(facts)));
    assert!(agent.own_record().is_some());
}

/// Agent 1, which 2 trusts, is gone and has nothing left but its key.
fn lost_store() -> World {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.kill(1);
    world.disks.remove(&1);
    world.run_for(secs(3));
    world
}

fn draft() -> Draft {
    let lifetime = secs(60);
    Draft { kind: MessageKind::Text, body: b"hello".to_vec(), source: None, lifetime }
}

#[test]
fn who_lost_its_store_hears_again_whom_it_trusts_before_a_command_fails() {
    let timeout = millis(1_900);
    for peer in [PeerRef::NodeId(id(2)), name("agent-2")] {
        for after in (0..40).chain([50, 75, 100, 200, 500]) {
            let mut world = lost_store();
            world.start(1, member(1, 2));
            world.run_for(millis(after));
            let service = "web".parse().unwrap();
            let commands = [
                Command::Ping { peer: peer.clone(), timeout },
                Command::Connect { peer: peer.clone(), service, timeout },
                Command::Send { peer: peer.clone(), draft: draft() },
            ];
            let requests = commands.map(|command| world.begin(1, command));
            world.run_for(millis(200));
            for request in requests {
                let answer = world.replies.get(&request);
                assert!(matches!(answer, Some(Ok(_))), "after {after} ms: {answer:?}");
            }
        }
    }
}

#[test]
fn a_new_agent_is_told_soon_that_nobody_trusts_it() {
    let mut world = World::fleet(&[2]);
    world.start(1, member(1, 1));
    let asked = world.now;
    let connect = |timeout| {
        let service = "web".parse().unwrap();
        Command::Connect { peer: PeerRef::NodeId(id(2)), service, timeout }
    };
    let none = |answer: &Result<Answer, Failure>| {
        matches!(answer, Err(Failure::NotTrusted { state: TrustState::None, .. }))
    };
    let hasty = world.command(1, connect(millis(300)));
    assert!(none(&hasty) && world.now.since(asked) < millis(400), "{hasty:?}");
    let first = world.command(1, connect(secs(10)));
    assert!(none(&first) && world.now.since(asked) < millis(2_100), "{first:?}");
    let again = world.now;
    assert!(none(&world.command(1, connect(secs(10)))) && world.now.since(again) < millis(50));
}
