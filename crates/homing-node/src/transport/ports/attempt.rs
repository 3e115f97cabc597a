//! One attempt from either side: from sockets to a pair of ports that both agree on, or to nothing.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use homing_core::ports::limits::{
    OPENINGS_MAX, PORT_MIN, PROBE_MAX, PROBES_MAX, PROBES_PER_SECOND, SOCKETS, SOCKETS_MIN,
};
use iroh_relay::quic::{QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON, QuicClient};
use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::probe::{Kind, PROBE_BYTES, Probes};
use crate::transport::limits::{
    CLOSE_TIMEOUT, PORT_FREE_POLL, PROBE_TICK, SETTLE_TICK, UDP_OPEN_AGAIN,
};
use crate::transport::mapping;
use crate::transport::relay_book::RelayBook;

/// Probes of one tick.
const BATCH: u32 = PROBES_PER_SECOND * PROBE_TICK.as_millis() as u32 / 1_000;

/// A socket, and the one place it exchanges packets with.
pub(super) type Found = (UdpSocket, SocketAddr);

/// A socket and where it is seen from outside: by all address discovery servers in the same place.
pub(super) async fn measure(book: &Arc<RelayBook>) -> Option<(UdpSocket, SocketAddrV4)> {
    let endpoint = noq::Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into()).ok()?;
    let local = endpoint.local_addr().ok()?;
    let client = QuicClient::new(endpoint.clone(), book.client_config());
    let servers = mapping::servers(book);
    let asked = servers.iter().map(|(relay, port)| mapping::observed(book, &client, relay, *port));
    let seen = futures_util::future::join_all(asked).await;
    let seen: BTreeSet<SocketAddr> = seen.into_iter().flatten().collect();
    endpoint.close(QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON);
    timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await.ok();
    drop((endpoint, client));
    let (Some(SocketAddr::V4(at)), 1) = (seen.first(), seen.len()) else { return None };
    // A socket of its own at the same port: QUIC's has options that merge datagrams.
    let again = async {
        loop {
            match UdpSocket::bind(local).await {
                Ok(socket) => return socket,
                Err(_) => sleep(PORT_FREE_POLL).await,
            }
        }
    };
    Some((timeout(CLOSE_TIMEOUT, again).await.ok()?, *at))
}

/// The side whose port is known: knocks at random ports until one of the other's sockets answers.
pub(super) async fn knock(
    socket: UdpSocket,
    probes: &Probes,
    secret: &[u8; 32],
    ip: Ipv4Addr,
) -> Option<Found> {
    let mut targets = Targets { secret, ip, next: 0 };
    let mut tick = ticking(PROBE_TICK);
    let mut settle = ticking(SETTLE_TICK);
    let mut chosen: Option<SocketAddr> = None;
    let mut buffer = [0; 64];
    let work = async {
        loop {
            tokio::select! {
                heard = socket.recv_from(&mut buffer) => {
                    let Ok((n, from)) = heard else { continue };
                    match probes.read(&buffer[..n]).filter(|_| from.ip() == ip) {
                        Some(Kind::Open | Kind::Hit) if chosen.is_none() => {
                            chosen = Some(from);
                            settle.reset_immediately();
                        }
                        Some(Kind::Agreed) if chosen == Some(from) => return from,
                        _ => {}
                    }
                }
                _ = settle.tick(), if chosen.is_some() => {
                    let to = chosen.expect("just looked");
                    socket.send_to(probes.write(Kind::Settle), to).await.ok();
                }
                _ = tick.tick(), if chosen.is_none() && targets.next < PROBES_MAX => {
                    for target in targets.by_ref().take(BATCH as usize) {
                        socket.send_to(probes.write(Kind::Knock), target).await.ok();
                    }
                }
            }
        }
    };
    let found = timeout(PROBE_MAX, work).await.ok();
    tracing::debug!(knocked = targets.next, ?found, "port prediction, easy side");
    found.map(|peer| (socket, peer))
}

