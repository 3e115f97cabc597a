//! `spec/vectors/*.json`: what any implementation must produce and refuse, from fixed keys.

use homing_base::cbor::{self, check_deterministic};
use homing_base::identity;
use homing_base::record::CardRef;
use homing_base::sign1::{self, Domain};
use homing_base::{
    Address, AgentRecord, IdentityKey, Name, Record, RelayRef, Seq, Service, Statement,
    StatementKind, Ticket, UnverifiedRecord, UnverifiedStatement, Wall,
};
use serde_json::{Value, json};

use crate::arbitrary::{ISSUED, key, now, plain, statement_of};
use crate::vectors_file::{compare, kind};

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn page(about: &str, valid: Vec<Value>, invalid: Vec<Value>) -> Value {
    json!({ "schema": "homing.vectors/v1", "about": about, "valid": valid, "invalid": invalid })
}

#[test]
fn identities() {
    let valid = [0, 1, 7, 255].map(|byte| {
        let key = key(byte);
        json!({
            "secret_key": hex(&key.to_secret_seed()),
            "public_key": key.public().to_string(),
            "node_id": key.node_id().to_string(),
            "address": Address::of(&key.node_id()).to_string(),
            "file": identity::to_json(&key),
        })
    });
    let good = identity::to_json(&key(7));
    let other = identity::to_json(&key(8));
    let line = |text: &str, n: usize| text.lines().nth(n).expect("seven lines or more").to_owned();
    let swapped = |n: usize| good.replace(&line(&good, n), &line(&other, n));
    let invalid = [
        ("empty", String::new()),
        ("truncated", good[..200].to_owned()),
        ("another schema", good.replace("identity/v1", "identity/v9")),
        ("another key type", good.replace("ed25519", "x25519")),
        ("extra field", good.replacen('{', "{\"note\": 1,", 1)),
        ("repeated field", good.replacen('{', "{\"type\": \"ed25519\",", 1)),
        ("short secret", good.replace("\"0707", "\"07")),
        ("foreign node_id", swapped(3)),
        ("foreign address", swapped(4)),
        ("foreign public_key", swapped(5)),
    ];
    let invalid = invalid.map(|(name, file)| {
        let error = identity::from_json(&file).expect_err(name);
        json!({ "name": name, "file": file, "error": kind(&error) })
    });
    compare("identity.json", &page("spec/01-identity.md", valid.into(), invalid.into()));
}

#[test]
fn texts() {
    fn verdict<T: std::str::FromStr<Err: std::fmt::Debug> + ToString>(
        kind_of: &str,
        text: &str,
    ) -> Value {
        match text.parse::<T>() {
            Ok(value) => json!({ "type": kind_of, "text": text, "canonical": value.to_string() }),
            Err(error) => json!({ "type": kind_of, "text": text, "error": kind(&error) }),
        }
    }
    let long = "x".repeat(64);
    let mut cases = Vec::new();
    for text in ["a", "my-agent", "0", &long[1..], "", "-a", "a-", "A", "a.b", "ä", &long] {
        cases.push(verdict::<Name>("name", text));
    }
    for text in ["mcp", "8080", &long[..32], "", &long[..33], "a/b"] {
        cases.push(verdict::<Service>("service", text));
    }
    for text in [
        "fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e",
        "FD00:0:0:0:0:0:0:1",
        "fe80::1",
        "fc00::1",
        "192.0.2.1",
        "",
    ] {
        cases.push(verdict::<Address>("address", text));
    }
    let pinned = format!("https://198.51.100.7:3340/#sha256={}&quic=7000", "ab".repeat(32));
    for text in [
        "https://relay.example/",
        "HTTPS://Relay.Example:3340",
        "http://[2001:db8::7]:3340/",
        &pinned,
        "relay.example",
        "https://a/b",
        "https://a:0/",
        "https://a/#sha256=ab",
        "https://a/#quic=x",
        "https://a/#x=1",
        "https://a/#quic=1&quic=2",
    ] {
        cases.push(verdict::<RelayRef>("relay", text));
    }
    let (invalid, valid) = cases.into_iter().partition(|c| c.get("error").is_some());
    compare("text.json", &page("spec/01-identity.md, spec/07-relay.md", valid, invalid));
}

