//! Mutable references that do not go dark: when to sign anew, whom to tell, what to keep for others.
//!
//! ```text
//! own      publish, renew ── Persist ──► Show to keepers and public neighbours, Put in the DHT
//! kept     every hour: Find ──► the newest ──► Put, Show          (signed by the owner: nothing to change)
//! resolve  Find in the DHT (5 replicas) ∥ Ask the owner, public neighbours, peers ──► the newest
//! gossip   news from a trusted peer ──► every other trusted peer; what was missed, when a link comes up
//! ```
//! A record is signed anew after an eighth of its life, at the same sequence with a later end; a new value
//! raises the sequence, durably before anybody sees it. What nobody took is announced again soon, what few
//! took sooner than usual. Not here: links and the DHT ([`crate::agent`]), bytes
//! ([`homing_base::reference`]).

mod gossip;
mod kept;
pub mod limits;
mod own;
mod resolve;
#[cfg(test)]
mod tests;
pub mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use homing_base::{IdentityKey, Mono, NodeId, Now, Reference, Wall};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::io::{
    Answer, Failure, Kind, ReferenceCommand, ReferenceEvent, ReferenceSettings, ReferenceView,
    ReferenceWrite, RequestId, Slot, StoredReferences,
};
use kept::Known;
use own::Own;
use resolve::{Errand, Resolution};
use wire::Note;

/// What a peer with a live link is to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Trust is mutual.
    pub trusted: bool,
    /// It serves the public: it may be asked, and shown what others shall find.
    pub public: bool,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum ReferencesInput {
    /// A peer can be told and asked things, over another link than before, or its standing changed.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// What it is to us.
        standing: Standing,
    },
    /// It cannot any more.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A peer said something.
    Note {
        /// Who.
        from: NodeId,
        /// What.
        note: Note,
    },
    /// A `Put` has ended.
    Stored {
        /// Where.
        slot: Slot,
        /// Nodes that have it now.
        replicas: usize,
        /// Nodes that were asked.
        asked: usize,
    },
    /// A `Find` has ended.
    Found {
        /// Where.
        slot: Slot,
        /// What was found.
        values: Vec<Reference>,
        /// Replicas that had one.
        replicas: u32,
        /// Of these, the ones that had the newest.
        agreed: u32,
    },
    /// A deadline passed.
    Wakeup,
}

/// What is asked for, in order.
#[derive(Clone, Debug)]
pub enum ReferencesOutput {
    /// Write durably before what follows.
    Persist(ReferenceWrite),
    /// Tell a peer something.
    Send {
        /// Whom.
        to: NodeId,
        /// What.
        note: Note,
    },
    /// Store it in the DHT, at each of its slots; ends in `Stored` for its own slot.
    Put(Box<Reference>),
    /// Look in the DHT; ends in `Found`.
    Find(Slot),
    /// The answer to a resolution.
    Reply {
        /// Which.
        request: RequestId,
        /// The answer.
        answer: Result<Answer, Failure>,
    },
    /// Something a user would notice.
    Notify(ReferenceEvent),
}

/// The references of one agent.
pub struct References {
    key: IdentityKey,
    me: NodeId,
    settings: ReferenceSettings,
    /// This node serves the public.
    public: bool,
    own: BTreeMap<homing_base::ReferenceName, Own>,
    known: BTreeMap<Slot, Known>,
    peers: BTreeMap<NodeId, Standing>,
    resolutions: BTreeMap<RequestId, Resolution>,
    errands: Vec<Errand>,
    next_ask: u32,
    outputs: VecDeque<ReferencesOutput>,
    chance: ChaCha8Rng,
    /// Notes that did not verify, or came from nobody who may say such a thing.
    refused: u64,
    /// When the next thing is due; kept, since whoever drives the machine asks at every turn.
    due: Option<Mono>,
}

impl References {
    /// The references of an earlier run; `seed` feeds the jitter.
    #[must_use]
    pub fn new(
        settings: ReferenceSettings,
        key: IdentityKey,
        public: bool,
        stored: StoredReferences,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let mut references = Self {
            me: key.node_id(),
            key,
            settings,
            public,
            own: BTreeMap::new(),
            known: BTreeMap::new(),
            peers: BTreeMap::new(),
            resolutions: BTreeMap::new(),
            errands: Vec::new(),
            next_ask: 0,
            outputs: VecDeque::new(),
            chance: ChaCha8Rng::from_seed(seed),
            refused: 0,
            due: None,
        };
        references.restore(stored, now);
        references.due = references.soonest();
        references
    }

