//! What peers may try.

use super::limits::{FORGED_MAX, ITEMS_MAX, PUSHES_IN, RANGES_MAX};
use super::*;

fn forged(n: u16) -> Carried<Wire> {
    let mut bytes = record(n, 0).bytes().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    Carried { hops: 1, wire: bytes.into() }
}

#[test]
fn who_forges_is_not_listened_to_even_over_a_new_link() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    let forgeries = (0..u16::from(FORGED_MAX)).map(|n| forged(10 + n)).collect();
    let outputs = says(&mut node, 2, Message::Push(forgeries), at(1));
    assert!(outputs.contains(&GossipOutput::Muted { peer: id(2) }), "{outputs:?}");
    node.handle(at(2), GossipInput::PeerDown { peer: id(2) });
    up(&mut node, 2, at(2));
    drain(&mut node);
    assert!(says(&mut node, 2, push(&[record(7, 0)]), at(3)).is_empty());
    assert!(node.table().is_empty());
    says(&mut node, 2, push(&[record(7, 0)]), at(1_000));
    assert_eq!(node.table().len(), 1);
}

#[test]
fn records_dated_before_their_time_or_after_it_are_refused_without_blame() {
    let mut node = node(1);
    up(&mut node, 2, at(48 * HOUR));
    let list = [record(7, 0), record(8, 72 * HOUR)];
    for _ in 0..5 {
        says(&mut node, 2, push(&list), at(48 * HOUR + 1));
    }
    assert!(node.table().is_empty());
    assert_eq!((node.stats().untimely, node.stats().forged), (10, 0));
}

#[test]
fn an_old_record_is_told_in_vain() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    says(&mut node, 2, push(&[record(7, 100)]), at(101));
    let outputs = says(&mut node, 2, push(&[record(7, 0)]), at(102));
    let is_passed_on = |o: &GossipOutput<Record>| {
        !matches!(o, GossipOutput::Send { message: Message::Have { .. }, .. })
    };
    assert!(!outputs.iter().any(is_passed_on), "{outputs:?}");
    assert_eq!(held(&node, 7), Some(record(7, 100)));
}

#[test]
fn a_flood_of_valid_records_is_taken_at_a_bounded_pace() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    for chunk in 0..30u16 {
        let list: Vec<Record> = (0..32).map(|n| record(100 + 32 * chunk + n, 0)).collect();
        says(&mut node, 2, push(&list), at(1));
    }
    assert_eq!(node.table().len(), PUSHES_IN.burst as usize);
    assert_eq!(node.stats().shed, 960 - PUSHES_IN.burst as u64);
}

#[test]
fn strangers_are_not_heard() {
    let mut node = node(1);
    assert!(says(&mut node, 2, push(&[record(7, 0)]), at(1)).is_empty());
    assert!(node.table().is_empty());
}

#[test]
fn one_message_of_ranges_leads_to_a_bounded_answer() {
    let mut node = node(1);
    (0..3_000).for_each(|n| node.handle(at(0), GossipInput::Publish(record(100 + n, 0))));
    up(&mut node, 2, at(0));
    drain(&mut node);
    let width = u64::MAX / RANGES_MAX as u64;
    let range = |n: u64| {
        let body = RangeBody::Summary { count: 1, fingerprint: 1 };
        Range { from: n * width, to: (n + 1) * width - 1, body }
    };
    let ranges = (0..RANGES_MAX as u64).map(range).collect();
    let cut = at(60).wall;
    let ranges = Message::Ranges(Ranges { salt: 1, cut, depth: 0, ranges });
    let outputs = says(&mut node, 2, ranges, at(1));
    let bytes: usize = sent(&outputs).iter().map(|(_, m)| wire::encode(m).len()).sum();
    assert!(bytes < ITEMS_MAX * 20 + RANGES_MAX * 32 + 100, "{bytes} bytes");
}

#[test]
fn somebody_who_announces_the_world_is_asked_in_a_window() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    drain(&mut node);
    let item = |n: u64| Item { prefix: n << 40, sequence: Seq(1), mark: 0 };
    let mut asked = 0;
    for chunk in 0..20u64 {
        let items = (0..ITEMS_MAX as u64).map(|n| item(chunk * 1_024 + n)).collect();
        for (_, message) in sent(&says(&mut node, 2, Message::Have { sync: true, items }, at(1))) {
            match message {
                Message::Want { prefixes, .. } => asked += prefixes.len(),
                // Its own comparison, which nobody answered.
                Message::Ranges(_) => {}
                other => panic!("only questions, not {other:?}"),
            }
        }
    }
    assert_eq!(asked, limits::WINDOW);
    assert_eq!(node.wanted.len(), limits::WANTED_MAX);
}

#[test]
fn whoever_offers_and_does_not_send_is_replaced_by_the_next() {
    let mut node = node(1);
    up(&mut node, 2, at(0));
    up(&mut node, 3, at(0));
    drain(&mut node);
    let wanted = record(7, 0);
    let items = vec![Item::of(&id(7), wanted.sequence, Value::mark(&wanted))];
    says(&mut node, 2, Message::Have { sync: true, items: items.clone() }, at(1));
    says(&mut node, 3, Message::Have { sync: true, items }, at(1));
    node.handle(at(3), GossipInput::Wakeup);
    let asked = sent(&drain(&mut node));
    let of_three =
        |(to, m): &(NodeId, RealMessage)| *to == id(3) && matches!(m, Message::Want { .. });
    assert!(asked.iter().any(of_three), "{asked:?}");
}
