//! Anchoring this node's audit log: what goes from the log into the anchor's journal, round after round, and what comes out of it
//! into bundles.
//!
//! The daemon does it in the background; `homing audit anchor now` does the same once. Both may run: the journal is shared, and the
//! account's nonce lets one of them win. A log that cannot be anchored goes on; `health` and the metrics say how far behind it is. Not
//! here: anchors and their evidence (`homing-anchor`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::BASE64;
use homing_anchor::tsa::{TsaAnchor, TsaConfig, authorities_from_pem};
use homing_anchor::{Anchor, AnchorError, Journal, JournalError, Point, Round, Update, Waiting};
use homing_audit::{ReadError, Reader};
use homing_base::with_causes;
use homing_core::audit::bundle::Anchor as BundleAnchor;
use homing_core::audit::entry::ReferenceUpdate;
use homing_core::audit::limits::BUNDLE_BYTES_MAX;
use homing_core::audit::{Checkpoint, Fact, ProofBundle, SignedNote, TlogProof, UnverifiedEntry};
use sha2::{Digest, Sha256};
use tracing::{debug, info};

use crate::config::{AnchorConfig, AnchorKind};
use crate::node::{Node, Shared};

/// Entries that are looked at for updates before a round.
const ENTRIES_PER_ROUND_MAX: u64 = 100_000;
/// Between two looks while something is under way.
const POLL: Duration = Duration::from_secs(4);
/// Before another try after an error.
const AGAIN_AFTER_ERROR: Duration = Duration::from_secs(30);
/// A transaction that was not included for this long is replaced by a dearer one.
#[cfg(feature = "evm")]
const REPLACE_AFTER: Duration = Duration::from_secs(180);

/// The journal of `kind` in the home at `dir`.
#[must_use]
pub fn journal_path(dir: &Path, kind: AnchorKind) -> PathBuf {
    dir.join(match kind {
        AnchorKind::Evm => "anchor-evm.db",
        AnchorKind::Rfc3161 => "anchor-rfc3161.db",
    })
}

/// An anchor and its journal.
pub struct Anchoring {
    anchor: Box<dyn Anchor>,
    journal: Journal,
    updates: bool,
}

impl Anchoring {
    /// Opens the anchor that `config` describes, for the log of `origin`; its journal is in the home at `dir`.
    ///
    /// # Errors
    /// [`AnchoringError`] naming the key that is missing or the file that cannot be used.
    pub fn open(config: &AnchorConfig, dir: &Path, origin: &str) -> Result<Self, AnchoringError> {
        let journal = Journal::open(&journal_path(dir, config.kind), origin)?;
        let url = config.url.clone().ok_or(AnchoringError::Unset("audit.anchor.url"))?;
        let anchor: Box<dyn Anchor> = match config.kind {
            AnchorKind::Evm => evm(config, url, origin)?,
            AnchorKind::Rfc3161 => Box::new(authority(config, url)?),
        };
        Ok(Self { anchor, journal, updates: config.kind == AnchorKind::Evm && config.updates })
    }

    /// Asks for what the log has and the journal does not: the newest cosigned checkpoint or, without witnesses, the newest; or
    /// every update.
    ///
    /// # Errors
    /// [`AnchoringError`].
    pub fn feed(&mut self, reader: &mut Reader, now_ms: u64) -> Result<(), AnchoringError> {
        if self.updates {
            return self.feed_updates(reader, now_ms);
        }
        let cosigned = reader.cosigned()?.and_then(|c| SignedNote::parse(&c.note).ok());
        let Some(note) = cosigned.or_else(|| reader.head().cloned()) else { return Ok(()) };
        let Ok(head) = Checkpoint::parse(&note.text) else { return Ok(()) };
        if head.size > 0 {
            let point = Point { size: head.size, root: head.root.0 };
            self.journal.want_point(point, &note.to_string(), now_ms)?;
        }
        Ok(())
    }

