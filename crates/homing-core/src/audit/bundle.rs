//! One offline proof: everything that an outsider needs to check an entry with no daemon and no network.
//!
//! ```json
//! {"schema":"homing.audit_proof/v1","entry":"<base64>","proof":"<tlog-proof text>","log_key":"<vkey>",
//!  "delegations":["<base64>"],"witnesses":["<vkey>"],"anchors":[{"type":"evm","checkpoint":"<note>",
//!  "consistency":["<base64>"],"body":{"…":"…"}}]}
//! ```
//! `delegations` say for which identity the log's key and the witnesses' keys speak. An anchor covers its own
//! checkpoint, which is the proof's or a newer one that `consistency` leads to; what its `body` proves is
//! the business of whoever knows its type.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use homing_base::derived::{Delegation, DelegationError};
use homing_base::limits::CLOCK_SKEW_MAX;
use homing_base::{NodeId, Wall};
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError, Cosignature};
use super::entry::{EntryError, SignedEntry, UnverifiedEntry};
use super::limits::{ANCHORS_MAX, NOTE_SIGNATURES_MAX, PROOF_HASHES_MAX};
use super::note::{KeyType, NoteError, NoteKey, SignedNote};
use super::proof::{Consistency, ProofError, TlogProof};
use super::tree::Hash;
use super::{PURPOSE_COSIGNER, PURPOSE_LOG, cosigner_name, is_log_of};

/// The schema this version writes.
pub const BUNDLE_SCHEMA: &str = "homing.audit_proof/v1";

/// The bundle, as its JSON has it. Nothing is believed before [`ProofBundle::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofBundle {
    /// [`BUNDLE_SCHEMA`].
    pub schema: String,
    /// The signed entry, base64.
    pub entry: String,
    /// Inclusion proof, checkpoint and cosignatures (C2SP tlog-proof).
    pub proof: String,
    /// The log's key (vkey).
    pub log_key: String,
    /// Signed delegations of the log's and the witnesses' keys, base64.
    pub delegations: Vec<String>,
    /// The witnesses' keys (vkeys).
    pub witnesses: Vec<String>,
    /// Where the checkpoint, or a newer one, was anchored.
    pub anchors: Vec<Anchor>,
}

/// Proof by a third party that a checkpoint existed: a transaction receipt, a time-stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// What it is: `evm`, `rfc3161`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The signed checkpoint that was anchored.
    pub checkpoint: String,
    /// Base64 hashes that lead from the proof's checkpoint to this one.
    pub consistency: Vec<String>,
    /// Fields of this type of anchor.
    pub body: BTreeMap<String, String>,
}

/// What a verified bundle says.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The entry.
    pub entry: SignedEntry,
    /// Where it stands.
    pub index: u64,
    /// In the log at this head.
    pub checkpoint: Checkpoint,
    /// Whose log it is.
    pub owner: NodeId,
    /// Who cosigned the head, and when.
    pub cosignatures: Vec<(NodeId, Cosignature)>,
    /// Heads that were anchored, consistent with this one, in the order of [`ProofBundle::anchors`].
    pub anchored: Vec<Checkpoint>,
}

impl ProofBundle {
    /// Checks everything but what the anchors' bodies say: delegations, the log's signature, inclusion,
    /// the entry's signature and log, cosignatures and their times.
    ///
    /// # Errors
    /// [`BundleError`], naming the part that is wrong.
    pub fn verify(&self) -> Result<Verified, BundleError> {
        if self.schema != BUNDLE_SCHEMA {
            return Err(BundleError::Schema { got: self.schema.chars().take(64).collect() });
        }
        let bounded = self.delegations.len() <= NOTE_SIGNATURES_MAX + 1
            && self.witnesses.len() <= NOTE_SIGNATURES_MAX
            && self.anchors.len() <= ANCHORS_MAX;
        if !bounded {
            return Err(BundleError::Shape("more parts than allowed"));
        }
        let delegations = self.read_delegations()?;
        let log: NoteKey = self.log_key.parse().map_err(BundleError::LogKey)?;
        let owner = delegated(&delegations, &log, PURPOSE_LOG).ok_or(BundleError::Undelegated)?;
        let proof = TlogProof::parse(&self.proof)?;
        let bytes = decode(&self.entry).ok_or(BundleError::Shape("the entry is not base64"))?;
        let entry = UnverifiedEntry::parse(&bytes)?.verify()?;
        if entry.log != Hash::digest(log.name.as_bytes()) {
            return Err(BundleError::OtherLog { origin: log.name });
        }
        let checkpoint = proof.verify(&bytes, &log)?;
        let cosignatures = self.read_cosignatures(&proof.checkpoint, &delegations)?;
        check_times(entry.time, &cosignatures)?;
        let anchored = self.read_anchors(&checkpoint, &log)?;
        let index = proof.inclusion.index;
        Ok(Verified { entry, index, checkpoint, owner, cosignatures, anchored })
    }

    fn read_delegations(&self) -> Result<Vec<Delegation>, BundleError> {
        let read = |text: &String| {
            let bytes = decode(text).ok_or(BundleError::Shape("a delegation is not base64"))?;
            Ok(Delegation::verify(&bytes)?)
        };
        self.delegations.iter().map(read).collect()
    }

