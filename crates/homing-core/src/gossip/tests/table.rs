//! The bounded table and its horizon.

use super::*;
use crate::gossip::table::horizon;
use crate::gossip::value::prefix;

const SMALL: Capacity = Capacity { entries: 100, bytes: 1 << 20 };

fn full(n: u16) -> Node {
    let mut node = with_capacity(n, SMALL);
    node.restore(at(0), (0..500).map(|i| (record(100 + i, 0), false)));
    node
}

#[test]
fn a_full_table_keeps_what_is_near_and_says_how_far_it_sees() {
    let node = full(1);
    let (from, to) = horizon(&id(1), node.table().depth());
    assert!(node.table().len() <= 100 && node.table().len() > 20);
    assert!(node.table().iter_after(None).all(|(id, _)| (from..=to).contains(&prefix(id))));
    let near = (100..600).filter(|n| (from..=to).contains(&prefix(&id(*n)))).count();
    assert_eq!(node.table().len(), near);
}

#[test]
fn the_silent_go_before_the_distant() {
    let mut node = with_capacity(1, SMALL);
    let old = (0..60).map(|n| (signed(100 + n, 0, HOUR, |_| {}), false));
    node.restore(at(0), old);
    node.restore(at(0), (0..60).map(|n| (record(200 + n, 0), false)));
    assert_eq!((node.table().len(), node.table().depth()), (60, 0));
    assert!((200..260).all(|n| held(&node, n).is_some()));
}

#[test]
fn what_was_shed_is_not_fetched_again() {
    let (mut one, mut two) = (full(1), node(2));
    two.restore(at(0), (0..500).map(|i| (record(100 + i, 0), false)));
    let before = one.table().len();
    drain(&mut one);
    let mut room = Room::of(vec![one, two]);
    room.link(1, 2);
    room.run(300);
    let stats = *room.node(1).stats();
    assert_eq!((stats.accepted, stats.behind, room.node(1).table().len()), (0, 0, before));
    assert!(room.bytes < 5_000, "{} bytes", room.bytes);
}

#[test]
fn own_records_stay_whatever_comes() {
    let mut node = with_capacity(1, SMALL);
    for n in 0..150 {
        node.handle(at(0), GossipInput::Publish(record(1_000 + n, 0)));
    }
    node.restore(at(0), (0..500).map(|i| (record(100 + i, 0), false)));
    assert!((1_000..1_150).all(|n| held(&node, n).is_some()));
}

#[test]
fn a_record_beyond_the_horizon_is_passed_on_once_and_not_kept() {
    let mut node = full(1);
    up(&mut node, 2, at(0));
    up(&mut node, 3, at(0));
    drain(&mut node);
    let far = (600..).find(|n| !node.table().covers(prefix(&id(*n)))).expect("half of them");
    let far = record(far, 0);
    let pushed = |outputs: &[GossipOutput<Record>]| {
        sent(outputs).iter().filter(|(_, m)| matches!(m, Message::Push(_))).count()
    };
    let outputs = says(&mut node, 2, push(std::slice::from_ref(&far)), at(1));
    assert_eq!(pushed(&outputs), 1);
    let outputs = says(&mut node, 3, push(std::slice::from_ref(&far)), at(1));
    assert_eq!((pushed(&outputs), node.table().entry(&far.node_id()).is_some()), (0, false));
}

#[test]
fn the_horizon_recedes_when_there_is_room() {
    let mut node = with_capacity(1, SMALL);
    node.restore(at(0), (0..500).map(|i| (signed(100 + i, 0, 12 * HOUR, |_| {}), false)));
    let depth = node.table().depth();
    assert!(depth > 0);
    node.handle(at(13 * HOUR), GossipInput::Publish(record(7, 13 * HOUR)));
    for minutes in 0..60 * u64::from(depth) {
        node.handle(at(13 * HOUR + 60 * minutes), GossipInput::Wakeup);
    }
    assert_eq!(node.table().depth(), 0);
}
