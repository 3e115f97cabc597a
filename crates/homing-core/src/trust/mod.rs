//! Trust: per ordered pair of identities the newest statement counts.
//!
//! ```text
//! me ──ours──► peer        both say yes, neither ran out  ⇒  mutual
//! me ◄─theirs── peer       everything else: see [`state`]
//! ```
//! Both statements are held by both sides. [`Trust::learn`] takes whatever a peer shows, keeps what
//! is newer and says what it found; so a delivery needs no acknowledgement, a crash between any two
//! steps repairs itself on the next link, and an agent that lost its store gets its own word back.
//! What it must not take back are grants from before its *floor*, the time of its last revocation.
//! Here nothing is written or sent: the caller persists what it is given and then keeps it.

pub(crate) mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::statement::SignedStatement;
use homing_base::{
    IdentityKey, Name, NodeId, Now, Seq, Service, Statement, StatementError, StatementKind,
    UnverifiedStatement, Wall,
};

use crate::io::TrustState;
use crate::limits::{CLOCK_BACK_MAX, DELIVERY_MAX, PENDING_MAX, SEQUENCE_MAX};
use crate::message::TrustSync;
use state::{derive, says_yes};

/// The newest statements of one pair of identities, both directions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pair {
    pub ours: Option<SignedStatement>,
    pub theirs: Option<SignedStatement>,
    /// In this run the peer has shown that it holds `ours`.
    pub confirmed: bool,
    /// The state that was last announced.
    pub announced: Option<TrustState>,
}

impl Pair {
    pub(crate) fn state(&self, now: Now) -> TrustState {
        derive(now, self.ours.as_deref(), self.theirs.as_deref())
    }
}

/// What a new statement of ours says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Terms {
    pub kind: StatementKind,
    pub services: Option<Vec<Service>>,
    pub expires: Option<Wall>,
    pub reason: Option<String>,
    pub name: Option<Name>,
    /// Outranks this sequence, too.
    pub above: Seq,
}

impl Terms {
    /// A plain "no".
    pub(crate) fn no(kind: StatementKind) -> Self {
        Self { kind, services: None, expires: None, reason: None, name: None, above: Seq(0) }
    }
}

/// What a peer's [`TrustSync`] taught us.
#[derive(Debug, Default)]
pub(crate) struct Lesson {
    /// The peer's own statement, newer than what we held.
    pub theirs: Option<SignedStatement>,
    /// Our own statement that we had lost.
    pub restored: Option<SignedStatement>,
    /// A consent of ours from before the floor: the peer still believes in it.
    pub void: Option<SignedStatement>,
    /// Statements that were refused, and why.
    pub refused: Vec<Refused>,
}

/// Why a statement was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Bad bytes, bad signature, foreign key, absurd sequence: nobody honest sends it.
    Invalid(String),
    /// One of the clocks is wrong; ours minus theirs in ms.
    Clock(i64),
    /// Too many requests wait already.
    Full,
}

/// Everything said between this identity and others.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    pairs: BTreeMap<NodeId, Pair>,
}

impl Trust {
    /// What was stored; statements that concern others are left out.
    pub(crate) fn new(now: Now, me: NodeId, stored: Vec<SignedStatement>) -> Self {
        let mut trust = Self::default();
        for statement in stored {
            let from = statement.from.node_id();
            if from == me {
                trust.keep_ours(statement);
            } else if statement.to == me {
                trust.keep_theirs(from, statement);
            }
        }
        for pair in trust.pairs.values_mut() {
            pair.announced = Some(pair.state(now));
        }
        trust
    }

    pub(crate) fn pair(&self, peer: NodeId) -> Option<&Pair> {
        self.pairs.get(&peer)
    }

