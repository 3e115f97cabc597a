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
fn clusters_divide_know_their_members_and_lose_no_lookup_under_churn() {
    let text = "nodes = 200\ncluster = 32\nmedian_session_seconds = 624\nchurn_warmup_seconds = 600\n\
                churn_seconds = 600\nlookups_per_node_second = 0.02\n[churn]\nmodel = \"exponential\"";
    let m = play(&scenario(text), SEED);
    let (churn, clusters) = (m.churn.expect("asked for"), m.clusters.expect("asked for"));
    assert_eq!((churn.found, churn.poisoned), (churn.count, 0));
    assert!(clusters.clusters >= 6, "{clusters}");
    assert!(clusters.agreement > 0.6 && clusters.likeness > 0.8, "{clusters}");
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
    let upkeep = |m: &Measured| m.churn_upkeep.clone().expect("asked for");
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
    let text = "nodes = 400\nliars = 0.2\npublishers = 100\nfinds = 400\nfind_window_seconds = 10\nsecond_search = false";
    let with = |paths| {
        let mut scenario = scenario(text);
        scenario.paths = paths;
        play(&scenario, SEED).find_value.expect("asked for")
    };
    let (one, eight) = (with(1), with(8));
    assert!(eight.success >= 0.99, "{eight}");
    assert!(one.success < eight.success, "{one}");
}

#[test]
fn what_one_path_misses_the_second_search_finds() {
    let text = "nodes = 400\nliars = 0.2\npublishers = 100\nfinds = 400\nfind_window_seconds = 10";
    let twice = play(&scenario(text), SEED).find_value.expect("asked for");
    let mut once = scenario(text);
    once.second_search = false;
    let once = play(&once, SEED).find_value.expect("asked for");
    assert!(twice.success >= 0.99, "{twice}");
    assert!(once.success < twice.success, "{once}");
}

#[test]
fn leafsets_of_a_hundred_nodes_are_right_again_within_ten_rounds_of_a_tenth_leaving() {
    let text = "nodes = 100\njoin_per_second = 50\nsettle_seconds = 900\nkill = 0.1\nconverge_seconds = 1800";
    for seed in [1, 3] {
        let converge = play(&scenario(text), seed).converge.expect("asked for");
        assert!(converge.rounds.is_some_and(|r| r <= 10.0), "seed {seed}: {converge}");
    }
}

#[test]
fn leafsets_wider_than_twenty_become_exact_too() {
    let text = "nodes = 150\nk = 40\nsettle_seconds = 300\nkill = 0.1\nconverge_seconds = 900";
    let converge = play(&scenario(text), SEED).converge.expect("asked for");
    assert!(converge.rounds.is_some_and(|r| r <= 10.0), "{converge}");
}

#[test]
fn newcomers_find_values_although_three_of_their_four_seeds_lie() {
    let text = "nodes = 200\nliars = 0.1\npaths = 8\nseeds_per_join = 4\npoisoned_seeds = 3\nnewcomers = 20\n\
                publishers = 50\nfinds = 200\nfind_window_seconds = 10";
    let newcomers = play(&scenario(text), SEED).newcomers.expect("asked for");
    assert!(newcomers.count > 190 && newcomers.success >= 0.99, "{newcomers}");
}

#[test]
fn a_hundred_sybils_push_no_honest_claimant_of_a_name_out() {
    let text = "nodes = 100\nsigned = true\nclaimants = 2\nclaim_flood = 100\nfinds = 50";
    let claims = play(&scenario(text), SEED).claims.expect("asked for");
    assert_eq!((claims.lookups, claims.complete, claims.held_max), (50, 50, 8));
}

#[test]
fn two_halves_that_met_again_find_what_both_stored_meanwhile() {
    let text =
        "nodes = 150\nsettle_seconds = 300\npublishers = 50\npartition_seconds = 1800\nfinds = 300";
    let healed = play(&scenario(text), SEED).healed.expect("asked for");
    assert_eq!((healed.found, healed.poisoned), (healed.count, 0));
    assert!(
        healed.newest as f64 >= 0.85 * healed.count as f64,
        "{healed}, newest {}",
        healed.newest
    );
}

