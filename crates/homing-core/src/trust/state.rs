//! Where trust stands, from nothing but the two newest statements and the time.
//!
//! A request that is newer than the other side's "no" asks again; a grant never does. Newer means
//! the higher sequence: each side signs above whatever it has seen of the other.

use homing_base::{Now, Statement, StatementKind};

use crate::io::TrustState;

/// Whether the statement's kind consents, expired or not.
pub(crate) fn says_yes(statement: &Statement) -> bool {
    matches!(statement.kind, StatementKind::Request | StatementKind::Grant)
}

/// Whether `statement` is a live request that nothing said later has answered.
fn asks_again(now: Now, statement: &Statement, answer: &Statement) -> bool {
    statement.kind == StatementKind::Request
        && statement.consents(now)
        && statement.sequence > answer.sequence
}

/// The state of one pair.
pub(crate) fn derive(now: Now, ours: Option<&Statement>, theirs: Option<&Statement>) -> TrustState {
    let (ours, theirs) = match (ours, theirs) {
        (None, None) => return TrustState::None,
        (Some(ours), None) => return alone(now, ours, TrustState::Requested, refused_by_us(ours)),
        (None, Some(theirs)) => {
            return alone(now, theirs, TrustState::Pending, refused_by_peer(theirs));
        }
        (Some(ours), Some(theirs)) => (ours, theirs),
    };
    match (says_yes(ours), says_yes(theirs)) {
        (true, true) => both_said_yes(now, ours, theirs),
        (false, true) if asks_again(now, theirs, ours) => TrustState::Pending,
        (true, false) if asks_again(now, ours, theirs) => TrustState::Requested,
        (true, false) => refused_by_peer(theirs),
        (false, _) => refused_by_us(ours),
    }
}

fn alone(now: Now, said: &Statement, open: TrustState, refused: TrustState) -> TrustState {
    match says_yes(said) {
        true if said.consents(now) => open,
        true => TrustState::None,
        false => refused,
    }
}

fn both_said_yes(now: Now, ours: &Statement, theirs: &Statement) -> TrustState {
    match (ours.consents(now), theirs.consents(now)) {
        (true, true) => TrustState::Mutual,
        (true, false) if asks_again(now, ours, theirs) => TrustState::Requested,
        (false, true) if asks_again(now, theirs, ours) => TrustState::Pending,
        _ => TrustState::Expired,
    }
}

fn refused_by_us(ours: &Statement) -> TrustState {
    match ours.kind {
        StatementKind::Reject => TrustState::RejectedByUs,
        _ => TrustState::RevokedByUs,
    }
}

fn refused_by_peer(theirs: &Statement) -> TrustState {
    match theirs.kind {
        StatementKind::Reject => TrustState::RejectedByPeer,
        _ => TrustState::RevokedByPeer,
    }
}
