//! The DHT in an agent: found without a common neighbour, silent when it is off, out of everybody's way.

use super::world::*;
use crate::dht::{Body, Message as DhtMessage, wire};
use crate::io::*;
use crate::message::{ByeReason, Message};

fn dht(n: u8, run: u64) -> Settings {
    Settings { dht: Some(DhtSettings::default()), ..settings(n, run) }
}

fn hint(n: u8) -> PeerHint {
    PeerHint::At { peer: Some(PeerRef::NodeId(id(n))), direct: vec![addr(n)] }
}

/// Nodes of which each knows the one before, and nobody a relay.
fn chain(world: &mut World, members: &[u8]) {
    for (i, n) in members.iter().enumerate() {
        let peers = i.checked_sub(1).map(|before| hint(members[before])).into_iter().collect();
        world.start(*n, Settings { peers, ..dht(*n, 1) });
        world.run_for(millis(200));
    }
}

fn resolve(peer: PeerRef) -> Command {
    Command::Resolve { peer, timeout: secs(6) }
}

fn resolved(world: &mut World, n: u8, peer: PeerRef) -> Resolution {
    match world.command(n, resolve(peer.clone())) {
        Ok(Answer::Resolved(found)) => *found,
        other => panic!("{n} did not find {peer}: {other:?}"),
    }
}

fn dht_messages(world: &World) -> usize {
    let is_dht = |o: &Output| matches!(o, Output::Send { message: Message::Dht(_), .. });
    world.log.iter().filter(|(_, output)| is_dht(output)).count()
}

/// Someone who only asks, and came in through `through`.
fn client(world: &mut World, n: u8, through: u8) {
    let asks = DhtSettings { role: DhtRole::Client, ..DhtSettings::default() };
    world.start(n, Settings { dht: Some(asks), peers: vec![hint(through)], ..settings(n, 1) });
}

#[test]
fn whoever_no_neighbour_knows_is_found_by_id_address_and_name() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4, 5]);
    for (n, through) in [(10, 1), (11, 5), (12, 4), (13, 3)] {
        client(&mut world, n, through);
    }
    world.run_for(secs(10));
    let found = resolved(&mut world, 10, PeerRef::NodeId(id(11)));
    assert_eq!((found.record.node_id(), found.layer), (id(11), Layer::Dht), "{found:?}");
    assert!(found.replicas.is_some_and(|n| n > 0));
    let asked: Vec<Layer> = found.spent.iter().map(|(layer, _)| *layer).collect();
    assert_eq!(asked, [Layer::Local, Layer::Neighbours, Layer::Dht]);
    let address = homing_base::Address::of(&id(12));
    let found = resolved(&mut world, 10, PeerRef::Address(address));
    assert_eq!((found.record.node_id(), found.layer), (id(12), Layer::Dht));
    let found = resolved(&mut world, 10, name("agent-13"));
    assert_eq!((found.record.node_id(), found.layer), (id(13), Layer::Dht));
    // Now the earlier layer knows.
    let again = resolved(&mut world, 10, PeerRef::NodeId(id(11)));
    assert_eq!(again.layer, Layer::Local);
}

#[test]
fn what_nobody_knows_is_not_found_in_a_few_seconds() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4, 5]);
    world.run_for(secs(5));
    let before = world.now;
    let missing = world.command(1, resolve(PeerRef::NodeId(id(77))));
    assert!(matches!(missing, Err(Failure::NotFound { .. })), "{missing:?}");
    assert!(world.now.since(before) < secs(5));
}

#[test]
fn without_a_dht_nothing_is_said_about_it() {
    let mut world = World::new();
    for n in 1..=4 {
        let peers = (1..n).map(hint).collect();
        world.start(n, Settings { peers, ..settings(n, 1) });
    }
    // One of them has it, and finds nobody to ask.
    world.start(5, Settings { peers: vec![hint(1)], ..dht(5, 1) });
    world.run_for(secs(30));
    assert_eq!(dht_messages(&world), 0);
    let hellos = world.log.iter().filter_map(|(n, output)| match output {
        Output::Send { message: Message::Hello(hello), .. } if *n != 5 => Some(hello),
        _ => None,
    });
    assert!(hellos.into_iter().all(|hello| hello.dht.is_none() && hello.brief.is_none()));
    assert!(world.agent(1).dht_view(world.clock(1)).is_none());
    let key = DhtKey::NodeId(id(2));
    let asked = world.command(1, Command::DhtLookup { key, timeout: secs(1) });
    assert!(matches!(asked, Err(Failure::Disabled { .. })), "{asked:?}");
    // Whoever asks it all the same gets no answer.
    let record = super::instances::record(9, 1, 1, homing_base::Wall(WALL + 30_000));
    let link = world.stranger(1, instance(9, 1, 1));
    world.say(1, link, super::instances::hello(&record));
    world.say(1, link, ping_message(7));
    assert_eq!(dht_messages(&world), 0);
    assert_eq!(world.agent(1).counters().dht_ignored, 1);
}

