//! Address translators after RFC 4787: mapping × filtering × expiry, one box per layer.
//!
//! ```text
//! inside socket ──outbound──► box (mapping: which outside port?) ──► next layer … ──► internet
//! inside socket ◄──inbound─── box (filtering: who may answer?)  ◄──
//! ```
//! A box decides on packets, so whether two hosts can punch a hole is an outcome, not a table. Not here:
//! TCP (relays are always reachable over it), hairpinning (none of these boxes does it).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use serde::Deserialize;

use crate::clock::WorldTime;

/// Which outside port an inside socket gets (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// One for all destinations.
    EndpointIndependent,
    /// Another for each destination address and port ("symmetric").
    AddressAndPortDependent,
}

/// Whose packets are let in (RFC 4787 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Everybody's.
    EndpointIndependent,
    /// Those of addresses that were sent to, from any port.
    AddressDependent,
    /// Those of address and port pairs that were sent to.
    AddressAndPortDependent,
}

/// How one box behaves.
#[derive(Clone, Copy, Debug)]
pub struct NatRules {
    /// See [`Mapping`].
    pub mapping: Mapping,
    /// See [`Filtering`].
    pub filtering: Filtering,
    /// Life of a mapping and of a permission after the last packet out (RFC 4787 §4.3).
    pub expiry: Duration,
}

/// The networks that hosts live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// A public address, nothing in between.
    Public,
    /// Independent mapping, no filter.
    FullCone,
    /// Independent mapping, address filter.
    AddressRestricted,
    /// Independent mapping, address and port filter: the common home router.
    PortRestricted,
    /// Dependent mapping, address and port filter.
    Symmetric,
    /// A home router behind a carrier's, both port restricted.
    Cgnat,
    /// A home router behind a symmetric carrier.
    CgnatSymmetric,
    /// TCP only.
    UdpBlocked,
}

impl NatKind {
    /// Every kind.
    pub const ALL: [NatKind; 8] = [
        NatKind::Public,
        NatKind::FullCone,
        NatKind::AddressRestricted,
        NatKind::PortRestricted,
        NatKind::Symmetric,
        NatKind::Cgnat,
        NatKind::CgnatSymmetric,
        NatKind::UdpBlocked,
    ];

    /// The boxes between host and internet, innermost first.
    #[must_use]
    pub fn layers(self) -> Vec<NatRules> {
        use Filtering::{AddressAndPortDependent as Port, AddressDependent as Addr};
        use Mapping::{AddressAndPortDependent as Varies, EndpointIndependent as One};
        let rules = |mapping, filtering| {
            let expiry = Duration::from_secs(120);
            NatRules { mapping, filtering, expiry }
        };
        match self {
            NatKind::Public | NatKind::UdpBlocked => Vec::new(),
            NatKind::FullCone => vec![rules(One, Filtering::EndpointIndependent)],
            NatKind::AddressRestricted => vec![rules(One, Addr)],
            NatKind::PortRestricted => vec![rules(One, Port)],
            NatKind::Symmetric => vec![rules(Varies, Port)],
            NatKind::Cgnat => vec![rules(One, Port), rules(One, Port)],
            NatKind::CgnatSymmetric => vec![rules(One, Port), rules(Varies, Port)],
        }
    }

    /// Whether UDP leaves the network at all.
    #[must_use]
    pub fn udp(self) -> bool {
        self != NatKind::UdpBlocked
    }

    /// Whether another destination sees another port.
    #[must_use]
    pub fn mapping_varies(self) -> bool {
        self.layers().iter().any(|rules| rules.mapping == Mapping::AddressAndPortDependent)
    }
}

/// One box with its table.
#[derive(Clone, Debug)]
pub struct NatBox {
    rules: NatRules,
    outside: Ipv4Addr,
    next_port: u16,
    mappings: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    inside: SocketAddr,
    /// The one destination, for dependent mappings.
    towards: Option<SocketAddr>,
    port: u16,
    last_out: WorldTime,
    permitted: Vec<(SocketAddr, WorldTime)>,
}

