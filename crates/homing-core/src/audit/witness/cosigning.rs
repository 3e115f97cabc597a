//! This node as a witness of others: what it cosigns, what it tells its peers, what it keeps as evidence.
//!
//! The checks are those of C2SP tlog-witness; over the mesh only the owner submits, a registry takes a head from
//! whoever brings it. Not here: the own log.

use std::time::Duration;

use homing_base::{NodeId, Now};

use super::super::checkpoint::{Checkpoint, Cosignature};
use super::super::limits::{FORKS_MAX, LOGS_PER_OWNER_MAX, LOGS_WITNESSED_MAX, PROOF_HASHES_MAX};
use super::super::note::SignedNote;
use super::super::proof::Consistency;
use super::super::tree::Hash;
use super::{
    Cosigned, Fork, Held, Log, Seen, Submission, Witness, WitnessOutput, WitnessWrite, Word,
    proves_fork, read_head, read_log,
};

/// Heads that were cosigned are gathered this long before other peers hear of them.
pub const TELL_DELAY: Duration = Duration::from_secs(10);

/// Why a head is not cosigned, in the terms of C2SP tlog-witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncosigned {
    /// The log is not known here (404).
    Unknown,
    /// No key of the log signed the head (403).
    Signature,
    /// The old size is larger than the head's (400).
    Malformed,
    /// The old size is not that of the head that is held, or the head is another one of the same size (409).
    Conflict {
        /// Size of the head that is held.
        held: u64,
    },
    /// The proof does not lead from the head that is held to this one (422).
    Proof,
    /// Too many logs are witnessed here.
    Full,
}

impl Witness {
    pub(super) fn on_submit(&mut self, now: Now, from: NodeId, submission: &Submission) {
        let Some((owner, _)) = read_log(&submission.delegation) else { return };
        if owner != from {
            return;
        }
        match (self.cosign(now, submission), origin_of(&submission.note)) {
            (Ok(cosigned), _) => {
                self.outputs.push_back(WitnessOutput::Send(from, Word::Cosigned(cosigned)));
            }
            (Err(Uncosigned::Conflict { .. } | Uncosigned::Proof), Some(origin)) => {
                self.on_ask(from, origin);
            }
            (Err(_), _) => {}
        }
    }

    /// Cosigns a head that continues the one that this node holds, whoever brings it; it is durable before the
    /// cosignature is given away. An empty delegation stands for that of a log which is known.
    ///
    /// # Errors
    /// [`Uncosigned`]: what C2SP tlog-witness has a witness answer.
    pub fn cosign(&mut self, now: Now, submission: &Submission) -> Result<Cosigned, Uncosigned> {
        let known = origin_of(&submission.note).and_then(|origin| self.logs.get(&origin));
        let delegation = match (submission.delegation.is_empty(), known) {
            (true, Some(log)) => log.held.delegation.clone(),
            (true, None) => return Err(Uncosigned::Unknown),
            (false, _) => submission.delegation.clone(),
        };
        let (owner, key) = read_log(&delegation).ok_or(Uncosigned::Signature)?;
        let (note, head) = read_head(&submission.note, &key).ok_or(Uncosigned::Signature)?;
        if submission.old > head.size || submission.proof.len() > PROOF_HASHES_MAX {
            return Err(Uncosigned::Malformed);
        }
        let held = self.logs.get(&head.origin).filter(|log| log.key == key);
        if held.is_none() && !self.has_room(owner) {
            return Err(Uncosigned::Full);
        }
        let empty = Checkpoint::new(&head.origin, 0, Hash::empty());
        let before = held.map_or(&empty, |log| &log.head);
        let conflict = Err(Uncosigned::Conflict { held: before.size });
        let is_late = submission.old != before.size;
        let proof = Consistency { old: submission.old, path: submission.proof.clone() };
        let continues = proof.proves(before, &head);
        let fork = match held.filter(|_| before.size == head.size && before.root != head.root) {
            Some(log) => {
                let (first, second) = (log.held.note.clone(), submission.note.clone());
                Some(Fork { delegation: delegation.clone(), first, second })
            }
            None => self.watch.see(owner, &delegation, &head, &submission.note),
        };
        if let Some(fork) = fork {
            self.keep_fork(fork);
            return conflict;
        }
        if is_late || !continues {
            return if is_late { conflict } else { Err(Uncosigned::Proof) };
        }
        self.watch.tell(&head.origin);
        self.tell_at.get_or_insert(now.mono.after(TELL_DELAY));
        let time = now.wall.0 / 1_000;
        let line = Cosignature::sign(&note.text, &self.cosigner, time).line;
        let held = Held { delegation, note: submission.note.clone() };
        let origin = head.origin.clone();
        let write = WitnessWrite::Head { origin: origin.clone(), held: held.clone() };
        self.outputs.push_back(WitnessOutput::Persist(write));
        self.logs.insert(origin, Log { key, owner, held, head });
        let delegation = self.delegation.bytes().to_vec();
        Ok(Cosigned { text: note.text, line: line.to_string(), delegation })
    }

    fn has_room(&self, owner: NodeId) -> bool {
        let same = self.logs.values().filter(|log| log.owner == owner).count();
        self.logs.len() < LOGS_WITNESSED_MAX && same < LOGS_PER_OWNER_MAX
    }

    /// Tells every peer what others' heads were cosigned here: somebody may have been shown another one.
    pub(super) fn tell_seen(&mut self) {
        for (owner, seen) in self.watch.untold() {
            for peer in self.up.keys().filter(|peer| **peer != owner) {
                let word = Word::Seen(seen.clone());
                self.outputs.push_back(WitnessOutput::Send(*peer, word));
            }
        }
    }

    /// A peer cosigned this head of another's log.
    pub(super) fn on_seen(&mut self, seen: &Seen) {
        let Some((owner, key)) = read_log(&seen.delegation) else { return };
        let Some((_, head)) = read_head(&seen.note, &key) else { return };
        if !self.concerns(owner) {
            return;
        }
        if let Some(fork) = self.watch.see(owner, &seen.delegation, &head, &seen.note) {
            self.keep_fork(fork);
        }
    }

    /// Whether the logs of this identity are anybody's business here.
    fn concerns(&self, owner: NodeId) -> bool {
        owner == self.me
            || self.up.contains_key(&owner)
            || self.logs.values().any(|log| log.owner == owner)
    }

    /// Evidence about identities that nobody here knows would fill the list for those that matter.
    pub(super) fn on_fork(&mut self, fork: Fork) {
        let Some((owner, _)) = proves_fork(&fork) else { return };
        if self.concerns(owner) {
            self.keep_fork(fork);
        }
    }

    /// Keeps evidence, once per owner, and tells everybody.
    pub(super) fn keep_fork(&mut self, fork: Fork) {
        let Some((owner, _)) = proves_fork(&fork) else { return };
        let known = self.forks.iter().filter_map(proves_fork).any(|(known, _)| known == owner);
        if known || self.forks.len() >= FORKS_MAX {
            return;
        }
        self.forks.push(fork.clone());
        self.outputs.push_back(WitnessOutput::Persist(WitnessWrite::Fork(fork.clone())));
        self.outputs.push_back(WitnessOutput::Forked(owner, fork.clone()));
        for peer in self.up.keys() {
            self.outputs.push_back(WitnessOutput::Send(*peer, Word::Fork(fork.clone())));
        }
    }
}

/// The origin that a head names.
fn origin_of(note: &str) -> Option<String> {
    let note = SignedNote::parse(note).ok()?;
    Some(Checkpoint::parse(&note.text).ok()?.origin)
}