/// Random ports of one address; the order is the attempt's own.
struct Targets<'a> {
    secret: &'a [u8; 32],
    ip: Ipv4Addr,
    next: u32,
}

impl Iterator for Targets<'_> {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        if self.next == PROBES_MAX {
            return None;
        }
        self.next += 1;
        let mut hash = Sha256::new();
        hash.update(b"homing port target v1");
        hash.update(self.secret);
        hash.update(self.next.to_be_bytes());
        let number = hash.finalize();
        let number = u32::from_be_bytes([number[0], number[1], number[2], number[3]]);
        let ports = u32::from(u16::MAX) + 1 - u32::from(PORT_MIN);
        let port = u32::from(PORT_MIN) + number % ports;
        Some((self.ip, u16::try_from(port).expect("below 65,536")).into())
    }
}

/// The sockets of the symmetric side; `None`: too few could be opened.
pub(super) async fn open() -> Option<Vec<Arc<UdpSocket>>> {
    let mut sockets = Vec::with_capacity(SOCKETS);
    while sockets.len() < SOCKETS {
        match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await {
            Ok(socket) => sockets.push(Arc::new(socket)),
            Err(error) => {
                tracing::debug!(%error, sockets = sockets.len(), "no more sockets");
                break;
            }
        }
    }
    (sockets.len() >= SOCKETS_MIN).then_some(sockets)
}

/// Sends once from each socket, at the pace of probes.
pub(super) async fn fan(sockets: &[Arc<UdpSocket>], probes: &Probes, at: SocketAddrV4) {
    let mut tick = ticking(PROBE_TICK);
    for batch in sockets.chunks(BATCH as usize) {
        tick.tick().await;
        for socket in batch {
            socket.send_to(probes.write(Kind::Open), at).await.ok();
        }
    }
}

/// The symmetric side: waits at all its sockets for the knock, and for the other's choice.
pub(super) async fn wait(
    sockets: Vec<Arc<UdpSocket>>,
    probes: &Probes,
    at: SocketAddrV4,
) -> Option<Found> {
    let (heard, mut hear) = mpsc::channel(64);
    let mut readers = JoinSet::new();
    for (index, socket) in sockets.iter().cloned().enumerate() {
        readers.spawn(read(index, socket, probes.clone(), at, heard.clone()));
    }
    let work = async {
        let mut openings = 1;
        let mut again = ticking(UDP_OPEN_AGAIN);
        again.tick().await;
        loop {
            tokio::select! {
                Some((index, from, kind)) = hear.recv() => {
                    let socket: &UdpSocket = &sockets[index];
                    if kind == Kind::Settle {
                        socket.send_to(probes.write(Kind::Agreed), from).await.ok();
                        return (index, from);
                    }
                    socket.send_to(probes.write(Kind::Hit), from).await.ok();
                }
                _ = again.tick(), if openings < OPENINGS_MAX => {
                    openings += 1;
                    fan(&sockets, probes, at).await;
                }
            }
        }
    };
    let found = timeout(PROBE_MAX, work).await.ok();
    readers.shutdown().await;
    tracing::debug!(?found, "port prediction, symmetric side");
    let (index, peer) = found?;
    let socket = sockets.into_iter().nth(index).expect("it was heard from");
    Arc::into_inner(socket).map(|socket| (socket, peer))
}

async fn read(
    index: usize,
    socket: Arc<UdpSocket>,
    probes: Probes,
    at: SocketAddrV4,
    heard: mpsc::Sender<(usize, SocketAddr, Kind)>,
) {
    let mut buffer = [0; 64];
    loop {
        let Ok((n, from)) = socket.recv_from(&mut buffer).await else { continue };
        let kind = probes.read(&buffer[..n.min(PROBE_BYTES + 1)]);
        let ours =
            kind.filter(|k| from.ip() == *at.ip() && matches!(k, Kind::Knock | Kind::Settle));
        if let Some(kind) = ours
            && heard.send((index, from, kind)).await.is_err()
        {
            return;
        }
    }
}

fn ticking(period: Duration) -> tokio::time::Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
