//! What happens around this machine: its addresses and links change, or it slept.
//!
//! ```text
//! rtnetlink: link, address, default route ──► other source address, or a link came back ──► Change::Network ──► core
//! CLOCK_BOOTTIME ran ahead of CLOCK_MONOTONIC ────────────────────────────────────────────► Change::Sleep
//! ```
//! The stack watches the interfaces itself, waits until a change has settled for a quarter of a second, and then moves its
//! sockets and paths; telling it (`Endpoint::network_change`) only starts the same wait. It does not notice sleep: its
//! clock is the monotonic one, which stands still meanwhile. Here the kernel's word counts at once, for those who look
//! after the relays ([`super::health`]), and the core puts its links on trial once the stack has moved. What interface an address is on does not matter; the address that the
//! kernel would send from does (asked by connecting a UDP socket, which sends nothing).
//!
//! Sources: rtnetlink(7), `clock_gettime(2)`. Not here: links with peers; the core notices sleep by itself.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use homing_base::Mono;
use nix::errno::Errno;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket,
};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::limits::{NETWORK_SETTLES, NEWS_LOST_PAUSE, SLEEP_LOOK, SLEEP_MIN, STACK_MOVES};
use super::{Shared, TransportEvent};
use crate::clock;

/// Multicast groups of rtnetlink(7): links, addresses and routes of both families.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// One datagram of news; what is longer is cut, nobody reads it.
const NEWS_BYTES: usize = 4_096;
/// Documentation addresses (RFC 5737, RFC 3849) stand for "somewhere on the internet".
const SOMEWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Packets leave from another address than before, or a link came back.
    Network,
    /// The machine was suspended.
    Sleep,
}

/// Watches, and counts: the receiver sees the newest change.
pub(super) async fn run(shared: Arc<Shared>, told: watch::Sender<Option<Change>>) {
    let news = match listen() {
        Ok(news) => Some(news),
        Err(error) => {
            tracing::debug!(%error, "the kernel tells nothing of network changes");
            None
        }
    };
    let mut before = Surroundings::look();
    let mut clocks = Clocks::read();
    let mut tick = interval(SLEEP_LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut moving = false;
    let mut moved = std::pin::pin!(sleep(STACK_MOVES));
    loop {
        tokio::select! {
            heard = hear(news.as_ref()) => {
                if let Err(error) = heard {
                    // More came at once than there was room for: what it was, the look will show.
                    tracing::debug!(%error, "news of the network were lost");
                    sleep(NEWS_LOST_PAUSE).await;
                }
                // An address comes, then its route: one change.
                sleep(NETWORK_SETTLES).await;
                let now = Surroundings::look();
                if now.differ_from(&before) {
                    told.send_replace(Some(Change::Network));
                    moved.set(sleep(STACK_MOVES));
                    moving = true;
                }
                before = now;
            }
            () = &mut moved, if moving => {
                moving = false;
                shared.tell(TransportEvent::NetworkChanged).await;
            }
            _ = tick.tick() => {
                let now = Clocks::read();
                if now.slept_since(&clocks) >= SLEEP_MIN {
                    told.send_replace(Some(Change::Sleep));
                }
                clocks = now;
            }
        }
    }
}

/// From where packets would leave, and over what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Surroundings {
    sources: [Option<IpAddr>; 2],
    /// Interfaces with a carrier.
    running: BTreeSet<String>,
}

impl Surroundings {
    fn look() -> Self {
        let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
        let running = interfaces
            .filter(|i| i.flags.contains(up) && !i.flags.contains(InterfaceFlags::IFF_LOOPBACK));
        Self {
            sources: SOMEWHERE.map(source),
            running: running.map(|i| i.interface_name).collect(),
        }
    }

    /// Worth acting on: there is a new way out. Losing one is not; what to do about that is to wait.
    fn differ_from(&self, before: &Self) -> bool {
        let new_source =
            self.sources.iter().zip(&before.sources).any(|(n, b)| n.is_some() && n != b);
        let has_way = self.sources.iter().any(Option::is_some);
        new_source || (has_way && !self.running.is_subset(&before.running))
    }
}

/// Where packets to the internet leave from by IPv4; `None`: there is no route.
pub(crate) fn own_v4() -> Option<IpAddr> {
    SOMEWHERE.into_iter().filter(SocketAddr::is_ipv4).find_map(source)
}

/// The address that a packet to `there` would come from; `None`: no route.
fn source(there: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(there).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// Both clocks that do not jump.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    awake: Mono,
    all: Mono,
}

impl Clocks {
    fn read() -> Self {
        Self { awake: clock::awake_since_boot(), all: clock::since_boot() }
    }

    fn slept_since(&self, before: &Self) -> Duration {
        self.all.since(before.all).saturating_sub(self.awake.since(before.awake))
    }
}

/// To the runtime a datagram socket is a datagram socket.
fn listen() -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket =
        socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    UdpSocket::from_std(socket.into())
}

/// Returns when the kernel said anything, and takes all that it said.
async fn hear(news: Option<&UdpSocket>) -> io::Result<()> {
    let Some(news) = news else { return std::future::pending().await };
    news.readable().await?;
    let mut buffer = [0; NEWS_BYTES];
    loop {
        match news.try_recv(&mut buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // Some were lost: so there were some.
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: Option<&str>, running: &[&str]) -> Surroundings {
        Surroundings {
            sources: [source.map(|ip| ip.parse().unwrap()), None],
            running: running.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn another_way_out_is_a_change_and_a_lost_one_is_not() {
        let home = at(Some("192.168.1.2"), &["eth0"]);
        assert!(!home.differ_from(&home));
        assert!(at(Some("10.0.0.7"), &["eth0"]).differ_from(&home), "another address");
        assert!(!at(None, &[]).differ_from(&home), "the cable is out");
        assert!(home.differ_from(&at(None, &[])), "and in again");
        assert!(home.differ_from(&at(Some("192.168.1.2"), &[])), "the carrier alone came back");
        assert!(!at(None, &["eth0"]).differ_from(&at(None, &[])), "no address yet");
    }

    #[test]
    fn only_time_that_the_awake_clock_missed_is_sleep() {
        let s = |seconds| Mono::default().after(Duration::from_secs(seconds));
        let before = Clocks { awake: s(100), all: s(200) };
        assert_eq!(Clocks { awake: s(190), all: s(290) }.slept_since(&before), Duration::ZERO);
        assert_eq!(
            Clocks { awake: s(101), all: s(801) }.slept_since(&before),
            Duration::from_secs(600)
        );
    }
}
