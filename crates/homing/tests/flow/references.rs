//! `homing publish`, `homing ref` and `homing resolve REF` with real daemons on loopback.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Home, agent, befriend, relay};

const REF: &str = "agent-a/planner/checkpoint";
const FIRST: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
const SECOND: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
const PATIENCE: Duration = Duration::from_secs(90);

/// Repeats a command until what it prints is as wanted.
fn until(home: &Home, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let found = home.json(args);
        if wanted(&found) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "homing {}: {found}", args.join(" "));
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn labels(peers: &Value) -> Vec<&str> {
    peers.as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect()
}

#[test]
fn a_reference_is_found_by_others_survives_its_owner_and_ends_with_its_life() {
    let (_relay, url) = relay();
    let mut a = agent("agent-a", &url);
    let (mut b, c) = (agent("agent-b", &url), agent("agent-c", &url));
    befriend(&a, &b, "agent-b");
    befriend(&b, &c, "agent-c");

    let published = a.json(&["publish", "planner/checkpoint", FIRST, "--keepers", "agent-b"]);
    assert_eq!(published["schema"], "homing.reference/v1");
    let ipns = published["ipns"].as_str().unwrap().to_owned();
    assert!(ipns.starts_with("k51"), "{ipns}");
    until(&a, &["ref", "list"], |list| {
        let reference = &list["references"][0];
        reference["keepers"][0]["holds_until"].is_string() && reference["state"] == "ok"
    });
    let found = c.json(&["resolve", REF]);
    assert_eq!(found["schema"], "homing.reference_resolution/v1");
    assert_eq!(found["value"], format!("/ipfs/{FIRST}"));
    assert_eq!(
        (&found["ipns"], &found["name"]),
        (&ipns.clone().into(), &"planner/checkpoint".into())
    );
    assert!(found["record"].is_string() && found["binding"].is_string(), "{found}");
    assert_eq!(c.run(&["resolve", REF, "-o", "name"]).stdout, format!("/ipfs/{FIRST}\n"));

    let moved = a.json(&["publish", "planner/checkpoint", SECOND]);
    assert!(moved["sequence"].as_u64() > published["sequence"].as_u64(), "{moved}");
    let second = format!("/ipfs/{SECOND}");
    until(&c, &["resolve", REF], |found| found["value"] == second);
    until(&c, &["resolve", &ipns], |found| found["value"] == second);
    let history = a.json(&["ref", "history", "planner/checkpoint"]);
    assert_eq!(history["versions"][1]["previous"], format!("/ipfs/{FIRST}"));
    assert_eq!(history["versions"][1]["value"], second);
    let metrics = a.run(&["metrics"]).stdout;
    assert!(
        metrics.contains("homing_reference_remaining_seconds{reference=\"planner/checkpoint\""),
        "{metrics}"
    );

    // One that lives for half a minute only, as long as its owner signs it anew.
    a.json(&[
        "publish",
        "short",
        FIRST,
        "--lifetime",
        "30s",
        "--ttl",
        "5s",
        "--keepers",
        "agent-b",
    ]);
    until(&b, &["ref", "list"], |list| {
        let of_b = list["references"].as_array().unwrap();
        of_b.len() == 2 && of_b.iter().all(|r| r["own"] == false && r["value"].is_string())
    });
    until(&b, &["ref", "list"], |list| {
        list["references"].as_array().unwrap().iter().any(|r| r["value"] == second)
    });
    a.kill();
    let found = until(&c, &["resolve", REF], |found| {
        labels(&found["peers"]).contains(&"agent-b") && found["value"] == second
    });
    assert_eq!(found["sequence"], moved["sequence"]);

    // A keeper that restarts goes on keeping.
    b.kill();
    b.start(&["--hostname", "agent-b", "--listen", "127.0.0.1:0", "--relay", &url]);
    let list = b.json(&["ref", "list"]);
    assert_eq!(list["references"].as_array().unwrap().len(), 2, "{list}");

    // Nobody but the owner can extend it: after its life it is refused, and the keeper says so.
    let began = Instant::now();
    let error = loop {
        let done = c.run(&["resolve", "agent-a/short", "--json"]);
        if done.code != 0 {
            break done.error();
        }
        assert!(began.elapsed() < PATIENCE, "{done:?}");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!((&error["code"], &error["exit"]), (&"not_found".into(), &3.into()), "{error}");
    let health = until(&b, &["status"], |status| {
        let codes = status["health"].as_array().unwrap().iter();
        codes.map(|h| h["code"].as_str().unwrap()).any(|code| code == "reference_expired")
    });
    assert!(health.to_string().contains("short"), "{health}");
    // The long one is still there.
    assert_eq!(c.json(&["resolve", REF])["value"], second);

    // The owner's next run carries on where it was.
    a.start(&["--hostname", "agent-a", "--listen", "127.0.0.1:0", "--relay", &url]);
    let again = a.json(&["publish", "planner/checkpoint", FIRST]);
    assert!(again["sequence"].as_u64() > moved["sequence"].as_u64(), "{again}");
}

#[test]
fn a_withdrawn_reference_is_over_and_its_record_is_a_file_for_other_tools() {
    let (_relay, url) = relay();
    let (a, b) = (agent("agent-a", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    let published = a.json(&["publish", "model", FIRST]);
    until(&b, &["resolve", "agent-a/model"], |found| found["value"].is_string());

    let file = a.path("model.ipns-record");
    let to = file.to_str().unwrap();
    a.json(&["ref", "export", "model", "--to", to]);
    assert!(std::fs::metadata(&file).unwrap().len() > 200);
    assert_eq!(a.failure(&["ref", "export", "model", "--to", to])["code"], "usage");

    let b_id = b.node_id();
    assert_eq!(a.failure(&["publish", "Model", FIRST])["code"], "usage");
    assert_eq!(a.failure(&["publish", "model", "no-cid"])["code"], "usage");
    assert_eq!(a.failure(&["publish", "model", FIRST, "--lifetime", "1s"])["code"], "usage");
    assert_eq!(a.failure(&["resolve", &format!("{b_id}/nothing")])["code"], "not_found");
    for command in ["renew", "withdraw"] {
        let error = a.failure(&["ref", command, "nothing"]);
        assert_eq!((&error["code"], &error["exit"]), (&"not_found".into(), &3.into()));
        assert!(error["hint"].as_str().unwrap().contains("homing ref list"), "{error}");
    }
    assert_eq!(b.failure(&["ref", "keep", "agent-a/nothing"])["code"], "not_found");
    assert_eq!(b.json(&["ref", "list"])["references"].as_array().unwrap().len(), 0);
    // One's own is meant by its one word, too.
    assert_eq!(a.json(&["resolve", "model"])["value"], format!("/ipfs/{FIRST}"));
    // A keeper that is not trusted is not asked, and that is said.
    let stranger = agent("stranger", &url);
    let id = stranger.node_id();
    let asked = a.run(&["publish", "model", FIRST, "--keepers", &id]);
    assert!(asked.stdout.contains("not trusted, so not asked"), "{asked:?}");
    a.json(&["publish", "model", FIRST, "--keepers", "agent-b"]);

    let over = a.json(&["ref", "withdraw", "model"]);
    assert_eq!(over["state"], "withdrawn");
    let began = Instant::now();
    let error = loop {
        let done = b.run(&["resolve", "agent-a/model", "--json"]);
        if done.code != 0 {
            break done.error();
        }
        assert!(began.elapsed() < PATIENCE, "{done:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(error["code"], "withdrawn", "{error}");
    let again = a.json(&["publish", "model", SECOND]);
    assert_ne!(again["ipns"], published["ipns"]);
    until(&b, &["resolve", "agent-a/model"], |found| found["ipns"] == again["ipns"]);
}

#[test]
fn a_delegate_publishes_one_reference_and_its_owner_follows_and_takes_it_back() {
    let (_relay, url) = relay();
    let (a, b, c) = (agent("agent-a", &url), agent("agent-b", &url), agent("agent-c", &url));
    befriend(&a, &b, "agent-b");
    a.json(&["publish", "model", FIRST]);
    let file = a.path("model.delegation");
    let to = file.to_str().unwrap();
    let written = a.json(&["ref", "delegate", "model", "--to", to]);
    assert_eq!(written["schema"], "homing.delegation_written/v1");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(a.failure(&["ref", "delegate", "model", "--to", to])["code"], "usage");

    let wrong = b.failure(&["publish", "other", SECOND, "--delegation", to]);
    assert_eq!(wrong["code"], "usage");
    assert_eq!(b.json(&["publish", "model", SECOND, "--delegation", to])["changed"], true);
    let second = format!("/ipfs/{SECOND}");
    let reference = format!("{}/model", a.node_id());
    until(&c, &["resolve", &reference], |found| found["value"] == second);
    // Its owner follows, and has it in its history.
    until(&a, &["ref", "history", "model"], |history| history["versions"][1]["value"] == second);
    a.json(&["ref", "withdraw", "model"]);
    let began = Instant::now();
    loop {
        let done = b.run(&["publish", "model", FIRST, "--delegation", to, "--json"]);
        if done.code != 0 && done.error()["code"] == "withdrawn" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{done:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
