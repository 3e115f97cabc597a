//! The simulator is tested: a rule that is broken on purpose is found.

use homing_sim::swarm::run_with;
use homing_sim::{Canary, Scenario};

/// How the first of some seeds fails with a broken rule; none fails without.
fn found(canary: Canary, scenario: &Scenario) -> Option<String> {
    (0..6).find_map(|seed| {
        let (sound, _) = run_with(scenario, seed, None, false);
        assert!(sound.passed(), "{:?}\n{}", sound.findings, sound.reproduce());
        let (broken, _) = run_with(scenario, seed, Some(canary), false);
        broken.findings.first().cloned()
    })
}

fn scenario(name: &str) -> Scenario {
    Scenario { agents: 30, ..Scenario::named(name).expect("built in") }
}

#[test]
fn a_store_that_takes_older_records_is_found() {
    let finding = found(Canary::AcceptOlderRecords, &scenario("hostile")).expect("found");
    assert!(finding.contains("taken back"), "{finding}");
}

#[test]
fn a_shell_that_forgets_to_write_is_found() {
    let finding = found(Canary::ForgetPersist, &scenario("spot-fleet")).expect("found");
    assert!(finding.contains("durable") || finding.contains("store"), "{finding}");
}

#[test]
fn a_shell_that_keeps_streams_after_trust_ended_is_found() {
    let finding = found(Canary::KeepStreamsAfterRevoke, &scenario("hostile")).expect("found");
    assert!(finding.contains("stream"), "{finding}");
}
