//! `spec/vectors/reference.json`: derived keys, names, records, bindings and references, from fixed keys.

use std::time::Duration;

use homing_base::ipns::{IpnsContent, validity_text};
use homing_base::reference::Binding;
use homing_base::{IpnsName, IpnsRecord, Now, Reference, ReferenceName, Seq, Wall};
use serde_json::{Value, json};

use crate::arbitrary::{ISSUED, key, now};
use crate::vectors_file::{compare, kind};

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn content() -> IpnsContent {
    IpnsContent {
        value: b"/ipfs/bafkqaaa".to_vec(),
        sequence: 7,
        validity: validity_text(Wall(ISSUED.0 + 7 * 86_400_000)),
        ttl: Duration::from_secs(300),
    }
}

fn reference(name: &str, generation: u32) -> (Reference, Value) {
    let name: ReferenceName = name.parse().expect("a name");
    let secret = name.derive_key(&key(7), generation);
    let record = content().sign(&secret).expect("within limits");
    let binding = Binding {
        owner: key(7).public(),
        name: name.clone(),
        key: secret.public(),
        sequence: Seq(ISSUED.0),
        issued: ISSUED,
        withdrawn: None,
    };
    let reference = Reference { record, binding: Some(binding.sign(&key(7))) };
    let ipns = *reference.record.name();
    let vector = json!({
        "identity_secret_key": hex(&key(7).to_secret_seed()),
        "name": name.as_str(),
        "generation": generation,
        "derived_secret_key": hex(&secret.to_secret_seed()),
        "ipns_name": ipns.to_string(),
        "routing_key": hex(&ipns.routing_key()),
        "ipns_point": ipns.point().to_string(),
        "bound_point": reference.point().to_string(),
        "validity": reference.record.validity,
        "record": hex(reference.record.bytes()),
        "binding": reference.binding.as_ref().map(|b| hex(b.bytes())),
        "reference": hex(&reference.to_bytes()),
    });
    (reference, vector)
}

#[test]
fn references() {
    let (good, first) = reference("planner/checkpoint", 0);
    let (other, second) = reference("planner/checkpoint", 1);
    let (_, third) = reference("a", 0);
    let mut forged = good.to_bytes();
    *forged.last_mut().unwrap() ^= 1;
    let mixed = Reference { record: other.record.clone(), binding: good.binding.clone() };
    let late = Now { wall: good.record.ends(), ..now() };
    let invalid = [
        ("forged binding", forged, now()),
        ("binding of another IPNS name", mixed.to_bytes(), now()),
        ("expired", good.to_bytes(), late),
        ("truncated", good.to_bytes()[..100].to_vec(), now()),
    ];
    let invalid = invalid.map(|(name, bytes, now)| {
        let error = Reference::verify(&bytes, now).expect_err(name);
        json!({ "name": name, "at": now.wall.to_string(), "hex": hex(&bytes), "error": kind(&error) })
    });
    assert_eq!(Reference::verify(&good.to_bytes(), now()), Ok(good));
    let page = json!({
        "schema": "homing.vectors/v1",
        "about": "spec/17-references.md",
        "valid": [first, second, third],
        "invalid": invalid,
    });
    compare("reference.json", &page);
}

#[test]
fn a_record_has_one_byte_form() {
    let record = content().sign(&key(7)).unwrap();
    let name = IpnsName::of(key(7).public());
    let again = IpnsRecord::verify(record.bytes(), &name, now()).unwrap();
    assert_eq!((*again).clone().sign(&key(7)), Ok(record));
}
