//! This node as a witness of others: what it cosigns, what it tells its peers, what it keeps as evidence.
//!
//! The checks are those of C2SP tlog-witness; over the mesh only the owner submits, a registry takes a head from
//! whoever brings it. Not here: the own log.

use std::time::Duration;

use homing_base::{NodeId, Now};

use super::super::checkpoint::{Checkpoint, Cosignature};
use super::super::limits::{FORKS_MAX, LOGS_PER_OWNER_MAX, LOGS_WITNESSED_MAX, PROOF_HASHES_MAX};
use super::super::note::{NoteKey, SignedNote};
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

/// A submission that was read.
struct Asked {
    delegation: Vec<u8>,
    owner: NodeId,
    key: NoteKey,
    note: SignedNote,
    head: Checkpoint,
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
        let asked = self.read(submission)?;
        let held = self.logs.get(&asked.head.origin).filter(|log| log.key == asked.key);
        if held.is_none() && !self.has_room(asked.owner) {
            return Err(Uncosigned::Full);
        }
        let empty = Checkpoint::new(&asked.head.origin, 0, Hash::empty());
        let before = held.map_or(&empty, |log| &log.head);
        let conflict = Uncosigned::Conflict { held: before.size };
        let is_late = submission.old != before.size;
        let proof = Consistency { old: submission.old, path: submission.proof.clone() };
        let continues = proof.proves(before, &asked.head);
        if let Some(fork) = self.forked(&asked, submission) {
            self.keep_fork(fork);
            return Err(conflict);
        }
        match (is_late, continues) {
            (true, _) => Err(conflict),
            (false, false) => Err(Uncosigned::Proof),
            (false, true) => Ok(self.take(now, asked, submission)),
        }
    }

    /// Reads a submission; what it says is signed by the log's key.
    fn read(&self, submission: &Submission) -> Result<Asked, Uncosigned> {
        let known = origin_of(&submission.note).and_then(|origin| self.logs.get(&origin));
        let delegation = match (submission.delegation.is_empty(), known) {
            (true, Some(log)) => log.held.delegation.clone(),
            (true, None) => return Err(Uncosigned::Unknown),
            (false, _) => submission.delegation.clone(),
        };
        let (owner, key) = read_log(&delegation).ok_or(Uncosigned::Signature)?;
        let (note, head) = read_head(&submission.note, &key).ok_or(Uncosigned::Signature)?;
        let fits = submission.old <= head.size && submission.proof.len() <= PROOF_HASHES_MAX;
        fits.then_some(Asked { delegation, owner, key, note, head }).ok_or(Uncosigned::Malformed)
    }

    /// The fork that a head proves, with the one that is held or another one that was seen.
    fn forked(&mut self, asked: &Asked, submission: &Submission) -> Option<Fork> {
        let Asked { head, delegation, .. } = asked;
        let held = self.logs.get(&head.origin).filter(|log| log.key == asked.key);
        if let Some(log) = held.filter(|l| l.head.size == head.size && l.head.root != head.root) {
            let (first, second) = (log.held.note.clone(), submission.note.clone());
            return Some(Fork { delegation: delegation.clone(), first, second });
        }
        self.watch.see(asked.owner, delegation, head, &submission.note)
    }

    /// Cosigns a head that was found good: it is durable before anybody hears of it.
    fn take(&mut self, now: Now, asked: Asked, submission: &Submission) -> Cosigned {
        let Asked { delegation, owner, key, note, head } = asked;
        self.watch.tell(&head.origin);
        self.tell_at.get_or_insert(now.mono.after(TELL_DELAY));
        let line = Cosignature::sign(&note.text, &self.cosigner, now.wall.0 / 1_000).line;
        let held = Held { delegation, note: submission.note.clone() };
        let origin = head.origin.clone();
        let write = WitnessWrite::Head { origin: origin.clone(), held: held.clone() };
        self.outputs.push_back(WitnessOutput::Persist(write));
        self.logs.insert(origin, Log { key, owner, held, head });
        let delegation = self.delegation.bytes().to_vec();
        Cosigned { text: note.text, line: line.to_string(), delegation }
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
