//! Requests under way. After its RTO a request is *late*: what waited for it goes on, yet its answer
//! still counts until twice the RTO.

use std::time::Duration;

use homing_base::{Mono, NodeId};

use super::contact::Contact;
use super::io::Class;
use super::limits::{DIAL_ALLOWANCE, FLIGHTS_MAX};

/// Room for requests that an idle node keeps.
const FLIGHTS_KEPT: usize = 8;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A step of a lookup.
    Step {
        /// The lookup.
        lookup: u64,
        /// Its class.
        class: Class,
    },
    /// A copy of what a lookup stores.
    Copy {
        /// The lookup.
        lookup: u64,
        /// Its class.
        class: Class,
    },
    /// Repair, cache or sync of a value; nobody waits.
    Push,
    /// Is an entry alive?
    Probe,
    /// Does hearsay answer?
    Verify,
    /// Is a spare faster?
    Sample,
    /// Leafset exchange.
    Exchange,
    /// Bucket refresh.
    Refresh,
    /// Does one of the lost live after all?
    Reunite,
    /// Digests of values.
    Offer,
}

impl Purpose {
    /// Whose account its bytes go to.
    #[must_use]
    pub(super) fn class(&self) -> Class {
        match self {
            Purpose::Step { class, .. } | Purpose::Copy { class, .. } => *class,
            _ => Class::Maintenance,
        }
    }

    fn is_ping(&self) -> bool {
        matches!(self, Purpose::Probe | Purpose::Verify | Purpose::Sample)
    }
}

/// One request under way.
#[derive(Clone, Debug)]
pub(super) struct Flight<P> {
    /// Names it on the wire.
    pub(super) id: u32,
    /// To whom.
    pub(super) to: Contact<P>,
    /// What for.
    pub(super) purpose: Purpose,
    /// When.
    pub(super) sent: Mono,
    /// Its RTO has passed.
    pub(super) late: bool,
    deadline: Mono,
    timeout: Duration,
}

/// All requests under way.
#[derive(Clone, Debug)]
pub(super) struct Flights<P> {
    list: Vec<Flight<P>>,
    next_id: u32,
    next_deadline: Mono,
}

impl<P> Flights<P> {
    /// None under way; the first is named `first_id`.
    pub(super) fn new(first_id: u32) -> Self {
        Self { list: Vec::new(), next_id: first_id, next_deadline: Mono::MAX }
    }

    /// Registers a request and names it; `None` if too many are under way.
    pub(super) fn depart(
        &mut self,
        to: Contact<P>,
        purpose: Purpose,
        timeout: Duration,
        now: Mono,
    ) -> Option<u32> {
        if self.list.len() >= FLIGHTS_MAX {
            return None;
        }
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let (id, deadline) = (self.next_id, now.after(timeout));
        self.next_deadline = self.next_deadline.min(deadline);
        self.list.push(Flight { id, to, purpose, sent: now, late: false, deadline, timeout });
        Some(id)
    }

    /// The answer to request `id` arrived from `from`.
    pub(super) fn land(&mut self, id: u32, from: &NodeId) -> Option<Flight<P>> {
        let at = self.list.iter().position(|f| f.id == id && f.to.id == *from)?;
        Some(self.remove(at))
    }

    fn remove(&mut self, at: usize) -> Flight<P> {
        let flight = self.list.swap_remove(at);
        if self.list.is_empty() && self.list.capacity() > FLIGHTS_KEPT {
            self.list = Vec::new();
        }
        flight
    }

    /// The next request whose deadline has passed: once when it becomes late (it stays), once more
    /// when it is given up.
    pub(super) fn overdue(&mut self, now: Mono) -> Option<Flight<P>>
    where
        P: Clone,
    {
        if self.next_deadline > now {
            return None;
        }
        let Some(at) = self.list.iter().position(|f| f.deadline <= now) else {
            let deadlines = self.list.iter().map(|f| f.deadline);
            self.next_deadline = deadlines.min().unwrap_or(Mono::MAX);
            return None;
        };
        if self.list[at].late {
            return Some(self.remove(at));
        }
        let flight = self.list[at].clone();
        self.list[at].late = true;
        self.list[at].deadline = flight.deadline.after(flight.timeout);
        Some(flight)
    }

    /// What is to leave for `peer` waits for a connection: it has a dial's time, not a round trip's.
    pub(super) fn hold(&mut self, peer: &NodeId, now: Mono) {
        for flight in self.list.iter_mut().filter(|f| f.to.id == *peer && !f.late) {
            flight.deadline = flight.deadline.max(now.after(DIAL_ALLOWANCE));
        }
    }

    /// What waited for `peer` leaves now: its time begins anew.
    pub(super) fn release(&mut self, peer: &NodeId, now: Mono) {
        for flight in self.list.iter_mut().filter(|f| f.to.id == *peer) {
            flight.sent = now;
            flight.deadline = now.after(flight.timeout);
            self.next_deadline = self.next_deadline.min(flight.deadline);
        }
    }

    /// Forgets what is under way to `peer` and returns it.
    pub(super) fn abandon(&mut self, peer: &NodeId) -> Vec<Flight<P>> {
        let (gone, left) =
            std::mem::take(&mut self.list).into_iter().partition(|f| f.to.id == *peer);
        self.list = left;
        gone
    }

    /// A lower bound of the next deadline.
    pub(super) fn next_deadline(&self) -> Mono {
        self.next_deadline
    }

    /// Requests to `peer` under way.
    pub(super) fn to(&self, peer: &NodeId) -> impl Iterator<Item = &Flight<P>> {
        self.list.iter().filter(move |f| f.to.id == *peer)
    }

    /// Pings under way and not late.
    pub(super) fn pings(&self) -> impl Iterator<Item = &Flight<P>> {
        self.list.iter().filter(|f| f.purpose.is_ping() && !f.late)
    }

    /// Whether anything of a lookup is under way and not late.
    pub(super) fn busy_with(&self, lookup: u64) -> bool {
        self.list.iter().any(|f| {
            !f.late && matches!(f.purpose, Purpose::Step { lookup: l, .. } | Purpose::Copy { lookup: l, .. } if l == lookup)
        })
    }
}
