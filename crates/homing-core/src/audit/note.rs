//! Signed notes (C2SP signed-note): a text, an empty line, and one line per signature.
//!
//! ```text
//! <text, ends in a newline>
//!
//! — <key name> base64(key ID (4 bytes) ‖ signature)
//! key ID = SHA-256(name ‖ 0x0a ‖ type ‖ public key)[..4]      type 0x01 Ed25519, 0x04 cosignature/v1
//! vkey   = name+hex(key ID)+base64(type ‖ public key)
//! ```

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use homing_base::Signature;
use homing_base::derived::{DerivedKey, DerivedPublic};
use sha2::{Digest, Sha256};

use super::limits::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX};

const DASH: &str = "\u{2014} ";

/// What a key of a note signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// The text itself: the log.
    Ed25519 = 0x01,
    /// A time and the text: a witness (C2SP tlog-cosignature).
    CosignatureV1 = 0x04,
}

/// A named public key of a note ("vkey"). Text: `name+id+base64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteKey {
    /// Its name: no white space, no plus.
    pub name: String,
    /// What it signs.
    pub kind: KeyType,
    /// The key.
    pub key: DerivedPublic,
}

impl NoteKey {
    /// A key; `None` when the name cannot be one.
    #[must_use]
    pub fn new(name: &str, kind: KeyType, key: DerivedPublic) -> Option<Self> {
        is_name(name).then(|| Self { name: name.into(), kind, key })
    }

    /// The four bytes by which signature lines name the key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([0x0a, self.kind as u8]);
        let hash = hash.chain_update(self.key.0).finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && name.len() <= 256 && !name.contains(bad)
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind as u8];
        key.extend(self.key.0);
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&key))
    }
}

impl FromStr for NoteKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (name, id, key) = (parts.next(), parts.next(), parts.next());
        let bytes = key.and_then(|key| BASE64.decode(key.as_bytes()).ok()).ok_or(NoteError::Key)?;
        let kind = match bytes.first() {
            Some(0x01) => KeyType::Ed25519,
            Some(0x04) => KeyType::CosignatureV1,
            _ => return Err(NoteError::Key),
        };
        let key = DerivedPublic(bytes[1..].try_into().map_err(|_| NoteError::Key)?);
        let key = Self::new(name.unwrap_or_default(), kind, key).ok_or(NoteError::Key)?;
        let same = id.is_some_and(|id| id == HEXLOWER.encode(&key.id()));
        if same { Ok(key) } else { Err(NoteError::Key) }
    }
}

/// A derived key with the name under which it signs notes.
#[derive(Clone, Debug)]
pub struct NoteSigner {
    secret: DerivedKey,
    key: NoteKey,
}

impl NoteSigner {
    /// A signer; `None` when the name cannot be a key's name.
    #[must_use]
    pub fn new(name: &str, kind: KeyType, secret: DerivedKey) -> Option<Self> {
        Some(Self { key: NoteKey::new(name, kind, secret.public())?, secret })
    }

    /// The public half.
    #[must_use]
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// A signature line of `message`, with `prefix` between key ID and signature.
    pub(super) fn line(&self, prefix: &[u8], message: &[u8]) -> NoteSignature {
        let mut bytes = prefix.to_vec();
        bytes.extend(self.secret.sign(message).0);
        NoteSignature { name: self.key.name.clone(), id: self.key.id(), bytes }
    }
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// ID of the key.
    pub id: [u8; 4],
    /// What follows the ID.
    pub bytes: Vec<u8>,
}

