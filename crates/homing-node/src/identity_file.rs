//! `identity.json` on disk: created once, never overwritten, never half-written, read with every
//! check. The text format is [`homing_base::identity`]'s.
//!
//! Creation writes a temporary file (mode 0600) beside the target, syncs it, *links* it to its final
//! name and syncs the directory. A link fails when the name exists, so that two creators cannot
//! replace each other's key, and a crash leaves either no identity or a whole one.
//!
//! Reading follows symbolic links (secret mounts are links) and judges what they lead to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use homing_base::IdentityKey;
use homing_base::identity::{self, IDENTITY_FILE_BYTES_MAX, IdentityError};
use zeroize::Zeroizing;

/// Permission bits that nobody but the owner may have.
const FOREIGN_BITS: u32 = 0o077;

/// Draws a new identity from the operating system's randomness.
#[must_use]
pub fn generate() -> IdentityKey {
    IdentityKey::from_seed(random_seed())
}

/// 32 bytes of the operating system's randomness.
pub fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut seed)
        .expect("the operating system gives randomness");
    seed
}

/// Writes `key` to a new file at `path`.
///
/// # Errors
/// [`IdentityFileError::Exists`] when there is something at `path` already, whatever it is;
/// [`IdentityFileError::Write`] when the directory cannot be written.
pub fn create(path: &Path, key: &IdentityKey) -> Result<(), IdentityFileError> {
    if path.symlink_metadata().is_ok() {
        return Err(IdentityFileError::Exists { path: path.into() });
    }
    let failed = |source| IdentityFileError::Write { path: path.into(), source };
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = Zeroizing::new(identity::to_json(key));
    match draft(dir, text.as_bytes()).and_then(|draft| publish(draft.path(), path)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(IdentityFileError::Exists { path: path.into() })
        }
        other => other.and_then(|()| File::open(dir)?.sync_all()).map_err(failed),
    }
}

/// The whole content under a name of its own (0600), removed when dropped.
fn draft(dir: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".identity.").suffix(".tmp").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Gives the finished file its name, which must be free.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(temporary, path) {
        // File systems without links (FAT, some network mounts): the name was free a moment ago.
        Err(e)
            if e.raw_os_error() == Some(nix::libc::EPERM)
                || e.kind() == io::ErrorKind::Unsupported =>
        {
            std::fs::rename(temporary, path)
        }
        other => other,
    }
}

/// Reads the identity at `path`.
///
/// # Errors
/// See [`IdentityFileError`]; no error repeats the secret.
pub fn load(path: &Path) -> Result<IdentityKey, IdentityFileError> {
    let read = |source| IdentityFileError::Read { path: path.into(), source };
    // Not blocking on a FIFO that somebody put there.
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            return Err(IdentityFileError::Missing { path: path.into() });
        }
        opened => opened.map_err(read)?,
    };
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() {
        return Err(IdentityFileError::NotAFile { path: path.into() });
    }
    let mode = metadata.mode() & 0o777;
    if mode & FOREIGN_BITS != 0 {
        return Err(IdentityFileError::Permissions { path: path.into(), mode });
    }
    if metadata.len() > IDENTITY_FILE_BYTES_MAX {
        return Err(IdentityFileError::TooLarge { path: path.into(), bytes: metadata.len() });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(IDENTITY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(read)?;
    identity::from_json(&text)
        .map_err(|source| IdentityFileError::Content { path: path.into(), source })
}

/// Why an identity file was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// There is none.
    #[error("there is no identity at {path}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already; it is never overwritten.
    #[error("{path} exists already")]
    Exists {
        /// What exists.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error("{path} has mode {mode:04o}: others could read or change the key")]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, pipe or device.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// What was found.
        path: PathBuf,
    },
    /// Far more than an identity has.
    #[error("{path} has {bytes} bytes, an identity has at most {IDENTITY_FILE_BYTES_MAX}")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The operating system refused to read it.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operating system refused to write it.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was read, and is no identity.
    #[error("{path} is no usable identity")]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: IdentityError,
    },
}
