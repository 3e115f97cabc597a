//! The value of simulated gossip: a seal instead of a signature, shared memory instead of bytes.
//!
//! A [`Note`] is checked wherever a record would be and can be forged badly, which is found out. It
//! weighs [`NOTE_BYTES`] on the wire. Real records are gossiped in the tests of the core.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use homing_base::{Name, NodeId, Now, Seq, Wall};
use homing_core::gossip::{Claim, Unbelievable, Value};

/// A signed record of an agent with a name, a relay and a few tags, in bytes.
pub const NOTE_BYTES: usize = 350;
/// How long a note lives.
pub const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// A cheap value.
#[derive(Clone, Debug, PartialEq)]
pub struct Note(Arc<Content>);

#[derive(Clone, Debug, PartialEq)]
struct Content {
    signer: NodeId,
    sequence: Seq,
    expires: Wall,
    /// Makes two notes of one sequence differ.
    text: u64,
    seal: u64,
}

impl Content {
    fn mixed(&self, key: u64) -> u64 {
        let head = |at: usize| {
            u64::from_be_bytes(self.signer.0[at..at + 8].try_into().expect("eight bytes"))
        };
        let parts =
            [head(0), head(8), head(16), head(24), self.sequence.0, self.expires.0, self.text];
        parts.into_iter().fold(key, |seal, part| {
            let mixed = (seal ^ part).wrapping_mul(0x2545_f491_4f6c_dd1d);
            mixed ^ (mixed >> 31)
        })
    }
}

impl Note {
    /// A note of `signer`, sealed by it.
    #[must_use]
    pub fn sealed(signer: NodeId, sequence: Seq, expires: Wall, text: u64) -> Self {
        let mut content = Content { signer, sequence, expires, text, seal: 0 };
        content.seal = content.mixed(0x5851_f42d_4c95_7f2d);
        Self(Arc::new(content))
    }

    /// What somebody without the key would send in the name of `signer`.
    #[must_use]
    pub fn forged(signer: NodeId, sequence: Seq, expires: Wall) -> Self {
        Self(Arc::new(Content { signer, sequence, expires, text: 0, seal: 1 }))
    }
}

impl Value for Note {
    type Wire = Note;
    type Unverified = Note;

    fn parse(wire: &Note) -> Result<(Note, Claim), Unbelievable> {
        let claim = Claim { id: wire.0.signer, sequence: wire.0.sequence, mark: wire.mark() };
        Ok((wire.clone(), claim))
    }

    fn verify(unverified: Note, now: Now) -> Result<Self, Unbelievable> {
        if unverified.0.seal != unverified.0.mixed(0x5851_f42d_4c95_7f2d) {
            return Err(Unbelievable::Forged);
        }
        if unverified.0.expires <= now.wall {
            return Err(Unbelievable::Untimely);
        }
        Ok(unverified)
    }

    fn wire(&self) -> Note {
        self.clone()
    }

    fn wire_len(_: &Note) -> usize {
        NOTE_BYTES
    }

    fn signer(&self) -> NodeId {
        self.0.signer
    }

    fn sequence(&self) -> Seq {
        self.0.sequence
    }

    fn expires(&self) -> Wall {
        self.0.expires
    }

    fn mark(&self) -> u64 {
        self.0.mixed(self.0.seal)
    }

    fn name(&self) -> Option<&Name> {
        None
    }

    fn precedence(&self, other: &Self) -> Ordering {
        let by_sequence = self.0.sequence.cmp(&other.0.sequence);
        by_sequence.then_with(|| other.mark().cmp(&self.mark()))
    }
}
