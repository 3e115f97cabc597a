//! Values held for others, within bounds.
//!
//! A copy lives until its origin's signed expiry, or shorter when it is only cached on a path. Highest
//! precedence wins, per slot and signer. When full, the most distant bucket's oldest copy goes
//! first; what would itself be the first to go is refused. Nothing is kept unverified: only a
//! [`Value`] can be put.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use homing_base::{Mono, NodeId, Now, Wall};

use super::contact::{Distance, id_prefix};
use super::limits::{
    STORERS_MAX, VALUE_BYTES_MAX, VALUE_BYTES_PER_PEER_MAX, VALUES_MAX, VALUES_PER_PEER_MAX,
};
use super::message::Verdict;
use super::value::{Kind, Slot, Value};

/// One copy.
#[derive(Clone, Debug)]
pub struct Held<V> {
    /// What.
    pub value: V,
    /// When it goes: the origin's expiry or sooner.
    pub until: Wall,
    /// When somebody last stored or offered it.
    pub refreshed: Mono,
    by: NodeId,
    stored: Mono,
    bytes: u32,
}

impl<V: Value> Held<V> {
    fn is_over(&self, now: Now) -> bool {
        self.until <= now.wall || !self.value.is_current(now)
    }
}

/// Bounds, so that tests and small machines can choose lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Records in all.
    pub records: usize,
    /// Bytes in all.
    pub bytes: usize,
    /// Records that one storing peer may occupy.
    pub peer_records: usize,
    /// Bytes that one storing peer may occupy.
    pub peer_bytes: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            records: VALUES_MAX,
            bytes: VALUE_BYTES_MAX,
            peer_records: VALUES_PER_PEER_MAX,
            peer_bytes: VALUE_BYTES_PER_PEER_MAX,
        }
    }
}

/// Shed order: fewest common bits with us first, then oldest.
type Rank = (usize, Mono, Slot, NodeId);

/// All copies of one node.
#[derive(Clone, Debug)]
pub struct Values<V> {
    me: NodeId,
    quota: Quota,
    slots: BTreeMap<Slot, Vec<Held<V>>>,
    order: BTreeSet<Rank>,
    usage: BTreeMap<NodeId, (usize, usize)>,
    bytes: usize,
}

impl<V: Value> Values<V> {
    /// Empty.
    #[must_use]
    pub fn new(me: NodeId, quota: Quota) -> Self {
        let (slots, order, usage) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { me, quota, slots, order, usage, bytes: 0 }
    }

    /// Copies held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Peers whose stores are accounted for: at most one per copy.
    #[must_use]
    pub fn storers(&self) -> usize {
        self.usage.len()
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What answers `slot` now; an address matches agent slots by prefix.
    pub fn find(&self, slot: &Slot, now: Now) -> impl Iterator<Item = &V> {
        let (from, to) = match slot.kind {
            Kind::Address => {
                let mut last = slot.key;
                last.0[15..].fill(0xff);
                (Slot::agent(slot.key), Slot::agent(last))
            }
            _ => (*slot, *slot),
        };
        let held = self.slots.range(from..=to).flat_map(|(_, held)| held);
        held.filter(move |h| !h.is_over(now)).map(|h| &h.value)
    }

    /// All copies with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (&Slot, &Held<V>)> {
        self.slots.iter().flat_map(|(slot, held)| held.iter().map(move |h| (slot, h)))
    }

    /// Keeps `value` until `until` at most (its own expiry bounds it anyway).
    pub fn put(&mut self, slot: Slot, value: V, by: NodeId, until: Wall, now: Now) -> Verdict {
        if slot.kind == Kind::Address || !value.fits(&slot) || !value.is_current(now) {
            return Verdict::Refused;
        }
        if let Some(verdict) = self.compare(&slot, &value, until, now) {
            return verdict;
        }
        let bytes = V::wire_len(&value.wire());
        if !self.has_room(&slot, &by, bytes) {
            return Verdict::Full;
        }
        let (signer, by) = (value.signer(), self.account(by));
        if !self.has_place_in_slot(&slot, &signer, now) {
            return Verdict::Full;
        }
        self.remove(&slot, &signer);
        let until = until.min(value.expires());
        self.order.insert((self.common_bits(&slot), now.mono, slot, signer));
        self.charge(by, bytes, true);
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        let held = Held { value, until, refreshed: now.mono, by, stored: now.mono, bytes: size };
        self.slots.entry(slot).or_default().push(held);
        self.shed();
        Verdict::Kept
    }

