//! What is true: who is alive, and who is really closest. Only reports and checks may ask.

use homing_base::NodeId;
use homing_core::dht::contact::id_prefix;
use homing_core::dht::table::descend;

/// All living nodes, sorted by ID.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    keys: Vec<u64>,
    handles: Vec<u32>,
}

impl Oracle {
    /// Living nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Handles of the living, in order of ID.
    #[must_use]
    pub fn handles(&self) -> &[u32] {
        &self.handles
    }

    /// A node is born.
    pub fn add(&mut self, id: &NodeId, handle: u32) {
        let key = id_prefix(id);
        let at = self.keys.partition_point(|k| *k < key);
        self.keys.insert(at, key);
        self.handles.insert(at, handle);
    }

    /// A node dies.
    pub fn remove(&mut self, id: &NodeId, handle: u32) {
        let key = id_prefix(id);
        let start = self.keys.partition_point(|k| *k < key);
        if let Some(at) = (start..self.keys.len()).find(|i| self.handles[*i] == handle) {
            self.keys.remove(at);
            self.handles.remove(at);
        }
    }

    /// The `n` living nodes closest to `target`, without `except`.
    #[must_use]
    pub fn closest(&self, target: &NodeId, n: usize, except: Option<u32>) -> Vec<u32> {
        let mut found = Vec::with_capacity(n);
        descend(&self.keys, 0..self.keys.len(), id_prefix(target), &mut |i| {
            if Some(self.handles[i]) != except {
                found.push(self.handles[i]);
            }
            found.len() < n
        });
        found
    }

    /// The `n` living nodes that follow `id` on the ring of IDs.
    #[must_use]
    pub fn after(&self, id: &NodeId, n: usize) -> Vec<u32> {
        let start = self.keys.partition_point(|k| *k <= id_prefix(id));
        let others = self.handles.len().saturating_sub(1);
        let ring = self.handles[start..].iter().chain(&self.handles[..start]);
        ring.take(n.min(others)).copied().collect()
    }
}
