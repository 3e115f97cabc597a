//! The bounded table: the newest value of each signer, its horizon, and sums over ranges of it.
//!
//! ```text
//! kept:  IDs that share `depth` first bits with ours (one contiguous range: the horizon)
//!        and that live at least `life_min` longer; and values that this node itself published
//! full:  first life_min rises (only the silent are so old), then depth: half of the rest goes
//! fingerprint of a range = Σ mix(mark XOR salt) mod 2^64, count beside it
//! ```
//! Both bounds are told in every reconciliation, so that what was shed is neither missed nor fetched
//! again. A fingerprint is no proof: the salt is drawn anew each time, so that nobody can prepare
//! records that hide others for longer than one round.
//!
//! *Floors* remember the sequence of a value that ended before an older value of the same signer
//! would have: the older one is not taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homing_base::{Address, Mono, Name, NodeId, Now, Seq, Wall};

use super::config::Capacity;
use super::limits::{AGED_LIFE_MIN, DEPTH_MAX, FLOORS_MAX, LIFE_MIN, RECEDE_PART};
use super::message::Item;
use super::value::{Claim, Value, prefix};

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry<V> {
    /// The verified value.
    pub value: V,
    /// [`Value::mark`].
    pub mark: u64,
    /// When it came.
    pub heard: Mono,
    /// Links it came over; 0: published here.
    pub hops: u8,
    /// Published here: never shed.
    pub local: bool,
    /// The contradicting mark that was reported.
    disputed: Option<u64>,
    /// When the longest-living value of this signer ends.
    until: Wall,
}

/// How something compares with what is known of its signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// Unknown or newer.
    Fresh {
        /// Nothing is known of the signer.
        newcomer: bool,
    },
    /// The same sequence with other bytes.
    Disputed,
    /// The same bytes.
    Same,
    /// Something newer is, or was, known.
    Stale,
}

/// What became of a value.
#[derive(Debug)]
pub(super) enum Put<V> {
    /// Kept. `contradicts`: another value of the same sequence that stood here.
    Kept { contradicts: Option<V> },
    /// What stands here contradicts it and has precedence; `news`: for the first time.
    Lost { winner: V, news: bool },
    /// Beyond the horizon, or stale.
    Outside,
}

/// A part of the ID space and of the lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// First prefix.
    pub(super) from: u64,
    /// Last prefix.
    pub(super) to: u64,
    /// What expires earlier is left out.
    pub(super) cut: Wall,
}

/// The IDs within `depth` bits of `id`, as prefixes.
pub(super) fn horizon(id: &NodeId, depth: u8) -> (u64, u64) {
    let free = u64::MAX.checked_shr(u32::from(depth)).unwrap_or(0);
    (prefix(id) & !free, prefix(id) | free)
}

/// SplitMix64's finaliser (Steele, Lea & Flood, OOPSLA 2014): every bit depends on every bit.
fn mix(mark: u64, salt: u64) -> u64 {
    let mut z = (mark ^ salt).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn first_id(from: u64) -> NodeId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&from.to_be_bytes());
    NodeId(id)
}

fn last_id(to: u64) -> NodeId {
    let mut id = [0xff; 32];
    id[..8].copy_from_slice(&to.to_be_bytes());
    NodeId(id)
}

/// The table.
#[derive(Debug)]
pub struct Table<V> {
    me: NodeId,
    capacity: Capacity,
    entries: BTreeMap<NodeId, Entry<V>>,
    names: BTreeMap<Name, BTreeSet<NodeId>>,
    floors: BTreeMap<NodeId, (Seq, Wall)>,
    bytes: usize,
    depth: u8,
    aged: bool,
}

impl<V: Value> Table<V> {
    pub(super) fn new(me: NodeId, capacity: Capacity) -> Self {
        Self {
            me,
            capacity,
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
            floors: BTreeMap::new(),
            bytes: 0,
            depth: 0,
            aged: false,
        }
    }

    // ---- reading

    /// Entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Signed bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// First bits that a kept ID shares with ours.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// What lives shorter is not kept.
    #[must_use]
    pub fn life_min(&self) -> Duration {
        if self.aged { AGED_LIFE_MIN } else { LIFE_MIN }
    }

    /// Whether the table is under pressure: what is old is not kept.
    pub(super) fn is_aged(&self) -> bool {
        self.aged
    }

    /// The entry of `id`, whether still true or not.
    #[must_use]
    pub fn entry(&self, id: &NodeId) -> Option<&Entry<V>> {
        self.entries.get(id)
    }

    /// The entry of `id` if it is still true.
    #[must_use]
    pub fn current(&self, now: Now, id: &NodeId) -> Option<&Entry<V>> {
        self.entries.get(id).filter(|e| e.value.expires() > now.wall)
    }

