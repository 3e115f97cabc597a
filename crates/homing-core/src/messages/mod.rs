//! Messages between agents that trust each other: delivered at least once, shown once, in order, kept
//! while the peer is away.
//!
//! ```text
//! send · publish · cancel        PeerUp · PeerDown · Mail · Wakeup          consume · fetched · listen · keep
//!        │                               │                                        │
//!      outbox ── Deliver [batch] ──► link ──► inbox ── Persist (row + answer) ── Receipts ──► outbox
//!        one lane per peer,                      refuses when full,              the row leaves
//!        one batch in flight                     knows copies by (sender, ID)
//! ```
//! A message is in the sender's outbox, durable, until the receiver says that it is in its inbox, durable; and in
//! the inbox until somebody took it in. So nothing is lost by a crash between any two outputs, and what
//! is sent again is known as a copy. Of a file only the offer travels here; the receiver fetches it, and says so.
//! Events go to whoever subscribed: like messages to those who keep a topic, else only while the subscriber listens.
//!
//! Contract as for the whole crate. Formats: `spec/12-messages.md`. Not here: who may send (the agent asks trust),
//! names, the bytes of files.

mod inbox;
pub mod limits;
mod outbox;
mod topics;
pub mod wire;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use homing_base::{InstanceId, MessageId, Mono, NodeId, Now, Topic};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::io::{
    Draft, Incoming, MessageEvent, MessageKind, MessageWrite, MessagesView, Outgoing,
    OutgoingState, Parcel, StoredMessages, Verdict,
};
use inbox::{Inbox, Memory};
use limits::{BODY_BYTES_MAX, LIFETIME_MAX, LIVE_EVENT_LIFETIME, SWEEP};
pub use outbox::Full;
use outbox::{Left, Outbox};
use topics::Topics;
use wire::{Mail, Receipt};

/// What a peer may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Trust is mutual.
    pub trusted: bool,
    /// It may send messages.
    pub message: bool,
    /// It may subscribe.
    pub topic: bool,
}

