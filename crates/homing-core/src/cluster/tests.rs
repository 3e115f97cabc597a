//! The rule, by itself: thresholds, gaps under an adversary, liars.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_base::Mono;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const DWELL: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Mono {
    Mono(1 + seconds * 1_000_000)
}

fn census(members: usize, near: usize) -> Census {
    Census { members, near, network: 0 }
}

fn leaf(depth: u8, members: u16) -> Leaf {
    Leaf { depth, members }
}

/// A node at `depth` whose peers count `members` as it does.
fn settled(depth: u8, members: u16) -> Topology {
    let mut topology = Topology::new(Bounds::default(), at(0));
    for peer in 0..5 {
        topology.hear(peer, usize::from(depth) + 1, leaf(depth, members), at(0));
    }
    topology.decide(Census::default(), DWELL, at(0));
    assert_eq!(topology.depth(), Some(depth), "a newcomer starts where the others are");
    topology
}

fn decide_for(topology: &mut Topology, census: Census, seconds: u64) -> Option<Change> {
    (1..=seconds).find_map(|s| topology.decide(census, DWELL, at(s)))
}

#[test]
fn a_large_cluster_splits_after_the_dwell_time_and_a_lopsided_one_does_not() {
    let mut topology = settled(3, 65);
    assert_eq!(decide_for(&mut topology, census(65, 33), 30), None);
    assert_eq!(decide_for(&mut topology, census(65, 33), 31), Some(Change::Split));
    assert_eq!(topology.depth(), Some(4));
    let mut lopsided = settled(3, 65);
    assert_eq!(decide_for(&mut lopsided, census(65, 60), 300), None);
    let mut full = settled(3, 64);
    assert_eq!(decide_for(&mut full, census(64, 32), 300), None);
}

#[test]
fn two_small_clusters_merge_and_a_divided_sibling_forbids_it() {
    let small = census(15, 8);
    let with_sibling = |depth, members| {
        let mut topology = settled(3, 15);
        (10..13).for_each(|peer| topology.hear(peer, 2, leaf(depth, members), at(0)));
        topology
    };
    assert_eq!(decide_for(&mut with_sibling(3, 16), small, 40), Some(Change::Merge), "31 together");
    assert_eq!(decide_for(&mut with_sibling(3, 17), small, 300), None, "32 together");
    assert_eq!(decide_for(&mut with_sibling(4, 3), small, 300), None, "divided further");
    assert_eq!(
        decide_for(&mut with_sibling(2, 31), small, 40),
        Some(Change::Merge),
        "it went first"
    );
    assert_eq!(decide_for(&mut settled(3, 15), small, 300), None, "nobody there told anything");
}

#[test]
fn who_counts_otherwise_than_the_majority_changes_nothing() {
    let mut learning = settled(3, 65);
    assert_eq!(decide_for(&mut learning, census(20, 10), 300), None);
    let mut flooded = settled(3, 40);
    assert_eq!(decide_for(&mut flooded, census(90, 45), 300), None);
}

#[test]
fn a_minority_of_liars_moves_nobody_and_a_majority_is_followed_late() {
    let mut lied_to = settled(3, 40);
    for peer in 0..4 {
        lied_to.hear(100 + peer, 4, leaf(9, 1), at(0));
    }
    let forty = census(40, 20);
    assert_eq!(decide_for(&mut lied_to, forty, 500), None, "4 of 9");
    let mut left_behind = settled(3, 40);
    for peer in 0..7 {
        left_behind.hear(100 + peer, 4, leaf(4, 20), at(0));
    }
    assert_eq!(decide_for(&mut left_behind, forty, 59), None);
    assert_eq!(decide_for(&mut left_behind, forty, 120), Some(Change::Follow));
    assert_eq!(left_behind.depth(), Some(4));
}

#[test]
fn a_node_alone_stands_at_the_root_and_bounds_are_checked() {
    let mut alone = Topology::new(Bounds::default(), at(0));
    assert_eq!(decide_for(&mut alone, census(1, 1), 59), None);
    assert_eq!(decide_for(&mut alone, census(1, 1), 61), Some(Change::Follow));
    assert_eq!(alone.depth(), Some(0));
    let mut all_new = Topology::new(Bounds::default(), at(0));
    let crowd = Census { members: 1_000, near: 500, network: 1_000 };
    assert_eq!(decide_for(&mut all_new, crowd, 61), Some(Change::Follow));
    assert_eq!(all_new.depth(), Some(3), "1,000 / 64 is between 2^3 and 2^4");
    assert_eq!(all_new.decide(census(130, 65), DWELL, at(62)), Some(Change::Split), "far beyond");
    assert!(Bounds { split_above: 7 }.check().is_err());
    assert!(Bounds { split_above: 257 }.check().is_err());
}

/// A whole trie of regions, each with one observer that sees the truth: what the rule does to regions.
struct Trie {
    members: Vec<u64>,
    clusters: BTreeMap<(u8, u64), Topology>,
    events: BTreeMap<(u8, u64), u64>,
    last: BTreeMap<(u8, u64), u64>,
    gaps: Vec<u64>,
    now: u64,
}

fn label(id: u64, depth: u8) -> u64 {
    if depth == 0 { 0 } else { id >> (64 - depth) }
}

