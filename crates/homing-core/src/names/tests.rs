//! What a name means, case by case.

use homing_base::{Name, NodeId};

use super::{Claims, Names, by_prefix};
use crate::io::Failure;

fn id(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn claims(trusted: &[u8], all: &[u8]) -> Claims {
    let ids = |list: &[u8]| list.iter().map(|n| id(*n)).collect();
    Claims { trusted: ids(trusted), all: ids(all) }
}

fn meaning(names: &Names, claims: &Claims) -> Result<Option<NodeId>, Failure> {
    names.meaning(&name("planner"), claims).map(|found| found.map(|m| m.peer))
}

#[test]
fn an_alias_outranks_everything() {
    let names = Names::new(vec![(name("planner"), id(1))], vec![(name("planner"), id(2))]);
    assert_eq!(meaning(&names, &claims(&[3, 4], &[3, 4, 5])), Ok(Some(id(1))));
}

#[test]
fn a_trusted_peer_outranks_other_claims() {
    let names = Names::default();
    assert_eq!(meaning(&names, &claims(&[3], &[3, 4, 5])), Ok(Some(id(3))));
    assert!(matches!(
        meaning(&names, &claims(&[3, 4], &[3, 4])),
        Err(Failure::Ambiguous { claimants, .. }) if claimants == [id(3), id(4)]
    ));
}

#[test]
fn one_claim_is_enough_only_after_asking_others_and_is_then_pinned() {
    let names = Names::default();
    let found = names.meaning(&name("planner"), &claims(&[], &[4])).unwrap().unwrap();
    assert!(found.peer == id(4) && !found.settled && found.pin);
    assert_eq!(meaning(&names, &claims(&[], &[])), Ok(None));
    assert!(matches!(
        meaning(&names, &claims(&[], &[4, 5])),
        Err(Failure::Ambiguous { claimants, .. }) if claimants == [id(4), id(5)]
    ));
}

#[test]
fn a_pin_holds_against_newcomers_and_reports_a_move() {
    let mut names = Names::default();
    names.keep_pin(name("planner"), id(4));
    assert_eq!(meaning(&names, &claims(&[], &[4, 5])), Ok(Some(id(4))));
    assert_eq!(meaning(&names, &claims(&[], &[])), Ok(Some(id(4))));
    assert!(matches!(
        meaning(&names, &claims(&[5], &[5])),
        Err(Failure::NameMoved { pinned, claimant, .. }) if pinned == id(4) && claimant == id(5)
    ));
}

#[test]
fn a_prefix_needs_eight_digits_and_one_match() {
    let known = || [id(0xaa), id(0xab)].into_iter();
    assert_eq!(by_prefix(&name("aaaaaaaa"), known()), Some(Ok(id(0xaa))));
    assert_eq!(by_prefix(&name("aaaaaaa"), known()), None);
    assert_eq!(by_prefix(&name("cccccccc"), known()), None);
    assert_eq!(by_prefix(&name("planner-1"), known()), None);
    let mut near = id(0xaa);
    near.0[31] = 0;
    let twins = [id(0xaa), near].into_iter();
    assert!(matches!(by_prefix(&name("aaaaaaaa"), twins), Some(Err(Failure::Ambiguous { .. }))));
}
