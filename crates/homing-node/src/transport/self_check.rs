//! Reaching oneself: the quickest proof that the node can be reached through its relays.
//!
//! iroh connects with a relay once it has measured all of them, some 0.25 s after the start. A packet
//! for somebody behind a relay makes it connect at once, and a registered endpoint is reachable whether
//! or not that relay will be its home. So at the start the two doors knock at each other through the
//! relays; each refuses the other, and that refusal is the proof: both are reachable. Until iroh has
//! chosen a home, this alone says *online*. A node with one door only makes it connect early.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use iroh::endpoint::{ConnectError, ConnectingError, ConnectionError};
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey, TransportAddr};
use tokio::time::{sleep, timeout};

use super::doors::Pair;
use super::limits::{SELF_CHECK_FIRST, SELF_CHECK_KNOCKS, SELF_CHECK_TIMEOUT};
use super::{ALPN_MESH, Shared};

/// Connects with all relays, proves it, and forgets the proof once iroh must know better.
pub(super) async fn run(shared: Arc<Shared>) {
    let configured = shared.book.configured().iter();
    let relays: Vec<_> =
        configured.filter_map(|r| shared.book.url(r)).map(TransportAddr::Relay).collect();
    if relays.is_empty() {
        return;
    }
    let Some(Pair { front, main }) = &shared.doors.pair() else { return };
    if shared.doors.single() {
        // Nobody has this key: the packet only makes the door connect with the relays.
        let nobody = SecretKey::generate().public();
        timeout(SELF_CHECK_TIMEOUT, knock(main, nobody, &relays, Duration::ZERO)).await.ok();
        return;
    }
    let knocks =
        async { tokio::join!(reach(front, main.id(), &relays), reach(main, front.id(), &relays)) };
    if let Ok((true, true)) = timeout(SELF_CHECK_TIMEOUT, knocks).await {
        shared.reached.send_replace(true);
        sleep(SELF_CHECK_TIMEOUT).await;
        shared.reached.send_replace(false);
    }
}

/// Knocks again and again, each time after twice the pause, until one knock is answered.
async fn reach(from: &Endpoint, to: EndpointId, relays: &[TransportAddr]) -> bool {
    let pauses = (0..SELF_CHECK_KNOCKS).map(|n| SELF_CHECK_FIRST * 2_u32.pow(n));
    let mut knocks: FuturesUnordered<_> = pauses.map(|p| knock(from, to, relays, p)).collect();
    while let Some(answered) = knocks.next().await {
        if answered {
            return true;
        }
    }
    false
}

/// Whether the other end answered, be it with a refusal.
async fn knock(from: &Endpoint, to: EndpointId, relays: &[TransportAddr], pause: Duration) -> bool {
    sleep(pause).await;
    let addr = EndpointAddr::from_parts(to, relays.iter().cloned());
    match from.connect(addr, ALPN_MESH).await {
        Ok(_) => true,
        Err(ConnectError::Connection { source, .. })
        | Err(ConnectError::Connecting {
            source: ConnectingError::ConnectionError { source, .. },
            ..
        }) => matches!(source, ConnectionError::ConnectionClosed(_)),
        Err(_) => false,
    }
}
