//! Trust statements: limits, order of checks, what consents.

use std::time::Duration;

use homing_base::cbor::{self, CborError};
use homing_base::limits::{CLOCK_SKEW_MAX, REASON_BYTES_MAX, SERVICES_MAX, STATEMENT_BYTES_MAX};
use homing_base::sign1::{self, Domain};
use homing_base::{
    Now, Scope, Service, Statement, StatementError, StatementKind, UnverifiedStatement, Wall,
};
use proptest::prelude::*;

use crate::arbitrary::{ISSUED, at, key, now, services, statement_of, statements};

fn grant() -> Statement {
    statement_of(&key(3), StatementKind::Grant, key(4).node_id())
}

fn forged(content: &Statement) -> Vec<u8> {
    sign1::sign(&key(3), Domain::TrustStatement, &cbor::encode(content))
}

#[track_caller]
fn refused_both_ways(edit: impl FnOnce(&mut Statement), expected: &StatementError) {
    let mut content = grant();
    edit(&mut content);
    assert_eq!(UnverifiedStatement::parse(&forged(&content)).expect_err("read"), *expected);
    assert_eq!(content.sign(&key(3)).expect_err("signed"), *expected);
}

#[test]
fn each_limit_holds_both_ways() {
    let service: Service = "s".parse().expect("a service");
    let (what, len, max) = ("services", SERVICES_MAX + 1, SERVICES_MAX);
    refused_both_ways(
        |s| s.services = Some(vec![service; SERVICES_MAX + 1]),
        &StatementError::Limit { what, len, max },
    );
    let (what, len, max) = ("bytes of reason", REASON_BYTES_MAX + 1, REASON_BYTES_MAX);
    refused_both_ways(
        |s| s.reason = Some("x".repeat(REASON_BYTES_MAX + 1)),
        &StatementError::Limit { what, len, max },
    );
    refused_both_ways(|s| s.reason = Some("a\nb".into()), &StatementError::ControlCharacter);
}

#[test]
fn services_and_reason_at_their_limits_fit_but_not_with_everything_else() {
    let service = |n| format!("{n:032}").parse().expect("a service");
    let mut full = grant();
    full.reason = Some("x".repeat(REASON_BYTES_MAX));
    full.services = Some((0..SERVICES_MAX).map(service).collect());
    assert!(full.clone().sign(&key(3)).is_ok());
    full.name = Some("n".repeat(63).parse().expect("a name"));
    let len = forged(&full).len();
    let error = StatementError::Encoding(CborError::TooLong { len, max: STATEMENT_BYTES_MAX });
    assert_eq!(full.sign(&key(3)), Err(error));
}

#[test]
fn nobody_speaks_for_another_key() {
    assert_eq!(grant().sign(&key(4)), Err(StatementError::Key));
    let bytes = sign1::sign(&key(4), Domain::TrustStatement, &cbor::encode(&grant()));
    let verdict = UnverifiedStatement::parse(&bytes).expect("parses").verify(now());
    assert_eq!(verdict, Err(StatementError::Signature { key: key(3).public() }));
    let as_record = sign1::sign(&key(3), Domain::AgentRecord, &cbor::encode(&grant()));
    assert!(UnverifiedStatement::parse(&as_record).expect("parses").verify(now()).is_err());
}

#[test]
fn a_statement_from_the_future_is_refused_and_an_expired_one_is_not() {
    let signed = Statement { expires: Some(ISSUED), ..grant() }.sign(&key(3)).expect("signs");
    let verify = |now: Now| UnverifiedStatement::parse(signed.bytes()).expect("parses").verify(now);
    let late = at(Duration::from_secs(1 << 30));
    assert!(!verify(late).expect("it still outranks an older one").consents(late));
    let early = Now { wall: Wall(ISSUED.0 - CLOCK_SKEW_MAX.as_millis() as u64 - 1), ..now() };
    assert_eq!(
        verify(early),
        Err(StatementError::FromTheFuture { issued: ISSUED, now: early.wall })
    );
}

#[test]
fn requests_and_grants_consent_until_they_expire() {
    use StatementKind::{Grant, Reject, Request, Revoke};
    for (kind, consents) in [(Request, true), (Grant, true), (Reject, false), (Revoke, false)] {
        let statement =
            Statement { kind, expires: Some(ISSUED.after(Duration::from_millis(1))), ..grant() };
        assert_eq!(statement.consents(now()), consents, "{kind:?}");
        assert!(!statement.consents(at(Duration::from_millis(1))), "{kind:?} after its end");
    }
}

#[test]
fn no_services_and_all_services_are_different_things() {
    let mcp: Service = "mcp".parse().expect("a service");
    let scope = |services| Statement { services, ..grant() }.scope();
    assert!(scope(None).covers(&mcp));
    assert!(!scope(Some(vec![])).covers(&mcp));
    assert!(scope(Some(vec![mcp.clone()])).covers(&mcp));
    let back = |s: &Statement| {
        cbor::decode::<Statement>(&cbor::encode(s), 1_000).expect("own bytes").scope()
    };
    assert_eq!(back(&Statement { services: Some(vec![]), ..grant() }), Scope::Only([].into()));
    assert_eq!(back(&grant()), Scope::All);
    assert_eq!(Scope::Only([mcp].into()).to_string(), "mcp");
    assert_eq!(Scope::All.to_string(), "all");
}

#[test]
fn every_single_bit_matters() {
    let content = Statement { reason: Some("nightly reports".into()), ..grant() };
    let good = content.sign(&key(3)).expect("signs").bytes().to_vec();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let late = Now { wall: Wall(u64::MAX), ..now() };
        let verdict = UnverifiedStatement::parse(&bytes).and_then(|s| s.verify(late));
        assert!(verdict.is_err(), "bit {bit} was changed unnoticed");
    }
}

proptest! {
    #[test]
    fn bytes_bring_the_same_statement_back(statement in statements()) {
        let issued = Now { wall: statement.issued, ..now() };
        let back = UnverifiedStatement::parse(statement.bytes()).expect("parses").verify(issued);
        prop_assert_eq!(back.expect("verifies"), statement);
    }

    #[test]
    fn perturbed_bytes_never_verify(
        statement in statements(), at in any::<prop::sample::Index>(), with in any::<u8>(),
    ) {
        let mut bytes = statement.bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        prop_assume!(bytes != statement.bytes());
        let late = Now { wall: Wall(u64::MAX), ..now() };
        let verdict = UnverifiedStatement::parse(&bytes).and_then(|s| s.verify(late));
        prop_assert!(verdict.is_err());
    }

    #[test]
    fn a_scope_covers_what_it_lists(list in proptest::collection::vec(services(), 0..16), other in services()) {
        let scope = Statement { services: Some(list.clone()), ..grant() }.scope();
        prop_assert!(list.iter().all(|s| scope.covers(s)));
        prop_assert_eq!(scope.covers(&other), list.contains(&other));
    }
}
