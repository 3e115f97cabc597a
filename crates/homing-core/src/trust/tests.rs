//! States and merging, without any agent.

use homing_base::statement::SignedStatement;
use homing_base::{IdentityKey, NodeId, Now, Seq, Statement, StatementKind, Wall};
use proptest::prelude::*;

use super::state::derive;
use super::{Terms, Trust, outranks};
use crate::io::TrustState;
use crate::message::TrustSync;

use StatementKind::{Grant, Reject, Request, Revoke};

const WALL: u64 = 1_795_230_000_000;

fn now() -> Now {
    Now { wall: Wall(WALL), ..Now::default() }
}

fn key(n: u8) -> IdentityKey {
    IdentityKey::from_seed([n; 32])
}

fn id(n: u8) -> NodeId {
    key(n).node_id()
}

fn statement(
    (from, to): (u8, u8),
    kind: StatementKind,
    sequence: u64,
    life: Option<i64>,
) -> SignedStatement {
    let statement = Statement {
        kind,
        from: key(from).public(),
        to: id(to),
        sequence: Seq(sequence),
        issued: Wall(WALL - 1_000),
        expires: life.map(|ms| Wall(WALL.saturating_add_signed(ms))),
        services: None,
        reason: None,
        name: None,
    };
    statement.sign(&key(from)).unwrap()
}

#[test]
fn the_state_follows_from_the_two_newest_statements() {
    let ours = |kind, seq| Some(statement((1, 2), kind, seq, None));
    let theirs = |kind, seq| Some(statement((2, 1), kind, seq, None));
    let dead = |from: u8, kind, seq| Some(statement((from, 3 - from), kind, seq, Some(-1)));
    let cases = [
        (None, None, TrustState::None),
        (ours(Request, 1), None, TrustState::Requested),
        (None, theirs(Request, 1), TrustState::Pending),
        (ours(Request, 1), theirs(Request, 1), TrustState::Mutual),
        (ours(Grant, 2), theirs(Request, 1), TrustState::Mutual),
        (ours(Reject, 2), theirs(Request, 1), TrustState::RejectedByUs),
        (ours(Reject, 2), theirs(Request, 3), TrustState::Pending),
        (ours(Request, 1), theirs(Reject, 2), TrustState::RejectedByPeer),
        (ours(Request, 3), theirs(Reject, 2), TrustState::Requested),
        (ours(Grant, 3), theirs(Revoke, 2), TrustState::RevokedByPeer),
        (ours(Revoke, 2), theirs(Grant, 3), TrustState::RevokedByUs),
        (ours(Revoke, 2), theirs(Revoke, 3), TrustState::RevokedByUs),
        (dead(1, Grant, 1), theirs(Request, 2), TrustState::Pending),
        (dead(1, Grant, 3), theirs(Request, 2), TrustState::Expired),
        (ours(Request, 3), dead(2, Grant, 2), TrustState::Requested),
        (dead(1, Request, 1), None, TrustState::None),
        (None, dead(2, Request, 1), TrustState::None),
        (ours(Revoke, 1), None, TrustState::RevokedByUs),
    ];
    for (ours, theirs, state) in cases {
        let found = derive(now(), ours.as_deref(), theirs.as_deref());
        assert_eq!(found, state, "{ours:?} {theirs:?}");
    }
}

#[test]
fn a_new_statement_outranks_both_directions() {
    let mut trust = Trust::default();
    trust.keep_ours(statement((1, 2), Request, WALL + 5, None));
    trust.keep_theirs(id(2), statement((2, 1), Reject, WALL + 900, None));
    let terms = Terms::no(Revoke);
    let signed = trust.sign(now(), &key(1), id(2), terms).unwrap();
    assert_eq!(signed.sequence, Seq(WALL + 901));
}

#[test]
fn statements_of_others_are_not_loaded() {
    let stored = vec![statement((2, 3), Grant, 1, None), statement((1, 2), Grant, 1, None)];
    let trust = Trust::new(now(), id(1), stored);
    assert_eq!(trust.iter().count(), 1);
    assert_eq!(trust.state(now(), id(2)), TrustState::Requested);
}

#[test]
fn what_is_confirmed_needs_no_delivery() {
    let mut trust = Trust::default();
    let ours = statement((1, 2), Request, 1, None);
    trust.keep_ours(ours.clone());
    assert_eq!(trust.undelivered(now()).count(), 1);
    let sync = TrustSync { mine: None, yours: Some(ours.bytes().to_vec()) };
    trust.learn(now(), id(1), id(2), &sync, None);
    assert_eq!(trust.undelivered(now()).count(), 0);
    trust.keep_ours(statement((1, 2), Revoke, 2, None));
    assert_eq!(trust.undelivered(now()).count(), 1);
}

#[test]
fn a_consent_from_before_the_floor_is_void_and_a_no_is_not() {
    let mut trust = Trust::default();
    let shown = |kind| TrustSync {
        mine: None,
        yours: Some(statement((1, 2), kind, 1, None).bytes().to_vec()),
    };
    let floor = Some(Wall(WALL));
    let lesson = trust.learn(now(), id(1), id(2), &shown(Grant), floor);
    assert!(lesson.void.is_some() && lesson.restored.is_none());
    let lesson = trust.learn(now(), id(1), id(2), &shown(Revoke), floor);
    assert!(lesson.void.is_none() && lesson.restored.is_some());
    let lesson = trust.learn(now(), id(1), id(2), &shown(Grant), Some(Wall(WALL - 1_000)));
    assert!(lesson.restored.is_some());
}

fn any_statement() -> impl Strategy<Value = SignedStatement> {
    let kinds = prop::sample::select(vec![Request, Grant, Reject, Revoke]);
    (kinds, 0..4_u64, prop::option::of(-5_i64..5))
        .prop_map(|(kind, sequence, life)| statement((2, 1), kind, sequence, life))
}

proptest! {
    #[test]
    fn the_newest_wins_in_whatever_order_it_comes(mut all in prop::collection::vec(any_statement(), 1..6)) {
        let keep = |list: &[SignedStatement]| {
            let mut trust = Trust::default();
            list.iter().for_each(|s| trust.keep_theirs(id(2), s.clone()));
            trust.pair(id(2)).unwrap().theirs.clone()
        };
        let forwards = keep(&all);
        all.reverse();
        prop_assert_eq!(&forwards, &keep(&all));
        for other in &all {
            prop_assert!(!outranks(other, forwards.as_ref().unwrap()));
        }
    }
}