    /// The signer whose ID begins with `address`.
    #[must_use]
    pub fn by_address(&self, address: &Address) -> Option<NodeId> {
        let mut least = [0; 32];
        least[..15].copy_from_slice(&address.prefix());
        let (id, _) = self.entries.range(NodeId(least)..).next()?;
        address.matches(id).then_some(*id)
    }

    /// Everybody who claims `name` by a value that is still true.
    #[must_use]
    pub fn claimants(&self, now: Now, name: &Name) -> Vec<NodeId> {
        let ids = self.names.get(name).into_iter().flatten();
        ids.filter(|id| self.current(now, id).is_some()).copied().collect()
    }

    /// All entries in order of IDs, from `after` (excluded) on.
    pub fn iter_after(&self, after: Option<NodeId>) -> impl Iterator<Item = (&NodeId, &Entry<V>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.entries.range((after.map_or(Unbounded, Excluded), Unbounded))
    }

    /// Entries whose ID begins with `prefix`.
    pub(super) fn at(&self, prefix: u64) -> impl Iterator<Item = (&NodeId, &Entry<V>)> {
        self.entries.range(first_id(prefix)..=last_id(prefix))
    }

    pub(super) fn local(&self) -> impl Iterator<Item = (&NodeId, &Entry<V>)> {
        self.entries.iter().filter(|(_, e)| e.local)
    }

    /// Whether an ID with this prefix is within the horizon.
    pub(super) fn covers(&self, prefix: u64) -> bool {
        let (from, to) = horizon(&self.me, self.depth);
        (from..=to).contains(&prefix)
    }

    /// Whether this version, or a later one, of a signer with this prefix is or was known.
    pub(super) fn knows(&self, prefix: u64, sequence: Seq, mark: u32) -> bool {
        let kept = self.at(prefix).any(|(_, e)| {
            let own = e.value.sequence();
            own > sequence || (own == sequence && (e.mark >> 32) as u32 == mark)
        });
        let mut floors = self.floors.range(first_id(prefix)..=last_id(prefix));
        kept || floors.any(|(_, (floor, _))| *floor >= sequence)
    }

    pub(super) fn novelty(&self, claim: &Claim, now: Now) -> Novelty {
        let known = self.entries.get(&claim.id).map(|e| (e.value.sequence(), Some(e.mark)));
        let floor = self.floors.get(&claim.id).filter(|(_, until)| *until > now.wall);
        let Some((sequence, mark)) = known.or(floor.map(|(sequence, _)| (*sequence, None))) else {
            return Novelty::Fresh { newcomer: true };
        };
        match claim.sequence.cmp(&sequence) {
            std::cmp::Ordering::Greater => Novelty::Fresh { newcomer: false },
            std::cmp::Ordering::Less => Novelty::Stale,
            std::cmp::Ordering::Equal => match mark {
                Some(mark) if mark == claim.mark => Novelty::Same,
                Some(_) => Novelty::Disputed,
                None => Novelty::Stale,
            },
        }
    }

    // ---- ranges

    fn scoped(&self, scope: Scope) -> impl Iterator<Item = (&NodeId, &Entry<V>)> {
        let all = self.entries.range(first_id(scope.from)..=last_id(scope.to));
        all.filter(move |(_, e)| e.value.expires() >= scope.cut)
    }

    /// Count and fingerprint.
    pub(super) fn summary(&self, scope: Scope, salt: u64) -> (u32, u64) {
        let add = |(count, sum): (u32, u64), (_, e): (&NodeId, &Entry<V>)| {
            (count + 1, sum.wrapping_add(mix(e.mark, salt)))
        };
        self.scoped(scope).fold((0, 0), add)
    }

    /// At most `max` items, ascending.
    pub(super) fn items(&self, scope: Scope, max: usize) -> Vec<Item> {
        let item = |(id, e): (&NodeId, &Entry<V>)| Item::of(id, e.value.sequence(), e.mark);
        self.scoped(scope).take(max).map(item).collect()
    }

    /// The scope cut into at most `parts` parts of about equally many entries: bounds, count, fingerprint.
    pub(super) fn split(&self, scope: Scope, salt: u64, parts: usize) -> Vec<(Scope, u32, u64)> {
        let all: Vec<(u64, u64)> =
            self.scoped(scope).map(|(id, e)| (prefix(id), mix(e.mark, salt))).collect();
        let size = all.len().div_ceil(parts.max(1)).max(1);
        let mut cut: Vec<(Scope, u32, u64)> = Vec::new();
        let mut from = scope.from;
        let mut at = 0;
        while at < all.len() {
            let mut end = (at + size).min(all.len());
            // Equal prefixes stay together.
            while end < all.len() && all[end].0 == all[end - 1].0 {
                end += 1;
            }
            let to = if end < all.len() { all[end].0 - 1 } else { scope.to };
            let sum = all[at..end].iter().fold(0, |sum: u64, (_, m)| sum.wrapping_add(*m));
            cut.push((Scope { from, to, ..scope }, (end - at) as u32, sum));
            from = to.saturating_add(1);
            at = end;
        }
        cut
    }

