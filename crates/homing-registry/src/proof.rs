//! Two small signed objects of the registry: an owner's proof and an agent's heartbeat.
//!
//! ```text
//! owner proof  COSE_Sign1 by the owner,  AAD "homing owner proof v1":
//!              { 1 owner key bstr32 | 2 agent node ID bstr32 | 3 agent's name? | 4 issued ms | 5 expires ms }
//! heartbeat    COSE_Sign1 by the agent,  AAD "homing heartbeat v1":
//!              { 1 agent key bstr32 | 2 issued ms }
//! ```
//! A proof names the one agent that it vouches for, so that no other agent can show it as its own. It
//! travels in the agent's card, which the agent's record covers by its digest: both sides have signed.
//! Normative: `spec/10-registry.md`. Not here: where cards come from and where in them a proof stands.

use homing_base::cbor::{self, CborError};
use homing_base::sign1::{self, Domain};
use homing_base::{IdentityKey, Name, NodeId, Now, PublicKey, Wall};
use minicbor::{Decode, Encode};

use crate::limits::{
    HEARTBEAT_BYTES_MAX, HEARTBEAT_SKEW, OWNER_PROOF_BYTES_MAX, OWNER_PROOF_LIFETIME_MAX,
};

/// "This agent is mine."
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OwnerProof {
    /// Who vouches.
    #[n(1)]
    pub owner: PublicKey,
    /// For whom.
    #[n(2)]
    pub agent: NodeId,
    /// What the owner calls it; must be the name in the agent's record, if both have one.
    #[n(3)]
    pub name: Option<Name>,
    /// When it was signed, by the owner's clock.
    #[n(4)]
    pub issued: Wall,
    /// When it ends; at most [`OWNER_PROOF_LIFETIME_MAX`] after `issued`.
    #[n(5)]
    pub expires: Wall,
}

impl OwnerProof {
    /// Signs the proof.
    ///
    /// # Errors
    /// [`ProofError::Key`] when `key` is not the owner's; [`ProofError::Lifetime`].
    pub fn sign(&self, key: &IdentityKey) -> Result<Vec<u8>, ProofError> {
        if key.public() != self.owner {
            return Err(ProofError::Key);
        }
        self.check_lifetime()?;
        Ok(sign1::sign(key, Domain::OwnerProof, &cbor::encode(self)))
    }

    /// The only way to a proof from bytes: the owner signed it, for `agent`, and it is valid now.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(bytes: &[u8], agent: &NodeId, now: Now) -> Result<Self, ProofError> {
        let (payload, signature) = sign1::parse(bytes, OWNER_PROOF_BYTES_MAX)?;
        let proof: Self = cbor::decode(payload, OWNER_PROOF_BYTES_MAX)?;
        if !sign1::verify(&proof.owner, Domain::OwnerProof, payload, &signature) {
            return Err(ProofError::Signature { key: proof.owner });
        }
        if proof.agent != *agent {
            return Err(ProofError::OtherAgent { named: proof.agent, shown_by: *agent });
        }
        proof.check_lifetime()?;
        if proof.expires <= now.wall {
            return Err(ProofError::Expired { expires: proof.expires, now: now.wall });
        }
        if proof.issued > now.wall.after(homing_base::limits::CLOCK_SKEW_MAX) {
            return Err(ProofError::Clock { issued: proof.issued, now: now.wall });
        }
        Ok(proof)
    }

    fn check_lifetime(&self) -> Result<(), ProofError> {
        let life = self.expires.since(self.issued);
        if self.expires <= self.issued || life > OWNER_PROOF_LIFETIME_MAX {
            return Err(ProofError::Lifetime { issued: self.issued, expires: self.expires });
        }
        Ok(())
    }
}

/// "I am alive."
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Heartbeat {
    /// Who.
    #[n(1)]
    pub agent: PublicKey,
    /// When, by the agent's clock: within [`HEARTBEAT_SKEW`] of the registry's, and rising.
    #[n(2)]
    pub issued: Wall,
}

impl Heartbeat {
    /// Signs a heartbeat of `key` at `issued`.
    #[must_use]
    pub fn sign(key: &IdentityKey, issued: Wall) -> Vec<u8> {
        let heartbeat = Self { agent: key.public(), issued };
        sign1::sign(key, Domain::Heartbeat, &cbor::encode(&heartbeat))
    }

    /// The only way to a heartbeat from bytes: its agent signed it, just now.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(bytes: &[u8], now: Now) -> Result<Self, ProofError> {
        let (payload, signature) = sign1::parse(bytes, HEARTBEAT_BYTES_MAX)?;
        let heartbeat: Self = cbor::decode(payload, HEARTBEAT_BYTES_MAX)?;
        if !sign1::verify(&heartbeat.agent, Domain::Heartbeat, payload, &signature) {
            return Err(ProofError::Signature { key: heartbeat.agent });
        }
        let (issued, skew) = (heartbeat.issued, HEARTBEAT_SKEW);
        if issued.since(now.wall) > skew || now.wall.since(issued) > skew {
            return Err(ProofError::Clock { issued, now: now.wall });
        }
        Ok(heartbeat)
    }
}

/// Why a proof or heartbeat is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Too long, not deterministic CBOR, or another object.
    #[error("not the signed object that is expected here: {0}")]
    Encoding(#[from] CborError),
    /// The signature is not this key's.
    #[error("the signature is not that of key {key}")]
    Signature {
        /// The key that it names.
        key: PublicKey,
    },
    /// Signed with another key than the one it names.
    #[error("the proof speaks for another key")]
    Key,
    /// Somebody shows a proof that was made for another agent.
    #[error("the proof vouches for {named}, it was shown by {shown_by}")]
    OtherAgent {
        /// The agent in the proof.
        named: NodeId,
        /// The agent whose card had it.
        shown_by: NodeId,
    },
    /// Ends before it begins, or lives too long.
    #[error("a proof lives at most 366 days, this one from {issued} to {expires}")]
    Lifetime {
        /// Start of its life.
        issued: Wall,
        /// End of its life.
        expires: Wall,
    },
    /// No longer true.
    #[error("the proof expired at {expires}, it is {now}")]
    Expired {
        /// End of its life.
        expires: Wall,
        /// The reader's clock.
        now: Wall,
    },
    /// Too far from the reader's clock.
    #[error("it was issued at {issued}, it is {now} here: replayed, or one of the clocks is wrong")]
    Clock {
        /// The signer's clock.
        issued: Wall,
        /// The reader's clock.
        now: Wall,
    },
}

#[cfg(test)]
#[path = "proof/tests.rs"]
mod tests;
