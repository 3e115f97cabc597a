//! Small worlds. Counts are exact per seed; the large ones are in `scenarios/gossip`.

use super::*;

const SEED: u64 = 7;

fn scenario(fields: &str) -> Scenario {
    Scenario::parse(fields, &[]).expect("a scenario")
}

fn small(graph: &str, more: &str) -> Measured {
    play(&scenario(&format!("nodes = 40\nrecords = 60\ngraph = \"{graph}\"\n{more}")), SEED)
}

#[test]
fn every_record_is_everywhere_whatever_the_shape() {
    for graph in ["line", "tree", "ring", "random"] {
        let publish = small(graph, "").publish.expect("asked for");
        assert_eq!((publish.missing, publish.wrong), (0, 0), "{graph}: {publish}");
        assert!(publish.seconds < 10.0, "{graph}: {publish}");
    }
}

#[test]
fn lost_messages_delay_records_and_lose_none() {
    for graph in ["line", "tree", "ring", "random"] {
        let publish = small(graph, "loss = 0.1").publish.expect("asked for");
        assert_eq!((publish.missing, publish.wrong), (0, 0), "{graph}: {publish}");
    }
}

#[test]
fn who_joins_an_hour_later_has_everything_within_two_rounds() {
    for loss in ["0.0", "0.1"] {
        let more = format!("loss = {loss}\njoiners = 3\njoin_after_seconds = 3600");
        let join = small("random", &more).join.expect("asked for");
        assert_eq!(join.complete, 3);
        assert!(join.rounds_max <= 2, "loss {loss}: {join:?}");
    }
}

#[test]
fn half_an_hour_of_partition_heals_within_a_minute() {
    for (graph, loss) in [("random", "0.0"), ("random", "0.1"), ("tree", "0.1"), ("line", "0.0")] {
        let more = format!("loss = {loss}\npartition_seconds = 1800\npartition_records = 100");
        let heal = small(graph, &more).heal.expect("asked for");
        assert_eq!((heal.missing, heal.wrong), (0, 0), "{graph}, loss {loss}: {heal}");
        assert!(heal.seconds < 60.0, "{graph}, loss {loss}: {heal}");
    }
}

#[test]
fn silence_costs_less_than_a_kilobyte_per_peer_in_thirty_seconds() {
    for graph in ["line", "random"] {
        let idle = small(graph, "idle_seconds = 900").idle.expect("asked for");
        assert!(idle.bytes_per_peer_30s < 1_024.0, "{graph}: {idle:?}");
        assert!(idle.bytes_per_peer_30s > 0.0, "{graph}: {idle:?}");
    }
}

#[test]
fn small_tables_keep_their_part_and_do_not_thrash() {
    let text = "nodes = 40\nrecords = 400\ncapacity_entries = 100\npatience_seconds = 60\nidle_seconds = 900";
    let idle = play(&scenario(text), SEED).idle.expect("asked for");
    assert!(idle.bytes_per_peer_30s < 1_024.0, "{idle:?}");
}

#[test]
fn forged_records_are_kept_by_nobody_and_silence_the_forger() {
    let m = small("random", "forgers = 4\nattack_seconds = 30");
    let (attack, harm) = (m.attack.expect("asked for"), m.harm.expect("asked for"));
    assert!(harm.sent > 1_000 && harm.mutes >= 4, "{harm:?}");
    assert_eq!((harm.accepted, attack.missing, attack.wrong), (0, 0, 0), "{attack}");
}

#[test]
fn replayed_records_displace_nothing() {
    let m = small("random", "replayers = 4\nattack_seconds = 30");
    let (attack, harm) = (m.attack.expect("asked for"), m.harm.expect("asked for"));
    assert!(harm.sent > 1_000, "{harm:?}");
    assert_eq!((harm.accepted, harm.mutes, attack.missing, attack.wrong), (0, 0, 0, 0), "{attack}");
}

#[test]
fn a_flood_of_made_up_identities_is_taken_at_a_bounded_pace() {
    let m = small("random", "flooders = 1\nattack_seconds = 30\nattack_per_second = 50");
    let (attack, harm) = (m.attack.expect("asked for"), m.harm.expect("asked for"));
    assert!(harm.sent > 100_000, "{harm:?}");
    // 300 at once and 15 a second over each of the flooder's links, then everywhere.
    assert!(harm.accepted / 39 < harm.sent / 10, "{harm:?}");
    assert_eq!((attack.missing, attack.wrong), (0, 0), "{attack}");
}

#[test]
fn what_some_withhold_comes_another_way() {
    let m = small("random", "withholders = 8\nloss = 0.1");
    let publish = m.publish.expect("asked for");
    assert_eq!((m.honest, publish.missing, publish.wrong), (32, 0, 0), "{publish}");
}

#[test]
fn one_seed_is_one_history() {
    let scenario = scenario("nodes = 20\nrecords = 20\nloss = 0.1\nidle_seconds = 100");
    assert_eq!(play(&scenario, SEED), play(&scenario, SEED));
    assert_ne!(play(&scenario, SEED), play(&scenario, SEED + 1));
}

#[test]
fn unknown_fields_and_values_out_of_bounds_are_errors() {
    for text in ["nodez = 5", "nodes = 1", "loss = 1.5", "forgers = 50", "links = 0"] {
        assert!(Scenario::parse(text, &[]).is_err(), "{text}");
    }
    let changed = Scenario::parse("nodes = 10", &["nodes=20".into()]).expect("a change");
    assert_eq!(changed.nodes, 20);
}
