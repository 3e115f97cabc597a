//! Evidence of one mark, as it travels in a bundle, and what an auditor finds in it without network.
//!
//! ```text
//! map { 1 evm { 1 chain id | 2 contract bstr20 | 3 transaction bstr32 | 4 header bstr | 5 place in block | 6 receipt bstr
//!               | 7 proof [bstr] | 8 log } }                    RLP header, EIP-2718 receipt, Merkle-Patricia nodes
//! map { 2 time stamp { 1 token bstr } }                         RFC 3161 TimeStampToken, DER
//! ```
//! Exactly one of both keys; at most 2 MiB. From a header follows its hash, from its receipts root and the proof the receipt, from
//! that what the contract said, and to whom. That the block is part of the chain everybody else has is not in the evidence: ask any
//! node for the hash of block `n`. A token is complete with the certificate of an authority that the auditor trusts.
//! Normative: `spec/15-anchors.md`.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use homing_base::cbor;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use crate::limits::EVIDENCE_BYTES_MAX;
use crate::{Point, Update};

/// Evidence of one mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A transaction on an EVM chain.
    Evm(EvmEvidence),
    /// A token of a time-stamp authority.
    TimeStamp(TimeStamp),
}

/// What a transaction on an EVM chain left behind.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EvmEvidence {
    /// EIP-155 chain id. The header does not say it: it is the claim of whoever made this.
    #[n(1)]
    pub chain_id: u64,
    /// The contract that spoke.
    #[n(2)]
    pub contract: ByteArray<20>,
    /// The transaction; as the chain id, a hint for looking it up.
    #[n(3)]
    pub transaction: ByteArray<32>,
    /// The block's header, RLP.
    #[n(4)]
    pub header: ByteVec,
    /// The transaction's place in the block.
    #[n(5)]
    pub place: u64,
    /// The receipt, EIP-2718.
    #[n(6)]
    pub receipt: ByteVec,
    /// Nodes from the receipts root down to the receipt.
    #[n(7)]
    pub proof: Vec<ByteVec>,
    /// Which of the receipt's logs, counted from 0, is the first that matters.
    #[n(8)]
    pub log: u64,
}

/// What a time-stamp authority answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TimeStamp {
    /// The token, DER.
    #[n(1)]
    pub token: ByteVec,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Wire {
    #[n(1)]
    evm: Option<EvmEvidence>,
    #[n(2)]
    time_stamp: Option<TimeStamp>,
}

/// What evidence says, after everything that can be checked offline was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A contract said it in this block, if the chain has this block.
    Chain {
        /// Claimed chain id.
        chain_id: u64,
        /// The contract.
        contract: [u8; 20],
        /// The account that told it.
        owner: [u8; 20],
        /// The transaction, as claimed.
        transaction: [u8; 32],
        /// Block number.
        block: u64,
        /// Block hash: compare it with what a node of that chain says.
        block_hash: [u8; 32],
        /// Block time, Unix milliseconds.
        time_ms: u64,
    },
    /// An authority said it at this time.
    Authority {
        /// Subject of its certificate.
        name: String,
        /// Whether that certificate leads to one that the auditor named.
        trusted: bool,
        /// Serial number of the token, hexadecimal.
        serial: String,
        /// The authority's time, Unix milliseconds.
        time_ms: u64,
    },
}

