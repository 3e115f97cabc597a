//! A store that cannot be written ends the daemon, with a reason and nothing half-written.

use homing_api::peers::AliasRequest;

use crate::common::{self, PATIENCE, befriend, pair};

#[tokio::test]
async fn a_write_that_fails_stops_the_node_and_is_not_answered_as_done() {
    let (home_a, home_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = pair(home_a.path(), home_b.path()).await;
    befriend(&a, &b).await;
    let database = a.home().database();
    let holder = rusqlite::Connection::open(&database).unwrap();
    // Nobody else can write now; the writer gives up after two seconds.
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let alias = AliasRequest { name: "boss".parse().unwrap(), peer: Some("agent-b".into()) };
    let refused = a.set_alias(alias).await;
    assert!(refused.is_err(), "{refused:?}");
    let end = tokio::time::timeout(PATIENCE, a.stopped()).await.unwrap().unwrap_err();
    assert!(end.message.contains("the store"), "{end:?}");
    assert!(a.health().iter().any(|item| item.code == "store_failed"));
    assert_eq!(a.info().await.unwrap_err(), end, "every later request is told why");

    holder.execute_batch("ROLLBACK").unwrap();
    drop((holder, a));
    let a = common::start(home_a.path(), "agent-a").await;
    let names = a.aliases().await.unwrap().names;
    assert!(names.iter().all(|entry| entry.name.as_str() != "boss"), "nothing half-written");
    let trust = a.trust_show("agent-b").await.unwrap().entry.trust.state;
    assert_eq!(trust, homing_api::trust::TrustState::Mutual);
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}