    // ---- writing

    pub(super) fn put(&mut self, now: Now, value: V, hops: u8, local: bool) -> Put<V> {
        let (id, mark) = (value.signer(), value.mark());
        if !local
            && (!self.covers(prefix(&id)) || value.expires() < now.wall.after(self.life_min()))
        {
            return Put::Outside;
        }
        let claim = Claim { id, sequence: value.sequence(), mark };
        match self.novelty(&claim, now) {
            Novelty::Fresh { .. } => {
                self.insert(now, value, (hops, local), None);
                Put::Kept { contradicts: None }
            }
            Novelty::Disputed => self.settle(now, value, (hops, local)),
            Novelty::Same => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.local |= local;
                }
                Put::Outside
            }
            Novelty::Stale => Put::Outside,
        }
    }

    /// Two values of one sequence: the smaller hash stays, both are evidence.
    fn settle(&mut self, now: Now, value: V, how: (u8, bool)) -> Put<V> {
        let (id, mark) = (value.signer(), value.mark());
        let entry = self.entries.get_mut(&id).expect("only a known entry is disputed");
        let news = entry.disputed.is_none();
        entry.disputed = Some(mark);
        if value.precedence(&entry.value).is_gt() {
            let (old, old_mark) = (entry.value.clone(), entry.mark);
            self.insert(now, value, how, Some(old_mark));
            return Put::Kept { contradicts: news.then_some(old) };
        }
        Put::Lost { winner: entry.value.clone(), news }
    }

    fn insert(&mut self, now: Now, value: V, (hops, local): (u8, bool), disputed: Option<u64>) {
        let (id, mark, heard) = (value.signer(), value.mark(), now.mono);
        let floor = self.floors.remove(&id).map(|(_, until)| until);
        let old = self.take(&id);
        let until = [floor, old.as_ref().map(|e| e.until)].into_iter().flatten();
        let until = until.fold(value.expires(), Wall::max);
        let local = local || old.is_some_and(|e| e.local);
        if let Some(name) = value.name() {
            self.names.entry(name.clone()).or_default().insert(id);
        }
        self.bytes += V::wire_len(&value.wire());
        self.entries.insert(id, Entry { value, mark, heard, hops, local, disputed, until });
    }

    fn take(&mut self, id: &NodeId) -> Option<Entry<V>> {
        let entry = self.entries.remove(id)?;
        self.bytes -= V::wire_len(&entry.value.wire());
        if let Some(name) = entry.value.name()
            && let Some(ids) = self.names.get_mut(name)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.names.remove(name);
            }
        }
        Some(entry)
    }

    /// Drops one entry.
    pub(super) fn drop_entry(&mut self, id: &NodeId) {
        self.take(id);
    }

    /// Drops what has ended; its sequence stays as a floor where an older value could return.
    pub(super) fn sweep(&mut self, now: Now) -> Vec<NodeId> {
        let ended = self.entries.iter().filter(|(_, e)| e.value.expires() <= now.wall);
        let ended: Vec<NodeId> = ended.map(|(id, _)| *id).collect();
        for id in &ended {
            if let Some(entry) = self.take(id)
                && entry.until > now.wall
            {
                self.floors.insert(*id, (entry.value.sequence(), entry.until));
            }
        }
        self.floors.retain(|_, (_, until)| *until > now.wall);
        while self.floors.len() > FLOORS_MAX {
            let first = self.floors.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id);
            self.floors.remove(&first.expect("more than none"));
        }
        ended
    }

    fn fills(&self, part: usize) -> bool {
        self.entries.len() > self.capacity.entries / part || self.bytes > self.capacity.bytes / part
    }

    /// Moves the horizon until the table is within its bounds; returns what fell behind it.
    pub(super) fn shed(&mut self, now: Now) -> Vec<NodeId> {
        let mut gone = Vec::new();
        while self.fills(1) && (!self.aged || self.depth < DEPTH_MAX) {
            if self.aged {
                self.depth += 1;
            } else {
                self.aged = true;
            }
            let least = now.wall.after(self.life_min());
            let behind = self.entries.iter().filter(|(id, e)| {
                !e.local && (e.value.expires() < least || !self.covers(prefix(id)))
            });
            let behind: Vec<NodeId> = behind.map(|(id, _)| *id).collect();
            behind.iter().for_each(|id| drop(self.take(id)));
            gone.extend(behind);
        }
        gone
    }

    /// Whether a value that is not in the table must be refused: no horizon makes room any more.
    pub(super) fn is_full(&self) -> bool {
        self.fills(1)
    }

    /// Moves the horizon back by one step if there is ample room. Whether it moved.
    pub(super) fn recede(&mut self) -> bool {
        if self.fills(RECEDE_PART) || (self.depth == 0 && !self.aged) {
            return false;
        }
        if self.depth > 0 {
            self.depth -= 1;
        } else {
            self.aged = false;
        }
        true
    }
}