    pub(crate) fn pair_mut(&mut self, peer: NodeId) -> Option<&mut Pair> {
        self.pairs.get_mut(&peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Pair)> {
        self.pairs.iter().map(|(peer, pair)| (*peer, pair))
    }

    pub(crate) fn state(&self, now: Now, peer: NodeId) -> TrustState {
        self.pairs.get(&peer).map_or(TrustState::None, |pair| pair.state(now))
    }

    pub(crate) fn is_mutual(&self, now: Now, peer: NodeId) -> bool {
        self.state(now, peer) == TrustState::Mutual
    }

    /// Signs a statement about `peer` that outranks everything said between the two. It is kept only
    /// by [`Trust::keep_ours`], after it was persisted.
    pub(crate) fn sign(
        &self,
        now: Now,
        key: &IdentityKey,
        peer: NodeId,
        terms: Terms,
    ) -> Result<SignedStatement, StatementError> {
        let pair = self.pairs.get(&peer);
        let newest = |s: Option<&SignedStatement>| s.map_or(Seq(0), |s| s.sequence);
        let ours = newest(pair.and_then(|p| p.ours.as_ref()));
        // Outranking the peer's word, too, tells a new request from one that was answered.
        let theirs = newest(pair.and_then(|p| p.theirs.as_ref()));
        let Terms { kind, services, expires, reason, name, above } = terms;
        Statement {
            kind,
            from: key.public(),
            to: peer,
            sequence: ours.max(theirs).max(above).next(now.wall),
            issued: now.wall,
            expires,
            services,
            reason,
            name,
        }
        .sign(key)
    }

    /// Our newest word about its addressee, after it was persisted.
    pub(crate) fn keep_ours(&mut self, statement: SignedStatement) {
        let pair = self.pairs.entry(statement.to).or_default();
        if pair.ours.as_ref().is_none_or(|old| outranks(&statement, old)) {
            pair.ours = Some(statement);
            pair.confirmed = false;
        }
    }

    /// The peer's newest word about us, after it was persisted.
    pub(crate) fn keep_theirs(&mut self, peer: NodeId, statement: SignedStatement) {
        let pair = self.pairs.entry(peer).or_default();
        if pair.theirs.as_ref().is_none_or(|old| outranks(&statement, old)) {
            pair.theirs = Some(statement);
        }
    }

    /// What both sides should hold.
    pub(crate) fn sync(&self, peer: NodeId) -> TrustSync {
        let bytes = |s: Option<&SignedStatement>| s.map(|s| s.bytes().to_vec());
        let pair = self.pairs.get(&peer);
        TrustSync {
            mine: bytes(pair.and_then(|p| p.ours.as_ref())),
            yours: bytes(pair.and_then(|p| p.theirs.as_ref())),
        }
    }

    /// Compares what `peer` shows with what is held; changes nothing but the confirmation.
    pub(crate) fn learn(
        &mut self,
        now: Now,
        me: NodeId,
        peer: NodeId,
        sync: &TrustSync,
        floor: Option<Wall>,
    ) -> Lesson {
        let mut lesson = Lesson::default();
        let pair = self.pairs.get(&peer).cloned().unwrap_or_default();
        match newer(now, (peer, me), sync.mine.as_deref(), pair.theirs.as_ref()) {
            Ok(Some(s)) if self.is_full_for(now, &pair, &s) => lesson.refused.push(Refused::Full),
            Ok(found) => lesson.theirs = found,
            Err(refused) => lesson.refused.push(refused),
        }
        match newer(now, (me, peer), sync.yours.as_deref(), pair.ours.as_ref()) {
            Ok(Some(s)) if says_yes(&s) && floor.is_some_and(|floor| s.issued < floor) => {
                lesson.void = Some(s);
            }
            Ok(found) => lesson.restored = found,
            Err(refused) => lesson.refused.push(refused),
        }
        if let Some(pair) = self.pairs.get_mut(&peer) {
            let shown = sync.yours.as_deref();
            pair.confirmed |=
                pair.ours.is_some() && shown == pair.ours.as_ref().map(SignedStatement::bytes);
        }
        lesson
    }

    /// A new request beyond the bound: those that wait already go first.
    fn is_full_for(&self, now: Now, pair: &Pair, statement: &SignedStatement) -> bool {
        let asks = derive(now, pair.ours.as_deref(), Some(&**statement)) == TrustState::Pending;
        if !asks || pair.state(now) == TrustState::Pending {
            return false;
        }
        self.pairs.values().filter(|p| p.state(now) == TrustState::Pending).count() >= PENDING_MAX
    }

    /// Peers whose statement by us has not been confirmed in this run, and is young enough to
    /// be worth dialling for.
    pub(crate) fn undelivered(&self, now: Now) -> impl Iterator<Item = NodeId> {
        self.pairs.iter().filter(move |(_, p)| is_undelivered(now, p)).map(|(peer, _)| *peer)
    }

    /// Peers about whom our word lies in the future, where it still says something.
    pub(crate) fn misdated(&self, now: Now) -> impl Iterator<Item = NodeId> {
        let counts = move |pair: &Pair| {
            pair.ours.as_ref().is_some_and(|s| is_misdated(now, s))
                && !matches!(
                    pair.state(now),
                    // Said again, a request would ask again.
                    TrustState::RejectedByPeer | TrustState::RevokedByPeer | TrustState::None
                )
        };
        self.pairs.iter().filter(move |(_, pair)| counts(pair)).map(|(peer, _)| *peer)
    }

    /// Peers whose state is not the announced one.
    pub(crate) fn unannounced(&self, now: Now) -> Vec<NodeId> {
        let changed = |p: &Pair| p.announced.unwrap_or(TrustState::None) != p.state(now);
        self.pairs.iter().filter(|(_, p)| changed(p)).map(|(peer, _)| *peer).collect()
    }

    /// Time until the next statement runs out.
    pub(crate) fn next_expiry(&self, now: Now) -> Option<Duration> {
        let both = self.pairs.values().flat_map(|p| [p.ours.as_ref(), p.theirs.as_ref()]);
        let ends = both.flatten().filter(|s| says_yes(s)).filter_map(|s| s.expires);
        ends.filter(|end| *end > now.wall).min().map(|end| end.since(now.wall))
    }
}

/// Whether our word has still to reach the peer.
pub(crate) fn is_undelivered(now: Now, pair: &Pair) -> bool {
    let fresh = |s: &SignedStatement| now.wall.since(s.issued) < DELIVERY_MAX;
    !pair.confirmed && pair.ours.as_ref().is_some_and(fresh)
}

/// Whether a clock that has since been set right dated the statement.
pub(crate) fn is_misdated(now: Now, statement: &Statement) -> bool {
    statement.issued.since(now.wall) > CLOCK_BACK_MAX
}

/// Total order of the statements of one pair: sequence, then the more cautious kind, then bytes.
pub(crate) fn outranks(new: &SignedStatement, old: &SignedStatement) -> bool {
    (new.sequence, new.kind, new.bytes()) > (old.sequence, old.kind, old.bytes())
}

/// The shown statement, verified, if it outranks the held one.
fn newer(
    now: Now,
    (from, to): (NodeId, NodeId),
    shown: Option<&[u8]>,
    held: Option<&SignedStatement>,
) -> Result<Option<SignedStatement>, Refused> {
    let Some(bytes) = shown else { return Ok(None) };
    if held.is_some_and(|held| held.bytes() == bytes) {
        return Ok(None);
    }
    let invalid = |e: StatementError| Refused::Invalid(e.to_string());
    let statement = match UnverifiedStatement::parse(bytes).map_err(invalid)?.verify(now) {
        Ok(statement) => statement,
        Err(StatementError::FromTheFuture { issued, now }) => {
            let ms = i64::try_from(issued.since(now).as_millis()).unwrap_or(i64::MAX);
            return Err(Refused::Clock(-ms));
        }
        Err(e) => return Err(invalid(e)),
    };
    if statement.from.node_id() != from || statement.to != to {
        return Err(Refused::Invalid("the statement concerns another pair of identities".into()));
    }
    if statement.sequence.0 >= SEQUENCE_MAX {
        return Err(Refused::Invalid("the sequence is no count of milliseconds".into()));
    }
    Ok(held.is_none_or(|held| outranks(&statement, held)).then_some(statement))
}
