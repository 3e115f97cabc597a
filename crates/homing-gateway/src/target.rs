//! Who is meant: peers and services, as they stand in paths and host names.
//!
//! ```text
//! /@PEER/SERVICE/rest?query            PEER: name, address, node ID
//! NAME.agent.internal:PORT             service "PORT"; 80 means "http", 443 means "https"
//! SERVICE.NAME.agent.internal          that service, whatever the port
//! SERVICE.fd3a-…-d04e.address.agent.internal    by address, written with hyphens
//! SERVICE.64-HEX-DIGITS.id.agent.internal       by node ID
//! [fd3a:…:d04e]:PORT                   by address
//! ```
//! `agent.internal` lies below `.internal`, which is reserved for private use (ICANN, 2024): it never means a
//! public host, so what is malformed below it is an error and not passed on. The same holds for `fd00::/8`.

use std::fmt;
use std::str::FromStr;

use homing_api::{ApiError, Code};
use homing_base::{Address, Name, NodeId, Service};

/// The zone of names in URLs.
pub const ZONE: &str = "agent.internal";

/// A peer as a program names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// By alias or claimed name.
    Name(Name),
    /// By address.
    Address(Address),
    /// By node ID.
    NodeId(NodeId),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Name(name) => name.fmt(f),
            Peer::Address(address) => address.fmt(f),
            Peer::NodeId(id) => id.fmt(f),
        }
    }
}

impl FromStr for Peer {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(id) = bare.parse() {
            return Ok(Peer::NodeId(id));
        }
        if let Ok(address) = bare.parse() {
            return Ok(Peer::Address(address));
        }
        bare.to_ascii_lowercase().parse().map(Peer::Name).map_err(|why| {
            ApiError::new(Code::Usage, format!("{:?} is no name, address or node ID", cut(text)))
                .why(format!("{why}"))
                .hint("a name such as my-agent, an address beginning with fd, or 64 hex digits")
        })
    }
}

/// A service of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whose.
    pub peer: Peer,
    /// Which.
    pub service: Service,
}

impl Target {
    /// As a host name: what the service sees as `Host`, and the key of the pool.
    #[must_use]
    pub fn authority(&self) -> String {
        let service = &self.service;
        match &self.peer {
            Peer::Name(name) => format!("{service}.{name}.{ZONE}"),
            Peer::Address(address) => {
                format!("{service}.{}.address.{ZONE}", address.to_string().replace(':', "-"))
            }
            Peer::NodeId(id) => format!("{service}.{id}.id.{ZONE}"),
        }
    }

    /// As a path of the gateway, without a slash at the end.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/@{}/{}", self.peer, self.service)
    }

    /// Of the labels before [`ZONE`].
    fn of_labels(labels: &str, port: u16) -> Result<Self, ApiError> {
        let parts: Vec<&str> = labels.split('.').collect();
        let (peer, service) = match parts[..] {
            [name] => (name.parse()?, service_of_port(port)),
            [service, name] => (name.parse()?, self::service(service)?),
            [service, address, "address"] => {
                (address.replace('-', ":").parse()?, self::service(service)?)
            }
            [service, id, "id"] => (id.parse()?, self::service(service)?),
            _ => {
                return Err(ApiError::new(
                    Code::Usage,
                    format!("{:?} names no agent", cut(&format!("{labels}.{ZONE}"))),
                )
                .hint(format!("NAME.{ZONE} or SERVICE.NAME.{ZONE}")));
            }
        };
        Ok(Self { peer, service })
    }
}

/// Where a proxied request or connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To a peer.
    Mesh(Target),
    /// To another host, directly.
    Elsewhere {
        /// Name or IP, without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
}

impl Destination {
    /// Of a host, in brackets or not, and a port.
    pub(crate) fn of(host: &str, port: u16) -> Result<Self, ApiError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let host = bare.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(address) = host.parse() {
            let service = service_of_port(port);
            return Ok(Destination::Mesh(Target { peer: Peer::Address(address), service }));
        }
        if host == ZONE {
            return Target::of_labels("", port).map(Destination::Mesh);
        }
        match host.strip_suffix(ZONE).and_then(|rest| rest.strip_suffix('.')) {
            Some(labels) => Target::of_labels(labels, port).map(Destination::Mesh),
            None if host.is_empty() => Err(ApiError::new(Code::Usage, "no host is named")),
            None => Ok(Destination::Elsewhere { host, port }),
        }
    }
}

/// A path of the router, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub(crate) target: Target,
    /// What stands before the service's own paths, as it was written.
    pub(crate) prefix: &'a str,
    /// Path and query for the service; without its leading slash when that was left out.
    pub(crate) rest: &'a str,
}

impl<'a> Route<'a> {
    /// Of a request's path and query.
    pub(crate) fn of(path: &'a str) -> Result<Self, ApiError> {
        let ends = |text: &str| text.find(['/', '?']).unwrap_or(text.len());
        let inner = path.strip_prefix('/').ok_or_else(no_route)?;
        let (peer, rest) = inner.split_at(ends(inner));
        let peer = plain(peer);
        let peer = peer.strip_prefix('@').ok_or_else(no_route)?.parse()?;
        let rest = rest.strip_prefix('/').ok_or_else(no_service)?;
        let (service, rest) = rest.split_at(ends(rest));
        if service.is_empty() {
            return Err(no_service());
        }
        let target = Target { peer, service: self::service(service)? };
        let prefix = &path[..path.len() - rest.len()];
        Ok(Self { target, prefix, rest })
    }
}

