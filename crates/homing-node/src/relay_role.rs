//! The relay role of a daemon: its own [`RelayServer`], what it is called from outside, and the
//! document that answers "who runs this relay?".

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use homing_base::{NodeId, Record, RelayRef};
use tokio::sync::watch;

use crate::config::{RelayAccess as Access, RelayConfig as Wanted};
use crate::home::Home;
use crate::relay::{RelayAccess, RelayConfig, RelayCounts, RelayError, RelayServer, RelayTls};
use crate::transport::WellKnown;

/// A relay that this daemon serves.
pub(crate) struct RelayRole {
    server: Mutex<Option<RelayServer>>,
    listen: SocketAddr,
    reference: RelayRef,
    allowed: Vec<NodeId>,
    well_known: watch::Sender<Vec<u8>>,
}

impl RelayRole {
    /// Starts the relay of `owner`.
    pub(crate) async fn start(
        wanted: &Wanted,
        home: &Home,
        owner: NodeId,
    ) -> Result<Self, RelayError> {
        let (well_known, document) = watch::channel(Vec::new());
        let allowed = match wanted.access {
            Access::Open => Vec::new(),
            // The owner's own packets go through it too.
            Access::Allow => wanted.allow.iter().copied().chain([owner]).collect(),
        };
        let server = RelayServer::start(RelayConfig {
            listen: wanted.listen,
            quic_port: wanted.quic_port,
            tls: tls(wanted, home),
            access: access(wanted, &allowed),
            rate_limit_bytes_per_second: NonZeroU32::new(wanted.rate_limit_bytes_per_second),
            well_known: document,
        })
        .await?;
        let listen = server.addr();
        let host = wanted.hostname.clone().unwrap_or_else(|| own_host(listen).to_string());
        let reference = server.relay_ref(&host);
        Ok(Self { server: Mutex::new(Some(server)), listen, reference, allowed, well_known })
    }

    /// What others pass to `--relay`.
    pub(crate) fn reference(&self) -> &RelayRef {
        &self.reference
    }

    /// Where it listens (TCP).
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where address discovery listens (UDP).
    pub(crate) fn quic_listen(&self) -> Option<SocketAddr> {
        self.reference.quic_port.map(|port| SocketAddr::new(self.listen.ip(), port))
    }

    /// Node IDs that may use it; empty: everybody.
    pub(crate) fn allowed(&self) -> &[NodeId] {
        &self.allowed
    }

    /// What went through so far.
    pub(crate) fn counts(&self) -> RelayCounts {
        self.server().as_ref().map(RelayServer::counts).unwrap_or_default()
    }

    /// Answers "who runs this relay?" with this from now on.
    pub(crate) fn publish(&self, record: &Record, direct: &[SocketAddr]) {
        let document = WellKnown { record: record.bytes().to_vec(), direct: direct.to_vec() };
        let bytes = homing_base::cbor::encode(&document);
        self.well_known.send_if_modified(|old| {
            let changed = *old != bytes;
            *old = bytes;
            changed
        });
    }

    /// Disconnects the clients and frees the ports.
    pub(crate) async fn stop(&self) {
        let server = self.server().take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<RelayServer>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls(wanted: &Wanted, home: &Home) -> RelayTls {
    match (&wanted.cert, &wanted.key) {
        (Some(certificate), Some(key)) => {
            RelayTls::Given { certificate: certificate.clone(), key: key.clone() }
        }
        _ => RelayTls::SelfMade { dir: home.dir().to_owned() },
    }
}

fn access(wanted: &Wanted, allowed: &[NodeId]) -> RelayAccess {
    match wanted.access {
        Access::Open => RelayAccess::Open,
        Access::Allow => RelayAccess::AllowList(allowed.iter().copied().collect::<BTreeSet<_>>()),
    }
}

/// The address that the outside most likely sees: the one listened on, else the one that packets
/// to the internet leave from. Nothing is sent.
fn own_host(listen: SocketAddr) -> IpAddr {
    if !listen.ip().is_unspecified() {
        return listen.ip();
    }
    let leaving = |bind: &str, to: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        // Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket only picks a route.
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    leaving("0.0.0.0:0", "192.0.2.1:9")
        .or_else(|| leaving("[::]:0", "[2001:db8::1]:9"))
        .unwrap_or(IpAddr::from([127, 0, 0, 1]))
}
