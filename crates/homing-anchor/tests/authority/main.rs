//! Against a real time-stamp authority (`openssl ts`) behind a small HTTP server; and what it gave is checked by `openssl` too.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod server;

use std::time::Duration;

use homing_anchor::tsa::{TsaAnchor, TsaConfig, authorities_from_pem, checkpoint_body};
use homing_anchor::{Anchor, AnchorError, Evidence, EvidenceError, Finding, Journal, Point};
use server::{Authority, Behaviour, openssl};

const ORIGIN: &str = "homing.example/log/1";
const POINT: Point = Point { size: 4_711, root: [0x5a; 32] };

fn anchor(authority: &Authority, pem: &str) -> TsaAnchor {
    let authorities = authorities_from_pem(&std::fs::read(authority.path(pem)).unwrap()).unwrap();
    let config =
        TsaConfig { url: authority.url(), authorities, interval: Duration::from_secs(600) };
    TsaAnchor::new(config).unwrap()
}

fn journal(authority: &Authority) -> Journal {
    let mut journal = Journal::open(&authority.path("anchor.db"), ORIGIN).unwrap();
    journal.want_point(POINT, "", 1).unwrap();
    journal
}

#[tokio::test]
async fn a_token_is_kept_and_both_we_and_openssl_accept_it() {
    for algorithm in ["ec", "rsa"] {
        let Some(authority) = Authority::start("a time-stamp authority", algorithm).await else {
            return;
        };
        let mut journal = journal(&authority);
        let round = anchor(&authority, "ca.pem").round(&mut journal, 2).await.unwrap();
        assert_eq!((round.sent, round.confirmed), (1, 1));
        let again = anchor(&authority, "ca.pem").round(&mut journal, 3).await.unwrap();
        assert_eq!(again.sent, 0, "asked once");

        let (anchored, evidence) = journal.evidence_of_entry(0).unwrap().expect("anchored");
        assert_eq!(anchored.point, POINT);
        let roots =
            authorities_from_pem(&std::fs::read(authority.path("ca.pem")).unwrap()).unwrap();
        let finding = evidence.confirm_point(ORIGIN, &POINT, &roots).unwrap();
        let Finding::Authority { name, trusted: true, .. } = &finding else {
            panic!("{finding:?}")
        };
        assert!(name.contains("Test Authority"), "{name}");
        let unnamed = evidence.confirm_point(ORIGIN, &POINT, &[]).unwrap();
        assert!(matches!(unnamed, Finding::Authority { trusted: false, .. }), "nobody was named");

        // Somebody else's program, with the three lines that the log signed.
        let Evidence::TimeStamp(stamp) = &evidence else { panic!() };
        std::fs::write(authority.path("token.der"), &*stamp.token).unwrap();
        std::fs::write(authority.path("checkpoint.txt"), checkpoint_body(ORIGIN, &POINT)).unwrap();
        let args = [
            "ts",
            "-verify",
            "-data",
            "checkpoint.txt",
            "-in",
            "token.der",
            "-token_in",
            "-CAfile",
            "ca.pem",
        ];
        assert!(openssl(&authority.path(""), &args).0, "openssl verifies the token");
        println!("{algorithm} token: {} bytes", stamp.token.len());
    }
}

#[tokio::test]
async fn no_byte_of_a_token_can_be_changed() {
    let Some(authority) = Authority::start("a tampered token", "ec").await else { return };
    let mut journal = journal(&authority);
    anchor(&authority, "ca.pem").round(&mut journal, 2).await.unwrap();
    let (_, evidence) = journal.evidence_of_entry(0).unwrap().expect("anchored");
    let roots = authorities_from_pem(&std::fs::read(authority.path("ca.pem")).unwrap()).unwrap();
    let finding = evidence.confirm_point(ORIGIN, &POINT, &roots).unwrap();
    let other = Point { size: 4_712, ..POINT };
    assert!(matches!(
        evidence.confirm_point(ORIGIN, &other, &roots),
        Err(EvidenceError::Subject(_))
    ));
    let bytes = evidence.to_bytes();
    let mut harmless = 0;
    for at in 0..bytes.len() {
        let mut copy = bytes.clone();
        copy[at] ^= 1;
        let read =
            Evidence::from_bytes(&copy).and_then(|e| e.confirm_point(ORIGIN, &POINT, &roots));
        // Outside of what is signed are version numbers and names of algorithms that nothing rests on.
        if let Ok(found) = read {
            assert_eq!(found, finding, "byte {at} changed what the token says");
            harmless += 1;
        }
    }
    assert!(harmless < 64, "{harmless} of {} bytes are not covered", bytes.len());
    println!("{harmless} of {} bytes can change without changing what the token says", bytes.len());
}

#[tokio::test]
async fn a_token_of_somebody_else_is_refused() {
    let Some(authority) = Authority::start("a foreign authority", "ec").await else { return };
    let mut journal = journal(&authority);
    let found = anchor(&authority, "other.pem").round(&mut journal, 2).await;
    assert!(matches!(found, Err(AnchorError::Evidence(EvidenceError::Signature(_)))), "{found:?}");
    assert!(journal.evidence_of_entry(0).unwrap().is_none(), "nothing was kept");
    assert_eq!(journal.waiting(true).unwrap().entries, POINT.size, "it still waits");
}

#[tokio::test]
async fn an_authority_that_is_away_or_refuses_changes_nothing() {
    let Some(authority) = Authority::start("a failing authority", "ec").await else { return };
    let mut journal = journal(&authority);
    let mut anchor = anchor(&authority, "ca.pem");
    for (behaviour, refused) in [
        (Behaviour::Away, false),
        (Behaviour::Refuse, true),
        (Behaviour::Noise, true),
        (Behaviour::Replay, false),
    ] {
        authority.behave(behaviour);
        let error = anchor.round(&mut journal, 2).await.unwrap_err();
        assert_eq!(matches!(error, AnchorError::Refused { .. }), refused, "{behaviour:?}: {error}");
        assert_eq!(journal.waiting(true).unwrap().entries, POINT.size, "{behaviour:?}");
    }
    authority.behave(Behaviour::Good);
    assert_eq!(anchor.round(&mut journal, 3).await.unwrap().confirmed, 1);
}
