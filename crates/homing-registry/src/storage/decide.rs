//! Which of two records wins, and how long its memory is kept: pure, the same for both databases.
//!
//! ```text
//!                      ┌ higher sequence ──► replaces
//! incoming vs known ───┤ the same, other bytes ──► evidence; the smaller digest is served
//!                      └ lower ──► stale
//! kept until = max over everything seen of (issued + 24 h)
//! ```
//! A record with a lower sequence was signed earlier by an honest identity and is dead 24 h after the newer
//! one was issued. Until then its replay must fail even if the newer one is withdrawn, expired or swept: what
//! a sweep drops leaves a *floor* (sequence, until). After spec/02-agent-record.md, "Sequence and precedence".

use homing_base::limits::RECORD_LIFETIME_MAX;
use homing_base::{Now, Record, Seq, Wall};

use super::{ChangeKind, Put, StorageError};
use crate::limits::SEQUENCE_AHEAD_MAX;

/// What is known about an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    Nothing,
    /// It was swept; records up to `sequence` stay dead until `until`.
    Floor { sequence: Seq, until: Wall },
    /// It has a record.
    Entity(Head),
}

/// The present record, as far as a decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: Seq,
    pub(crate) digest: [u8; 32],
    pub(crate) withdrawn: bool,
    pub(crate) expires: Wall,
    pub(crate) until: Wall,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing of the record.
    Nothing(Put),
    /// Only the memory is kept longer.
    Remember(Put, Wall),
    /// It is kept as evidence, the present record is served on.
    Evidence(Wall),
    /// It becomes the present record.
    Replace { put: Put, kind: ChangeKind, until: Wall },
}

/// Whether a record may be kept at all at this time.
pub(crate) fn admit(now: Now, record: &Record) -> Result<(), StorageError> {
    record.check_lifetime(now).map_err(StorageError::Record)?;
    if record.sequence.0 > now.wall.after(SEQUENCE_AHEAD_MAX).0 {
        return Err(StorageError::Ahead { sequence: record.sequence, now: now.wall });
    }
    Ok(())
}

/// Decides; the record was admitted.
pub(crate) fn decide(now: Now, known: &Known, record: &Record) -> Decision {
    let lives = record.issued.after(RECORD_LIFETIME_MAX);
    let born = match record.is_withdrawn() {
        true => ChangeKind::Withdrawn,
        false => ChangeKind::Registered,
    };
    match known {
        Known::Nothing => Decision::Replace { put: Put::Created, kind: born, until: lives },
        Known::Floor { sequence, until } if record.sequence <= *sequence => {
            stale(*sequence, lives, *until)
        }
        Known::Floor { until, .. } => {
            Decision::Replace { put: Put::Created, kind: born, until: lives.max(*until) }
        }
        Known::Entity(head) => against(now, head, record, born, lives),
    }
}

fn against(now: Now, head: &Head, record: &Record, born: ChangeKind, lives: Wall) -> Decision {
    if record.sequence < head.sequence {
        return stale(head.sequence, lives, head.until);
    }
    let was_there = !head.withdrawn && head.expires > now.wall;
    let kind = match was_there && born == ChangeKind::Registered {
        true => ChangeKind::Updated,
        false => born,
    };
    let until = lives.max(head.until);
    if record.sequence > head.sequence {
        return Decision::Replace { put: Put::Updated, kind, until };
    }
    let digest = record.digest();
    match digest.cmp(&head.digest) {
        std::cmp::Ordering::Equal => Decision::Nothing(Put::Same),
        std::cmp::Ordering::Less => Decision::Replace { put: Put::Equivocation, kind, until },
        std::cmp::Ordering::Greater => Decision::Evidence(until),
    }
}

fn stale(current: Seq, lives: Wall, until: Wall) -> Decision {
    let put = Put::Stale { current };
    if lives > until { Decision::Remember(put, lives) } else { Decision::Nothing(put) }
}
