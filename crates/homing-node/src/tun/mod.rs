//! A network interface on which trusted peers' addresses are reachable, opt-in: ping, TCP, UDP, anything over IPv6.
//!
//! ```text
//! program ──► homing0 (fd00::/8) ──► outgoing ──QUIC datagrams──► peer's incoming ──► homing0 ──► program
//! ```
//! Each direction is one stream for the service `tun`, which the receiver's core allows or refuses as any other; its
//! connection's datagrams carry the packets ([`frame`], `spec/13-tun.md`). The device belongs to this process: it is gone
//! when the process is, however it ends. Why it is built so: `docs/design/tun.md`. Limits: [`limits`]. Not here: names for
//! the addresses ([`crate::dns`]).

mod counts;
mod frame;
mod incoming;
mod limits;
mod outgoing;
mod packet;

use std::io;
use std::sync::Arc;

use homing_api::agent::TunFacts;
use homing_api::streams::Protocol;
use homing_base::{Address, Service};
use tun_rs::{AsyncDevice, DeviceBuilder, VIRTIO_NET_HDR_LEN};

use crate::config::TunConfig;
use crate::node::Node;
use crate::streams::Listener;
use counts::{Counts, Drop};
use outgoing::Outgoing;

/// All agents' addresses (RFC 4193 §3.1): a more specific route of anybody else wins over it.
const PREFIX_BITS: u8 = 8;

/// The interface of this daemon.
pub(crate) struct Interface {
    device: AsyncDevice,
    address: Address,
    name: String,
    mtu: u16,
    counts: Counts,
}

impl std::fmt::Debug for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interface({})", self.name)
    }
}

impl Interface {
    /// Makes the device, with the own address and the route to all others.
    ///
    /// # Errors
    /// No `CAP_NET_ADMIN`, no `/dev/net/tun`, IPv6 off, or the name is taken.
    pub(crate) fn open(wanted: &TunConfig, address: Address) -> io::Result<Arc<Self>> {
        let builder = DeviceBuilder::new().name(&wanted.name).mtu(wanted.mtu);
        let builder = builder.ipv6(address.ip(), PREFIX_BITS).with(|device| {
            device.offload(true);
        });
        let device = builder.build_async()?;
        let (name, mtu) = (wanted.name.clone(), wanted.mtu);
        Ok(Arc::new(Self { device, address, name, mtu, counts: Counts::default() }))
    }

    /// Carries packets until the node has ended; then the device goes.
    pub(crate) fn serve(self: &Arc<Self>, node: &Node) {
        let ports: Vec<u16> = node.shared.transport.bound().iter().map(|a| a.port()).collect();
        let listener = node.shared.streams.listen_built_in(service(), Protocol::Bytes);
        let listener: Listener = listener.expect("the name is reserved: nobody else has it");
        let outgoing = Outgoing::new(self.clone(), node, ports.clone());
        let incoming = incoming::run(self.clone(), listener, ports.into());
        let (mut ended, health) = (node.shared.ended.clone(), node.shared.health.clone());
        let name = self.name.clone();
        tokio::spawn(async move {
            tokio::select! {
                error = outgoing.run() => health.raise("tun_off", format!("{name} is gone: {error}")),
                () = incoming => {}
                _ = ended.wait_for(Option::is_some) => {}
            }
        });
    }

    /// For `status`.
    pub(crate) fn facts(&self) -> TunFacts {
        let (sent_packets, sent_bytes) = self.counts.sent.read();
        let (received_packets, received_bytes) = self.counts.received.read();
        let drops = self.counts.drops().into_iter().filter(|(_, count)| *count > 0);
        TunFacts {
            name: self.name.clone(),
            mtu: self.mtu,
            sent_packets,
            sent_bytes,
            received_packets,
            received_bytes,
            dropped: drops.map(|(why, count)| (why.to_owned(), count)).collect(),
        }
    }

    /// All counters, for metrics.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A packet of our own making.
    async fn write_one(&self, packet: &[u8]) {
        let framed = [&[0; VIRTIO_NET_HDR_LEN][..], packet].concat();
        if self.device.send(&framed).await.is_err() {
            self.counts.dropped(Drop::Device, 1);
        }
    }
}

/// What a peer must be trusted for.
fn service() -> Service {
    Service::TUN.parse().expect("a label")
}

/// Whether the device itself is gone: somebody removed it.
fn is_gone(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let gone = [Errno::EBADF, Errno::EBADFD, Errno::ENODEV, Errno::ENXIO];
    error.raw_os_error().is_some_and(|code| gone.contains(&Errno::from_raw(code)))
}
