//! The DNS server of a daemon, opt-in: `NAME.agent.internal` for programs that know names and nothing of Homing.
//!
//! ```text
//! UDP, TCP ──► rate, places ──► zone (what is asked) ──► answer (who is meant) ──► the core's names
//! ```
//! Authoritative for two zones, forwards nothing, asks nobody unless `dns.scope = "all"`. A port that cannot be had is a
//! condition that lasts (`dns_off`) and stops nothing else. Messages are read and written by `hickory-proto`. Limits:
//! `limits`. Not here: how a system is told to ask here (`homing dns setup`).

mod answer;
mod limits;
mod zone;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::{DnsConfig, DnsScope};
use crate::health::Health;
use crate::node::{Node, Shared};
use answer::Answering;

/// The DNS server that this daemon is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DnsRole {
    listen: SocketAddr,
    scope: DnsScope,
}

/// Its sockets.
pub(crate) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl DnsRole {
    /// Takes the port. `None`: it is not wanted, or cannot be had.
    pub(crate) async fn prepare(wanted: &DnsConfig, health: &Health) -> Option<(Self, Sockets)> {
        let addr = wanted.listen?;
        match bind(addr).await {
            Ok((listen, sockets)) => Some((Self { listen, scope: wanted.scope }, sockets)),
            Err(error) => {
                health.raise("dns_off", format!("it cannot listen on {addr}: {error}"));
                None
            }
        }
    }

    /// Where it listens.
    pub(crate) fn listen(self) -> SocketAddr {
        self.listen
    }

    /// Serves until the node has ended.
    pub(crate) fn serve(self, node: &Node, sockets: Sockets) {
        let desk = Arc::new(Desk {
            node: Arc::downgrade(&node.shared),
            scope: self.scope,
            places: Arc::new(Semaphore::new(limits::QUESTIONS_MAX)),
            pace: Mutex::default(),
        });
        let mut ended = node.shared.ended.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = desk.clone().datagrams(Arc::new(sockets.udp)) => {}
                () = desk.connections(sockets.tcp) => {}
                _ = ended.wait_for(Option::is_some) => {}
            }
        });
    }
}

/// Both on one port.
async fn bind(addr: SocketAddr) -> io::Result<(SocketAddr, Sockets)> {
    let tcp = TcpListener::bind(addr).await?;
    let listen = tcp.local_addr()?;
    Ok((listen, Sockets { udp: UdpSocket::bind(listen).await?, tcp }))
}

/// Questions in this second.
#[derive(Default)]
struct Pace {
    second: u64,
    questions: u32,
}

/// Where questions come in. Holds the node weakly: a connection does not keep it alive.
struct Desk {
    node: Weak<Shared>,
    scope: DnsScope,
    places: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

impl Desk {
    async fn datagrams(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = [0; limits::UDP_BYTES_MAX];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // An ICMP error of an earlier answer, or a shortage: never spin on it.
                Err(_) => {
                    tokio::time::sleep(limits::IDLE / 100).await;
                    continue;
                }
            };
            let Ok(place) = self.places.clone().try_acquire_owned() else { continue };
            let (desk, socket) = (self.clone(), socket.clone());
            let question = buffer[..length].to_vec();
            tokio::spawn(async move {
                if let Some(answer) = desk.answer(&question, true).await {
                    socket.send_to(&answer, from).await.ok();
                }
                drop(place);
            });
        }
    }

    async fn connections(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        let mut open = tokio::task::JoinSet::new();
        loop {
            let place = places.clone().acquire_owned().await.expect("never closed");
            while open.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(limits::IDLE / 100).await;
                continue;
            };
            let desk = self.clone();
            open.spawn(async move {
                desk.conversation(stream).await.ok();
                drop(place);
            });
        }
    }

    /// Questions of one connection, each after the other (RFC 1035 §4.2.2, RFC 7766).
    async fn conversation(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = usize::from(timeout(limits::IDLE, stream.read_u16()).await??);
            if length > limits::TCP_QUESTION_BYTES_MAX {
                return Ok(());
            }
            let mut question = vec![0; length];
            timeout(limits::IDLE, stream.read_exact(&mut question)).await??;
            let Some(answer) = self.answer(&question, false).await else { return Ok(()) };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let framed = [&length.to_be_bytes()[..], &answer].concat();
            timeout(limits::IDLE, stream.write_all(&framed)).await??;
        }
    }

    async fn answer(&self, question: &[u8], over_udp: bool) -> Option<Vec<u8>> {
        let node = self.node.upgrade().map(|shared| Node { shared })?;
        if !self.keeps_pace(&node) {
            return None;
        }
        Answering { node, scope: self.scope }.answer(question, over_udp).await
    }

    fn keeps_pace(&self, node: &Node) -> bool {
        let second = node.shared.clock.mono().0 / 1_000_000;
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.second != second {
            *pace = Pace { second, questions: 0 };
        }
        pace.questions += 1;
        pace.questions <= limits::QUESTIONS_PER_SECOND_MAX
    }
}
