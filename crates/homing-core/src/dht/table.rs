//! The routing table: everybody who answered us directly, sorted by distance from us.
//!
//! ```text
//! entries   near ◄──────────────────────────────────────────────► far
//!           |◄ leafset: k closest ►|
//!           … bucket 12 | bucket 11 |   bucket 10   | … | bucket 0      (bucket = common prefix bits)
//! ```
//! One sorted array holds all 256 buckets without storage for empty ones; the closest n to any key
//! are found by descending the prefix trie that the array implies. A bucket holds k contacts; our
//! own k closest are admitted beyond that, so that the leafset is whole. In a cluster the leafset is all that
//! share our first *depth* bits, if these are more. *Spares* are hearsay: they
//! may be pinged, and enter only when they answer. Not here: when to ping whom ([`super::recovery`]).

use std::ops::Range;

use homing_base::{Mono, NodeId};

use super::contact::{Contact, Distance, Place, id_prefix};
use super::limits::{
    FAILURES_TO_EVICT, GROUP_PER_BUCKET, GROUP_PER_TABLE, SPARES_MAX, SPARES_PER_BUCKET,
};
use super::rtt::Rtt;

/// Tables hold some two hundred entries and there may be many tables: they grow by this many.
const GROWTH: usize = 32;

/// A contact that answered us directly.
#[derive(Clone, Debug)]
pub struct Entry<P> {
    /// Who and where.
    pub contact: Contact<P>,
    /// Its measured round trip.
    pub rtt: Rtt,
    /// When it last answered.
    pub heard: Mono,
    /// When it entered.
    pub since: Mono,
    /// Requests in a row that it did not answer.
    pub failures: u8,
}

/// Hearsay: known from another node's answer.
#[derive(Clone, Debug)]
pub struct Spare<P> {
    /// Who and where.
    pub contact: Contact<P>,
    bucket: u16,
}

/// What became of a contact that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It was in the table.
    Known,
    /// It is now.
    Entered,
    /// Its bucket is full: it is a spare.
    Spare,
    /// Too many of its network neighbourhood, or it is ourselves.
    Refused,
}

/// The routing table.
#[derive(Clone, Debug)]
pub struct Table<P> {
    me: NodeId,
    k: usize,
    caps: bool,
    /// The depth of our cluster and how many members are kept.
    leaf: Option<(u8, usize)>,
    prefixes: Vec<u64>,
    entries: Vec<Entry<P>>,
    spares: Vec<Spare<P>>,
}

impl<P: Place> Table<P> {
    /// An empty table of the node `me`; `caps`: enforce the limits per IP neighbourhood.
    #[must_use]
    pub fn new(me: NodeId, k: usize, caps: bool) -> Self {
        Self { me, k, caps, leaf: None, prefixes: vec![], entries: vec![], spares: vec![] }
    }

    /// Contacts in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody answered yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries, closest to us first.
    #[must_use]
    pub fn entries(&self) -> &[Entry<P>] {
        &self.entries
    }

    /// Spares, in no order of meaning.
    #[must_use]
    pub fn spares(&self) -> &[Spare<P>] {
        &self.spares
    }

    /// The entry of a node.
    #[must_use]
    pub fn entry(&self, id: &NodeId) -> Option<&Entry<P>> {
        self.position(id).ok().map(|i| &self.entries[i])
    }

    /// The entry of a node, to change what was measured.
    pub fn entry_mut(&mut self, id: &NodeId) -> Option<&mut Entry<P>> {
        self.position(id).ok().map(|i| &mut self.entries[i])
    }

    /// The leafset: our k closest that are not in doubt, or the members of our cluster if these are more.
    pub fn siblings(&self) -> impl Iterator<Item = &Entry<P>> {
        let members = self.members().len();
        let sound = self.entries.iter().enumerate().filter(|(_, e)| e.failures == 0);
        let wanted =
            sound.enumerate().take_while(move |(nth, (at, _))| *nth < self.k || *at < members);
        wanted.map(|(_, (_, e))| e)
    }

