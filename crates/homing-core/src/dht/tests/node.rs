//! One node against the world.

use super::*;

fn store(n: u16, value: &Record) -> RealMessage {
    request(7, Body::Store { slot: Slot::agent(id(n)), value: value.wire() })
}

#[test]
fn a_request_is_answered_and_causes_nothing_else() {
    let mut dht = joined(0, 1..30);
    for from in 100..300 {
        let answers = says(&mut dht, from, request(1, Body::FindNode { target: id(5) }), at(1));
        assert!(matches!(&answers[..], [Message { body: Body::Nodes { .. }, .. }]));
    }
}

#[test]
fn hearsay_never_enters_the_table() {
    let mut dht = joined(0, 1..4);
    let command = DhtCommand::FindNode { target: id(50) };
    dht.handle(at(1), DhtInput::Command { id: CommandId(2), command });
    for (to, message) in sent(&mut dht) {
        let body = Body::Nodes { contacts: (10..30).map(contact).collect() };
        let message = Message { id: message.id, server: true, body };
        dht.handle(at(1), DhtInput::Message { from: to, message });
    }
    assert_eq!(dht.table().len(), 3);
}

#[test]
fn answers_that_nobody_asked_for_are_counted_and_dropped() {
    let mut dht = joined(0, 1..4);
    let before = dht.table().len();
    says(&mut dht, 77, request(1_234, Body::Nodes { contacts: vec![contact(78)] }), at(1));
    says(&mut dht, 77, request(0, Body::Leaving), at(1));
    assert_eq!((dht.stats().unsolicited, dht.table().len()), (2, before));
}

#[test]
fn a_stranger_enters_after_it_answered_a_ping_from_the_timer() {
    let mut dht = joined(0, 1..4);
    says(&mut dht, 50, request(1, Body::Ping), at(1));
    assert!(dht.table().entry(&id(50)).is_none());
    let pinged = wake_until(&mut dht, at(3), |(to, m)| to.id == id(50) && m.body == Body::Ping);
    says(&mut dht, 50, request(pinged.1.id, Body::Pong), at(3));
    assert!(dht.table().entry(&id(50)).is_some());
}

#[test]
fn contacts_that_came_after_joining_are_remembered_soon() {
    // Told of two, who knew nobody yet, as the first agents of a network are.
    let mut dht = joined(0, 1..3);
    let mut remembered: Vec<NodeId> = Vec::new();
    for second in 1..60 {
        let newcomer = u16::try_from(49 + second).unwrap();
        if newcomer < 60 {
            let ping = request(1, Body::Ping);
            dht.handle(at(second), DhtInput::Message { from: contact(newcomer), message: ping });
        }
        dht.handle(at(second), DhtInput::Wakeup);
        while let Some(output) = dht.poll_output() {
            match output {
                DhtOutput::Send { to, message, .. } if message.body == Body::Ping => {
                    let message = request(message.id, Body::Pong);
                    dht.handle(at(second), DhtInput::Message { from: to, message });
                }
                DhtOutput::Persist { contacts } => {
                    remembered = contacts.iter().map(|c| c.id).collect();
                }
                _ => {}
            }
        }
    }
    assert_eq!(dht.table().len(), 12);
    let seeds = [id(1), id(2)];
    let late = remembered.iter().filter(|id| !seeds.contains(id)).count();
    assert!(late >= 3, "{late} of ten that came later would be known after a crash");
}

fn wake_until(
    dht: &mut RealDht,
    now: Now,
    wanted: impl Fn(&(Contact<Reach>, RealMessage)) -> bool,
) -> (Contact<Reach>, RealMessage) {
    for _ in 0..100 {
        dht.handle(now, DhtInput::Wakeup);
        if let Some(found) = sent(dht).into_iter().find(&wanted) {
            return found;
        }
    }
    panic!("never sent")
}

