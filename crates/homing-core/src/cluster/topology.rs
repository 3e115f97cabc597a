//! One node's depth: when it grows, when it shrinks, when it follows the others.

use std::collections::VecDeque;
use std::time::Duration;

use homing_base::Mono;

/// Peers whose word is remembered.
const HEARD_MAX: usize = 15;
/// … and for how long.
const HEARD_FOR: Duration = Duration::from_secs(600);
/// Peers that must have spoken before a node takes its first depth from them, or follows them.
const QUORUM: usize = 3;
/// No trie over 256-bit IDs of a network of today is deeper: 2^40 clusters.
const DEPTH_MAX: u8 = 40;
/// A following takes this many dwell times: those who decide by themselves come first.
const PATIENCE: u32 = 2;

/// What a node tells about its cluster in each exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Leading ID bits that the members share.
    pub depth: u8,
    /// Members that it knows, itself included.
    pub members: u16,
}

/// Thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A cluster with more members splits: S.
    pub split_above: u16,
}

/// Thresholds that no cluster works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("clusters of {0} members: between {min} and {max} are possible", min = Bounds::MIN, max = Bounds::MAX)]
pub struct Unbounded(pub u16);

impl Default for Bounds {
    fn default() -> Self {
        Self { split_above: 64 }
    }
}

impl Bounds {
    /// The smallest S: its merge threshold is still above one node.
    pub const MIN: u16 = 8;
    /// The largest S: a listing of all members by prefix fits one message.
    pub const MAX: u16 = 256;

    /// Checks S.
    ///
    /// # Errors
    /// [`Unbounded`] outside [`Bounds::MIN`]..=[`Bounds::MAX`].
    pub fn check(self) -> Result<Self, Unbounded> {
        let possible = (Self::MIN..=Self::MAX).contains(&self.split_above);
        if possible { Ok(self) } else { Err(Unbounded(self.split_above)) }
    }

    /// Two clusters with fewer members together merge: S/2.
    #[must_use]
    pub fn merge_below(self) -> u16 {
        self.split_above / 2
    }

    /// Neither half of a split is smaller: S/4.
    #[must_use]
    pub fn half_min(self) -> u16 {
        self.split_above / 4
    }

    /// Members that are kept at most: beyond, somebody floods the region.
    #[must_use]
    pub fn kept_max(self) -> usize {
        4 * usize::from(self.split_above)
    }
}

/// What a node counts, itself included where it belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Members of its cluster.
    pub members: usize,
    /// Of these, those on its own side of the next bit.
    pub near: usize,
    /// Nodes in the network, as estimated; 0: not known.
    pub network: usize,
}

/// A change of depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One bit deeper.
    Split,
    /// One bit less deep.
    Merge,
    /// To where the others are.
    Follow,
}

/// Changes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Splits decided by this node's own count.
    pub splits: u64,
    /// Merges decided by its own count.
    pub merges: u64,
    /// Depths taken over from others, the first one not counted.
    pub follows: u64,
}

/// Where a peer lives, seen from this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Sibling,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    peer: u64,
    common_bits: usize,
    leaf: Leaf,
    at: Mono,
}

/// The depth of one node.
#[derive(Clone, Debug)]
pub struct Topology {
    bounds: Bounds,
    depth: Option<u8>,
    due: Option<(Change, u8, Mono)>,
    heard: VecDeque<Heard>,
    began: Mono,
    changes: Changes,
}

impl Topology {
    /// A node that has not heard from anybody.
    #[must_use]
    pub fn new(bounds: Bounds, now: Mono) -> Self {
        let changes = Changes::default();
        Self { bounds, depth: None, due: None, heard: VecDeque::new(), began: now, changes }
    }

    /// The depth, once there is one.
    #[must_use]
    pub fn depth(&self) -> Option<u8> {
        self.depth
    }

