//! A seed is a history, and the swarm of the test command.

use homing_sim::sweep::{FIRST_SEED, sweep};
use homing_sim::{Outcome, Scenario, run};

#[test]
fn two_runs_of_one_seed_are_one_history() {
    let scenario = Scenario { agents: 40, ..Scenario::default() };
    for seed in 0..4 {
        let (one, two) = (run(&scenario, seed), run(&scenario, seed));
        assert_eq!((one.trace, one.events), (two.trace, two.events), "seed {seed}");
    }
    assert_ne!(run(&scenario, 1).trace, run(&scenario, 2).trace);
}

/// The test command sweeps 100 seeds of 200 agents beside this; here is the same in small.
#[test]
fn every_seed_of_a_small_swarm_holds() {
    let scenario = Scenario { agents: 50, ..Scenario::named("swarm").unwrap() };
    let outcomes = sweep(&scenario, 24, 2);
    assert_eq!((outcomes.len(), outcomes[0].seed), (24, FIRST_SEED));
    all_passed(&outcomes);
}

#[test]
fn adversaries_twins_and_wrong_clocks_hold() {
    let scenario = Scenario::named("hostile").unwrap();
    all_passed(&sweep(&scenario, 20, 2));
}

fn all_passed(outcomes: &[Outcome]) {
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.passed())
        .map(|outcome| format!("{:?}\n{}", outcome.findings, outcome.reproduce()))
        .collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), outcomes.len(), failed.join("\n"));
}
