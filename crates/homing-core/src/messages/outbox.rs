//! What waits for its receiver: one lane per peer, oldest first, one batch in flight.
//!
//! ```text
//! lane: 17 18 [19: file, offered] 20 21 …        batch = the first messages that are not offered files
//!       └─ in flight ─┘ until Receipts, or again after 2 s, 4 s … 60 s; at once when the link is new
//! ```
//! Every batch begins with the oldest message, and the receiver takes messages of a batch in order up to the first
//! that it refuses: so they arrive in order without sequence numbers. An offered file waits beside the queue for
//! its fetching. Not here: what is durable ([`super`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homing_base::{MessageId, Mono, NodeId, Now, Wall};

use super::limits::{
    BATCH_BYTES_MAX, BATCH_MAX, LIVE_EVENTS_PEER_MAX, OFFER_AGAIN, OUTBOX_BYTES_MAX, OUTBOX_MAX,
    OUTBOX_PEER_BYTES_MAX, OUTBOX_PEER_MAX, RETRY_FIRST, RETRY_MAX,
};
use super::wire::Receipt;
use crate::io::messages::cost;
use crate::io::{MessageKind, Outgoing, OutgoingState, Parcel, Verdict};

/// A bound that was reached: what it bounds, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// What there is too much of.
    pub what: &'static str,
    /// How much there may be.
    pub max: usize,
}

/// A message and whether it outlives this run.
#[derive(Clone, Debug)]
struct Held {
    message: Outgoing,
    durable: bool,
}

/// What waits for one peer.
#[derive(Clone, Debug, Default)]
struct Lane {
    up: bool,
    queue: BTreeMap<u64, Held>,
    bytes: usize,
    live: usize,
    /// Files that the peer knows of, and when to ask again what became of them.
    offered: BTreeMap<u64, Mono>,
    in_flight: BTreeSet<u64>,
    /// Nothing is sent before this.
    again: Option<Mono>,
    attempts: u32,
    refused: Option<Verdict>,
}

/// Everything that waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    lanes: BTreeMap<NodeId, Lane>,
    count: usize,
    bytes: usize,
    next_number: u64,
}

/// A message that left the outbox.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) message: Outgoing,
    pub(super) durable: bool,
}

impl Outbox {
    pub(super) fn restore(&mut self, stored: Vec<Outgoing>) {
        for message in stored {
            self.next_number = self.next_number.max(message.number + 1);
            self.hold(Held { message, durable: true });
        }
    }

    /// Takes a message in. `durable` is false for events that nobody keeps.
    pub(super) fn put(
        &mut self,
        to: NodeId,
        durable: bool,
        make: impl FnOnce(u64) -> Outgoing,
    ) -> Result<Outgoing, Full> {
        let message = make(self.next_number);
        self.check(to, durable, cost(&message.parcel))?;
        self.next_number += 1;
        self.hold(Held { message: message.clone(), durable });
        Ok(message)
    }

    fn check(&self, to: NodeId, durable: bool, bytes: usize) -> Result<(), Full> {
        let full = |what, max| Err(Full { what, max });
        let (count, used, live) =
            self.lanes.get(&to).map_or((0, 0, 0), |l| (l.queue.len(), l.bytes, l.live));
        match () {
            () if !durable && live >= LIVE_EVENTS_PEER_MAX => {
                full("events for this peer", LIVE_EVENTS_PEER_MAX)
            }
            () if count >= OUTBOX_PEER_MAX => full("messages for this peer", OUTBOX_PEER_MAX),
            () if used + bytes > OUTBOX_PEER_BYTES_MAX => {
                full("bytes of messages for this peer", OUTBOX_PEER_BYTES_MAX)
            }
            () if self.count >= OUTBOX_MAX => full("messages in the outbox", OUTBOX_MAX),
            () if self.bytes + bytes > OUTBOX_BYTES_MAX => {
                full("bytes in the outbox", OUTBOX_BYTES_MAX)
            }
            () => Ok(()),
        }
    }

    fn hold(&mut self, held: Held) {
        let bytes = cost(&held.message.parcel);
        let lane = self.lanes.entry(held.message.to).or_default();
        lane.bytes += bytes;
        lane.live += usize::from(!held.durable);
        self.bytes += bytes;
        self.count += 1;
        lane.queue.insert(held.message.number, held);
    }

    fn remove(&mut self, peer: NodeId, number: u64) -> Option<Left> {
        let lane = self.lanes.get_mut(&peer)?;
        let Held { message, durable } = lane.queue.remove(&number)?;
        let bytes = cost(&message.parcel);
        lane.bytes -= bytes;
        lane.live -= usize::from(!durable);
        lane.offered.remove(&number);
        lane.in_flight.remove(&number);
        self.bytes -= bytes;
        self.count -= 1;
        if lane.queue.is_empty() && !lane.up {
            self.lanes.remove(&peer);
        }
        Some(Left { message, durable })
    }

    /// A link is new: everything unanswered is said again over it.
    pub(super) fn on_up(&mut self, peer: NodeId) {
        let lane = self.lanes.entry(peer).or_default();
        lane.up = true;
        lane.again = None;
        lane.attempts = 0;
        lane.refused = None;
        lane.offered.clear();
        lane.in_flight.clear();
    }

