//! `homing lab` through the binary: what it refuses, what it repeats, what it keeps when interrupted.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says so by failing")]

mod support;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Finished, Home, PATIENCE, finished};

const SMALL: [&str; 10] = [
    "lab",
    "simulate",
    "--agents",
    "60",
    "--duration",
    "60s",
    "--warmup",
    "30s",
    "--median",
    "20m",
];

#[test]
fn one_seed_is_one_history_and_another_is_not() {
    let home = Home::new();
    let trace = |seed: &str| {
        let answer = home.json(&[&SMALL[..], &["--seed", seed]].concat());
        assert_eq!(answer["schema"], "homing.lab_simulation/v1");
        assert_eq!(answer["trials"][0]["seed"].to_string(), seed);
        assert!(answer["trials"][0]["figures"]["success"].as_f64().unwrap() > 0.9, "{answer}");
        answer["trials"][0]["figures"]["trace"].as_str().unwrap().to_owned()
    };
    let (first, again, other) = (trace("7"), trace("7"), trace("8"));
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(!home.path("lab").exists(), "a run that is done leaves nothing behind");
}

#[test]
fn what_cannot_be_is_refused_with_a_next_step() {
    let home = Home::new();
    let broken = home.path("broken.jsonl");
    let log = "{\"at\":1,\"event\":\"join\",\"agent\":\"a\"}\n{\"at\":2,\"event\":\"join\",\"agent\":\"a\"}\n";
    std::fs::write(&broken, log).unwrap();
    let unknown = home.path("unknown.toml");
    std::fs::write(&unknown, "agents = 10\nagnets = 20\n").unwrap();
    let far = home.path("far.jsonl");
    std::fs::write(&far, "{\"at\":1e308,\"event\":\"join\",\"agent\":\"a\"}\n").unwrap();
    let (broken, unknown) = (broken.to_str().unwrap(), unknown.to_str().unwrap());
    let far = far.to_str().unwrap();
    let two =
        ["simulate", "--region", "eu=1:15ms", "--region", "us=1:15ms", "--route", "eu,us=90ms"];
    let plan = ["plan", "--agents", "10", "--lifetime", "1h"];
    let cases: [(&[&str], &str, i64, &str); 27] = [
        (&["simulate", "--agents", "1"], "usage", 2, "agents"),
        (&["simulate", "--loss", "0.9"], "usage", 2, "loss"),
        (&["simulate", "--median", "1h", "--mean", "1h"], "usage", 2, "--median"),
        (&["simulate", "--events", broken, "--median", "1h"], "usage", 2, "--"),
        (&["simulate", "--events", broken], "config_invalid", 10, "line 2"),
        (&["simulate", "--events", "/nonexistent.jsonl"], "not_found", 3, "nonexistent"),
        (&["simulate", unknown], "config_invalid", 10, "line 2"),
        (&["simulate", "--resume", "/nonexistent"], "not_found", 3, "no run"),
        (&["simulate", "--events", far], "config_invalid", 10, "line 1: 1e308 is no time"),
        (&["simulate", "--seeds", "100000000"], "usage", 2, "100000000"),
        (&["simulate", "--seed", "18446744073709551615", "--seeds", "3"], "usage", 2, "--seed"),
        (&["simulate", "--jobs", "0"], "usage", 2, "--jobs"),
        (&["simulate", "--duration", "99999999999d"], "usage", 2, "out of range"),
        (&["simulate", "--nat", "public=1,public=2"], "usage", 2, "twice"),
        (&["simulate", "--html", "/nonexistent/a.html"], "usage", 2, "--html"),
        (&[&two[..], &["--rtt", "50ms"]].concat(), "usage", 2, "--rtt"),
        (&[&two[..], &["--route", "us,eu=80ms"]].concat(), "usage", 2, "--route us,eu"),
        (&["compare", "--turnover", "0"], "usage", 2, "--turnover"),
        (&["compare", "--turnover", "20"], "usage", 2, "write 20%"),
        (&["compare", "--median", "1h"], "usage", 2, "--median"),
        (&["compare", "--mean", "1h"], "usage", 2, "--mean"),
        (&["compare", "--strategy", "chord", "--strategies", "cluster"], "usage", 2, "--strategy"),
        (&["compare", "--seeds", "100000000"], "usage", 2, "100000000"),
        (&[&plan[..], &["--weights", "churn=1,churn=2"]].concat(), "usage", 2, "twice"),
        (&[&plan[..], &["--jobs", "0"]].concat(), "usage", 2, "--jobs"),
        (
            &["plan", "--agents", "10", "--lifetime", "1h", "--weights", "chrun=1"],
            "usage",
            2,
            "chrun",
        ),
        (&["record", "log.jsonl"], "daemon_not_running", 4, "daemons"),
    ];
    for (args, code, exit, what) in cases {
        let error = home.failure(&[&["lab"], args].concat());
        assert_eq!((&error["code"], error["exit"].as_i64()), (&code.into(), Some(exit)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(what), "{error}");
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{error}");
    }
    assert!(!std::path::Path::new("log.jsonl").exists(), "nothing is written without a daemon");
}

/// A run that gets a signal once two trials are kept, as it ended.
fn stopped(child: Child, signal: Signal, trials: impl Fn() -> usize) -> Finished {
    let deadline = Instant::now() + PATIENCE;
    while trials() < 2 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    finished(child.wait_with_output().unwrap())
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let home = Home::new();
    let dir = home.path("study");
    let dir = dir.to_str().unwrap();
    let grid = ["--strategies", "kademlia,chord,ipns", "--turnover", "50%,200%", "--seeds", "30"];
    let small = ["--agents", "60", "--duration", "60s", "--warmup", "30s", "--jobs", "1"];
    let small = [&small[..], &["--model", "weibull"]].concat();
    let args = [&["lab", "compare", "--run", dir, "--json"], &grid[..], &small].concat();
    let child = home.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let trials = || std::fs::read_dir(home.path("study/trials")).map_or(0, Iterator::count);
    let done = stopped(child, Signal::SIGINT, trials);
    assert_eq!((done.code, &done.error()["code"]), (130, &"interrupted".into()), "{done:?}");
    assert!(done.error()["hint"].as_str().unwrap().contains("--resume"), "{done:?}");
    let kept = trials();
    assert!((2..180).contains(&kept), "{kept}");

    // What is there is taken as it is: a changed figure shows that nothing is played twice.
    let first = home.path("study/trials/kademlia-0.5-1.json");
    let text = std::fs::read_to_string(&first).unwrap();
    let mut trial: serde_json::Value = serde_json::from_str(&text).unwrap();
    trial["figures"]["trace"] = "kept".into();
    std::fs::write(&first, trial.to_string()).unwrap();
    // Fewer trials suffice to see it go on.
    let request = home.path("study/run.json");
    let text = std::fs::read_to_string(&request).unwrap();
    let mut run: serde_json::Value = serde_json::from_str(&text).unwrap();
    run["jobs"].as_array_mut().unwrap().truncate(6);
    std::fs::write(&request, run.to_string()).unwrap();

    let report = home.path("report.html");
    let html = report.to_str().unwrap();
    let answer = home.json(&["lab", "compare", "--resume", dir, "--html", html]);
    assert_eq!(answer["trials"].as_array().unwrap().len(), 6, "{answer}");
    assert_eq!(answer["trials"][0]["figures"]["trace"], "kept");
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.contains("<svg") && !html.contains("<script") && !html.contains("src="), "{html}");
    let wrong = home.failure(&["lab", "simulate", "--resume", dir]);
    assert_eq!(wrong["exit"], 3);
    assert_eq!(wrong["hint"], format!("homing lab compare --resume {dir}"));
    assert!(home.path("study").exists(), "what --run named is kept");
}

