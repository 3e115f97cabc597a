//! Bodies for the decoders of homing-core.

use homing_core::Message;
use homing_core::dht::wire;
use homing_core::gossip;
use homing_core::message::EndpointProof;

use crate::replay::Target;

/// Every target of this file, by the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("message_decode", message_decode),
    ("dht_message", dht_message),
    ("gossip_message", gossip_message),
];

/// Mesh messages and the payload of an endpoint proof: what is read is written back as the same
/// value, in bytes that are read again.
pub fn message_decode(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        let bytes = message.encode();
        assert!(bytes.len() <= data.len(), "only unknown keys may be left out");
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
    }
    if let Ok(proof) = homing_base::cbor::decode::<EndpointProof>(data, 256) {
        let bytes = homing_base::cbor::encode(&proof);
        assert_eq!(homing_base::cbor::decode(&bytes, 256), Ok(proof));
    }
}

/// DHT messages: the same.
pub fn dht_message(data: &[u8]) {
    if let Ok(message) = wire::decode(data) {
        let again = wire::decode(&wire::encode(&message));
        assert_eq!(again.as_ref(), Ok(&message));
    }
}

/// Gossip messages: the same, and the length is known without writing.
pub fn gossip_message(data: &[u8]) {
    if let Ok(message) = gossip::wire::decode(data) {
        let bytes = gossip::wire::encode(&message);
        assert_eq!(bytes.len(), message.wire_len::<homing_base::Record>());
        assert_eq!(gossip::wire::decode(&bytes).as_ref(), Ok(&message));
    }
}
