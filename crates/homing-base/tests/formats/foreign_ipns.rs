//! IPNS records of another implementation: committed ones, and js-ipns itself, when it is there.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use homing_base::ipns::{IpnsContent, validity_text};
use homing_base::{IpnsError, IpnsName, IpnsRecord, Now, Wall};
use serde_json::Value;

use crate::arbitrary::key;

/// Where `cargo xtask test` puts it.
const TOOLS: &str = "HOMING_IPNS_TOOLS";
const SCRIPT: &str = include_str!("foreign_ipns.mjs");

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a string");
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hexadecimal digits")
}

/// 2026-11-21, after the committed records were made.
fn now() -> Now {
    Now { mono: Default::default(), wall: Wall(1_795_300_000_000) }
}

#[allow(clippy::disallowed_methods, reason = "a test reads its vectors")]
fn committed(file: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(file);
    let text = std::fs::read_to_string(path).expect("the vectors are committed");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn records_of_another_implementation_are_read_and_tampered_ones_refused() {
    let page = committed("ipns-foreign.json");
    let name: IpnsName = page["name"].as_str().unwrap().parse().unwrap();
    assert_eq!(name, IpnsName::of(key(7).public()));
    let other = IpnsName::of(key(8).public());
    for vector in page["records"].as_array().unwrap() {
        let bytes = bytes(&vector["hex"]);
        let record = IpnsRecord::verify(&bytes, &name, now()).unwrap();
        assert_eq!(Some(record.value_text().as_str()), page["value"].as_str());
        assert_eq!(Some(record.sequence), vector["sequence"].as_u64());
        let foreign = IpnsRecord::verify(&bytes, &other, now());
        assert_eq!(foreign, Err(IpnsError::Signature { name: other }));
        let late = Now { wall: record.ends(), ..now() };
        let late = IpnsRecord::verify(&bytes, &name, late);
        assert!(matches!(late, Err(IpnsError::Expired { .. })), "{late:?}");
        let mut refused = 0;
        for at in 0..bytes.len() {
            let mut tampered = bytes.clone();
            tampered[at] ^= 1;
            match IpnsRecord::verify(&tampered, &name, now()) {
                Ok(read) => assert_eq!(*read, *record, "byte {at}"),
                Err(_) => refused += 1,
            }
        }
        // All but the V1 signature, which nobody believes.
        assert!(refused >= bytes.len() - 70, "{refused} of {}", bytes.len());
    }
}

/// Not by `println!`, whose output a passing test keeps to itself: then nobody counts it.
fn skip(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("somebody listens");
}

#[test]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it runs another program")]
fn js_ipns_accepts_our_records_and_we_accept_its() {
    let tools = std::env::var_os(TOOLS).map(PathBuf::from);
    let Some(tools) = tools.filter(|t| t.join("node_modules/ipns/package.json").is_file()) else {
        return skip(&format!("js-ipns: {TOOLS} names no folder with node_modules/ipns"));
    };
    let script = tools.join("foreign_ipns.mjs");
    std::fs::write(&script, SCRIPT).unwrap();
    let (name, wrong) = (IpnsName::of(key(7).public()), IpnsName::of(key(8).public()));
    let content = |ends: u64| IpnsContent {
        value: b"/ipfs/bafkqaaa".to_vec(),
        sequence: 41,
        validity: validity_text(Wall(ends)),
        ttl: Duration::from_secs(300),
    };
    let (valid, ended) = (4_000_000_000_000, 1_000_000_000_000);
    let hex = |ends| data_encoding::HEXLOWER.encode(content(ends).sign(&key(7)).unwrap().bytes());
    let ask = serde_json::json!({
        "name": name.to_string(), "wrong": wrong.to_string(),
        "record": hex(valid), "expired": hex(ended), "seed": "07".repeat(32),
    });
    let mut child = Command::new("node");
    child.arg(&script).arg(ask.to_string()).stderr(Stdio::inherit());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["accepted"], true, "{said}");
    assert_eq!((&said["value"], &said["sequence"]), (&"/ipfs/bafkqaaa".into(), &"41".into()));
    for refused in ["wrong_key", "expired", "tampered", "oversized"] {
        assert_eq!(said["refused"][refused], true, "{refused}: {said}");
    }
    for form in ["v1v2", "v2"] {
        let record = IpnsRecord::verify(&bytes(&said[form]), &name, now()).unwrap();
        assert_eq!((record.sequence, record.ttl), (42, Duration::from_secs(300)));
    }
}

