//! What is kept, what replaces what, and for how long.

use std::sync::Arc;

use homing_base::{Seq, Wall};
use homing_registry::entity::Status;
use homing_registry::storage::{ChangeKind, Put, Query, Storage, StorageError};

use crate::fixtures::{HOUR, T0, at, card, draft, key};

type Store = Arc<dyn Storage>;

pub(crate) async fn a_registration_comes_back_as_it_was(store: Store) {
    let sent = draft(1, 0)
        .named("hermes")
        .category("law")
        .tags(&["german"])
        .skill("cite-cases", "finds cases")
        .with_card(b"{\"name\":\"hermes\"}")
        .done();
    assert_eq!(store.put(at(5), sent.clone()).await.unwrap(), Put::Created);
    let kept = store.entity(&key(1).node_id()).await.unwrap().unwrap();
    assert_eq!(kept.record, sent.record);
    assert_eq!((kept.listing, kept.card), (sent.listing, sent.card));
    assert_eq!((kept.registered, kept.updated, kept.heartbeat), (Wall(T0 + 5), Wall(T0 + 5), None));
    assert_eq!(store.entity(&key(2).node_id()).await.unwrap(), None);
    store.ready().await.unwrap();
}

pub(crate) async fn a_newer_record_replaces_and_an_older_does_not(store: Store) {
    let id = key(1).node_id();
    store.put(at(10), draft(1, 10).named("old").done()).await.unwrap();
    let newer = draft(1, 20).named("new").done();
    assert_eq!(store.put(at(20), newer.clone()).await.unwrap(), Put::Updated);
    let older = store.put(at(30), draft(1, 15).named("between").done()).await.unwrap();
    assert_eq!(older, Put::Stale { current: Seq(T0 + 20) });
    let kept = store.entity(&id).await.unwrap().unwrap();
    assert_eq!(kept.record, newer.record);
    assert_eq!((kept.registered, kept.updated), (Wall(T0 + 10), Wall(T0 + 20)));
}

pub(crate) async fn the_same_record_twice_changes_nothing(store: Store) {
    let sent = draft(1, 0).done();
    store.put(at(0), sent.clone()).await.unwrap();
    assert_eq!(store.put(at(9), sent).await.unwrap(), Put::Same);
    assert_eq!(store.entity(&key(1).node_id()).await.unwrap().unwrap().updated, Wall(T0));
    assert_eq!(store.changes(0, 10).await.unwrap().len(), 1);
}

pub(crate) async fn of_two_with_one_sequence_the_smaller_digest_is_served(store: Store) {
    let mut twins = [draft(1, 0).varied(1).done(), draft(1, 0).varied(2).done()];
    twins.sort_by_key(|t| t.record.digest());
    let [smaller, larger] = twins;
    store.put(at(0), larger.clone()).await.unwrap();
    assert_eq!(store.put(at(1), smaller.clone()).await.unwrap(), Put::Equivocation);
    assert_eq!(store.put(at(2), larger).await.unwrap(), Put::Equivocation);
    assert_eq!(store.entity(&key(1).node_id()).await.unwrap().unwrap().record, smaller.record);
    assert_eq!(store.totals(at(2)).await.unwrap().evidence, 1);
}

pub(crate) async fn a_tombstone_outlives_what_it_withdraws(store: Store) {
    let id = key(1).node_id();
    store.put(at(0), draft(1, 0).title("zebra").done()).await.unwrap();
    let replay = draft(1, 5).title("zebra").done();
    store.put(at(5), replay.clone()).await.unwrap();
    let tombstone = draft(1, 10).withdrawn().lives(HOUR).done();
    assert_eq!(store.put(at(10), tombstone).await.unwrap(), Put::Updated);
    assert_eq!(store.entity(&id).await.unwrap().unwrap().status(at(10)), Status::Withdrawn);
    // Its own life is over, that of what it withdrew is not.
    let later = 23 * HOUR;
    assert_eq!(store.sweep(at(later)).await.unwrap().tombstones, 0);
    let put = store.put(at(later), replay).await.unwrap();
    assert_eq!(put, Put::Stale { current: Seq(T0 + 10) });
    let query = Query { text: "zebra".into(), limit: 5, ..Query::default() };
    assert_eq!(store.search(at(later), &query).await.unwrap().total, 0);
    assert_eq!(store.sweep(at(24 * HOUR + 10)).await.unwrap().tombstones, 1);
    assert_eq!(store.entity(&id).await.unwrap(), None);
}

