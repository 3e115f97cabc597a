//! Small worlds in cluster mode: losses, crowds, cuts, liars, a change of mode. The large ones are in `scenarios/dht`.

use super::*;

const SEED: u64 = 7;

fn played(fields: &str) -> Measured {
    let text = format!("cluster = 32\nsettle_seconds = 1800\n{fields}");
    play(&Scenario::parse(&text, &[]).expect("a scenario"), SEED)
}

/// Lookups begin within 20 s of the loss: the bound for records to be reachable again is 30 s.
#[test]
fn the_records_of_a_cluster_are_found_within_seconds_of_losing_six_tenths_of_it() {
    let m = played(
        "nodes = 300\npublishers = 300\nkill_cluster = 0.6\nfinds = 200\nfind_window_seconds = 20",
    );
    let loss = m.cluster_loss.expect("asked for");
    assert!((280..296).contains(&m.nodes), "{} live", m.nodes);
    assert!(loss.count > 190 && loss.found == loss.count, "{loss}");
    assert!(loss.timeouts > 0.1 && loss.latency_ms.p99 < 10_000.0, "{loss}");
}

#[test]
fn records_are_found_within_seconds_of_losing_four_tenths_of_all_nodes() {
    let m =
        played("nodes = 300\npublishers = 100\nkill = 0.4\nfinds = 300\nfind_window_seconds = 20");
    let find = m.find_value.expect("asked for");
    assert_eq!((m.nodes, find.found, find.poisoned), (180, find.count, 0));
    assert!(find.timeouts > 0.1 && find.latency_ms.p99 < 10_000.0, "{find}");
}

#[test]
fn the_last_core_member_that_holds_a_record_hands_it_on() {
    let m = played(
        "nodes = 300\npublishers = 50\nspared_holders = 1\nrepair_seconds = 1800\nfinds = 50",
    );
    let (loss, repaired) =
        (m.holder_loss.expect("asked for"), m.holder_repaired.expect("asked for"));
    assert!(loss.count > 40 && loss.found == loss.count, "{loss}");
    assert!(repaired.placed >= 10.0, "{repaired:?}");
}

#[test]
fn five_times_the_nodes_within_a_minute_hide_nothing() {
    let m = played("nodes = 100\npublishers = 100\ncrowd = 4\nlookups_per_node_second = 0.03");
    let crowd = m.crowd.expect("asked for");
    assert_eq!(m.nodes, 500);
    assert!(crowd.count > 500 && crowd.success >= 0.999 && crowd.poisoned == 0, "{crowd}");
}

#[test]
fn clusters_that_were_cut_for_half_an_hour_find_what_both_sides_stored() {
    let m = played("nodes = 150\npublishers = 50\npartition_seconds = 1800\nfinds = 300");
    let healed = m.healed.expect("asked for");
    assert_eq!((healed.found, healed.poisoned), (healed.count, 0), "{healed}");
    assert!(
        healed.newest as f64 >= 0.7 * healed.count as f64,
        "{healed}, newest {}",
        healed.newest
    );
}

/// Liars forge values, hide them, name each other, call every member dead and tell a depth that is none.
#[test]
fn a_tenth_of_liars_forges_nothing_and_captures_no_lookup() {
    let m = played(
        "nodes = 300\nsigned = true\nliars = 0.1\nliars_forge = true\npublishers = 50\nforged_stores = 20\n\
         finds = 300\nfind_window_seconds = 10",
    );
    let (attack, find) = (m.attack.expect("asked for"), m.find_value.expect("asked for"));
    assert_eq!((attack.forged_sent, attack.forged_kept, find.poisoned), (1_000, 0, 0));
    assert!(find.success >= 0.995, "{find}");
    let clusters = m.clusters.expect("asked for");
    assert!(clusters.likeness > 0.8, "{clusters}");
}

#[test]
fn a_network_chooses_clusters_by_the_churn_it_measures() {
    let fleet = |median_session_seconds| {
        let scenario = format!(
            "nodes = 120\nauto = true\nmedian_session_seconds = {median_session_seconds}\n\
             churn_seconds = 3000\nlookups_per_node_second = 0.005\n[churn]\nmodel = \"exponential\""
        );
        let m = play(&Scenario::parse(&scenario, &[]).expect("a scenario"), SEED);
        let churn = m.churn.expect("asked for");
        assert_eq!((churn.found, churn.poisoned), (churn.count, 0), "{churn}");
        m.choices.into_iter().map(|choice| choice.mode).collect::<Vec<_>>()
    };
    assert_eq!(fleet(624), ["/homing/dht/cluster/16"], "four turnovers per hour");
    assert!(fleet(12_480).is_empty(), "a fifth of one per hour");
}

#[test]
fn a_network_changes_its_mode_and_back_under_churn_without_a_failed_lookup() {
    let m = played(
        "nodes = 200\nmigrations = 2\nmedian_session_seconds = 624\nchurn_warmup_seconds = 300\n\
         churn_seconds = 1200\nlookups_per_node_second = 0.02\n[churn]\nmodel = \"exponential\"",
    );
    let (churn, records) = (m.churn.expect("asked for"), m.churn_placement.expect("asked for"));
    assert!(churn.count > 4_000, "{churn}");
    assert_eq!((churn.found, churn.poisoned), (churn.count, 0), "{churn}");
    assert!(records.records > 150 && records.lost == 0, "{records:?}");
}
