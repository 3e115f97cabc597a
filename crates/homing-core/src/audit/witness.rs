//! Witnesses: trusted peers check each other's logs for consistency, cosign them, and remember.
//!
//! ```text
//! owner                                        witness (any trusted peer)
//!   Ask {origin}                  ──────────►    at start, before the first signature
//!                                 ◄──────────  Known {the newest head that it cosigned, if any}
//!   Submit {head, old, proof}     ──────────►    consistent with what it holds? then durable, then
//!                                 ◄──────────  Cosigned {line}, else Known {what it holds}
//!   Fork {two heads of one log}   ◄─────────►    to every trusted peer, once
//!                       other trusted peers ◄──  Seen {the head}: who was shown another one says so
//! ```
//! The witness does what C2SP tlog-witness asks of one, over the mesh. A log is known by the delegation of
//! its key, and submitted by its owner alone. Two signed heads of one size with different roots prove a fork
//! by themselves: whoever sees them keeps both. A log whose witness knows a longer history than its owner is a
//! log restored from an old copy; its owner must not sign. Not here: links, trust, and where proofs come from.

mod cosigning;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homing_base::derived::Delegation;
use homing_base::{IdentityKey, Mono, NodeId, Now, Wall};

pub use self::cosigning::{TELL_DELAY, Uncosigned};
use super::checkpoint::{Checkpoint, Cosignature};
use super::limits::HEADS_TOLD_MAX;
use super::note::{KeyType, NoteKey, NoteSignature, NoteSigner, SignedNote};
use super::proof::Consistency;
use super::watch::Watch;
pub use super::word::{Cosigned, Fork, Seen, Submission, Word};
use super::{PURPOSE_COSIGNER, PURPOSE_LOG, cosigner_name, is_log_of};
use crate::io::LinkId;

/// How long a log waits at start for the witnesses that it can reach.
pub const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// Entries are gathered this long before their head is submitted.
pub const SUBMIT_DELAY: Duration = Duration::from_secs(2);
/// A submission without an answer is repeated after this.
pub const SUBMIT_AGAIN: Duration = Duration::from_secs(60);

/// A head that this node cosigned, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Delegation of the log's key.
    pub delegation: Vec<u8>,
    /// The signed head.
    pub note: String,
}

/// What becomes durable.
#[derive(Clone, Debug, PartialEq)]
pub enum WitnessWrite {
    /// The newest cosigned head of a log, by its origin.
    Head {
        /// Which log.
        origin: String,
        /// The head.
        held: Held,
    },
    /// Evidence of a fork.
    Fork(Fork),
}

/// What the machine asks for, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum WitnessOutput {
    /// Durable before what follows.
    Persist(WitnessWrite),
    /// Say this to a trusted peer.
    Send(NodeId, Word),
    /// Prove that the own log's head continues the one of `old` entries, and answer with
    /// [`Witness::on_proof`].
    Prove {
        /// For whom.
        witness: NodeId,
        /// Size of the head that it holds.
        old: u64,
    },
    /// The own log may sign: no witness knows a longer history.
    Release,
    /// The own log must not sign: why.
    Refuse(String),
    /// The newest cosigned head of the own log: its note with every line, and the witnesses' delegations.
    Cosigned(SignedNote, Vec<Delegation>),
    /// A log was forked: whose, and the evidence.
    Forked(NodeId, Fork),
}

/// The own log, from the core's side.
#[derive(Debug)]
struct Own {
    key: NoteKey,
    delegation: Vec<u8>,
    head: (SignedNote, Checkpoint),
    gate: Gate,
    submit_at: Option<Mono>,
    witnesses: BTreeMap<NodeId, Peer>,
    /// The newest text that somebody cosigned, and who.
    collected: (String, u64, BTreeMap<NodeId, (NoteSignature, Delegation)>),
}

#[derive(Debug, PartialEq)]
enum Gate {
    /// Waits for those that were asked.
    Asking {
        until: Mono,
    },
    Open,
    Refused,
}

/// A witness of the own log.
#[derive(Debug, Default)]
struct Peer {
    /// Size of the head that it holds, once it said so.
    holds: Option<u64>,
    /// That head, signed by us: what is submitted must continue it.
    head: Option<Checkpoint>,
    /// Submitted, not answered.
    since: Option<Mono>,
    /// What was submitted: a witness cosigns this and nothing else.
    submitted: Option<SignedNote>,
}

/// Another's log.
#[derive(Debug)]
struct Log {
    key: NoteKey,
    owner: NodeId,
    held: Held,
    head: Checkpoint,
}

