use super::fleet::{NatMix, Region, Route};
use super::trial::{Stop, play};
use super::{Fleet, Lifetimes, Model, Span, Strategy};

fn small() -> Fleet {
    Fleet {
        agents: 80,
        duration: Span::seconds(240.0),
        warmup: Span::seconds(120.0),
        sessions: Some(Lifetimes {
            model: Model::Weibull,
            median: Some(Span::seconds(900.0)),
            ..Lifetimes::default()
        }),
        ..Fleet::default()
    }
}

fn played(mut fleet: Fleet, seed: u64) -> super::Figures {
    println!("seed {seed}");
    let log = fleet.check().expect("a sound fleet");
    play(&fleet, log.as_ref(), seed, &Stop::default()).expect("not stopped").figures
}

#[test]
fn one_seed_is_one_history() {
    for strategy in [Strategy::Kademlia, Strategy::Cluster, Strategy::Chord] {
        let fleet = Fleet { strategy, ..small() };
        let (first, again, other) =
            (played(fleet.clone(), 7), played(fleet.clone(), 7), played(fleet, 8));
        assert_eq!(first, again);
        assert_ne!(first.trace, other.trace);
        assert!(first.success > 0.98 && first.joins > 0, "{strategy}: {first:?}");
    }
}

#[test]
fn regions_doors_and_loss_cost_time_and_not_records() {
    let region = |name: &str, share| Region { name: name.into(), share, rtt: Span::seconds(0.1) };
    let far = Fleet {
        regions: vec![region("eu", 1.0), region("us", 2.0)],
        routes: vec![Route { from: "us".into(), to: "eu".into(), rtt: Span::seconds(0.2) }],
        nat: NatMix { public: 0.5, mapped: 0.3, symmetric: 0.2 },
        loss: 0.02,
        ..small()
    };
    let near = Fleet { rtt: Span::seconds(0.01), plane: false, ..small() };
    let (far, near) = (played(far, 3), played(near, 3));
    assert!(far.success > 0.97 && far.records_lost == 0, "{far:?}");
    assert!(far.latency_p95_ms > 2.0 * near.latency_p95_ms, "{far:?} {near:?}");
}

#[test]
fn a_log_decides_who_lives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet.jsonl");
    let mut lines = String::new();
    for agent in 0..30 {
        lines += &format!("{{\"at\":{agent},\"event\":\"join\",\"agent\":\"a{agent}\"}}\n");
    }
    for agent in 0..10 {
        let at = 200 + 10 * agent;
        lines += &format!("{{\"at\":{at},\"event\":\"leave\",\"agent\":\"a{agent}\"}}\n");
    }
    lines += "{\"at\":400,\"event\":\"join\",\"agent\":\"a3\"}\n";
    std::fs::write(&path, lines).unwrap();
    let fleet = Fleet { events: Some(path), sessions: None, reclaim: 0.0, ..small() };
    let figures = played(Fleet { duration: Span::seconds(3_600.0), ..fleet }, 5);
    assert_eq!((figures.joins, figures.leaves, figures.agents), (31, 10, 21), "{figures:?}");
    assert!(figures.success > 0.95, "{figures:?}");
}

#[test]
fn a_stopped_trial_has_no_figures() {
    let (mut fleet, stop) = (small(), Stop::default());
    fleet.check().unwrap();
    stop.now.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(play(&fleet, None, 1, &stop), None);
}

#[test]
fn what_cannot_be_is_refused_before_anything_happens() {
    let cases: [(Fleet, &str); 7] = [
        (Fleet { agents: 1, ..small() }, "agents"),
        (Fleet { loss: 0.9, ..small() }, "loss"),
        (Fleet { events: Some("x".into()), ..small() }, "contradicts sessions"),
        (Fleet { k: 100, ..small() }, "k, alpha"),
        (Fleet { agents: 200_000, duration: Span::seconds(86_400.0), ..small() }, "days of work"),
        (Fleet { strategy: Strategy::Ipns, ..small() }, "compare"),
        (Fleet { forge: true, ..small() }, "needs adversaries"),
    ];
    for (mut fleet, what) in cases {
        let error = fleet.check().unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}