#[test]
fn at_most_one_ping_per_bucket_is_in_flight() {
    let mut dht = joined(0, 1..4);
    for from in 100..160 {
        says(&mut dht, from, request(1, Body::Ping), at(1));
    }
    let mut pinged = Vec::new();
    for millis in 0..40u64 {
        let mut now = at(2);
        now.mono = now.mono.after(Duration::from_millis(millis));
        dht.handle(now, DhtInput::Wakeup);
        let pings = sent(&mut dht).into_iter().filter(|(_, m)| m.body == Body::Ping);
        pinged.extend(pings.map(|(to, _)| dht.table().bucket_of(&to.id)));
    }
    let count = pinged.len();
    pinged.sort_unstable();
    pinged.dedup();
    assert_eq!(pinged.len(), count);
}

#[test]
fn silence_marks_a_contact_and_starts_nothing() {
    let mut dht = joined(0, 1..30);
    let command = DhtCommand::FindNode { target: id(5) };
    dht.handle(at(1), DhtInput::Command { id: CommandId(2), command });
    let asked = sent(&mut dht);
    let lookups_before = dht.lookups.len();
    dht.expire_flights(at(10));
    let later = sent(&mut dht);
    assert!(
        later.iter().all(|(_, m)| matches!(m.body, Body::FindNode { target } if target == id(5)))
    );
    assert_eq!(dht.lookups.len(), lookups_before);
    let first = &asked[0].0.id;
    assert_eq!(dht.table().entry(first).map(|e| e.failures), Some(1));
}

#[test]
fn forged_foreign_and_expired_values_are_refused() {
    let mut dht = joined(0, 1..4);
    let mut forged = record(5, 1, at(0)).bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let body = Body::Store { slot: Slot::agent(id(5)), value: forged.into() };
    let foreign = store(6, &record(5, 1, at(0)));
    let expired = store(5, &record(5, 1, at(0)));
    for (message, now) in [(request(7, body), at(1)), (foreign, at(1)), (expired, at(90_000))] {
        let answer = says(&mut dht, 2, message, now);
        assert_eq!(answer[0].body, Body::Stored { verdict: Verdict::Refused });
    }
    assert_eq!((dht.values().len(), dht.stats().unverified), (0, 3));
}

#[test]
fn a_flood_of_valid_stores_is_shed() {
    let mut dht = joined(0, 1..4);
    let answers: Vec<_> =
        (10..400).flat_map(|n| says(&mut dht, 2, store(n, &record(n, 1, at(0))), at(1))).collect();
    let busy = answers.iter().filter(|m| m.body == Body::Busy).count();
    assert_eq!((dht.values().len(), busy), (64, 326));
    assert_eq!(says(&mut dht, 3, store(9, &record(9, 1, at(0))), at(1)).len(), 1);
    assert_eq!(dht.values().len(), 65);
}

#[test]
fn a_client_asks_but_does_not_serve_nor_enter_tables() {
    let mut client = joined(0, 1..4);
    client.set_server(false);
    let answer = says(&mut client, 2, request(1, Body::FindNode { target: id(1) }), at(1));
    assert_eq!(answer[0].body, Body::Busy);
    let mut server = joined(1, 2..4);
    let ping = Message { id: 1, server: false, body: Body::Ping };
    says(&mut server, 50, ping, at(1));
    assert!(server.verify.is_empty() && server.table().entry(&id(50)).is_none());
}

#[test]
fn a_value_lookup_ends_at_the_first_verified_value_and_tells_of_a_newer_one() {
    let mut dht = joined(0, 1..30);
    let (slot, old, new) = (Slot::agent(id(200)), record(200, 1, at(0)), record(200, 2, at(0)));
    let command = DhtCommand::FindValue { slot };
    dht.handle(at(1), DhtInput::Command { id: CommandId(9), command });
    let asked = sent(&mut dht);
    assert_eq!(asked.len(), 3);
    let answer = |m: &RealMessage, value: &Record| {
        let body = Body::Values { values: vec![value.wire()], contacts: vec![] };
        Message { id: m.id, server: true, body }
    };
    let message = answer(&asked[0].1, &old);
    dht.handle(at(1), DhtInput::Message { from: asked[0].0.clone(), message });
    let done = dht.poll_output();
    assert!(
        matches!(done, Some(DhtOutput::Done { outcome: Outcome::Values(v), .. }) if v == [old])
    );
    let message = answer(&asked[1].1, &new);
    dht.handle(at(1), DhtInput::Message { from: asked[1].0.clone(), message });
    assert!(matches!(dht.poll_output(), Some(DhtOutput::Newer { value, .. }) if value == new));
    let message = answer(&asked[2].1, &new);
    dht.handle(at(1), DhtInput::Message { from: asked[2].0.clone(), message });
    let repair = sent(&mut dht);
    assert_eq!(repair.len(), 1);
    assert_eq!(repair[0].0.id, asked[0].0.id);
    assert_eq!(repair[0].1.body, Body::Store { slot, value: new.wire() });
}

