//! What clusters do: which regions of the ID space are divided, and how often that changes.
//!
//! A *region* is a prefix. It is divided once two thirds of its nodes stand deeper than at it, whole once two
//! thirds stand at it; a change is a region that becomes divided or whole. Nodes follow their own clocks, so
//! counting decides here, and only here: no node asks it.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use homing_core::dht::contact::id_prefix;
use serde::Serialize;

use super::run::Play;
use super::value::Mint;

/// Deeper regions are not looked at: at most 2^20 clusters.
const DEPTH_MAX: u8 = 20;
/// Nodes whose view of their cluster is compared with the truth.
const VIEWS_MAX: usize = 500;

/// Clusters under churn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Clusters {
    /// Clusters at the end.
    pub clusters: usize,
    /// Members of the smallest, of the mean and of the largest cluster.
    pub members: (usize, f64, usize),
    /// Share of nodes that stand where the majority of their region stands.
    pub agreement: f64,
    /// How much of their cluster nodes know, and nothing else: the mean of |A∩B| / |A∪B|.
    pub likeness: f64,
    /// Joins and leaves.
    pub events: u64,
    /// Regions that became divided or whole.
    pub changes: u64,
    /// Joins and leaves per change; of all events if nothing changed.
    pub events_per_change: f64,
    /// Fewest joins and leaves inside a region between two changes of it; absent without such a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_min: Option<u64>,
    /// Changes of depth over all living nodes: by own count, and following others.
    pub steps: (u64, u64),
}

impl Display for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, mean, max) = self.members;
        let (own, followed) = self.steps;
        write!(
            f,
            "{} of {min}/{mean:.1}/{max} members, agreement {:.3}, likeness {:.3}, {} changes in {} events = \
             1 in {:.0}, gap {}, {own} own steps, {followed} followed",
            self.clusters,
            self.agreement,
            self.likeness,
            self.changes,
            self.events,
            self.events_per_change,
            self.gap_min.map_or("-".to_owned(), |gap| gap.to_string())
        )
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Region {
    divided: bool,
    events: u64,
    changed: bool,
}

/// All regions seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regions {
    regions: BTreeMap<(u8, u64), Region>,
    events: u64,
    changes: u64,
    gap_min: Option<u64>,
}

fn label(prefix: u64, depth: u8) -> u64 {
    prefix.checked_shr(64 - u32::from(depth)).unwrap_or(0)
}

impl Regions {
    /// `lives`: who was born or died since the last time; `depths`: where everybody stands.
    pub(crate) fn observe(&mut self, lives: &[u64], depths: &[(u64, u8)]) {
        self.events += lives.len() as u64;
        for (prefix, depth) in lives.iter().flat_map(|p| (0..=DEPTH_MAX).map(move |d| (*p, d))) {
            if let Some(region) = self.regions.get_mut(&(depth, label(prefix, depth))) {
                region.events += 1;
            }
        }
        for (at, divided) in stands(depths) {
            self.note(at, divided);
        }
    }

    /// Regions that became divided or whole so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    fn note(&mut self, at: (u8, u64), divided: bool) {
        let fresh = Region { divided, ..Region::default() };
        let region = self.regions.entry(at).or_insert(fresh);
        if region.divided == divided {
            return;
        }
        self.changes += 1;
        if region.changed {
            self.gap_min = Some(self.gap_min.map_or(region.events, |g| g.min(region.events)));
        }
        *region = Region { divided, events: 0, changed: true };
    }
}

/// Which regions are divided or whole, where two thirds agree; those within a whole region have no say.
fn stands(depths: &[(u64, u8)]) -> BTreeMap<(u8, u64), bool> {
    let mut votes: BTreeMap<(u8, u64), (u32, u32)> = BTreeMap::new();
    for (prefix, depth) in depths {
        for d in 0..=(*depth).min(DEPTH_MAX) {
            let vote = votes.entry((d, label(*prefix, d))).or_default();
            if d < *depth { vote.0 += 1 } else { vote.1 += 1 }
        }
    }
    let clear = |(at, (deeper, here)): ((u8, u64), (u32, u32))| match (deeper, here) {
        (d, h) if d >= 2 * h => Some((at, true)),
        (d, h) if h >= 2 * d => Some((at, false)),
        _ => None,
    };
    votes.into_iter().filter_map(clear).collect()
}

