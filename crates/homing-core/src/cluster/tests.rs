//! The rule, by itself: thresholds, gaps under an adversary, liars.

use std::time::Duration;

use homing_base::Mono;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::trie::{DEPTH_MAX, Region, Trie};
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

/// Invariant 1: join and leave, always in the region that is nearest to its next change.
#[test]
fn an_adversary_in_one_prefix_pays_for_each_change() {
    let mut trie = Trie::new();
    let ids: Vec<u64> = (0..200u64).map(|i| i.reverse_bits()).collect();
    for _ in 0..12 {
        ids[..65].iter().for_each(|id| {
            if !trie.contains(*id) {
                trie.toggle(*id)
            }
        });
        ids[31..65].iter().rev().for_each(|id| {
            if trie.contains(*id) {
                trie.toggle(*id)
            }
        });
    }
    assert!(trie.gaps.len() >= 20, "{} changes", trie.gaps.len());
    assert_eq!(trie.gaps.iter().min(), Some(&34), "S/2 + 2 for S = 64");
}

/// Sees everything, owns every key, and wants changes: each event goes to where a change is nearest.
struct Adversary {
    chance: ChaCha8Rng,
    /// Nodes that it can afford.
    most: usize,
    /// One event in so many goes anywhere.
    whim: u32,
}

impl Adversary {
    /// The nearest change: how many events away, where, and whether by joining (into which half) or leaving.
    fn nearest(&self, trie: &Trie) -> Option<(usize, Region, bool)> {
        let bounds = Bounds::default();
        let half_min = usize::from(bounds.half_min());
        let afford = self.most.saturating_sub(trie.members.len());
        let splits = trie.clusters.keys().filter(|r| r.0 + 1 < DEPTH_MAX).map(|r| {
            let halves = Trie::halves(*r).map(|h| trie.count(h));
            let lacking = halves.iter().map(|n| half_min.saturating_sub(*n)).sum::<usize>();
            let more = (usize::from(bounds.split_above) + 1).saturating_sub(trie.count(*r));
            let poorer = Trie::halves(*r)[usize::from(halves[1] < halves[0])];
            (more.max(lacking), poorer, true)
        });
        let pair = |r: &&Region| r.1 & 1 == 0 && trie.clusters.contains_key(&(r.0, r.1 ^ 1));
        let merges = trie.clusters.keys().filter(|r| r.0 > 0).filter(pair).map(|r| {
            let parent = (r.0 - 1, r.1 >> 1);
            let fewer = (trie.count(parent) + 1).saturating_sub(usize::from(bounds.merge_below()));
            (fewer, parent, false)
        });
        splits.filter(|(joins, ..)| *joins <= afford).chain(merges).min()
    }

    fn random_in(&mut self, (depth, bits): Region) -> u64 {
        let random = self.chance.next_u64();
        if depth == 0 { random } else { bits << (64 - depth) | random >> depth }
    }

    fn act(&mut self, trie: &mut Trie) {
        let whim = self.chance.next_u32().is_multiple_of(self.whim);
        let id = match self.nearest(trie).filter(|_| !whim) {
            Some((_, region, true)) => self.random_in(region),
            Some((_, (depth, bits), false)) => {
                let within = |id: &&u64| depth == 0 || **id >> (64 - depth) == bits;
                *trie.members.iter().find(within).expect("a pair of clusters is not empty")
            }
            None => self.chance.next_u64(),
        };
        trie.toggle(id);
    }
}

/// Invariant 1 once more, against an adversary that sees the topology, chooses each join and leave, and grinds
/// keys to any prefix; with room for one region, for some, for many.
#[test]
fn an_adversary_that_sees_all_never_gets_two_changes_of_a_region_closer_than_half_of_s() {
    for (most, whim) in [(66, u32::MAX), (100, 50), (300, 20), (1_000, 100)] {
        for seed in 0..2 {
            let mut adversary = Adversary { chance: ChaCha8Rng::seed_from_u64(seed), most, whim };
            let mut trie = Trie::new();
            for _ in 0..8_000 {
                adversary.act(&mut trie);
            }
            let context = format!("seed {seed}, {most} nodes, a whim in {whim}");
            assert!(trie.gaps.len() >= 20, "{context}: only {} pairs", trie.gaps.len());
            let least = trie.gaps.iter().min().copied();
            assert!(least >= Some(34), "{context}: two changes {least:?} events apart");
            // Not a theorem, a measurement: over all regions together it does not get below a quarter of S.
            let mean = trie.joins_and_leaves / trie.changes;
            assert!(mean >= 16, "{context}: a change per {mean} events");
        }
    }
}

/// Somebody leaves, somebody with a random key joins: a standard DHT changes with each of these events.
#[test]
fn balanced_churn_of_ten_thousand_changes_a_region_every_thousands_of_events() {
    // 12,288 lies farthest from a power of two times S/2: the worst phase.
    for (nodes, least) in [(10_000, 2_500), (12_288, 1_000)] {
        for seed in 0..2 {
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            let mut trie = Trie::new();
            (0..nodes).for_each(|_| trie.toggle(chance.next_u64()));
            (trie.changes, trie.joins_and_leaves) = (0, 0);
            for _ in 0..100_000 {
                trie.toggle(trie.members[chance.next_u32() as usize % nodes]);
                trie.toggle(chance.next_u64());
            }
            let per_change = trie.joins_and_leaves / trie.changes.max(1);
            assert!(per_change >= least, "seed {seed}, {nodes} nodes: {per_change}");
            assert!(trie.gaps.iter().all(|g| *g >= 34), "seed {seed}: gaps {:?}", trie.gaps);
        }
    }
}

#[test]
fn random_churn_keeps_the_gap_and_the_trie_covers_every_id_once() {
    for seed in 0..4u64 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut trie = Trie::new();
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
        let largest = trie.clusters.keys().map(|r| trie.count(*r)).max();
        assert!(largest <= Some(64 + 16), "seed {seed}: a cluster of {largest:?}");
    }
}
