//! Does this node's NAT give another public port for each destination ("symmetric")?
//!
//! One socket asks two address discovery servers what they see (RFC 4787 §4.1 by observation). A Homing
//! relay runs two of them, on its `quic` port and the next one, so one relay is enough to know. Two
//! configured relays do as well. Two different answers: it varies. Fewer than two answers: unknown.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::StreamExt;
use homing_base::RelayRef;
use homing_base::relay::QUIC_PORT_DEFAULT;
use iroh_relay::quic::{QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON, QuicClient};

use super::limits::{CLOSE_TIMEOUT, MAPPING_TIMEOUT};
use super::relay_book::{RelayBook, bare_host};

/// Whether the IPv4 mapping varies by destination; `None`: unknown.
pub(super) async fn varies(book: &Arc<RelayBook>) -> Option<bool> {
    let socket = noq::Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).ok()?;
    let client = QuicClient::new(socket.clone(), book.client_config());
    let servers = servers(book);
    let asked = servers.iter().map(|(relay, port)| observed(book, &client, relay, *port));
    let answers = futures_util::future::join_all(asked).await;
    tokio::spawn(async move {
        tokio::time::timeout(CLOSE_TIMEOUT, socket.wait_idle()).await.ok();
    });
    let mut seen = answers.into_iter().flatten();
    let first = seen.next()?;
    let others: Vec<_> = seen.collect();
    (!others.is_empty()).then(|| others.iter().any(|other| *other != first))
}

/// The address discovery servers of the configured relays.
pub(super) fn servers(book: &RelayBook) -> Vec<(&RelayRef, u16)> {
    let secure = book.configured().iter().filter(|r| r.url.starts_with("https://"));
    let both = secure.flat_map(|relay| {
        let first = relay.quic_port.unwrap_or(QUIC_PORT_DEFAULT);
        [(relay, first), (relay, first.saturating_add(1))]
    });
    both.collect()
}

/// Where one of them sees the client's socket.
pub(super) async fn observed(
    book: &Arc<RelayBook>,
    client: &QuicClient,
    relay: &RelayRef,
    port: u16,
) -> Option<SocketAddr> {
    let ask = async {
        let host = book.url(relay)?.host().map(|h| bare_host(&h))?;
        let addrs = book.addresses(relay, port).await;
        let server = addrs.into_iter().find(SocketAddr::is_ipv4)?;
        let connection = client.create_conn(server, &host).await.ok()?;
        let seen = connection.observed_external_addr().next().await;
        connection.close(QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON);
        seen.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    };
    tokio::time::timeout(MAPPING_TIMEOUT, ask).await.ok().flatten()
}