    /// Whether `id` is, or would be, in the leafset.
    #[must_use]
    pub fn is_sibling(&self, id: &NodeId) -> bool {
        let place = match self.position(id) {
            Ok(i) | Err(i) => i,
        };
        let sound = self.entries[..place].iter().filter(|e| e.failures == 0);
        place < self.k || sound.take(self.k).count() < self.k || self.has_member(id, place)
    }

    fn has_member(&self, id: &NodeId, place: usize) -> bool {
        let Some((depth, kept)) = self.leaf else { return false };
        place < kept && self.bucket_of(id) >= usize::from(depth)
    }

    /// The members of our cluster, as a range of [`Table::entries`]; empty without a cluster.
    #[must_use]
    pub fn members(&self) -> Range<usize> {
        let Some((depth, kept)) = self.leaf else { return 0..0 };
        0..self.sharing(depth).min(kept)
    }

    /// How many entries share at least `bits` leading bits with us.
    #[must_use]
    pub fn sharing(&self, bits: u8) -> usize {
        match bits {
            0 => self.entries.len(),
            bits => self.prefixes.partition_point(|p| *p <= u64::MAX >> bits.min(63)),
        }
    }

    /// Our cluster is now so deep, and at most `kept` of its members are kept. What the leafset no longer
    /// covers leaves the buckets that it made too large.
    pub fn set_leaf(&mut self, leaf: Option<(u8, usize)>) {
        self.leaf = leaf;
        for bucket in 0..=self.deepest_bucket() {
            while self.trim(bucket) {}
        }
    }

    /// The bucket that `id` belongs to.
    #[must_use]
    pub fn bucket_of(&self, id: &NodeId) -> usize {
        Distance::between(&self.me, id).common_bits().min(255)
    }

    /// The entries of one bucket, as a range of [`Table::entries`].
    #[must_use]
    pub fn bucket(&self, index: usize) -> Range<usize> {
        if index >= 64 {
            let near = self.prefixes.partition_point(|p| *p == 0);
            let bits = |e: &Entry<P>| Distance::between(&self.me, &e.contact.id).common_bits();
            let start = self.entries[..near].partition_point(|e| bits(e) > index);
            return start..self.entries[..near].partition_point(|e| bits(e) >= index);
        }
        let (low, high) = (1 << (63 - index), u64::MAX >> index);
        self.prefixes.partition_point(|p| *p < low)..self.prefixes.partition_point(|p| *p <= high)
    }

    /// The deepest bucket that has an entry.
    #[must_use]
    pub fn deepest_bucket(&self) -> usize {
        self.entries.first().map_or(0, |e| self.bucket_of(&e.contact.id))
    }

    /// Visits entries in order of distance to `target` until `visit` says `false`.
    pub fn visit_closest(&self, target: &NodeId, mut visit: impl FnMut(&Entry<P>) -> bool) {
        let turn = id_prefix(&self.me) ^ id_prefix(target);
        descend(&self.prefixes, 0..self.prefixes.len(), turn, &mut |i| visit(&self.entries[i]));
    }

    /// The `n` contacts closest to `target` that are not in doubt and not `except`.
    #[must_use]
    pub fn closest(&self, target: &NodeId, n: usize, except: Option<&NodeId>) -> Vec<Contact<P>> {
        let mut found = Vec::with_capacity(n);
        self.visit_closest(target, |e| {
            if e.failures == 0 && Some(&e.contact.id) != except {
                found.push(e.contact.clone());
            }
            found.len() < n
        });
        found
    }

    /// How many contacts are closer to `target` than `id` is, counted up to `max`.
    #[must_use]
    pub fn count_closer(&self, target: &NodeId, id: &NodeId, max: usize) -> usize {
        self.count_closer_of(target, id, max, |_| true)
    }

