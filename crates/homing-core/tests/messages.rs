//! The mesh messages from outside: bytes pinned in `spec/vectors/mesh.json`, round trip, perturbation.

#[path = "../../homing-base/tests/formats/vectors_file.rs"]
mod vectors_file;

use std::net::SocketAddr;

use homing_base::cbor::{self, CborError};
use homing_base::limits::{MESSAGE_BYTES_MAX, RECORD_BYTES_MAX, RECORDS_PER_MESSAGE_MAX};
use homing_base::sign1::{self, Domain};
use homing_base::{AgentRecord, IdentityKey, InstanceId, NodeId, Seq, Wall};
use homing_core::Message;
use homing_core::message::{
    Ask, AskAnswer, AskKey, ByeReason, Candidates, EchoReply, EndpointProof, Hello, MESH_VERSION,
    Network, Refusal, TrustSync,
};
use homing_core::ports::wire::{Offer, Place, Ready, Through, Word};
use proptest::prelude::*;
use serde_json::json;

use vectors_file::{compare, kind};

const ISSUED: Wall = Wall(1_795_230_000_000);

fn key() -> IdentityKey {
    IdentityKey::from_seed([1; 32])
}

fn record() -> Vec<u8> {
    let record = AgentRecord::new(key().public(), InstanceId([0x11; 32]), Seq(ISSUED.0), ISSUED);
    record.sign(&key()).expect("signs").bytes().to_vec()
}

fn proof() -> Vec<u8> {
    let proof =
        EndpointProof { instance: InstanceId([0x11; 32]), endpoint: InstanceId([0x22; 32]) };
    sign1::sign(&key(), Domain::EndpointProof, &cbor::encode(&proof))
}

fn sockets() -> Vec<SocketAddr> {
    ["192.0.2.1:4433", "[2001:db8::1]:4433"].map(|s| s.parse().expect("a socket")).into()
}

fn hello(proof: Option<Vec<u8>>) -> Message {
    let software = Some("homing 0.1.0".into());
    Message::Hello(Hello {
        version: MESH_VERSION,
        record: record(),
        proof,
        public: Some(true),
        software,
        dht: Some(true),
        brief: Some(true),
    })
}

fn dht_ping() -> homing_core::dht::wire::RealMessage {
    homing_core::dht::Message { id: 7, server: true, body: homing_core::dht::Body::Ping }
}