/// The machine: the own log's witnesses, and this node as a witness of others' logs.
#[derive(Debug)]
pub struct Witness {
    me: NodeId,
    cosigner: NoteSigner,
    delegation: Delegation,
    own: Option<Own>,
    up: BTreeMap<NodeId, LinkId>,
    logs: BTreeMap<String, Log>,
    watch: Watch,
    /// When peers hear of the heads that were cosigned since.
    tell_at: Option<Mono>,
    forks: Vec<Fork>,
    outputs: VecDeque<WitnessOutput>,
}

impl Witness {
    /// The machine of `key`'s node, with what it cosigned before.
    #[must_use]
    pub fn new(key: &IdentityKey, held: Vec<Held>, forks: Vec<Fork>) -> Self {
        let me = key.node_id();
        let name = cosigner_name(&me);
        let secret = key.derive(PURPOSE_COSIGNER);
        let cosigner = NoteSigner::new(&name, KeyType::CosignatureV1, secret);
        let cosigner = cosigner.expect("a cosigner's name has no white space and no plus");
        let public = cosigner.key().key;
        // The same statement in every run: nothing in it depends on when it is made.
        let delegation = key.delegate(public, PURPOSE_COSIGNER, &name, Wall(0));
        let read = |held: Held| {
            let (owner, key) = read_log(&held.delegation)?;
            let head = read_head(&held.note, &key)?.1;
            Some((head.origin.clone(), Log { key, owner, held, head }))
        };
        let logs: BTreeMap<String, Log> = held.into_iter().filter_map(read).collect();
        let mut watch = Watch::default();
        for log in logs.values() {
            watch.see(log.owner, &log.held.delegation, &log.head, &log.held.note);
        }
        let (own, up, outputs) = (None, BTreeMap::new(), VecDeque::new());
        Self { me, cosigner, delegation, own, up, logs, watch, tell_at: None, forks, outputs }
    }

    /// The own log was opened at this head. It signs nothing before [`WitnessOutput::Release`].
    pub fn open(&mut self, now: Now, delegation: &Delegation, note: SignedNote) {
        let Some((_, key)) = read_log(delegation.bytes()) else { return };
        let Ok(head) = Checkpoint::verify(&note, &key) else { return };
        let until = now.mono.after(ASK_PATIENCE);
        let empty = head.size == 0;
        self.own = Some(Own {
            key,
            delegation: delegation.bytes().to_vec(),
            head: (note, head),
            gate: if empty { Gate::Open } else { Gate::Asking { until } },
            submit_at: None,
            witnesses: BTreeMap::new(),
            collected: (String::new(), 0, BTreeMap::new()),
        });
        if empty {
            self.outputs.push_back(WitnessOutput::Release);
        }
        let up: Vec<NodeId> = self.up.keys().copied().collect();
        up.into_iter().for_each(|peer| self.ask(peer));
    }

    /// The own log has a new head.
    pub fn commit(&mut self, now: Now, note: SignedNote) {
        let Some(own) = &mut self.own else { return };
        let Ok(head) = Checkpoint::verify(&note, &own.key) else { return };
        if head.size >= own.head.1.size {
            own.head = (note, head);
            own.submit_at.get_or_insert(now.mono.after(SUBMIT_DELAY));
        }
    }

    /// A trusted peer can be told something. Over another link everything begins anew: what was under way on the
    /// old one may be lost.
    pub fn peer_up(&mut self, peer: NodeId, link: LinkId) {
        if self.up.insert(peer, link) != Some(link) {
            self.ask(peer);
            for fork in self.forks.clone() {
                self.outputs.push_back(WitnessOutput::Send(peer, Word::Fork(fork)));
            }
            let held = self.logs.keys().filter_map(|origin| self.watch.newest(origin));
            let others = held.filter(|(owner, _)| *owner != peer).take(HEADS_TOLD_MAX);
            for (_, seen) in others.collect::<Vec<_>>() {
                self.outputs.push_back(WitnessOutput::Send(peer, Word::Seen(seen)));
            }
        }
    }

    /// A peer went, or trust did.
    pub fn peer_down(&mut self, peer: NodeId) {
        self.up.remove(&peer);
        if let Some(own) = &mut self.own {
            own.witnesses.remove(&peer);
        }
    }

    /// The peers that can be told something.
    pub fn up(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.up.keys().copied()
    }

    fn ask(&mut self, peer: NodeId) {
        let Some(own) = &mut self.own else { return };
        own.witnesses.insert(peer, Peer::default());
        let word = Word::Ask(own.key.name.clone());
        self.outputs.push_back(WitnessOutput::Send(peer, word));
    }

