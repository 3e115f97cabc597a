//! What has arrived and was not read yet, and what was answered for.
//!
//! The inbox refuses what it has no room for, so that the sender keeps it. The memory of answers is bounded per
//! sender: the oldest is forgotten first. A copy of a message is one that the memory or the inbox knows.

use std::collections::BTreeMap;

use homing_base::{MessageId, NodeId, Now};

use super::limits::{
    FILES_PEER_MAX, INBOX_BYTES_MAX, INBOX_MAX, INBOX_PEER_BYTES_MAX, INBOX_PEER_MAX, SEEN_MAX,
    SEEN_PEER_MAX,
};
use crate::io::messages::cost;
use crate::io::{Incoming, MessageKind, Parcel, Seen, Verdict};

/// What one sender takes of the inbox.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    count: usize,
    bytes: usize,
    files: usize,
}

/// Unread messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    entries: BTreeMap<u64, Incoming>,
    by_id: BTreeMap<(NodeId, MessageId), u64>,
    shares: BTreeMap<NodeId, Share>,
    bytes: usize,
    next_number: u64,
}

impl Inbox {
    pub(super) fn restore(&mut self, stored: Vec<Incoming>) {
        for message in stored {
            self.next_number = self.next_number.max(message.number + 1);
            self.insert(message);
        }
    }

    /// Whether there is room for it.
    pub(super) fn has_room(&self, from: NodeId, parcel: &Parcel) -> bool {
        let share = self.shares.get(&from).copied().unwrap_or_default();
        let bytes = cost(parcel);
        self.entries.len() < INBOX_MAX
            && self.bytes + bytes <= INBOX_BYTES_MAX
            && share.count < INBOX_PEER_MAX
            && share.bytes + bytes <= INBOX_PEER_BYTES_MAX
            && (parcel.kind != MessageKind::File || share.files < FILES_PEER_MAX)
    }

    /// A message as it will stand in the inbox; not in it yet.
    pub(super) fn stamp(&mut self, now: Now, from: NodeId, parcel: Parcel) -> Incoming {
        let number = self.next_number;
        self.next_number += 1;
        Incoming { number, from, parcel, received: now.wall, file: None }
    }

    pub(super) fn insert(&mut self, message: Incoming) {
        let share = self.shares.entry(message.from).or_default();
        let bytes = cost(&message.parcel);
        share.count += 1;
        share.bytes += bytes;
        share.files += usize::from(message.parcel.kind == MessageKind::File);
        self.bytes += bytes;
        self.by_id.insert((message.from, message.parcel.id), message.number);
        self.entries.insert(message.number, message);
    }

    pub(super) fn find(&self, from: NodeId, id: MessageId) -> Option<&Incoming> {
        self.entries.get(self.by_id.get(&(from, id))?)
    }

    pub(super) fn find_mut(&mut self, from: NodeId, id: MessageId) -> Option<&mut Incoming> {
        self.entries.get_mut(self.by_id.get(&(from, id))?)
    }

    pub(super) fn remove(&mut self, from: NodeId, id: MessageId) -> Option<Incoming> {
        let number = self.by_id.remove(&(from, id))?;
        let message = self.entries.remove(&number)?;
        let bytes = cost(&message.parcel);
        self.bytes -= bytes;
        if let Some(share) = self.shares.get_mut(&from) {
            share.count -= 1;
            share.bytes -= bytes;
            share.files -= usize::from(message.parcel.kind == MessageKind::File);
            if share.count == 0 {
                self.shares.remove(&from);
            }
        }
        Some(message)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Incoming> {
        self.entries.values()
    }

    pub(super) fn len(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}

/// What was answered for.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    by_id: BTreeMap<(NodeId, MessageId), Seen>,
    by_number: BTreeMap<u64, (NodeId, MessageId)>,
    by_sender: BTreeMap<NodeId, BTreeMap<u64, MessageId>>,
    next_number: u64,
}

impl Memory {
    pub(super) fn restore(&mut self, stored: Vec<Seen>) {
        for seen in stored {
            self.next_number = self.next_number.max(seen.number + 1);
            self.insert(seen);
        }
    }

    pub(super) fn verdict(&self, from: NodeId, id: MessageId) -> Option<Verdict> {
        self.by_id.get(&(from, id)).map(|seen| seen.verdict)
    }

    /// Remembers an answer. Returns it with its number, and what had to be forgotten for it.
    pub(super) fn put(
        &mut self,
        from: NodeId,
        id: MessageId,
        verdict: Verdict,
    ) -> (Seen, Option<(NodeId, MessageId)>) {
        if let Some(seen) = self.by_id.get_mut(&(from, id)) {
            seen.verdict = verdict;
            return (*seen, None);
        }
        let seen = Seen { number: self.next_number, from, id, verdict };
        self.next_number += 1;
        self.insert(seen);
        let own = &self.by_sender[&from];
        let oldest = match () {
            () if own.len() > SEEN_PEER_MAX => own.first_key_value().map(|(n, id)| (*n, from, *id)),
            () if self.by_id.len() > SEEN_MAX => {
                self.by_number.first_key_value().map(|(n, (from, id))| (*n, *from, *id))
            }
            () => None,
        };
        let forgotten = oldest.map(|(number, from, id)| {
            self.remove(number, from, id);
            (from, id)
        });
        (seen, forgotten)
    }

    fn insert(&mut self, seen: Seen) {
        self.by_id.insert((seen.from, seen.id), seen);
        self.by_number.insert(seen.number, (seen.from, seen.id));
        self.by_sender.entry(seen.from).or_default().insert(seen.number, seen.id);
    }

    fn remove(&mut self, number: u64, from: NodeId, id: MessageId) {
        self.by_id.remove(&(from, id));
        self.by_number.remove(&number);
        if let Some(own) = self.by_sender.get_mut(&from) {
            own.remove(&number);
            if own.is_empty() {
                self.by_sender.remove(&from);
            }
        }
    }
}