impl NoteSignature {
    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::Line`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(DASH).ok_or(NoteError::Line)?;
        let (name, signature) = rest.split_once(' ').ok_or(NoteError::Line)?;
        let bytes = BASE64.decode(signature.as_bytes()).map_err(|_| NoteError::Line)?;
        let (id, bytes) = bytes.split_first_chunk::<4>().ok_or(NoteError::Line)?;
        if !is_name(name) || bytes.is_empty() {
            return Err(NoteError::Line);
        }
        Ok(Self { name: name.into(), id: *id, bytes: bytes.to_vec() })
    }

    /// Whether the line says it is by `key`.
    #[must_use]
    pub fn is_by(&self, key: &NoteKey) -> bool {
        self.name == key.name && self.id == key.id()
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.id.to_vec();
        bytes.extend(&self.bytes);
        writeln!(f, "{DASH}{} {}", self.name, BASE64.encode(&bytes))
    }
}

/// A text and the signatures under it. Parsed; nothing is believed before [`SignedNote::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    /// The text, with its last newline.
    pub text: String,
    /// The lines under it, at most 32.
    pub signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// A note with one signature, by an [`KeyType::Ed25519`] key.
    ///
    /// # Panics
    /// When `text` does not end in a newline: our texts do.
    #[must_use]
    pub fn sign(text: String, signer: &NoteSigner) -> Self {
        assert!(text.ends_with('\n'), "a note's text ends in a newline");
        let signature = signer.line(&[], text.as_bytes());
        Self { text, signatures: vec![signature] }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { len: note.len() });
        }
        if note.chars().any(|c| c.is_ascii_control() && c != '\n') {
            return Err(NoteError::Control);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Line)?;
        let signatures: Vec<_> =
            lines.split('\n').map(NoteSignature::parse).collect::<Result<_, _>>()?;
        if signatures.len() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooMany { len: signatures.len() });
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Checks that `key` (of type [`KeyType::Ed25519`]) signed the text.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] without a line by this key, [`NoteError::Signature`] with a wrong one.
    pub fn verify(&self, key: &NoteKey) -> Result<(), NoteError> {
        let mut lines = self.signatures.iter().filter(|line| line.is_by(key)).peekable();
        if lines.peek().is_none() {
            return Err(NoteError::Unsigned { key: key.name.clone() });
        }
        let good = |line: &NoteSignature| {
            let signature = <[u8; 64]>::try_from(&line.bytes[..]).ok().map(Signature);
            signature.is_some_and(|s| key.key.verifies(self.text.as_bytes(), &s))
        };
        if lines.all(good) { Ok(()) } else { Err(NoteError::Signature { key: key.name.clone() }) }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| write!(f, "{line}"))
    }
}

/// Why a text is no signed note, or not signed by whom it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Out of bounds.
    #[error("a note of {len} bytes, at most {NOTE_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        len: usize,
    },
    /// A control character.
    #[error("a note has no control characters but newlines")]
    Control,
    /// No empty line before signatures.
    #[error("a note ends in an empty line and signature lines")]
    NoSignatures,
    /// A malformed signature line.
    #[error("a signature line is not \"\u{2014} <name> <base64>\"")]
    Line,
    /// Out of bounds.
    #[error("{len} signatures, at most {NOTE_SIGNATURES_MAX} are read")]
    TooMany {
        /// Lines found.
        len: usize,
    },
    /// A malformed verifier key.
    #[error("a note's key is \"<name>+<id>+<base64>\" of type 1 or 4, and its id must match")]
    Key,
    /// No line by the key that counts.
    #[error("not signed by {key}")]
    Unsigned {
        /// The key's name.
        key: String,
    },
    /// A line by the key that counts, with a signature that is not its own.
    #[error("the signature of {key} does not match the text")]
    Signature {
        /// The key's name.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_read_and_any_changed_character_is_refused() {
        let secret = DerivedKey::from_seed([3; 32]);
        let signer = NoteSigner::new("example.com/log", KeyType::Ed25519, secret).unwrap();
        let note = SignedNote::sign("one\n\ntwo\n".into(), &signer);
        let text = note.to_string();
        let read = SignedNote::parse(&text).unwrap();
        assert_eq!(read, note);
        read.verify(signer.key()).unwrap();
        let key: NoteKey = signer.key().to_string().parse().unwrap();
        assert_eq!(&key, signer.key());
        for (at, _) in text.char_indices() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(bad) = String::from_utf8(bytes) else { continue };
            let refused = SignedNote::parse(&bad).and_then(|note| note.verify(&key));
            assert!(refused.is_err(), "byte {at} was flipped");
        }
    }
}
