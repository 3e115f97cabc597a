use crate::lab::trial::{Stop, play};
use crate::lab::{Fleet, Lifetimes, Span, Strategy};

use super::ring::between;

#[test]
fn an_interval_of_the_ring_ends_where_it_says() {
    assert!(between(5, 3, 5) && !between(3, 3, 5) && !between(6, 3, 5));
    assert!(between(1, u64::MAX, 5) && between(u64::MAX, 9, 3) && between(9, 9, 9));
}

fn fleet() -> Fleet {
    Fleet {
        strategy: Strategy::Chord,
        agents: 150,
        duration: Span::seconds(300.0),
        warmup: Span::seconds(120.0),
        ..Fleet::default()
    }
}

#[test]
fn a_calm_ring_finds_everything_and_loses_nothing() {
    let mut fleet = fleet();
    fleet.check().unwrap();
    let figures = play(&fleet, None, 1, &Stop::default()).unwrap().figures;
    println!("{figures:?}");
    assert!(figures.success > 0.999 && figures.records_lost == 0, "{figures:?}");
    assert!(figures.lookups > 500 && figures.hops < 8.0);
    assert!(figures.convergence.last().is_some_and(|(_, share)| *share > 0.8), "{figures:?}");
}

#[test]
fn a_ring_under_churn_still_finds_most() {
    let sessions = Lifetimes { mean: Some(Span::seconds(1_800.0)), ..Lifetimes::default() };
    let mut fleet = Fleet { sessions: Some(sessions), ..fleet() };
    fleet.check().unwrap();
    let figures = play(&fleet, None, 2, &Stop::default()).unwrap().figures;
    println!("{figures:?}");
    assert!(figures.success > 0.98 && figures.leaves > 5, "{figures:?}");
}
