//! NAT flavours: what each promises in the words of RFC 4787, and the nftables rules that keep it.
//!
//! | flavour | mapping | filtering |
//! |---|---|---|
//! | `Public` (no NAT) | endpoint-independent | endpoint-independent |
//! | `FullCone` | endpoint-independent | endpoint-independent |
//! | `PortRestricted` | endpoint-independent | address and port |
//! | `Symmetric` | address and port | address and port |
//! | `UdpBlocked` | no UDP; TCP passes | |
//!
//! Linux keeps a source port while it is free, so that plain masquerading maps endpoint-independently. That
//! holds only while nothing else owns the port: without the `input` drop of new packets, an early
//! inbound punch becomes a connection of the router itself, which owns the port, and the later outbound
//! flow gets another one. A "port-restricted" router is then a symmetric one, silently.
//! Carrier-grade NAT is a router behind a router: see [`crate::topology`].

use std::fmt;

/// What a router does to packets between `lan` and `wan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nat {
    /// One public port per inside port; anybody may send to it.
    FullCone,
    /// One public port per inside port; only those who were sent to may answer.
    PortRestricted,
    /// Another public port for every destination.
    Symmetric,
    /// Drops UDP both ways; TCP passes by a port-restricted mapping.
    UdpBlocked,
}

/// How the public address of an inside socket depends on whom it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// It does not.
    EndpointIndependent,
    /// On the remote IP.
    Address,
    /// On the remote IP and port.
    AddressAndPort,
    /// No UDP passes.
    None,
}

/// Who may send to a mapped address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Anybody.
    EndpointIndependent,
    /// Any port of an IP that was sent to.
    Address,
    /// Exactly who was sent to.
    AddressAndPort,
    /// No UDP passes.
    None,
}

impl Nat {
    /// The promise of this flavour alone.
    #[must_use]
    pub fn promise(self) -> (Mapping, Filtering) {
        match self {
            Self::FullCone => (Mapping::EndpointIndependent, Filtering::EndpointIndependent),
            Self::PortRestricted => (Mapping::EndpointIndependent, Filtering::AddressAndPort),
            Self::Symmetric => (Mapping::AddressAndPort, Filtering::AddressAndPort),
            Self::UdpBlocked => (Mapping::None, Filtering::None),
        }
    }

    /// The whole ruleset of a router whose inside is `lan` and outside is `wan`.
    #[must_use]
    pub fn rules(self) -> String {
        let masquerade = match self {
            Self::Symmetric => "oifname wan masquerade fully-random",
            _ => "oifname wan masquerade",
        };
        let (cone, inbound, outbound) = match self {
            Self::FullCone => (CONE_MAP, CONE_INBOUND, CONE_OUTBOUND),
            _ => ("", "", ""),
        };
        let admit = match self {
            Self::FullCone => "ct status dnat accept",
            _ => "",
        };
        let block = match self {
            Self::UdpBlocked => "meta l4proto udp drop",
            _ => "",
        };
        format!(
            "flush ruleset
table ip lab {{
  {cone}
  chain inbound {{ type nat hook prerouting priority dstnat; policy accept; {inbound} }}
  chain outbound {{ type nat hook postrouting priority srcnat; policy accept; {outbound} {masquerade}; }}
  chain forward {{ type filter hook forward priority filter; policy drop; {block}
    ct state established,related accept
    iifname lan accept
    {admit}
  }}
  chain input {{ type filter hook input priority filter; policy accept; iifname wan ct state new drop; }}
}}
"
        )
    }
}

/// Public port → inside socket, learnt from outbound flows.
const CONE_MAP: &str = "map cone { type inet_service : ipv4_addr . inet_service; \
                        size 65535; flags dynamic,timeout; timeout 10m; }";
const CONE_INBOUND: &str = "iifname wan meta l4proto udp dnat to udp dport map @cone;";
const CONE_OUTBOUND: &str =
    "oifname wan meta l4proto udp update @cone { udp sport : ip saddr . udp sport };";

impl fmt::Display for Nat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::FullCone => "fullcone",
            Self::PortRestricted => "prc",
            Self::Symmetric => "sym",
            Self::UdpBlocked => "udpblock",
        })
    }
}