/// Undoes the percent-encoding of the signs that a peer may contain.
fn plain(segment: &str) -> String {
    let mut text = segment.to_owned();
    for (encoded, sign) in [
        ("%40", "@"),
        ("%3A", ":"),
        ("%3a", ":"),
        ("%5B", "["),
        ("%5b", "["),
        ("%5D", "]"),
        ("%5d", "]"),
    ] {
        text = text.replace(encoded, sign);
    }
    text
}

fn service(text: &str) -> Result<Service, ApiError> {
    text.to_ascii_lowercase().parse().map_err(|why| {
        ApiError::new(Code::Usage, format!("{:?} is no service", cut(text)))
            .why(format!("{why}"))
            .hint("a name such as mcp, or a port number")
    })
}

/// The service that a port means.
fn service_of_port(port: u16) -> Service {
    let name = match port {
        80 => "http".to_owned(),
        443 => "https".to_owned(),
        port => port.to_string(),
    };
    name.parse().expect("a number is a label")
}

fn no_route() -> ApiError {
    ApiError::new(Code::NotFound, "this gateway serves no such path").hint(
        "/@PEER/SERVICE/…; or use it as HTTP proxy or SOCKS5 proxy: homing url PEER SERVICE --json",
    )
}

fn no_service() -> ApiError {
    ApiError::new(Code::NotFound, "the path names no service").hint("/@PEER/SERVICE/…")
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "fd3a:91c2:77e0:4b1d:9f02:6c8a:e511:d04e";

    fn mesh(host: &str, port: u16) -> (String, String) {
        match Destination::of(host, port).unwrap() {
            Destination::Mesh(t) => (t.peer.to_string(), t.service.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hosts_of_the_zone_name_a_peer_and_a_service() {
        let expect = |host: &str, port, peer: &str, service: &str| {
            assert_eq!(mesh(host, port), (peer.to_owned(), service.to_owned()), "{host}:{port}");
        };
        expect("agent-b.agent.internal", 8080, "agent-b", "8080");
        expect("Agent-B.Agent.Internal.", 80, "agent-b", "http");
        expect("agent-b.agent.internal", 443, "agent-b", "https");
        expect("mcp.agent-b.agent.internal", 80, "agent-b", "mcp");
        expect(&format!("[{ADDRESS}]"), 22, ADDRESS, "22");
        expect(ADDRESS, 80, ADDRESS, "http");
    }

    #[test]
    fn what_is_malformed_below_the_zone_is_not_passed_on() {
        for host in
            ["agent.internal", "a.b.c.agent.internal", "_x.agent.internal", ".agent.internal", ""]
        {
            assert_eq!(Destination::of(host, 80).unwrap_err().code, Code::Usage, "{host}");
        }
        for host in [
            "example.com",
            "notagent.internal",
            "agent.internal.example.com",
            "127.0.0.1",
            "::1",
            "2001:db8::1",
        ] {
            assert!(matches!(Destination::of(host, 80).unwrap(), Destination::Elsewhere { .. }));
        }
    }

    #[test]
    fn an_authority_reads_back_as_its_target() {
        let id = "3a".repeat(32);
        for peer in ["agent-b", ADDRESS, "fd00::1", &id] {
            for service in ["mcp", "8080", "80"] {
                let target =
                    Target { peer: peer.parse().unwrap(), service: service.parse().unwrap() };
                let again = Destination::of(&target.authority(), 80).unwrap();
                assert_eq!(again, Destination::Mesh(target));
            }
        }
    }

    #[test]
    fn a_path_is_taken_apart() {
        let parts = |path: &str| {
            let route = Route::of(path).unwrap();
            let peer = route.target.peer.to_string();
            (peer, route.target.service.to_string(), route.prefix.to_owned(), route.rest.to_owned())
        };
        let of = |a: &str, b: &str, c: &str, d: &str| (a.into(), b.into(), c.into(), d.into());
        assert_eq!(parts("/@agent-b/mcp/x/y?z"), of("agent-b", "mcp", "/@agent-b/mcp", "/x/y?z"));
        assert_eq!(parts("/@agent-b/mcp"), of("agent-b", "mcp", "/@agent-b/mcp", ""));
        assert_eq!(parts("/@agent-b/mcp?q=/a"), of("agent-b", "mcp", "/@agent-b/mcp", "?q=/a"));
        assert_eq!(
            parts("/%40agent-b/8080//a/../b"),
            of("agent-b", "8080", "/%40agent-b/8080", "//a/../b")
        );
        assert_eq!(parts(&format!("/@[{ADDRESS}]/a/")).0, ADDRESS);
        assert_eq!(parts("/@fd00%3A%3a1/a/").0, "fd00::1");
        for wrong in [
            "/",
            "*",
            "",
            "/agent-b/mcp",
            "/@agent-b",
            "/@agent-b/",
            "/@agent-b?x",
            "/@/mcp",
            "/@a b/mcp",
            "/@a/b@c",
        ] {
            assert!(Route::of(wrong).is_err(), "{wrong}");
        }
    }
}
