//! The gossip messages from outside: bytes pinned in `spec/vectors/gossip.json`.

#[path = "../../homing-base/tests/formats/vectors_file.rs"]
mod vectors_file;

use homing_base::{AgentRecord, IdentityKey, InstanceId, Seq, Wall};
use homing_core::gossip::wire::{RealMessage, decode, encode};
use homing_core::gossip::{Carried, Item, Message, Range, RangeBody, Ranges};
use serde_json::json;

use vectors_file::{compare, kind};

const ISSUED: Wall = Wall(1_795_230_000_000);

fn messages() -> Vec<(&'static str, RealMessage)> {
    let key = IdentityKey::from_seed([1; 32]);
    let record = AgentRecord::new(key.public(), InstanceId([0x11; 32]), Seq(ISSUED.0), ISSUED);
    let record = record.sign(&key).expect("signs");
    let carried = vec![Carried { hops: 3, wire: record.bytes().into() }];
    let item = Item { prefix: 1 << 63, sequence: Seq(ISSUED.0), mark: 0xdead_beef };
    let summary = RangeBody::Summary { count: 10_000, fingerprint: u64::MAX };
    let ranges = vec![
        Range { from: 0, to: (1 << 63) - 1, body: summary },
        Range { from: 1 << 63, to: u64::MAX, body: RangeBody::List(vec![item]) },
    ];
    let cut = Wall(ISSUED.0 + 60_000);
    let compare = |ranges| Message::Ranges(Ranges { salt: 7, cut, depth: 2, ranges });
    vec![
        ("push", Message::Push(carried.clone())),
        ("have", Message::Have { sync: false, items: vec![item] }),
        ("have, found by comparing", Message::Have { sync: true, items: vec![item, item] }),
        ("want", Message::Want { graft: false, prefixes: vec![1 << 63] }),
        ("want, graft", Message::Want { graft: true, prefixes: vec![0, u64::MAX] }),
        ("records", Message::Records(carried)),
        ("prune", Message::Prune),
        ("ranges", compare(ranges)),
        ("ranges: nothing differs", compare(vec![])),
    ]
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn the_bytes_are_pinned_and_read_back() {
    let valid: Vec<_> = messages()
        .into_iter()
        .map(|(name, message)| {
            let bytes = encode(&message);
            assert_eq!(decode(&bytes), Ok(message), "{name}");
            json!({ "name": name, "message": hex(&bytes) })
        })
        .collect();
    let sum = |from, to| {
        let body = RangeBody::Summary { count: 1, fingerprint: 1 };
        Range { from, to, body }
    };
    let ranges =
        |ranges| encode(&Message::Ranges(Ranges { salt: 7, cut: ISSUED, depth: 0, ranges }));
    let invalid = [
        ("empty", vec![]),
        ("unknown message", vec![0x81, 0x18, 0x63]),
        ("prune with a field", vec![0x82, 0x05, 0x00]),
        ("19 bytes of items", [&[0x83, 0x02, 0xf4, 0x53][..], &[0; 19]].concat()),
        ("1,025 items", {
            let item = Item { prefix: 0, sequence: Seq(0), mark: 0 };
            encode(&Message::Have { sync: true, items: vec![item; 1_025] })
        }),
        ("257 prefixes", encode(&Message::Want { graft: false, prefixes: vec![0; 257] })),
        ("an empty record", vec![0x82, 0x01, 0x81, 0x82, 0x00, 0x40]),
        ("a range that ends before it begins", ranges(vec![sum(2, 1)])),
        ("ranges that overlap", ranges(vec![sum(0, 5), sum(5, 9)])),
        ("65 ranges", ranges((0..65).map(|n| sum(n, n)).collect())),
        ("trailing byte", [encode(&Message::Prune), vec![0]].concat()),
    ];
    let invalid = invalid.map(|(name, bytes)| {
        let error = decode(&bytes).expect_err(name);
        json!({ "name": name, "message": hex(&bytes), "error": kind(&error) })
    });
    compare(
        "gossip.json",
        &json!({
            "schema": "homing.vectors/v1", "about": "spec/09-gossip.md", "valid": valid, "invalid": invalid,
        }),
    );
}