/// One of each, and each optional part once there and once not.
fn messages() -> Vec<(&'static str, Message)> {
    let ask = |key| Message::Ask(Ask { id: 7, key, errand: None });
    let candidates = Candidates {
        endpoint: InstanceId([0x22; 32]),
        proof: Some(proof()),
        direct: sockets(),
        relays: vec!["https://relay.example/#quic=7000".parse().expect("a relay")],
        network: Network { udp_v4: Some(true), udp_v6: Some(false), mapping_varies: None },
        port_prediction: None,
    };
    let bare = Hello {
        version: 1,
        record: record(),
        proof: None,
        public: None,
        software: None,
        dht: None,
        brief: None,
    };
    let refused = Some(Refusal::ScopeDenied);
    let port = |word: Word| Message::Port(word.encode());
    let place = Place { ip: [203, 0, 113, 7], port: 41_641 };
    vec![
        ("hello", Message::Hello(bare)),
        ("hello with everything", hello(Some(proof()))),
        ("records", Message::Records(vec![record().into()])),
        ("ask for a node ID", ask(AskKey::NodeId(NodeId([0x33; 32])))),
        ("ask for an address", ask(AskKey::Address([0x33; 15]))),
        ("ask for a name", ask(AskKey::Name("planner".parse().expect("a name")))),
        (
            "ask: errand",
            Message::Ask(Ask {
                id: 7,
                key: AskKey::NodeId(NodeId([0x33; 32])),
                errand: Some(true),
            }),
        ),
        ("answer", Message::Answer(AskAnswer { id: 7, records: vec![record().into()] })),
        ("answer: not here", Message::Answer(AskAnswer { id: 7, records: vec![] })),
        ("watch", Message::Watch(vec![NodeId([0x33; 32])])),
        ("trust", Message::Trust(TrustSync { mine: Some(vec![0xaa]), yours: Some(vec![0xbb]) })),
        ("trust: nothing held", Message::Trust(TrustSync { mine: None, yours: None })),
        ("candidates", Message::Candidates(candidates.clone())),
        (
            "candidates: port prediction",
            Message::Candidates(Candidates { port_prediction: Some(true), ..candidates }),
        ),
        ("ping", Message::Ping(1)),
        ("pong", Message::Pong(u64::MAX)),
        ("echo", Message::Echo(500)),
        ("echo reply", Message::EchoReply(EchoReply { token: 500, refused: None })),
        ("echo reply: refused", Message::EchoReply(EchoReply { token: 500, refused })),
        ("bye", Message::Bye(ByeReason::Superseded)),
        ("dht: ping", Message::Dht(homing_core::dht::wire::encode(&dht_ping()))),
        ("port: offer", port(Word::Offer(Offer { attempt: 7, secret: [0x44; 32], at: place }))),
        ("port: ready", port(Word::Ready(Ready { attempt: 7, ip: place.ip }))),
        ("port: no", port(Word::No(7))),
        ("port: through", port(Word::Through(Through { attempt: 7, entry: place }))),
    ]
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn the_bytes_are_pinned() {
    let valid: Vec<_> = messages()
        .into_iter()
        .map(|(name, message)| {
            let bytes = message.encode();
            let length = u32::try_from(bytes.len()).expect("at most 64 KiB").to_be_bytes();
            json!({ "name": name, "message": hex(&bytes), "frame": hex(&[&length, &bytes[..]].concat()) })
        })
        .collect();
    let invalid = [
        ("empty", vec![]),
        ("unknown index", vec![0x82, 0x18, 0x63, 0x80]),
        ("index not shortest", vec![0x82, 0x18, 0x08, 0x81, 0x01]),
        ("ping without a token", vec![0x82, 0x08, 0x80]),
        ("bye for an unknown reason", vec![0x82, 0x0c, 0x81, 0x18, 0x63]),
        ("trailing byte", [Message::Ping(1).encode(), vec![0]].concat()),
        ("over 64 KiB", vec![0; MESSAGE_BYTES_MAX + 1]),
    ];
    let invalid = invalid.map(|(name, bytes)| {
        let error = Message::decode(&bytes).expect_err(name);
        let shown =
            if bytes.len() > 100 { format!("{} zero bytes", bytes.len()) } else { hex(&bytes) };
        json!({ "name": name, "message": shown, "error": kind(&error) })
    });
    compare(
        "mesh.json",
        &json!({
            "schema": "homing.vectors/v1", "about": "spec/04-mesh.md", "valid": valid, "invalid": invalid,
            "endpoint_proof": {
                "secret_key": hex(&[1; 32]), "instance": hex(&[0x11; 32]), "endpoint": hex(&[0x22; 32]),
                "bytes": hex(&proof()),
            },
        }),
    );
}

#[test]
fn every_message_reads_back() {
    for (name, message) in messages() {
        assert_eq!(Message::decode(&message.encode()), Ok(message), "{name}");
    }
}

#[test]
fn a_full_load_of_records_fits_into_one_message() {
    let full = Message::Records(vec![vec![0; RECORD_BYTES_MAX].into(); RECORDS_PER_MESSAGE_MAX]);
    assert_eq!(Message::decode(&full.encode()), Ok(full));
}

#[test]
fn a_message_that_announces_more_than_it_brings_is_refused() {
    // Records, an array of 2^32 - 1 byte strings: refused before anything is reserved for them.
    let bytes = [0x82, 0x02, 0x81, 0x9a, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(Message::decode(&bytes), Err(CborError::Truncated));
}

proptest! {
    #[test]
    fn perturbed_messages_never_panic(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<bool>(),
    ) {
        let all = messages();
        let mut bytes = which.get(&all).1.encode();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = with }
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn any_bytes_end_in_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }
}
