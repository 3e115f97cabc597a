//! `Hello`: who speaks, and that this endpoint may speak for them.
//!
//! The record proves the identity's word "I am at this instance"; the transport proved the
//! endpoint key of the link. They are the same key, or an [`EndpointProof`] signed by the identity
//! binds the one to the other.

use homing_base::sign1::{self, Domain};
use homing_base::{
    IdentityKey, InstanceId, Now, PublicKey, Record, RecordError, UnverifiedRecord, cbor,
};

use crate::limits::SOFTWARE_CHARS_MAX;
use crate::message::{ByeReason, EndpointProof, Hello, MESH_VERSION};

/// Header, two keys and a signature: an honest proof has 153 bytes.
const PROOF_BYTES_MAX: usize = 256;

/// Signs that `endpoint` belongs to the run that `instance` names.
pub(crate) fn sign_proof(key: &IdentityKey, instance: InstanceId, endpoint: InstanceId) -> Vec<u8> {
    let payload = cbor::encode(&EndpointProof { instance, endpoint });
    sign1::sign(key, Domain::EndpointProof, &payload)
}

/// Whether `proof` is `key`'s word that `endpoint` belongs to the run `instance`. Without a proof
/// only the instance itself does.
pub(crate) fn binds(
    key: &PublicKey,
    instance: InstanceId,
    endpoint: InstanceId,
    proof: Option<&[u8]>,
) -> bool {
    let Some(bytes) = proof else { return endpoint == instance };
    let Ok((payload, signature)) = sign1::parse(bytes, PROOF_BYTES_MAX) else { return false };
    let Ok(claim) = cbor::decode::<EndpointProof>(payload, PROOF_BYTES_MAX) else { return false };
    claim == EndpointProof { instance, endpoint }
        && sign1::verify(key, Domain::EndpointProof, payload, &signature)
}

/// Why a `Hello` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("version {0} is not spoken here")]
    Version(u32),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the record does not speak for the endpoint of this link")]
    Endpoint,
}

impl HelloError {
    /// What the peer is told.
    pub(crate) fn bye(&self) -> ByeReason {
        match self {
            HelloError::Version(_) => ByeReason::Version,
            HelloError::Record(RecordError::FromTheFuture { .. }) => ByeReason::ClockSkew,
            HelloError::Record(_) | HelloError::Endpoint => ByeReason::RecordRefused,
        }
    }

    /// Whether an honest peer could not have sent it.
    pub(crate) fn is_misbehaviour(&self) -> bool {
        match self {
            HelloError::Version(_) => false,
            HelloError::Record(e) => {
                !matches!(e, RecordError::Expired { .. } | RecordError::FromTheFuture { .. })
            }
            HelloError::Endpoint => true,
        }
    }
}

/// Checks everything about a `Hello` that needs no memory; whether the record is the newest is the
/// caller's question.
pub(crate) fn verify(now: Now, hello: &Hello, remote: InstanceId) -> Result<Record, HelloError> {
    // A later version still speaks this one; zero is nobody's.
    if hello.version < MESH_VERSION {
        return Err(HelloError::Version(hello.version));
    }
    let record = UnverifiedRecord::parse(&hello.record)?.verify(now)?;
    let proof = hello.proof.as_deref();
    if !binds(&record.public_key, record.instance, remote, proof) {
        return Err(HelloError::Endpoint);
    }
    Ok(record)
}
/// The program version that a peer tells, fit to be shown: printable and short.
pub(crate) fn software(told: &str) -> String {
    told.chars().filter(|c| !c.is_control()).take(SOFTWARE_CHARS_MAX).collect()
}