    /// As [`Table::count_closer`], of those contacts that count.
    pub fn count_closer_of(
        &self,
        target: &NodeId,
        id: &NodeId,
        max: usize,
        counts: impl Fn(&Entry<P>) -> bool,
    ) -> usize {
        let bound = Distance::between(id, target);
        let mut count = 0;
        self.visit_closest(target, |e| {
            let closer = Distance::between(&e.contact.id, target) < bound;
            count += usize::from(closer && e.failures == 0 && counts(e));
            closer && count < max
        });
        count
    }

    /// A contact answered us: it enters if its bucket has room or it is one of our k closest.
    pub fn admit(&mut self, contact: &Contact<P>, now: Mono) -> Admission {
        if contact.id == self.me {
            return Admission::Refused;
        }
        let place = match self.position(&contact.id) {
            Ok(i) => {
                let entry = &mut self.entries[i];
                (entry.heard, entry.failures) = (now, 0);
                entry.contact.place = contact.place.clone();
                return Admission::Known;
            }
            Err(place) => place,
        };
        let bucket = self.bucket(self.bucket_of(&contact.id));
        if self.crowded(contact, bucket.clone()) {
            return Admission::Refused;
        }
        if bucket.len() >= self.k && !self.is_sibling(&contact.id) {
            self.add_spare(contact, None);
            return Admission::Spare;
        }
        self.enter(place, contact, now);
        self.trim(self.bucket_of(&contact.id));
        Admission::Entered
    }

