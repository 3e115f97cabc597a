//! `homing ref delegate` and `homing publish --delegation`: one reference in the hands of another agent.
//!
//! ```text
//! owner     ref delegate NAME --to FILE     that reference's key, and the owner's signed word about its name
//! delegate  publish NAME VALUE --delegation FILE     signs with that key; this daemon tells and keeps it
//! ```
//! The file is a secret of this one reference: whoever has it can point it anywhere until the owner withdraws it, and can
//! do nothing else in the owner's name. It is written 0600 and never printed.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use homing_api::agent::Done;
use homing_api::references::ResolveReference;
use homing_api::{ApiError, Code, Schema};
use homing_base::ipns::{IpnsContent, validity_text};
use homing_base::limits::REFERENCE_LIFETIME_MAX;
use homing_base::reference::{SignedBinding, content_path};
use homing_base::{IdentityKey, IpnsName, NodeId, Now, Reference, ReferenceName};
use homing_node::clock;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::card::identity;
use super::{OK, Outcome};
use crate::session::Session;

const SCHEMA: &str = "homing.delegation/v1";
/// How often a name can have been withdrawn before its key is not found any more.
const GENERATIONS_MAX: u32 = 4_096;
/// A delegation, whole: two short texts, a binding, a key.
const FILE_BYTES_MAX: u64 = 4_096;
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);
const TTL: Duration = Duration::from_secs(300);
const PATIENCE_MS: u64 = 10_000;

/// What is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delegation {
    schema: String,
    owner: NodeId,
    name: ReferenceName,
    /// The owner's signed word that the key's IPNS name is its reference of this name; base64.
    binding: String,
    /// The secret seed of the reference's key; base64.
    key: String,
}

/// What is told of it.
#[derive(Serialize)]
struct Written {
    schema: &'static str,
    reference: String,
    ipns: String,
    file: String,
}

/// Writes a delegation of a reference of this agent.
pub(super) async fn delegate(session: &Session, name: &str, to: &Path) -> Outcome {
    let known = session.client()?.export_reference(name).await?;
    let (owner, reference) = (identity(session, None)?, parse(name)?);
    let key = (0..GENERATIONS_MAX)
        .map(|generation| reference.derive_key(&owner, generation))
        .find(|key| IpnsName::of(key.public()).to_string() == known.ipns);
    let (key, binding) = key.zip(known.binding).ok_or_else(|| {
        ApiError::new(Code::Usage, format!("{name} is no reference of this agent"))
            .hint("homing ref list shows what it has")
    })?;
    let delegation = Delegation {
        schema: SCHEMA.to_owned(),
        owner: owner.node_id(),
        name: reference,
        binding,
        key: BASE64.encode(Zeroizing::new(key.to_secret_seed()).as_slice()),
    };
    write(to, &delegation)?;
    let (file, reference) = (to.display().to_string(), name.to_owned());
    let schema = "homing.delegation_written/v1";
    let written = Written { schema, reference, ipns: known.ipns, file };
    let text = || {
        format!(
            "{} lets its holder point {name} anywhere until you withdraw it; hand it over: homing send PEER --file {}\n",
            written.file, written.file
        )
    };
    session.out.result(&written, || vec![written.file.clone()], text);
    Ok(OK)
}