    /// What to do next; `None`: nothing.
    pub fn poll_output(&mut self) -> Option<WitnessOutput> {
        self.outputs.pop_front()
    }

    /// When [`Witness::wake`] has something to do.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.own_wakeup().into_iter().chain(self.tell_at).min()
    }

    fn own_wakeup(&self) -> Option<Mono> {
        let own = self.own.as_ref()?;
        match own.gate {
            Gate::Asking { until } => Some(until),
            Gate::Open => {
                let again = own.witnesses.values().filter_map(|w| w.since);
                let again = again.map(|since| since.after(SUBMIT_AGAIN)).min();
                own.submit_at.into_iter().chain(again).min()
            }
            Gate::Refused => None,
        }
    }

    /// Time went by.
    pub fn wake(&mut self, now: Now) {
        if self.tell_at.is_some_and(|at| at <= now.mono) {
            self.tell_at = None;
            self.tell_seen();
        }
        let Some(own) = &mut self.own else { return };
        if matches!(own.gate, Gate::Asking { until } if until <= now.mono) {
            self.release(now);
            return;
        }
        for peer in own.witnesses.values_mut() {
            // An answer was lost: the head that the witness holds is asked for by the next submission.
            if peer.since.is_some_and(|since| since.after(SUBMIT_AGAIN) <= now.mono) {
                peer.since = None;
                own.submit_at.get_or_insert(now.mono);
            }
        }
        if own.submit_at.is_some_and(|at| at <= now.mono) {
            own.submit_at = None;
            self.submit(now);
        }
    }

    fn release(&mut self, now: Now) {
        if let Some(own) = &mut self.own {
            own.gate = Gate::Open;
            own.submit_at = Some(now.mono);
            self.outputs.push_back(WitnessOutput::Release);
        }
    }

    /// Asks for the proofs that the witnesses who are behind need.
    fn submit(&mut self, now: Now) {
        let Some(own) = self.own.as_mut().filter(|own| own.gate == Gate::Open) else { return };
        let size = own.head.1.size;
        for (witness, peer) in &mut own.witnesses {
            let Some(old) = peer.holds.filter(|old| *old < size) else { continue };
            if peer.since.is_none() {
                peer.since = Some(now.mono);
                self.outputs.push_back(WitnessOutput::Prove { witness: *witness, old });
            }
        }
    }

    /// The proof that was asked for, and the head that it leads to.
    pub fn on_proof(&mut self, witness: NodeId, note: &SignedNote, proof: Consistency) {
        let Some(own) = &mut self.own else { return };
        let Ok(head) = Checkpoint::verify(note, &own.key) else { return };
        if let Some(peer) = own.witnesses.get_mut(&witness) {
            let known = peer.head.as_ref().filter(|known| known.size == proof.old);
            if known.is_some_and(|known| !proof.proves(known, &head)) {
                let why = format!(
                    "{witness} cosigned another history of {} entries of this log",
                    proof.old
                );
                own.gate = Gate::Refused;
                return self.outputs.push_back(WitnessOutput::Refuse(why));
            }
            if head.size > own.head.1.size {
                own.head = (note.clone(), head);
            }
            peer.submitted = Some(note.clone());
            let submission = Submission {
                delegation: own.delegation.clone(),
                note: note.to_string(),
                old: proof.old,
                proof: proof.path,
            };
            self.outputs.push_back(WitnessOutput::Send(witness, Word::Submit(submission)));
        }
    }

    /// A trusted peer said something.
    pub fn on_word(&mut self, now: Now, from: NodeId, word: Word) {
        match word {
            Word::Ask(origin) => self.on_ask(from, origin),
            Word::Known(origin, note) => self.on_known(now, from, &origin, &note),
            Word::Submit(submission) => self.on_submit(now, from, &submission),
            Word::Cosigned(cosigned) => self.on_cosigned(now, from, &cosigned),
            Word::Fork(fork) => self.on_fork(fork),
            Word::Seen(seen) => self.on_seen(&seen),
        }
    }

    fn on_ask(&mut self, from: NodeId, origin: String) {
        let held = self.logs.get(&origin).filter(|log| log.owner == from);
        let note = held.map(|log| log.held.note.clone()).unwrap_or_default();
        self.outputs.push_back(WitnessOutput::Send(from, Word::Known(origin, note)));
    }

    /// A witness says what it holds of the own log.
    fn on_known(&mut self, now: Now, from: NodeId, origin: &str, note: &str) {
        let Some(own) = self.own.as_mut().filter(|own| own.key.name == origin) else { return };
        let Some(peer) = own.witnesses.get_mut(&from) else { return };
        peer.since = None;
        if note.is_empty() {
            (peer.holds, peer.head) = (Some(0), None);
        } else {
            // What we did not sign says nothing about us.
            let Some((theirs, head)) = read_head(note, &own.key) else { return };
            let size = own.head.1.size;
            let contradicts = head.size == size && head.root != own.head.1.root;
            if contradicts {
                let first = own.head.0.to_string();
                let delegation = own.delegation.clone();
                self.keep_fork(Fork { delegation, first, second: theirs.to_string() });
            }
            let Some(own) = &mut self.own else { return };
            if head.size > size || contradicts {
                own.gate = Gate::Refused;
                let why = match contradicts {
                    true => {
                        format!("{from} cosigned another history of {size} entries of this log")
                    }
                    false => format!(
                        "{from} cosigned {} entries of this log, here are {size}: it was restored from an old copy",
                        head.size
                    ),
                };
                self.outputs.push_back(WitnessOutput::Refuse(why));
                return;
            }
            if let Some(peer) = own.witnesses.get_mut(&from) {
                (peer.holds, peer.head) = (Some(head.size), Some(head));
            }
        }
        let Some(own) = &mut self.own else { return };
        let all = own.witnesses.values().all(|peer| peer.holds.is_some());
        match own.gate {
            Gate::Asking { .. } if all => self.release(now),
            Gate::Open => {
                own.submit_at.get_or_insert(now.mono.after(SUBMIT_DELAY));
            }
            _ => {}
        }
    }

    fn on_cosigned(&mut self, now: Now, from: NodeId, cosigned: &Cosigned) {
        let Some(own) = &mut self.own else { return };
        let Ok(head) = Checkpoint::parse(&cosigned.text) else { return };
        let Ok(line) = NoteSignature::parse(cosigned.line.trim_end()) else { return };
        let Ok(said) = Delegation::verify(&cosigned.delegation) else { return };
        let fits = said.purpose == PURPOSE_COSIGNER
            && said.identity.node_id() == from
            && said.name == cosigner_name(&from);
        let key = NoteKey::new(&said.name, KeyType::CosignatureV1, said.key).filter(|_| fits);
        let Some(key) = key.filter(|_| head.origin == own.key.name) else { return };
        if Cosignature::verify(&cosigned.text, &line, &key).is_err() {
            return;
        }
        let Some(peer) = own.witnesses.get_mut(&from) else { return };
        let Some(note) = peer.submitted.take().filter(|note| note.text == cosigned.text) else {
            return;
        };
        let size = head.size;
        (peer.since, peer.holds, peer.head) = (None, Some(size), Some(head.clone()));
        if head.size < own.head.1.size {
            own.submit_at.get_or_insert(now.mono.after(SUBMIT_DELAY));
        }
        if head.size < own.collected.1 {
            return;
        }
        if own.collected.0 != cosigned.text {
            own.collected = (cosigned.text.clone(), head.size, BTreeMap::new());
        }
        own.collected.2.insert(from, (line, said));
        let mut note = note;
        note.signatures.extend(own.collected.2.values().map(|(line, _)| line.clone()));
        let delegations = own.collected.2.values().map(|(_, said)| said.clone()).collect();
        self.outputs.push_back(WitnessOutput::Cosigned(note, delegations));
    }

    /// Logs that were seen forked: whose, and the evidence.
    #[must_use]
    pub fn forks(&self) -> &[Fork] {
        &self.forks
    }

    /// Who this is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.me
    }
}

/// Whose log a delegation speaks of, and the log's key.
fn read_log(delegation: &[u8]) -> Option<(NodeId, NoteKey)> {
    let said = Delegation::verify(delegation).ok().filter(|d| d.purpose == PURPOSE_LOG)?;
    if !is_log_of(&said.name, &said.identity.node_id()) {
        return None;
    }
    let key = NoteKey::new(&said.name, KeyType::Ed25519, said.key)?;
    Some((said.identity.node_id(), key))
}

fn read_head(note: &str, key: &NoteKey) -> Option<(SignedNote, Checkpoint)> {
    let note = SignedNote::parse(note).ok()?;
    let head = Checkpoint::verify(&note, key).ok()?;
    Some((note, head))
}

/// Whose log, and which, two heads of one size with different roots show forked.
#[must_use]
pub fn proves_fork(fork: &Fork) -> Option<(NodeId, String)> {
    let (owner, key) = read_log(&fork.delegation)?;
    let (_, first) = read_head(&fork.first, &key)?;
    let (_, second) = read_head(&fork.second, &key)?;
    (first.size == second.size && first.root != second.root).then_some((owner, key.name))
}

#[cfg(test)]
mod tests;
