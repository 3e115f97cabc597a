//! Who is linked with whom.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

/// The shape of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Graph {
    /// Each with the next.
    Line,
    /// A binary tree.
    Tree,
    /// A line whose ends are linked.
    Ring,
    /// Each with some that came before it, as agents join.
    Random,
}

/// A random number below `n`.
pub fn below(chance: &mut ChaCha8Rng, n: usize) -> usize {
    usize::try_from(chance.next_u64() % n as u64).expect("below a usize")
}

impl Graph {
    /// The links of `nodes` nodes; `links`: those that each node of a random graph begins.
    #[must_use]
    pub fn edges(self, nodes: usize, links: usize, chance: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
        match self {
            Graph::Line => (1..nodes).map(|n| (n - 1, n)).collect(),
            Graph::Tree => (1..nodes).map(|n| ((n - 1) / 2, n)).collect(),
            Graph::Ring => (0..nodes).map(|n| (n, (n + 1) % nodes)).collect(),
            Graph::Random => {
                let mut edges = Vec::new();
                for n in 1..nodes {
                    edges.extend(some_below(n, links, chance).into_iter().map(|other| (other, n)));
                }
                edges
            }
        }
    }
}

/// At most `count` different numbers below `n`.
pub fn some_below(n: usize, count: usize, chance: &mut ChaCha8Rng) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < count.min(n) {
        let other = below(chance, n);
        if !chosen.contains(&other) {
            chosen.push(other);
        }
    }
    chosen
}
