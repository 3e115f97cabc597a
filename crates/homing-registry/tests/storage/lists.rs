//! Lists: pages, versions, changes, counts.

use std::sync::Arc;

use homing_base::{Address, Wall};
use homing_registry::entity::Status;
use homing_registry::limits::HISTORY_MAX;
use homing_registry::listing::EntityKind;
use homing_registry::storage::{ChangeKind, Cursor, Filter, Storage, StorageError};

use crate::fixtures::{HOUR, T0, at, draft, key};

type Store = Arc<dyn Storage>;

pub(crate) async fn history_is_newest_first_bounded_and_paged(store: Store) {
    let id = key(1).node_id();
    let versions = u64::from(HISTORY_MAX) + 10;
    for n in 0..versions {
        store.put(at(n), draft(1, n).done()).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.history(&id, cursor.as_ref(), 7).await.unwrap();
        assert!(page.items.len() <= 7);
        seen.extend(page.items.iter().map(|v| v.record.sequence.0 - T0));
        // What comes now is not shown in the middle of the list.
        let n = versions + seen.len() as u64;
        store.put(at(n), draft(1, n).done()).await.unwrap();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen[..3], [versions - 1, versions - 2, versions - 3]);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let whole = store.history(&id, None, HISTORY_MAX).await.unwrap();
    assert_eq!(whole.items.len(), HISTORY_MAX as usize);
    assert_eq!(whole.next, None, "older ones are gone");
    assert!(store.history(&key(2).node_id(), None, 5).await.unwrap().items.is_empty());
}

pub(crate) async fn pages_are_stable_while_others_register(store: Store) {
    for n in 0..10 {
        store.put(at(0), draft(n, 0).done()).await.unwrap();
    }
    let (mut seen, mut cursor, mut next) = (Vec::new(), None, 10);
    loop {
        let page = store.page(at(1), &Filter::default(), cursor.as_ref(), 3).await.unwrap();
        seen.extend(page.items.iter().map(|e| e.listing.title.clone()));
        if next < 16 {
            store.put(at(0), draft(next, 0).done()).await.unwrap();
            store.put(at(1), draft(next - 10, 1).done()).await.unwrap();
            next += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let all: Vec<_> = (0..seen.len()).map(|n| format!("agent {n}")).collect();
    assert_eq!(seen, all);
    assert!(seen.len() >= 10);
}

pub(crate) async fn a_foreign_cursor_is_refused(store: Store) {
    for n in 0..4 {
        store.put(at(0), draft(n, 0).done()).await.unwrap();
    }
    let all = Filter::default();
    let own = store.page(at(0), &all, None, 2).await.unwrap().next.unwrap();
    let id = key(1).node_id();
    let agents = Filter { kind: Some(EntityKind::Agent), ..Filter::default() };
    let refused = |answer| assert!(matches!(answer, Err(StorageError::Cursor)));
    refused(store.page(at(0), &agents, Some(&own), 2).await.map(|_| ()));
    refused(store.history(&id, Some(&own), 2).await.map(|_| ()));
    for bytes in [vec![], vec![b'e'], vec![b'e'; 13], vec![0xff; 4_000]] {
        refused(store.page(at(0), &all, Some(&Cursor(bytes.clone())), 2).await.map(|_| ()));
        refused(store.history(&id, Some(&Cursor(bytes)), 2).await.map(|_| ()));
    }
}

pub(crate) async fn pages_obey_their_filter(store: Store) {
    store.put(at(0), draft(1, 0).tags(&["red", "round"]).done()).await.unwrap();
    store.put(at(0), draft(2, 0).tags(&["red"]).lives(HOUR).done()).await.unwrap();
    store.put(at(0), draft(3, 0).tags(&["blue", "round"]).done()).await.unwrap();
    store.put(at(0), draft(4, 0).withdrawn().done()).await.unwrap();
    let titles = async |now, filter: Filter| -> Vec<String> {
        let page = store.page(now, &filter, None, 9).await.unwrap();
        page.items.into_iter().map(|e| e.listing.title).collect()
    };
    let tags = |tags: &[&str]| Filter {
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        ..Filter::default()
    };
    let status = |status| Filter { status: Some(status), ..Filter::default() };
    assert_eq!(titles(at(0), tags(&["red"])).await, ["agent 1", "agent 2"]);
    assert_eq!(titles(at(0), tags(&["round", "red"])).await, ["agent 1"]);
    assert_eq!(titles(at(2 * HOUR), tags(&["red"])).await, ["agent 1"]);
    assert_eq!(titles(at(2 * HOUR), status(Status::Expired)).await, ["agent 2"]);
    assert_eq!(titles(at(0), status(Status::Withdrawn)).await, ["agent 4"]);
    store.heartbeat(&key(3).node_id(), Wall(T0)).await.unwrap();
    assert_eq!(titles(at(HOUR / 2), status(Status::Inactive)).await, ["agent 3"]);
    assert_eq!(titles(at(HOUR / 2), status(Status::Active)).await, ["agent 1", "agent 2"]);
}

pub(crate) async fn names_and_addresses_find_their_entities(store: Store) {
    for n in 0..3 {
        store.put(at(0), draft(n, 0).named("twin").done()).await.unwrap();
    }
    store.put(at(0), draft(3, 0).named("twin").lives(HOUR).done()).await.unwrap();
    let name = "twin".parse().unwrap();
    let found = store.by_name(at(0), &name).await.unwrap();
    let titles: Vec<_> = found.iter().map(|e| e.listing.title.as_str()).collect();
    assert_eq!(titles, ["agent 0", "agent 1", "agent 2", "agent 3"]);
    assert_eq!(store.by_name(at(HOUR), &name).await.unwrap().len(), 3);
    store.put(at(1), draft(0, 1).named("other").done()).await.unwrap();
    assert_eq!(store.by_name(at(1), &name).await.unwrap().len(), 3);
    assert!(store.by_name(at(0), &"nobody".parse().unwrap()).await.unwrap().is_empty());
    let found = store.by_address(&Address::of(&key(2).node_id())).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].node_id(), key(2).node_id());
    assert!(store.by_address(&Address::of(&key(9).node_id())).await.unwrap().is_empty());
}