    pub(super) fn on_down(&mut self, peer: NodeId) {
        if let Some(lane) = self.lanes.get_mut(&peer) {
            lane.up = false;
            lane.in_flight.clear();
            if lane.queue.is_empty() {
                self.lanes.remove(&peer);
            }
        }
    }

    pub(super) fn is_up(&self, peer: NodeId) -> bool {
        self.lanes.get(&peer).is_some_and(|lane| lane.up)
    }

    /// Peers to which something may be sent now.
    pub(super) fn due(&self, now: Mono) -> Vec<NodeId> {
        let due = |lane: &Lane| lane.deadline().is_some_and(|at| at <= now);
        self.lanes.iter().filter(|(_, lane)| due(lane)).map(|(peer, _)| *peer).collect()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.lanes.values().filter_map(Lane::deadline).min()
    }

    /// The next batch for a peer; empty: nothing is due.
    pub(super) fn batch(&mut self, now: Now, peer: NodeId) -> Vec<Parcel> {
        let Some(lane) = self.lanes.get_mut(&peer) else { return Vec::new() };
        if lane.deadline().is_none_or(|at| at > now.mono) {
            return Vec::new();
        }
        lane.offered.retain(|_, again| *again > now.mono);
        let mut bytes = 0;
        let waiting = lane.queue.iter().filter(|(number, _)| !lane.offered.contains_key(number));
        let batch: Vec<(u64, Parcel)> = waiting
            .map(|(number, held)| (*number, held.message.parcel.clone()))
            .take(BATCH_MAX)
            .take_while(|(_, parcel)| {
                bytes += cost(parcel);
                bytes <= BATCH_BYTES_MAX
            })
            .collect();
        lane.in_flight = batch.iter().map(|(number, _)| *number).collect();
        lane.again = Some(now.mono.after(backoff(lane.attempts)));
        lane.attempts += 1;
        batch.into_iter().map(|(_, parcel)| parcel).collect()
    }

    /// What a peer says about messages for it. Those that are settled leave; others stay.
    pub(super) fn on_receipts(
        &mut self,
        now: Now,
        peer: NodeId,
        receipts: &[Receipt],
    ) -> Vec<(Left, Verdict)> {
        let Some(lane) = self.lanes.get_mut(&peer) else { return Vec::new() };
        let by_id: BTreeMap<MessageId, (u64, bool)> = lane
            .queue
            .values()
            .map(|held| &held.message)
            .map(|m| (m.parcel.id, (m.number, m.parcel.kind == MessageKind::File)))
            .collect();
        let mut settled = Vec::new();
        let mut answers = false;
        let mut refused = None;
        for receipt in receipts {
            let Some((number, is_file)) = by_id.get(&receipt.id).copied() else { continue };
            answers |= lane.in_flight.contains(&number);
            match receipt.verdict {
                verdict if verdict.is_temporary() => refused = Some(verdict),
                Verdict::Accepted if is_file => {
                    lane.offered.insert(number, now.mono.after(OFFER_AGAIN));
                }
                verdict => settled.push((number, verdict)),
            }
        }
        if answers {
            lane.on_answer(now, refused);
        }
        let left = settled.into_iter();
        left.filter_map(|(number, verdict)| Some((self.remove(peer, number)?, verdict))).collect()
    }

    pub(super) fn cancel(&mut self, id: MessageId) -> Option<Left> {
        let (peer, number) = self.iter().find(|m| m.parcel.id == id).map(|m| (m.to, m.number))?;
        self.remove(peer, number)
    }

    /// What is too old by now.
    pub(super) fn expire(&mut self, now: Wall) -> Vec<Left> {
        let old: Vec<_> =
            self.iter().filter(|m| m.expires <= now).map(|m| (m.to, m.number)).collect();
        old.into_iter().filter_map(|(peer, number)| self.remove(peer, number)).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.lanes.values().flat_map(|lane| lane.queue.values()).map(|held| &held.message)
    }

    pub(super) fn state(&self, message: &Outgoing) -> OutgoingState {
        let lane = self.lanes.get(&message.to).filter(|lane| lane.up);
        match lane {
            None => OutgoingState::Waiting,
            Some(lane) if lane.offered.contains_key(&message.number) => OutgoingState::Fetching,
            Some(lane) => lane.refused.map_or(OutgoingState::Sending, OutgoingState::Refused),
        }
    }

    pub(super) fn find(&self, id: MessageId) -> Option<&Outgoing> {
        self.iter().find(|message| message.parcel.id == id)
    }

    pub(super) fn len(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }
}

impl Lane {
    /// When something is to be sent; `None`: nothing, or to nobody.
    fn deadline(&self) -> Option<Mono> {
        if !self.up {
            return None;
        }
        let waits = self.queue.len() > self.offered.len();
        let asks = self.offered.values().min().copied();
        let next = if waits { Some(Mono::default()) } else { asks };
        next.map(|at| at.max(self.again.unwrap_or_default()))
    }

    fn on_answer(&mut self, now: Now, refused: Option<Verdict>) {
        self.in_flight.clear();
        self.refused = refused;
        self.again = refused.map(|_| now.mono.after(backoff(self.attempts)));
        if refused.is_none() {
            self.attempts = 0;
        }
    }
}

/// The wait after so many attempts.
fn backoff(attempts: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempts.min(8)).min(RETRY_MAX)
}
