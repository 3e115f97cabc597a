//! How a link's packets travel: which path is used, how fast, and which others stand by.

use std::net::SocketAddr;
use std::time::Duration;

use homing_base::RelayRef;
use iroh::TransportAddr;
use iroh::endpoint::{Connection, Path};

use super::Shared;
use super::relay_book::RelayBook;

/// One way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// UDP between the two hosts.
    Direct(SocketAddr),
    /// The same, through a port that was found by prediction.
    Predicted(SocketAddr),
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
pub(super) fn view(connection: &Connection, shared: &Shared) -> Option<PathView> {
    let paths = connection.paths();
    let used = paths.iter().find(Path::is_selected).or_else(|| paths.iter().next())?;
    let stats = used.stats();
    let others = paths.iter().filter(|p| p.id() != used.id());
    Some(PathView {
        via: via(&used, shared)?,
        rtt: used.rtt(),
        bytes_sent: stats.udp_tx.bytes,
        bytes_received: stats.udp_rx.bytes,
        others: others.filter_map(|p| Some((via(&p, shared)?, p.rtt()))).collect(),
    })
}

/// The relays that a connection has paths through, in use or standing by.
pub(super) fn relays(connection: &Connection, book: &RelayBook) -> Vec<RelayRef> {
    let paths = connection.paths();
    let relay = |p: Path<'_>| match p.remote_addr() {
        TransportAddr::Relay(url) => Some(book.relay(url)),
        _ => None,
    };
    paths.iter().filter_map(relay).collect()
}

fn via(path: &Path<'_>, shared: &Shared) -> Option<Via> {
    match path.remote_addr() {
        TransportAddr::Ip(addr) => Some(match shared.ports.behind(*addr) {
            Some(peer) => Via::Predicted(peer),
            None => Via::Direct(*addr),
        }),
        TransportAddr::Relay(url) => Some(Via::Relay(shared.book.relay(url))),
        _ => None,
    }
}