impl Evidence {
    /// `evm` or `rfc3161`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Evm(_) => "evm",
            Self::TimeStamp(_) => "rfc3161",
        }
    }

    /// Deterministic CBOR.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = match self.clone() {
            Self::Evm(evm) => Wire { evm: Some(evm), time_stamp: None },
            Self::TimeStamp(token) => Wire { evm: None, time_stamp: Some(token) },
        };
        cbor::encode(&wire)
    }

    /// As the fields of an anchor in a bundle: `evidence`, base64.
    #[must_use]
    pub fn to_body(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("evidence".to_owned(), BASE64.encode(&self.to_bytes()))])
    }

    /// From the fields of an anchor in a bundle. Fields that are not known are left alone.
    ///
    /// # Errors
    /// [`EvidenceError::Format`].
    pub fn from_body(kind: &str, body: &BTreeMap<String, String>) -> Result<Self, EvidenceError> {
        let wrong = |what: &str| EvidenceError::Format(what.to_owned());
        let text = body.get("evidence").ok_or_else(|| wrong("the anchor has no evidence"))?;
        let bytes =
            BASE64.decode(text.as_bytes()).map_err(|_| wrong("the evidence is not base64"))?;
        let evidence = Self::from_bytes(&bytes)?;
        match evidence.kind() == kind {
            true => Ok(evidence),
            false => Err(wrong("the evidence is of another type than the anchor says")),
        }
    }

    /// Reads evidence. Nothing in it is checked yet.
    ///
    /// # Errors
    /// [`EvidenceError::Format`] for anything else than the format above.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let wire: Wire = cbor::decode(bytes, EVIDENCE_BYTES_MAX)
            .map_err(|e| EvidenceError::Format(e.to_string()))?;
        match wire {
            Wire { evm: Some(evm), time_stamp: None } => Ok(Self::Evm(evm)),
            Wire { evm: None, time_stamp: Some(token) } => Ok(Self::TimeStamp(token)),
            _ => Err(EvidenceError::Format("neither or both kinds of evidence".into())),
        }
    }

    /// Checks that `origin` had `point`. `authorities`: DER certificates of time-stamp authorities, or of their issuers, that the
    /// auditor trusts.
    ///
    /// # Errors
    /// [`EvidenceError`] naming the first thing that does not fit.
    pub fn confirm_point(
        &self,
        origin: &str,
        point: &Point,
        authorities: &[Vec<u8>],
    ) -> Result<Finding, EvidenceError> {
        match self {
            Self::Evm(evm) => confirm_evm(evm, origin, Wanted::Point(point)),
            Self::TimeStamp(token) => crate::tsa::confirm(&token.token, origin, point, authorities),
        }
    }

    /// Checks that update `number` of `origin` was `update`.
    ///
    /// # Errors
    /// [`EvidenceError`] naming the first thing that does not fit.
    pub fn confirm_update(
        &self,
        origin: &str,
        number: u64,
        update: &Update,
    ) -> Result<Finding, EvidenceError> {
        match self {
            Self::Evm(evm) => confirm_evm(evm, origin, Wanted::Update(number, update)),
            Self::TimeStamp(_) => {
                Err(EvidenceError::Subject("a token covers checkpoints, not single updates".into()))
            }
        }
    }
}

/// What the evidence should be about.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "evm"), allow(dead_code))]
pub(crate) enum Wanted<'w> {
    Point(&'w Point),
    Update(u64, &'w Update),
}

#[cfg(feature = "evm")]
fn confirm_evm(
    evm: &EvmEvidence,
    origin: &str,
    wanted: Wanted<'_>,
) -> Result<Finding, EvidenceError> {
    crate::evm::confirm(evm, origin, wanted)
}

#[cfg(not(feature = "evm"))]
fn confirm_evm(_: &EvmEvidence, _: &str, _: Wanted<'_>) -> Result<Finding, EvidenceError> {
    Err(EvidenceError::NotBuilt)
}

/// Why evidence does not prove what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Not the format.
    #[error("not anchor evidence: {0}")]
    Format(String),
    /// It is about something else.
    #[error("the evidence is about something else: {0}")]
    Subject(String),
    /// One part does not follow from another.
    #[error("the evidence contradicts itself: {0}")]
    Proof(String),
    /// A signature or a certificate does not hold.
    #[error("the token does not hold: {0}")]
    Signature(String),
    /// This program was built without the EVM part.
    #[error("this program was built without EVM anchors; build with `--features evm`")]
    NotBuilt,
}
