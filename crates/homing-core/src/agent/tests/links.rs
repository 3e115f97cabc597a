//! Links: proven, duplicate, silent, too fast, upgraded; and where they may not lead.

use super::instances::{hello, record};
use super::world::*;
use crate::io::*;
use crate::limits::{LINKS_UNPROVEN_MAX, MESSAGES_BURST};
use crate::message::{ByeReason, Message};
use homing_base::Service;

#[test]
fn crossing_dials_end_in_one_link_on_both_sides() {
    let mut world = World::pair();
    world.run_for(secs(1));
    assert_eq!((world.links(1, 2), world.links(2, 1)), (1, 1));
    world.run_for(secs(60));
    assert_eq!((world.links(1, 2), world.links(2, 1)), (1, 1));
}

#[test]
fn friends_behind_relays_end_up_with_one_link_between_their_main_doors() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.run_for(secs(3));
    let view = world.view(1, 2).unwrap();
    assert_eq!(view.links.len(), 1);
    assert_eq!(view.links[0].door, Door::Main);
    assert_eq!(view.links[0].endpoint, world.nodes[&2].settings.main);
    assert!(view.network.is_some());
    let dials = world.agent(1).counters().dials + world.agent(2).counters().dials;
    world.run_for(secs(120));
    assert_eq!(world.agent(1).counters().dials + world.agent(2).counters().dials, dials);
}

#[test]
fn a_stream_has_a_target_and_a_permission_as_soon_as_the_main_door_stands() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    let service: Service = "8080".parse().unwrap();
    let peer = PeerRef::NodeId(id(2));
    let connect = Command::Connect { peer, service: service.clone(), timeout: secs(2) };
    let Ok(Answer::Connected { target, .. }) = world.command(1, connect) else { panic!() };
    let main = world.nodes[&2].settings.main;
    assert!(
        matches!(target, DialTarget::Endpoint { endpoint, from: Door::Main, .. } if endpoint == main)
    );
    let endpoint = world.nodes[&1].settings.main;
    let may = world.command(2, Command::Authorize { endpoint, service: service.clone() });
    assert!(matches!(may, Ok(Answer::Authorized { .. })));
    world.command(2, revoke(1)).unwrap();
    let may = world.command(2, Command::Authorize { endpoint, service });
    assert!(may.is_err());
}

#[test]
fn a_stranger_behind_a_relay_learns_no_address() {
    let mut world = World::fleet(&[1, 2]);
    world.log.clear();
    world.command(1, handshake(2)).unwrap();
    world.run_for(secs(5));
    assert_eq!(world.state(2, 1), TrustState::Pending);
    for (_, output) in &world.log {
        assert!(!matches!(output, Output::Send { message: Message::Candidates(_), .. }));
        if let Output::Dial { target: DialTarget::Endpoint { from, direct, .. }, .. } = output {
            assert!(*from == Door::Front && direct.is_empty());
        }
    }
    let public = world.agent(1).own_record().unwrap();
    assert!(public.direct.is_empty() && !public.relays.is_empty());
}

#[test]
fn a_link_that_never_says_who_it_is_is_closed_after_five_seconds() {
    let mut world = World::new();
    world.start(1, settings(1, 1));
    let link = world.stranger(1, instance(5, 1, 1));
    world.run_for(millis(4_900));
    assert_eq!(world.was_closed(1, link), None);
    world.run_for(millis(200));
    assert_eq!(world.was_closed(1, link), Some(ByeReason::Protocol));
}

#[test]
fn nothing_before_the_greeting_counts() {
    let mut world = World::pair();
    let link = world.stranger(1, world.nodes[&2].settings.instance);
    world.log.clear();
    world.say(1, link, Message::Echo(1));
    world.say(1, link, Message::Watch(vec![id(2)]));
    assert!(world.heard(1, link).is_empty());
    world.input(1, Input::Garbage { link });
    assert_eq!(world.was_closed(1, link), Some(ByeReason::Protocol));
}

#[test]
fn a_record_greets_only_from_the_instance_it_names() {
    let mut world = World::new();
    world.start(1, settings(1, 1));
    let victim = record(5, 1, WALL, world.clock(1).wall);
    let link = world.stranger(1, instance(6, 1, 1));
    world.say(1, link, hello(&victim));
    assert_eq!(world.was_closed(1, link), Some(ByeReason::RecordRefused));
    let link = world.stranger(1, victim.instance);
    world.say(1, link, hello(&victim));
    assert_eq!(world.was_closed(1, link), None, "its own link");
}

