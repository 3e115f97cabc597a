//! IPv6 on the public network: no NAT, every machine has an address of its own.
//!
//! The address of a machine is `2001:db8::` (RFC 3849) followed by its IPv4 address. Whoever speaks both
//! families has both addresses; who speaks IPv6 only has no IPv4 address and no IPv4 route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::topology::{Host, Lab};

/// What a machine on the public network speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Both,
}

impl Lab {
    /// A machine on the public network that speaks these families.
    ///
    /// # Errors
    /// When `ip` refuses, or the kernel has no IPv6.
    pub fn host_speaking(&self, families: Families) -> Result<Host> {
        let (network, host) = (self.public(), self.host(self.public())?);
        if families == Families::V4 {
            return Ok(host);
        }
        network.namespace().enable_ipv6()?;
        let router = ipv6_of(network.gateway());
        network.namespace().ip(&format!("address replace {router}/64 dev public nodad"))?;
        host.namespace().enable_ipv6()?;
        host.namespace().ip(&format!(
            "address add {}/64 dev eth0 nodad\nroute replace ::/0 via {router} dev eth0",
            ipv6_of(host.address())
        ))?;
        if families == Families::V6 {
            host.namespace().ip(&format!("address delete {}/16 dev eth0", host.address()))?;
        }
        Ok(host)
    }
}

impl Families {
    /// The addresses of a machine that has this IPv4 address, or would have it.
    #[must_use]
    pub fn addresses(self, host: &Host) -> Vec<IpAddr> {
        let (v4, v6) = (IpAddr::V4(host.address()), IpAddr::V6(ipv6_of(host.address())));
        match self {
            Self::V4 => vec![v4],
            Self::V6 => vec![v6],
            Self::Both => vec![v4, v6],
        }
    }
}

fn ipv6_of(ip: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ip.octets();
    let pair = u16::from_be_bytes;
    Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, pair([a, b]), pair([c, d]))
}
