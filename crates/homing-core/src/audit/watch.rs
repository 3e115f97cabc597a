//! Heads of others' logs that were seen, here or by a peer: two of one size with different roots are a fork.
//!
//! Only what the log's key signed comes in. A log may choose sizes at which nobody can compare; then its witnesses
//! miss each other, and each of them still sees a history that is consistent in itself. In memory: what was
//! cosigned is read again at start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homing_base::NodeId;

use super::checkpoint::Checkpoint;
use super::limits::{HEADS_SEEN_MAX, LOGS_PER_OWNER_MAX, LOGS_WITNESSED_MAX};
use super::word::{Fork, Seen};

/// A log, and its newest heads that were seen, by size.
#[derive(Debug)]
struct Watched {
    owner: NodeId,
    delegation: Vec<u8>,
    heads: VecDeque<(Checkpoint, String)>,
}

/// Every log that was seen.
#[derive(Debug, Default)]
pub(super) struct Watch {
    logs: BTreeMap<String, Watched>,
    /// Logs with a head that peers were not told of.
    untold: BTreeSet<String>,
}

impl Watch {
    /// Remembers a head. The fork that it proves, together with one that was seen before.
    pub(super) fn see(
        &mut self,
        owner: NodeId,
        delegation: &[u8],
        head: &Checkpoint,
        note: &str,
    ) -> Option<Fork> {
        if !self.logs.contains_key(&head.origin) && !self.has_room(owner) {
            return None;
        }
        let fresh = || Watched { owner, delegation: delegation.to_vec(), heads: VecDeque::new() };
        let log = self.logs.entry(head.origin.clone()).or_insert_with(fresh);
        if let Some((known, first)) = log.heads.iter().find(|(known, _)| known.size == head.size) {
            let (first, second) = (first.clone(), note.to_owned());
            let fork = Fork { delegation: log.delegation.clone(), first, second };
            return (known.root != head.root).then_some(fork);
        }
        let at = log.heads.partition_point(|(known, _)| known.size < head.size);
        log.heads.insert(at, (head.clone(), note.to_owned()));
        if log.heads.len() > HEADS_SEEN_MAX {
            log.heads.pop_front();
        }
        None
    }

    fn has_room(&self, owner: NodeId) -> bool {
        let same = self.logs.values().filter(|log| log.owner == owner).count();
        self.logs.len() < LOGS_WITNESSED_MAX && same < LOGS_PER_OWNER_MAX
    }

    /// Peers are to hear of the newest head of this log.
    pub(super) fn tell(&mut self, origin: &str) {
        self.untold.insert(origin.to_owned());
    }

    /// The newest heads that peers were not told of, and whose logs they are.
    pub(super) fn untold(&mut self) -> Vec<(NodeId, Seen)> {
        let untold = std::mem::take(&mut self.untold);
        untold.iter().filter_map(|origin| self.newest(origin)).collect()
    }

    /// The newest head of a log, and whose it is.
    pub(super) fn newest(&self, origin: &str) -> Option<(NodeId, Seen)> {
        let log = self.logs.get(origin)?;
        let (_, note) = log.heads.back()?;
        Some((log.owner, Seen { delegation: log.delegation.clone(), note: note.clone() }))
    }
}
