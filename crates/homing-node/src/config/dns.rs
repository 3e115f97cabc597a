//! `[dns]`: names for programs that know nothing of Homing. What is answered is told in `docs/dns.md`.

use std::net::SocketAddr;

use super::layers::parsed;
use super::{ConfigError, Layers};

/// The DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// UDP and TCP address. Default: none, it is off. Loopback unless others are meant to ask: whoever reaches it
    /// learns whom this agent trusts.
    pub listen: Option<SocketAddr>,
    /// Whose names are answered. Default [`DnsScope::Trusted`]: a name that any web page makes a browser look up sends
    /// nothing into the mesh.
    pub scope: DnsScope,
}

/// Whose names the DNS server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsScope {
    /// This agent and trusted peers, from what is known here.
    Trusted,
    /// Everybody that can be found.
    All,
}

impl Layers {
    pub(super) fn dns(&self) -> Result<DnsConfig, ConfigError> {
        Ok(DnsConfig {
            listen: self.maybe("dns.listen", parsed)?,
            scope: self.one("dns.scope", scope)?,
        })
    }
}

fn scope(text: &str) -> Result<DnsScope, String> {
    match text {
        "trusted" => Ok(DnsScope::Trusted),
        "all" => Ok(DnsScope::All),
        _ => Err("expected trusted or all".into()),
    }
}