/// The reasons that are ours; what boxo said of the same bytes is in the vectors.
fn reason(name: IpnsName, case: &str) -> Option<IpnsError> {
    let ends = Wall(1_577_836_800_000);
    Some(match case {
        "v1 only" => IpnsError::V1Only,
        "v1+v2, another value outside the signed data" => IpnsError::Legacy("value"),
        "v1+v2, another sequence outside the signed data" => IpnsError::Legacy("sequence"),
        "v1+v2, another validity outside the signed data" => IpnsError::Legacy("validity"),
        "v1+v2, broken signatureV2"
        | "v1+v2, signatureV2 of other data"
        | "v2 only, tampered data" => IpnsError::Signature { name },
        "v1+v2, expired" => IpnsError::Expired { ends, now: now().wall },
        // Nobody believes a V1 signature, so a broken one is no matter.
        "v1+v2" | "v2 only" | "v1+v2, broken signatureV1" => return None,
        other => panic!("a case that is not known: {other}"),
    })
}

#[test]
fn the_specification_s_cases_are_judged_as_another_implementation_judges_them() {
    let page = committed("ipns-boxo.json");
    let name: IpnsName = page["name"].as_str().unwrap().parse().unwrap();
    assert_eq!(name, IpnsName::of(key(7).public()));
    let records = page["records"].as_array().unwrap();
    assert_eq!(records.len(), 11);
    for vector in records {
        let (case, boxo) = (vector["case"].as_str().unwrap(), vector["boxo"].as_str().unwrap());
        let read = IpnsRecord::verify(&bytes(&vector["hex"]), &name, now());
        let judged = reason(name, case);
        assert_eq!(boxo == "accepted", judged.is_none(), "{case}: {boxo}");
        match (read, judged) {
            (Ok(record), None) => {
                let said = (record.value_text(), record.sequence, record.ttl.as_secs());
                assert_eq!(said, ("/ipfs/bafkqaaa".to_owned(), 41, 300), "{case}");
            }
            (read, judged) => assert_eq!(read.err(), judged, "{case}"),
        }
    }
}

/// A program built from `foreign_ipns.go`.
const BOXO: &str = "HOMING_IPNS_BOXO";

#[test]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it runs another program")]
fn boxo_accepts_our_records_and_refuses_what_was_done_to_them() {
    let Some(program) = std::env::var_os(BOXO).map(PathBuf::from).filter(|p| p.is_file()) else {
        return skip(&format!("boxo: {BOXO} names no program built from foreign_ipns.go"));
    };
    let content = |ends: u64| IpnsContent {
        value: b"/ipfs/bafkqaaa".to_vec(),
        sequence: 41,
        validity: validity_text(Wall(ends)),
        ttl: Duration::from_secs(300),
    };
    let record = |ends: u64| content(ends).sign(&key(7)).unwrap().bytes().to_vec();
    let (good, ended) = (record(4_000_000_000_000), record(1_000_000_000_000));
    let mut tampered = good.clone();
    let last = tampered.len() - 20;
    tampered[last] ^= 1;
    let mut child = Command::new(program);
    child.args(["judge", &IpnsName::of(key(7).public()).to_string()]);
    child.args([good, ended, tampered].map(|bytes| data_encoding::HEXLOWER.encode(&bytes)));
    let output = child.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!((said.len(), said[0]), (3, "accepted"), "{said:?}");
    assert_eq!(said[1], "refused: record is expired");
    assert!(said[2].starts_with("refused: "), "{said:?}");
}
