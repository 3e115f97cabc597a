//! Port prediction, as it is done: sockets, probes and the forwarders of what they found.
//!
//! ```text
//! PortOrder ──► Measure, Knock | Fan ──► attempt ──► (socket, peer's port) ──► forwarder, its entry
//!               Show ──► the entry is offered to the stack for a few seconds
//! PortNews  ◄── Measured, Fanned, Through | Failed, Ended
//! ```
//! The stack owns its UDP socket, has no way to send from others, and opens paths only where the accepting
//! side of a connection says it can be reached. So what it is shown is a loopback address of the dialling
//! side's machine; why this works and what it costs: `docs/decisions/012-ports-through-a-forwarder.md`. An entry is
//! kept out of facts, records and candidates ([`Ports::shown`]); peers of the main door other than the one in
//! question hear of it for [`SHOWN_FOR`], and send a few probes to their own loopback.
//! Who is tried, when and how often is the core's: [`homing_core::ports`].

mod attempt;
mod forward;
mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_base::InstanceId;
use homing_core::io::{Input, PortNews, PortOrder};
use iroh::Watcher;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::limits::SHOWN_FOR;
use super::tasks::Tasks;
use super::{Shared, TransportEvent};
use crate::identity_file::random_seed;
use attempt::Found;
use forward::Forwarder;
use probe::Probes;

/// What is under way and what was found.
#[derive(Default)]
pub(super) struct Ports(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    measured: Option<(u64, UdpSocket)>,
    /// Dropping the sender ends the attempt.
    running: Option<(u64, oneshot::Sender<()>)>,
    ways: BTreeMap<u64, Way>,
    shown: BTreeSet<SocketAddr>,
}

