//! `libp2p-kad`: Noise and Yamux over memory channels or TCP, every swarm in a single-threaded runtime.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use libp2p::core::transport::{MemoryTransport, Transport, upgrade};
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, KBucketKey, Mode, QueryId, QueryResult, Quorum, RecordKey};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identity, noise, tcp, yamux};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::work::{self, Contender, Job, Sample};

const FOREVER: Duration = Duration::from_secs(24 * 3_600);

/// What carries the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Channels inside the process.
    Memory,
    /// TCP on loopback.
    Tcp,
}

type Kad = Swarm<kad::Behaviour<MemoryStore>>;

/// A question to one swarm, and where its answer goes.
struct Ask {
    job: Job,
    reply: oneshot::Sender<Answer>,
}

struct Answer {
    at: Instant,
    good: bool,
    requests: u32,
    peers: Vec<PeerId>,
}

/// A network of swarms.
pub struct Libp2p {
    runtime: Runtime,
    asks: Vec<mpsc::UnboundedSender<Ask>>,
    peers: Vec<PeerId>,
    index: HashMap<PeerId, usize>,
    connections: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Libp2p {
    /// `count` servers that know each other's addresses (as far as their tables have room) and made
    /// their connections.
    pub fn start(count: usize, carrier: Carrier) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connections = std::sync::Arc::default();
        let (asks, peers) = runtime.block_on(async {
            let mut swarms = Vec::new();
            for i in 0..count {
                swarms.push(swarm(i as u64, carrier).await?);
            }
            let places: Vec<(PeerId, Multiaddr)> =
                swarms.iter().map(|(s, addr)| (*s.local_peer_id(), addr.clone())).collect();
            let mut asks = Vec::new();
            for (mut swarm, _) in swarms {
                let me = *swarm.local_peer_id();
                for (peer, addr) in places.iter().filter(|(peer, _)| *peer != me) {
                    swarm.behaviour_mut().add_address(peer, addr.clone());
                }
                let (sender, receiver) = mpsc::unbounded_channel();
                let count = std::sync::Arc::clone(&connections);
                tokio::spawn(live(swarm, receiver, count));
                asks.push(sender);
            }
            anyhow::Ok((asks, places.into_iter().map(|(peer, _)| peer).collect::<Vec<_>>()))
        })?;
        let index = peers.iter().enumerate().map(|(i, p)| (*p, i)).collect();
        let mut net = Self { runtime, asks, peers, index, connections };
        net.run(&work::warm_up(count), work::WIDTH)?;
        Ok(net)
    }

    fn order(&self, key: &[u8]) -> Vec<usize> {
        let point = KBucketKey::new(key.to_vec());
        work::by_distance(self.peers.len(), |i| KBucketKey::from(self.peers[i]).distance(&point))
    }

    async fn job(&self, job: Job) -> Sample {
        let count = self.peers.len();
        let client = match job {
            Job::Find(n) | Job::Put(n) => work::client(n, count),
            Job::Get(n) => work::far_client(&self.order(&work::bytes_of("agent", n)), n),
        };
        let (reply, answer) = oneshot::channel();
        let begun = Instant::now();
        let asked = self.asks[client].send(Ask { job, reply });
        let Some(answer) = answer.await.ok().filter(|_| asked.is_ok()) else {
            return work::ended(begun, false);
        };
        let recall = if let Job::Find(n) = job {
            let found: Vec<_> =
                answer.peers.iter().filter_map(|p| self.index.get(p)).copied().collect();
            Some(work::recall(&self.order(&work::bytes_of("target", n)), client, &found))
        } else {
            None
        };
        let (elapsed, requests) = (answer.at.duration_since(begun), Some(answer.requests));
        Sample { elapsed, requests, good: answer.good, recall }
    }
}

impl Contender for Libp2p {
    fn run(&mut self, jobs: &[Job], width: usize) -> Result<Vec<Sample>> {
        let this = &*self;
        Ok(this.runtime.block_on(work::in_flight(jobs, width, |job| this.job(job))))
    }

    fn remark(&mut self) -> String {
        let connections = self.connections.load(std::sync::atomic::Ordering::Relaxed);
        format!("{:.0} connections per node", connections as f64 / self.peers.len() as f64)
    }
}