    /// The verdict if a copy of the same signer is here already and not older. One that has expired but
    /// was not swept yet pins nothing.
    fn compare(&mut self, slot: &Slot, value: &V, until: Wall, now: Now) -> Option<Verdict> {
        let signer = value.signer();
        let held = self.slots.get_mut(slot)?.iter_mut().find(|h| h.value.signer() == signer)?;
        if !held.value.is_current(now) {
            return None;
        }
        match value.precedence(&held.value) {
            Ordering::Less => Some(Verdict::Stale),
            Ordering::Equal => {
                held.refreshed = now.mono;
                held.until = held.until.max(until).min(held.value.expires());
                Some(Verdict::Same)
            }
            Ordering::Greater => None,
        }
    }

    /// Room means: within the peer's account, and not itself the first to be shed.
    fn has_room(&self, slot: &Slot, by: &NodeId, bytes: usize) -> bool {
        let (records, used) = self.usage.get(&self.account(*by)).copied().unwrap_or_default();
        if records >= self.quota.peer_records || used + bytes > self.quota.peer_bytes {
            return false;
        }
        let full = self.len() >= self.quota.records || self.bytes + bytes > self.quota.bytes;
        let first = self.order.first().map_or(0, |(bits, ..)| *bits);
        !full || self.common_bits(slot) > first
    }

    /// First come, first kept: a full slot takes a newer version of what it has, and a newcomer only
    /// in the place of a copy that is over. So nobody is pushed out, however many claim the same.
    fn has_place_in_slot(&mut self, slot: &Slot, signer: &NodeId, now: Now) -> bool {
        let Some(held) = self.slots.get(slot).filter(|h| h.len() >= slot.capacity()) else {
            return true;
        };
        if held.iter().any(|h| h.value.signer() == *signer) {
            return true;
        }
        let over = held.iter().find(|h| h.is_over(now)).map(|h| h.value.signer());
        if let Some(over) = over {
            self.remove(slot, &over);
        }
        over.is_some()
    }

    fn shed(&mut self) {
        while self.len() > self.quota.records || self.bytes > self.quota.bytes {
            let Some((_, _, slot, signer)) = self.order.first().copied() else { return };
            self.remove(&slot, &signer);
        }
    }

    fn remove(&mut self, slot: &Slot, signer: &NodeId) {
        let Some(held) = self.slots.get_mut(slot) else { return };
        let Some(at) = held.iter().position(|h| h.value.signer() == *signer) else { return };
        let gone = held.remove(at);
        if held.is_empty() {
            self.slots.remove(slot);
        }
        self.order.remove(&(self.common_bits(slot), gone.stored, *slot, *signer));
        self.charge(gone.by, gone.bytes as usize, false);
    }

    fn charge(&mut self, by: NodeId, bytes: usize, add: bool) {
        let usage = self.usage.entry(by).or_default();
        if add {
            *usage = (usage.0 + 1, usage.1 + bytes);
            self.bytes += bytes;
            return;
        }
        *usage = (usage.0.saturating_sub(1), usage.1.saturating_sub(bytes));
        if usage.0 == 0 {
            self.usage.remove(&by);
        }
        self.bytes -= bytes;
    }

    /// Peers beyond [`STORERS_MAX`] share the account of the zero ID.
    fn account(&self, by: NodeId) -> NodeId {
        let known = self.usage.contains_key(&by) || self.usage.len() < STORERS_MAX;
        if known { by } else { NodeId([0; 32]) }
    }

    fn common_bits(&self, slot: &Slot) -> usize {
        Distance::between(&self.me, &slot.key).common_bits()
    }

    /// Drops what is over. Returns how many.
    pub fn sweep(&mut self, now: Now) -> usize {
        let gone: Vec<_> = self
            .iter()
            .filter(|(_, h)| h.is_over(now))
            .map(|(s, h)| (*s, h.value.signer()))
            .collect();
        for (slot, signer) in &gone {
            self.remove(slot, signer);
        }
        gone.len()
    }

    /// Of these digests, those that no copy here has; the others count as refreshed.
    pub fn missing(&mut self, digests: &[u64], now: Mono) -> Vec<u64> {
        let mut here = BTreeSet::new();
        for (slot, held) in &mut self.slots {
            for h in held {
                let digest = digest(slot, &h.value);
                if digests.contains(&digest) {
                    h.refreshed = now;
                    here.insert(digest);
                }
            }
        }
        digests.iter().filter(|d| !here.contains(d)).copied().collect()
    }

    /// The copy with this digest.
    #[must_use]
    pub fn by_digest(&self, wanted: u64) -> Option<(Slot, &V)> {
        self.iter().find(|(s, h)| digest(s, &h.value) == wanted).map(|(s, h)| (*s, &h.value))
    }
}

/// Eight bytes that name one version of one value in one slot. A collision only delays a copy.
#[must_use]
pub fn digest<V: Value>(slot: &Slot, value: &V) -> u64 {
    let parts =
        [slot.kind as u64, id_prefix(&slot.key), id_prefix(&value.signer()), value.sequence().0];
    parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        let mixed = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}
