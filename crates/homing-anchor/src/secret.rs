//! Secrets in files: only their owner may read them. Never on argv, never in a log.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::limits::SECRET_BYTES_MAX;

/// Text of a secret file, without the white space around it; wiped from memory at its end.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Reads a regular file that its group and others may not read.
    ///
    /// # Errors
    /// [`SecretError`] naming the file and what to do.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Io { path: path.into(), source };
        let mut options = std::fs::OpenOptions::new();
        // A pipe would block here.
        let nonblock = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let file = options.read(true).custom_flags(nonblock).open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() || about.len() > SECRET_BYTES_MAX {
            return Err(SecretError::NoSecret { path: path.into() });
        }
        if about.mode() & 0o077 != 0 {
            return Err(SecretError::Open { path: path.into(), mode: about.mode() & 0o777 });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(SECRET_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Ok(Self(Zeroizing::new(text.trim().to_owned())))
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret file is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("{path} has mode {mode:03o}, others may read it; run `chmod 600 {path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No regular file of a secret's size.
    #[error("{path} is no file with a key or a passphrase")]
    NoSecret {
        /// The file.
        path: PathBuf,
    },
}