impl<V: Mint> Play<'_, V> {
    /// Looks where everybody stands now.
    pub(super) fn watch_clusters(&mut self) {
        if self.scenario.cluster > 0 && self.scenario.migrations == 0 {
            let depths = self.depths();
            let lives = std::mem::take(&mut self.world.lives);
            self.regions.observe(&lives, &depths);
        }
    }

    fn depths(&self) -> Vec<(u64, u8)> {
        let depth = |h: &u32| {
            let node = &self.world.nodes[*h as usize];
            Some((id_prefix(&node.contact.id), node.dht.as_ref()?.leaf()?.depth))
        };
        self.world.alive.handles().iter().filter_map(depth).collect()
    }

    /// Counting begins anew.
    pub(super) fn reset_clusters(&mut self) {
        self.watch_clusters();
        self.regions = Regions::default();
        self.watch_clusters();
    }

    pub(super) fn clusters(&self) -> Option<Clusters> {
        if self.scenario.cluster == 0 || self.scenario.migrations > 0 {
            return None;
        }
        let depths = self.depths();
        let stands = stands(&depths);
        let whole = |prefix: u64| {
            (0..=DEPTH_MAX).find(|d| stands.get(&(*d, label(prefix, *d))) == Some(&false))
        };
        let mut sizes: BTreeMap<(u8, u64), usize> = BTreeMap::new();
        let mut agreeing = 0;
        for (prefix, depth) in &depths {
            let Some(at) = whole(*prefix) else { continue };
            *sizes.entry((at, label(*prefix, at))).or_default() += 1;
            agreeing += usize::from(at == *depth);
        }
        let regions = &self.regions;
        let mean = depths.len() as f64 / sizes.len().max(1) as f64;
        let smallest = sizes.values().min().copied().unwrap_or(0);
        let largest = sizes.values().max().copied().unwrap_or(0);
        Some(Clusters {
            clusters: sizes.len(),
            members: (smallest, mean, largest),
            agreement: agreeing as f64 / depths.len().max(1) as f64,
            likeness: self.likeness(),
            events: regions.events,
            changes: regions.changes,
            events_per_change: regions.events as f64 / regions.changes.max(1) as f64,
            gap_min: regions.gap_min,
            steps: self.steps(),
        })
    }

    fn steps(&self) -> (u64, u64) {
        let living = self.world.nodes.iter().filter_map(|n| n.dht.as_ref());
        living
            .map(|d| d.cluster_changes())
            .fold((0, 0), |(own, followed), c| (own + c.splits + c.merges, followed + c.follows))
    }

    /// Compares what some nodes know of their clusters with who lives there.
    fn likeness(&self) -> f64 {
        let all = self.world.alive.handles();
        let step = all.len().div_ceil(VIEWS_MAX).max(1);
        let likeness = |h: &u32| {
            let node = &self.world.nodes[*h as usize];
            let dht = node.dht.as_ref()?;
            let depth = dht.leaf()?.depth;
            let ours = label(id_prefix(&node.contact.id), depth);
            let is_member = |o: &&u32| {
                let other = &self.world.nodes[**o as usize].contact;
                label(id_prefix(&other.id), depth) == ours && *o != h
            };
            let known: Vec<_> = dht.table().entries()[dht.table().members()].iter().collect();
            let living: Vec<_> = all.iter().filter(is_member).collect();
            let both = known.iter().filter(|e| living.contains(&&e.contact.place.handle)).count();
            let either = known.len() + living.len() - both;
            Some(if either == 0 { 1.0 } else { both as f64 / either as f64 })
        };
        let views: Vec<f64> = all.iter().step_by(step).filter_map(likeness).collect();
        views.iter().sum::<f64>() / views.len().max(1) as f64
    }
}
