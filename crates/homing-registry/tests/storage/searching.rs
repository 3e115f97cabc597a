//! Search: what is found, in which order, and why.

use std::collections::BTreeSet;
use std::sync::Arc;

use homing_registry::entity::Status;
use homing_registry::listing::EntityKind;
use homing_registry::storage::{Filter, Hits, Match, Query, Storage};

use crate::fixtures::{Draft, HOUR, at, draft};

type Store = Arc<dyn Storage>;

async fn put(store: &Store, draft: Draft) {
    store.put(at(0), draft.done()).await.unwrap();
}

async fn find(store: &Store, text: &str) -> Hits {
    let query = Query { text: text.into(), limit: 20, ..Query::default() };
    store.search(at(0), &query).await.unwrap()
}

fn titles(hits: &Hits) -> Vec<&str> {
    hits.hits.iter().map(|h| h.entity.listing.title.as_str()).collect()
}

pub(crate) async fn words_find_what_they_name_and_say_why(store: Store) {
    let lawyer = draft(1, 0)
        .named("portia")
        .title("Contract reader")
        .summary("Reads German contracts")
        .category("legal")
        .tags(&["german", "law"])
        .protocols(&["a2a"])
        .skill("find-clauses", "names the clauses that bind you");
    put(&store, lawyer).await;
    put(&store, draft(2, 0).title("Cook").tags(&["kitchen"])).await;
    for word in ["portia", "contract", "GERMAN", "legal", "law", "a2a", "clauses", "bind"] {
        assert_eq!(titles(&find(&store, word).await), ["Contract reader"], "{word}");
    }
    let hits = find(&store, "german clauses").await;
    let score = &hits.hits[0].score;
    let found = |word: &str, field: &str| Match { word: word.into(), field: field.into() };
    let because = [found("german", "summary"), found("german", "tags"), found("clauses", "skills")];
    assert_eq!(score.matched, because);
    assert!(score.text > 0.0 && score.exact == 0.5 && score.active == 1.0, "{score:?}");
    assert!((0.0..=1.0).contains(&score.total));
    assert_eq!(find(&store, "nothing").await.total, 0);
}

pub(crate) async fn better_fields_stand_higher(store: Store) {
    put(&store, draft(1, 0).title("one").summary("knows a sonnet or two")).await;
    put(&store, draft(2, 0).title("two").tags(&["sonnet"])).await;
    put(&store, draft(3, 0).title("three").named("sonnet")).await;
    put(&store, draft(4, 0).title("four").summary("nothing of this")).await;
    let hits = find(&store, "sonnet").await;
    assert_eq!(titles(&hits), ["three", "two", "one"]);
    assert!(hits.hits.is_sorted_by(|a, b| a.score.total >= b.score.total));
    assert_eq!(hits.total, 3);
}

pub(crate) async fn filters_restrict(store: Store) {
    let mut service = draft(3, 0).title("s").category("law").protocols(&["grpc"]);
    service.listing.kind = EntityKind::Service;
    service.listing.owner = Some("ab".repeat(32));
    put(&store, draft(1, 0).title("a").category("law").tags(&["x", "y"]).protocols(&["a2a"])).await;
    put(&store, draft(2, 0).title("b").category("art").tags(&["x"]).skill("draw-lines", "")).await;
    put(&store, service).await;
    let find = async |filter: Filter, text: &str| -> BTreeSet<String> {
        let query = Query { text: text.into(), filter, limit: 9, offset: 0 };
        let hits = store.search(at(0), &query).await.unwrap();
        assert_eq!(hits.total, hits.hits.len() as u64);
        hits.hits.into_iter().map(|h| h.entity.listing.title).collect()
    };
    let set = |titles: &[&str]| titles.iter().map(|t| (*t).to_owned()).collect::<BTreeSet<_>>();
    let some = |word: &str| vec![word.to_owned()];
    let none = Filter::default;
    assert_eq!(find(Filter { category: Some("law".into()), ..none() }, "").await, set(&["a", "s"]));
    assert_eq!(find(Filter { tags: some("X"), ..none() }, "").await, set(&["a", "b"]));
    let both = vec!["x".to_owned(), "y".to_owned()];
    assert_eq!(find(Filter { tags: both, ..none() }, "").await, set(&["a"]));
    assert_eq!(find(Filter { skills: some("draw-lines"), ..none() }, "").await, set(&["b"]));
    assert_eq!(find(Filter { skills: some("lines"), ..none() }, "").await, set(&["b"]));
    let any = vec!["a2a".to_owned(), "grpc".to_owned()];
    assert_eq!(find(Filter { protocols: any, ..none() }, "").await, set(&["a", "s"]));
    let kind = Filter { kind: Some(EntityKind::Service), ..none() };
    assert_eq!(find(kind, "").await, set(&["s"]));
    assert_eq!(find(Filter { owner: Some("ab".repeat(32)), ..none() }, "").await, set(&["s"]));
    assert_eq!(find(Filter { tags: some("x"), ..none() }, "art").await, set(&["b"]));
    assert_eq!(find(none(), "").await, set(&["a", "b", "s"]));
    let status = Filter { status: Some(Status::Expired), ..none() };
    assert_eq!(find(status, "law").await, set(&[]));
}

