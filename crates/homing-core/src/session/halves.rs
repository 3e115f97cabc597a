//! The two directions of a session: what was said and may have to be said again, and what was
//! heard and not yet passed on. Positions count bytes, and the end as one more.

use std::collections::VecDeque;

use super::Violation;
use super::frame::{Frame, write_data};
use super::limits::{DATA_BYTES_MAX, REPLAY_BYTES_MAX, TRANSMIT_BYTES};

/// What the local program said, from the first unconfirmed byte on.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The last bytes of `..said`; those that the peer has not confirmed.
    replay: VecDeque<u8>,
    /// Bytes that the program has said.
    said: u64,
    /// Whether it will say no more.
    ended: bool,
    /// What the peer's program has.
    confirmed: u64,
    /// What comes next on the stream of now.
    next: u64,
}

impl Outgoing {
    pub(super) fn room(&self) -> usize {
        if self.ended { 0 } else { REPLAY_BYTES_MAX - self.replay.len() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "the caller asks for room first");
        self.replay.extend(bytes);
        self.said += bytes.len() as u64;
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Everything was said and confirmed, the end included.
    pub(super) fn is_complete(&self) -> bool {
        self.ended && self.confirmed == self.all()
    }

    /// Whether the peer owes us a word.
    pub(super) fn is_unconfirmed(&self) -> bool {
        self.confirmed < self.next
    }

    /// A stream begins: the peer has `received`, and cannot have lost what it had confirmed.
    pub(super) fn begin(&mut self, received: u64) -> Result<(), Violation> {
        self.next = self.all();
        self.confirm(received)?;
        self.next = received;
        Ok(())
    }

    pub(super) fn confirm(&mut self, received: u64) -> Result<(), Violation> {
        if received < self.confirmed || received > self.next {
            return Err(Violation::Position);
        }
        self.replay.drain(..(received.min(self.said) - self.confirmed.min(self.said)) as usize);
        self.confirmed = received;
        Ok(())
    }

    /// Frames for the stream: data, then the end.
    pub(super) fn write_frames(&mut self, into: &mut Vec<u8>) {
        while self.next < self.said && into.len() < TRANSMIT_BYTES {
            let from = (self.next - self.confirmed) as usize;
            let length = (self.replay.len() - from).min(DATA_BYTES_MAX);
            write_data(self.next, pieces(&self.replay, from, length), into);
            self.next += length as u64;
        }
        if self.ended && self.next == self.said {
            Frame::End { offset: self.said }.write(into);
            self.next += 1;
        }
    }

    fn all(&self) -> u64 {
        self.said + u64::from(self.ended)
    }
}

fn pieces(ring: &VecDeque<u8>, from: usize, length: usize) -> [&[u8]; 2] {
    let (first, second) = ring.as_slices();
    let (cut, to) = (first.len(), from + length);
    let in_first = &first[from.min(cut)..to.min(cut)];
    [in_first, &second[from.saturating_sub(cut)..to.saturating_sub(cut)]]
}

/// What the local program is given next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Bytes, at most about 64 KiB.
    Bytes(Vec<u8>),
    /// The peer's program will say no more.
    End,
}

/// What the peer said, in order.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    waiting: VecDeque<u8>,
    /// The end was heard.
    end_heard: bool,
    /// What the local program was given.
    pub(super) delivered: u64,
    /// Of that, what the peer was told on the stream of now.
    pub(super) told: u64,
    complete: bool,
}

impl Incoming {
    /// The stream is gone: what waits will be said again.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.end_heard = self.complete;
    }

    pub(super) fn hear(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Violation> {
        if self.end_heard || offset != self.delivered + self.waiting.len() as u64 {
            return Err(Violation::Position);
        }
        if self.waiting.len() + bytes.len() > REPLAY_BYTES_MAX {
            return Err(Violation::Window);
        }
        self.waiting.extend(bytes);
        Ok(())
    }

    pub(super) fn hear_end(&mut self, offset: u64) -> Result<(), Violation> {
        if self.end_heard || offset != self.delivered + self.waiting.len() as u64 {
            return Err(Violation::Position);
        }
        self.end_heard = true;
        Ok(())
    }

    pub(super) fn poll(&mut self) -> Option<Delivery> {
        if !self.waiting.is_empty() {
            let count = self.waiting.len().min(TRANSMIT_BYTES);
            self.delivered += count as u64;
            return Some(Delivery::Bytes(self.waiting.drain(..count).collect()));
        }
        if !self.end_heard || self.complete {
            return None;
        }
        self.delivered += 1;
        self.complete = true;
        Some(Delivery::End)
    }

    /// The end was passed on.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }
}
