//! Our core over one plain UDP socket per node, driven by one thread.
//!
//! ```text
//! datagram = node ID (32) ‖ instance (32) ‖ message (spec/08-dht.md)
//! epoll ──readable──► decode ──► Dht::handle ──► outputs ──► encode, send
//!       ──timeout = earliest next_wakeup──► Wakeup
//! ```
//! The like-for-like of mainline's network: no encryption, no connection, no proof of the sender (in a
//! daemon the connection proves it). The core and its message format are the product's; only this
//! loop is the bench's. Not here: QUIC, see `daemons`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use homing_base::{AgentRecord, IdentityKey, InstanceId, Mono, NodeId, Now, Record, Seq, Wall};
use homing_core::dht::{
    CommandId, Config, Contact, Dht, DhtCommand, DhtInput, DhtOutput, Distance, Outcome, Reach,
    Report, Slot, wire,
};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::work::{self, Contender, Job, Sample};

type Node = Dht<Reach, Record>;
type Done = (Outcome<Reach, Record>, Report, Instant);

/// ID and instance of the sender.
const HEAD: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(5);

/// A network of our nodes.
pub struct Ours {
    poll: Poll,
    events: Events,
    sockets: Vec<UdpSocket>,
    nodes: Vec<Node>,
    wakeups: BTreeSet<(Mono, usize)>,
    armed: Vec<Option<Mono>>,
    index: BTreeMap<NodeId, usize>,
    records: BTreeMap<u64, Record>,
    done: BTreeMap<CommandId, Done>,
    next_command: u64,
    start: Instant,
    /// How long nobody turned the loop: the network stands still meanwhile, and its clock too.
    paused: Duration,
    left: Option<Instant>,
    buffer: Box<[u8; 65_536]>,
    out: Vec<u8>,
    unsent: u64,
}

impl Ours {
    /// `count` nodes that joined through each other and looked around.
    pub fn start(count: usize, alpha_last: usize) -> Result<Self> {
        let config = Config { k: work::K, alpha: work::ALPHA, alpha_last, ..Config::default() };
        let mut net = Self::bind(count, &config)?;
        for i in 1..count {
            // One earlier node is the whole introduction.
            let seed = net.nodes[work::client(i as u64, i)].me().clone();
            let id = net.command(i, DhtCommand::Join { seeds: vec![seed] });
            let (outcome, ..) = net.wait(id)?;
            ensure!(matches!(outcome, Outcome::Joined { contacts } if contacts > 0), "{outcome:?}");
        }
        let until = Instant::now() + SETTLE;
        while Instant::now() < until {
            net.turn(until - Instant::now())?;
        }
        net.run(&work::warm_up(count), work::WIDTH)?;
        Ok(net)
    }

    fn bind(count: usize, config: &Config) -> Result<Self> {
        let poll = Poll::new()?;
        let (mut sockets, mut nodes) = (Vec::new(), Vec::new());
        let start = Instant::now();
        for i in 0..count {
            let mut socket = UdpSocket::bind("127.0.0.1:0".parse()?)?;
            poll.registry().register(&mut socket, Token(i), Interest::READABLE)?;
            let key = IdentityKey::from_seed(work::bytes_of("node", i as u64));
            let instance = InstanceId(work::bytes_of("instance", i as u64));
            let place = Reach { instance, direct: Some(socket.local_addr()?), relay: None };
            let me = Contact { id: key.node_id(), place };
            let seed = work::bytes_of("seed", i as u64);
            nodes.push(Dht::new(config.clone(), me, true, seed, now(start.elapsed())));
            sockets.push(socket);
        }
        let index = nodes.iter().enumerate().map(|(i, n)| (n.me().id, i)).collect();
        Ok(Self {
            poll,
            events: Events::with_capacity(1_024),
            sockets,
            wakeups: BTreeSet::new(),
            armed: vec![None; count],
            nodes,
            index,
            records: BTreeMap::new(),
            done: BTreeMap::new(),
            next_command: 1,
            start,
            paused: Duration::ZERO,
            left: None,
            buffer: Box::new([0; 65_536]),
            out: Vec::new(),
            unsent: 0,
        })
    }

    // ---- the loop

