//! `POST /add-checkpoint` of a real registry: the heads of a listed agent's log are cosigned as C2SP tlog-witness says, and nothing
//! else is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use data_encoding::BASE64;
use homing_audit::{Log, Options, Reader};
use homing_base::{IdentityKey, Wall};
use homing_core::audit::checkpoint::Cosignature;
use homing_core::audit::entry::RoleChange;
use homing_core::audit::note::{KeyType, NoteSignature};
use homing_core::audit::{Checkpoint, Fact, NoteKey, PURPOSE_COSIGNER, cosigner_name};

use crate::support::{Home, PATIENCE};

const BEGUN: Wall = Wall(1_700_000_000_000);

/// A registry on loopback, and where it listens.
fn registry() -> (Home, String) {
    let mut home = Home::new();
    home.spawn(&["registry", "serve", "--listen", "127.0.0.1:0"]);
    let info = home.until_ok(&["info"]);
    let url = info["serving_registry"]["url"].as_str().unwrap();
    let place = url.trim_start_matches("http://").to_owned();
    (home, place)
}

fn identity(home: &Home) -> IdentityKey {
    let text = std::fs::read_to_string(home.path("identity.json")).unwrap();
    homing_base::identity::from_json(&text).unwrap()
}

/// Status and body of a POST.
fn post(place: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(place).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// An agent that is listed at the registry.
fn listed(place: &str) -> Home {
    let agent = Home::new();
    agent.json(&["key", "init"]);
    let record = agent.path("record.cose").display().to_string();
    agent.json(&["record", "new", "--name", "oracle", "--to", &record]);
    let bytes = std::fs::read(&record).unwrap();
    let cose = "Content-Type: application/cose\r\n";
    assert_eq!(post(place, "/v1/entities", cose, &bytes).0, 201);
    agent
}

/// Entries `from..to` in the log at `dir`.
fn record(dir: &Path, key: &IdentityKey, from: u64, to: u64) {
    let log = Log::open(dir, key, BEGUN, Options::default()).unwrap();
    let (acks, acked) = mpsc::channel();
    for n in from..to {
        let (acks, role) = (acks.clone(), format!("role {n}"));
        let fact = Fact::Role(RoleChange { role, on: true });
        log.record(Wall(BEGUN.0 + n), fact, move |ack| {
            let _ = acks.send(ack.unwrap());
        });
    }
    drop(acks);
    assert_eq!(acked.iter().count() as u64, to - from);
}

/// The body for the newest head, after `old` entries.
fn submission(dir: &Path, old: u64) -> String {
    let mut reader = Reader::open(dir).unwrap();
    let size = reader.size();
    let path = reader.consistency(old, size).unwrap().path;
    let proof: String = path.iter().map(|hash| format!("{}\n", BASE64.encode(&hash.0))).collect();
    format!("old {old}\n{proof}\n{}", reader.head().unwrap())
}

#[test]
fn a_registry_cosigns_what_continues_and_refuses_what_does_not() {
    let (home, place) = registry();
    let agent = listed(&place);
    let (key, witness) = (identity(&agent), identity(&home));
    let dir = agent.path("audit");
    record(&dir, &key, 0, 3);
    let delegation = BASE64.encode(&std::fs::read(dir.join("delegation")).unwrap());
    let header = format!("Homing-Delegation: {delegation}\r\n");
    let ask = |headers: &str, body: &str| post(&place, "/add-checkpoint", headers, body.as_bytes());

    assert_eq!(ask(&header, "old 0\n\nno note").0, 404, "nobody's log");
    assert_eq!(ask(&header, "something else").0, 400);
    let first = submission(&dir, 0);
    assert_eq!(ask("", &first).0, 404, "its key is not known");
    let forged = first.replace("\n3\n", "\n4\n");
    assert_eq!(ask(&header, &forged).0, 403, "not what the log's key signed");

    let (status, line) = ask(&header, &first);
    assert_eq!(status, 200, "{line}");
    // The cosignature is the registry's, over this very text.
    let name = cosigner_name(&witness.node_id());
    let cosigner = witness.derive(PURPOSE_COSIGNER).public();
    let cosigner = NoteKey::new(&name, KeyType::CosignatureV1, cosigner).unwrap();
    let head = Reader::open(&dir).unwrap().head().unwrap().clone();
    let line = NoteSignature::parse(line.trim_end()).unwrap();
    assert!(Cosignature::verify(&head.text, &line, &cosigner).is_ok());

    // It grows; the delegation is known now.
    let log_key = Reader::open(&dir).unwrap().key().clone();
    let copy = agent.path("copy");
    assert!(
        std::process::Command::new("cp").arg("-r").args([&dir, &copy]).status().unwrap().success()
    );
    record(&dir, &key, 3, 7);
    assert_eq!(ask("", &submission(&dir, 0)), (409, "3\n".into()), "it holds three");
    let mut broken = submission(&dir, 3);
    let proof = broken.lines().nth(1).unwrap().to_owned();
    broken = broken.replace(&proof, &BASE64.encode(&[7; 32]));
    assert_eq!(ask("", &broken).0, 422);
    assert_eq!(ask("", &submission(&dir, 3)).0, 200);
    assert_eq!(
        Checkpoint::verify(Reader::open(&dir).unwrap().head().unwrap(), &log_key).unwrap().size,
        7
    );

    // Another history of the same log, with as many entries: refused, kept, and shown.
    record(&copy, &key, 100, 104);
    assert_eq!(ask("", &submission(&copy, 3)).0, 409);
    let began = Instant::now();
    while !home.run(&["info", "--json"]).stdout.contains("audit_fork") {
        assert!(began.elapsed() < PATIENCE, "{}", home.run(&["info"]).stdout);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // Somebody who is not listed.
    let stranger = Home::new();
    stranger.json(&["key", "init"]);
    let theirs = stranger.path("audit");
    record(&theirs, &identity(&stranger), 0, 1);
    let delegation = BASE64.encode(&std::fs::read(theirs.join("delegation")).unwrap());
    let header = format!("Homing-Delegation: {delegation}\r\n");
    assert_eq!(ask(&header, &submission(&theirs, 0)).0, 404);
}

#[test]
fn a_role_is_logged_when_it_begins_and_when_it_ends() {
    let mut home = Home::new();
    let roles = |home: &Home| -> Vec<(String, bool)> {
        let listed = home.json(&["audit", "log", "--kind", "role"]);
        let entries = listed["entries"].as_array().unwrap().iter();
        let own = entries.map(|e| &e["fact"]).filter(|fact| fact["role"] == "registry");
        own.map(|f| (f["role"].as_str().unwrap().into(), f["on"].as_bool().unwrap())).collect()
    };
    for _ in 0..2 {
        home.spawn(&["registry", "serve", "--listen", "127.0.0.1:0"]);
        home.until_ok(&["info"]);
        assert_eq!(roles(&home), [("registry".into(), true)], "once, not at every start");
        home.kill();
    }
    home.spawn(&["daemon", "run", "--listen", "127.0.0.1:0"]);
    home.until_ok(&["info"]);
    // What happens before the witnesses had ten seconds to answer is logged after them.
    let began = Instant::now();
    while roles(&home).len() < 2 && began.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(roles(&home), [("registry".into(), true), ("registry".into(), false)]);
}
