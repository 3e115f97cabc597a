//! Bodies for the decoders of homing-base: bytes in, a verdict out, and what must hold whatever came.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use homing_base::cbor::check_deterministic;
use homing_base::sign1::{self, Domain};
use homing_base::{
    Address, IdentityKey, IpnsName, IpnsRecord, Name, NodeId, Reference, RelayRef, Service, Ticket,
    UnverifiedRecord, UnverifiedStatement, Wall, identity,
};
use homing_base::{Mono, Now, RecordError, StatementError};

use crate::replay::Target;

/// Every target of this file, by the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("record_parse", record_parse),
    ("statement_parse", statement_parse),
    ("address_parse", address_parse),
    ("name_parse", name_parse),
    ("identity_json", identity_json),
    ("ticket_parse", ticket_parse),
    ("relay_ref", relay_ref),
    ("ipns_record", ipns_record),
    ("reference_parse", reference_parse),
];

/// The bytes as a whole record, and as a payload that an attacker signed with a key of its own.
pub fn record_parse(data: &[u8]) {
    let attacker = IdentityKey::from_seed([1; 32]);
    for bytes in [data.to_vec(), sign1::sign(&attacker, Domain::AgentRecord, data)] {
        let Ok(record) = UnverifiedRecord::parse(&bytes) else { continue };
        check_deterministic(&bytes).expect("what was parsed is deterministic");
        match record.verify_signature() {
            Ok(record) => {
                assert_eq!(record.bytes(), bytes);
                assert_eq!(record.node_id(), record.public_key.node_id());
                assert!(record.precedence(&record).is_eq() && !record.equivocates(&record));
                let now = Now { mono: Mono(0), wall: record.issued };
                record.check_lifetime(now).expect("a record is true when it is issued");
            }
            Err(RecordError::Signature { .. }) => {}
            Err(error) => panic!("only the signature is left to check: {error}"),
        }
    }
}

/// The bytes as a record of a known name: what is believed reads back as the same.
pub fn ipns_record(data: &[u8]) {
    let key = IdentityKey::from_seed([7; 32]);
    let name = IpnsName::of(key.public());
    if let Ok(record) = IpnsRecord::verify_expired(data, &name) {
        assert_eq!(record.bytes(), data);
        assert!(record.precedence(&record).is_eq() && record.signature().len() == 64);
        let _ = (record.ends(), record.value_text());
        // The same content in our own form is believed, unless ours may not be that long.
        if let Ok(again) = (*record).clone().sign(&key) {
            let read = IpnsRecord::verify_expired(again.bytes(), &name).expect("our own record");
            assert_eq!(*read, *record);
        }
    }
}

/// The bytes as a reference that travels.
pub fn reference_parse(data: &[u8]) {
    let late = Now { mono: Mono(0), wall: Wall(u64::MAX) };
    if let Ok(reference) = Reference::verify_expired(data, late) {
        assert_eq!(Reference::verify_expired(&reference.to_bytes(), late).as_ref(), Ok(&reference));
        assert!(reference.precedence(&reference).is_eq());
        let _ = (reference.point(), reference.signer(), reference.owner());
    }
}

/// As [`record_parse`], for trust statements.
pub fn statement_parse(data: &[u8]) {
    let attacker = IdentityKey::from_seed([1; 32]);
    let late = Now { mono: Mono(0), wall: Wall(u64::MAX) };
    for bytes in [data.to_vec(), sign1::sign(&attacker, Domain::TrustStatement, data)] {
        let Ok(statement) = UnverifiedStatement::parse(&bytes) else { continue };
        check_deterministic(&bytes).expect("what was parsed is deterministic");
        match statement.verify(late) {
            Ok(statement) => {
                assert_eq!(statement.bytes(), bytes);
                let _ = (statement.consents(late), statement.scope().to_string());
            }
            Err(StatementError::Signature { .. }) => {}
            Err(error) => panic!("only the signature is left to check: {error}"),
        }
    }
}

/// Addresses, node IDs and times.
pub fn address_parse(data: &[u8]) {
    one_text_form::<Address>(data);
    one_text_form::<NodeId>(data);
    one_text_form::<Wall>(data);
}

/// Names and services.
pub fn name_parse(data: &[u8]) {
    one_text_form::<Name>(data);
    one_text_form::<Service>(data);
}

/// Relay references; what text can say is also well formed on the wire.
pub fn relay_ref(data: &[u8]) {
    if let Some(relay) = one_text_form::<RelayRef>(data) {
        assert!(relay.is_well_formed(), "{relay}");
        assert!(!relay.authority().is_empty());
    }
}

/// Tickets.
pub fn ticket_parse(data: &[u8]) {
    one_text_form::<Ticket>(data);
}

/// `identity.json`: an accepted file gives an identity that writes the same identity.
pub fn identity_json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = identity::from_json(text) {
        let again = identity::from_json(&identity::to_json(&key)).expect("own file");
        assert_eq!(again.to_secret_seed(), key.to_secret_seed());
    }
}

/// What is read is printed in one form, and that form is read as the same value.
fn one_text_form<T>(data: &[u8]) -> Option<T>
where
    T: FromStr<Err: Debug> + Display + PartialEq + Debug,
{
    let value: T = std::str::from_utf8(data).ok()?.parse().ok()?;
    assert_eq!(value.to_string().parse::<T>().as_ref().ok(), Some(&value));
    Some(value)
}
