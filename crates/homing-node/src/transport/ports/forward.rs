//! The forwarder of a found pair of ports: between the stack's socket and the one that passes the NATs.
//!
//! ```text
//! iroh 0.0.0.0:P ◄──► 127.a.b.c:E entry ┃ forwarder ┃ punched socket ◄── NATs ──► the peer's forwarder
//! ```
//! The stack owns its socket and takes no other; to it the entry is the peer's address. Packets are carried whole, with
//! their ECN bits and in batches (GRO in, GSO out); they are QUIC's and encrypted. Only the stack's own socket
//! may send to the entry, only the peer's port to the punched socket. The end: [`IDLE`] without a packet of the
//! peer, since a path in use is probed every few seconds.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use noq::udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::probe::{Kind, Probes};
use crate::identity_file::random_seed;
use crate::transport::limits::{FORWARDER_IDLE as IDLE, FORWARDER_QUEUE_BYTES};

/// A batch of datagrams.
const BUFFER_BYTES: usize = 65_536;

/// One found pair of ports in use.
pub(super) struct Forwarder {
    punched: Wire,
    peer: SocketAddr,
    entry: Wire,
    at: SocketAddrV4,
    door: SocketAddr,
    probes: Probes,
}

struct Wire {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Forwarder {
    /// `door`: where the stack listens on this machine.
    pub(super) async fn bind(
        (punched, peer): super::attempt::Found,
        door: SocketAddr,
        probes: Probes,
    ) -> io::Result<Self> {
        // Shown to others it must mean nothing: nobody has this address but loopback interfaces.
        let [a, b, c, ..] = random_seed();
        let entry = match UdpSocket::bind((Ipv4Addr::new(127, a, b, c.clamp(2, 253)), 0)).await {
            Ok(socket) => socket,
            // Where only 127.0.0.1 is up.
            Err(_) => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        let SocketAddr::V4(at) = entry.local_addr()? else {
            return Err(io::ErrorKind::Other.into());
        };
        Ok(Self { punched: Wire::new(punched)?, peer, entry: Wire::new(entry)?, at, door, probes })
    }

    /// Where the stack enters.
    pub(super) fn at(&self) -> SocketAddrV4 {
        self.at
    }

    /// Carries packets until the peer falls silent or a socket fails.
    pub(super) async fn run(self) {
        let ended = tokio::select! {
            ended = self.inward() => ended,
            ended = self.outward() => ended,
        };
        tracing::debug!(entry = %self.at, peer = %self.peer, ?ended, "a predicted path ended");
    }

    async fn inward(&self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let Ok(meta) = timeout(IDLE, self.heard(&mut buffer)).await else { return Ok(()) };
            let meta = meta?;
            match self.probes.read(&buffer[..meta.len]) {
                // Our answer was lost.
                Some(Kind::Settle) => {
                    let answer = self.probes.write(Kind::Agreed);
                    self.punched.socket.send_to(answer, self.peer).await?;
                }
                Some(_) => {}
                None => self.entry.send(self.door, &meta, &buffer[..meta.len]).await?,
            }
        }
    }

    /// The next packets of the peer.
    async fn heard(&self, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        loop {
            let meta = self.punched.recv(buffer).await?;
            if meta.addr == self.peer {
                return Ok(meta);
            }
        }
    }

    async fn outward(&self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let meta = self.entry.recv(&mut buffer).await?;
            if meta.addr == self.door {
                self.punched.send(self.peer, &meta, &buffer[..meta.len]).await?;
            }
        }
    }
}

impl Wire {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // The system may allow less.
        state.set_recv_buffer_size((&socket).into(), FORWARDER_QUEUE_BYTES).ok();
        state.set_send_buffer_size((&socket).into(), FORWARDER_QUEUE_BYTES).ok();
        Ok(Self { socket, state })
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        let mut meta = [RecvMeta::default()];
        let read = || {
            let mut buffers = [IoSliceMut::new(buffer)];
            self.state.recv((&self.socket).into(), &mut buffers, &mut meta)
        };
        self.socket.async_io(Interest::READABLE, read).await?;
        Ok(meta[0])
    }

    async fn send(&self, destination: SocketAddr, meta: &RecvMeta, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let stride = meta.stride.clamp(1, bytes.len());
        for contents in bytes.chunks(stride * self.state.max_gso_segments().get()) {
            let segment_size = (stride < contents.len()).then_some(stride);
            let transmit =
                Transmit { destination, ecn: meta.ecn, contents, segment_size, src_ip: None };
            let write = || match self.state.try_send((&self.socket).into(), &transmit) {
                // What else goes wrong is a lost packet, and QUIC's to notice.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
                sent => sent,
            };
            self.socket.async_io(Interest::WRITABLE, write).await?;
        }
        Ok(())
    }
}