impl Rights {
    fn of(self, kind: MessageKind) -> Result<(), Verdict> {
        match kind {
            _ if !self.trusted => Err(Verdict::NotTrusted),
            // Whoever subscribed has said yes.
            MessageKind::Event => Ok(()),
            _ if !self.message => Err(Verdict::ScopeDenied),
            _ => Ok(()),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum MessagesInput {
    /// A trusted peer has a link, or another one than before.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// Its run.
        instance: InstanceId,
    },
    /// The last link is gone, or the trust.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A peer says something.
    Mail {
        /// Who, proven by the link.
        from: NodeId,
        /// What.
        mail: Mail,
        /// What it may do.
        rights: Rights,
    },
    /// Time has passed.
    Wakeup,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum MessagesOutput {
    /// Durable before anything that follows.
    Persist(MessageWrite),
    /// To a peer, if it is there.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        mail: Mail,
    },
    /// For whoever waits for it.
    Notify(MessageEvent),
}

/// One agent's messages.
#[derive(Debug)]
pub struct Messages {
    chance: ChaCha8Rng,
    outbox: Outbox,
    inbox: Inbox,
    memory: Memory,
    topics: Topics,
    sweep_at: Mono,
    outputs: VecDeque<MessagesOutput>,
    stats: MessagesView,
}

impl Messages {
    /// With what an earlier run persisted; `seed` feeds the message IDs.
    #[must_use]
    pub fn new(me: NodeId, seed: [u8; 32], stored: StoredMessages, now: Now) -> Self {
        let mut messages = Self {
            chance: ChaCha8Rng::from_seed(seed),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            memory: Memory::default(),
            topics: Topics::new(me, stored.subscribers),
            sweep_at: now.mono,
            outputs: VecDeque::new(),
            stats: MessagesView::default(),
        };
        messages.outbox.restore(stored.outgoing);
        messages.inbox.restore(stored.incoming);
        messages.memory.restore(stored.seen);
        messages
    }

    /// Decides; queues outputs.
    pub fn handle(&mut self, now: Now, input: MessagesInput) {
        match input {
            MessagesInput::PeerUp { peer, instance } => {
                self.outbox.on_up(peer);
                self.topics.on_up(peer, instance);
                self.tell_topics(peer);
            }
            MessagesInput::PeerDown { peer } => self.outbox.on_down(peer),
            MessagesInput::Mail { from, mail, rights } => self.on_mail(now, from, mail, rights),
            MessagesInput::Wakeup => {}
        }
        self.pump(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<MessagesOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Messages::handle`] with [`MessagesInput::Wakeup`] at the latest.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        let sweep = (self.outbox.len().0 > 0).then_some(self.sweep_at);
        [sweep, self.outbox.deadline()].into_iter().flatten().min()
    }

    // ---- what the user wants

    /// Takes a message for a trusted peer; durable before the ID is answered.
    ///
    /// # Errors
    /// [`Full`] when there is no room; [`SendError::Long`] or [`SendError::Malformed`] for what no receiver takes.
    pub fn send(&mut self, now: Now, to: NodeId, draft: Draft) -> Result<MessageId, SendError> {
        let Draft { kind, body, source, lifetime } = draft;
        let parcel = Parcel { id: self.draw_id(), created: now.wall, kind, topic: None, body };
        check(&parcel)?;
        let id = parcel.id;
        let expires = now.wall.after(lifetime.min(LIFETIME_MAX));
        let make = |number| Outgoing { number, to, parcel, expires, source };
        let message = self.outbox.put(to, true, make)?;
        self.look_at_expiry(now, &message);
        self.persist(MessageWrite::Outgoing(message));
        self.pump(now);
        Ok(id)
    }

    /// Tells every subscriber that `may` hear of it; how many that are.
    ///
    /// # Errors
    /// [`SendError::Long`] or [`SendError::Malformed`]. A subscriber without room misses the event.
    pub fn publish(
        &mut self,
        now: Now,
        topic: &Topic,
        body: &[u8],
        may: impl Fn(NodeId) -> bool,
    ) -> Result<usize, SendError> {
        let subscribers = self.topics.subscribers(topic);
        let id = self.draw_id();
        let (kind, created) = (MessageKind::Event, now.wall);
        let parcel = Parcel { id, created, kind, topic: Some(topic.clone()), body: body.to_vec() };
        check(&parcel)?;
        let mut told = 0;
        for (to, keep) in subscribers {
            if !may(to) || !(keep || self.outbox.is_up(to)) {
                continue;
            }
            let lifetime = if keep { limits::LIFETIME } else { LIVE_EVENT_LIFETIME };
            let (parcel, expires) = (parcel.clone(), now.wall.after(lifetime));
            let make = |number| Outgoing { number, to, parcel, expires, source: None };
            let Ok(message) = self.outbox.put(to, keep, make) else {
                self.stats.refused += 1;
                continue;
            };
            self.look_at_expiry(now, &message);
            if keep {
                self.persist(MessageWrite::Outgoing(message));
            }
            told += 1;
        }
        self.pump(now);
        Ok(told)
    }

    /// Takes a message back that was not delivered. `false`: there is none.
    pub fn cancel(&mut self, id: MessageId) -> bool {
        let Some(left) = self.outbox.cancel(id) else { return false };
        self.on_left(&left);
        self.fail(&left, "cancelled");
        true
    }

    /// These were taken in; how many were there.
    pub fn consume(&mut self, list: &[(NodeId, MessageId)]) -> usize {
        let mut consumed = 0;
        for (from, id) in list {
            if self.inbox.find(*from, *id).is_some_and(Incoming::is_complete)
                && let Some(message) = self.inbox.remove(*from, *id)
            {
                self.persist(MessageWrite::ForgetIncoming(message.number));
                consumed += 1;
            }
        }
        consumed
    }

    /// A file was fetched, or will not be. `false`: nobody offered it.
    pub fn fetched(
        &mut self,
        from: NodeId,
        id: MessageId,
        outcome: Result<String, Verdict>,
    ) -> bool {
        let Some(message) = self.inbox.find_mut(from, id).filter(|m| !m.is_complete()) else {
            return false;
        };
        let verdict = match outcome {
            Ok(path) => {
                message.file = Some(path);
                let message = message.clone();
                self.persist(MessageWrite::Incoming(message.clone()));
                self.remember(from, id, Verdict::Fetched, true);
                self.stats.received += 1;
                self.notify(MessageEvent::Arrived(Box::new(message)));
                Verdict::Fetched
            }
            Err(verdict) => {
                let number = message.number;
                self.inbox.remove(from, id);
                self.persist(MessageWrite::ForgetIncoming(number));
                self.remember(from, id, verdict, true);
                verdict
            }
        };
        self.transmit(from, Mail::Receipts(vec![Receipt { id, verdict }]));
        true
    }

    // ---- what it shows

    /// The inbox, oldest first; files that are not fetched yet included.
    pub fn inbox(&self) -> impl Iterator<Item = &Incoming> {
        self.inbox.iter()
    }

    /// The outbox, and how far each message is.
    pub fn outbox(&self) -> impl Iterator<Item = (&Outgoing, OutgoingState)> {
        self.outbox.iter().map(|message| (message, self.outbox.state(message)))
    }

    /// One message of the outbox.
    #[must_use]
    pub fn outgoing(&self, id: MessageId) -> Option<(&Outgoing, OutgoingState)> {
        self.outbox.find(id).map(|message| (message, self.outbox.state(message)))
    }

    /// Sizes and counts.
    #[must_use]
    pub fn view(&self) -> MessagesView {
        let (outbox, outbox_bytes) = self.outbox.len();
        let (inbox, inbox_bytes) = self.inbox.len();
        MessagesView { outbox, outbox_bytes, inbox, inbox_bytes, ..self.stats }
    }

    // ---- what peers say

    fn on_mail(&mut self, now: Now, from: NodeId, mail: Mail, rights: Rights) {
        match mail {
            Mail::Deliver(parcels) => self.on_deliver(now, from, parcels, rights),
            Mail::Receipts(receipts) => {
                for (left, verdict) in self.outbox.on_receipts(now, from, &receipts) {
                    self.on_left(&left);
                    match verdict.is_success() {
                        true => self.succeed(&left),
                        false => self.fail(&left, verdict.label()),
                    }
                }
            }
            Mail::Topics(list) => {
                let list = if rights.trusted && rights.topic { list } else { Vec::new() };
                for write in self.topics.on_list(from, list) {
                    self.persist(write);
                }
            }
        }
    }

    /// Takes messages in order, up to the first that it must refuse.
    fn on_deliver(&mut self, now: Now, from: NodeId, parcels: Vec<Parcel>, rights: Rights) {
        let mut receipts = Vec::new();
        let mut events = Vec::new();
        for parcel in parcels {
            let id = parcel.id;
            let verdict = self.take_in(now, from, parcel, rights, &mut events);
            receipts.push(Receipt { id, verdict });
            if verdict.is_temporary() {
                self.stats.refused += 1;
                break;
            }
        }
        self.transmit(from, Mail::Receipts(receipts));
        events.into_iter().for_each(|event| self.notify(event));
    }

    fn take_in(
        &mut self,
        now: Now,
        from: NodeId,
        parcel: Parcel,
        rights: Rights,
        events: &mut Vec<MessageEvent>,
    ) -> Verdict {
        let id = parcel.id;
        if let Err(refused) = rights.of(parcel.kind) {
            return refused;
        }
        let pending = self.inbox.find(from, id).map(|_| Verdict::Accepted);
        if let Some(verdict) = self.memory.verdict(from, id).or(pending) {
            self.stats.duplicates += 1;
            return verdict;
        }
        if let Some(topic) = parcel.topic.as_ref().filter(|topic| !self.topics.keeps(topic)) {
            let heard = self.topics.listens(topic);
            self.remember(from, id, Verdict::Accepted, false);
            if heard {
                self.stats.received += 1;
                let message = self.inbox.stamp(now, from, parcel);
                events.push(MessageEvent::Arrived(Box::new(message)));
            } else {
                // We subscribed once; the publisher has not heard that this is over.
                self.tell_topics_anew(from);
            }
            return Verdict::Accepted;
        }
        if !self.inbox.has_room(from, &parcel) {
            return Verdict::Full;
        }
        let message = self.inbox.stamp(now, from, parcel);
        self.persist(MessageWrite::Incoming(message.clone()));
        self.remember(from, id, Verdict::Accepted, true);
        self.inbox.insert(message.clone());
        events.push(match message.is_complete() {
            true => {
                self.stats.received += 1;
                MessageEvent::Arrived(Box::new(message))
            }
            false => MessageEvent::Offered { from, id },
        });
        Verdict::Accepted
    }

    // ---- the machine

    fn pump(&mut self, now: Now) {
        if self.sweep_at <= now.mono {
            self.sweep_at = now.mono.after(SWEEP);
            for left in self.outbox.expire(now.wall) {
                self.on_left(&left);
                self.fail(&left, "expired");
            }
            let next = self.outbox.iter().map(|m| m.expires).min();
            if let Some(next) = next {
                self.sweep_at = self.sweep_at.min(now.mono.after(next.since(now.wall)));
            }
        }
        for peer in self.outbox.due(now.mono) {
            let batch = self.outbox.batch(now, peer);
            if !batch.is_empty() {
                self.transmit(peer, Mail::Deliver(batch));
            }
        }
    }

    fn look_at_expiry(&mut self, now: Now, message: &Outgoing) {
        let left = message.expires.since(now.wall).min(SWEEP);
        self.sweep_at = self.sweep_at.min(now.mono.after(left));
    }

    fn on_left(&mut self, left: &Left) {
        if left.durable {
            self.persist(MessageWrite::ForgetOutgoing(left.message.number));
        }
    }

    fn succeed(&mut self, left: &Left) {
        self.stats.delivered += 1;
        let (to, id) = (left.message.to, left.message.parcel.id);
        self.notify(MessageEvent::Delivered { to, id });
    }

    fn fail(&mut self, left: &Left, why: &'static str) {
        if left.durable {
            let (to, id) = (left.message.to, left.message.parcel.id);
            self.notify(MessageEvent::Failed { to, id, why });
        }
    }

    fn remember(&mut self, from: NodeId, id: MessageId, verdict: Verdict, durable: bool) {
        let (seen, forgotten) = self.memory.put(from, id, verdict);
        if durable {
            self.persist(MessageWrite::Seen(seen));
        }
        if let Some((from, id)) = forgotten {
            self.persist(MessageWrite::ForgetSeen(from, id));
        }
    }

    fn draw_id(&mut self) -> MessageId {
        let mut bytes = [0; 16];
        self.chance.fill_bytes(&mut bytes);
        MessageId(bytes)
    }

    fn persist(&mut self, write: MessageWrite) {
        self.outputs.push_back(MessagesOutput::Persist(write));
    }

    fn transmit(&mut self, to: NodeId, mail: Mail) {
        self.outputs.push_back(MessagesOutput::Send { to, mail });
    }

    fn notify(&mut self, event: MessageEvent) {
        self.outputs.push_back(MessagesOutput::Notify(event));
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no room.
    Full(Full),
    /// The body has so many bytes, which is too many.
    Long(usize),
    /// The body is not what its kind says.
    Malformed,
}

impl From<Full> for SendError {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

fn check(parcel: &Parcel) -> Result<(), SendError> {
    match parcel.body.len() {
        long if long > BODY_BYTES_MAX => Err(SendError::Long(long)),
        _ if !wire::is_well_formed(parcel) => Err(SendError::Malformed),
        _ => Ok(()),
    }
}