#[test]
fn a_terminated_run_says_where_it_is_and_goes_when_it_is_done() {
    let home = Home::new();
    let args = [&SMALL[..], &["--seeds", "200", "--jobs", "1", "--json"]].concat();
    let child = home.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let run = || std::fs::read_dir(home.path("lab")).ok()?.next()?.ok().map(|e| e.path());
    let trials = || run().and_then(|dir| std::fs::read_dir(dir.join("trials")).ok());
    let done = stopped(child, Signal::SIGTERM, || trials().map_or(0, Iterator::count));
    assert_eq!((done.code, &done.error()["code"]), (143, &"interrupted".into()), "{done:?}");
    let dir = run().unwrap();
    let hint = format!("homing lab simulate --resume {}", dir.display());
    assert_eq!(done.error()["hint"], hint, "{done:?}");

    let request = dir.join("run.json");
    let text = std::fs::read_to_string(&request).unwrap();
    let mut asked: serde_json::Value = serde_json::from_str(&text).unwrap();
    asked["jobs"].as_array_mut().unwrap().truncate(3);
    std::fs::write(&request, asked.to_string()).unwrap();
    let resume = ["lab", "simulate", "--resume", dir.to_str().unwrap()];
    let failed = home.failure(&[&resume[..], &["--html", "/dev/full"]].concat());
    assert!(failed["message"].as_str().unwrap().contains("/dev/full"), "{failed}");
    assert_eq!(failed["code"], "disk_full", "{failed}");
    assert!(failed["hint"].as_str().unwrap().starts_with(&hint), "{failed}");
    assert_eq!(home.json(&resume)["trials"].as_array().unwrap().len(), 3);
    assert!(!home.path("lab").exists(), "nobody asked to keep it");
}