#[test]
fn deterministic_cbor() {
    let valid =
        ["00", "1818", "3863", "43010203", "63e282ac", "8201820203", "a201000240", "d28400", "f5"];
    let (valid, broken): (Vec<_>, Vec<_>) = valid.into_iter().partition(|v| v != &"d28400");
    let invalid = [
        ("length not shortest", "1817"),
        ("length not shortest", "580100"),
        ("indefinite length", "5fff"),
        ("indefinite length", "9fff"),
        ("reserved length", "1c"),
        ("map keys out of order", "a202000100"),
        ("map key repeated", "a201000100"),
        ("null", "f6"),
        ("undefined", "f7"),
        ("half float", "f93c00"),
        ("trailing byte", "0000"),
        ("truncated", "4201"),
        ("truncated array under a tag", broken[0]),
        ("2^64 - 1 bytes announced", "5bffffffffffffffff"),
        ("text that is not UTF-8", "61ff"),
        ("nested nine deep", "81818181818181818100"),
    ];
    let bytes = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex");
    for text in &valid {
        check_deterministic(&bytes(text)).expect(text);
    }
    let valid = valid.into_iter().map(|text| json!({ "bytes": text })).collect();
    let invalid = invalid.map(|(name, text)| {
        let error = check_deterministic(&bytes(text)).expect_err(name);
        json!({ "name": name, "bytes": text, "error": kind(&error) })
    });
    compare("cbor.json", &page("spec/02-agent-record.md#encoding", valid, invalid.into()));
}

fn full_record() -> AgentRecord {
    let mut full = plain(&key(1));
    full.expires = Wall(ISSUED.0 + 3_600_000);
    full.name = Some("planner".parse().expect("a name"));
    full.relays = vec![
        format!("https://198.51.100.7:3340/#sha256={}", "ab".repeat(32)).parse().expect("a relay"),
        "https://relay.example/#quic=7000".parse().expect("a relay"),
    ];
    full.direct =
        vec!["192.0.2.1:4433".parse().expect("v4"), "[2001:db8::1]:4433".parse().expect("v6")];
    full.services = vec!["mcp".parse().expect("a service"), "8080".parse().expect("a service")];
    full.card = Some(CardRef { url: "https://planner.example/card".into(), sha256: [0xca; 32] });
    full.tags = vec!["gpu".into(), "höher".into()];
    full.attestation = Some([0xaa; 32]);
    full.trust_floor = Some(Wall(ISSUED.0 - 1));
    full
}

fn record_fields(record: &Record) -> Value {
    json!({
        "public_key": record.public_key.to_string(),
        "node_id": record.node_id().to_string(),
        "instance": record.instance.to_string(),
        "sequence": record.sequence.0,
        "issued": record.issued.0,
        "expires": record.expires.0,
        "name": record.name,
        "relays": record.relays,
        "direct": record.direct,
        "services": record.services,
        "card": record.card.as_ref().map(|c| json!({ "url": c.url, "sha256": hex(&c.sha256) })),
        "tags": record.tags,
        "attestation": record.attestation.map(|a| hex(&a)),
        "withdrawn": record.withdrawn,
        "trust_floor": record.trust_floor.map(|w| w.0),
    })
}

fn signed_by(key: &IdentityKey, domain: Domain, content: &impl minicbor::Encode<()>) -> Vec<u8> {
    sign1::sign(key, domain, &cbor::encode(content))
}

#[test]
fn records() {
    let tombstone =
        AgentRecord { withdrawn: Some(true), sequence: Seq(ISSUED.0 + 1), ..plain(&key(1)) };
    let valid =
        [("smallest", plain(&key(1))), ("fullest", full_record()), ("tombstone", tombstone)];
    let valid = valid.map(|(name, content)| {
        let record = content.sign(&key(1)).expect("signs");
        json!({
            "name": name, "secret_key": hex(&[1; 32]), "now": ISSUED.0, "bytes": hex(record.bytes()),
            "digest": hex(&record.digest()), "fields": record_fields(&record),
        })
    });
    let record = |edit: fn(&mut AgentRecord)| {
        let mut content = plain(&key(1));
        edit(&mut content);
        signed_by(&key(1), Domain::AgentRecord, &content)
    };
    let good = record(|_| ());
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let invalid = [
        ("one bit of the signature changed", flipped(good.len() - 1)),
        ("one bit of the instance changed", flipped(60)),
        ("signed by another key", signed_by(&key(2), Domain::AgentRecord, &plain(&key(1)))),
        (
            "signed as a trust statement",
            signed_by(&key(1), Domain::TrustStatement, &plain(&key(1))),
        ),
        ("truncated", good[..good.len() - 1].to_vec()),
        ("one byte too many", [&good[..], &[0]].concat()),
        ("not tagged", good[1..].to_vec()),
        ("unprotected header", {
            let at =
                good.windows(5).position(|w| w == [0x43, 0xa1, 0x01, 0x27, 0xa0]).expect("header");
            [&good[..at + 4], &[0xa1, 0x04, 0x40], &good[at + 5..]].concat()
        }),
        ("over 1000 bytes", record(|r| r.tags = vec!["x".repeat(1_000)])),
        ("five relays", record(|r| r.relays = vec!["https://a/".parse().expect("a relay"); 5])),
        (
            "no relay URL",
            record(|r| {
                r.relays =
                    vec![RelayRef { url: "https://a/b/".into(), pin: None, quic_port: None }];
            }),
        ),
        ("control character in a tag", record(|r| r.tags = vec!["\u{7}".into()])),
        ("lives longer than a day", record(|r| r.expires = Wall(r.issued.0 + 86_400_001))),
        ("expires when issued", record(|r| r.expires = r.issued)),
        ("expired", record(|r| (r.issued, r.expires) = (Wall(ISSUED.0 - 9), ISSUED))),
        (
            "from the future",
            record(|r| {
                r.issued = Wall(ISSUED.0 + 600_001);
                r.expires = Wall(r.issued.0 + 1);
            }),
        ),
    ];
    let invalid = invalid.map(|(name, bytes)| {
        let error = UnverifiedRecord::parse(&bytes).and_then(|r| r.verify(now())).expect_err(name);
        json!({ "name": name, "now": ISSUED.0, "bytes": hex(&bytes), "error": kind(&error) })
    });
    compare("record.json", &page("spec/02-agent-record.md", valid.into(), invalid.into()));
}