    /// The thresholds.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Changes since the start.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes
    }

    /// A peer that answered us directly tells about its cluster. `peer`: its ID's first 64 bits;
    /// `common_bits`: those it shares with ours.
    pub fn hear(&mut self, peer: u64, common_bits: usize, leaf: Leaf, now: Mono) {
        self.heard.retain(|h| h.peer != peer && now.since(h.at) < HEARD_FOR);
        if self.heard.len() == 2 * HEARD_MAX {
            self.heard.pop_front();
        }
        self.heard.push_back(Heard { peer, common_bits, leaf, at: now });
    }

    /// What peers of one side told last, newest first. A node without a depth is on the side of those whose
    /// cluster it belongs to.
    fn told(&self, side: Side, now: Mono) -> impl Iterator<Item = Leaf> {
        let depth = usize::from(self.depth.unwrap_or(0));
        let settled = self.depth.is_some();
        let of_side = move |h: &&Heard| match side {
            Side::Ours if settled => h.common_bits >= depth,
            Side::Ours => h.common_bits >= usize::from(h.leaf.depth),
            Side::Sibling => depth > 0 && h.common_bits == depth - 1,
        };
        let fresh = move |h: &&Heard| now.since(h.at) < HEARD_FOR;
        self.heard.iter().rev().filter(of_side).filter(fresh).take(HEARD_MAX).map(|h| h.leaf)
    }

    /// Moves on, given what is counted at the present depth. A change must hold for `dwell` first.
    pub fn decide(&mut self, census: Census, dwell: Duration, now: Mono) -> Option<Change> {
        let Some(depth) = self.depth else {
            self.depth = self.first_depth(census.network, dwell, now);
            return self.depth.map(|_| Change::Follow);
        };
        let Some((change, to, patience)) = self.wanted(depth, census, now) else {
            self.due = None;
            return None;
        };
        let since = match self.due {
            Some((same, there, since)) if (same, there) == (change, to) => since,
            _ => now,
        };
        self.due = Some((change, to, since));
        if now.since(since) < dwell * patience {
            return None;
        }
        self.change(change, to);
        Some(change)
    }

    fn change(&mut self, change: Change, to: u8) {
        (self.depth, self.due) = (Some(to), None);
        match change {
            Change::Split => self.changes.splits += 1,
            Change::Merge => self.changes.merges += 1,
            Change::Follow => self.changes.follows += 1,
        }
    }

    /// A newcomer starts where its neighbours are. In a network that is all new, at the depth at which a
    /// cluster of the mean size would not split; alone, at the root.
    fn first_depth(&self, network: usize, dwell: Duration, now: Mono) -> Option<u8> {
        let mut told: Vec<_> = self.told(Side::Ours, now).map(|l| l.depth.min(DEPTH_MAX)).collect();
        told.sort_unstable();
        let waited = now.since(self.began) >= dwell * PATIENCE;
        match told.len() {
            0 => waited.then(|| self.depth_for(network)),
            n if n >= QUORUM || waited => Some(told[n / 2]),
            _ => None,
        }
    }

    fn depth_for(&self, network: usize) -> u8 {
        let clusters = network / usize::from(self.bounds.split_above);
        clusters.checked_ilog2().map_or(0, |bits| bits.min(u32::from(DEPTH_MAX)) as u8)
    }

    fn wanted(&self, depth: u8, census: Census, now: Mono) -> Option<(Change, u8, u32)> {
        if let Some(elsewhere) = self.elsewhere(depth, now) {
            return Some((Change::Follow, elsewhere, PATIENCE));
        }
        let (fewer, more) = self.counts(depth, census.members, now);
        let half = usize::from(self.bounds.half_min());
        let far = census.members - census.near.min(census.members);
        if fewer > usize::from(self.bounds.split_above)
            && census.near >= half
            && far >= half
            && depth < DEPTH_MAX
        {
            // Twice the bound needs no second look.
            let patience = u32::from(fewer < 2 * usize::from(self.bounds.split_above));
            return Some((Change::Split, depth + 1, patience));
        }
        let sibling = self.sibling(depth, more, now)?;
        let small = more + sibling < usize::from(self.bounds.merge_below());
        small.then(|| (Change::Merge, depth - 1, 1))
    }

    /// Another depth at which most of our side stand.
    fn elsewhere(&self, depth: u8, now: Mono) -> Option<u8> {
        let mut told: Vec<_> = self.told(Side::Ours, now).map(|l| l.depth).collect();
        told.sort_unstable();
        let there = *told.get(told.len() / 2).filter(|d| **d != depth)?;
        let with = told.iter().filter(|d| **d == there).count();
        (told.len() >= QUORUM && 2 * with > told.len()).then_some(there.min(DEPTH_MAX))
    }

    /// Our count and the median of what the others of our depth count, the smaller first. Nobody splits
    /// unless both are large, nor merges unless both are small: so somebody who is still learning who is
    /// here does neither, and no liar makes us.
    fn counts(&self, depth: u8, members: usize, now: Mono) -> (usize, usize) {
        let ours = self.told(Side::Ours, now).filter(|l| l.depth == depth);
        let mut told: Vec<_> = ours.map(|l| usize::from(l.members)).collect();
        told.sort_unstable();
        let median = told.get(told.len() / 2).copied().unwrap_or(members);
        (members.min(median), members.max(median))
    }

    /// Members of the sibling region as told by it; `None`: nobody told, or it is divided further.
    fn sibling(&self, depth: u8, members: usize, now: Mono) -> Option<usize> {
        let count = |leaf: Leaf| match leaf.depth {
            d if d == depth => Some(usize::from(leaf.members)),
            // It stands at the parent already and counts both sides.
            d if d < depth => Some(usize::from(leaf.members).saturating_sub(members)),
            _ => None,
        };
        let mut told: Vec<_> = self.told(Side::Sibling, now).map(count).collect();
        if depth == 0 || told.is_empty() {
            return None;
        }
        told.sort_unstable();
        told[told.len() / 2]
    }
}
