//! How a link's packets travel: which path is used, how fast, and which others stand by.

use std::net::SocketAddr;
use std::time::Duration;

use homing_base::RelayRef;
use iroh::TransportAddr;
use iroh::endpoint::{Connection, Path};

use super::relay_book::RelayBook;

/// One way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// UDP between the two hosts.
    Direct(SocketAddr),
    /// Through a relay.
    Relay(RelayRef),
}

/// A link's paths at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathView {
    /// The path in use.
    pub via: Via,
    /// Its smoothed round trip time.
    pub rtt: Duration,
    /// UDP payload bytes sent on it.
    pub bytes_sent: u64,
    /// UDP payload bytes received on it.
    pub bytes_received: u64,
    /// Open paths that are not in use, with their round trip times.
    pub others: Vec<(Via, Duration)>,
}

/// The paths of a connection; `None` while none is selected.
pub(super) fn view(connection: &Connection, book: &RelayBook) -> Option<PathView> {
    let paths = connection.paths();
    let used = paths.iter().find(Path::is_selected).or_else(|| paths.iter().next())?;
    let stats = used.stats();
    let others = paths.iter().filter(|p| p.id() != used.id());
    Some(PathView {
        via: via(&used, book)?,
        rtt: used.rtt(),
        bytes_sent: stats.udp_tx.bytes,
        bytes_received: stats.udp_rx.bytes,
        others: others.filter_map(|p| Some((via(&p, book)?, p.rtt()))).collect(),
    })
}

/// The relays that a connection has paths through, in use or standing by.
pub(super) fn relays(connection: &Connection, book: &RelayBook) -> Vec<RelayRef> {
    let paths = connection.paths();
    let relay = |p| if let Some(Via::Relay(relay)) = via(&p, book) { Some(relay) } else { None };
    paths.iter().filter_map(relay).collect()
}

fn via(path: &Path<'_>, book: &RelayBook) -> Option<Via> {
    match path.remote_addr() {
        TransportAddr::Ip(addr) => Some(Via::Direct(*addr)),
        TransportAddr::Relay(url) => Some(Via::Relay(book.relay(url))),
        _ => None,
    }
}
