//! `[registry]`: whether and how this node is a registry.
//!
//! What each number means is told in `docs/registry.md`. The database URL may hold a password: it is shown
//! without it, and is better given as `HOMING_REGISTRY_DATABASE` than as a flag.

use std::net::SocketAddr;

use homing_registry::cards::guard::AllowedNetwork as CardNetwork;
use homing_registry::http::AddressRange;
use url::Url;

use super::layers::parsed;
use super::{ConfigError, Layers};

/// The registry role.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryConfig {
    /// Whether this daemon is a registry. Default `false`.
    pub enabled: bool,
    /// TCP address for HTTP. Default `127.0.0.1:7400`: a registry that faces the internet stands behind a proxy
    /// that ends TLS.
    pub listen: SocketAddr,
    /// Where entities are kept. Default: SQLite in the home.
    pub database: RegistryDatabase,
    /// Where programs reach it. Default: `http://` and where it listens.
    pub public_url: Option<Url>,
    /// What it is called in catalogues. Default `Homing registry`.
    pub title: String,
    /// Other registries to ask in searches, besides those of trusted peers. Default: none.
    pub peers: Vec<Url>,
    /// Origins whose pages may read answers. Default: none.
    pub cors_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed. Default: none.
    pub trusted_proxies: Vec<AddressRange>,
    /// Hosts that requests may name besides `localhost`, addresses and the public URL's. Default: none.
    pub allowed_hosts: Vec<String>,
    /// Requests per second and socket address; 0: no limit. Default 100.
    pub rate_per_second: u32,
    /// Private networks from which cards may be fetched. Default: none.
    pub card_networks: Vec<CardNetwork>,
}

/// Where a registry keeps its entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryDatabase {
    /// `registry.db` in the home.
    Embedded,
    /// A PostgreSQL server, or what speaks its protocol; shared by several registries if they name the same one.
    Postgres(String),
}

impl Layers {
    pub(super) fn registry(&self) -> Result<RegistryConfig, ConfigError> {
        Ok(RegistryConfig {
            enabled: self.bool("registry.enabled"),
            listen: self.one("registry.listen", parsed)?,
            database: self
                .maybe("registry.database", database)?
                .unwrap_or(RegistryDatabase::Embedded),
            public_url: self.maybe("registry.public_url", http_url)?,
            title: self.one("registry.title", title)?,
            peers: self.list("registry.peers", http_url)?,
            cors_origins: self.list("registry.cors_origins", origin)?,
            trusted_proxies: self.list("registry.trusted_proxies", parsed)?,
            allowed_hosts: self.list("registry.allowed_hosts", host)?,
            rate_per_second: self.number("registry.rate_per_second", 0, 1_000_000)? as u32,
            card_networks: self.list("registry.card_networks", parsed)?,
        })
    }
}

fn database(text: &str) -> Result<RegistryDatabase, String> {
    let postgres = ["postgres://", "postgresql://"].iter().any(|p| text.starts_with(p));
    match postgres {
        true => Ok(RegistryDatabase::Postgres(text.to_owned())),
        false => Err("expected postgres://USER@HOST/DATABASE, or nothing for SQLite".into()),
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    let url: Url = parsed(text)?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("expected https://HOST or http://HOST:PORT".into()),
    }
}

fn origin(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    let origin = url.origin().ascii_serialization();
    match origin == text.trim_end_matches('/') {
        true => Ok(origin),
        false => Err(format!("an origin has no path: {origin}")),
    }
}

fn host(text: &str) -> Result<String, String> {
    let wrong = || "expected a host name without scheme and port".to_owned();
    let host = url::Host::parse(text).map_err(|_| wrong())?;
    Ok(host.to_string())
}

fn title(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=100 if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("expected 1 to 100 characters".into()),
    }
}

/// A database URL without its password.
#[must_use]
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or_default();
            let hidden = if user.contains(':') { ":…" } else { "" };
            format!("{scheme}://{name}{hidden}@{host}{path}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let shown = without_password("postgres://planner:secret@db:5432/registry?sslmode=require");
        assert_eq!(shown, "postgres://planner:…@db:5432/registry?sslmode=require");
        for plain in ["postgres://planner@db/registry", "postgres:///registry", ""] {
            assert_eq!(without_password(plain), plain);
        }
    }

    #[test]
    fn wrong_values_are_refused_with_what_was_expected() {
        let refused = |key: &str, value: &str| {
            let mut layers = Layers::default();
            layers.flag(key, value).unwrap();
            layers.resolve().unwrap_err().to_string()
        };
        assert!(refused("registry.database", "mysql://x").contains("postgres://"));
        assert!(refused("registry.peers", "ftp://x").contains("https://"));
        assert!(refused("registry.cors_origins", "https://x/page").contains("origin"));
        assert!(refused("registry.trusted_proxies", "10.0.0.0/99").contains("range"));
        assert!(
            refused("registry.allowed_hosts", "http://registry.lan").contains("without scheme")
        );
    }
}
