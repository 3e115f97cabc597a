//! Our core as a daemon runs it: a whole agent per node (store on disk, QUIC endpoint, gossip, timers), embedded
//! as `homing_node::Node`, everything in one process.
//!
//! A lookup goes through the agent's command queue, over QUIC connections that stand or are dialled for
//! it, encrypted, between proven identities. Storing cannot be asked for from outside: an agent
//! stores its own record when it changes. So there is no `Put` here, and what is looked up are the
//! records of the members.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use homing_api::dht::{DhtLookup, DhtLookupRequest};
use homing_base::NodeId;
use homing_core::dht::Distance;
use homing_node::Node;
use tokio::runtime::Runtime;

use crate::work::{self, Contender, Job, Sample};

const SETTLE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(180);
const TIMEOUT_MS: u64 = 5_000;

/// A network of whole agents.
pub struct Daemons {
    runtime: Runtime,
    nodes: Vec<Node>,
    ids: Vec<NodeId>,
    index: HashMap<NodeId, usize>,
    apart: bool,
    _homes: tempfile::TempDir,
}

impl Daemons {
    /// `count` agents that joined through three of them and looked around.
    pub fn start(count: usize) -> Result<Self> {
        let mut net = Self::launch(count, false)?;
        net.settle()?;
        net.run(&work::warm_up(count), work::WIDTH)?;
        Ok(net)
    }

    /// `count` agents that know nobody: what an agent weighs without connections.
    pub fn apart(count: usize) -> Result<Self> {
        let net = Self::launch(count, true)?;
        std::thread::sleep(SETTLE);
        Ok(net)
    }

    fn launch(count: usize, apart: bool) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let homes = tempfile::tempdir()?;
        let mut nodes: Vec<Node> = Vec::new();
        let mut tickets: Vec<String> = Vec::new();
        for i in 0..count {
            let home = homes.path().join(i.to_string());
            let mut builder = Node::builder().home(home).listen("127.0.0.1:0".parse()?);
            if let Some(ticket) = tickets.get(i % 3).or(tickets.first()).filter(|_| !apart) {
                builder = builder.peer(ticket);
            }
            let node = runtime.block_on(builder.without_api().start())?;
            if i < 3 {
                tickets.push(runtime.block_on(node.ticket())?);
            }
            nodes.push(node);
        }
        let ids: Vec<_> = nodes.iter().map(Node::node_id).collect();
        let index = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        Ok(Self { runtime, nodes, ids, index, apart, _homes: homes })
    }

    /// Until everybody knows a third of the network, then a while longer.
    fn settle(&self) -> Result<()> {
        let begun = Instant::now();
        for node in &self.nodes {
            loop {
                let stats = self.runtime.block_on(node.dht_stats())?;
                if stats.brief.contacts as usize >= self.nodes.len() / 3 {
                    break;
                }
                ensure!(
                    begun.elapsed() < PATIENCE,
                    "{node:?} knows {} contacts only",
                    stats.brief.contacts
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        self.runtime.block_on(async { tokio::time::sleep(SETTLE).await });
        Ok(())
    }

    fn order(&self, point: &NodeId) -> Vec<usize> {
        work::by_distance(self.ids.len(), |i| Distance::between(&self.ids[i], point))
    }

    async fn job(&self, job: Job) -> Sample {
        let (Job::Find(n) | Job::Put(n) | Job::Get(n)) = job;
        if let Job::Get(_) = job {
            return self.first_value(n).await;
        }
        let (client, key) =
            (work::client(n, self.nodes.len()), NodeId(work::bytes_of("target", n)));
        let (ended, answer) = self.ask(client, &key).await;
        let Some(answer) = answer else { return ended };
        let found = answer.nodes.iter().filter_map(|p| self.index.get(&p.node_id)).copied();
        let found: Vec<_> = found.collect();
        let recall = work::recall(&self.order(&key), client, &found);
        Sample { good: found.len() >= work::K, recall: Some(recall), ..ended }
    }

    /// Of the first client that does not hold the record itself: some do from the time when few were there.
    async fn first_value(&self, n: u64) -> Sample {
        let key = self.ids[n as usize % self.ids.len()];
        let order = self.order(&key);
        let mut ended = work::ended(Instant::now(), false);
        for other in 0..self.nodes.len() as u64 / 2 {
            let answer;
            (ended, answer) = self.ask(work::far_client(&order, n + other), &key).await;
            if ended.requests != Some(0) {
                let good = answer.is_some_and(|a| a.values.iter().any(|v| v.peer.node_id == key));
                return Sample { good, ..ended };
            }
        }
        ended
    }

    async fn ask(&self, client: usize, key: &NodeId) -> (Sample, Option<DhtLookup>) {
        let request = DhtLookupRequest { key: key.to_string(), timeout_ms: TIMEOUT_MS };
        let begun = Instant::now();
        let answer = self.nodes[client].dht_lookup(request).await;
        let ended = work::ended(begun, false);
        match answer {
            Ok(answer) => (Sample { requests: Some(answer.requests), ..ended }, Some(answer)),
            Err(_) => (ended, None),
        }
    }

    async fn summary(&self) -> Result<String> {
        let (mut contacts, mut links, mut timeouts) = (0, 0, 0);
        for node in &self.nodes {
            let stats = node.dht_stats().await.context("its numbers")?;
            contacts += stats.brief.contacts;
            links += stats.links;
            timeouts += stats.traffic.timeouts;
        }
        let count = self.nodes.len() as u64;
        Ok(format!(
            "{} contacts and {} connections per node, {timeouts} timeouts",
            contacts / count,
            links / count,
        ))
    }
}

impl Contender for Daemons {
    fn run(&mut self, jobs: &[Job], width: usize) -> Result<Vec<Sample>> {
        let this = &*self;
        Ok(this.runtime.block_on(work::in_flight(jobs, width, |job| this.job(job))))
    }

    fn can(&self, job: Job) -> bool {
        !self.apart && !matches!(job, Job::Put(_))
    }

    fn remark(&mut self) -> String {
        self.runtime.block_on(self.summary()).unwrap_or_else(|e| format!("{e:#}"))
    }
}