    fn enter(&mut self, place: usize, contact: &Contact<P>, now: Mono) {
        self.drop_spare(&contact.id);
        let prefix = id_prefix(&self.me) ^ id_prefix(&contact.id);
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH);
            self.prefixes.reserve_exact(GROWTH);
        }
        self.prefixes.insert(place, prefix);
        let (contact, rtt) = (contact.clone(), Rtt::default());
        self.entries.insert(place, Entry { contact, rtt, heard: now, since: now, failures: 0 });
    }

    /// A bucket that grew beyond k because of siblings gives up what is no sibling any more.
    fn trim(&mut self, bucket: usize) -> bool {
        let range = self.bucket(bucket);
        let Some(last) = range.clone().last().filter(|_| range.len() > self.k) else {
            return false;
        };
        let leaves = !self.is_sibling(&self.entries[last].contact.id);
        if leaves {
            self.remove_at(last);
        }
        leaves
    }

    /// Whether the caps per IP neighbourhood forbid one more like `contact`.
    fn crowded(&self, contact: &Contact<P>, bucket: Range<usize>) -> bool {
        let Some(group) = contact.place.group().filter(|_| self.caps) else { return false };
        let same = |e: &&Entry<P>| e.contact.place.group() == Some(group);
        self.entries[bucket].iter().filter(same).count() >= GROUP_PER_BUCKET
            || self.entries.iter().filter(same).count() >= GROUP_PER_TABLE
    }

    /// Replaces the entry of `old` by `new`, which answered faster. Both are in one bucket.
    pub fn replace(&mut self, old: &NodeId, new: &Contact<P>, now: Mono) {
        let Ok(at) = self.position(old) else { return };
        let entry = self.remove_at(at);
        if self.admit(new, now) != Admission::Entered {
            self.admit(&entry.contact, entry.heard);
            return;
        }
        self.add_spare(&entry.contact, None);
    }

    /// Forgets a contact and returns it, if it was known.
    pub fn evict(&mut self, id: &NodeId) -> Option<Contact<P>> {
        let at = self.position(id).ok()?;
        Some(self.remove_at(at).contact)
    }

    fn remove_at(&mut self, at: usize) -> Entry<P> {
        self.prefixes.remove(at);
        self.entries.remove(at)
    }

    /// Contacts that failed often enough to go.
    #[must_use]
    pub fn dead(&self) -> Vec<NodeId> {
        let dead = self.entries.iter().filter(|e| e.failures >= FAILURES_TO_EVICT);
        dead.map(|e| e.contact.id).collect()
    }

    /// Keeps hearsay for later; a full bucket of spares replaces the one at `replace`, if given.
    pub fn add_spare(&mut self, contact: &Contact<P>, replace: Option<usize>) {
        if contact.id == self.me || self.position(&contact.id).is_ok() {
            return;
        }
        let bucket = u16::try_from(self.bucket_of(&contact.id)).expect("below 256");
        let (mut seen, mut nth) = (0, None);
        for (i, spare) in self.spares.iter().enumerate() {
            if spare.contact.id == contact.id {
                return;
            }
            if spare.bucket == bucket {
                nth = if Some(seen) == replace { Some(i) } else { nth };
                seen += 1;
            }
        }
        let spare = Spare { contact: contact.clone(), bucket };
        if seen < SPARES_PER_BUCKET && self.spares.len() < SPARES_MAX {
            if self.spares.len() == self.spares.capacity() {
                self.spares.reserve_exact(GROWTH);
            }
            self.spares.push(spare);
        } else if let Some(i) = nth {
            self.spares[i] = spare;
        }
    }

    /// A known node is elsewhere now.
    pub fn relocate(&mut self, contact: &Contact<P>) {
        if let Some(entry) = self.entry_mut(&contact.id) {
            entry.contact.place = contact.place.clone();
        }
        for spare in self.spares.iter_mut().filter(|s| s.contact.id == contact.id) {
            spare.contact.place = contact.place.clone();
        }
    }

    /// Forgets hearsay.
    pub fn drop_spare(&mut self, id: &NodeId) {
        self.spares.retain(|s| s.contact.id != *id);
    }

    /// Spares of one bucket.
    pub fn spares_of(&self, bucket: usize) -> impl Iterator<Item = &Contact<P>> {
        let of_bucket = move |s: &&Spare<P>| usize::from(s.bucket) == bucket;
        self.spares.iter().filter(of_bucket).map(|s| &s.contact)
    }

    /// Hearsay that belongs into our leafset: its bucket was full when we heard of it, and the leafset has
    /// grown outwards since.
    #[must_use]
    pub fn spare_siblings(&self) -> Vec<Contact<P>> {
        let nearer = self.spares.iter().filter(|s| self.is_sibling(&s.contact.id));
        nearer.map(|s| s.contact.clone()).collect()
    }

    /// Whether a contact could enter if it answered.
    #[must_use]
    pub fn has_room_for(&self, contact: &Contact<P>) -> bool {
        let bucket = self.bucket(self.bucket_of(&contact.id));
        contact.id != self.me
            && (bucket.len() < self.k || self.is_sibling(&contact.id))
            && self.position(&contact.id).is_err()
            && !self.crowded(contact, bucket)
    }

    fn position(&self, id: &NodeId) -> Result<usize, usize> {
        let prefix = id_prefix(&self.me) ^ id_prefix(id);
        let mut at = self.prefixes.partition_point(|p| *p < prefix);
        let distance = Distance::between(&self.me, id);
        while self.prefixes.get(at) == Some(&prefix) {
            let here = &self.entries[at].contact.id;
            if here == id {
                return Ok(at);
            }
            if Distance::between(&self.me, here) > distance {
                break;
            }
            at += 1;
        }
        Err(at)
    }
}

/// Visits the indices of a sorted array of 64-bit keys in order of `key ^ turn`, until `visit` says
/// `false`. The array is a trie: each range splits at its first differing bit.
pub fn descend(
    keys: &[u64],
    range: Range<usize>,
    turn: u64,
    visit: &mut impl FnMut(usize) -> bool,
) -> bool {
    let (Some(first), Some(last)) = (keys[range.clone()].first(), keys[range.clone()].last())
    else {
        return true;
    };
    let differ = first ^ last;
    if differ == 0 {
        return range.into_iter().all(visit);
    }
    let bit = 1u64 << (63 - differ.leading_zeros());
    let split = range.start + keys[range.clone()].partition_point(|key| key & bit == 0);
    let (zeros, ones) = (range.start..split, split..range.end);
    let (near, far) = if turn & bit == 0 { (zeros, ones) } else { (ones, zeros) };
    descend(keys, near, turn, visit) && descend(keys, far, turn, visit)
}
