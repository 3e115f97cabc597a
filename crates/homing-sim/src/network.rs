//! The internet between hosts: sites with their address translators, regions, partitions.
//!
//! ```text
//! host (LAN address) ── site: 0, 1 or 2 NAT boxes ── public address ── internet ── …
//! ```
//! UDP packets walk through the boxes one by one ([`crate::nat`]); TCP to a public host (a relay)
//! passes unless a partition forbids it. Hole punching is two hosts sending to each other's candidates
//! in rounds. Not here: links and their messages ([`crate::link`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::clock::{HostClock, WorldTime};
use crate::nat::{NatBox, NatKind};

/// A computer, wherever it is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostIx(pub usize);

/// A network that hosts are plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteIx(pub usize);

/// A bound UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// On which host.
    pub host: HostIx,
    /// Which port.
    pub port: u16,
}

/// Where reflexive addresses are learnt.
const DISCOVERY: ([u8; 4], u16) = ([203, 0, 113, 250], 7_842);
/// Rounds of probes in one attempt to punch; iroh sends more, the outcome settles in three.
const PUNCH_ROUNDS: usize = 3;

#[derive(Debug)]
struct Site {
    kind: NatKind,
    boxes: Vec<NatBox>,
    public: Ipv4Addr,
    hosts: u8,
}

/// One computer.
#[derive(Debug)]
pub struct Host {
    /// Where it is plugged in.
    pub site: SiteIx,
    /// Which part of the world; latency grows with the distance.
    pub region: u8,
    /// Its clocks.
    pub clock: HostClock,
    /// Hosts on different islands may be unable to talk.
    pub island: u8,
    /// The cable is out.
    pub unplugged: bool,
    ip: Ipv4Addr,
}

/// All hosts and what lies between them.
#[derive(Debug, Default)]
pub struct Network {
    sites: Vec<Site>,
    hosts: Vec<Host>,
    by_public: BTreeMap<Ipv4Addr, SiteIx>,
    by_lan: BTreeMap<(SiteIx, Ipv4Addr), HostIx>,
    /// Island pairs (from, to) whose packets vanish.
    pub blocked: BTreeSet<(u8, u8)>,
}

