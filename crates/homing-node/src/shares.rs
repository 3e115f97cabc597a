//! Places that several peers want at once: so many for each, so that one cannot hold all.
//!
//! Not here: how many places there are in all (the semaphore of whoever serves).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homing_base::NodeId;

/// Who holds how many places now.
#[derive(Debug)]
pub struct Shares {
    each: usize,
    held: Mutex<BTreeMap<NodeId, usize>>,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    peer: NodeId,
}

impl Shares {
    /// `each` places for every peer.
    #[must_use]
    pub fn of(each: usize) -> Arc<Self> {
        Arc::new(Self { each, held: Mutex::default() })
    }

    /// A place for `peer`; `None`: it holds its share.
    #[must_use]
    pub fn take(self: &Arc<Self>, peer: NodeId) -> Option<Share> {
        let mut held = self.held();
        let count = held.get(&peer).copied().unwrap_or(0);
        if count >= self.each {
            return None;
        }
        held.insert(peer, count + 1);
        drop(held);
        Some(Share { shares: self.clone(), peer })
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        let left = held.get(&self.peer).map_or(0, |count| count - 1);
        match left {
            0 => held.remove(&self.peer),
            left => held.insert(self.peer, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_never_holds_what_others_may_have() {
        let (greedy, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let shares = Shares::of(2);
        let held: Vec<_> = (0..5).filter_map(|_| shares.take(greedy)).collect();
        assert_eq!(held.len(), 2);
        assert!(shares.take(other).is_some());
        drop(held);
        assert!(shares.take(greedy).is_some());
        assert!(shares.held().is_empty(), "nothing is kept about whoever holds nothing");
    }
}
