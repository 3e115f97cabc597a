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

#[test]
fn two_hundred_seeds_of_two_hundred_agents_hold() {
    let scenario = Scenario::named("swarm").unwrap();
    assert_eq!(scenario.agents, 200);
    let outcomes = sweep(&scenario, 200, 2);
    assert_eq!((outcomes.len(), outcomes[0].seed), (200, FIRST_SEED));
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