#[test]
fn equal_seeds_and_inputs_give_equal_outputs() {
    let outputs = || {
        let mut dht = joined(0, 1..30);
        let mut all = Vec::new();
        for second in 1..200 {
            dht.handle(at(second), DhtInput::Wakeup);
            all.extend(sent(&mut dht));
        }
        all
    };
    let first = outputs();
    assert!(first.len() > 20, "{}", first.len());
    assert_eq!(first, outputs());
}

/// One victim's /24, under ever new identities.
fn aimed(n: u16) -> Contact<Reach> {
    place(id(n), SocketAddr::from(([203, 0, 113, 7], 1_000 + n)))
}

#[test]
fn lies_about_a_victims_address_make_us_send_it_less_than_they_cost_the_liar() {
    let mut dht = joined(0, 1..30);
    let (mut lies, mut lie_bytes, mut aimed_bytes) = (0u16, 0, 0);
    for second in 1..600 {
        dht.handle(at(second), DhtInput::Wakeup);
        let command = DhtCommand::FindNode { target: id(3_000 + second as u16) };
        dht.handle(at(second), DhtInput::Command { id: CommandId(second), command });
        for (to, message) in sent(&mut dht) {
            if to.place.direct.is_some_and(|a| a.ip() == aimed(0).place.direct.expect("given").ip())
            {
                aimed_bytes += super::super::wire::encode(&message).len();
                continue;
            }
            let lie = match message.body {
                Body::FindNode { .. } => {
                    lies += 20;
                    Body::Nodes { contacts: (lies - 20..lies).map(|n| aimed(1_000 + n)).collect() }
                }
                Body::Exchange { .. } => {
                    Body::Siblings { contacts: vec![], doubted: vec![], session_s: 60, leaf: None }
                }
                _ => Body::Pong,
            };
            let answer = Message { id: message.id, server: true, body: lie };
            lie_bytes += super::super::wire::encode(&answer).len();
            dht.handle(at(second), DhtInput::Message { from: to, message: answer });
        }
    }
    assert!(lies > 1_000, "{lies}");
    assert!(
        aimed_bytes * 5 < lie_bytes,
        "{aimed_bytes} bytes sent to the victim, {lie_bytes} by liars"
    );
    assert!(dht.table().entries().iter().all(|e| e.contact.place != aimed(0).place));
}

#[test]
fn whoever_names_us_to_ourselves_makes_us_neither_ping_nor_store_ourselves() {
    let mut dht = joined(0, 1..30);
    for second in 1..300 {
        dht.handle(at(second), DhtInput::Wakeup);
        for (to, message) in sent(&mut dht) {
            assert_ne!(to.id, id(0));
            let body = match message.body {
                Body::FindNode { .. } => Body::Nodes { contacts: vec![contact(0); 20] },
                Body::Exchange { .. } => Body::Siblings {
                    contacts: vec![contact(0); 20],
                    doubted: vec![],
                    session_s: 60,
                    leaf: None,
                },
                _ => Body::Pong,
            };
            let answer = Message { id: message.id, server: true, body };
            dht.handle(at(second), DhtInput::Message { from: to, message: answer });
        }
    }
    assert!(dht.table().entry(&id(0)).is_none());
}