fn ping_message(id: u32) -> Message {
    Message::Dht(wire::encode(&DhtMessage { id, server: true, body: Body::Ping }))
}

#[test]
fn links_for_the_dht_only_are_shown_to_nobody_and_closed_when_silent() {
    let mut world = World::new();
    let members: Vec<u8> = (1..=10).collect();
    chain(&mut world, &members);
    world.run_for(secs(20));
    let brief = world.agent(1).dht_view(world.clock(1)).unwrap().links;
    assert!(brief > 0, "ten nodes need more links than those of the chain");
    // Only the chain's own links are anybody's business.
    let shown: Vec<_> = world.agent(1).peers(world.clock(1));
    let connected = shown.iter().filter(|view| !view.links.is_empty()).count();
    assert_eq!(connected, 1, "{shown:?}");
    let events = world.events(1);
    let met = events.iter().filter(|e| matches!(e, Event::PeerConnected { .. })).count();
    assert_eq!(met, 1, "{events:?}");
    // In ten minutes of upkeep no link is probed but the lasting one, and most are closed.
    world.log.clear();
    world.run_for(secs(600));
    let probes: Vec<_> = world
        .log
        .iter()
        .filter(|(n, o)| *n == 1 && matches!(o, Output::Send { message: Message::Ping(_), .. }))
        .collect();
    let per_second = probes.len() as f64 / 600.0;
    assert!(per_second < 3.0, "{per_second} probes per second on one lasting link");
}

#[test]
fn a_restart_finds_the_network_with_its_way_in_gone() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4, 5, 6]);
    world.run_for(secs(700));
    assert!(!world.disks[&6].dht_contacts.is_empty(), "contacts are stored");
    world.kill(6);
    world.kill(5);
    // No hint this time.
    world.start(6, dht(6, 2));
    world.run_for(secs(15));
    let found = resolved(&mut world, 6, PeerRef::NodeId(id(1)));
    assert_eq!(found.record.node_id(), id(1));
    let found = resolved(&mut world, 2, PeerRef::NodeId(id(6)));
    assert_eq!(found.record.instance, instance(6, 2, 1), "the others find its new run");
}

#[test]
fn the_first_of_a_network_remembers_who_came_later() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4, 5, 6]);
    // Long before contacts are stored by the clock.
    world.run_for(secs(20));
    world.kill(1);
    world.kill(2);
    world.start(1, dht(1, 2));
    world.run_for(secs(15));
    let found = resolved(&mut world, 1, PeerRef::NodeId(id(6)));
    assert_eq!(found.record.node_id(), id(6));
}

#[test]
fn whoever_is_alone_asks_again_those_it_could_not_reach() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4, 5, 6]);
    world.run_for(secs(20));
    world.kill(6);
    // Nobody answers its first calls in time.
    world.dark.extend([1, 2, 3, 4, 5]);
    world.start(6, dht(6, 2));
    world.run_for(secs(4));
    let joined = |world: &World| world.agent(6).dht_view(world.clock(6)).is_some_and(|v| v.joined);
    assert!(!joined(&world), "nobody answered");
    world.dark.clear();
    world.run_for(secs(8));
    assert!(joined(&world), "its contacts are there again");
}

#[test]
fn two_islands_that_meet_see_each_other() {
    let mut world = World::new();
    let (west, east): (Vec<u8>, Vec<u8>) = ((1..=8).collect(), (11..=18).collect());
    chain(&mut world, &west);
    chain(&mut world, &east);
    world.run_for(secs(120));
    let missing = world.command(2, resolve(PeerRef::NodeId(id(17))));
    assert!(matches!(missing, Err(Failure::NotFound { .. })), "two islands: {missing:?}");
    let added = world.command(4, Command::AddPeer(hint(14)));
    assert!(added.is_ok());
    world.run_for(secs(55));
    for (from, to) in [(2, 17), (18, 1), (5, 12)] {
        let found = resolved(&mut world, from, PeerRef::NodeId(id(to)));
        assert_eq!(found.record.node_id(), id(to));
    }
}

