//! The DHT messages from outside: bytes pinned in `spec/vectors/dht.json`.

#[path = "../../homing-base/tests/formats/vectors_file.rs"]
mod vectors_file;

use std::net::SocketAddr;
use std::sync::Arc;

use homing_base::{AgentRecord, IdentityKey, InstanceId, NodeId, Seq, Wall};
use homing_core::dht::wire::{RealMessage, decode, encode};
use homing_core::dht::{Body, Contact, Message, Reach, Slot, Verdict};
use serde_json::json;

use vectors_file::{compare, kind};

const ISSUED: Wall = Wall(1_795_230_000_000);

type RealBody = Body<Reach, Arc<[u8]>>;

fn contact(n: u8, direct: Option<&str>, relay: Option<&str>) -> Contact<Reach> {
    let place = Reach {
        instance: InstanceId([n | 0x80; 32]),
        direct: direct.map(|d| d.parse::<SocketAddr>().expect("a socket")),
        relay: relay.map(|r| Arc::new(r.parse().expect("a relay"))),
    };
    Contact { id: NodeId([n; 32]), place }
}

fn bodies() -> Vec<(&'static str, RealBody)> {
    let key = IdentityKey::from_seed([1; 32]);
    let record = AgentRecord::new(key.public(), InstanceId([0x11; 32]), Seq(ISSUED.0), ISSUED);
    let value: Arc<[u8]> = record.sign(&key).expect("signs").bytes().into();
    let slot = Slot::agent(key.node_id());
    let name = Slot::name(&"planner".parse().expect("a name"));
    let address = Slot::address(&homing_base::Address::of(&key.node_id()));
    let contacts = vec![
        contact(1, Some("192.0.2.1:4433"), None),
        contact(2, Some("[2001:db8::1]:4433"), None),
        contact(3, None, Some("https://relay.example/")),
    ];
    let (some, all) = (contacts[..1].to_vec(), contacts);
    vec![
        ("ping", Body::Ping),
        ("find node", Body::FindNode { target: NodeId([0x33; 32]) }),
        ("find an agent", Body::FindValue { slot }),
        ("find a name", Body::FindValue { slot: name }),
        ("find an address", Body::FindValue { slot: address }),
        ("store", Body::Store { slot, value: value.clone() }),
        (
            "exchange",
            Body::Exchange {
                known: vec![1, u64::MAX],
                fresh: some.clone(),
                session_s: 5_194,
                leaf: None,
            },
        ),
        ("offer", Body::Offer { digests: vec![0, 24, u64::MAX] }),
        ("leaving", Body::Leaving),
        ("pong", Body::Pong),
        ("nodes", Body::Nodes { contacts: all }),
        ("values", Body::Values { values: vec![value], contacts: some.clone() }),
        ("values: not here", Body::Values { values: vec![], contacts: vec![] }),
        ("stored", Body::Stored { verdict: Verdict::Kept }),
        (
            "siblings",
            Body::Siblings { contacts: some, doubted: vec![7], session_s: 60, leaf: None },
        ),
        ("wanted", Body::Wanted { digests: vec![24] }),
        ("busy", Body::Busy),
    ]
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn message(body: RealBody) -> RealMessage {
    Message { id: 7, server: true, body }
}

#[test]
fn the_bytes_are_pinned_and_read_back() {
    let valid: Vec<_> = bodies()
        .into_iter()
        .map(|(name, body)| {
            let bytes = encode(&message(body.clone()));
            assert_eq!(decode(&bytes), Ok(message(body)), "{name}");
            json!({ "name": name, "message": hex(&bytes) })
        })
        .collect();
    let invalid = [
        ("empty", vec![]),
        ("unknown body", vec![0x83, 0x07, 0xf5, 0x81, 0x18, 0x63]),
        ("ping with a field", vec![0x83, 0x07, 0xf5, 0x82, 0x01, 0x00]),
        (
            "unknown kind",
            [&[0x83, 0x07, 0xf5, 0x83, 0x03, 0x09, 0x58, 0x20][..], &[0; 32]].concat(),
        ),
        ("short target", vec![0x83, 0x07, 0xf5, 0x82, 0x02, 0x41, 0x00]),
        ("unknown verdict", vec![0x83, 0x07, 0xf5, 0x82, 0x0e, 0x09]),
        ("65 digests", encode(&message(Body::Offer { digests: vec![1; 65] }))),
        ("trailing byte", [encode(&message(Body::Ping)), vec![0]].concat()),
    ];
    let invalid = invalid.map(|(name, bytes)| {
        let error = decode(&bytes).expect_err(name);
        json!({ "name": name, "message": hex(&bytes), "error": kind(&error) })
    });
    compare(
        "dht.json",
        &json!({
            "schema": "homing.vectors/v1", "about": "spec/08-dht.md", "valid": valid, "invalid": invalid,
        }),
    );
}