/// A found pair of ports. Dropping it ends its forwarder.
struct Way {
    endpoint: InstanceId,
    entry: SocketAddr,
    peer: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Ports {
    /// Where packets go that the stack sends to this address, if that is an entry.
    pub(super) fn behind(&self, entry: SocketAddr) -> Option<SocketAddr> {
        self.inner().ways.values().find(|way| way.entry == entry).map(|way| way.peer)
    }

    /// Entries to an endpoint.
    pub(super) fn entries(&self, endpoint: InstanceId) -> Vec<SocketAddr> {
        let inner = self.inner();
        inner.ways.values().filter(|w| w.endpoint == endpoint).map(|w| w.entry).collect()
    }

    /// Entries of other machines that the stack says are ours.
    pub(super) fn shown(&self) -> BTreeSet<SocketAddr> {
        self.inner().shown.clone()
    }

    /// Ends what was found with an endpoint.
    pub(super) fn end(&self, endpoint: InstanceId) {
        self.inner().ways.retain(|_, way| way.endpoint != endpoint);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does what the core asks for.
pub(super) fn perform(shared: &Arc<Shared>, tasks: &Tasks, order: PortOrder) {
    tracing::debug!(?order, "port prediction");
    match order {
        PortOrder::Measure { attempt } => tasks.spawn(measure(shared.clone(), attempt)),
        PortOrder::Knock { attempt, endpoint, secret, ip } => {
            let measured = shared.ports.inner().measured.take_if(|(id, _)| *id == attempt);
            let probes = Probes::new(&secret);
            let job = Job { shared: shared.clone(), attempt, endpoint, probes: probes.clone() };
            let knock = async move { attempt::knock(measured?.1, &probes, &secret, ip).await };
            tasks.spawn(job.run(knock));
        }
        PortOrder::Fan { attempt, endpoint, secret, at } => {
            let probes = Probes::new(&secret);
            let job = Job { shared: shared.clone(), attempt, endpoint, probes: probes.clone() };
            tasks.spawn(job.run(fan(shared.clone(), attempt, probes, at)));
        }
        PortOrder::Show { entry } => tasks.spawn(show(shared.clone(), entry.into())),
        PortOrder::Drop { attempt } => {
            let mut inner = shared.ports.inner();
            inner.measured.take_if(|(id, _)| *id == attempt);
            inner.running.take_if(|(id, _)| *id == attempt);
        }
        PortOrder::EndAll => shared.ports.inner().ways.clear(),
    }
}

async fn tell(shared: &Shared, news: PortNews) {
    tracing::debug!(?news, "port prediction");
    shared.tell(TransportEvent::Input(Input::Ports(news))).await;
}

async fn measure(shared: Arc<Shared>, attempt: u64) {
    let found = attempt::measure(&shared.book).await.map(|(socket, at)| {
        shared.ports.inner().measured = Some((attempt, socket));
        (at, random_seed())
    });
    tell(&shared, PortNews::Measured { attempt, found }).await;
}

async fn fan(shared: Arc<Shared>, attempt: u64, probes: Probes, at: SocketAddrV4) -> Option<Found> {
    let sockets = attempt::open().await;
    let report = shared.doors.pair().and_then(|pair| pair.main.net_report().get());
    let seen = report.and_then(|report| report.global_v4).map(|at| *at.ip());
    if let Some(sockets) = &sockets {
        attempt::fan(sockets, &probes, at).await;
    }
    let ip = seen.filter(|_| sockets.is_some());
    tell(&shared, PortNews::Fanned { attempt, ip }).await;
    attempt::wait(sockets.filter(|_| ip.is_some())?, &probes, at).await
}

/// An attempt from its first probe to the end of what it found.
struct Job {
    shared: Arc<Shared>,
    attempt: u64,
    endpoint: InstanceId,
    probes: Probes,
}

impl Job {
    async fn run(self, search: impl Future<Output = Option<Found>>) {
        let (stop, stopped) = oneshot::channel();
        self.shared.ports.inner().running = Some((self.attempt, stop));
        let found = tokio::select! {
            found = search => found,
            // Whoever stopped it knows.
            _ = stopped => return,
        };
        self.shared.ports.inner().running.take_if(|(id, _)| *id == self.attempt);
        let forwarder = match (found, door(&self.shared)) {
            (Some(found), Some(door)) => {
                let peer = found.1;
                let bound = Forwarder::bind(found, door, self.probes.clone()).await;
                bound.ok().map(|forwarder| (forwarder, peer))
            }
            _ => None,
        };
        let (shared, attempt) = (self.shared, self.attempt);
        let Some((forwarder, peer)) = forwarder else {
            return tell(&shared, PortNews::Failed { attempt }).await;
        };
        let entry = forwarder.at();
        let (stop, stopped) = oneshot::channel();
        let way = Way { endpoint: self.endpoint, entry: entry.into(), peer, _stop: stop };
        {
            // One for each endpoint: an older one was not good enough, or another would not have been looked for.
            let mut inner = shared.ports.inner();
            inner.ways.retain(|_, older| older.endpoint != way.endpoint);
            inner.ways.insert(attempt, way);
        }
        tell(&shared, PortNews::Through { attempt, entry }).await;
        tokio::select! {
            () = forwarder.run() => {}
            _ = stopped => {}
        }
        shared.ports.inner().ways.remove(&attempt);
        tell(&shared, PortNews::Ended { attempt }).await;
    }
}

/// Where the main door listens on this machine, by IPv4.
fn door(shared: &Shared) -> Option<SocketAddr> {
    let bound = shared.doors.pair()?.main.bound_sockets();
    let at = bound.into_iter().find(SocketAddr::is_ipv4)?;
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Some(if at.ip().is_unspecified() { SocketAddr::new(here, at.port()) } else { at })
}

/// Offers an entry of a peer's machine to the stack, which tells the peers it accepted connections from.
async fn show(shared: Arc<Shared>, entry: SocketAddr) {
    let Some(pair) = shared.doors.pair() else { return };
    shared.ports.inner().shown.insert(entry);
    pair.main.add_external_addr(entry).await;
    tokio::time::sleep(SHOWN_FOR).await;
    pair.main.remove_external_addr(&entry).await;
    // Until the stack's own list has followed.
    tokio::time::sleep(SHOWN_FOR).await;
    shared.ports.inner().shown.remove(&entry);
}
