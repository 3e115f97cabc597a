//! Clusters: how deep a node's neighbourhood reaches, decided by counting, with hysteresis.
//!
//! A *cluster* is a leaf of the prefix trie over node IDs: all living nodes that share their first *depth*
//! bits. Inside it everybody knows everybody; outside it the DHT's ordinary buckets lead on, because bucket
//! *i* below the depth *is* the Kademlia bucket *i*. So a cluster is not another overlay but another size of
//! the leafset: replica sets, records and messages stay those of Kademlia, plain nodes and clustered ones
//! work together, and a split or a merge moves no record.
//!
//! ```text
//!              region P (depth d)           split: the cluster at P has more than S members, both halves ≥ S/4
//!             ╱                  ╲
//!   cluster P0 (d+1)     cluster P1 (d+1)   merge: |P0| + |P1| < S/2, neither divided further
//! ```
//! **State** of a node: its depth, what peers told lately about theirs, and a change that is due once it has
//! held for the dwell time. **Messages**: none of its own; the periodic leafset exchange carries `(depth,
//! members)` ([`Leaf`]). **Timers**: none of its own; [`Topology::decide`] is called at each exchange.
//!
//! **Invariants**
//!
//! 1. *Gap.* Between two changes of one region lie at least S/2 + 2 joins and leaves inside that region,
//!    for every sequence, also an adversary's. Proof: a split of P needs |P| ≥ S + 1, a merge |P| ≤ S/2 − 1,
//!    and one event changes |P| by one; changes of one region alternate. The dwell time only delays.
//! 2. *Fresh leaves.* A half made by a split has at most S + 1 − S/4 members, so S/4 joins inside it precede
//!    its own split, however IDs are ground.
//! 3. A node changes its depth by one step, and only when its own count and the median of what its peers tell
//!    both ask for it, or when most of them have stood elsewhere for longer: a minority of liars
//!    neither splits nor merges anything.
//! 4. A depth says only how many neighbours are kept; being wrong about it costs bytes, never a record.
//!
//! **Roles.** Who entered recently is a *spare*: reachable, but handed no records until it has stayed for the
//! settling time; the others are the *core*, and a record lives at the k core members closest to its key. With
//! sessions whose hazard falls with age (Stutzbach & Rejaie, IMC 2006: Weibull, shape below 1) most of those who
//! leave soon never received anything. One remaining core member hands everything on.
//!
//! The idea of clusters that split and merge late is that of PeerCube (SASO 2008) and eQuus (P2P 2006). Not here:
//! the members themselves (the DHT's table), what is sent, and the network-wide choice of this mode.

mod topology;

pub use topology::{Bounds, Census, Change, Changes, Leaf, Topology, Unbounded};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trie;
