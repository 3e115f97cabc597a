//! Files of cards and records, and what a user is told when there is none.

use std::io::{self, Read, Write};
use std::path::Path;

use homing_api::{ApiError, Code};
use homing_base::IdentityKey;
use homing_node::identity_file;
use homing_registry::cards::target::TargetError;
use homing_registry::cards::{CardError, FetchError};
use homing_registry::limits::CARD_BYTES_MAX;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::commands::{OK, Outcome};
use crate::output;
use crate::session::{Session, told};

/// `homing.card_file/v1`.
#[derive(Debug, Serialize)]
pub(super) struct CardFile {
    schema: &'static str,
    pub(super) file: String,
    sha256: String,
}

impl CardFile {
    pub(super) fn of(file: &Path, bytes: &[u8]) -> Self {
        let file = file.display().to_string();
        Self { schema: "homing.card_file/v1", file, sha256: hex(&Sha256::digest(bytes)) }
    }
}

/// The key at `file`, or of this home.
pub(crate) fn identity(session: &Session, file: Option<&Path>) -> Result<IdentityKey, ApiError> {
    let path = file.map_or_else(|| session.home.identity(), Path::to_owned);
    identity_file::load(&path).map_err(|error| match told(error) {
        missing if missing.code == Code::NotFound => missing.hint("homing key init, or homing up"),
        other => other,
    })
}

/// A file, or standard input for `-`; no more than a card may have.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, ApiError> {
    let failed = |e: io::Error| {
        let code = if e.kind() == io::ErrorKind::NotFound { Code::NotFound } else { Code::Usage };
        ApiError::new(code, format!("{} cannot be read", file.display())).why(e.to_string())
    };
    let mut bytes = Vec::new();
    let limit = CARD_BYTES_MAX as u64 + 1;
    if file == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let opened = std::fs::File::open(file).map_err(failed)?;
        opened.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// Whole or not at all.
pub(crate) fn save(file: &Path, bytes: &[u8]) -> Result<(), ApiError> {
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let write = || {
        let mut draft = std::fs::File::create(&beside)?;
        draft.write_all(bytes)?;
        draft.sync_all()?;
        std::fs::rename(&beside, file)
    };
    write().map_err(|e: io::Error| {
        std::fs::remove_file(&beside).ok();
        let message = format!("{} cannot be written", file.display());
        let code = match e.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::PermissionDenied,
        };
        ApiError::new(code, message).why(e.to_string())
    })
}

pub(super) fn whole(bytes: &[u8]) -> Outcome {
    output::print_bytes(bytes);
    Ok(OK)
}

pub(super) fn no_card(what: &str, error: &CardError) -> ApiError {
    ApiError::new(Code::Usage, format!("{what} is no card")).why(error.to_string())
}

pub(super) fn not_fetched(what: &str, error: &FetchError) -> ApiError {
    let code = match error {
        FetchError::Timeout { .. } => Code::Timeout,
        FetchError::Status { status: 404 } => Code::NotFound,
        FetchError::Address { .. } => Code::PermissionDenied,
        FetchError::Target(_) => Code::Usage,
        _ => Code::NoRoute,
    };
    let told = ApiError::new(code, format!("no card at {what}")).why(error.to_string());
    match error {
        FetchError::Address { .. } => told.hint("if you mean it: --allow-private NETWORK"),
        FetchError::Target(TargetError::Scheme { .. }) => told.hint("for tests: --allow-http"),
        _ => told,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
