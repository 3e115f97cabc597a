//! What the person who runs a registry decides about its HTTP side.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use url::Url;

/// Settings of the HTTP side. [`Settings::default`] is for a registry that faces the internet.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where programs reach it, without a slash at the end; stands in catalogues.
    pub public_url: String,
    /// What it is called in catalogues.
    pub title: String,
    /// Origins whose pages may read answers; empty: none. Default: none.
    pub cors_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed. Default: none.
    pub trusted_proxies: Vec<AddressRange>,
    /// Hosts that requests may name besides `localhost`, addresses and the public URL's. Empty: on loopback none but
    /// those, elsewhere every one. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Requests per socket address; `None`: without limit.
    pub per_address: Option<Rate>,
    /// Changes per signing key; `None`: without limit.
    pub per_key: Option<Rate>,
    /// Registries that are asked in federated searches besides those of the network.
    pub peers: Vec<Url>,
    /// How long a lookup beyond the own tables may take.
    pub resolve_timeout: Duration,
    /// Requests that are worked on at once.
    pub requests_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Open connections from one address (IPv6: from one /64); configured proxies are exempt. Below `subscribers_max`, so
    /// that nobody takes every event stream.
    pub connections_per_address_max: usize,
    /// Event streams at once.
    pub subscribers_max: usize,
    /// How long a request's head may take, and how long a connection may rest.
    pub head_timeout: Duration,
    /// How long a request's body may take.
    pub body_timeout: Duration,
    /// How long an answer may take to begin.
    pub answer_timeout: Duration,
    /// How long requests under way may take after the registry was told to stop.
    pub drain_timeout: Duration,
    /// How often the database is asked for changes made by others and for what has expired.
    pub poll: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: "http://localhost:7400".into(),
            title: "Homing registry".into(),
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            allowed_hosts: Vec::new(),
            per_address: Some(Rate { per_second: 100, burst: 500 }),
            per_key: Some(Rate { per_second: 1, burst: 30 }),
            peers: Vec::new(),
            resolve_timeout: Duration::from_secs(3),
            requests_max: 512,
            connections_max: 4_096,
            connections_per_address_max: 128,
            subscribers_max: 256,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            poll: Duration::from_millis(500),
        }
    }
}

/// A token bucket: fills at `per_second`, holds `burst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens per second.
    pub per_second: u32,
    /// Tokens at most.
    pub burst: u32,
}

/// An address or a range of addresses: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    base: IpAddr,
    bits: u32,
}

impl AddressRange {
    /// Whether `address` is inside. IPv4 inside IPv6 (`::ffff:…`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                same_bits(base.to_bits().into(), ip.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                same_bits(base.to_bits(), ip.to_bits(), 128, self.bits)
            }
            _ => false,
        }
    }
}

fn same_bits(a: u128, b: u128, width: u32, bits: u32) -> bool {
    bits == 0 || (a ^ b) >> (width - bits) == 0
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let (base, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let base: IpAddr = base.parse().map_err(|_| AddressRangeError)?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| AddressRangeError)?;
        if bits > width { Err(AddressRangeError) } else { Ok(Self { base, bits }) }
    }
}

/// Text that is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range is written 10.0.0.1, 10.0.0.0/8 or fd00::/8")]
pub struct AddressRangeError;

/// The far end of the connection that a request came by; [`super::serve()`] puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub SocketAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_their_prefix_says() {
        let holds = |range: &str, ip: &str| {
            range.parse::<AddressRange>().unwrap().contains(ip.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.1", "::ffff:10.0.0.1") && !holds("10.0.0.1", "10.0.0.2"));
        assert!(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe80::1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(wrong.parse::<AddressRange>().is_err(), "{wrong}");
        }
    }
}
