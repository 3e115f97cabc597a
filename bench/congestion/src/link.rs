//! A link in userspace: UDP in, and out again later, less what was lost.
//!
//! ```text
//! client ──► [loss] ──► [bottleneck: rate, buffer] ──► [delay] ──► server      and the same way back
//! ```
//! Kernels without `netem` have nothing of the kind. Loss is drawn from a seeded generator; the
//! buffer drops at its tail. Two threads per direction: one takes packets in, one lets them go at their
//! time, so that the order is kept and no timer of an async runtime coarsens the delay.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

/// Longer than any packet of QUIC.
const PACKET_BYTES_MAX: usize = 65_536;
/// What the kernel may keep for a thread that is late.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// What a link does to packets, each way.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// One way; half of the round trip.
    pub delay: Duration,
    /// In thousandths.
    pub loss_permille: u64,
    /// Bits per second; `None`: as fast as the machine.
    pub rate: Option<f64>,
}

/// The narrow place, shared by all links that go through it.
#[derive(Debug)]
pub struct Bottleneck {
    rate: f64,
    buffer: Duration,
    free_at: Mutex<Instant>,
}

impl Bottleneck {
    /// `rate` in bits per second; `buffer` as the longest that a packet may wait.
    pub fn new(rate: f64, buffer: Duration) -> Arc<Self> {
        Arc::new(Self { rate, buffer, free_at: Mutex::new(Instant::now()) })
    }

    /// When a packet of so many bytes has passed; `None`: the buffer was full.
    fn pass(&self, now: Instant, bytes: usize) -> Option<Instant> {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = (*free_at).max(now);
        if begins - now > self.buffer {
            return None;
        }
        *free_at = begins + Duration::from_secs_f64(bytes as f64 * 8.0 / self.rate);
        Some(*free_at)
    }
}

/// A running link; its threads end when it is dropped.
pub struct Link {
    /// Where the client sends to.
    pub entrance: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Link {
    /// A link to `server` for one client.
    pub fn open(
        server: SocketAddr,
        conditions: Conditions,
        bottleneck: Option<Arc<Bottleneck>>,
        seed: u64,
    ) -> Result<Self> {
        let (front, back) = (Arc::new(socket()?), Arc::new(socket()?));
        let entrance = front.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let client = Arc::new(Mutex::new(None));
        let there = Way { conditions, bottleneck, seed, stop: stop.clone() };
        // What comes back is thin: acknowledgements.
        let back_again = Way { bottleneck: None, seed: seed ^ 1, ..there.clone() };
        let (learn, known) = (client.clone(), client);
        there.run(front.clone(), back.clone(), move |from| {
            *learn.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            Some(server)
        });
        back_again.run(back, front, move |_| *known.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { entrance, stop })
    }
}

/// One direction.
#[derive(Clone)]
struct Way {
    conditions: Conditions,
    bottleneck: Option<Arc<Bottleneck>>,
    seed: u64,
    stop: Arc<AtomicBool>,
}

struct Parcel {
    due: Instant,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Way {
    fn run(
        self,
        from: Arc<UdpSocket>,
        to: Arc<UdpSocket>,
        target: impl Fn(SocketAddr) -> Option<SocketAddr> + Send + 'static,
    ) {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || self.take(&from, &target, &sender));
        thread::spawn(move || release(&to, &receiver));
    }

    fn take(
        mut self,
        from: &UdpSocket,
        target: &dyn Fn(SocketAddr) -> Option<SocketAddr>,
        out: &Sender<Parcel>,
    ) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, sender)) = from.recv_from(&mut buffer) else { continue };
            let Some(to) = target(sender) else { continue };
            let now = Instant::now();
            let passed = match &self.bottleneck {
                Some(bottleneck) => bottleneck.pass(now, length),
                None => Some(now),
            };
            let Some(passed) = passed else { continue };
            if self.draw() % 1_000 < self.conditions.loss_permille {
                continue;
            }
            let due = passed + self.conditions.delay;
            if out.send(Parcel { due, to, bytes: buffer[..length].to_vec() }).is_err() {
                return;
            }
        }
    }

    /// `SplitMix64`: equidistributed, and one line.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn release(to: &UdpSocket, parcels: &Receiver<Parcel>) {
    while let Ok(parcel) = parcels.recv() {
        let left = parcel.due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(left);
        }
        // A full socket buffer is loss like any other.
        let _ = to.send_to(&parcel.bytes, parcel.to);
    }
}

fn socket() -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}