impl Network {
    /// A new site with a public address and a /24 of its own: what counts neighbourhoods sees none.
    pub fn add_site(&mut self, kind: NatKind) -> SiteIx {
        let ix = self.sites.len();
        let number = u32::try_from(ix).expect("sites fit") + 1;
        let public = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(5, 0, 0, 1)) + (number << 8));
        let carrier = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(100, 64, 0, 0)) + number);
        let layers = kind.layers();
        let outermost = layers.len().saturating_sub(1);
        let outside = |layer| if layer == outermost { public } else { carrier };
        let boxes = layers.into_iter().enumerate().map(|(i, r)| NatBox::new(r, outside(i)));
        self.sites.push(Site { kind, boxes: boxes.collect(), public, hosts: 0 });
        self.by_public.insert(public, SiteIx(ix));
        SiteIx(ix)
    }

    /// A new host at a site.
    pub fn add_host(&mut self, site: SiteIx, region: u8, clock: HostClock) -> HostIx {
        let ix = HostIx(self.hosts.len());
        let ip = self.plug_in(site, ix);
        self.hosts.push(Host { site, region, clock, island: 0, unplugged: false, ip });
        ix
    }

    /// Moves a host's cable to another site: it gets a new address.
    pub fn replug(&mut self, host: HostIx, site: SiteIx) {
        let old = (self.hosts[host.0].site, self.hosts[host.0].ip);
        self.by_lan.remove(&old);
        let ip = self.plug_in(site, host);
        self.hosts[host.0].ip = ip;
        self.hosts[host.0].site = site;
    }

    fn plug_in(&mut self, ix: SiteIx, host: HostIx) -> Ipv4Addr {
        let site = &mut self.sites[ix.0];
        site.hosts += 1;
        let private = !site.boxes.is_empty() || site.kind == NatKind::UdpBlocked;
        let ip = if private { Ipv4Addr::new(192, 168, 1, site.hosts) } else { site.public };
        self.by_lan.insert((ix, ip), host);
        ip
    }

    /// A host.
    #[must_use]
    pub fn host(&self, host: HostIx) -> &Host {
        &self.hosts[host.0]
    }

    /// A host, to change its clock or island.
    pub fn host_mut(&mut self, host: HostIx) -> &mut Host {
        &mut self.hosts[host.0]
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = HostIx> + use<> {
        (0..self.hosts.len()).map(HostIx)
    }

    /// The kind of network that a host is plugged into.
    #[must_use]
    pub fn kind(&self, host: HostIx) -> NatKind {
        self.sites[self.hosts[host.0].site.0].kind
    }

    /// The address of a socket as its own host sees it.
    #[must_use]
    pub fn local(&self, socket: Socket) -> SocketAddr {
        SocketAddr::from((self.hosts[socket.host.0].ip, socket.port))
    }

    /// The address of a socket as the outside sees it; opens and refreshes its mapping.
    pub fn reflexive(&mut self, now: WorldTime, socket: Socket) -> Option<SocketAddr> {
        self.leave(now, socket, SocketAddr::from(DISCOVERY))
    }

    /// Where a socket may be reached, as its own node would find out.
    pub fn candidates(&mut self, now: WorldTime, socket: Socket) -> Vec<SocketAddr> {
        let local = self.local(socket);
        let mut candidates = vec![local];
        candidates.extend(self.reflexive(now, socket).filter(|outside| *outside != local));
        candidates
    }

    /// Whether packets of `from` get to `to` as far as cables and partitions go.
    #[must_use]
    pub fn passes(&self, from: HostIx, to: HostIx) -> bool {
        let (a, b) = (&self.hosts[from.0], &self.hosts[to.0]);
        let apart = !self.blocked.is_empty() && self.blocked.contains(&(a.island, b.island));
        !a.unplugged && !b.unplugged && !apart
    }

    /// One UDP packet: which socket gets it, and what source it sees.
    pub fn send(
        &mut self,
        now: WorldTime,
        from: Socket,
        to: SocketAddr,
    ) -> Option<(Socket, SocketAddr)> {
        let std::net::IpAddr::V4(ip) = to.ip() else { return None };
        let site = self.hosts[from.host.0].site;
        if let Some(host) = self.by_lan.get(&(site, ip)) {
            let arrived = Socket { host: *host, port: to.port() };
            return self.passes(from.host, *host).then(|| (arrived, self.local(from)));
        }
        let source = self.leave(now, from, to)?;
        let arrived = self.enter(now, to, source)?;
        self.passes(from.host, arrived.host).then_some((arrived, source))
    }

    fn leave(&mut self, now: WorldTime, from: Socket, to: SocketAddr) -> Option<SocketAddr> {
        let mut source = self.local(from);
        let site = &mut self.sites[self.hosts[from.host.0].site.0];
        if !site.kind.udp() {
            return None;
        }
        for nat in &mut site.boxes {
            source = nat.outbound(now, source, to);
        }
        Some(source)
    }

    fn enter(&self, now: WorldTime, to: SocketAddr, source: SocketAddr) -> Option<Socket> {
        let std::net::IpAddr::V4(public) = to.ip() else { return None };
        let ix = *self.by_public.get(&public)?;
        let site = &self.sites[ix.0];
        if !site.kind.udp() {
            return None;
        }
        let inside =
            site.boxes.iter().rev().try_fold(to, |to, nat| nat.inbound(now, to, source))?;
        let std::net::IpAddr::V4(ip) = inside.ip() else { return None };
        let host = *self.by_lan.get(&(ix, ip))?;
        Some(Socket { host, port: inside.port() })
    }

    /// Two sockets send to each other's candidates in rounds; true when a packet was answered.
    pub fn punch(&mut self, now: WorldTime, a: Socket, b: Socket) -> bool {
        let mut known = [self.candidates(now, b), self.candidates(now, a)];
        for _ in 0..PUNCH_ROUNDS {
            for (side, from, to) in [(0, a, b), (1, b, a)] {
                for target in known[side].clone() {
                    let Some((arrived, seen)) = self.send(now, from, target) else { continue };
                    if arrived != to {
                        continue;
                    }
                    if self.send(now, to, seen).is_some_and(|(back, _)| back == from) {
                        return true;
                    }
                    known[1 - side].push(seen);
                }
            }
        }
        false
    }

    /// Whether two hosts behind networks of these kinds can find a direct path with each other.
    #[must_use]
    pub fn can_punch(a: NatKind, b: NatKind) -> bool {
        let open = |kind| {
            use NatKind::{AddressRestricted, FullCone, Public};
            matches!(kind, Public | FullCone | AddressRestricted)
        };
        let varies = a.mapping_varies() || b.mapping_varies();
        a.udp() && b.udp() && (open(a) || open(b) || !varies)
    }

    /// Least time from host to host.
    #[must_use]
    pub fn latency(&self, a: HostIx, b: HostIx) -> Duration {
        let (a, b) = (&self.hosts[a.0], &self.hosts[b.0]);
        if a.site == b.site {
            return Duration::from_micros(300);
        }
        Duration::from_micros(match a.region.abs_diff(b.region) {
            0 => 4_000,
            apart => 12_000 + 16_000 * u64::from(apart),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn punches(a: NatKind, b: NatKind) -> bool {
        let mut network = Network::default();
        let [a, b] = [a, b].map(|kind| {
            let site = network.add_site(kind);
            Socket { host: network.add_host(site, 0, HostClock::default()), port: 41_641 }
        });
        network.punch(WorldTime(1), a, b)
    }

    #[test]
    fn holes_are_punched_where_the_rfc_allows_it() {
        use NatKind::{
            AddressRestricted, Cgnat, CgnatSymmetric, FullCone, PortRestricted, Public, Symmetric,
            UdpBlocked,
        };
        let relayed = [
            (PortRestricted, Symmetric),
            (PortRestricted, CgnatSymmetric),
            (Cgnat, Symmetric),
            (Cgnat, CgnatSymmetric),
            (Symmetric, Symmetric),
            (Symmetric, CgnatSymmetric),
            (CgnatSymmetric, CgnatSymmetric),
        ];
        for a in NatKind::ALL {
            for b in NatKind::ALL {
                let stays = relayed.contains(&(a, b)) || relayed.contains(&(b, a));
                let blocked = a == UdpBlocked || b == UdpBlocked;
                assert_eq!(punches(a, b), !stays && !blocked, "{a:?} × {b:?}");
                assert_eq!(punches(a, b), Network::can_punch(a, b), "{a:?} × {b:?}");
            }
        }
        assert!(punches(AddressRestricted, Symmetric) && punches(FullCone, Public));
    }

    #[test]
    fn neighbours_behind_one_box_meet_on_the_lan() {
        let mut network = Network::default();
        let site = network.add_site(NatKind::Symmetric);
        let [a, b] = [1, 2]
            .map(|port| Socket { host: network.add_host(site, 0, HostClock::default()), port });
        assert!(network.punch(WorldTime(1), a, b));
        network.host_mut(a.host).unplugged = true;
        assert!(!network.punch(WorldTime(1), a, b));
    }
}