    /// Decides; queues outputs.
    pub fn handle(&mut self, now: Now, input: ReferencesInput) {
        match input {
            ReferencesInput::PeerUp { peer, standing } => self.on_peer_up(now, peer, standing),
            ReferencesInput::PeerDown { peer } => self.on_peer_down(now, peer),
            ReferencesInput::Note { from, note } => self.on_note(now, from, note),
            ReferencesInput::Stored { slot, replicas, asked } => {
                self.on_stored(now, slot, replicas, asked);
            }
            ReferencesInput::Found { slot, values, replicas, agreed } => {
                self.on_found(now, slot, values, replicas, agreed);
            }
            ReferencesInput::Wakeup => self.on_wakeup(now),
        }
        self.due = self.soonest();
    }

    /// What the local user wants.
    ///
    /// # Errors
    /// [`Failure`], with nothing changed.
    pub fn command(&mut self, now: Now, command: ReferenceCommand) -> Result<Answer, Failure> {
        let answer = match command {
            ReferenceCommand::Publish { name, value, lifetime, ttl, keepers } => {
                let terms = own::Terms { lifetime, ttl, keepers };
                self.publish(now, name, value, terms)
            }
            ReferenceCommand::Renew(name) => self.renew_now(now, &name),
            ReferenceCommand::Withdraw(name) => self.withdraw(now, &name),
            ReferenceCommand::Keep { key, keep: true } => self.keep(now, key),
            ReferenceCommand::Keep { key, keep: false } => Ok(self.unkeep(now, &key)),
            ReferenceCommand::Offer(reference) => Ok(self.offer(now, *reference)),
        };
        self.due = self.soonest();
        answer
    }

    /// The next output, in order.
    pub fn poll_output(&mut self) -> Option<ReferencesOutput> {
        self.outputs.pop_front()
    }