#[test]
fn a_birth_makes_nobody_else_search() {
    let mut world = World::new();
    let old: Vec<u8> = (1..=12).collect();
    chain(&mut world, &old);
    world.run_for(secs(120));
    world.log.clear();
    world.start(13, Settings { peers: vec![hint(1)], ..dht(13, 1) });
    world.run_for(secs(30));
    let asks_for_itself = |node: u8, bytes: &[u8]| {
        wire::decode(bytes).is_ok_and(
            |m| matches!(m.body, Body::FindNode { target } if target == id(node) && node != 13),
        )
    };
    let sent = world.log.iter().filter(|(node, output)| {
        matches!(output, Output::Send { message: Message::Dht(b), .. } if asks_for_itself(*node, b))
    });
    let searches = sent.count();
    assert!((1..=2 * old.len()).contains(&searches), "{searches} questions for twelve nodes");
    let found = resolved(&mut world, 2, PeerRef::NodeId(id(13)));
    assert_eq!(found.record.node_id(), id(13));
}

#[test]
fn a_contact_that_restarts_has_its_new_place_in_the_table() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4]);
    world.run_for(secs(10));
    world.kill(3);
    world.start(3, Settings { peers: vec![hint(2)], ..dht(3, 2) });
    world.run_for(secs(10));
    let view = world.agent(2).dht_view(world.clock(2)).unwrap();
    let entry = view.contacts.iter().find(|c| c.contact.id == id(3)).expect("it is known");
    assert_eq!(entry.contact.place.instance, instance(3, 2, 1));
}

#[test]
fn a_goodbye_is_said_to_the_siblings_before_the_links_close() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3]);
    world.run_for(secs(5));
    world.log.clear();
    world.command(2, Command::Stop).unwrap();
    let is_leaving = |bytes: &[u8]| {
        wire::decode(bytes).is_ok_and(|message| matches!(message.body, Body::Leaving))
    };
    let mine = world.log.iter().filter(|(n, _)| *n == 2).map(|(_, output)| output);
    let told = mine
        .clone()
        .position(|o| matches!(o, Output::Send { message: Message::Dht(b), .. } if is_leaving(b)));
    let closed = mine
        .clone()
        .position(|o| matches!(o, Output::Send { message: Message::Bye(ByeReason::Stopping), .. }));
    assert!(told.expect("it says goodbye") < closed.expect("it closes its links"));
}

#[test]
fn a_lookup_shows_its_steps() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4, 5, 6]);
    world.run_for(secs(10));
    let key = DhtKey::Target(id(99));
    let asked = world.command(1, Command::DhtLookup { key, timeout: secs(5) });
    let Ok(Answer::DhtLookup(found)) = asked else { panic!("{asked:?}") };
    assert_eq!(found.nodes.len(), 5, "{found:?}");
    assert!(found.requests >= 5 && found.steps.len() >= 5, "{found:?}");
    let key = DhtKey::Name("agent-4".parse().unwrap());
    let asked = world.command(1, Command::DhtLookup { key, timeout: secs(5) });
    let Ok(Answer::DhtLookup(found)) = asked else { panic!("{asked:?}") };
    assert_eq!(found.values.iter().map(|r| r.node_id()).collect::<Vec<_>>(), [id(4)]);
}

#[test]
fn a_flood_of_dht_messages_takes_nothing_from_the_link() {
    let mut world = World::new();
    world.start(1, dht(1, 1));
    world.run_for(millis(100));
    let record = super::instances::record(9, 1, 1, world.clock(9).wall);
    let link = world.stranger(1, instance(9, 1, 1));
    let Message::Hello(hello) = super::instances::hello(&record) else { unreachable!() };
    world.say(1, link, Message::Hello(crate::message::Hello { dht: Some(false), ..hello }));
    for n in 0..1_000 {
        world.say(1, link, ping_message(n));
    }
    assert_eq!(world.was_closed(1, link), None);
    assert!(world.agent(1).counters().dht_shed > 0);
    world.say(1, link, Message::Ping(5));
    assert!(world.heard(1, link).iter().any(|m| matches!(m, Message::Pong(5))));
}