async fn swarm(n: u64, carrier: Carrier) -> Result<(Kad, Multiaddr)> {
    let key = identity::Keypair::ed25519_from_bytes(work::bytes_of("node", n))?;
    let builder = SwarmBuilder::with_existing_identity(key).with_tokio();
    let idle = |c: libp2p::swarm::Config| c.with_idle_connection_timeout(FOREVER);
    let behaviour = |key: &identity::Keypair| {
        let me = key.public().to_peer_id();
        let mut behaviour =
            kad::Behaviour::with_config(me, MemoryStore::new(me), config().expect("a valid name"));
        behaviour.set_mode(Some(Mode::Server));
        behaviour
    };
    let (mut swarm, listen): (Kad, Multiaddr) = match carrier {
        Carrier::Memory => {
            let transport = |key: &identity::Keypair| {
                MemoryTransport::new()
                    .upgrade(upgrade::Version::V1)
                    .authenticate(noise::Config::new(key).expect("an Ed25519 key"))
                    .multiplex(yamux::Config::default())
            };
            let builder = builder.with_other_transport(transport)?.with_behaviour(behaviour)?;
            (builder.with_swarm_config(idle).build(), "/memory/0".parse()?)
        }
        Carrier::Tcp => {
            let tcp = tcp::Config::default().nodelay(true);
            let builder = builder.with_tcp(tcp, noise::Config::new, yamux::Config::default)?;
            let builder = builder.with_behaviour(behaviour)?;
            (builder.with_swarm_config(idle).build(), "/ip4/127.0.0.1/tcp/0".parse()?)
        }
    };
    swarm.listen_on(listen)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok((swarm, address));
        }
    }
}

fn config() -> Result<kad::Config> {
    let name = libp2p::StreamProtocol::try_from_owned("/bench/kad/1".to_owned())?;
    let mut config = kad::Config::new(name);
    config.set_parallelism(NonZeroUsize::new(work::ALPHA).context("not zero")?);
    config.set_replication_factor(NonZeroUsize::new(work::K).context("not zero")?);
    // No background lookups: they would only slow it down here.
    config.set_periodic_bootstrap_interval(None);
    Ok(config)
}

/// One swarm: takes asks, reports ends.
async fn live(
    mut swarm: Kad,
    mut asks: mpsc::UnboundedReceiver<Ask>,
    connections: std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    let mut waiting: HashMap<QueryId, oneshot::Sender<Answer>> = HashMap::new();
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(event) => on_event(&mut swarm, &mut waiting, event),
                SwarmEvent::ConnectionEstablished { .. } => {
                    connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                SwarmEvent::ConnectionClosed { .. } => {
                    connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                }
                _ => {}
            },
            ask = asks.recv() => {
                let Some(Ask { job, reply }) = ask else { return };
                if let Some(query) = begin(swarm.behaviour_mut(), job) {
                    waiting.insert(query, reply);
                }
            }
        }
    }
}

fn begin(kad: &mut kad::Behaviour<MemoryStore>, job: Job) -> Option<QueryId> {
    let key = |n| RecordKey::new(&work::bytes_of("agent", n));
    match job {
        Job::Find(n) => Some(kad.get_closest_peers(work::bytes_of("target", n).to_vec())),
        Job::Get(n) => Some(kad.get_record(key(n))),
        // As ours: done when every one of the k has answered.
        Job::Put(n) => kad.put_record(kad::Record::new(key(n), work::payload(n)), Quorum::All).ok(),
    }
}

fn on_event(
    swarm: &mut Kad,
    waiting: &mut HashMap<QueryId, oneshot::Sender<Answer>>,
    event: kad::Event,
) {
    let kad::Event::OutboundQueryProgressed { id, result, stats, step } = event else { return };
    let (good, peers, ends) = match result {
        QueryResult::GetClosestPeers(Ok(ok)) => {
            let peers: Vec<_> = ok.peers.into_iter().map(|p| p.peer_id).collect();
            (peers.len() == work::K, peers, step.last)
        }
        QueryResult::PutRecord(stored) => (stored.is_ok(), Vec::new(), true),
        QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
            // The first is what was wanted; an application stops here.
            if let Some(mut query) = swarm.behaviour_mut().query_mut(&id) {
                query.finish();
            }
            (found.record.value.len() == work::VALUE_BYTES, Vec::new(), true)
        }
        _ => (false, Vec::new(), step.last),
    };
    if ends && let Some(reply) = waiting.remove(&id) {
        let requests = stats.num_requests();
        // Nobody listens any more only when the bench is ending.
        drop(reply.send(Answer { at: Instant::now(), good, requests, peers }));
    }
}
