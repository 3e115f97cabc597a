//! `identity.json`: the only state that must not be lost, as text. Reading and writing the file,
//! and its permissions, are the shell's business.
//!
//! ```json
//! {"schema":"homing.identity/v1","type":"ed25519","node_id":"3a91…","address":"fd3a:…",
//!  "public_key":"<64 hex>","secret_key":"<64 hex>"}
//! ```
//! `node_id` and `address` are for the reader's eye and are checked like the rest: a file whose
//! parts contradict each other was edited or mixed up, and is refused whole.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroize;

use crate::address::Address;
use crate::key::{IdentityKey, PublicKey, parse_hex_32};
use crate::node_id::NodeId;

/// The schema this version writes.
pub const IDENTITY_SCHEMA: &str = "homing.identity/v1";
/// An honest file has some 400 bytes.
pub const IDENTITY_FILE_BYTES_MAX: u64 = 4_096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    schema: String,
    #[serde(rename = "type")]
    kind: String,
    node_id: NodeId,
    address: Address,
    public_key: PublicKey,
    secret_key: String,
}

impl Drop for IdentityFile {
    fn drop(&mut self) {
        self.secret_key.zeroize();
    }
}

/// The text of `identity.json` for `key`. Contains the secret.
#[must_use]
pub fn to_json(key: &IdentityKey) -> String {
    let file = IdentityFile {
        schema: IDENTITY_SCHEMA.into(),
        kind: "ed25519".into(),
        node_id: key.node_id(),
        address: Address::of(&key.node_id()),
        public_key: key.public(),
        secret_key: data_encoding::HEXLOWER.encode(&key.to_secret_seed()),
    };
    serde_json::to_string_pretty(&file).expect("plain strings serialise") + "\n"
}

/// Reads the text of `identity.json`.
///
/// # Errors
/// See [`IdentityError`]; none of them repeats the secret.
pub fn from_json(text: &str) -> Result<IdentityKey, IdentityError> {
    if text.trim().is_empty() {
        return Err(IdentityError::Empty);
    }
    let head = read_head(text)?;
    let word = |value: &Option<Value>| {
        let text = value.as_ref().and_then(Value::as_str).unwrap_or("none");
        text.chars().take(64).collect::<String>()
    };
    if word(&head.schema) != IDENTITY_SCHEMA {
        return Err(IdentityError::Schema { got: word(&head.schema) });
    }
    if word(&head.kind) != "ed25519" {
        return Err(IdentityError::Type { got: word(&head.kind) });
    }
    let file: IdentityFile = serde_json::from_str(text).map_err(|_| IdentityError::Fields)?;
    let seed = parse_hex_32(&file.secret_key).ok_or(IdentityError::Secret)?;
    let key = IdentityKey::from_seed(seed);
    if key.public() != file.public_key {
        return Err(IdentityError::Swapped { what: "public_key" });
    }
    if key.node_id() != file.node_id {
        return Err(IdentityError::Swapped { what: "node_id" });
    }
    if Address::of(&key.node_id()) != file.address {
        return Err(IdentityError::Swapped { what: "address" });
    }
    Ok(key)
}

/// What the file says it is, read without copying the secret.
#[derive(Deserialize, Default)]
struct Head {
    schema: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<Value>,
}

fn read_head(text: &str) -> Result<Head, IdentityError> {
    serde_json::from_str::<IgnoredAny>(text)
        .map_err(|e| IdentityError::Syntax { line: e.line(), column: e.column() })?;
    if !text.trim_start().starts_with('{') {
        // An array would be read as a struct, field by field.
        return Ok(Head::default());
    }
    serde_json::from_str(text).map_err(|_| IdentityError::Fields)
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// An empty file: usually a full disk or an interrupted copy.
    #[error("the file is empty")]
    Empty,
    /// Not JSON: usually truncated.
    #[error("not valid JSON at line {line}, column {column}: the file is truncated or damaged")]
    Syntax {
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// JSON, but something else.
    #[error("its schema is {got:?}, expected {IDENTITY_SCHEMA:?}")]
    Schema {
        /// What the file says.
        got: String,
    },
    /// A key of another algorithm.
    #[error("its key type is {got:?}, only \"ed25519\" is known")]
    Type {
        /// What the file says.
        got: String,
    },
    /// A field is missing, unknown, repeated or of the wrong form.
    #[error("a field is missing, unknown, repeated or of the wrong form")]
    Fields,
    /// The secret is not 64 hexadecimal digits.
    #[error("secret_key is not 64 hexadecimal digits")]
    Secret,
    /// Parts of two identities in one file.
    #[error("{what} does not belong to secret_key: the file was mixed up")]
    Swapped {
        /// The field that contradicts the secret.
        what: &'static str,
    },
}