impl NatBox {
    /// A box whose outside address is `outside`.
    #[must_use]
    pub fn new(rules: NatRules, outside: Ipv4Addr) -> Self {
        Self { rules, outside, next_port: 20_000, mappings: Vec::new() }
    }

    /// A packet leaves: returns the source that the outside sees.
    pub fn outbound(&mut self, now: WorldTime, from: SocketAddr, to: SocketAddr) -> SocketAddr {
        let expiry = self.rules.expiry;
        self.mappings.retain(|m| now.since(m.last_out) < expiry);
        let towards = match self.rules.mapping {
            Mapping::EndpointIndependent => None,
            Mapping::AddressAndPortDependent => Some(to),
        };
        let found = self.mappings.iter().position(|m| m.inside == from && m.towards == towards);
        let at = found.unwrap_or_else(|| self.add(from, towards));
        let mapping = &mut self.mappings[at];
        mapping.last_out = now;
        mapping.permitted.retain(|(peer, last)| *peer != to && now.since(*last) < expiry);
        mapping.permitted.push((to, now));
        self.address(self.mappings[at].port)
    }

    fn add(&mut self, inside: SocketAddr, towards: Option<SocketAddr>) -> usize {
        self.next_port += 1;
        let (port, last_out) = (self.next_port, WorldTime::default());
        self.mappings.push(Entry { inside, towards, port, last_out, permitted: Vec::new() });
        self.mappings.len() - 1
    }

    /// A packet arrives at `to` from `from`: returns the inside socket that gets it, if any.
    #[must_use]
    pub fn inbound(&self, now: WorldTime, to: SocketAddr, from: SocketAddr) -> Option<SocketAddr> {
        let live = |last: WorldTime| now.since(last) < self.rules.expiry;
        let mapping =
            self.mappings.iter().find(|m| self.address(m.port) == to && live(m.last_out))?;
        let mut permitted = mapping.permitted.iter().filter(|(_, last)| live(*last));
        let admitted = match self.rules.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => permitted.any(|(peer, _)| peer.ip() == from.ip()),
            Filtering::AddressAndPortDependent => permitted.any(|(peer, _)| *peer == from),
        };
        admitted.then_some(mapping.inside)
    }

    fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(self.outside, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], port))
    }

    fn boxed(kind: NatKind) -> NatBox {
        NatBox::new(kind.layers()[0], Ipv4Addr::new(198, 51, 100, 1))
    }

    #[test]
    fn a_symmetric_box_gives_every_destination_its_own_port() {
        let mut nat = boxed(NatKind::Symmetric);
        let one = nat.outbound(WorldTime(0), addr(1, 1), addr(8, 8));
        let two = nat.outbound(WorldTime(0), addr(1, 1), addr(9, 9));
        assert_ne!(one, two);
        let mut cone = boxed(NatKind::PortRestricted);
        let one = cone.outbound(WorldTime(0), addr(1, 1), addr(8, 8));
        let two = cone.outbound(WorldTime(0), addr(1, 1), addr(9, 9));
        assert_eq!(one, two);
    }

    #[test]
    fn filters_let_in_what_their_rfc_says() {
        let expectations = [
            (NatKind::FullCone, true, true),
            (NatKind::AddressRestricted, false, true),
            (NatKind::PortRestricted, false, false),
        ];
        for (kind, stranger, other_port) in expectations {
            let mut nat = boxed(kind);
            let outside = nat.outbound(WorldTime(0), addr(1, 1), addr(8, 8));
            let lets_in = |from| nat.inbound(WorldTime(1), outside, from).is_some();
            assert!(lets_in(addr(8, 8)), "{kind:?}: the one that was sent to");
            assert_eq!(lets_in(addr(9, 9)), stranger, "{kind:?}: a stranger");
            assert_eq!(lets_in(addr(8, 7)), other_port, "{kind:?}: another port");
        }
    }

    #[test]
    fn a_mapping_expires_after_its_last_packet_out() {
        let mut nat = boxed(NatKind::FullCone);
        let outside = nat.outbound(WorldTime(0), addr(1, 1), addr(8, 8));
        let late = WorldTime(0).after(Duration::from_secs(121));
        assert_eq!(nat.inbound(late, outside, addr(8, 8)), None);
    }
}
