//! A whole trie of regions, each with one observer that sees the truth: what the rule does to regions, apart
//! from what nodes know and when they learn it.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::Mono;

use super::*;

/// Regions deeper than this are not counted: nobody here grinds more bits.
pub(super) const DEPTH_MAX: u8 = 28;

/// Depth and leading bits.
pub(super) type Region = (u8, u64);

fn at(seconds: u64) -> Mono {
    Mono(1 + seconds * 1_000_000)
}

fn leaf(depth: u8, members: usize) -> Leaf {
    Leaf { depth, members: u16::try_from(members).expect("few") }
}

fn region(id: u64, depth: u8) -> Region {
    (depth, if depth == 0 { 0 } else { id >> (64 - depth) })
}

#[derive(Default)]
pub(super) struct Trie {
    pub(super) members: Vec<u64>,
    places: BTreeMap<u64, usize>,
    counts: BTreeMap<Region, usize>,
    events: BTreeMap<Region, u64>,
    last: BTreeMap<Region, u64>,
    pub(super) clusters: BTreeMap<Region, Topology>,
    /// Joins and leaves within a region between two changes of it, for each such pair.
    pub(super) gaps: Vec<u64>,
    pub(super) changes: u64,
    pub(super) joins_and_leaves: u64,
    now: u64,
}

impl Trie {
    pub(super) fn new() -> Self {
        let clusters = BTreeMap::from([((0, 0), Self::observer(0, 0))]);
        Self { clusters, ..Self::default() }
    }

    fn observer(depth: u8, now: u64) -> Topology {
        let mut observer = Topology::new(Bounds::default(), at(now));
        observer.hear(1, 64, leaf(depth, 1), at(now));
        observer.decide(Census::default(), Duration::ZERO, at(now));
        assert_eq!(observer.depth(), Some(depth));
        observer
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.places.contains_key(&id)
    }

    pub(super) fn count(&self, region: Region) -> usize {
        self.counts.get(&region).copied().unwrap_or(0)
    }

    /// Both halves of a region.
    pub(super) fn halves((depth, bits): Region) -> [Region; 2] {
        [(depth + 1, bits << 1), (depth + 1, bits << 1 | 1)]
    }

    /// The leaf that `id` lives in.
    fn leaf_of(&self, id: u64) -> Region {
        let regions = (0..=DEPTH_MAX).map(|depth| region(id, depth));
        regions.into_iter().find(|r| self.clusters.contains_key(r)).expect("leaves cover all IDs")
    }

    /// `id` joins, or leaves if it is here; then clusters change until none wants to.
    pub(super) fn toggle(&mut self, id: u64) {
        let leaves = self.places.remove(&id);
        if let Some(place) = leaves {
            self.members.swap_remove(place);
            self.members.get(place).map(|moved| self.places.insert(*moved, place));
        } else {
            self.places.insert(id, self.members.len());
            self.members.push(id);
        }
        self.joins_and_leaves += 1;
        for region in (0..=DEPTH_MAX).map(|depth| region(id, depth)) {
            *self.events.entry(region).or_default() += 1;
            let count = self.counts.entry(region).or_default();
            *count = if leaves.is_some() { *count - 1 } else { *count + 1 };
        }
        while self.step(id) {}
    }

    /// Only the cluster of `id` and its sibling count otherwise than before.
    fn step(&mut self, id: u64) -> bool {
        let (depth, bits) = self.leaf_of(id);
        self.turn((depth, bits)) || (depth > 0 && self.turn((depth, bits ^ 1)))
    }

    /// Lets one cluster change, if it is one and wants to.
    fn turn(&mut self, here: Region) -> bool {
        self.now += 1;
        let ((depth, bits), now) = (here, at(self.now));
        let (members, near) = (self.count(here), self.count(Self::halves(here)[0]));
        let sibling = (depth, bits ^ 1);
        let beside = match self.clusters.contains_key(&sibling) {
            true => leaf(depth, self.count(sibling)),
            false => leaf(depth + 1, 0),
        };
        let Some(observer) = self.clusters.get_mut(&here) else { return false };
        observer.hear(1, 64, leaf(depth, members), now);
        if depth > 0 {
            observer.hear(2, usize::from(depth) - 1, beside, now);
        }
        match observer.decide(Census { members, near, network: 0 }, Duration::ZERO, now) {
            Some(Change::Split) => self.divide(here),
            Some(Change::Merge) => self.unite((depth - 1, bits >> 1)),
            _ => return false,
        }
        true
    }

    fn divide(&mut self, parent: Region) {
        self.clusters.remove(&parent);
        for half in Self::halves(parent) {
            self.clusters.insert(half, Self::observer(half.0, self.now));
        }
        self.changed(parent);
    }

    fn unite(&mut self, parent: Region) {
        for half in Self::halves(parent) {
            assert!(self.clusters.remove(&half).is_some(), "merged with a divided sibling");
        }
        self.clusters.insert(parent, Self::observer(parent.0, self.now));
        self.changed(parent);
    }

    fn changed(&mut self, region: Region) {
        self.changes += 1;
        let events = self.events.get(&region).copied().unwrap_or(0);
        if let Some(last) = self.last.insert(region, events) {
            self.gaps.push(events - last);
        }
    }
}
