//! A run that begins with nothing but its key: its peers tell it again whom it trusted.
//!
//! ```text
//! start ──ask neighbours for our own newest record──► known, or RESTORE_PATIENCE over
//!   │     until then peers' copies of our own word are held back: the record says how far it is void
//!   └── until RECALL_PATIENCE: a ping, a stream or a message for a peer that has said no "no" waits
//!       for its word. Nobody is dialled for that: a trusted peer comes by itself.
//! ```

use std::collections::BTreeMap;

use homing_base::{Mono, NodeId, Now};

use super::Agent;
use super::waits::{Stage, Wait};
use crate::io::{Command, Layer, TrustState};
use crate::limits::{LINKS_MAX, RECALL_PATIENCE, RESTORE_PATIENCE};
use crate::message::{AskKey, TrustSync};
use crate::trust::Lesson;

/// What such a run does not know yet.
#[derive(Debug)]
pub(super) struct Restoring {
    /// What peers showed of our own word before it was known whether to believe it; `None`: it is.
    held_back: Option<BTreeMap<NodeId, TrustSync>>,
    /// Until then peers that are trusted may not have said so.
    until: Mono,
}

impl Restoring {
    /// For a run without memory that has somebody to ask.
    pub(super) fn new(now: Now) -> Self {
        Self { held_back: Some(BTreeMap::new()), until: now.mono.after(RECALL_PATIENCE) }
    }
}

impl Agent {
    /// An agent without any memory asks for its own newest record before it believes peers' copies of
    /// its word: the record says how far that word is void.
    pub(super) fn begin_restoring(&mut self, now: Now) {
        if self.restoring.is_some() {
            let me = AskKey::NodeId(self.me);
            self.resolver.begin(now.mono, &me, Layer::Neighbours, RESTORE_PATIENCE, false);
        }
    }

    /// Takes out of a lesson what must not be believed before our newest record is known.
    pub(super) fn hold_back(&mut self, peer: NodeId, sync: &TrustSync, lesson: &mut Lesson) {
        let Some(held) = self.restoring.as_mut().and_then(|r| r.held_back.as_mut()) else { return };
        if lesson.restored.is_none() && lesson.void.is_none() {
            return;
        }
        if held.len() < LINKS_MAX {
            held.insert(peer, sync.clone());
        }
        lesson.restored = None;
        lesson.void = None;
    }

    /// Our newest record is known, or nobody has one.
    pub(super) fn finish_restoring(&mut self, now: Now) {
        let held = self.restoring.as_mut().and_then(|restoring| restoring.held_back.take());
        for (peer, sync) in held.unwrap_or_default() {
            let lesson = self.trust.learn(now, self.me, peer, &sync, self.own.floor);
            self.take_lesson(now, peer, lesson);
            self.settle_trust(now, peer);
            self.tell_trust(now, peer);
        }
    }

    /// Commands whose peer has said its word, or that have waited for it long enough, go on.
    pub(super) fn end_recalls(&mut self, now: Now) {
        let waits = |wait: &Wait, peer, command| {
            wait.ends > now.mono && self.recalls_until(now, peer, command).is_some()
        };
        let over = self.waits.iter().filter(|(_, wait)| match &wait.stage {
            Stage::Word { peer, command, .. } => !waits(wait, *peer, command),
            _ => false,
        });
        for request in over.map(|(request, _)| *request).collect::<Vec<_>>() {
            let Some(Wait { stage: Stage::Word { command, .. }, ends, .. }) =
                self.waits.remove(&request)
            else {
                continue;
            };
            let Some(reference) = command.peer() else { continue };
            // A name may mean somebody else by now.
            match self.decide(now, reference, 0) {
                Ok(meaning) => self.run(now, request, *command, meaning, ends, None),
                Err(failure) => self.reply(request, Err(failure)),
            }
        }
    }

    /// Until when a command waits for the peer to tell again that it is trusted.
    pub(super) fn recalls_until(&self, now: Now, peer: NodeId, command: &Command) -> Option<Mono> {
        let needs_trust = matches!(
            command,
            Command::Ping { .. } | Command::Connect { .. } | Command::Send { .. }
        );
        // Pending: the peer's word is here, ours is held back.
        let open = matches!(self.trust.state(now, peer), TrustState::None | TrustState::Pending);
        let until = self.restoring.as_ref()?.until;
        (needs_trust && open && peer != self.me && until > now.mono).then_some(until)
    }
}
