//! Which controller sends over which path: real QUIC, over a link whose delay the test sets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall stop")]

mod ends;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homing_node::transport::Congestion;
use noq::congestion::{Bbr3, Cubic};
use noq::{Connection, Endpoint, PathId, RecvStream, SendStream};
use tokio::net::UdpSocket;

/// Far more than any of them needs.
const EXCHANGES: usize = 500;
const CHUNK_BYTES: usize = 64 * 1_024;

/// Two ends of a conversation, and what lies between.
struct Talk {
    near: Connection,
    far: Connection,
    send: SendStream,
    recv: RecvStream,
    /// Milliseconds, one way.
    delay: Arc<AtomicU64>,
    _ends: (Endpoint, Endpoint),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    Bbr3,
    Cubic,
}

impl Talk {
    async fn open(one: Congestion, delay_millis: u64) -> Self {
        let (server, client) = ends::configurations(one.factory());
        let local: SocketAddr = ([127, 0, 0, 1], 0).into();
        let far = Endpoint::server(server, local).unwrap();
        let delay = Arc::new(AtomicU64::new(delay_millis));
        let entrance = link(far.local_addr().unwrap(), delay.clone()).await;
        let here = Endpoint::client(local).unwrap();
        let connecting = here.connect_with(client, entrance, "localhost").unwrap();
        let accepting = async { far.accept().await.unwrap().await.unwrap() };
        let (near, other) = tokio::join!(async { connecting.await.unwrap() }, accepting);
        let accepted = other.clone();
        tokio::spawn(async move {
            let (mut send, mut recv) = accepted.accept_bi().await.unwrap();
            let mut said = [0; 64];
            while recv.read_exact(&mut said).await.is_ok() {
                send.write_all(&said).await.unwrap();
            }
        });
        let (send, recv) = near.open_bi().await.unwrap();
        Self { near, far: other, send, recv, delay, _ends: (here, far) }
    }

    async fn exchange(&mut self) -> Sends {
        let mut answer = [0; 64];
        self.send.write_all(&[7; 64]).await.unwrap();
        self.recv.read_exact(&mut answer).await.unwrap();
        self.sends()
    }

    fn sends(&self) -> Sends {
        let controller = || self.near.congestion_state(PathId::ZERO).unwrap().into_any();
        match (controller().is::<Bbr3>(), controller().is::<Cubic>()) {
            (true, false) => Sends::Bbr3,
            (false, true) => Sends::Cubic,
            other => panic!("neither: {other:?}"),
        }
    }

    /// Whether it sends so before the exchanges run out.
    async fn comes_to(&mut self, wanted: Sends) -> bool {
        for _ in 0..EXCHANGES {
            if self.exchange().await == wanted {
                return true;
            }
        }
        false
    }

    /// Whether it sends so after each of `exchanges`.
    async fn stays(&mut self, wanted: Sends, exchanges: usize) -> bool {
        for _ in 0..exchanges {
            if self.exchange().await != wanted {
                return false;
            }
        }
        true
    }
}

/// UDP in at the address it returns, and out to `server` after `delay`, and back.
async fn link(server: SocketAddr, delay: Arc<AtomicU64>) -> SocketAddr {
    let entrance = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let exit = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    exit.connect(server).await.unwrap();
    let address = entrance.local_addr().unwrap();
    tokio::spawn(async move {
        let mut client = None;
        let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                came = entrance.recv_from(&mut there) => {
                    let (length, from) = came.unwrap();
                    client = Some(from);
                    let (packet, exit) = (there[..length].to_vec(), exit.clone());
                    later(&delay, async move { exit.send(&packet).await });
                }
                came = exit.recv(&mut back) => {
                    let (packet, entrance) = (back[..came.unwrap()].to_vec(), entrance.clone());
                    let client = client.unwrap();
                    later(&delay, async move { entrance.send_to(&packet, client).await });
                }
            }
        }
    });
    address
}

fn later(delay: &AtomicU64, send: impl Future<Output = std::io::Result<usize>> + Send + 'static) {
    let wait = Duration::from_millis(delay.load(Ordering::Relaxed));
    tokio::spawn(async move {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // The other end may be gone by now.
        send.await.ok();
    });
}

/// A path that was found near, by a machine that may be busy otherwise.
async fn near() -> Talk {
    for _ in 0..10 {
        let mut talk = Talk::open(Congestion::Auto, 0).await;
        if talk.comes_to(Sends::Cubic).await {
            return talk;
        }
    }
    panic!("no round trip over loopback took less than a millisecond");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_near_path_is_cubic_s_until_it_has_a_queue() {
    let mut talk = near().await;
    talk.delay.store(40, Ordering::Relaxed);
    assert!(talk.comes_to(Sends::Bbr3).await, "eighty milliseconds are a queue");
    talk.delay.store(0, Ordering::Relaxed);
    assert!(talk.stays(Sends::Bbr3, 100).await, "once was enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_handed_over_whole() {
    const CHUNKS: usize = 64;
    let talk = near().await;
    let receiver = async {
        let mut stream = talk.far.accept_uni().await.unwrap();
        stream.read_to_end(usize::MAX).await.unwrap()
    };
    let sender = async {
        let mut stream = talk.near.open_uni().await.unwrap();
        for number in 0..CHUNKS {
            stream.write_all(&[u8::try_from(number).unwrap(); CHUNK_BYTES]).await.unwrap();
            if number == CHUNKS / 4 {
                talk.delay.store(40, Ordering::Relaxed);
            }
        }
        stream.finish().unwrap();
    };
    let (got, ()) = tokio::join!(receiver, sender);
    let whole = (0..CHUNKS).flat_map(|number| [u8::try_from(number).unwrap(); CHUNK_BYTES]);
    assert!(got.into_iter().eq(whole), "every byte in its place");
    assert_eq!(talk.sends(), Sends::Bbr3, "the rest took longer than a near path's queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_path_is_bbr_s() {
    let mut talk = Talk::open(Congestion::Auto, 5).await;
    assert!(talk.stays(Sends::Bbr3, 50).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_configured_holds_at_every_distance() {
    for (one, sends) in [(Congestion::Bbr3, Sends::Bbr3), (Congestion::Cubic, Sends::Cubic)] {
        for delay in [0, 5] {
            let mut talk = Talk::open(one, delay).await;
            assert!(talk.stays(sends, 50).await, "{one} with {delay} ms");
        }
    }
}