#[test]
fn one_of_the_lost_that_answers_leads_to_the_others() {
    let mut dht = joined(0, 1..10);
    dht.mourn(contact(40));
    let (to, call) = wake_until(&mut dht, at(60), |(to, _)| to.id == id(40));
    assert_eq!(call.body, Body::FindNode { target: id(0) });
    let body = Body::Nodes { contacts: (41..50).map(contact).collect() };
    let answer = Message { id: call.id, server: true, body };
    dht.handle(at(60), DhtInput::Message { from: to, message: answer });
    let asked: Vec<_> = sent(&mut dht).into_iter().map(|(to, _)| to.id).collect();
    assert!(!asked.is_empty() && asked.iter().all(|i| (40..50).any(|n| id(n) == *i)), "{asked:?}");
}

#[test]
fn the_lost_are_a_bounded_memory_and_calling_them_is_rare() {
    let mut dht = joined(0, 1..10);
    (100..400).for_each(|n| dht.mourn(contact(n)));
    assert_eq!(dht.lost.len(), limits::LOST_MAX);
    let mut called = 0;
    for second in 1..=600 {
        dht.handle(at(second), DhtInput::Wakeup);
        called +=
            sent(&mut dht).iter().filter(|(to, _)| (100..400).any(|n| id(n) == to.id)).count();
    }
    assert!((10..=30).contains(&called), "{called}");
}

#[test]
fn faster_contacts_take_at_most_three_tenths_of_a_bucket_per_hour() {
    let mut dht = joined(0, 1..2);
    let far: Vec<_> = (10..400).filter(|n| dht.table.bucket_of(&id(*n)) == 0).collect();
    let (old, new) = (&far[..20], &far[20..]);
    for n in old {
        dht.table.admit(&contact(*n), at(0).mono);
        let entry = dht.table.entry_mut(&id(*n)).expect("admitted");
        entry.rtt.sample(Duration::from_millis(200));
    }
    // A node of 20 siblings keeps those whatever happens: make the bucket reach beyond them.
    let near = (400..2_000).filter(|n| dht.table.bucket_of(&id(*n)) > 0).take(60);
    let near: Vec<_> = near.collect();
    near.into_iter().for_each(|n| {
        dht.table.admit(&contact(n), at(0).mono);
    });
    for n in new.iter().take(100) {
        dht.consider_faster(&contact(*n), Duration::from_millis(10), at(600));
    }
    assert_eq!(dht.stats().replaced, 6);
    for n in new.iter().skip(100).take(60) {
        dht.consider_faster(&contact(*n), Duration::from_millis(10), at(600 + 3_601));
    }
    assert_eq!(dht.stats().replaced, 12);
}

#[test]
fn settings_that_no_node_can_run_with_are_named() {
    let good = Config::default();
    assert_eq!(good.check(), Ok(()));
    let k = Config { k: 41, ..good.clone() };
    assert_eq!(k.check().unwrap_err().to_string(), "k is 41: a node works with 2 to 40");
    let alpha = Config { alpha: 21, ..good.clone() };
    assert_eq!(alpha.check().unwrap_err().to_string(), "alpha is 21: between 1 and k, which is 20");
    for bad in [
        Config { k: 1, ..good.clone() },
        Config { paths: 9, ..good.clone() },
        Config { pace: f64::NAN, ..good.clone() },
        Config { pace: 0.0, ..good },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}

#[test]
fn what_is_stored_often_does_not_keep_the_rest_from_following_growth() {
    let mut dht = joined(1, 2..8);
    let put = |dht: &mut RealDht, n: u16| {
        let value = record(n, 1, at(1));
        let command = DhtCommand::Put { slot: Slot::agent(id(n)), value, keep: true };
        dht.handle(at(1), DhtInput::Command { id: CommandId(n.into()), command });
    };
    put(&mut dht, 1);
    let small = dht.size();
    (0..15).for_each(|_| dht.estimates.sample_size(2, 0.001));
    put(&mut dht, 2);
    assert!(dht.size() > 100.0 * small);
    assert!(dht.own_among <= small, "the first value still lies among {small} nodes");
}
