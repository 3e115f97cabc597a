//! Relays behind a proxy: everything over TCP goes through it, and what it says reaches the user.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use homing_core::io::Door;
use homing_node::transport::{Proxy, TransportConfig, TransportEvent, Via};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::support::{Peer, Relay, connect};

/// `me:secret`, as HTTP Basic writes it.
const EXPECTED: &str = "Basic bWU6c2VjcmV0";

/// A forward proxy that lets `me:secret` through and counts its tunnels.
struct Gate {
    port: u16,
    tunnels: Arc<AtomicUsize>,
}

impl Gate {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let count = tunnels.clone();
        tokio::spawn(async move {
            loop {
                let (guest, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(guest, count.clone()));
            }
        });
        Self { port, tunnels }
    }

    fn proxy(&self, user: &str) -> Proxy {
        Proxy::new(&format!("http://{user}127.0.0.1:{}", self.port), "").unwrap()
    }
}

async fn serve(mut guest: TcpStream, tunnels: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if guest.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    if !head.to_ascii_lowercase().contains(&format!("authorization: {EXPECTED}").to_lowercase()) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        return guest.write_all(refusal).await.unwrap();
    }
    let Ok(mut relay) = TcpStream::connect(&target).await else { return };
    tunnels.fetch_add(1, Ordering::Relaxed);
    guest.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    copy_bidirectional(&mut guest, &mut relay).await.ok();
}

async fn behind(relay: &Relay, proxy: Proxy) -> Peer {
    Peer::start(TransportConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        relays: vec![relay.known.clone()],
        proxy: Some(proxy),
        ..TransportConfig::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_meet_at_a_pinned_relay_through_a_proxy_with_a_password() {
    let (relay, gate) = (Relay::start().await, Gate::open().await);
    let mut a = behind(&relay, gate.proxy("me:secret@")).await;
    let mut b = behind(&relay, gate.proxy("me:secret@")).await;
    a.online().await;
    b.online().await;
    let target = b.target(Door::Front, &[&relay]);
    let (up, _) = connect(&mut a, &mut b, 1, target).await;
    let path = a.transport.path(up.link).unwrap();
    assert_eq!(path.via, Via::Relay(relay.known.clone()));
    // Two doors of two peers hold a tunnel each.
    assert!(gate.tunnels.load(Ordering::Relaxed) >= 4);
    a.transport.close().await;
    b.transport.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_wants_a_password_is_named_with_what_to_do() {
    let (relay, gate) = (Relay::start().await, Gate::open().await);
    for (user, said) in [("", "HTTPS_PROXY=http://USER:PASSWORD@"), ("me:wrong@", "refuses this")] {
        let mut peer = behind(&relay, gate.proxy(user)).await;
        let pick = |event| match event {
            TransportEvent::RelayDown { error, .. } => Some(error),
            _ => None,
        };
        let error = peer.until("the relay is reported", pick).await;
        assert!(error.contains("407") && error.contains(said), "{error}");
        assert!(!error.contains("wrong"), "no password in {error}");
        peer.transport.close().await;
    }
    assert_eq!(gate.tunnels.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_in_no_proxy_is_reached_directly() {
    let relay = Relay::start().await;
    // Nobody listens there.
    let proxy = Proxy::new("http://127.0.0.1:9", "localhost,127.0.0.1").unwrap();
    let mut peer = behind(&relay, proxy).await;
    peer.online().await;
}
