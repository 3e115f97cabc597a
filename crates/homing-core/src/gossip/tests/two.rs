//! Two and three honest nodes.

use super::*;

#[test]
fn a_record_travels_on_and_its_hops_are_counted() {
    let mut room = Room::of(vec![node(1), node(2), node(3)]);
    room.link(1, 2);
    room.link(2, 3);
    room.publish(1, record(7, 0));
    room.run(1);
    let hops = |room: &mut Room, n| room.node(n).table().entry(&id(7)).map(|e| e.hops);
    assert_eq!([1, 2, 3].map(|n| hops(&mut room, n)), [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_new_link_reconciles_both_sides_at_once() {
    let mut room = Room::of(vec![node(1), node(2)]);
    (0..300).for_each(|n| room.publish(1, record(100 + n, 0)));
    (0..200).for_each(|n| room.publish(2, record(350 + n, 0)));
    room.link(1, 2);
    room.run(3);
    assert_eq!((room.node(1).table().len(), room.node(2).table().len()), (450, 450));
    assert_eq!(room.node(1).stats().timed_rounds + room.node(2).stats().timed_rounds, 0);
}

#[test]
fn one_difference_among_thousands_is_found_cheaply() {
    let mut room = Room::of(vec![node(1), node(2)]);
    let common: Vec<Record> = (0..2_000).map(|n| record(100 + n, 0)).collect();
    for n in [1, 2] {
        let values = common.iter().map(|r| (r.clone(), false));
        room.node(n).restore(at(0), values);
    }
    room.node(1).restore(at(0), [(record(50, 0), false)]);
    room.link(1, 2);
    room.run(5);
    assert_eq!(held(room.node(2), 50), Some(record(50, 0)));
    assert!(room.bytes < 5_000, "{} bytes", room.bytes);
}

#[test]
fn nothing_new_costs_one_small_message_each_way() {
    let mut room = Room::of(vec![node(1), node(2)]);
    (0..50).for_each(|n| room.publish(1, record(100 + n, 0)));
    room.link(1, 2);
    room.run(60);
    room.bytes = 0;
    room.run(300);
    // Both begin one comparison in 30 seconds.
    assert!(room.bytes > 0 && room.bytes < 10 * 2 * 100, "{} bytes", room.bytes);
}

#[test]
fn a_tombstone_replaces_and_the_dead_do_not_return() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    let alive = record(7, 0);
    says(&mut node, 2, push(std::slice::from_ref(&alive)), at(1));
    // It ends before what it withdraws would have.
    let gone = signed(7, 10, HOUR, |r| r.withdrawn = Some(true));
    says(&mut node, 2, push(std::slice::from_ref(&gone)), at(11));
    assert_eq!(held(&node, 7), Some(gone));
    node.handle(at(2 * HOUR), GossipInput::Wakeup);
    assert_eq!(held(&node, 7), None);
    says(&mut node, 2, push(&[alive]), at(2 * HOUR));
    assert_eq!((held(&node, 7), node.stats().stale), (None, 1));
}

#[test]
fn nothing_outlives_its_origins_word_whoever_forwards_it() {
    let mut room = Room::of(vec![node(1), node(2)]);
    room.publish(1, signed(7, 0, 120, |_| {}));
    room.link(1, 2);
    room.run(10);
    assert!(held(room.node(2), 7).is_some());
    room.run(120);
    for n in [1, 2] {
        let now = room.now;
        assert!(room.node(n).table().current(now, &id(7)).is_none());
    }
    room.run(60);
    assert_eq!((held(room.node(1), 7), held(room.node(2), 7)), (None, None));
}

#[test]
fn two_words_with_one_sequence_are_reported_once_and_the_smaller_hash_is_served() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    let one = record(7, 0);
    let other = signed(7, 0, 24 * HOUR, |r| r.tags = vec!["else".into()]);
    let mut outputs = says(&mut node, 2, push(std::slice::from_ref(&one)), at(1));
    outputs.extend(says(&mut node, 2, push(std::slice::from_ref(&other)), at(2)));
    outputs.extend(says(&mut node, 2, push(&[one.clone(), other.clone()]), at(3)));
    let winner = if one.digest() < other.digest() { one } else { other };
    let reports: Vec<_> = outputs
        .iter()
        .filter_map(|o| match o {
            GossipOutput::Equivocation { kept, .. } => Some(kept.clone()),
            _ => None,
        })
        .collect();
    assert_eq!((reports, held(&node, 7)), (vec![winner.clone()], Some(winner)));
}

#[test]
fn what_is_taken_is_persisted_before_it_is_passed_on() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    up(&mut node, 3, at(0));
    drain(&mut node);
    let outputs = says(&mut node, 2, push(&[record(7, 0)]), at(1));
    let persisted = outputs.iter().position(|o| matches!(o, GossipOutput::Persist { .. }));
    let is_push = |o: &GossipOutput<Record>| {
        matches!(o, GossipOutput::Send { message: Message::Push(_), .. })
    };
    let passed_on = outputs.iter().position(is_push);
    assert!(persisted.is_some() && persisted < passed_on, "{outputs:?}");
}

#[test]
fn a_link_over_which_records_come_twice_is_pruned() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    up(&mut node, 3, at(0));
    says(&mut node, 2, push(&[record(7, 0)]), at(1));
    // Not at once everywhere: each repetition is one draw.
    let pruned = (1..200).find(|second| {
        let outputs = says(&mut node, 3, push(&[record(7, 0)]), at(*second));
        sent(&outputs).contains(&(id(3), Message::Prune))
    });
    assert!(pruned.is_some(), "the same record came two hundred times");
    let eager: Vec<NodeId> = node.peers().filter(|(_, e)| *e).map(|(p, _)| *p).collect();
    assert_eq!(eager, [id(2)]);
}

#[test]
fn names_and_addresses_lead_to_records() {
    let mut node = node(1);
    let named = |n: u16| signed(n, 0, HOUR, |r| r.name = Some("planner".parse().expect("a name")));
    for n in [7, 8] {
        node.handle(at(0), GossipInput::Publish(named(n)));
    }
    let name = "planner".parse().expect("a name");
    let mut both = vec![id(7), id(8)];
    both.sort_unstable();
    assert_eq!(node.table().claimants(at(1), &name), both);
    assert_eq!(node.table().by_address(&homing_base::Address::of(&id(7))), Some(id(7)));
    assert!(node.table().claimants(at(2 * HOUR), &name).is_empty());
}
