//! The newest record of each identity. Higher sequence wins; never back.
//!
//! At the bound those without a relation go first, oldest issue first.

use std::collections::{BTreeMap, BTreeSet};

use homing_base::{Name, NodeId, Now, Record, Seq};

/// The table.
#[derive(Debug)]
pub(crate) struct Known {
    entries: BTreeMap<NodeId, Entry>,
    by_name: BTreeMap<Name, BTreeSet<NodeId>>,
    records_max: usize,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// It is in the store, too.
    durable: bool,
    /// The sequence that was last kept as evidence of equivocation.
    evidence: Option<Seq>,
}

/// How a record compares with what is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Novelty {
    /// The identity was unknown.
    First,
    /// It replaces `old`.
    Newer { old: Box<Record> },
    /// The same bytes.
    Same,
    /// Something newer is known.
    Older,
}

impl Known {
    pub(crate) fn new(records: Vec<Record>, records_max: usize) -> Self {
        let mut known = Self { entries: BTreeMap::new(), by_name: BTreeMap::new(), records_max };
        for record in records {
            if matches!(known.novelty(&record), Novelty::First | Novelty::Newer { .. }) {
                known.keep(record, true);
            }
        }
        known
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn record(&self, peer: NodeId) -> Option<&Record> {
        self.entries.get(&peer).map(|e| &e.record)
    }

    /// The record if it is still true.
    pub(crate) fn valid(&self, now: Now, peer: NodeId) -> Option<&Record> {
        self.record(peer).filter(|r| r.check_lifetime(now).is_ok() && !r.is_withdrawn())
    }

    /// The identity whose node ID begins with `prefix`.
    pub(crate) fn by_address(&self, prefix: [u8; 15]) -> Option<NodeId> {
        let mut least = [0; 32];
        least[..15].copy_from_slice(&prefix);
        let (id, _) = self.entries.range(NodeId(least)..).next()?;
        (id.0[..15] == prefix).then_some(*id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.entries.keys().copied()
    }

    pub(crate) fn is_durable(&self, peer: NodeId) -> bool {
        self.entries.get(&peer).is_some_and(|e| e.durable)
    }

    pub(crate) fn mark_durable(&mut self, peer: NodeId) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.durable = true;
        }
    }

    /// Who claims `name` by a record that is still true.
    pub(crate) fn claimants(&self, now: Now, name: &Name) -> Vec<NodeId> {
        let ids = self.by_name.get(name).into_iter().flatten().copied();
        ids.filter(|id| self.valid(now, *id).is_some()).collect()
    }

    pub(crate) fn novelty(&self, record: &Record) -> Novelty {
        match self.record(record.node_id()) {
            None => Novelty::First,
            Some(old) if old.bytes() == record.bytes() => Novelty::Same,
            Some(old) if record.precedence(old).is_gt() => {
                Novelty::Newer { old: Box::new(old.clone()) }
            }
            Some(_) => Novelty::Older,
        }
    }

    /// The known record that contradicts `record` with the same sequence, the first time.
    pub(crate) fn equivocation(&mut self, record: &Record) -> Option<Record> {
        let entry = self.entries.get_mut(&record.node_id())?;
        let fresh = entry.evidence != Some(record.sequence);
        if !fresh || !entry.record.equivocates(record) {
            return None;
        }
        entry.evidence = Some(record.sequence);
        Some(entry.record.clone())
    }

    pub(crate) fn keep(&mut self, record: Record, durable: bool) {
        let id = record.node_id();
        let old = self.entries.remove(&id);
        let evidence = old.as_ref().and_then(|e| e.evidence);
        if let Some(name) = old.and_then(|e| e.record.name.clone()) {
            self.unname(&name, id);
        }
        if let Some(name) = &record.name {
            self.by_name.entry(name.clone()).or_default().insert(id);
        }
        self.entries.insert(id, Entry { record, durable, evidence });
    }

    pub(crate) fn forget(&mut self, peer: NodeId) {
        if let Some(entry) = self.entries.remove(&peer)
            && let Some(name) = &entry.record.name
        {
            self.unname(name, peer);
        }
    }

    fn unname(&mut self, name: &Name, peer: NodeId) {
        if let Some(ids) = self.by_name.get_mut(name) {
            ids.remove(&peer);
            if ids.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// The records that must go to make room: a sixteenth at a time, so that a full table is not
    /// scanned for every record. `is_related` peers stay. Returns those that were durable.
    pub(crate) fn make_room(&mut self, is_related: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        if self.entries.len() <= self.records_max {
            return Vec::new();
        }
        let mut others: Vec<_> = self.entries.iter().filter(|(id, _)| !is_related(**id)).collect();
        others.sort_by_key(|(id, e)| (e.record.issued, **id));
        let surplus = self.entries.len() - self.records_max + self.records_max / 16;
        let gone: Vec<_> = others.iter().take(surplus).map(|(id, e)| (**id, e.durable)).collect();
        gone.iter().for_each(|(id, _)| self.forget(*id));
        gone.into_iter().filter(|(_, durable)| *durable).map(|(id, _)| id).collect()
    }

    /// Volatile entries, oldest first, beyond `cached_max`, go.
    pub(crate) fn trim_cache(&mut self, cached_max: usize) {
        let mut volatile: Vec<_> = self.entries.iter().filter(|(_, e)| !e.durable).collect();
        if volatile.len() <= cached_max {
            return;
        }
        volatile.sort_by_key(|(id, e)| (e.record.issued, **id));
        let surplus = volatile.len() - cached_max;
        let gone: Vec<_> = volatile.iter().take(surplus).map(|(id, _)| **id).collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    /// Drops expired records without a relation; tombstones stay. Returns those to forget on disk.
    pub(crate) fn sweep(&mut self, now: Now, is_related: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let is_over = |e: &Entry| e.record.expires <= now.wall && !e.record.is_withdrawn();
        let over = self.entries.iter().filter(|(id, e)| is_over(e) && !is_related(**id));
        let gone: Vec<_> = over.map(|(id, e)| (*id, e.durable)).collect();
        gone.iter().for_each(|(id, _)| self.forget(*id));
        gone.into_iter().filter(|(_, durable)| *durable).map(|(id, _)| id).collect()
    }
}