/// Publishes in the owner's place.
pub(super) async fn publish(
    session: &Session,
    file: &Path,
    name: &str,
    value: &str,
    times: (Option<Duration>, Option<Duration>),
) -> Outcome {
    let delegation = read(file)?;
    if delegation.name != parse(name)? {
        let message = format!("{} is about {}, not {name}", file.display(), delegation.name);
        return Err(ApiError::new(Code::Usage, message));
    }
    let value = content_path(value.trim())
        .map_err(|e| ApiError::new(Code::Usage, e.to_string()).hint("publish a CID or a path"))?;
    let (key, binding) = open(file, &delegation)?;
    let reference = format!("{}/{}", delegation.owner, delegation.name);
    let sequence = next_sequence(session, &reference, &value).await?;
    let (lifetime, ttl) = (times.0.unwrap_or(LIFETIME), times.1.unwrap_or(TTL));
    if lifetime > REFERENCE_LIFETIME_MAX {
        return Err(ApiError::new(Code::Usage, "a reference lives 366 days at most")
            .hint("a shorter --lifetime, and publish again before it ends"));
    }
    let ends = clock::wall().after(lifetime);
    let content =
        IpnsContent { value: value.into_bytes(), sequence, validity: validity_text(ends), ttl };
    let record = content.sign(&key).map_err(|e| ApiError::new(Code::Usage, e.to_string()))?;
    let signed = Reference { record, binding: Some(binding) };
    let changed = session.client()?.take_reference(&BASE64.encode(&signed.to_bytes())).await?;
    let done = Done { schema: Schema::new(), changed: changed.changed };
    let until = homing_api::Stamp(ends);
    let text = || {
        format!(
            "{reference} points to {}, sequence {sequence}; nobody signs it anew: publish again before {until}\n",
            signed.record.value_text()
        )
    };
    session.out.result(&done, || vec![signed.record.name().to_string()], text);
    Ok(OK)
}

/// One above the newest, so that the owner and its delegates take turns; the same value keeps it.
async fn next_sequence(session: &Session, what: &str, value: &str) -> Result<u64, ApiError> {
    let request = ResolveReference { reference: what.to_owned(), timeout_ms: PATIENCE_MS };
    match session.client()?.resolve_reference(&request).await {
        Ok(newest) if newest.value == value => Ok(newest.sequence),
        Ok(newest) => Ok((newest.sequence + 1).max(clock::wall().0)),
        Err(error) if error.code == Code::NotFound => Ok(clock::wall().0),
        Err(error) => Err(error),
    }
}

fn parse(name: &str) -> Result<ReferenceName, ApiError> {
    name.trim().parse().map_err(|e: homing_base::reference::ReferenceNameError| {
        ApiError::new(Code::Usage, "this is no name of a reference").why(e.to_string())
    })
}

fn open(file: &Path, delegation: &Delegation) -> Result<(IdentityKey, SignedBinding), ApiError> {
    let broken = |why: String| {
        ApiError::new(Code::SignatureInvalid, format!("{} does not verify", file.display()))
            .why(why)
            .hint("ask the owner for a new one: homing ref delegate NAME --to FILE")
    };
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).map_err(|e| broken(e.to_string()));
    let seed = Zeroizing::new(bytes(&delegation.key)?);
    let seed: &[u8; 32] =
        seed.as_slice().try_into().map_err(|_| broken("the key has not 32 bytes".into()))?;
    let key = IdentityKey::from_seed(*seed);
    let now = Now { mono: clock::since_boot(), wall: clock::wall() };
    let binding = SignedBinding::verify(&bytes(&delegation.binding)?, now)
        .map_err(|e| broken(e.to_string()))?;
    let about = (binding.owner.node_id(), &binding.name, binding.key);
    if about != (delegation.owner, &delegation.name, key.public()) {
        return Err(broken("the owner's word is about something else".into()));
    }
    Ok((key, binding))
}

fn read(file: &Path) -> Result<Delegation, ApiError> {
    let failed = |why: String| {
        ApiError::new(Code::Usage, format!("{} is no delegation", file.display())).why(why)
    };
    let mut text = Zeroizing::new(String::new());
    let opened = std::fs::File::open(file).map_err(|e| failed(e.to_string()))?;
    opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|e| failed(e.to_string()))?;
    let delegation: Delegation = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    match delegation.schema == SCHEMA {
        true => Ok(delegation),
        false => Err(failed(format!("its schema is not {SCHEMA}"))),
    }
}

fn write(to: &Path, delegation: &Delegation) -> Result<(), ApiError> {
    let text = Zeroizing::new(serde_json::to_string_pretty(delegation).expect("plain values"));
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(to);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| {
        ApiError::new(Code::Usage, format!("{} cannot be written", to.display()))
            .why(e.to_string())
            .hint("name a file that does not exist yet")
    })
}
