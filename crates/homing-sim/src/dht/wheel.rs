//! The event queue: a timing wheel of 1 ms slots, a heap for what lies beyond it.
//!
//! Events come out in order of (time, insertion), whatever the slots; so one seed is one history.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use homing_base::Mono;

const SLOT_US: u64 = 1_000;
const SLOTS: u64 = 4_096;

struct Item<E> {
    at: Mono,
    seq: u64,
    event: E,
}

impl<E> Item<E> {
    fn slot(&self) -> u64 {
        self.at.0 / SLOT_US
    }

    fn key(&self) -> (Mono, u64) {
        (self.at, self.seq)
    }
}

impl<E> PartialEq for Item<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl<E> Eq for Item<E> {}
impl<E> PartialOrd for Item<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Item<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Pending events.
pub struct Wheel<E> {
    slots: Vec<Vec<Item<E>>>,
    current: Vec<Item<E>>,
    slot: u64,
    in_slots: usize,
    beyond: BinaryHeap<Reverse<Item<E>>>,
    seq: u64,
}

impl<E> Default for Wheel<E> {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { slots, current: vec![], slot: 0, in_slots: 0, beyond: BinaryHeap::new(), seq: 0 }
    }
}

impl<E> Wheel<E> {
    /// Adds an event; one in the past happens next.
    pub fn push(&mut self, at: Mono, event: E) {
        self.seq += 1;
        let item = Item { at, seq: self.seq, event };
        if item.slot() <= self.slot {
            let place = self.current.partition_point(|i| i.key() > item.key());
            self.current.insert(place, item);
        } else {
            self.place(item);
        }
    }

    fn place(&mut self, item: Item<E>) {
        if item.slot() < self.slot + SLOTS {
            self.in_slots += 1;
            let index = usize::try_from(item.slot() % SLOTS).expect("below SLOTS");
            self.slots[index].push(item);
        } else {
            self.beyond.push(Reverse(item));
        }
    }

    /// The next event, unless it comes after `until`.
    pub fn pop_until(&mut self, until: Mono) -> Option<(Mono, E)> {
        loop {
            match self.current.last() {
                Some(item) if item.at > until => return None,
                Some(_) => return self.current.pop().map(|i| (i.at, i.event)),
                None if self.slot >= until.0 / SLOT_US => return None,
                None => self.turn(until.0 / SLOT_US),
            }
        }
    }

    /// On to the next slot that has something, at most to `last`.
    fn turn(&mut self, last: u64) {
        self.slot += 1;
        if self.in_slots == 0 {
            let next = self.beyond.peek().map_or(last, |i| i.0.slot());
            self.slot = self.slot.max(next.min(last));
        }
        while self.beyond.peek().is_some_and(|i| i.0.slot() < self.slot + SLOTS) {
            if let Some(Reverse(item)) = self.beyond.pop() {
                self.place(item);
            }
        }
        let index = usize::try_from(self.slot % SLOTS).expect("below SLOTS");
        // The emptied list is let go: a burst must not leave its room behind in every slot.
        self.current = std::mem::take(&mut self.slots[index]);
        self.in_slots -= self.current.len();
        self.current.sort_unstable_by(|a, b| b.cmp(a));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_in_order_of_time_then_insertion() {
        let mut wheel = Wheel::default();
        let times = [9_000_000, 5, 5, 1_500, 700_000, 4_096_000, 4_095_999, 1_400, 60_000_000];
        for (i, at) in times.iter().enumerate() {
            wheel.push(Mono(*at), i);
        }
        let mut order = Vec::new();
        while let Some((at, i)) = wheel.pop_until(Mono(100_000_000)) {
            order.push((at.0, i));
        }
        let mut expected: Vec<_> = times.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        assert_eq!(order, expected);
    }

    #[test]
    fn nothing_comes_out_before_its_time() {
        let mut wheel = Wheel::default();
        wheel.push(Mono(10_000), 'a');
        assert_eq!(wheel.pop_until(Mono(9_999)), None);
        wheel.push(Mono(9_999), 'b');
        assert_eq!(wheel.pop_until(Mono(20_000)), Some((Mono(9_999), 'b')));
        assert_eq!(wheel.pop_until(Mono(20_000)), Some((Mono(10_000), 'a')));
    }
}
