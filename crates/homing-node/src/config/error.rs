//! Why a configuration is refused: which key, which value, what was expected.

use std::path::PathBuf;

use super::layers::Origin;

/// Nothing is changed when one of these is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{path} is not valid TOML: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// Far too large for a configuration.
    #[error("{path} has {bytes} bytes, a configuration has at most {max}")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        max: u64,
    },
    /// No such key.
    #[error("there is no configuration key {key}")]
    UnknownKey {
        /// As written.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
        /// Where it is written; `None`: on the command line.
        place: Option<String>,
    },
    /// A value that the key does not take.
    #[error("{key} = {value} is not valid: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value as written, cut to 200 characters.
        value: String,
        /// What is wrong with it.
        why: String,
        /// What the key takes.
        expected: &'static str,
        /// Where the value comes from.
        origin: Origin,
    },
}
