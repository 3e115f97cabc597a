//! Packets of this machine on their way to peers.
//!
//! ```text
//! device ──batch──► check (source, destination) ──► flow of the peer: bounded queue ──► datagrams of its connection
//!                                                        └ none yet: trust is looked at, a `tun` stream opened
//! ```
//! One task reads; each peer has a queue and a task of its own, so that a slow one holds up nobody. What cannot go is
//! dropped, counted, and told to the program by an ICMPv6 error, at a bounded rate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use homing_api::{ApiError, Code};
use homing_base::{Address, Mono, Service};
use homing_core::io::PeerRef;
use iroh::endpoint::{Connection, SendDatagramError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;
use tun_rs::VIRTIO_NET_HDR_LEN;

use super::counts::Drop;
use super::packet::{self, Unreachable};
use super::{Interface, frame, limits};
use crate::clock::Clock;
use crate::node::{Node, Shared};
use crate::problem;
use crate::streams::Stream;

/// What a read of the device may bring: one packet that stands for many, which the kernel left whole.
const READ_BYTES_MAX: usize = VIRTIO_NET_HDR_LEN + 65_535;

/// The way to one peer.
struct Flow {
    queue: Arc<Queue>,
    /// Packets that come before this are not tried, for this reason.
    closed: Option<(Mono, Unreachable)>,
}

/// Packets for one peer.
#[derive(Default)]
struct Queue {
    packets: Mutex<VecDeque<Bytes>>,
    ready: Notify,
}

impl Queue {
    /// How many of them found no place.
    fn push(&self, batch: &mut Vec<Bytes>) -> usize {
        let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let room = limits::QUEUE_PACKETS_MAX - packets.len();
        let left_over = batch.len().saturating_sub(room);
        packets.extend(batch.drain(..batch.len() - left_over));
        drop(packets);
        batch.clear();
        self.ready.notify_one();
        left_over
    }

    /// At most `max` packets; waits for the first.
    async fn pop(&self, max: usize) -> Vec<Bytes> {
        loop {
            {
                let mut packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
                if !packets.is_empty() {
                    let taken = packets.len().min(max);
                    return packets.drain(..taken).collect();
                }
            }
            self.ready.notified().await;
        }
    }

    fn clear(&self) -> Vec<Bytes> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

/// How a flow ended.
struct Ended {
    peer: Address,
    /// Why nothing more is tried for this long; `None`: the next packet tries again.
    because: Option<(Unreachable, Duration)>,
}

/// Reads packets until the device is gone.
pub(super) struct Outgoing {
    interface: Arc<Interface>,
    /// Weakly: an interface does not keep the node alive.
    node: Weak<Shared>,
    clock: Clock,
    flows: BTreeMap<Address, Flow>,
    courses: JoinSet<Ended>,
    /// UDP ports of the transport.
    ports: Vec<u16>,
    errors: (u64, u32),
}

impl Outgoing {
    pub(super) fn new(interface: Arc<Interface>, node: &Node, ports: Vec<u16>) -> Self {
        Self {
            interface,
            node: Arc::downgrade(&node.shared),
            clock: node.shared.clock,
            flows: BTreeMap::new(),
            courses: JoinSet::new(),
            ports,
            errors: (0, 0),
        }
    }

    pub(super) async fn run(mut self) -> std::io::Error {
        let mut raw = vec![0; READ_BYTES_MAX];
        let mut packets = vec![vec![0; limits::PACKET_BYTES_MAX]; limits::BATCH_PACKETS];
        let mut sizes = vec![0; limits::BATCH_PACKETS];
        loop {
            let interface = self.interface.clone();
            let read = interface.device.recv_multiple(&mut raw, &mut packets, &mut sizes, 0);
            let read = tokio::select! {
                read = read => read,
                Some(ended) = self.courses.join_next() => {
                    if let Ok(ended) = ended {
                        self.on_end(ended).await;
                    }
                    continue;
                }
            };
            match read {
                Ok(count) => {
                    let batch = packets.iter().zip(&sizes).take(count);
                    let batch: Vec<&[u8]> = batch.map(|(packet, size)| &packet[..*size]).collect();
                    self.route(&batch).await;
                }
                Err(error) if super::is_gone(&error) => return error,
                Err(error) => {
                    debug!(%error, "a packet could not be read");
                    tokio::time::sleep(limits::DEVICE_ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Hands a batch to the flows; neighbours in it go mostly to one peer.
    async fn route(&mut self, batch: &[&[u8]]) {
        let mut run: (Option<Address>, Vec<Bytes>) = (None, Vec::new());
        let mut arena = BytesMut::with_capacity(batch.iter().map(|packet| packet.len() + 1).sum());
        for packet in batch {
            let to = match self.check(packet) {
                Ok(to) => to,
                Err(why) => {
                    self.interface.counts.dropped(why, 1);
                    continue;
                }
            };
            if run.0 != Some(to) {
                self.send(&mut run).await;
                run.0 = Some(to);
            }
            run.1.push(frame::whole(&mut arena, packet));
        }
        self.send(&mut run).await;
    }

    /// Whose packet it is to carry.
    fn check(&self, packet: &[u8]) -> Result<Address, Drop> {
        let envelope = packet::envelope(packet).ok_or(Drop::NotOurs)?;
        if envelope.source != self.interface.address.ip() || packet.len() > limits::PACKET_BYTES_MAX
        {
            return Err(Drop::NotOurs);
        }
        // A connection of the transport that ran over the interface would carry itself.
        if envelope.udp_ports.is_some_and(|(from, _)| self.ports.contains(&from)) {
            return Err(Drop::Carrier);
        }
        match envelope.destination.octets() {
            [0xfd, prefix @ ..] => Ok(Address::from_prefix(prefix)),
            _ => Err(Drop::NotOurs),
        }
    }

    async fn send(&mut self, (to, batch): &mut (Option<Address>, Vec<Bytes>)) {
        let Some(peer) = to.filter(|_| !batch.is_empty()) else { return };
        let now = self.clock.mono();
        if self.flows.get(&peer).is_some_and(|f| f.closed.is_some_and(|(until, _)| until <= now)) {
            self.flows.remove(&peer);
        }
        if !self.flows.contains_key(&peer) && !self.open(peer) {
            self.interface.counts.dropped(Drop::QueueFull, batch.len());
            return batch.clear();
        }
        let flow = &self.flows[&peer];
        match flow.closed {
            Some((_, why)) => self.refuse(std::mem::take(batch), why).await,
            None => {
                let left_over = flow.queue.push(batch);
                self.interface.counts.dropped(Drop::QueueFull, left_over);
            }
        }
    }

    /// Starts the way to a peer; `false`: there are too many.
    fn open(&mut self, peer: Address) -> bool {
        if self.flows.len() >= limits::FLOWS_MAX {
            let now = self.clock.mono();
            self.flows.retain(|_, flow| flow.closed.is_none_or(|(until, _)| until > now));
        }
        if self.flows.len() >= limits::FLOWS_MAX {
            return false;
        }
        let queue = Arc::new(Queue::default());
        let course = Course {
            interface: self.interface.clone(),
            node: self.node.clone(),
            peer,
            queue: queue.clone(),
        };
        let (clock, began) = (self.clock, self.clock.mono());
        self.courses.spawn(async move {
            let because = course.run().await;
            // One that ended as it began would begin again at once, and again.
            let brief = clock.mono().since(began) < limits::FAILURE_LASTS;
            let failed = Some((Unreachable::Address, limits::FAILURE_LASTS)).filter(|_| brief);
            Ended { peer, because: because.or(failed) }
        });
        self.flows.insert(peer, Flow { queue, closed: None });
        true
    }

    async fn on_end(&mut self, Ended { peer, because }: Ended) {
        let Some(flow) = self.flows.get_mut(&peer) else { return };
        let waiting = flow.queue.clear();
        match because {
            None => {
                self.flows.remove(&peer);
                // They came after the end began: a new flow takes them.
                self.send(&mut (Some(peer), waiting)).await;
            }
            Some((why, lasts)) => {
                flow.closed = Some((self.clock.mono().after(lasts), why));
                self.refuse(waiting, why).await;
            }
        }
    }

    /// Drops packets and tells the programs that sent them.
    async fn refuse(&mut self, packets: Vec<Bytes>, why: Unreachable) {
        let drop = match why {
            Unreachable::Prohibited => Drop::NotTrusted,
            Unreachable::Address => Drop::Unreachable,
        };
        self.interface.counts.dropped(drop, packets.len());
        for framed in packets {
            let second = self.clock.mono().0 / 1_000_000;
            if self.errors.0 != second {
                self.errors = (second, 0);
            }
            self.errors.1 += 1;
            if self.errors.1 > limits::ERRORS_PER_SECOND_MAX {
                return;
            }
            if let Some(error) = packet::unreachable(&framed[1..], why) {
                self.interface.write_one(&error).await;
            }
        }
    }
}

/// The life of one flow.
struct Course {
    interface: Arc<Interface>,
    node: Weak<Shared>,
    peer: Address,
    queue: Arc<Queue>,
}

impl Course {
    async fn run(self) -> Option<(Unreachable, Duration)> {
        let stream = match self.open().await {
            Ok(stream) => stream,
            Err(error) => {
                debug!(peer = %self.peer.fmt_short(), %error, "no way for packets");
                return Some(meaning(&error));
            }
        };
        let connection = stream.connection();
        let severed = stream.severed();
        tokio::select! {
            () = self.carry(&connection, &stream) => {}
            () = severed => {}
            _ = connection.closed() => {}
            // The peer ended it: its interface is gone.
            _ = stream.send.stopped() => {}
        }
        None
    }

    /// Nobody is asked who an address belongs to, and the core dials only whom it trusts.
    async fn open(&self) -> Result<Stream, ApiError> {
        let node =
            self.node.upgrade().map(|shared| Node { shared }).ok_or_else(problem::stopping)?;
        let reference = PeerRef::Address(self.peer);
        let now = node.shared.clock.now();
        let id = node.query(move |agent| agent.meaning(now, &reference).ok()).await?;
        let id = id.ok_or_else(|| {
            ApiError::new(Code::PeerNotTrusted, format!("{} is no trusted peer", self.peer))
        })?;
        let service: Service = Service::TUN.parse().expect("a label");
        node.connect(&id.to_string(), &service, limits::OPEN_MAX).await
    }

    /// Sends what comes until nothing came for a while or the connection ended.
    async fn carry(&self, connection: &Connection, stream: &Stream) {
        let mut id = 0_u16;
        while let Ok(packets) = timeout(limits::IDLE, self.queue.pop(limits::BATCH_PACKETS)).await {
            let (count, bytes) = (packets.len(), packets.iter().map(|p| p.len() - 1).sum());
            let Some(bytes_max) = connection.max_datagram_size() else { return };
            let mut datagrams = Vec::with_capacity(count);
            for framed in packets {
                id = id.wrapping_add(1);
                match frame::datagrams(framed, bytes_max, id) {
                    Some((one, two)) => datagrams.extend([Some(one), two].into_iter().flatten()),
                    None => self.interface.counts.dropped(Drop::TooLarge, 1),
                }
            }
            if !self.hand_over(connection, &datagrams).await {
                return;
            }
            stream.note_sent(bytes);
            self.interface.counts.sent.add(count, bytes);
        }
    }

    /// Waits for room rather than let QUIC drop what is older. Whether the connection stands.
    async fn hand_over(&self, connection: &Connection, datagrams: &[Bytes]) -> bool {
        let total: usize = datagrams.iter().map(Bytes::len).sum();
        if connection.datagram_send_buffer_space() >= total
            && let Ok(count) = connection.send_many_datagrams(datagrams)
            && count == datagrams.len()
        {
            return true;
        }
        for datagram in datagrams {
            match connection.send_datagram_wait(datagram.clone()).await {
                Ok(()) => {}
                // The path became narrower this moment.
                Err(SendDatagramError::TooLarge) => {
                    self.interface.counts.dropped(Drop::TooLarge, 1)
                }
                Err(_) => return false,
            }
        }
        true
    }
}

/// What a failure to open means for packets.
fn meaning(error: &ApiError) -> (Unreachable, Duration) {
    match error.code {
        Code::PeerNotTrusted | Code::TrustExpired | Code::ScopeDenied => {
            (Unreachable::Prohibited, limits::REFUSAL_LASTS)
        }
        Code::NoSuchService => (Unreachable::Address, limits::REFUSAL_LASTS),
        _ => (Unreachable::Address, limits::FAILURE_LASTS),
    }
}