    fn feed_updates(&mut self, reader: &mut Reader, now_ms: u64) -> Result<(), AnchoringError> {
        let from = self.journal.entries_read()?;
        let to = reader.size().min(from + ENTRIES_PER_ROUND_MAX);
        let mut found = Vec::new();
        for index in from..to {
            let update = reference_update(&reader.entry(index)?);
            found.extend(update.map(|update| (index, update_of(&update))));
        }
        if to > from {
            self.journal.want_entries(to, &found, now_ms)?;
        }
        Ok(())
    }

    /// One round.
    ///
    /// # Errors
    /// [`AnchoringError::Anchor`].
    pub async fn round(&mut self, now_ms: u64) -> Result<Round, AnchoringError> {
        Ok(self.anchor.round(&mut self.journal, now_ms).await?)
    }

    /// What waits.
    ///
    /// # Errors
    /// [`AnchoringError::Journal`].
    pub fn waiting(&self) -> Result<Waiting, AnchoringError> {
        Ok(self.journal.waiting(!self.updates)?)
    }
}

fn authority(config: &AnchorConfig, url: String) -> Result<TsaAnchor, AnchoringError> {
    let file = config.ca_file.as_ref().ok_or(AnchoringError::Unset("audit.anchor.ca_file"))?;
    let pem = std::fs::read(file)
        .map_err(|source| AnchoringError::File { path: file.clone(), source })?;
    let authorities = authorities_from_pem(&pem).map_err(AnchorError::from)?;
    Ok(TsaAnchor::new(TsaConfig { url, authorities, interval: config.interval })?)
}

#[cfg(feature = "evm")]
fn key(config: &AnchorConfig) -> Result<homing_anchor::evm::KeySource, AnchoringError> {
    use homing_anchor::evm::KeySource;
    match (&config.key_file, &config.keystore, &config.passphrase_file) {
        (Some(file), None, _) => Ok(KeySource::File(file.clone())),
        (None, Some(path), Some(passphrase)) => {
            Ok(KeySource::Keystore { path: path.clone(), passphrase: passphrase.clone() })
        }
        (None, Some(_), None) => Err(AnchoringError::Unset("audit.anchor.passphrase_file")),
        (Some(_), Some(_), _) => Err(AnchoringError::Both),
        (None, None, _) => {
            Err(AnchoringError::Unset("audit.anchor.key_file or audit.anchor.keystore"))
        }
    }
}

#[cfg(feature = "evm")]
fn chain_id(config: &AnchorConfig) -> Result<u64, AnchoringError> {
    match config.chain_id {
        0 => Err(AnchoringError::Unset("audit.anchor.chain_id")),
        id => Ok(id),
    }
}

#[cfg(feature = "evm")]
fn wei(gwei: u64) -> u128 {
    u128::from(gwei) * 1_000_000_000
}

/// Puts the contract on the configured chain, paid by the configured account.
///
/// # Errors
/// [`AnchoringError`] naming the key that is missing, or what the chain answered.
#[cfg(feature = "evm")]
pub async fn deploy(config: &AnchorConfig) -> Result<homing_anchor::evm::Deployed, AnchoringError> {
    use homing_anchor::evm::{Account, Terms, deploy};
    let url = config.url.as_ref().ok_or(AnchoringError::Unset("audit.anchor.url"))?;
    let terms = Terms {
        chain_id: chain_id(config)?,
        max_fee: wei(config.max_fee_gwei),
        max_gas: config.max_gas,
    };
    let account = Account::open(&key(config)?)?;
    Ok(deploy(url, &account, &terms).await?)
}

