//! Packets of peers on their way into this machine.
//!
//! ```text
//! `tun` stream ──core: trusted, and for `tun`?──► datagrams of its connection ──► source is the peer, destination is us
//!                                                                                   └──► device, a batch at once
//! ```
//! One way per peer: a newer one replaces the older. It ends with the stream, with trust, or with the connection.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

use bytes::Bytes;
use homing_base::{Address, NodeId};
use tokio::task::JoinSet;
use tun_rs::{GROTable, VIRTIO_NET_HDR_LEN};

use super::counts::Drop;
use super::frame::{Arrived, Halves};
use super::{Interface, limits, packet};
use crate::streams::{Listener, Stream};

/// Serves peers until the node stops.
pub(super) async fn run(interface: Arc<Interface>, mut listener: Listener, ports: Arc<[u16]>) {
    let mut tasks = JoinSet::new();
    let mut ways = BTreeMap::new();
    while let Some(stream) = listener.accept().await {
        while tasks.try_join_next().is_some() {}
        ways.retain(|_, way: &mut tokio::task::AbortHandle| !way.is_finished());
        let peer = stream.peer();
        let way = Way::new(interface.clone(), peer, ports.clone());
        if let Some(older) = ways.insert(peer, tasks.spawn(way.run(stream))) {
            older.abort();
        }
    }
}

/// One peer's packets.
struct Way {
    interface: Arc<Interface>,
    peer: Ipv6Addr,
    /// UDP ports of the transport: nothing of the tunnel reaches them.
    ports: Arc<[u16]>,
    halves: Halves,
    gro: GROTable,
    buffers: Vec<Vec<u8>>,
}

impl Way {
    fn new(interface: Arc<Interface>, peer: NodeId, ports: Arc<[u16]>) -> Self {
        Self {
            interface,
            peer: Address::of(&peer).ip(),
            ports,
            halves: Halves::default(),
            gro: GROTable::default(),
            buffers: Vec::new(),
        }
    }

    async fn run(mut self, mut stream: Stream) {
        let connection = stream.connection();
        let severed = stream.severed();
        tokio::pin!(severed);
        let mut batch = vec![Bytes::new(); limits::BATCH_PACKETS];
        let mut nothing = [0; 1];
        loop {
            let count = tokio::select! {
                count = connection.read_many_datagrams(&mut batch) => match count {
                    Ok(count) => count,
                    Err(_) => return,
                },
                () = &mut severed => return,
                // Nothing is said on the stream: what comes is its end.
                _ = stream.recv.read(&mut nothing) => return,
            };
            let bytes = self.deliver(&batch[..count]).await;
            stream.note_received(bytes);
        }
    }

    /// Writes what may pass; the bytes of it.
    async fn deliver(&mut self, batch: &[Bytes]) -> usize {
        let (mut packets, mut bytes) = (0, 0);
        for datagram in batch {
            let packet = match self.halves.take(datagram) {
                Arrived::Packet(packet) => packet,
                Arrived::Half => continue,
                Arrived::Unknown => {
                    self.interface.counts.dropped(Drop::Malformed, 1);
                    continue;
                }
            };
            let own = self.interface.address.ip();
            if let Err(why) = check(&packet, self.peer, own, &self.ports) {
                self.interface.counts.dropped(why, 1);
                continue;
            }
            if self.buffers.len() == packets {
                let room = VIRTIO_NET_HDR_LEN + limits::PACKET_BYTES_MAX;
                self.buffers.push(Vec::with_capacity(room));
            }
            let buffer = &mut self.buffers[packets];
            buffer.clear();
            buffer.resize(VIRTIO_NET_HDR_LEN, 0);
            buffer.extend_from_slice(&packet);
            packets += 1;
            bytes += packet.len();
        }
        if packets == 0 {
            return 0;
        }
        let batch = &mut self.buffers[..packets];
        let written =
            self.interface.device.send_multiple(&mut self.gro, batch, VIRTIO_NET_HDR_LEN).await;
        match written {
            Ok(_) => self.interface.counts.received.add(packets, bytes),
            Err(_) => self.interface.counts.dropped(Drop::Device, packets),
        }
        bytes
    }
}

/// What may enter: from the peer's own address, to ours, and not to the transport itself.
fn check(bytes: &[u8], peer: Ipv6Addr, own: Ipv6Addr, transport_ports: &[u16]) -> Result<(), Drop> {
    let envelope = packet::envelope(bytes).ok_or(Drop::Malformed)?;
    if bytes.len() > limits::PACKET_BYTES_MAX {
        return Err(Drop::Malformed);
    }
    if envelope.source != peer {
        return Err(Drop::Spoofed);
    }
    if envelope.destination != own {
        return Err(Drop::Misdirected);
    }
    if envelope.udp_ports.is_some_and(|(_, to)| transport_ports.contains(&to)) {
        return Err(Drop::Carrier);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::packet::tests::{A, B, packet};
    use super::*;

    #[test]
    fn only_the_peer_itself_gets_in_and_only_to_us() {
        let verdict = |from: &str, to: &str, next, payload: &[u8]| {
            let own = B.parse().unwrap();
            check(&packet(from, to, next, payload), A.parse().unwrap(), own, &[41_641])
        };
        let to_port = |port: u16| [&[0, 9][..], &port.to_be_bytes(), &[0, 8, 0, 0]].concat();
        assert_eq!(verdict(A, B, 17, &to_port(53)), Ok(()));
        assert_eq!(verdict(A, B, 6, &to_port(41_641)), Ok(()), "TCP is nothing of the transport");
        assert_eq!(verdict(A, B, 17, &to_port(41_641)), Err(Drop::Carrier));
        for spoofed in ["fd3a::1", "::1", "fe80::1", B] {
            assert_eq!(verdict(spoofed, B, 17, &to_port(53)), Err(Drop::Spoofed), "{spoofed}");
        }
        for other in ["fd00::2", "::1", "ff02::1", "2001:db8::1", A] {
            assert_eq!(verdict(A, other, 17, &to_port(53)), Err(Drop::Misdirected), "{other}");
        }
        assert_eq!(verdict(A, B, 59, &[0; 1_461]), Err(Drop::Malformed), "too large");
        assert_eq!(check(b"", A.parse().unwrap(), B.parse().unwrap(), &[]), Err(Drop::Malformed));
    }
}