pub(crate) async fn changes_have_numbers_that_rise(store: Store) {
    store.put(at(0), draft(1, 0).done()).await.unwrap();
    store.put(at(1), draft(1, 1).done()).await.unwrap();
    store.put(at(2), draft(2, 2).done()).await.unwrap();
    store.put(at(3), draft(1, 3).withdrawn().done()).await.unwrap();
    let all = store.changes(0, 10).await.unwrap();
    use ChangeKind::{Registered, Updated, Withdrawn};
    let kinds: Vec<_> = all.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [Registered, Updated, Registered, Withdrawn]);
    assert!(all.is_sorted_by(|a, b| a.number < b.number));
    assert_eq!((all[3].node_id, all[3].sequence.0), (key(1).node_id(), T0 + 3));
    let rest = store.changes(all[1].number, 1).await.unwrap();
    assert_eq!(rest, all[2..3]);
    assert_eq!(store.totals(at(3)).await.unwrap().changes, all[3].number);
}

pub(crate) async fn categories_and_tags_are_counted(store: Store) {
    let put = async |n, category: &str, tags: &[&str], life| {
        let draft = draft(n, 0).category(category).tags(tags).lives(life);
        store.put(at(0), draft.done()).await.unwrap();
    };
    put(1, "law", &["b", "a"], HOUR).await;
    put(2, "law", &["b"], 2 * HOUR).await;
    put(3, "art", &["c", "b"], 2 * HOUR).await;
    put(4, "", &["a"], 2 * HOUR).await;
    let pairs = |counts: Vec<homing_registry::storage::Count>| -> Vec<(String, u64)> {
        counts.into_iter().map(|c| (c.name, c.count)).collect()
    };
    let is = |n: &str, c| (n.to_owned(), c);
    assert_eq!(pairs(store.categories(at(0), 9).await.unwrap()), [is("law", 2), is("art", 1)]);
    let tags = [is("b", 3), is("a", 2), is("c", 1)];
    assert_eq!(pairs(store.tags(at(0), 9).await.unwrap()), tags);
    assert_eq!(pairs(store.tags(at(0), 1).await.unwrap()), [is("b", 3)]);
    let later = [is("b", 2), is("a", 1), is("c", 1)];
    assert_eq!(pairs(store.tags(at(HOUR), 9).await.unwrap()), later, "before the sweep");
    store.sweep(at(HOUR)).await.unwrap();
    assert_eq!(pairs(store.tags(at(HOUR), 9).await.unwrap()), later, "and after");
    store.put(at(1), draft(3, 1).category("law").done()).await.unwrap();
    assert_eq!(pairs(store.categories(at(HOUR), 9).await.unwrap()), [is("law", 2)]);
    store.put(at(2), draft(3, 2).withdrawn().done()).await.unwrap();
    assert_eq!(pairs(store.categories(at(HOUR), 9).await.unwrap()), [is("law", 1)]);
}

pub(crate) async fn totals_count(store: Store) {
    store.put(at(0), draft(1, 0).with_card(b"x").done()).await.unwrap();
    store.put(at(0), draft(2, 0).lives(HOUR).done()).await.unwrap();
    store.put(at(0), draft(3, 0).withdrawn().done()).await.unwrap();
    let now = store.totals(at(0)).await.unwrap();
    assert_eq!((now.entities, now.withdrawn, now.cards, now.changes), (2, 1, 1, 3));
    assert_eq!(store.totals(at(HOUR)).await.unwrap().entities, 1);
    store.sweep(at(48 * HOUR)).await.unwrap();
    let end = store.totals(at(48 * HOUR)).await.unwrap();
    assert_eq!((end.entities, end.withdrawn, end.cards), (0, 0, 0));
}
