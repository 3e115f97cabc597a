//! Checkpoints (C2SP tlog-checkpoint) and cosignatures (C2SP tlog-cosignature, cosignature/v1).
//!
//! ```text
//! <origin>\n<size>\n<base64 root>\n[extension lines]        the text that the log signs
//! cosignature/v1\ntime <s>\n<text>                          what a witness signs; its line holds
//!                                                           key ID (4) ‖ time in s (8, big endian) ‖ signature (64)
//! ```

use homing_base::Signature;

use super::note::{KeyType, NoteError, NoteKey, NoteSignature, NoteSigner, SignedNote};
use super::tree::Hash;

/// The head of a log at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root of the tree of these entries.
    pub root: Hash,
    /// Lines that others may add; ours has none.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A head without extensions.
    #[must_use]
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root.base64());
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the text of a checkpoint. Nothing is verified.
    ///
    /// # Errors
    /// [`CheckpointError::Shape`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let shape = CheckpointError::Shape;
        let mut lines = text.strip_suffix('\n').ok_or(shape("no final newline"))?.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(shape("no origin"))?;
        let size = lines.next().and_then(decimal).ok_or(shape("the size is no decimal"))?;
        let root = lines.next().and_then(Hash::from_base64);
        let root = root.ok_or(shape("the root is not base64 of 32 bytes"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(shape("an empty extension line"));
        }
        Ok(Self { origin: origin.into(), size, root, extensions })
    }

    /// Signs the head as the log.
    #[must_use]
    pub fn sign(&self, log: &NoteSigner) -> SignedNote {
        SignedNote::sign(self.text(), log)
    }

    /// Reads a note as a checkpoint of the log whose key this is: the only way to believe one.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn verify(note: &SignedNote, log: &NoteKey) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != log.name {
            let (got, expected) = (checkpoint.origin, log.name.clone());
            return Err(CheckpointError::Origin { got, expected });
        }
        note.verify(log)?;
        Ok(checkpoint)
    }
}

/// A number without signs or leading zeroes.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let plain = text == "0" || (text.starts_with(|c| ('1'..='9').contains(&c)));
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (plain && digits).then(|| text.parse().ok()).flatten()
}

/// A witness's word: at `time` this was the largest consistent head of the log that it had seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When, in seconds since 1970.
    pub time: u64,
    /// The witness's key.
    pub key: NoteKey,
    /// Its signature line.
    pub line: NoteSignature,
}

impl Cosignature {
    /// Cosigns the text of a checkpoint. The caller has checked its consistency.
    #[must_use]
    pub fn sign(text: &str, cosigner: &NoteSigner, time: u64) -> Self {
        let line = cosigner.line(&time.to_be_bytes(), message(text, time).as_bytes());
        Self { time, key: cosigner.key().clone(), line }
    }

    /// The cosignature of `key` under a note, verified; `None`: the note has no line by this key.
    ///
    /// # Errors
    /// [`NoteError::Signature`] when there is one and it is wrong.
    pub fn find(note: &SignedNote, key: &NoteKey) -> Result<Option<Self>, NoteError> {
        let line = note.signatures.iter().find(|line| line.is_by(key));
        line.map(|line| Self::verify(&note.text, line, key)).transpose()
    }

    /// Verifies a line against the text it stands under.
    ///
    /// # Errors
    /// [`NoteError::Signature`].
    pub fn verify(text: &str, line: &NoteSignature, key: &NoteKey) -> Result<Self, NoteError> {
        let wrong = || NoteError::Signature { key: key.name.clone() };
        let (time, signature) = line.bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        let time = u64::from_be_bytes(*time);
        let signature = Signature(<[u8; 64]>::try_from(signature).map_err(|_| wrong())?);
        let fits = key.kind == KeyType::CosignatureV1 && line.is_by(key) && time < 1 << 63;
        if !fits || !key.key.verifies(message(text, time).as_bytes(), &signature) {
            return Err(wrong());
        }
        Ok(Self { time, key: key.clone(), line: line.clone() })
    }
}

fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Why a note is no checkpoint of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not the lines of a checkpoint.
    #[error("not a checkpoint: {0}")]
    Shape(&'static str),
    /// Of another log.
    #[error("a checkpoint of the log {got}, not of {expected}")]
    Origin {
        /// Its origin.
        got: String,
        /// The log that was expected.
        expected: String,
    },
    /// Not signed as it should be.
    #[error(transparent)]
    Note(#[from] NoteError),
}

#[cfg(test)]
mod tests {
    use homing_base::derived::DerivedKey;

    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "18446744073709551616", "a"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
        assert_eq!((decimal("0"), decimal("18446744073709551615")), (Some(0), Some(u64::MAX)));
    }

    #[test]
    fn a_cosignature_binds_text_and_time() {
        let log = DerivedKey::from_seed([1; 32]);
        let log = NoteSigner::new("example.com/log", KeyType::Ed25519, log).unwrap();
        let witness = DerivedKey::from_seed([2; 32]);
        let witness = NoteSigner::new("w.example/1", KeyType::CosignatureV1, witness).unwrap();
        let head = Checkpoint::new("example.com/log", 7, Hash::leaf(b"x"));
        let mut note = head.sign(&log);
        assert_eq!(Cosignature::find(&note, witness.key()).unwrap(), None);
        note.signatures.push(Cosignature::sign(&note.text, &witness, 1_700_000_000).line);
        let note = SignedNote::parse(&note.to_string()).unwrap();
        assert_eq!(Checkpoint::verify(&note, log.key()).unwrap(), head);
        let found = Cosignature::find(&note, witness.key()).unwrap().unwrap();
        assert_eq!(found.time, 1_700_000_000);
        let mut backdated = note.clone();
        backdated.signatures[1].bytes[7] ^= 1;
        assert!(Cosignature::find(&backdated, witness.key()).is_err());
    }
}