#[test]
fn relayed_nodes_serve_while_there_are_too_few_others() {
    let mut world = World::new();
    let relayed = |n, dht| Settings { dht: Some(dht), ..member(n, 1) };
    let open = DhtSettings::default();
    world.start(
        9,
        Settings { public: true, dht: Some(open), relays: vec![relay(9)], ..settings(9, 1) },
    );
    world.run_for(millis(100));
    world.start(1, relayed(1, open));
    world.start(2, relayed(2, open));
    world.start(3, relayed(3, DhtSettings { role: DhtRole::Client, ..open }));
    // Two nodes with addresses are enough when k is 2.
    let few = DhtSettings { k: 2, alpha: 2, ..open };
    world.start(
        4,
        Settings {
            dht: Some(few),
            relays: vec![],
            public: true,
            peers: vec![hint(9)],
            ..settings(4, 1)
        },
    );
    world.start(5, relayed(5, few));
    world.run_for(secs(180));
    let serves = |n| world.agent(n).dht_view(world.clock(n)).unwrap().serving;
    assert_eq!([9, 1, 2, 3, 4, 5].map(serves), [true, true, true, false, true, false]);
    let found = resolved(&mut world, 3, PeerRef::NodeId(id(1)));
    assert_eq!(found.record.node_id(), id(1));
}

#[test]
fn whoever_hides_its_address_finds_and_is_found_through_its_relay() {
    let mut world = World::new();
    let few = DhtSettings { k: 2, alpha: 2, ..DhtSettings::default() };
    let with = |settings: Settings| Settings { dht: Some(few), ..settings };
    for n in 1..=4 {
        let peers = if n > 1 { vec![hint(n - 1)] } else { Vec::new() };
        world.start(n, with(Settings { peers, ..settings(n, 1) }));
    }
    let serves = Settings { public: true, relays: vec![relay(9)], ..settings(9, 1) };
    let serves = with(Settings { peers: vec![hint(1)], ..serves });
    world.start(9, serves.clone());
    world.run_for(secs(5));
    world.start(20, with(member(20, 1)));
    let asks = DhtSettings { role: DhtRole::Client, ..few };
    let open = Settings { dht: Some(asks), peers: vec![hint(2)], ..settings(10, 1) };
    world.start(10, open.clone());
    world.start(11, Settings { instance: instance(11, 1, 1), main: instance(11, 1, 1), ..open });
    world.run_for(secs(70));
    // One who is gone, and a relay that has never heard of it.
    world.kill(11);
    world.kill(9);
    world.disks.remove(&9);
    let again = instance(9, 2, 1);
    world.start(9, Settings { instance: again, main: again, ..serves });
    world.run_for(secs(10));
    let found = resolved(&mut world, 20, PeerRef::NodeId(id(11)));
    assert_eq!((found.record.node_id(), found.layer), (id(11), Layer::Dht), "{found:?}");
    assert_eq!(found.from, Some(id(9)), "the relay asked for it");
    let found = resolved(&mut world, 10, PeerRef::NodeId(id(20)));
    assert_eq!((found.record.node_id(), found.layer), (id(20), Layer::Dht), "{found:?}");
    let shows_itself = |output: &Output| match output {
        Output::Dial { target: DialTarget::Endpoint { from, .. }, .. } => *from == Door::Main,
        Output::Dial { target: DialTarget::Sockets { .. }, .. } => true,
        _ => false,
    };
    let shown: Vec<_> = world.log.iter().filter(|(n, o)| *n == 20 && shows_itself(o)).collect();
    assert!(shown.is_empty(), "{shown:?}");
}

#[test]
fn a_lookup_that_takes_too_long_is_answered_once() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3]);
    world.run_for(secs(5));
    let key = DhtKey::Target(id(99));
    let asked = world.command(1, Command::DhtLookup { key, timeout: millis(1) });
    assert!(matches!(asked, Err(Failure::Timeout { .. })), "{asked:?}");
    // The network's answer comes now; the world refuses a second reply.
    world.run_for(secs(10));
}

#[test]
fn another_identity_at_a_contacts_place_is_not_that_contact() {
    let mut world = World::new();
    chain(&mut world, &[1, 2, 3, 4]);
    world.run_for(secs(90));
    let place = instance(4, 1, 1);
    world.kill(4);
    world.start(30, Settings { instance: place, main: place, ..dht(30, 1) });
    world.run_for(secs(5));
    let key = DhtKey::Target(id(4));
    let asked = world.command(1, Command::DhtLookup { key, timeout: secs(10) });
    let Ok(Answer::DhtLookup(found)) = asked else { panic!("{asked:?}") };
    assert!(!found.nodes.contains(&id(4)), "{found:?}");
    assert!(world.agent(1).counters().dht_undelivered > 0, "it was dialled and refused");
}
