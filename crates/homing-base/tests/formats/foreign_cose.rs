//! A stock COSE library as an independent witness: it verifies what we sign, and we verify what it
//! signs. It knows nothing of our code but the domain strings of `spec/02` and `spec/03`.

use coset::{
    CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana,
};
use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};
use homing_base::record::UnverifiedRecord;
use homing_base::statement::UnverifiedStatement;
use homing_base::{AgentRecord, StatementKind, cbor};
use proptest::prelude::*;

use crate::arbitrary::{key, now, plain, records, statement_of, statements};

const RECORD_AAD: &[u8] = b"homing agent record v1";
const STATEMENT_AAD: &[u8] = b"homing trust statement v1";

fn verifies(bytes: &[u8], public: &[u8; 32], aad: &[u8]) -> bool {
    let object = CoseSign1::from_tagged_slice(bytes).expect("a COSE_Sign1");
    let public = VerifyingKey::from_bytes(public).expect("a public key");
    let check = |signature: &[u8], data: &[u8]| {
        public.verify(data, &ed25519_dalek::Signature::from_slice(signature).expect("64 bytes"))
    };
    object.verify_signature(aad, check).is_ok()
}

fn signed(payload: Vec<u8>, seed: u8, aad: &[u8]) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let protected = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
    let object = CoseSign1Builder::new()
        .protected(protected)
        .payload(payload)
        .create_signature(aad, |data| key.sign(data).to_bytes().to_vec())
        .build();
    object.to_tagged_vec().expect("encodes")
}

#[test]
fn what_a_stock_library_signs_verifies_here() {
    let content = plain(&key(3));
    let bytes = signed(cbor::encode(&content), 3, RECORD_AAD);
    let record = UnverifiedRecord::parse(&bytes).expect("parses").verify(now()).expect("verifies");
    assert_eq!(*record, content);
    assert_eq!(
        record.bytes(),
        content.sign(&key(3)).expect("signs").bytes(),
        "the same bytes, too"
    );

    let content = statement_of(&key(3), StatementKind::Grant, key(4).node_id());
    let bytes = signed(cbor::encode(&content), 3, STATEMENT_AAD);
    UnverifiedStatement::parse(&bytes).expect("parses").verify(now()).expect("verifies");
}

#[test]
fn an_object_signed_for_another_purpose_is_refused() {
    let payload = cbor::encode(&plain(&key(3)));
    for aad in [&b""[..], STATEMENT_AAD, b"homing agent record v2"] {
        let bytes = signed(payload.clone(), 3, aad);
        assert!(UnverifiedRecord::parse(&bytes).expect("parses").verify(now()).is_err());
    }
}

#[test]
fn headers_that_a_lenient_library_would_pass_are_refused() {
    let payload = cbor::encode(&plain(&key(3)));
    let key = SigningKey::from_bytes(&[3; 32]);
    let build = |protected: HeaderBuilder, unprotected: HeaderBuilder| {
        let object = CoseSign1Builder::new()
            .protected(protected.build())
            .unprotected(unprotected.build())
            .payload(payload.clone())
            .create_signature(RECORD_AAD, |data| key.sign(data).to_bytes().to_vec());
        object.build()
    };
    let eddsa = || HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA);
    let with_kid = build(eddsa().key_id(b"me".to_vec()), HeaderBuilder::new());
    let with_hint = build(eddsa(), HeaderBuilder::new().key_id(b"me".to_vec()));
    let without_algorithm = build(HeaderBuilder::new(), HeaderBuilder::new());
    for object in [with_kid, with_hint, without_algorithm] {
        let bytes = object.to_tagged_vec().expect("encodes");
        assert!(UnverifiedRecord::parse(&bytes).is_err());
    }
    let untagged = build(eddsa(), HeaderBuilder::new()).to_vec().expect("encodes");
    assert!(UnverifiedRecord::parse(&untagged).is_err(), "the tag is part of the one spelling");
}

proptest! {
    #[test]
    fn what_we_sign_verifies_with_a_stock_library(record in records(), statement in statements()) {
        prop_assert!(verifies(record.bytes(), &record.public_key.0, RECORD_AAD));
        prop_assert!(verifies(statement.bytes(), &statement.from.0, STATEMENT_AAD));
        prop_assert!(!verifies(record.bytes(), &record.public_key.0, STATEMENT_AAD));
        let object = CoseSign1::from_tagged_slice(record.bytes()).expect("a COSE_Sign1");
        let content: AgentRecord = cbor::decode(&object.payload.expect("attached"), 1_000).expect("ours");
        prop_assert_eq!(&content, &*record);
    }
}
