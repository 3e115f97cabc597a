//! What a DNS name asks about. Pure: no I/O, no lookup.
//!
//! ```text
//! NAME.agent.internal                      a name, an alias, or the first digits of a node ID
//! fd3a-…-d04e.address.agent.internal       an address, with hyphens
//! SERVICE.(either of these)                the same agent: URLs of the gateway resolve as they are
//! d.f.ip6.arpa                             reverse of fd00::/8 (RFC 3596 §2.5)
//! ```
//! A node ID whole has 64 digits, one more than a label holds (RFC 1035 §2.3.4): its first digits do. Everything else is
//! outside. Not here: who is meant ([`super::answer`]).

use std::net::Ipv6Addr;

use hickory_proto::rr::Name;
use homing_base::{Address, Service};
use homing_core::io::PeerRef;

/// The zone of names, as labels from the top.
const NAMES: [&str; 2] = ["internal", "agent"];
/// The zone of addresses, as labels from the top.
const ADDRESSES: [&str; 4] = ["arpa", "ip6", "f", "d"];
/// Below it names are addresses.
pub(super) const BY_ADDRESS: &str = "address";
/// A reverse name has one label for each half byte, of which the zone has two.
const NIBBLES: usize = 30;

/// One of the two zones that are answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    Names,
    Addresses,
}

impl Zone {
    /// Its apex, absolute.
    pub(super) fn text(self) -> &'static str {
        match self {
            Zone::Names => "agent.internal.",
            Zone::Addresses => "d.f.ip6.arpa.",
        }
    }
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Not below either zone.
    Outside,
    /// The top of a zone.
    Apex(Zone),
    /// Only something below it has meaning: exists, holds nothing (RFC 8020).
    Between(Zone),
    /// Nothing can be there.
    Nothing(Zone),
    /// An agent.
    Agent(PeerRef),
    /// Whose address this is.
    Reverse(Address),
}

/// Reads a name.
pub(super) fn asked(name: &Name) -> Asked {
    let labels: Option<Vec<String>> = name
        .iter()
        .rev()
        .map(|label| std::str::from_utf8(label).ok().map(str::to_ascii_lowercase))
        .collect();
    // A label that is no text can only be below a zone as nothing.
    let Some(labels) = labels else { return Asked::Outside };
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    if let Some(below) = labels.strip_prefix(&NAMES[..]) {
        return named(below);
    }
    match labels.strip_prefix(&ADDRESSES[..]) {
        Some(nibbles) => reversed(nibbles),
        None => Asked::Outside,
    }
}

/// Labels below `agent.internal`, from the top.
fn named(labels: &[&str]) -> Asked {
    let agent = |peer: &str| peer.parse().map(Asked::Agent).unwrap_or(Asked::Nothing(Zone::Names));
    let is_service = |text: &str| text.parse::<Service>().is_ok();
    match *labels {
        [] => Asked::Apex(Zone::Names),
        [BY_ADDRESS] => Asked::Between(Zone::Names),
        [BY_ADDRESS, address] => by_address(address),
        [BY_ADDRESS, address, service] if is_service(service) => by_address(address),
        [name] => agent(name),
        [name, service] if is_service(service) => agent(name),
        _ => Asked::Nothing(Zone::Names),
    }
}

fn by_address(text: &str) -> Asked {
    match text.replace('-', ":").parse() {
        Ok(address) => Asked::Agent(PeerRef::Address(address)),
        Err(_) => Asked::Nothing(Zone::Names),
    }
}

/// Half bytes after `fd`.
fn reversed(nibbles: &[&str]) -> Asked {
    let digit = |text: &&str| match text.as_bytes() {
        [digit] => char::from(*digit).to_digit(16).map(u128::from),
        _ => None,
    };
    let Some(digits) = nibbles.iter().map(digit).collect::<Option<Vec<u128>>>() else {
        return Asked::Nothing(Zone::Addresses);
    };
    match digits.len() {
        0 => Asked::Apex(Zone::Addresses),
        1..NIBBLES => Asked::Between(Zone::Addresses),
        NIBBLES => {
            let bits = digits.iter().fold(0xfd, |bits, digit| bits << 4 | digit);
            let [_, prefix @ ..] = Ipv6Addr::from_bits(bits).octets();
            Asked::Reverse(Address::from_prefix(prefix))
        }
        _ => Asked::Nothing(Zone::Addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e";

    fn of(text: &str) -> Asked {
        asked(&Name::from_ascii(text).unwrap())
    }

    #[test]
    fn names_below_the_zone_mean_agents() {
        for text in [
            "agent-b.agent.internal.",
            "AGENT-B.Agent.Internal.",
            "mcp.agent-b.agent.internal.",
            "8080.agent-b.agent.internal.",
        ] {
            assert_eq!(of(text), Asked::Agent("agent-b".parse().unwrap()), "{text}");
        }
        let hyphens = ADDRESS.replace(':', "-");
        for text in [format!("{hyphens}.address"), format!("mcp.{hyphens}.address")] {
            let wanted = Asked::Agent(ADDRESS.parse().unwrap());
            assert_eq!(of(&format!("{text}.agent.internal.")), wanted);
        }
    }

    #[test]
    fn reverse_names_mean_addresses() {
        let digits: Vec<String> =
            ADDRESS.replace(':', "").chars().rev().map(String::from).collect();
        let name = format!("{}.ip6.arpa.", digits.join("."));
        assert_eq!(of(&name), Asked::Reverse(ADDRESS.parse().unwrap()));
        assert_eq!(of(&name.to_uppercase()), Asked::Reverse(ADDRESS.parse().unwrap()));
        assert_eq!(of("a.3.d.f.ip6.arpa."), Asked::Between(Zone::Addresses));
        assert_eq!(of("d.f.ip6.arpa."), Asked::Apex(Zone::Addresses));
        for wrong in ["g.d.f.ip6.arpa.".to_owned(), "3a.d.f.ip6.arpa.".into(), format!("0.{name}")]
        {
            assert_eq!(of(&wrong), Asked::Nothing(Zone::Addresses), "{wrong}");
        }
    }

    #[test]
    fn everything_else_is_outside_or_nothing() {
        for text in [
            "example.com.",
            "internal.",
            "notagent.internal.",
            "agent.internal.example.com.",
            "e.f.ip6.arpa.",
            "ip6.arpa.",
            ".",
        ] {
            assert_eq!(of(text), Asked::Outside, "{text}");
        }
        assert_eq!(of("agent.internal."), Asked::Apex(Zone::Names));
        assert_eq!(of("address.agent.internal."), Asked::Between(Zone::Names));
        for text in
            ["_x.agent.internal.", "a.b.c.agent.internal.", "fe80--1.address.agent.internal."]
        {
            assert_eq!(of(text), Asked::Nothing(Zone::Names), "{text}");
        }
    }
}