#[test]
fn who_talks_too_fast_is_shed() {
    let mut world = World::new();
    world.start(1, settings(1, 1));
    let stranger = record(5, 1, WALL, world.clock(1).wall);
    let link = world.stranger(1, stranger.instance);
    world.say(1, link, hello(&stranger));
    for n in 0..=MESSAGES_BURST {
        world.say(1, link, Message::Ping(n));
    }
    assert_eq!(world.was_closed(1, link), Some(ByeReason::Overload));
    assert!(world.agent(1).counters().messages_shed > 0);
}

#[test]
fn the_unproven_cannot_crowd_out_the_rest() {
    let mut world = World::friends();
    let mut last = LinkId(0);
    for n in 0..=LINKS_UNPROVEN_MAX {
        last = world.stranger(1, instance(100, n as u64, 1));
    }
    assert_eq!(world.was_closed(1, last), Some(ByeReason::Overload));
    assert!(matches!(world.command(1, ping(2)), Ok(Answer::Pinged { .. })));
}

#[test]
fn after_a_sleep_no_link_is_blamed() {
    let mut world = World::friends();
    world.run_for(secs(5));
    let dead = world.agent(1).counters().links_dead;
    // The machine sleeps for a minute: nobody acts, then everybody wakes at once.
    world.now = world.now.after(secs(60));
    world.run_for(millis(10));
    assert_eq!(world.agent(1).counters().links_dead, dead);
    assert_eq!(world.links(1, 2), 1);
    world.run_for(secs(5));
    assert_eq!(world.links(1, 2), 1);
}

#[test]
fn a_link_that_does_not_move_along_gets_a_twin_before_it_is_given_up() {
    for other in [1, 2] {
        let mut world = World::friends();
        world.run_for(secs(3));
        world.block(1, 2);
        world.log.clear();
        world.command(1, Command::NetworkChanged).unwrap();
        world.run_for(millis(450));
        assert!(world.links(1, 2) > 1, "the old one may still come back");
        assert!(world.command(other, ping(3 - other)).is_ok());
        world.run_for(secs(3));
        assert_eq!((world.links(1, 2), world.links(2, 1)), (1, 1));
        let gone = |event: &&Event| matches!(event, Event::PeerDisconnected { .. });
        assert_eq!(world.events(1).into_iter().chain(world.events(2)).filter(gone).count(), 0);
    }
}

#[test]
fn a_link_that_moves_along_late_survives_its_twin_or_yields_to_it() {
    let mut world = World::friends();
    world.run_for(secs(3));
    world.block(1, 2);
    world.command(1, Command::NetworkChanged).unwrap();
    world.run_for(millis(450));
    world.stuck.clear();
    world.run_for(secs(3));
    assert_eq!((world.links(1, 2), world.links(2, 1)), (1, 1));
    assert!(world.command(1, ping(2)).is_ok());
}

#[test]
fn a_stopped_agent_says_goodbye_and_dials_no_more() {
    let mut world = World::friends();
    world.log.clear();
    world.command(1, Command::Stop).unwrap();
    world.run_for(secs(10));
    let bye =
        |o: &Output| matches!(o, Output::Send { message: Message::Bye(ByeReason::Stopping), .. });
    assert!(world.log.iter().any(|(n, o)| *n == 1 && bye(o)));
    assert!(!world.log.iter().any(|(n, o)| *n == 1 && matches!(o, Output::Dial { .. })));
}

#[test]
fn a_peer_that_is_gone_is_dialled_ever_more_rarely() {
    let mut world = World::friends();
    world.kill(2);
    world.log.clear();
    world.run_for(secs(600));
    let dials = world.log.iter().filter(|(_, o)| matches!(o, Output::Dial { .. })).count();
    assert!((20..200).contains(&dials), "{dials}");
}

#[test]
fn peers_that_know_each_others_last_addresses_meet_without_anybody_else() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    world.run_for(secs(2));
    (1..=2).chain([9]).for_each(|n| world.kill(n));
    world.run_for(secs(1));
    world.start(1, settings(1, 2));
    world.start(2, settings(2, 2));
    world.run_for(secs(2));
    assert!(matches!(world.command(1, ping(2)), Ok(Answer::Pinged { .. })));
}

#[test]
fn back_online_everything_is_tried_at_once() {
    let mut world = World::fleet(&[1, 2]);
    world.shake_hands(1, 2);
    let facts = |online| {
        let relays = vec![relay(9)];
        let direct = vec![addr(1)];
        Input::Endpoint(Box::new(EndpointFacts { relays, direct, online, ..Default::default() }))
    };
    world.dark.extend([2, 9]);
    world.input(1, facts(false));
    world.run_for(secs(120));
    assert_eq!(world.links(1, 2), 0);
    world.dark.clear();
    world.input(1, facts(true));
    world.run_for(millis(500));
    assert!(world.links(1, 2) > 0);
}
