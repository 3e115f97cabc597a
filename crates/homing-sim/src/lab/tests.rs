use super::fleet::{NatMix, Region, Route};
use super::run::Job;
use super::table::{Mean, cells, rows};
use super::trial::{Stop, play};
use super::{Fleet, Lifetimes, Model, Span, Strategy, Weights};

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
fn a_log_is_played_to_its_end_unless_somebody_says_less() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = |last: f64, duration: &str| {
        let line =
            |at: f64, agent| format!("{{\"at\":{at},\"event\":\"join\",\"agent\":\"{agent}\"}}\n");
        let log = [(0.0, "a"), (1.0, "b"), (last, "c")].map(|(at, agent)| line(at, agent)).concat();
        std::fs::write(dir.path().join("fleet.jsonl"), log).unwrap();
        let scenario = dir.path().join("fleet.toml");
        std::fs::write(&scenario, format!("events = \"fleet.jsonl\"\n{duration}")).unwrap();
        let mut fleet = Fleet::read(&scenario).unwrap();
        fleet.check().map(|_| fleet.duration.to_string())
    };
    assert_eq!(fleet(35_999.0, "").unwrap(), "10h");
    assert_eq!(fleet(35_999.0, "duration = \"15m\"").unwrap(), "15m");
    assert_eq!(fleet(35_999.0, "duration = \"2d\"").unwrap(), "10h");
    // A week with the warm-up is as long as it gets.
    assert_eq!(fleet(864_000.0, "warmup = \"1h\"").unwrap(), "167h");
    assert!(fleet(864_000.0, "duration = \"8d\"").is_err());
    let mut without = Fleet::default();
    without.check().unwrap();
    assert_eq!(without.duration.to_string(), "15m");
}

#[test]
fn who_looks_for_nothing_does_not_succeed_and_one_seed_has_no_band() {
    let trial = |mut fleet: Fleet| {
        let log = fleet.check().unwrap();
        let trial = play(&fleet, log.as_ref(), 3, &Stop::default()).unwrap();
        (Job { strategy: fleet.strategy, turnover: None, agents: None, seed: 3 }, trial)
    };
    let idle = rows(&[trial(Fleet { lookups_per_minute: 0.0, ..small() })]);
    assert_eq!((idle[0].lookups, idle[0].success), (0, None), "{idle:?}");
    assert!(idle[0].hops.mean.is_sign_positive(), "{idle:?}");
    assert_eq!(cells(&idle[0])[4..8], ["–"; 4], "success, p50, p95, hops");
    let busy = rows(&[trial(small())]);
    let line = cells(&busy[0])[4..8].join(" ");
    assert!(line.contains(" % ") && !line.contains('±') && !line.contains('–'), "{line}");
}

#[test]
fn bands_that_meet_are_no_difference() {
    let of = |mean, band| Mean { mean, band: Some(band) };
    assert!(!of(33.0, 6.0).differs(&of(36.0, 9.0)));
    assert!(of(33.0, 1.0).differs(&of(36.0, 1.0)));
    assert!(!Mean::of(&[1.0]).differs(&Mean::of(&[2.0])), "one seed says nothing");
    assert_eq!(format!("{:.0} {:.1}", of(33.0, 6.0), Mean::of(&[2.0])), "33 ± 6 2.0");
}

#[test]
fn a_weight_is_said_once() {
    let error = Weights::usual(false).changed("churn=1,churn=2").unwrap_err();
    assert!(error.contains("twice"), "{error}");
}

#[test]
fn durations_that_are_too_long_are_told_from_no_durations() {
    let told = |text: &str| text.parse::<Span>().unwrap_err().to_string();
    assert!(told("99999999999d").contains("out of range"));
    assert!(told("soon").contains("no duration"));
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
    let region = |name: &str| Region { name: name.into(), share: 1.0, rtt: Span::seconds(0.1) };
    let route =
        |from: &str, to: &str| Route { from: from.into(), to: to.into(), rtt: Span::seconds(0.1) };
    let twice = vec![route("eu", "us"), route("us", "eu")];
    let cases: [(Fleet, &str); 8] = [
        (Fleet { agents: 1, ..small() }, "agents"),
        (Fleet { loss: 0.9, ..small() }, "loss"),
        (Fleet { events: Some("x".into()), ..small() }, "contradicts sessions"),
        (Fleet { k: 100, ..small() }, "k, alpha"),
        (Fleet { agents: 200_000, duration: Span::seconds(86_400.0), ..small() }, "days of work"),
        (Fleet { strategy: Strategy::Ipns, ..small() }, "compare"),
        (Fleet { forge: true, ..small() }, "needs adversaries"),
        (
            Fleet { regions: vec![region("eu"), region("us")], routes: twice, ..small() },
            "us to eu is there twice",
        ),
    ];
    for (mut fleet, what) in cases {
        let error = fleet.check().unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}