    fn read_cosignatures(
        &self,
        note: &SignedNote,
        delegations: &[Delegation],
    ) -> Result<Vec<(NodeId, Cosignature)>, BundleError> {
        let mut found = Vec::new();
        for text in &self.witnesses {
            let key: NoteKey = text.parse().map_err(BundleError::Cosignature)?;
            let who = delegated(delegations, &key, PURPOSE_COSIGNER)
                .ok_or_else(|| BundleError::Witness { name: key.name.clone() })?;
            let cosignature = Cosignature::find(note, &key).map_err(BundleError::Cosignature)?;
            found.extend(cosignature.map(|cosignature| (who, cosignature)));
        }
        Ok(found)
    }

    fn read_anchors(
        &self,
        proven: &Checkpoint,
        log: &NoteKey,
    ) -> Result<Vec<Checkpoint>, BundleError> {
        let read = |(at, anchor): (usize, &Anchor)| {
            let note = SignedNote::parse(&anchor.checkpoint).map_err(CheckpointError::Note);
            let head = note.and_then(|note| Checkpoint::verify(&note, log));
            let head = head.map_err(|source| BundleError::AnchorCheckpoint { at, source })?;
            let hashes = anchor.consistency.iter().take(PROOF_HASHES_MAX + 1);
            let path: Option<Vec<Hash>> = hashes.map(|text| Hash::from_base64(text)).collect();
            let path = path.ok_or(BundleError::Shape("an anchor's hash is not base64"))?;
            let proof = Consistency { old: proven.size, path };
            if !proof.proves(proven, &head) {
                return Err(BundleError::AnchorFork { at });
            }
            Ok(head)
        };
        self.anchors.iter().enumerate().map(read).collect()
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok()
}

/// The identity that delegated `key`, under this very name and for this purpose.
fn delegated(delegations: &[Delegation], key: &NoteKey, purpose: &str) -> Option<NodeId> {
    let kind = if purpose == PURPOSE_LOG { KeyType::Ed25519 } else { KeyType::CosignatureV1 };
    let is_own = |d: &Delegation| match kind {
        KeyType::Ed25519 => is_log_of(&d.name, &d.identity.node_id()),
        _ => d.name == cosigner_name(&d.identity.node_id()),
    };
    let fits = |d: &&Delegation| {
        let same = d.key == key.key && d.name == key.name && d.purpose == purpose;
        same && key.kind == kind && is_own(d)
    };
    delegations.iter().find(fits).map(|d| d.identity.node_id())
}

/// An entry cannot be younger than a head that holds it.
fn check_times(entry: Wall, cosignatures: &[(NodeId, Cosignature)]) -> Result<(), BundleError> {
    let Some((who, first)) = cosignatures.iter().min_by_key(|(_, c)| c.time) else {
        return Ok(());
    };
    let cosigned = Wall(first.time.saturating_mul(1_000));
    if entry > cosigned.after(CLOCK_SKEW_MAX) {
        return Err(BundleError::Postdated { entry, cosigned, who: *who });
    }
    Ok(())
}

/// Why a bundle proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Something else, or of a later version.
    #[error("its schema is {got:?}, expected {BUNDLE_SCHEMA:?}")]
    Schema {
        /// What it says.
        got: String,
    },
    /// A part is malformed.
    #[error("malformed: {0}")]
    Shape(&'static str),
    /// The log's key is malformed.
    #[error("the log's key: {0}")]
    LogKey(#[source] NoteError),
    /// A delegation does not hold.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// Nobody says that the log's key speaks for them.
    #[error("no delegation says for whom the log's key speaks")]
    Undelegated,
    /// Nobody says that a witness's key speaks for them.
    #[error("no delegation says for whom the witness {name} speaks")]
    Witness {
        /// The witness's name.
        name: String,
    },
    /// The entry does not hold.
    #[error("the entry: {0}")]
    Entry(#[from] EntryError),
    /// The entry was written for another log.
    #[error("the entry was signed for another log than {origin}: a replay")]
    OtherLog {
        /// The log it was put into.
        origin: String,
    },
    /// The inclusion proof or its checkpoint does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A cosignature is wrong.
    #[error("a cosignature: {0}")]
    Cosignature(#[source] NoteError),
    /// The entry claims a later time than a head that holds it.
    #[error("the entry says {entry}, but {who} cosigned a log with it at {cosigned}")]
    Postdated {
        /// The entry's time.
        entry: Wall,
        /// The earliest cosignature.
        cosigned: Wall,
        /// By whom.
        who: NodeId,
    },
    /// The checkpoint of an anchor is not one of the log.
    #[error("the checkpoint of anchor {at}: {source}")]
    AnchorCheckpoint {
        /// Which anchor, from 0.
        at: usize,
        /// Why.
        source: CheckpointError,
    },
    /// An anchored head does not continue the proven one.
    #[error("anchor {at} covers a history that does not continue the proven one: a fork")]
    AnchorFork {
        /// Which anchor, from 0.
        at: usize,
    },
}