impl Trie {
    fn new(members: Vec<u64>) -> Self {
        let mut root = Topology::new(Bounds::default(), at(0));
        root.hear(1, 64, leaf(0, u16::try_from(members.len()).expect("few")), at(0));
        root.decide(Census::default(), Duration::ZERO, at(0));
        let clusters = BTreeMap::from([((0, 0), root)]);
        let (events, last, gaps) = (BTreeMap::new(), BTreeMap::new(), vec![]);
        Self { members, clusters, events, last, gaps, now: 1 }
    }

    fn count(&self, depth: u8, region: u64) -> usize {
        self.members.iter().filter(|id| label(**id, depth) == region).count()
    }

    fn toggle(&mut self, id: u64) {
        match self.members.iter().position(|m| *m == id) {
            Some(at) => drop(self.members.swap_remove(at)),
            None => self.members.push(id),
        }
        for depth in 0..=20 {
            *self.events.entry((depth, label(id, depth))).or_default() += 1;
        }
        while self.step() {}
    }

    /// Lets one cluster change, if one wants to.
    fn step(&mut self) -> bool {
        self.now += 1;
        let all: Vec<_> = self.clusters.keys().copied().collect();
        for (depth, region) in all {
            let members = self.count(depth, region);
            let near = self.count(depth + 1, region << 1);
            let told = leaf(depth, u16::try_from(members).expect("few"));
            let (sibling, now) = (region ^ 1, at(self.now));
            let beside = (depth > 0).then(|| match self.clusters.contains_key(&(depth, sibling)) {
                true => leaf(depth, u16::try_from(self.count(depth, sibling)).expect("few")),
                false => leaf(depth + 1, 0),
            });
            let topology = self.clusters.get_mut(&(depth, region)).expect("listed");
            topology.hear(1, 64, told, now);
            if let Some(beside) = beside {
                topology.hear(2, usize::from(depth) - 1, beside, now);
            }
            match topology.decide(Census { members, near, network: 0 }, Duration::ZERO, now) {
                Some(Change::Split) => self.split(depth, region),
                Some(Change::Merge) => self.merge(depth - 1, region >> 1),
                _ => continue,
            }
            return true;
        }
        false
    }

    fn split(&mut self, depth: u8, region: u64) {
        let parent = self.clusters.remove(&(depth, region)).expect("it split");
        for half in [region << 1, region << 1 | 1] {
            self.clusters.insert((depth + 1, half), parent.clone());
        }
        self.changed(depth, region);
    }

    fn merge(&mut self, depth: u8, region: u64) {
        let halves = [region << 1, region << 1 | 1].map(|h| self.clusters.remove(&(depth + 1, h)));
        let mut parent = halves.into_iter().flatten().next().expect("it merged");
        if parent.depth() != Some(depth) {
            parent = Topology::new(Bounds::default(), at(self.now));
            parent.hear(1, 64, leaf(depth, 1), at(self.now));
            parent.decide(Census::default(), Duration::ZERO, at(self.now));
        }
        self.clusters.insert((depth, region), parent);
        self.changed(depth, region);
    }

    fn changed(&mut self, depth: u8, region: u64) {
        let events = self.events.get(&(depth, region)).copied().unwrap_or(0);
        if let Some(last) = self.last.insert((depth, region), events) {
            self.gaps.push(events - last);
        }
    }
}

/// Invariant 1: join and leave, always in the region that is nearest to its next change.
#[test]
fn an_adversary_in_one_prefix_pays_for_each_change() {
    let mut trie = Trie::new(Vec::new());
    let ids: Vec<u64> = (0..200u64).map(|i| i.reverse_bits()).collect();
    for _ in 0..12 {
        ids[..65].iter().for_each(|id| {
            if !trie.members.contains(id) {
                trie.toggle(*id)
            }
        });
        ids[31..65].iter().rev().for_each(|id| {
            if trie.members.contains(id) {
                trie.toggle(*id)
            }
        });
    }
    assert!(trie.gaps.len() >= 20, "{} changes", trie.gaps.len());
    assert_eq!(trie.gaps.iter().min(), Some(&34), "S/2 + 2 for S = 64");
}

#[test]
fn random_churn_keeps_the_gap_and_the_trie_covers_every_id_once() {
    for seed in 0..4u64 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut trie = Trie::new(Vec::new());
        for step in 0..6_000 {
            let target = if step < 3_000 { 300 } else { 60 };
            let grow =
                chance.next_u32() % 1_000 < if trie.members.len() < target { 700 } else { 300 };
            let id = match (grow, trie.members.len()) {
                (false, n) if n > 0 => trie.members[chance.next_u32() as usize % n],
                _ => chance.next_u64(),
            };
            trie.toggle(id);
        }
        let covered: f64 = trie.clusters.keys().map(|(d, _)| 0.5f64.powi(i32::from(*d))).sum();
        assert!((covered - 1.0).abs() < 1e-9, "seed {seed}: leaves cover {covered} of the space");
        assert!(trie.gaps.iter().all(|g| *g >= 34), "seed {seed}: gaps {:?}", trie.gaps);
        let largest = trie.clusters.keys().map(|(d, r)| trie.count(*d, *r)).max();
        assert!(largest <= Some(64 + 16), "seed {seed}: a cluster of {largest:?}");
    }
}