/// The first nodes store at whoever is there; seconds later that is nowhere near.
#[test]
fn what_the_first_nodes_stored_is_found_when_the_network_has_grown_a_thousandfold() {
    let text = "nodes = 2000\njoin_per_second = 250\nsettle_seconds = 60\nchurn_seconds = 60\nchurn_warmup_seconds = 60\n\
         median_session_seconds = 1e6\nlookups_per_node_second = 0.01\n[churn]\nmodel = \"exponential\"";
    let m = play(&scenario(text), SEED);
    let records = m.churn_placement.expect("asked for");
    assert!(records.records == 2_000 && records.placed_min >= 15, "{records:?}");
}

#[test]
fn nothing_is_lost_when_three_tenths_crash_at_once() {
    let text = "nodes = 200\nsettle_seconds = 300\npublishers = 50\nkill = 0.3\nfinds = 200\nrepair_seconds = 1080";
    let m = play(&scenario(text), SEED);
    let (at_once, later) = (m.find_value.expect("asked for"), m.found_repaired.expect("asked for"));
    assert_eq!((at_once.found, later.found), (at_once.count, later.count));
    let placed = m.repaired.expect("asked for");
    assert!(placed.lost == 0 && placed.placed > 13.0, "{placed:?}");
}

#[test]
fn nodes_that_answer_late_slow_nobody_down() {
    let text = "nodes = 200\nslow = 0.2\npublishers = 50\nfinds = 300\nfind_window_seconds = 10";
    let find = play(&scenario(text), SEED).find_value.expect("asked for");
    assert_eq!(find.found, find.count);
    assert!(find.latency_ms.p95 <= 200.0, "{find}");
}

#[test]
fn clocks_five_minutes_off_lose_nothing_and_clocks_a_day_off_poison_nothing() {
    let text = "nodes = 100\nsigned = true\npublishers = 30\nfinds = 100\nskew_seconds = 300";
    let minutes = play(&scenario(text), SEED).find_value.expect("asked for");
    assert_eq!((minutes.found, minutes.poisoned), (minutes.count, 0));
    let mut days = scenario(text);
    days.skew_seconds = 86_400.0;
    let days = play(&days, SEED).find_value.expect("asked for");
    assert!(days.poisoned == 0 && days.found < days.count, "{days}");
}

#[test]
fn nodes_that_come_and_go_at_one_prefix_hardly_hide_a_record_and_cost_little() {
    let text = "nodes = 200\npublishers = 20\nchurners = 20\nchurned_seconds = 300\nfinds = 100";
    let m = play(&scenario(text), SEED);
    let (found, price) = (m.churned.expect("asked for"), m.churned_upkeep.expect("asked for"));
    // All k closest are the adversary's, and none of them lives longer than 20 s: some lookups come in
    // between, 5 of 99 with this seed.
    assert!(found.success >= 0.9 && found.poisoned == 0, "{found}");
    assert!(price.maintenance_bytes < 1_500.0, "{price}");
}

#[test]
fn a_scenario_is_found_beside_the_dht_folder_and_known_by_what_it_says() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    for entry in std::fs::read_dir(root.join("dht")).expect("the scenarios") {
        let path = entry.expect("an entry").path();
        let short = root.join(path.file_name().expect("a name"));
        let text = std::fs::read_to_string(located(&short)).expect("a scenario");
        assert!(is_dht(&text), "{}", path.display());
        scenario(&text);
    }
    let whole_agents = std::fs::read_to_string(located(&root.join("calm.toml"))).expect("there");
    assert!(!is_dht(&whole_agents));
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
        "k = 41",
        "world = \"agents\"",
        "nodes = 10\npoisoned_seeds = 1",
        "nodes = 10\nfinds = 5",
        "churn_seconds = 5",
    ] {
        assert!(Scenario::parse(text, &[]).is_err(), "{text}");
    }
    let changed = Scenario::parse("nodes = 10", &["nodes=20".into()]).expect("a change");
    assert_eq!(changed.nodes, 20);
}
