//! Facts that were recorded while the log waits for its witnesses' answer: durable, not yet entries.
//!
//! ```text
//! file = (length u32 BE | SHA-256(bytes)[..8] | CBOR [time, fact])*        appended, then removed whole
//! ```

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use homing_base::{Wall, cbor};
use homing_core::audit::limits::ENTRY_BYTES_MAX;
use homing_core::audit::{Fact, Hash};
use minicbor::{Decode, Encode};

use crate::limits::PENDING_MAX;
use crate::wal::push_frame;

/// What happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Noted {
    #[n(0)]
    pub(crate) time: Wall,
    #[n(1)]
    pub(crate) fact: Fact,
}

impl Noted {
    pub(crate) fn digest(&self) -> Hash {
        Hash::digest(&cbor::encode(self))
    }
}

/// Facts in waiting.
pub(crate) struct Pending {
    path: PathBuf,
    facts: Vec<Noted>,
}

impl Pending {
    /// Reads what an earlier run left, but for `logged` ones: a crash came between their frame and the
    /// removal of the file.
    pub(crate) fn open(dir: &Path, logged: &BTreeSet<Hash>) -> io::Result<Self> {
        let path = dir.join("pending");
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut facts = parse(&bytes);
        facts.retain(|noted| !logged.contains(&noted.digest()));
        Ok(Self { path, facts })
    }

    /// Keeps facts. `false`: there is no room for them.
    pub(crate) fn push(&mut self, facts: Vec<Noted>) -> io::Result<bool> {
        if self.facts.len() + facts.len() > PENDING_MAX {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        for noted in &facts {
            push_frame(&mut bytes, &cbor::encode(noted));
        }
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&self.path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        if let Some(dir) = self.path.parent() {
            crate::wal::sync_dir(dir)?;
        }
        self.facts.extend(facts);
        Ok(true)
    }

    pub(crate) fn facts(&self) -> &[Noted] {
        &self.facts
    }

    /// The facts are entries now.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.facts.clear();
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The whole facts at the beginning of the file.
fn parse(mut bytes: &[u8]) -> Vec<Noted> {
    let mut facts = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<12>() {
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(len) else { break };
        let whole = Hash::digest(payload).0[..8] == head[4..];
        let Some(noted) = whole.then(|| cbor::decode(payload, ENTRY_BYTES_MAX).ok()).flatten()
        else {
            break;
        };
        facts.push(noted);
        bytes = rest;
    }
    facts
}