    /// When [`ReferencesInput::Wakeup`] is due.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.due
    }

    fn soonest(&self) -> Option<Mono> {
        let own = self.own.values().filter_map(Own::deadline);
        let known = self.known.values().filter_map(|k| k.announce_at);
        let resolutions = self.resolutions.values().map(Resolution::deadline);
        let errands = self.errands.iter().map(|e| e.ends);
        let passing = self.passing_deadline();
        own.chain(known).chain(resolutions).chain(errands).chain(passing).min()
    }

    /// References of this identity and those kept for others.
    #[must_use]
    pub fn views(&self, now: Now) -> Vec<ReferenceView> {
        let own = self.own.iter().map(|(name, own)| own.view(self.me, name, now));
        own.chain(self.known.values().filter_map(|known| known.view(now))).collect()
    }

    /// The newest that is known here of a reference, valid or not, as it belongs into its slot: of an IPNS name
    /// nobody's binding, since a stranger's says nothing about it.
    #[must_use]
    pub fn newest(&self, slot: &Slot) -> Option<Reference> {
        let own = self.own.values().map(|own| &own.stored.reference);
        let mut candidates: Vec<&Reference> = own.filter(|r| belongs(r, slot)).collect();
        candidates.extend(self.known.get(slot).and_then(|k| k.known.reference.as_ref()));
        if slot.kind == Kind::Reference {
            // A bound one that is held also answers for its IPNS name.
            let named = self.known.values().filter(|k| k.point == Some(slot.key));
            candidates.extend(named.filter_map(|k| k.known.reference.as_ref()));
            return candidates.into_iter().map(Reference::unbound).max_by(|a, b| a.precedence(b));
        }
        candidates.into_iter().max_by(|a, b| a.precedence(b)).cloned()
    }

    /// Whether the newest of a reference is this agent's own.
    fn is_own(&self, slot: &Slot) -> bool {
        self.own.values().any(|own| belongs(&own.stored.reference, slot))
    }

    /// Notes that were refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn on_peer_up(&mut self, now: Now, peer: NodeId, standing: Standing) {
        self.peers.insert(peer, standing);
        // What was said over a link that is gone may be lost.
        self.forget_told(peer);
        self.show_own_to(now, peer);
        if self.gossips(standing) {
            self.greet_with_have(now, peer);
        }
        self.ask_for_kept_of(peer);
    }

    fn forget_told(&mut self, peer: NodeId) {
        self.own.values_mut().for_each(|own| own.told.retain(|p, _| *p != peer));
        self.known.values_mut().for_each(|known| known.told.retain(|p, _| *p != peer));
    }

    fn on_peer_down(&mut self, now: Now, peer: NodeId) {
        self.peers.remove(&peer);
        self.forget_told(peer);
        self.errands.retain(|e| e.from != peer);
        self.on_peer_silent(now, peer);
    }

    fn on_note(&mut self, now: Now, from: NodeId, note: Note) {
        let Some(standing) = self.peers.get(&from).copied() else {
            self.refused += 1;
            return;
        };
        match note {
            Note::Show(show) => self.on_show(now, from, standing, &show),
            Note::Held(held) => self.on_held(now, from, held),
            Note::Ask(ask) => self.on_ask(now, from, standing, ask),
            Note::Answer(answer) => self.on_answer(now, from, answer),
            Note::Tell(tell) => self.on_tell(now, from, standing, &tell),
            Note::Have(have) => self.on_have(now, from, standing, &have),
            Note::Want(want) => self.on_want(now, from, standing, &want),
        }
    }

    fn on_stored(&mut self, now: Now, slot: Slot, replicas: usize, asked: usize) {
        let announce = self.settings.announce;
        let jitter = self.jitter(announce);
        let own = self.own.values_mut().find(|o| Slot::reference(&o.stored.reference) == slot);
        if let Some(own) = own {
            return own.on_stored(now, replicas, asked, jitter);
        }
        if let Some(known) = self.known.get_mut(&slot) {
            known.on_stored(now, replicas, asked, jitter);
        }
    }

    fn on_found(
        &mut self,
        now: Now,
        slot: Slot,
        values: Vec<Reference>,
        replicas: u32,
        agreed: u32,
    ) {
        let newest = values.into_iter().max_by(|a, b| a.precedence(b));
        if let Some(reference) = &newest {
            if self.is_own(&slot) {
                self.follow_delegate(now, reference);
            } else if self.errands.iter().any(|errand| errand.slot == slot) {
                self.remember(now, slot, reference, None);
            } else {
                self.adopt(now, slot, reference);
            }
        }
        self.announce_kept(now, slot);
        self.finish_errands(now, |errand| errand.slot == slot);
        self.on_replicas(now, slot, newest.as_ref(), (replicas, agreed));
    }

    fn on_wakeup(&mut self, now: Now) {
        self.tend_own(now);
        self.tend_kept(now);
        self.tend_passing(now);
        self.finish_errands(now, |errand| errand.ends <= now.mono);
        self.finish_resolutions(now);
    }

    /// A number for a question, not in use.
    fn ask_id(&mut self) -> u32 {
        self.next_ask = self.next_ask.wrapping_add(1);
        self.next_ask
    }

    fn send(&mut self, to: NodeId, note: Note) {
        self.outputs.push_back(ReferencesOutput::Send { to, note });
    }

    fn persist(&mut self, write: ReferenceWrite) {
        self.outputs.push_back(ReferencesOutput::Persist(write));
    }

    /// `duration` ± 25 %, so that many agents do not act in step.
    fn jitter(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(0.75 + f64::from(self.chance.next_u32() % 501) / 1_000.0)
    }
}

/// A bound reference also answers for its IPNS name.
fn belongs(reference: &Reference, slot: &Slot) -> bool {
    Slot::reference(reference) == *slot
        || slot.kind == Kind::Reference && reference.record.name().point() == slot.key
}

/// How the last announcement went, and when the next is due.
#[derive(Clone, Debug, Default)]
struct Spread {
    /// Nodes of the DHT that took the last copy, of so many that were asked.
    replicas: Option<(usize, usize)>,
    /// End of the newest record that the DHT took.
    stored: Option<Wall>,
    /// The wait after the next failure.
    backoff: Duration,
}

impl Spread {
    /// The end of a `Put`; returns when the next is due.
    fn on_stored(
        &mut self,
        now: Now,
        counts: (usize, usize),
        ends: Wall,
        announce: Duration,
    ) -> Option<Mono> {
        let (replicas, asked) = counts;
        self.replicas = Some(counts);
        if replicas == 0 {
            return None;
        }
        self.stored = Some(ends);
        self.backoff = limits::RETRY_FIRST;
        let share = replicas as f64 / asked.max(1) as f64;
        let few = share < limits::REPLICAS_GOOD;
        Some(now.mono.after(if few { announce / 2 } else { announce }))
    }

    /// The wait until the next attempt if this one fails.
    fn retry(&mut self, announce: Duration) -> Duration {
        let wait = self.backoff.max(limits::RETRY_FIRST).min(announce);
        self.backoff = (wait * 2).min(announce);
        wait
    }
}
