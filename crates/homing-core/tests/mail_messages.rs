//! The messages about messages from outside: bytes pinned in `spec/vectors/messages.json`.

#[path = "../../homing-base/tests/formats/vectors_file.rs"]
mod vectors_file;

use homing_base::{MessageId, Topic, Wall, cbor};
use homing_core::io::{FileOffer, MessageKind, Parcel, Subscription, Verdict};
use homing_core::messages::limits::{BATCH_MAX, BODY_BYTES_MAX, TOPICS_MAX};
use homing_core::messages::wire::{Mail, Receipt, decode, encode};
use serde_json::json;

use vectors_file::{compare, kind};

fn parcel(kind: MessageKind, body: &[u8]) -> Parcel {
    let topic = (kind == MessageKind::Event).then(|| topic("builds/main"));
    let created = Wall(1_795_230_000_000);
    Parcel { id: MessageId([0xa5; 16]), created, kind, topic, body: body.to_vec() }
}

fn topic(text: &str) -> Topic {
    text.parse().expect("a topic")
}

fn offer(name: &str) -> Vec<u8> {
    cbor::encode(&FileOffer { name: name.into(), size: 20 << 20, sha256: [7; 32] })
}

fn mail() -> Vec<(&'static str, Mail)> {
    let receipt = |verdict| Receipt { id: MessageId([0xa5; 16]), verdict };
    let kept = |name: &str, keep| Subscription { topic: topic(name), keep };
    let two = vec![parcel(MessageKind::Text, b"one"), parcel(MessageKind::Json, b"{\"n\":2}")];
    vec![
        ("a text and JSON", Mail::Deliver(two)),
        ("an empty text", Mail::Deliver(vec![parcel(MessageKind::Text, b"")])),
        ("a file", Mail::Deliver(vec![parcel(MessageKind::File, &offer("model.bin"))])),
        ("an event", Mail::Deliver(vec![parcel(MessageKind::Event, b"green")])),
        ("accepted", Mail::Receipts(vec![receipt(Verdict::Accepted)])),
        ("fetched, gave up", {
            Mail::Receipts(vec![receipt(Verdict::Fetched), receipt(Verdict::GaveUp)])
        }),
        ("no topics", Mail::Topics(vec![])),
        ("two topics", Mail::Topics(vec![kept("a", false), kept("b", true)])),
    ]
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn the_bytes_are_pinned_and_read_back() {
    let valid: Vec<_> = mail()
        .into_iter()
        .map(|(name, mail)| {
            let bytes = encode(&mail);
            assert_eq!(decode(&bytes), Ok(mail), "{name}");
            json!({ "name": name, "message": hex(&bytes) })
        })
        .collect();
    let deliver = |parcel| encode(&Mail::Deliver(vec![parcel]));
    let subscription = |name: &str| Subscription { topic: topic(name), keep: true };
    let many = (0..=TOPICS_MAX).map(|n| subscription(&format!("t{n:03}"))).collect();
    let no_topic = Parcel { topic: None, ..parcel(MessageKind::Event, b"x") };
    let with_topic = Parcel { topic: Some(topic("t")), ..parcel(MessageKind::Text, b"x") };
    let small = [
        ("empty", vec![]),
        ("unknown message", vec![0x82, 0x18, 0x63, 0x81, 0x80]),
        ("an empty batch", encode(&Mail::Deliver(vec![]))),
        ("no receipts", encode(&Mail::Receipts(vec![]))),
        ("a text that is not UTF-8", deliver(parcel(MessageKind::Text, &[0xff]))),
        ("an event without a topic", deliver(no_topic)),
        ("a text with a topic", deliver(with_topic)),
        ("a file without an offer", deliver(parcel(MessageKind::File, b"x"))),
        ("a file without a name", deliver(parcel(MessageKind::File, &offer("")))),
        ("a topic twice", encode(&Mail::Topics(vec![subscription("a"), subscription("a")]))),
        ("trailing byte", [encode(&Mail::Topics(vec![])), vec![0]].concat()),
        ("65 topics", encode(&Mail::Topics(many))),
    ];
    let invalid: Vec<_> = small
        .into_iter()
        .map(|(name, bytes)| {
            let error = decode(&bytes).expect_err(name);
            json!({ "name": name, "message": hex(&bytes), "error": kind(&error) })
        })
        .collect();
    compare(
        "messages.json",
        &json!({
            "schema": "homing.vectors/v1", "about": "spec/12-messages.md", "valid": valid, "invalid": invalid,
        }),
    );
}

#[test]
fn what_exceeds_a_bound_is_refused() {
    let full = parcel(MessageKind::Text, &vec![b'x'; BODY_BYTES_MAX]);
    assert!(decode(&encode(&Mail::Deliver(vec![full]))).is_ok());
    let long = parcel(MessageKind::Text, &vec![b'x'; BODY_BYTES_MAX + 1]);
    assert!(decode(&encode(&Mail::Deliver(vec![long]))).is_err());
    let many = vec![parcel(MessageKind::Text, b"x"); BATCH_MAX + 1];
    assert!(decode(&encode(&Mail::Deliver(many))).is_err());
    let long = parcel(MessageKind::File, &offer(&"x".repeat(256)));
    assert!(decode(&encode(&Mail::Deliver(vec![long]))).is_err());
}

#[test]
fn perturbed_bytes_never_panic() {
    for (_, mail) in mail() {
        let bytes = encode(&mail);
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] ^= flip;
                let _ = decode(&other);
            }
            let _ = decode(&bytes[..at]);
        }
    }
}