#[test]
fn figures_that_cannot_be_written_are_an_error() {
    let home = Home::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let args = [&SMALL[..], &["--json"]].concat();
    let child = home.command(&args).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let done = finished(child.wait_with_output().unwrap());
    assert_ne!(done.code, 0, "{done:?}");
}

#[test]
fn a_log_is_played_to_its_end_and_a_part_is_called_a_part() {
    let home = Home::new();
    let log = home.path("fleet.jsonl");
    let line = |at: u32, agent: u32| {
        format!("{{\"at\":{at},\"event\":\"join\",\"agent\":\"a{agent}\"}}\n")
    };
    let joins: String = (0..20).map(|agent| line(agent, agent)).collect();
    std::fs::write(&log, joins + &line(3_599, 20)).unwrap();
    let args = ["lab", "simulate", "--lookups", "0", "--events", log.to_str().unwrap()];
    let whole = home.run(&args);
    assert!(whole.code == 0 && !whole.stderr.contains("played"), "{whole:?}");
    assert!(whole.stdout.contains("no lookups") && whole.stdout.contains('–'), "{whole:?}");
    assert!(!whole.stdout.contains('±'), "{whole:?}");
    let part = home.run(&[&args[..], &["--duration", "15m"]].concat());
    assert!(part.stderr.contains("played 15m of 3599s of the log"), "{part:?}");
    assert_eq!(home.json(&args)["scenario"]["duration"], "1h");
}

#[test]
fn a_plan_is_a_configuration_that_the_daemon_takes() {
    let home = Home::new();
    let args = ["lab", "plan", "--agents", "60", "--lifetime", "40m", "--audit", "-o", "toml"];
    let done = home.run(&args);
    assert_eq!(done.code, 0, "{done:?}");
    std::fs::write(home.path("config.toml"), &done.stdout).unwrap();
    home.json(&["config", "validate"]);
    let mode = home.json(&["config", "get", "dht.mode"]);
    assert_eq!(mode["origin"], "file", "{mode}");
    let interval = home.json(&["config", "get", "dht.republish_interval_seconds"]);
    let value = interval["value"].to_string();
    assert!(done.stdout.contains(value.trim_matches('"')), "{interval} {done:?}");
}

#[test]
fn a_live_fleet_is_recorded_and_its_log_can_be_played() {
    let (_relay, url) = support::relay();
    let first = support::agent("first", &url);
    let log = first.path("fleet.jsonl");
    let file = log.to_str().unwrap();
    let answer = first.json(&["lab", "record", file, "--for", "2s", "--every", "500ms"]);
    assert_eq!(answer["schema"], "homing.lab_record/v1");
    let text = std::fs::read_to_string(&log).unwrap();
    let own = first.node_id();
    assert!(text.contains(&own) && text.contains("\"join\""), "{text}");
    // Going on adds nothing that is known, and mends a line that was cut off.
    std::fs::write(&log, text.clone() + "{\"at\":\"20").unwrap();
    first.json(&["lab", "record", file, "--for", "1s"]);
    let longer = std::fs::read_to_string(&log).unwrap();
    assert!(longer.starts_with(&text) && longer.ends_with('\n'), "{longer}");
    assert_eq!(longer.matches(&own).count(), 1, "{longer}");
}