#[cfg(feature = "evm")]
fn evm(
    config: &AnchorConfig,
    rpc_url: String,
    origin: &str,
) -> Result<Box<dyn Anchor>, AnchoringError> {
    use homing_anchor::evm::{EvmAnchor, EvmConfig, Finality, Mode};
    let settings = EvmConfig {
        rpc_url,
        contract: config.contract.ok_or(AnchoringError::Unset("audit.anchor.contract"))?,
        chain_id: chain_id(config)?,
        key: key(config)?,
        mode: match config.updates {
            true => Mode::Update { batch: config.batch },
            false => Mode::Checkpoint,
        },
        max_fee: wei(config.max_fee_gwei),
        max_gas: config.max_gas,
        finality: match config.confirmations {
            0 => Finality::Finalized,
            blocks => Finality::Depth(blocks),
        },
        start_block: config.start_block,
        interval: config.interval,
        poll: POLL,
        replace_after: REPLACE_AFTER,
    };
    Ok(Box::new(EvmAnchor::new(settings, origin)?))
}

#[cfg(not(feature = "evm"))]
fn evm(_: &AnchorConfig, _: String, _: &str) -> Result<Box<dyn Anchor>, AnchoringError> {
    Err(AnchorError::Evidence(homing_anchor::EvidenceError::NotBuilt).into())
}

fn reference_update(bytes: &[u8]) -> Option<ReferenceUpdate> {
    match UnverifiedEntry::parse(bytes).ok()?.verify().ok()?.fact.clone() {
        Fact::Reference(update) => Some(update),
        _ => None,
    }
}

/// What goes outside of an entry: digests of the old and new CID or path, the time, and the record's signature.
#[must_use]
pub fn update_of(update: &ReferenceUpdate) -> Update {
    let digest = |text: &str| -> [u8; 32] { Sha256::digest(text.as_bytes()).into() };
    Update {
        previous: update.previous.as_deref().map_or([0; 32], digest),
        current: digest(&update.value),
        time_ms: update.timestamp.0,
        signature: update.signature.as_slice().try_into().unwrap_or([0; 64]),
    }
}

/// Adds what the journals in the home at `dir` know about entry `index` to its bundle.
///
/// # Errors
/// [`AnchoringError`]; a home without journals is none.
pub fn add_anchors(
    dir: &Path,
    reader: &mut Reader,
    index: u64,
    bundle: &mut ProofBundle,
) -> Result<(), AnchoringError> {
    for kind in [AnchorKind::Evm, AnchorKind::Rfc3161] {
        let path = journal_path(dir, kind);
        if !path.exists() {
            continue;
        }
        let origin = reader.key().name.clone();
        let journal = Journal::open(&path, &origin)?;
        add_point(&journal, reader, index, bundle)?;
        add_update(&journal, index, bundle)?;
    }
    Ok(())
}

/// The checkpoint that is anchored takes the place of an older one in the proof, or follows it.
fn add_point(
    journal: &Journal,
    reader: &mut Reader,
    index: u64,
    bundle: &mut ProofBundle,
) -> Result<(), AnchoringError> {
    let Some((anchored, evidence)) = journal.evidence_of_entry(index)? else { return Ok(()) };
    let note = anchored.note.as_deref().and_then(|text| SignedNote::parse(text).ok());
    let Some(note) = note.filter(|_| fits(&evidence)) else { return Ok(()) };
    let Some(own) = own_size(bundle) else { return Ok(()) };
    if anchored.point.size < own && bundle.anchors.is_empty() {
        let inclusion = reader.inclusion(index, anchored.point.size)?;
        bundle.proof = TlogProof { extra: None, inclusion, checkpoint: note.clone() }.to_string();
    }
    let own = own_size(bundle).unwrap_or(own);
    if anchored.point.size < own {
        return Ok(());
    }
    let path = reader.consistency(own, anchored.point.size)?.path;
    bundle.anchors.push(BundleAnchor {
        kind: evidence.kind().into(),
        checkpoint: note.to_string(),
        consistency: path.iter().map(|hash| BASE64.encode(&hash.0)).collect(),
        body: evidence.to_body(),
    });
    Ok(())
}

