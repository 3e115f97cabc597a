//! COSE_Sign1 (RFC 9052 §4.2) with Ed25519, tagged 18, and a domain-separation string as external
//! AAD, so that any language verifies our objects with a stock COSE library.
//!
//! ```text
//! 18([ << {1: -8} >>, {}, payload bstr, signature bstr .size 64 ])
//! signed: ["Signature1", << {1: -8} >>, aad bstr, payload bstr]
//! ```
//! The protected header is exactly `{1: -8}` (alg: EdDSA, RFC 9053 §2.2); the unprotected one is
//! empty. Anything else is refused: one object, one encoding.

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use crate::cbor::{CborError, check_deterministic};
use crate::key::{IdentityKey, PublicKey, Signature};

const TAG_SIGN1: u64 = 18;
const PROTECTED: &[u8] = &[0xa1, 0x01, 0x27];

/// What a signature is for; goes into the signed bytes so that no object passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// An agent record, version 1.
    AgentRecord,
    /// A trust statement, version 1.
    TrustStatement,
    /// A main endpoint's delegation by the instance's identity, version 1.
    EndpointProof,
    /// An identity's word that an agent is its own, version 1.
    OwnerProof,
    /// An agent's sign of life to a registry, version 1.
    Heartbeat,
    /// An identity's word that an IPNS name is a reference of its own, version 1.
    ReferenceBinding,
    /// An entry of an audit log, version 1.
    AuditEntry,
    /// An identity's word that a derived key speaks for it, version 1.
    KeyDelegation,
}

impl Domain {
    fn aad(self) -> &'static [u8] {
        match self {
            Domain::AgentRecord => b"homing agent record v1",
            Domain::TrustStatement => b"homing trust statement v1",
            Domain::EndpointProof => b"homing endpoint proof v1",
            Domain::OwnerProof => b"homing owner proof v1",
            Domain::Heartbeat => b"homing heartbeat v1",
            Domain::ReferenceBinding => b"homing reference binding v1",
            Domain::AuditEntry => b"homing audit entry v1",
            Domain::KeyDelegation => b"homing key delegation v1",
        }
    }
}

/// Signs `payload` and returns the whole object.
#[must_use]
pub fn sign(key: &IdentityKey, domain: Domain, payload: &[u8]) -> Vec<u8> {
    let signature = key.sign(&to_be_signed(domain, payload));
    let mut bytes = Vec::with_capacity(payload.len() + 80);
    let mut e = Encoder::new(&mut bytes);
    e.tag(Tag::new(TAG_SIGN1))
        .and_then(|e| e.array(4))
        .and_then(|e| e.bytes(PROTECTED))
        .and_then(|e| e.map(0))
        .and_then(|e| e.bytes(payload))
        .and_then(|e| e.bytes(&signature.0))
        .expect("encoding to memory cannot fail");
    bytes
}

/// Splits an object into payload and signature, without verifying anything.
///
/// # Errors
/// When the bytes are too long or not one deterministic COSE_Sign1 of our shape.
pub fn parse(bytes: &[u8], bytes_max: usize) -> Result<(&[u8], Signature), CborError> {
    if bytes.len() > bytes_max {
        return Err(CborError::TooLong { len: bytes.len(), max: bytes_max });
    }
    check_deterministic(bytes)?;
    let shape = |e: minicbor::decode::Error| CborError::Shape(e.to_string());
    let mut d = Decoder::new(bytes);
    let tagged = d.tag().map_err(shape)?.as_u64() == TAG_SIGN1
        && d.array().map_err(shape)? == Some(4)
        && d.bytes().map_err(shape)? == PROTECTED
        && d.map().map_err(shape)? == Some(0);
    if !tagged {
        return Err(CborError::Shape("not a COSE_Sign1 with the header {1: -8}".into()));
    }
    let payload = d.bytes().map_err(shape)?;
    let signature = d.bytes().map_err(shape)?;
    let signature = signature
        .try_into()
        .map_err(|_| CborError::Shape("an Ed25519 signature has 64 bytes".into()))?;
    Ok((payload, Signature(signature)))
}

/// Whether `signature` is `key`'s over `payload` for `domain`.
#[must_use]
pub fn verify(key: &PublicKey, domain: Domain, payload: &[u8], signature: &Signature) -> bool {
    key.verifies(&to_be_signed(domain, payload), signature)
}

/// `Sig_structure` of RFC 9052 §4.4.
fn to_be_signed(domain: Domain, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 64);
    let mut e = Encoder::new(&mut bytes);
    e.array(4)
        .and_then(|e| e.str("Signature1"))
        .and_then(|e| e.bytes(PROTECTED))
        .and_then(|e| e.bytes(domain.aad()))
        .and_then(|e| e.bytes(payload))
        .expect("encoding to memory cannot fail");
    bytes
}
