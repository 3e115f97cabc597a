//! Where a fetch goes: a URL after every rule that needs no name resolution.
//!
//! `https` (or `http` if configured), no credentials, a port that serves HTTP, a bounded length. The
//! parser is the WHATWG one, as in browsers: `http://2130706433/`, `http://0x7f.1/` and full-width digits
//! are the IPv4 address they mean before anybody looks at them. The fragment is dropped.

use std::net::IpAddr;

use url::{Host, Url};

use super::limits::URL_BYTES_MAX;

/// Ports from 1024 on that browsers refuse to speak HTTP to (WHATWG Fetch §2.9, "port blocking").
const PORTS_BAD: &[u16] = &[
    1_719, 1_720, 1_723, 2_049, 3_659, 4_045, 4_190, 5_060, 5_061, 6_000, 6_566, 6_665, 6_666,
    6_667, 6_668, 6_669, 6_679, 6_697, 10_080,
];

/// A URL that may be fetched, if its addresses may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Url,
    port: u16,
}

impl Target {
    /// Reads and judges a URL.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(text: &str, allow_http: bool) -> Result<Self, TargetError> {
        if text.len() > URL_BYTES_MAX {
            return Err(TargetError::Url { why: format!("longer than {URL_BYTES_MAX} bytes") });
        }
        let url = Url::parse(text).map_err(|e| TargetError::Url { why: e.to_string() })?;
        Self::of(url, allow_http)
    }

    /// Where a redirect of this answer leads.
    ///
    /// # Errors
    /// [`TargetError`]; a redirect from `https` to `http` among them, whatever is configured.
    pub fn redirected(&self, location: &str, allow_http: bool) -> Result<Self, TargetError> {
        if location.len() > URL_BYTES_MAX {
            return Err(TargetError::Url { why: format!("longer than {URL_BYTES_MAX} bytes") });
        }
        let url = self.url.join(location).map_err(|e| TargetError::Url { why: e.to_string() })?;
        let next = Self::of(url, allow_http)?;
        match self.is_https() && !next.is_https() {
            true => Err(TargetError::Downgrade),
            false => Ok(next),
        }
    }

    fn of(mut url: Url, allow_http: bool) -> Result<Self, TargetError> {
        match url.scheme() {
            "https" => {}
            "http" if allow_http => {}
            other => return Err(TargetError::Scheme { got: other.chars().take(32).collect() }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        let is_open = matches!(port, 80 | 443 | 1_024..) && !PORTS_BAD.contains(&port);
        if !is_open {
            return Err(TargetError::Port { port });
        }
        url.set_fragment(None);
        Ok(Self { url, port })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the URL names one instead of a host.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
            Host::Domain(_) => None,
        }
    }

    /// The host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        self.ip()
            .map_or_else(|| self.url.host_str().unwrap_or_default().to_owned(), |ip| ip.to_string())
    }

    /// `host[:port]` for the `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> String {
        let path = self.url.path();
        self.url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    /// Scheme, host and port (RFC 6454), as text.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

/// Why a URL is not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No absolute URL.
    #[error("not a URL that can be fetched: {why}")]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// Neither `https` nor, if configured, `http`.
    #[error("cards are fetched over https, not {got}")]
    Scheme {
        /// What it says.
        got: String,
    },
    /// User name or password.
    #[error("a URL with credentials is not fetched")]
    Credentials,
    /// A port at which no card can be.
    #[error("port {port} is not one for HTTP")]
    Port {
        /// Which.
        port: u16,
    },
    /// From `https` to `http`.
    #[error("a redirect from https to http is not followed")]
    Downgrade,
}
