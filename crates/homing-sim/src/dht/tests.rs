//! Small worlds. Counts are exact per seed; the large ones are in `scenarios/dht`.

use super::*;

const SEED: u64 = 7;

fn scenario(fields: &str) -> Scenario {
    Scenario::parse(fields, &[]).expect("a scenario")
}

#[test]
fn every_record_is_at_its_true_twenty_closest_and_every_lookup_finds_all_of_them() {
    let m = play(&scenario("nodes = 200\npublishers = 50\nfind_nodes = 100"), SEED);
    let (publish, find) = (m.publish.expect("asked for"), m.find_node.expect("asked for"));
    assert_eq!((publish.count, publish.placed, publish.placed_min), (50, 20.0, 20));
    assert_eq!((find.count, find.recall, find.closest), (100, 1.0, 1.0));
}

#[test]
fn values_are_found_right_after_half_of_all_nodes_died() {
    let m = play(&scenario("nodes = 300\npublishers = 100\nkill = 0.5\nfinds = 300"), SEED);
    let find = m.find_value.expect("asked for");
    assert_eq!(m.nodes, 150);
    assert_eq!((find.found, find.poisoned), (find.count, 0));
    assert!(find.count > 290 && find.timeouts > 0.1, "{find}");
}

#[test]
fn leafsets_are_right_again_within_ten_rounds_of_a_mass_join() {
    let text = "nodes = 200\nsettle_seconds = 300\njoin = 0.1\nconverge_seconds = 900";
    let converge = play(&scenario(text), SEED).converge.expect("asked for");
    assert!(converge.right_at_once < 0.9, "{converge}");
    assert!(converge.rounds.is_some_and(|r| r <= 10.0), "{converge}");
}

#[test]
fn lookups_succeed_while_half_of_the_nodes_change_every_ten_minutes() {
    let text = "nodes = 200\nmedian_session_seconds = 600\nchurn_warmup_seconds = 300\n\
                churn_seconds = 600\nlookups_per_node_second = 0.02\n[churn]\nmodel = \"weibull\"\nshape = 0.59";
    let m = play(&scenario(text), SEED);
    let churn = m.churn.expect("asked for");
    assert_eq!((m.nodes, churn.found, churn.poisoned), (200, churn.count, 0));
    assert!(churn.count > 2_000 && churn.timeouts > 0.05, "{churn}");
}

#[test]
fn reactive_recovery_collapses_where_periodic_recovery_drops_nothing() {
    let text = "nodes = 200\nlatency = \"plane\"\nrtt_ms = 156\nuplink_bytes_per_second = 16000\n\
                median_session_seconds = 600\nchurn_seconds = 300\nevents_max = 1500000\n\
                [churn]\nmodel = \"exponential\"";
    let periodic = play(&scenario(text), SEED);
    let mut reactive = scenario(text);
    reactive.reactive = true;
    let reactive = play(&reactive, SEED);
    let upkeep = |m: &Measured| m.churn_upkeep.expect("asked for");
    assert!(!periodic.diverged);
    assert_eq!(upkeep(&periodic).dropped, 0);
    assert!(upkeep(&reactive).dropped > 1_000, "{}", upkeep(&reactive));
    assert!(upkeep(&reactive).messages > 10.0 * upkeep(&periodic).messages);
}

#[test]
fn forged_values_are_kept_by_nobody_and_believed_by_nobody() {
    let text = "nodes = 120\nsigned = true\nliars = 0.2\nliars_forge = true\npaths = 4\npublishers = 20\n\
                forged_stores = 20\nflood_stores = 2000\nfinds = 100";
    let m = play(&scenario(text), SEED);
    let (attack, find) = (m.attack.expect("asked for"), m.find_value.expect("asked for"));
    assert_eq!((attack.forged_sent, attack.forged_kept), (400, 0));
    assert!(attack.flood_kept <= 70, "{}", attack.flood_kept);
    assert_eq!((find.found, find.poisoned), (find.count, 0));
}

#[test]
fn a_record_is_found_although_twenty_five_sybils_surround_its_key() {
    let text = "nodes = 400\nsybil_targets = 4\npublishers = 4\nfinds = 100";
    let with = play(&scenario(text), SEED).find_value.expect("asked for");
    assert_eq!(with.found, with.count);
    let mut without = scenario(text);
    without.region_query = false;
    let without = play(&without, SEED).find_value.expect("asked for");
    assert!(without.success < 0.5, "{without}");
}

#[test]
fn disjoint_paths_find_what_liars_hide() {
    let text = "nodes = 400\nliars = 0.2\npublishers = 100\nfinds = 400\nfind_window_seconds = 10\npaths = 8";
    let eight = play(&scenario(text), SEED).find_value.expect("asked for");
    let mut one = scenario(text);
    one.paths = 1;
    let one = play(&one, SEED).find_value.expect("asked for");
    assert!(eight.success >= 0.99, "{eight}");
    assert!(one.success < eight.success, "{one}");
}

#[test]
fn one_seed_is_one_history() {
    let scenario =
        scenario("nodes = 60\npublishers = 10\nfinds = 20\nkill = 0.2\nconverge_seconds = 100");
    assert_eq!(play(&scenario, SEED), play(&scenario, SEED));
    assert_ne!(play(&scenario, SEED), play(&scenario, SEED + 1));
}

#[test]
fn unknown_fields_and_values_out_of_bounds_are_errors() {
    for text in [
        "nodez = 5",
        "nodes = 1",
        "kill = 1.5",
        "paths = 9",
        "nodes = 10\nfinds = 5",
        "churn_seconds = 5",
    ] {
        assert!(Scenario::parse(text, &[]).is_err(), "{text}");
    }
    let changed = Scenario::parse("nodes = 10", &["nodes=20".into()]).expect("a change");
    assert_eq!(changed.nodes, 20);
}