    fn now(&self) -> Now {
        now(self.start.elapsed().saturating_sub(self.paused))
    }

    /// Waits for datagrams or the earliest deadline, then deals with all there is.
    fn turn(&mut self, limit: Duration) -> Result<()> {
        let time = self.now().mono;
        let next = self.wakeups.first().map_or(limit, |(at, _)| at.since(time).min(limit));
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(next)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in &events {
            self.drain(event.token().0)?;
        }
        self.events = events;
        let time = self.now().mono;
        while let Some((at, node)) = self.wakeups.first().copied().filter(|(at, _)| *at <= time) {
            self.wakeups.remove(&(at, node));
            self.armed[node] = None;
            self.feed(node, DhtInput::Wakeup);
        }
        Ok(())
    }

    fn drain(&mut self, node: usize) -> Result<()> {
        loop {
            let (len, addr) = match self.sockets[node].recv_from(&mut self.buffer[..]) {
                Ok(received) => received,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            if let Some(input) = received(&self.buffer[..len], addr) {
                self.feed(node, input);
            }
        }
    }

    fn feed(&mut self, node: usize, input: DhtInput<Reach, Record>) {
        let now = self.now();
        self.nodes[node].handle(now, input);
        while let Some(output) = self.nodes[node].poll_output() {
            match output {
                DhtOutput::Send { to, message, .. } => self.send(node, &to, &message),
                DhtOutput::Done { id, outcome, report } => {
                    self.done.insert(id, (outcome, report, Instant::now()));
                }
                DhtOutput::Newer { .. } | DhtOutput::Persist { .. } => {}
            }
        }
        let next = self.nodes[node].next_wakeup();
        if next != self.armed[node] {
            if let Some(old) = self.armed[node] {
                self.wakeups.remove(&(old, node));
            }
            self.wakeups.extend(next.map(|at| (at, node)));
            self.armed[node] = next;
        }
    }

    fn send(&mut self, node: usize, to: &Contact<Reach>, message: &wire::RealMessage) {
        let Some(addr) = to.place.direct else { return };
        let me = self.nodes[node].me();
        self.out.clear();
        self.out.extend_from_slice(&me.id.0);
        self.out.extend_from_slice(&me.place.instance.0);
        self.out.extend_from_slice(&wire::encode(message));
        // A full buffer loses a datagram, as a network does.
        self.unsent += u64::from(self.sockets[node].send_to(&self.out, addr).is_err());
    }

    fn command(&mut self, node: usize, command: DhtCommand<Reach, Record>) -> CommandId {
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.feed(node, DhtInput::Command { id, command });
        id
    }

    fn wait(&mut self, id: CommandId) -> Result<Done> {
        let begun = Instant::now();
        loop {
            if let Some(done) = self.done.remove(&id) {
                return Ok(done);
            }
            ensure!(begun.elapsed() < PATIENCE, "no end of a command in {PATIENCE:?}");
            self.turn(PATIENCE)?;
        }
    }

    // ---- jobs

    fn order(&self, point: &NodeId) -> Vec<usize> {
        let distance = |i: usize| Distance::between(&self.nodes[i].me().id, point);
        work::by_distance(self.nodes.len(), distance)
    }

    fn begin(&mut self, job: Job) -> Pending {
        let (client, target, command) = match job {
            Job::Find(n) => {
                let target = NodeId(work::bytes_of("target", n));
                (work::client(n, self.nodes.len()), target, DhtCommand::FindNode { target })
            }
            Job::Put(n) => {
                let value = self.record(n);
                let slot = Slot::agent(value.node_id());
                let command = DhtCommand::Put { slot, value, keep: false };
                (work::client(n, self.nodes.len()), slot.key, command)
            }
            Job::Get(n) => {
                let slot = Slot::agent(self.record(n).node_id());
                let client = work::far_client(&self.order(&slot.key), n);
                (client, slot.key, DhtCommand::FindValue { slot })
            }
        };
        let begun = Instant::now();
        Pending { id: self.command(client, command), job, client, target, begun }
    }

    fn sample(&self, pending: &Pending, (outcome, report, at): Done) -> Sample {
        let (good, recall) = match (&outcome, pending.job) {
            (Outcome::Nodes(nodes), _) => {
                let found: Vec<_> =
                    nodes.iter().filter_map(|c| self.index.get(&c.id)).copied().collect();
                let order = self.order(&pending.target);
                (found.len() == work::K, Some(work::recall(&order, pending.client, &found)))
            }
            (Outcome::Stored { replicas, .. }, _) => (*replicas >= work::K, None),
            (Outcome::Values(values), Job::Get(n)) => {
                (values.first() == self.records.get(&n) && report.requests > 0, None)
            }
            _ => (false, None),
        };
        let elapsed = at.duration_since(pending.begun);
        Sample { elapsed, requests: Some(report.requests), good, recall }
    }

    fn work_off(&mut self, jobs: &[Job], width: usize) -> Result<Vec<Sample>> {
        let (mut todo, mut running, mut samples) = (jobs.iter(), Vec::new(), Vec::new());
        let mut last = Instant::now();
        loop {
            while running.len() < width
                && let Some(job) = todo.next()
            {
                running.push(self.begin(*job));
            }
            if running.is_empty() {
                return Ok(samples);
            }
            let ended: Vec<Pending> =
                running.extract_if(.., |p| self.done.contains_key(&p.id)).collect();
            if ended.is_empty() {
                ensure!(last.elapsed() < PATIENCE, "no end of a command in {PATIENCE:?}");
                self.turn(PATIENCE)?;
                continue;
            }
            last = Instant::now();
            for pending in ended {
                let done = self.done.remove(&pending.id).context("it is done")?;
                samples.push(self.sample(&pending, done));
            }
        }
    }

    /// The n-th record: signed by somebody who is no node.
    fn record(&mut self, n: u64) -> Record {
        let wall = self.now().wall;
        self.records.entry(n).or_insert_with(|| signed(n, wall)).clone()
    }
}

/// A job under way.
struct Pending {
    id: CommandId,
    job: Job,
    client: usize,
    target: NodeId,
    begun: Instant,
}

impl Contender for Ours {
    fn run(&mut self, jobs: &[Job], width: usize) -> Result<Vec<Sample>> {
        self.paused += self.left.take().map_or(Duration::ZERO, |left| left.elapsed());
        // Signing is the owner's work, not the network's.
        for job in jobs {
            if let Job::Put(n) = job {
                self.record(*n);
            }
        }
        let samples = self.work_off(jobs, width);
        self.left = Some(Instant::now());
        samples
    }

