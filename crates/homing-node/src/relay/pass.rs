//! The pass that a client shows to a relay with an allow-list.
//!
//! Text, as iroh's bearer token: `<64 hex: identity's public key>.<base64url: COSE_Sign1>`, the latter over
//! `EndpointProof {1 instance, 2 endpoint}` with the domain "homing endpoint proof v1". The relay has
//! proven the client's endpoint key itself; the pass says whose it is. It is worthless without that
//! key, which lives in one run's memory, so it needs no expiry: who leaves the allow-list is out at the
//! next connection. What it tells the relay: which identity this endpoint speaks for. It is shown to
//! configured relays only.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use homing_base::sign1::{self, Domain};
use homing_base::{InstanceId, NodeId, PublicKey};
use homing_core::message::EndpointProof;

/// A pass in text form.
pub const PASS_CHARS_MAX: usize = 512;
const PROOF_BYTES_MAX: usize = 256;

/// An identity's statement that an endpoint is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayPass {
    /// The identity.
    pub key: PublicKey,
    /// COSE_Sign1 over [`EndpointProof`].
    pub proof: Vec<u8>,
}

impl RelayPass {
    /// Whose pass this is, if it is valid for that endpoint.
    ///
    /// # Errors
    /// [`PassError`].
    pub fn holder(&self, endpoint: InstanceId) -> Result<NodeId, PassError> {
        let (payload, signature) =
            sign1::parse(&self.proof, PROOF_BYTES_MAX).map_err(|_| PassError::Malformed)?;
        if !sign1::verify(&self.key, Domain::EndpointProof, payload, &signature) {
            return Err(PassError::Signature);
        }
        let proof: EndpointProof = homing_base::cbor::decode(payload, PROOF_BYTES_MAX)
            .map_err(|_| PassError::Malformed)?;
        if proof.endpoint != endpoint {
            return Err(PassError::Endpoint);
        }
        Ok(self.key.node_id())
    }
}

impl fmt::Display for RelayPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.key, BASE64URL_NOPAD.encode(&self.proof))
    }
}

impl FromStr for RelayPass {
    type Err = PassError;

    fn from_str(text: &str) -> Result<Self, PassError> {
        if text.len() > PASS_CHARS_MAX {
            return Err(PassError::Malformed);
        }
        let (key, proof) = text.split_once('.').ok_or(PassError::Malformed)?;
        let key = key.parse().map_err(|_| PassError::Malformed)?;
        let proof = BASE64URL_NOPAD.decode(proof.as_bytes()).map_err(|_| PassError::Malformed)?;
        Ok(Self { key, proof })
    }
}

/// Why a pass does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// Not the text of a pass.
    #[error("the pass is malformed")]
    Malformed,
    /// Signed by another key than it names.
    #[error("the pass is not signed by the identity it names")]
    Signature,
    /// Made for another endpoint.
    #[error("the pass belongs to another endpoint")]
    Endpoint,
}

#[cfg(test)]
mod tests {
    use homing_base::IdentityKey;

    use super::*;

    fn pass(key: &IdentityKey, endpoint: InstanceId) -> RelayPass {
        let proof = EndpointProof { instance: InstanceId([1; 32]), endpoint };
        let proof = sign1::sign(key, Domain::EndpointProof, &homing_base::cbor::encode(&proof));
        RelayPass { key: key.public(), proof }
    }

    #[test]
    fn a_pass_speaks_for_one_endpoint_of_one_identity() {
        let key = IdentityKey::from_seed([3; 32]);
        let pass = pass(&key, InstanceId([2; 32]));
        assert_eq!(pass.to_string().parse(), Ok(pass.clone()));
        assert!(pass.to_string().len() < PASS_CHARS_MAX);
        assert_eq!(pass.holder(InstanceId([2; 32])), Ok(key.node_id()));
        assert_eq!(pass.holder(InstanceId([9; 32])), Err(PassError::Endpoint));
        let stolen = RelayPass { key: IdentityKey::from_seed([4; 32]).public(), ..pass };
        assert_eq!(stolen.holder(InstanceId([2; 32])), Err(PassError::Signature));
    }

    #[test]
    fn perturbed_passes_never_panic() {
        let text = pass(&IdentityKey::from_seed([3; 32]), InstanceId([2; 32])).to_string();
        for at in 0..text.len() {
            let bad = format!("{}x{}", &text[..at], &text[at + 1..]);
            if let Ok(pass) = bad.parse::<RelayPass>() {
                pass.holder(InstanceId([2; 32])).ok();
            }
        }
    }
}
