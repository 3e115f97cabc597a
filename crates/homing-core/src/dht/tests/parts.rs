//! Timeouts, rates, estimates, candidate lists.

use super::super::churn::Estimates;
use super::super::lookup::{Candidates, Shape, State};
use super::super::rate::Rates;
use super::super::rtt::Rtt;
use super::*;

#[test]
fn a_timeout_follows_the_measured_round_trip_and_doubles_with_failures() {
    let (mut rtt, nobody) = (Rtt::default(), Rtt::default());
    assert_eq!(rtt.timeout(0, &nobody), limits::RTO_UNKNOWN);
    rtt.sample(Duration::from_millis(100));
    assert_eq!(rtt.timeout(0, &nobody), Duration::from_millis(410));
    assert_eq!(rtt.timeout(1, &nobody), Duration::from_millis(820));
    for _ in 0..100 {
        rtt.sample(Duration::from_millis(100));
    }
    assert!(rtt.timeout(0, &nobody) < Duration::from_millis(115));
    assert_eq!(Rtt::default().timeout(0, &rtt), rtt.timeout(0, &nobody));
}

#[test]
fn a_peer_is_slowed_down_after_its_burst_and_others_are_not() {
    let mut rates = Rates::new(1, Mono(0));
    let granted = (0..1_000).filter(|_| rates.store(&id(1), Mono(0))).count();
    assert_eq!(granted, 64);
    assert!(rates.store(&id(2), Mono(0)));
    let later = Mono(2_000_000);
    assert_eq!((0..1_000).filter(|_| rates.store(&id(1), later)).count(), 10);
}

#[test]
fn one_lying_sibling_does_not_move_the_estimate_of_sessions() {
    let mut estimates = Estimates::new(Mono(0));
    for honest in 2..8 {
        estimates.hear(id(honest), 3_000);
    }
    (0..1_000).for_each(|_| estimates.hear(id(1), 1));
    assert_eq!(estimates.session(), Duration::from_secs(3_000));
}

#[test]
fn deaths_shorten_the_estimated_session() {
    let mut estimates = Estimates::new(Mono(0));
    estimates.observe(100, Mono(360_000_000));
    let calm = estimates.own_session();
    (0..100).for_each(|_| estimates.death());
    assert!(estimates.own_session() < calm / 50);
}

fn shape(paths: usize) -> Shape {
    Shape { k: 4, alpha: 3, alpha_last: 4, paths, caps: true, proximity: None }
}

fn candidates(n: std::ops::Range<u16>, shape: Shape) -> Candidates<Reach> {
    Candidates::new(id(0), id(999), shape, n.map(|n| (contact(n), None)))
}

#[test]
fn a_lookup_asks_the_closest_first_and_ends_when_the_k_closest_answered() {
    let mut list = candidates(1..40, shape(1));
    let mut sorted: Vec<_> = (1..40).map(id).collect();
    sorted.sort_by_key(|i| Distance::between(i, &id(999)));
    let mut asked = Vec::new();
    while !list.is_finished() {
        let next = list.ask_next().expect("not finished, so somebody is left");
        asked.push(next.id);
        list.on_answer(&next.id, vec![]);
    }
    assert_eq!(asked, sorted[..4]);
}

#[test]
fn a_contact_named_twice_is_one_candidate() {
    let mut list = candidates(1..5, shape(1));
    let first = list.ask_next().expect("four are known").id;
    list.on_answer(&first, (1..5).chain(1..5).map(contact).collect());
    assert_eq!(list.list().len(), 4);
}

#[test]
fn whoever_names_us_to_ourselves_is_ignored() {
    let mut list = candidates(1..5, shape(1));
    let first = list.ask_next().expect("four are known").id;
    list.on_answer(&first, vec![contact(0)]);
    assert!(list.list().iter().all(|c| c.contact.id != id(0)));
}

#[test]
fn a_slow_candidate_frees_its_place_and_may_still_answer() {
    let mut list = candidates(1..10, shape(1));
    let slow = list.ask_next().expect("first").id;
    list.ask_next();
    list.ask_next();
    assert!(list.ask_next().is_none());
    list.mark(&slow, State::Slow);
    assert!(list.ask_next().is_some());
    list.on_answer(&slow, vec![]);
    assert_eq!(list.answered().next().map(|c| c.contact.id), Some(slow));
}

#[test]
fn paths_are_disjoint_and_each_has_its_own_request() {
    let mut list = candidates(1..9, shape(4));
    let first: Vec<_> = std::iter::from_fn(|| list.ask_next()).collect();
    assert_eq!(first.len(), 4);
    let paths: std::collections::BTreeSet<_> =
        first.iter().filter_map(|c| list.get(&c.id)).map(|c| c.path).collect();
    assert_eq!(paths.len(), 4);
}

#[test]
fn one_neighbourhood_gets_three_places_in_a_lookup() {
    let crowd = (1..50u16).map(|n| (place(id(n), SocketAddr::from(([203, 0, 113, 9], n))), None));
    let list = Candidates::new(id(0), id(999), shape(1), crowd);
    assert_eq!(list.list().len(), 3);
}
