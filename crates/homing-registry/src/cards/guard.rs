//! Which addresses a fetch may connect to: an agent's record must not aim a registry at its own inside.
//!
//! ```text
//! IPv4  everything but the special-purpose blocks (IANA registry, RFC 6890 and successors)
//! IPv6  2000::/3 without its special-purpose blocks; nothing else is global unicast (RFC 4291 §2.4)
//!       an embedded IPv4 address is judged as itself: ::ffff:0:0/96 (mapped), 64:ff9b::/96 (NAT64,
//!       RFC 6052), ISATAP (RFC 5214); 6to4 and Teredo are refused whole, they are deprecated
//! ```
//! Exceptions are networks that the configuration names, port by port if it wishes. Not here: names
//! (resolved before, every address judged), connecting.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A network that the configuration permits although it is not public.
///
/// Text: `10.0.0.0/8`, `fd00::/8`, one address, or one address and port: `127.0.0.1:8080`, `[::1]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedNetwork {
    network: IpAddr,
    prefix: u8,
    port: Option<u16>,
}

impl AllowedNetwork {
    fn covers(&self, addr: SocketAddr) -> bool {
        let same = match (self.network, addr.ip().to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        };
        same && self.port.is_none_or(|port| port == addr.port())
    }
}

impl FromStr for AllowedNetwork {
    type Err = NetworkParseError;

    fn from_str(text: &str) -> Result<Self, NetworkParseError> {
        let error = || NetworkParseError(text.chars().take(64).collect());
        let widest = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        if let Ok(addr) = text.parse::<SocketAddr>() {
            let port = Some(addr.port());
            return Ok(Self { network: addr.ip(), prefix: widest(addr.ip()), port });
        }
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, p)| (ip, Some(p)));
        let network: IpAddr = ip.parse().map_err(|_| error())?;
        let prefix = match prefix {
            None => widest(network),
            Some(digits) => digits.parse().map_err(|_| error())?,
        };
        if prefix > widest(network) {
            return Err(error());
        }
        Ok(Self { network, prefix, port: None })
    }
}

impl fmt::Display for AllowedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.network, port)),
            None => write!(f, "{}/{}", self.network, self.prefix),
        }
    }
}

/// Text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network; write 10.0.0.0/8, 10.1.2.3 or 10.1.2.3:8080")]
pub struct NetworkParseError(String);

/// Whether a fetch may connect there; else why not.
///
/// # Errors
/// What the address is.
pub fn check(addr: SocketAddr, allowed: &[AllowedNetwork]) -> Result<(), &'static str> {
    match special(addr.ip()) {
        Some(_) if allowed.iter().any(|network| network.covers(addr)) => Ok(()),
        Some(what) => Err(what),
        None => Ok(()),
    }
}

/// What kind of non-public address it is; `None`: a public one.
#[must_use]
pub fn special(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => special_v4(ip),
        IpAddr::V6(ip) => special_v6(ip),
    }
}

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    Some(match ip.octets() {
        [0, ..] => "unspecified",
        [10, ..] | [192, 168, ..] => "private",
        [172, b, ..] if b & 0xf0 == 16 => "private",
        [100, b, ..] if b & 0xc0 == 64 => "shared (CGNAT)",
        [127, ..] => "loopback",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] => "reserved for protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "reserved for documentation",
        [192, 88, 99, _] => "a 6to4 relay",
        [198, b, ..] if b & 0xfe == 18 => "reserved for benchmarks",
        [a, ..] if a & 0xf0 == 224 => "multicast",
        [a, ..] if a >= 240 => "reserved",
        _ => return None,
    })
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let s = ip.segments();
    let embedded = Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    Some(match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            return special_v4(embedded);
        }
        [0, ..] => "reserved",
        [0x64, 0xff9b, ..] => "a local NAT64",
        [a, ..] if a & 0xfe00 == 0xfc00 => "unique local",
        [a, ..] if a & 0xffc0 == 0xfe80 => "link-local",
        [a, ..] if a & 0xff00 == 0xff00 => "multicast",
        [a, ..] if a & 0xe000 != 0x2000 => "not global unicast",
        [0x2001, 0, ..] => "a Teredo tunnel",
        [0x2001, b, ..] if b < 0x200 => "reserved for protocols",
        [0x2001, 0xdb8, ..] => "reserved for documentation",
        [0x3fff, b, ..] if b < 0x1000 => "reserved for documentation",
        [0x2002, ..] => "a 6to4 tunnel",
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => return special_v4(embedded),
        _ => return None,
    })
}
