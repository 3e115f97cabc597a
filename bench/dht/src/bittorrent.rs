//! `mainline` as its own testnet: a thread and a UDP socket per node.
//!
//! Not its seeded testnet: nodes without a bootstrap list enter the *target* of every `find_node` into their
//! table as if it were the asker's ID, and later answers are full of nodes that do not exist. So they
//! join through the first node, which alone has that habit, and warm up by looking around.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::executor::block_on;
use mainline::async_dht::AsyncDht;
use mainline::{Id, MutableItem, SigningKey, Testnet};

use crate::work::{self, Contender, Job, Sample};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Every node in turn, as for all contenders: one that was idle takes up to 50 ms to notice.
    All,
    /// Always the same node: still awake from the last job, its best case.
    One,
}

/// A network of mainline nodes.
pub struct Bittorrent {
    nodes: Vec<AsyncDht>,
    ids: Vec<Id>,
    index: HashMap<Id, usize>,
    items: HashMap<u64, MutableItem>,
    clients: Clients,
}

impl Bittorrent {
    /// `count` servers.
    pub fn start(count: usize, clients: Clients) -> Result<Self> {
        let testnet = Testnet::builder(count).seeded(false).build().context("the testnet")?;
        let nodes: Vec<_> = testnet.nodes.into_iter().map(mainline::Dht::as_async).collect();
        let ids: Vec<Id> =
            block_on(async { futures::future::join_all(nodes.iter().map(|n| n.info())).await })
                .iter()
                .map(|info| *info.id())
                .collect();
        let index = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let mut net = Self { nodes, ids, index, items: HashMap::new(), clients: Clients::All };
        net.run(&work::warm_up(count), work::WIDTH)?;
        net.clients = clients;
        Ok(net)
    }

    fn order(&self, point: &Id) -> Vec<usize> {
        work::by_distance(self.ids.len(), |i| *self.ids[i].xor(point).as_bytes())
    }

    fn client(&self, n: u64) -> usize {
        match self.clients {
            Clients::All => work::client(n, self.nodes.len()),
            Clients::One => self.nodes.len() / 2,
        }
    }

    async fn job(&self, job: Job) -> Sample {
        match job {
            Job::Find(n) => self.find(n).await,
            Job::Put(n) => {
                let (item, client) = (self.items[&n].clone(), self.client(n));
                let begun = Instant::now();
                let outcome = self.nodes[client].put_mutable(item, None).await;
                work::ended(begun, outcome.is_ok())
            }
            Job::Get(n) => {
                let item = &self.items[&n];
                let client = match self.clients {
                    Clients::All => work::far_client(&self.order(item.target()), n),
                    // It keeps no list of what it holds itself: it asks the network in any case.
                    Clients::One => self.client(n),
                };
                let begun = Instant::now();
                let first = self.nodes[client].get_mutable(item.key(), None, None).next().await;
                work::ended(begun, first.as_ref().is_some_and(|i| i.value() == item.value()))
            }
        }
    }

    async fn find(&self, n: u64) -> Sample {
        let client = self.client(n);
        let target = Id::from_bytes(&work::bytes_of("target", n)[..20]).expect("20 bytes");
        let begun = Instant::now();
        let nodes = self.nodes[client].find_node(target).await;
        let ended = work::ended(begun, nodes.len() >= work::K);
        let found: Vec<_> = nodes.iter().filter_map(|n| self.index.get(n.id())).copied().collect();
        let recall = work::recall(&self.order(&target), client, &found);
        Sample { recall: Some(recall), ..ended }
    }
}

impl Contender for Bittorrent {
    fn run(&mut self, jobs: &[Job], width: usize) -> Result<Vec<Sample>> {
        for job in jobs {
            if let Job::Put(n) | Job::Get(n) = *job {
                self.items.entry(n).or_insert_with(|| {
                    let key = SigningKey::from_bytes(&work::bytes_of("agent", n));
                    MutableItem::new(key, &work::payload(n), 1, None)
                });
            }
        }
        Ok(block_on(work::in_flight(jobs, width, |job| self.job(job))))
    }

    fn remark(&mut self) -> String {
        let infos = block_on(futures::future::join_all(self.nodes.iter().map(|n| n.info())));
        let servers = infos.iter().filter(|i| i.server_mode()).count();
        let moved = infos.iter().zip(&self.ids).filter(|(info, id)| info.id() != *id).count();
        format!("{servers} servers, {moved} changed their ID")
    }
}