pub(crate) async fn an_expired_entity_leaves_a_floor_against_replays(store: Store) {
    let id = key(1).node_id();
    let replay = draft(1, 0).done();
    store.put(at(0), replay.clone()).await.unwrap();
    store.put(at(10), draft(1, 10).lives(HOUR).done()).await.unwrap();
    let swept = store.sweep(at(2 * HOUR)).await.unwrap();
    assert_eq!((swept.expired, swept.tombstones), (1, 0));
    assert_eq!(store.entity(&id).await.unwrap(), None);
    let put = store.put(at(3 * HOUR), replay).await.unwrap();
    assert_eq!(
        put,
        Put::Stale { current: Seq(T0 + 10) },
        "the older record is valid until hour 24"
    );
    let back = draft(1, 4 * HOUR).done();
    assert_eq!(store.put(at(4 * HOUR), back).await.unwrap(), Put::Created);
    let kinds: Vec<_> = store.changes(0, 9).await.unwrap().iter().map(|c| c.kind).collect();
    use ChangeKind::{Expired, Registered, Updated};
    assert_eq!(kinds, [Registered, Updated, Expired, Registered]);
}

pub(crate) async fn a_sequence_from_the_far_future_is_refused(store: Store) {
    let mut pinned = draft(1, 0);
    pinned.record.sequence = Seq(u64::MAX - 1);
    let refused = store.put(at(0), pinned.done()).await;
    assert!(matches!(refused, Err(StorageError::Ahead { .. })), "{refused:?}");
    let mut tomorrow = draft(1, 0);
    tomorrow.record.sequence = Seq(T0 + 24 * HOUR);
    assert_eq!(store.put(at(0), tomorrow.done()).await.unwrap(), Put::Created);
}

pub(crate) async fn records_of_other_times_are_refused(store: Store) {
    let early = store.put(at(0), draft(1, HOUR).done()).await;
    assert!(matches!(early, Err(StorageError::Record(_))), "{early:?}");
    let late = store.put(at(25 * HOUR), draft(1, 0).done()).await;
    assert!(matches!(late, Err(StorageError::Record(_))), "{late:?}");
    assert_eq!(store.totals(at(0)).await.unwrap(), Default::default());
    let many = vec![draft(1, 0).done(), draft(2, HOUR).done(), draft(3, 0).done()];
    let answers = store.put_many(at(0), many).await.unwrap();
    assert!(matches!(answers[..], [Ok(Put::Created), Err(_), Ok(Put::Created)]), "{answers:?}");
}

pub(crate) async fn a_card_is_kept_only_if_the_record_names_it(store: Store) {
    let id = key(1).node_id();
    let mut sent = draft(1, 0).with_card(b"one").done();
    sent.card = None;
    store.put(at(0), sent.clone()).await.unwrap();
    let listing = draft(1, 0).title("what it says").listing;
    assert!(!store.set_card(&id, card(b"another"), listing.clone()).await.unwrap());
    assert!(store.set_card(&id, card(b"one"), listing.clone()).await.unwrap());
    assert!(!store.set_card(&key(2).node_id(), card(b"one"), listing.clone()).await.unwrap());
    let kept = store.entity(&id).await.unwrap().unwrap();
    assert_eq!((kept.card.unwrap().bytes, kept.listing), (b"one".to_vec(), listing));
    store.put(at(9), draft(1, 9).done()).await.unwrap();
    assert_eq!(store.entity(&id).await.unwrap().unwrap().card, None, "named no more");
}

pub(crate) async fn a_renewal_without_its_card_keeps_what_the_card_said(store: Store) {
    let first = draft(1, 0).with_card(b"one").title("from the card").done();
    store.put(at(0), first.clone()).await.unwrap();
    let mut renewal = draft(1, 9).with_card(b"one").title("from the record").done();
    renewal.card = None;
    store.put(at(9), renewal.clone()).await.unwrap();
    let kept = store.entity(&key(1).node_id()).await.unwrap().unwrap();
    assert_eq!(kept.record, renewal.record);
    assert_eq!((kept.card, kept.listing), (first.card, first.listing));
}

pub(crate) async fn heartbeats_only_rise(store: Store) {
    let id = key(1).node_id();
    assert!(!store.heartbeat(&id, Wall(T0)).await.unwrap());
    store.put(at(0), draft(1, 0).done()).await.unwrap();
    assert!(store.heartbeat(&id, Wall(T0 + 10)).await.unwrap());
    assert!(!store.heartbeat(&id, Wall(T0 + 10)).await.unwrap());
    assert!(!store.heartbeat(&id, Wall(T0 + 5)).await.unwrap());
    let kept = store.entity(&id).await.unwrap().unwrap();
    assert_eq!(kept.heartbeat, Some(Wall(T0 + 10)));
    assert_eq!(kept.status(at(80_000)), Status::Active);
    assert_eq!(kept.status(at(100_000)), Status::Inactive);
    store.put(at(20), draft(1, 20).done()).await.unwrap();
    assert_eq!(store.entity(&id).await.unwrap().unwrap().heartbeat, Some(Wall(T0 + 10)));
}
