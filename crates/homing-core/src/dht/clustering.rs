//! The DHT in cluster mode: what [`crate::cluster`] decides, applied to table, exchange and replicas.
//!
//! With each leafset exchange a node tells its depth and its member count, hears the partner's, and lets the
//! topology decide. Every fourth exchange goes to the sibling region, whose count a merge needs. A changed
//! depth changes how far the leafset reaches; nothing else happens, no record moves.

use std::time::Duration;

use homing_base::{Mono, Now};

use super::Dht;
use super::config::Mode;
use super::contact::{Contact, Distance, Place, id_prefix};
use super::table::Entry;
use super::value::{Slot, Value};
use crate::cluster::{Census, Changes, Leaf, Topology};

/// A change of depth must hold for so many exchanges.
const DWELL_EXCHANGES: u32 = 3;
/// One exchange in so many goes to the sibling region.
const SIBLING_TURN: u64 = 4;
/// A newcomer is a spare for this share of a mean session …
const SETTLE_SHARE: f64 = 0.05;
/// … within these bounds.
const SETTLE_MIN: Duration = Duration::from_secs(20);
const SETTLE_MAX: Duration = Duration::from_secs(600);

/// How long a newcomer is a spare, and when spares were last looked through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roles {
    settling: Duration,
    looked: Mono,
}

impl Roles {
    pub(super) fn new(now: Mono) -> Self {
        Self { settling: SETTLE_MAX, looked: now }
    }
}

impl<P: Place, V: Value> Dht<P, V> {
    /// Works as a member of clusters, or as plain Kademlia, from now on. Nothing that is held or under way is
    /// lost: both keep the same replica sets.
    pub fn set_mode(&mut self, mode: Mode, now: Now) {
        self.topology = match mode {
            Mode::Kademlia => None,
            Mode::Cluster(bounds) => Some(Box::new(Topology::new(bounds, now.mono))),
        };
        self.config.mode = mode;
        self.table.set_leaf(None);
    }

    /// In force.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.config.mode
    }

    /// Members of our cluster, once they are more than k: from then on they share the upkeep, since each is
    /// watched by all others.
    pub(super) fn sharing_members(&self) -> Option<usize> {
        let members = self.table.members().len();
        (members > self.config.k).then_some(members)
    }

    /// Our cluster, as far as we know it; `None` in plain Kademlia and before the first depth.
    #[must_use]
    pub fn leaf(&self) -> Option<Leaf> {
        let depth = self.topology.as_ref()?.depth()?;
        let members = u16::try_from(self.table.members().len() + 1).unwrap_or(u16::MAX);
        Some(Leaf { depth, members })
    }

    /// Changes of depth since cluster mode began.
    #[must_use]
    pub fn cluster_changes(&self) -> Changes {
        self.topology.as_ref().map_or(Changes::default(), |t| t.changes())
    }

    /// A peer that answered, or asks and is known, tells about its cluster.
    pub(super) fn hear_leaf(&mut self, from: &Contact<P>, leaf: Option<Leaf>, now: Now) {
        let common = Distance::between(&self.me.id, &from.id).common_bits();
        if let (Some(topology), Some(leaf)) = (&mut self.topology, leaf) {
            topology.hear(id_prefix(&from.id), common, leaf, now.mono);
        }
    }

    /// At each exchange: does the depth change? And whoever has settled meanwhile gets its records.
    pub(super) fn tend_cluster(&mut self, now: Now) {
        let dwell = self.intervals().exchange * DWELL_EXCHANGES;
        let Some(topology) = &mut self.topology else { return };
        let depth = topology.depth().unwrap_or(0);
        let census = Census {
            members: self.table.sharing(depth) + 1,
            near: self.table.sharing(depth + 1) + 1,
            network: self.estimates.size().map_or(0, |size| size as usize),
        };
        if topology.decide(census, dwell, now.mono).is_some() {
            let kept = topology.bounds().kept_max();
            self.table.set_leaf(topology.depth().map(|depth| (depth, kept)));
        }
        self.promote(now);
    }

    /// Whom every fourth exchange goes to: somebody of the sibling region.
    pub(super) fn sibling_partner(&mut self) -> Option<Contact<P>> {
        let depth = self.leaf()?.depth.checked_sub(1)?;
        if !self.stats.exchanges.is_multiple_of(SIBLING_TURN) {
            return None;
        }
        let sound = |at: &usize| self.table.entries()[*at].failures == 0;
        let beyond: Vec<_> = self.table.bucket(usize::from(depth)).filter(sound).collect();
        let at = self.below(beyond.len().max(1));
        beyond.get(at).map(|at| self.table.entries()[*at].contact.clone())
    }

    /// How far a leafset reaches whose owner lives in `leaf`, in the first 64 bits of distance.
    pub(super) fn reach_of(leaf: Option<Leaf>) -> u64 {
        leaf.map_or(0, |l| u64::MAX.checked_shr(u32::from(l.depth)).unwrap_or(0))
    }

    // ---- roles

    /// Whether an entry belongs to the core: it has stayed for a while, or was there before us. Without
    /// clusters everybody does.
    pub(super) fn is_core(&self, entry: &Entry<P>, now: Mono) -> bool {
        let Some(leaf) = self.leaf() else { return true };
        let settling = self.roles.settling;
        let is_member = self.table.bucket_of(&entry.contact.id) >= usize::from(leaf.depth);
        let before_us = entry.since < self.started.after(settling);
        !is_member || before_us || now.since(entry.since) >= settling
    }

    /// Spares that have stayed long enough since the last exchange are handed what they should hold.
    fn promote(&mut self, now: Now) {
        let members = self.table.members();
        let last = std::mem::replace(&mut self.roles.looked, now.mono);
        let settling = self.estimates.session().mul_f64(SETTLE_SHARE);
        self.roles.settling = settling.clamp(SETTLE_MIN, SETTLE_MAX);
        let was_core = |e: &Entry<P>| self.is_core(e, last);
        let promoted = |e: &&Entry<P>| !was_core(e) && self.is_core(e, now.mono) && e.failures == 0;
        let entries = self.table.entries()[members].iter();
        let promoted: Vec<_> = entries.filter(promoted).map(|e| e.contact.clone()).collect();
        for contact in promoted {
            let digests = self.offers_for(&contact, true, now.mono);
            self.offer(&contact, digests, now);
        }
    }

    /// How many core members are closer to `slot` than `contact`, counted up to k.
    pub(super) fn core_closer(&self, slot: &Slot, contact: &Contact<P>, now: Mono) -> usize {
        let k = self.config.k;
        self.table.count_closer_of(&slot.key, &contact.id, k, |e| self.is_core(e, now))
    }
}
