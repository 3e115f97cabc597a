//! Datagrams over a stream: `length u16 ‖ bytes`, after the host's greeting (`spec/11-sessions.md`).
//!
//! One stream stands for one local address. A stream is reliable and ordered: a lost packet delays those
//! behind it, which QUIC datagrams would not. But the daemon's local API carries byte streams, and a
//! datagram frame holds no packet above about 1,200 bytes; so this is what reaches every path.
//! What does not drain is dropped, oldest first.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homing_api::client::RawStream;
use homing_api::{ApiError, Code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::dial::{Dialler, Greeting, is_passing};
use super::place::Host;
use crate::output;

/// What a host of datagrams says first.
pub(crate) const GREETING: Greeting = Greeting {
    bytes: *b"HDGM\x01",
    missing: "the other side takes no datagrams",
    hint: "start it with homing listen SERVICE --to udp:PORT",
};
/// Datagrams that wait for a stream; then the oldest is dropped.
const QUEUE_MAX: usize = 256;
/// Local addresses served at once; datagrams of further ones are dropped.
const FLOWS_MAX: usize = 1_024;
/// A stream that carries nothing for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Datagrams in waiting.
#[derive(Debug, Default)]
struct Queue {
    packets: Mutex<VecDeque<Vec<u8>>>,
    filled: Notify,
}

impl Queue {
    fn push(&self, packet: &[u8]) {
        let mut packets = self.packets();
        if packets.len() >= QUEUE_MAX {
            packets.pop_front();
        }
        packets.push_back(packet.to_vec());
        self.filled.notify_one();
    }

    async fn next(&self) -> Vec<u8> {
        loop {
            let filled = self.filled.notified();
            if let Some(packet) = self.packets().pop_front() {
                return packet;
            }
            filled.await;
        }
    }

    fn packets(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Flows = Arc<Mutex<BTreeMap<SocketAddr, Arc<Queue>>>>;

fn lock(flows: &Flows) -> MutexGuard<'_, BTreeMap<SocketAddr, Arc<Queue>>> {
    flows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries what arrives at `socket`, each local address over a stream of its own. Never returns.
pub(crate) async fn forward(socket: UdpSocket, dialler: Dialler, patience: Duration) -> ! {
    let socket = Arc::new(socket);
    let flows = Flows::default();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // An error here is an echo of one that was sent: somebody's port is closed.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let mut table = lock(&flows);
        if let Some(queue) = table.get(&from) {
            queue.push(&buffer[..length]);
        } else if table.len() < FLOWS_MAX {
            let queue = Arc::new(Queue::default());
            queue.push(&buffer[..length]);
            table.insert(from, queue.clone());
            let (dialler, socket, flows) = (dialler.clone(), socket.clone(), flows.clone());
            tokio::spawn(async move {
                let opened = dialler.until(Instant::now() + patience, is_passing).await;
                match opened {
                    Ok(stream) => {
                        pump(stream, &queue, Program { socket: &socket, at: Some(from) }).await;
                    }
                    Err(error) => output::say(&format!("datagrams from {from}: {error}")),
                }
                lock(&flows).remove(&from);
            });
        }
    }
}

/// The other side: one stream's datagrams to and from a UDP program.
pub(crate) async fn serve(mut stream: RawStream, to: &Host) -> Result<(), ApiError> {
    let socket = to.connect_udp().await.map_err(|e| {
        ApiError::new(Code::StreamBroken, format!("no way to udp:{to}")).why(e.to_string())
    })?;
    let greeted = stream.io.write_all(&GREETING.bytes).await;
    greeted
        .map_err(|e| ApiError::new(Code::StreamBroken, "the stream broke").why(e.to_string()))?;
    let queue = Queue::default();
    let listening = async {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            // Refused: the program is not there at the moment.
            match socket.recv(&mut buffer).await {
                Ok(length) => queue.push(&buffer[..length]),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::select! {
        () = pump(stream, &queue, Program { socket: &socket, at: None }) => Ok(()),
        () = listening => Ok(()),
    }
}

/// The local program; without `at`, the socket is connected to it.
#[derive(Clone, Copy)]
struct Program<'a> {
    socket: &'a UdpSocket,
    at: Option<SocketAddr>,
}

impl Program<'_> {
    async fn send(self, packet: &[u8]) -> io::Result<usize> {
        match self.at {
            Some(at) => self.socket.send_to(packet, at).await,
            None => self.socket.send(packet).await,
        }
    }
}

/// Until the stream ends, or nothing passes for [`IDLE_MAX`].
async fn pump(stream: RawStream, queue: &Queue, program: Program<'_>) {
    let (mut reader, mut writer) = tokio::io::split(stream.io);
    let started = Instant::now();
    // Milliseconds from there to the last datagram.
    let passed = AtomicU64::new(0);
    let note = || passed.store(started.elapsed().as_millis() as u64, Ordering::Relaxed);
    let outward = async {
        loop {
            let packet = queue.next().await;
            let mut framed = (packet.len() as u16).to_be_bytes().to_vec();
            framed.extend(packet);
            writer.write_all(&framed).await?;
            note();
        }
        #[expect(unreachable_code, reason = "names the type of the error")]
        io::Result::Ok(())
    };
    let inward = async {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let length = usize::from(reader.read_u16().await?);
            reader.read_exact(&mut buffer[..length]).await?;
            note();
            // A datagram may be lost.
            let _ = program.send(&buffer[..length]).await;
        }
        #[expect(unreachable_code, reason = "names the type of the error")]
        io::Result::Ok(())
    };
    let idle = async {
        loop {
            let until = Duration::from_millis(passed.load(Ordering::Relaxed)) + IDLE_MAX;
            if started.elapsed() >= until {
                return;
            }
            tokio::time::sleep_until(started + until).await;
        }
    };
    tokio::select! { _ = outward => {}, _ = inward => {}, () = idle => {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest() {
        let queue = Queue::default();
        for n in 0..QUEUE_MAX + 2 {
            queue.push(&(n as u32).to_be_bytes());
        }
        assert_eq!(queue.next().await, 2_u32.to_be_bytes());
        assert_eq!(queue.packets().len(), QUEUE_MAX - 1);
    }
}
