//! Bodies for the decoders of homing-core.

use homing_core::Message;
use homing_core::dht::wire;
use homing_core::gossip;
use homing_core::message::EndpointProof;
use homing_core::messages::wire as mail;
use homing_core::ports::wire::{WORD_BYTES_MAX, Word};
use homing_core::references::wire as note;
use homing_core::session::frame::{self, Frames};
use homing_core::session::limits::{DETACHED_MAX, REPLAY_BYTES_MAX};
use homing_core::session::{Delivery, Session};

use crate::replay::Target;

/// Every target of this file, by the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("message_decode", message_decode),
    ("dht_message", dht_message),
    ("gossip_message", gossip_message),
    ("mail_message", mail_message),
    ("reference_note", reference_note),
    ("port_word", port_word),
    ("session_frames", session_frames),
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

/// What agents say about messages: the same.
pub fn mail_message(data: &[u8]) {
    if let Ok(message) = mail::decode(data) {
        assert_eq!(mail::decode(&mail::encode(&message)).as_ref(), Ok(&message));
    }
}

/// What is said about references: the same.
pub fn reference_note(data: &[u8]) {
    if let Ok(note) = note::decode(data) {
        assert_eq!(note::decode(&note::encode(&note)).as_ref(), Ok(&note));
    }
}

/// What is said about port prediction: the same, and never long.
pub fn port_word(data: &[u8]) {
    if let Ok(word) = Word::decode(data) {
        let bytes = word.encode();
        assert!(bytes.len() <= data.len().min(WORD_BYTES_MAX));
        assert_eq!(Word::decode(&bytes).as_ref(), Ok(&word));
    }
}

/// Frames of a session: what is read is written back as the same bytes, however they arrive; and a
/// host that is fed them ends in order or with a reason, holding no more than it may.
pub fn session_frames(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let (mut frames, mut again) = (Frames::default(), Vec::new());
    'all: for bytes in data.chunks(usize::from(piece) + 1) {
        frames.push(bytes);
        loop {
            match frames.poll_frame() {
                Ok(Some(frame)) => frame.write(&mut again),
                Ok(None) => break,
                Err(_) => break 'all,
            }
        }
    }
    assert!(data.starts_with(&again));

    let Some((open, rest)) = data.split_first_chunk() else { return };
    let Ok(open) = frame::read_open(open) else { return };
    let now = homing_base::Mono(0);
    let Ok(mut host) = Session::host(now, &open, DETACHED_MAX) else { return };
    host.accept(now, &open);
    let mut held = 0;
    for bytes in rest.chunks(usize::from(piece) + 1) {
        host.receive(now, bytes);
        while let Some(Delivery::Bytes(bytes)) = host.poll_delivery() {
            held += bytes.len();
        }
        let said = host.poll_transmit().map_or(0, |bytes| bytes.len());
        assert!(said <= 2 * REPLAY_BYTES_MAX && held <= rest.len());
    }
}