pub(crate) async fn syntax_is_only_words(store: Store) {
    put(&store, draft(1, 0).title("near or not").summary("strong and weak")).await;
    put(&store, draft(2, 0).title("other")).await;
    let hostile = [
        "\"",
        "'",
        "\"near",
        "near*",
        "NEAR(near or)",
        "strong:near",
        "{strong weak}:near",
        "near AND",
        "NOT near",
        "(near",
        "near)",
        "^near",
        "near:*",
        "near & !absent",
        "near <-> or",
        "'near':A",
        "near\0or",
        "-near",
        "near\\",
        "$1 near",
        "?1 near",
        "near; DROP TABLE words",
        "near -- x",
        "%near%",
        "\u{202e}near",
    ];
    for text in hostile {
        let hits = find(&store, text).await;
        let words = text.to_lowercase();
        if words.contains("near") {
            assert_eq!(titles(&hits)[0], "near or not", "{text:?}");
        }
    }
    for text in ["", " ", "\"\"", "***", "()", "\u{0}"] {
        assert_eq!(find(&store, text).await.total, 2, "{text:?} has no word");
    }
    let endless = "near ".repeat(10_000);
    assert_eq!(titles(&find(&store, &endless).await), ["near or not"]);
}

pub(crate) async fn a_changed_listing_is_found_by_its_new_words_only(store: Store) {
    put(&store, draft(1, 0).title("first word").tags(&["same"])).await;
    store.put(at(1), draft(1, 1).title("second word").tags(&["same"]).done()).await.unwrap();
    assert_eq!(find(&store, "first").await.total, 0);
    assert_eq!(find(&store, "second").await.total, 1);
    store.put(at(2), draft(1, 2).title("second word").tags(&["same"]).done()).await.unwrap();
    assert_eq!(find(&store, "second same").await.total, 1);
}

pub(crate) async fn the_beginning_of_a_last_word_is_enough(store: Store) {
    put(&store, draft(1, 0).title("german translator")).await;
    put(&store, draft(2, 0).title("german transcriber")).await;
    assert_eq!(find(&store, "german trans").await.total, 2);
    let hits = find(&store, "german transl").await;
    assert_eq!(titles(&hits), ["german translator"]);
    assert_eq!(hits.hits[0].score.matched[1].field, "title");
    assert_eq!(find(&store, "germ translator").await.total, 1, "an unknown word is left out");
    assert_eq!(find(&store, "tr").await.total, 0, "too short for a beginning");
}

pub(crate) async fn fewer_words_do_when_nobody_has_all(store: Store) {
    put(&store, draft(1, 0).title("red apple")).await;
    put(&store, draft(2, 0).title("green pear")).await;
    put(&store, draft(3, 0).title("red pear basket")).await;
    assert_eq!(titles(&find(&store, "red pear").await), ["red pear basket"]);
    let hits = find(&store, "green apple basket").await;
    assert_eq!(hits.total, 3);
    let twice = find(&store, "green apple basket").await;
    assert_eq!(titles(&hits), titles(&twice), "the order is the same every time");
}

pub(crate) async fn pages_of_hits_neither_overlap_nor_skip(store: Store) {
    let many: Vec<_> = (0..700)
        .map(|n| draft(n, 0).title(&format!("drone {n}")).summary("flies").done())
        .collect();
    let answers = store.put_many(at(0), many).await.unwrap();
    assert!(answers.iter().all(|a| matches!(a, Ok(homing_registry::storage::Put::Created))));
    for text in ["flies", ""] {
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for offset in (0..800).step_by(100) {
            let query = Query { text: text.into(), limit: 100, offset, ..Query::default() };
            let hits = store.search(at(0), &query).await.unwrap();
            assert_eq!(hits.total, 700);
            count += hits.hits.len();
            seen.extend(hits.hits.into_iter().map(|h| h.entity.listing.title));
        }
        assert_eq!((count, seen.len()), (700, 700), "{text:?}");
    }
    let beyond = Query { text: "flies".into(), limit: 10, offset: u32::MAX, ..Query::default() };
    assert!(store.search(at(0), &beyond).await.unwrap().hits.is_empty());
}

pub(crate) async fn the_dead_are_not_found(store: Store) {
    put(&store, draft(1, 0).title("moth").lives(HOUR)).await;
    put(&store, draft(2, 0).title("moth")).await;
    put(&store, draft(3, 0).title("moth")).await;
    store.put(at(1), draft(3, 1).title("moth").withdrawn().done()).await.unwrap();
    let query = Query { text: "moth".into(), limit: 9, ..Query::default() };
    assert_eq!(store.search(at(2), &query).await.unwrap().total, 2);
    let later = store.search(at(HOUR), &query).await.unwrap();
    assert_eq!((later.total, later.hits.len()), (1, 1), "expired, not swept");
    store.sweep(at(HOUR)).await.unwrap();
    assert_eq!(store.search(at(HOUR), &query).await.unwrap().total, 1);
    store.put(at(HOUR), draft(3, HOUR).title("moth").done()).await.unwrap();
    assert_eq!(store.search(at(HOUR), &query).await.unwrap().total, 2, "back from withdrawal");
}

pub(crate) async fn other_scripts_are_found(store: Store) {
    put(&store, draft(1, 0).title("Übersetzer für Café-Menüs")).await;
    put(&store, draft(2, 0).title("契約書の翻訳")).await;
    put(&store, draft(3, 0).title("Переводчик договоров")).await;
    put(&store, draft(4, 0).title("अनुवादक")).await;
    let found = async |text: &str| {
        let hits = find(&store, text).await;
        titles(&hits).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found("ubersetzer CAFE").await, ["Übersetzer für Café-Menüs"]);
    assert_eq!(found("翻訳").await, ["契約書の翻訳"]);
    assert_eq!(found("ДОГОВОРОВ").await, ["Переводчик договоров"]);
    assert_eq!(found("перев").await, ["Переводчик договоров"]);
    assert_eq!(found("अनुवादक").await, ["अनुवादक"]);
}