    fn remark(&mut self) -> String {
        let contacts: usize = self.nodes.iter().map(|n| n.table().len()).sum();
        let values: usize = self.nodes.iter().map(|n| n.values().len()).sum();
        let stats: Vec<_> = self.nodes.iter().map(Dht::stats).collect();
        let sum = |f: fn(&homing_core::dht::Stats) -> u64| stats.iter().map(f).sum::<u64>();
        format!(
            "{:.0} contacts and {:.0} values per node, {} timeouts, {} refused for rate or quota, {} datagrams unsent, a record is {} bytes",
            contacts as f64 / self.nodes.len() as f64,
            values as f64 / self.nodes.len() as f64,
            sum(|s| s.timeouts),
            sum(|s| s.shed),
            self.unsent,
            self.records.values().next().map_or(0, |r| r.bytes().len()),
        )
    }
}

/// The n-th agent's record.
fn signed(n: u64, wall: Wall) -> Record {
    let key = IdentityKey::from_seed(work::bytes_of("agent", n));
    let instance = InstanceId(work::bytes_of("agent instance", n));
    let record = AgentRecord::new(key.public(), instance, Seq(1), wall);
    record.sign(&key).expect("a minimal record can be signed")
}

fn received(datagram: &[u8], addr: SocketAddr) -> Option<DhtInput<Reach, Record>> {
    let (head, body) = datagram.split_at_checked(HEAD)?;
    let (id, instance) = head.split_at(32);
    let instance = InstanceId(instance.try_into().ok()?);
    let place = Reach { instance, direct: Some(addr), relay: None };
    let from = Contact { id: NodeId(id.try_into().ok()?), place };
    let message = wire::decode(body).ok()?;
    Some(DhtInput::Message { from, message })
}

fn now(elapsed: Duration) -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mono = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    Now { mono: Mono(1 + mono), wall: Wall(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
}
