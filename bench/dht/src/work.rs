//! What every contender does: the same jobs, asked of rotating clients, with a number of them in flight.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::stream::{FuturesUnordered, StreamExt};

/// Replicas and width of a lookup, for all.
pub const K: usize = 20;
/// Requests in flight per lookup, for all.
pub const ALPHA: usize = 3;
/// Jobs in flight where there are several.
pub const WIDTH: usize = 8;
/// Lookups of every node before anything is measured: tables fill, what has to be dialled is dialled.
const WARM_UP: u64 = 4;
/// What mainline and libp2p-kad store.
pub const VALUE_BYTES: usize = 100;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// The k closest nodes to the n-th point.
    Find(u64),
    /// Store the n-th value; the end is when the store counts as done.
    Put(u64),
    /// The first copy of the n-th value, asked by a node that holds none.
    Get(u64),
}

/// How a job ended.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// From asking to the answer.
    pub elapsed: Duration,
    /// Requests sent for it, where the contender counts them.
    pub requests: Option<u32>,
    /// Found, stored: what it was for.
    pub good: bool,
    /// `Find`: which share of the true k closest is in the answer.
    pub recall: Option<f64>,
}

/// A network of nodes in this process.
pub trait Contender {
    /// Does the jobs, `width` at a time.
    fn run(&mut self, jobs: &[Job], width: usize) -> Result<Vec<Sample>>;
    /// Whether it can do such jobs.
    fn can(&self, _job: Job) -> bool {
        true
    }
    /// What is worth telling about the network once it stands.
    fn remark(&mut self) -> String;
}

/// 32 bytes that look random and are the same in every run (SplitMix64).
pub fn bytes_of(what: &str, n: u64) -> [u8; 32] {
    let mut state = what.bytes().fold(n, |s, b| s.wrapping_mul(31).wrapping_add(u64::from(b)));
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes
}

/// Lookups before anything is measured.
pub fn warm_up(nodes: usize) -> Vec<Job> {
    (0..WARM_UP * nodes as u64).map(|n| Job::Find(1 << 40 | n)).collect()
}

/// A value without meaning.
pub fn payload(n: u64) -> Vec<u8> {
    (0..).flat_map(|i| bytes_of("payload", n * 16 + i)).take(VALUE_BYTES).collect()
}

/// The client of the n-th job: every node in turn.
pub fn client(n: u64, nodes: usize) -> usize {
    (n.wrapping_mul(37).wrapping_add(11) % nodes as u64) as usize
}

/// Nodes sorted by distance from a point.
pub fn by_distance<D: Ord>(nodes: usize, distance: impl Fn(usize) -> D) -> Vec<usize> {
    let mut order: Vec<usize> = (0..nodes).collect();
    order.sort_by_cached_key(|i| distance(*i));
    order
}

/// A client in the far half, which neither holds the value nor caches it.
pub fn far_client(order: &[usize], n: u64) -> usize {
    let half = order.len() / 2;
    order[half + (n as usize * 7) % (order.len() - half)]
}

/// The share of the k closest nodes (the client excepted) that `found` contains.
pub fn recall(order: &[usize], client: usize, found: &[usize]) -> f64 {
    let truth: Vec<_> = order.iter().filter(|i| **i != client).take(K).collect();
    let hits = truth.iter().filter(|i| found.contains(i)).count();
    hits as f64 / truth.len() as f64
}

/// Keeps `width` futures in flight until all jobs are done.
pub async fn in_flight<F: Future<Output = Sample>>(
    jobs: &[Job],
    width: usize,
    mut begin: impl FnMut(Job) -> F,
) -> Vec<Sample> {
    let mut todo = jobs.iter().copied();
    let mut running: FuturesUnordered<F> = todo.by_ref().take(width).map(&mut begin).collect();
    let mut samples = Vec::with_capacity(jobs.len());
    while let Some(sample) = running.next().await {
        samples.push(sample);
        running.extend(todo.next().map(&mut begin));
    }
    samples
}

/// A job that ended now, well or not.
pub fn ended(begun: Instant, good: bool) -> Sample {
    Sample { elapsed: begun.elapsed(), requests: None, good, recall: None }
}