/// An update that stands outside by itself.
fn add_update(
    journal: &Journal,
    index: u64,
    bundle: &mut ProofBundle,
) -> Result<(), AnchoringError> {
    let Some(number) = journal.update_of_entry(index)? else { return Ok(()) };
    let Some(evidence) = journal.evidence_of_update(number)?.filter(fits) else { return Ok(()) };
    let Ok(proof) = TlogProof::parse(&bundle.proof) else { return Ok(()) };
    let mut body = evidence.to_body();
    body.insert("update".into(), number.to_string());
    bundle.anchors.push(BundleAnchor {
        kind: evidence.kind().into(),
        checkpoint: proof.checkpoint.to_string(),
        consistency: Vec::new(),
        body,
    });
    Ok(())
}

fn own_size(bundle: &ProofBundle) -> Option<u64> {
    let proof = TlogProof::parse(&bundle.proof).ok()?;
    Some(Checkpoint::parse(&proof.checkpoint.text).ok()?.size)
}

/// In base64, with everything else, the bundle must stay below its limit.
fn fits(evidence: &homing_anchor::Evidence) -> bool {
    evidence.to_bytes().len() < BUNDLE_BYTES_MAX / 4
}

/// What the metrics say.
#[derive(Debug, Default)]
pub(crate) struct AnchorWatch(Mutex<Option<Waiting>>);

impl AnchorWatch {
    /// The newest numbers; `None`: nothing is anchored.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, waiting: Waiting) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
    }
}

impl Node {
    /// Anchors in the background, until the node ends.
    pub(crate) async fn anchor_audit(self) {
        let Some(config) = self.shared.config.anchor.clone() else { return };
        if !self.shared.config.audit.enabled {
            return;
        }
        let shared = self.shared.clone();
        drop(self);
        let (audit, dir) = (shared.home.audit(), shared.home.dir().to_owned());
        // Opening a keystore takes a second of one core.
        let open = move || {
            let reader = Reader::open(&audit)?;
            let anchoring = Anchoring::open(&config, &dir, &reader.key().name)?;
            Ok((reader, anchoring))
        };
        let (mut reader, mut anchoring) = match tokio::task::spawn_blocking(open).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                let error: AnchoringError = error;
                return shared.health.raise("anchor_off", with_causes(&error));
            }
            Err(_) => return,
        };
        info!(kind = anchoring.anchor.kind(), "the audit log is anchored");
        let mut ended = shared.ended.clone();
        loop {
            let wait = turn(&shared, &mut reader, &mut anchoring).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = ended.wait_for(Option::is_some) => return,
            }
        }
    }
}

/// Feeds, does one round, tells what came of it, and says how long to wait.
async fn turn(shared: &Arc<Shared>, reader: &mut Reader, anchoring: &mut Anchoring) -> Duration {
    let now = shared.clock.now().wall;
    let fed = reader.refresh().map_err(AnchoringError::from);
    let done = match fed.and_then(|()| anchoring.feed(reader, now.0)) {
        Ok(()) => anchoring.round(now.0).await,
        Err(error) => Err(error),
    };
    if let Ok(waiting) = anchoring.waiting() {
        shared.anchored.set(waiting);
    }
    match done {
        Ok(round) => {
            let held = round.held.as_ref().map(|hold| hold.to_string());
            shared.health.set("anchor_late", held.is_some(), || held.clone().unwrap_or_default());
            if round.sent + round.confirmed + round.removed > 0 {
                let Round { sent, confirmed, removed, .. } = round;
                info!(sent, confirmed, removed, "audit anchors");
            }
            round.again.clamp(Duration::from_millis(50), POLL)
        }
        Err(error) => {
            debug!(%error, "the audit log could not be anchored");
            shared.health.raise("anchor_late", with_causes(&error));
            AGAIN_AFTER_ERROR
        }
    }
}

/// Why the log is not anchored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchoringError {
    /// A key of the configuration is needed.
    #[error("{0} is not set")]
    Unset(&'static str),
    /// Two keys were named.
    #[error(
        "audit.anchor.key_file and audit.anchor.keystore are both set; one of them names the account"
    )]
    Both,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The anchor.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}