#[test]
fn trust_statements() {
    use StatementKind::{Grant, Reject, Request, Revoke};
    let of = |kind| statement_of(&key(1), kind, key(2).node_id());
    let request = Statement {
        expires: Some(Wall(ISSUED.0 + 86_400_000)),
        services: Some(vec!["mcp".parse().expect("a service")]),
        reason: Some("nightly reports".into()),
        name: Some("planner".parse().expect("a name")),
        ..of(Request)
    };
    let nothing = Statement { services: Some(vec![]), ..of(Grant) };
    let valid = [
        ("request with everything", request),
        ("grant of all services", of(Grant)),
        ("grant of no service", nothing),
        ("reject", of(Reject)),
        ("revoke", of(Revoke)),
    ];
    let valid = valid.map(|(name, content)| {
        let signed = content.sign(&key(1)).expect("signs");
        let fields = json!({
            "kind": format!("{:?}", signed.kind).to_lowercase(), "from": signed.from.to_string(),
            "to": signed.to.to_string(), "sequence": signed.sequence.0, "issued": signed.issued.0,
            "expires": signed.expires.map(|w| w.0), "services": signed.services,
            "reason": signed.reason, "name": signed.name,
        });
        json!({
            "name": name, "secret_key": hex(&[1; 32]), "now": ISSUED.0, "bytes": hex(signed.bytes()), "fields": fields,
        })
    });
    let statement = |edit: fn(&mut Statement)| {
        let mut content = of(Grant);
        edit(&mut content);
        signed_by(&key(1), Domain::TrustStatement, &content)
    };
    let invalid = [
        ("signed by another key", signed_by(&key(2), Domain::TrustStatement, &of(Grant))),
        ("signed as an agent record", signed_by(&key(1), Domain::AgentRecord, &of(Grant))),
        (
            "seventeen services",
            statement(|s| s.services = Some(vec!["s".parse().expect("a service"); 17])),
        ),
        ("reason too long", statement(|s| s.reason = Some("x".repeat(281)))),
        ("control character in the reason", statement(|s| s.reason = Some("\u{1b}[0m".into()))),
        ("from the future", statement(|s| s.issued = Wall(ISSUED.0 + 600_001))),
        ("a record, not a statement", signed_by(&key(1), Domain::TrustStatement, &plain(&key(1)))),
    ];
    let invalid = invalid.map(|(name, bytes)| {
        let error =
            UnverifiedStatement::parse(&bytes).and_then(|s| s.verify(now())).expect_err(name);
        json!({ "name": name, "now": ISSUED.0, "bytes": hex(&bytes), "error": kind(&error) })
    });
    compare("statement.json", &page("spec/03-trust.md", valid.into(), invalid.into()));
}

#[test]
fn tickets() {
    let record = plain(&key(1)).sign(&key(1)).expect("signs").bytes().to_vec();
    let socket = |text: &str| text.parse().expect("a socket");
    let with = |direct| Ticket { record: record.clone(), direct };
    let valid = [with(vec![]), with(vec![socket("192.0.2.1:4433"), socket("[2001:db8::1]:4433")])];
    let valid = valid
        .map(|t| json!({ "text": t.to_string(), "record": hex(&t.record), "direct": t.direct }));
    let good = with(vec![]).to_string();
    let mut forged = with(vec![]);
    *forged.record.last_mut().expect("a signature") ^= 1;
    let invalid = [
        ("no prefix", good[7..].to_owned()),
        ("not base32", format!("{good}!")),
        ("truncated", good[..good.len() - 8].to_owned()),
        ("seventeen addresses", with(vec![socket("192.0.2.1:1"); 17]).to_string()),
        ("forged record", forged.to_string()),
        ("too long", "homing1".to_owned() + &"a".repeat(4_096)),
    ];
    let invalid = invalid.map(|(name, text)| {
        let error = text.parse::<Ticket>().expect_err(name);
        json!({ "name": name, "text": text, "error": kind(&error) })
    });
    compare("ticket.json", &page("spec/05-ticket.md", valid.into(), invalid.into()));
}
