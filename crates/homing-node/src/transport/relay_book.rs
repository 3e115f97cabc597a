//! Which relays are trusted, and the private names under which iroh knows them.
//!
//! A pin belongs to one `host:port`, but a TLS verifier is told the host alone. So a pinned relay is
//! known to iroh as `https://p<hash>.homing.invalid:PORT/`, where the hash covers authority and pin:
//! the resolver turns the name back into the real host, the verifier into the pin, and no pin can ever
//! speak for another port or relay. A relay without a pin keeps its own name and is verified by the
//! public authorities (and those of `SSL_CERT_FILE`). Verification is never switched off.
//!
//! A configured relay is always used as configured, whatever pin another node's record claims for
//! the same `host:port`. Learnt relays are bounded ([`super::limits::LEARNT_RELAYS_MAX`], oldest first).
//! The query `?g=<n>` distinguishes successive connections to one relay, so that a fresh attempt does
//! not inherit the long back-off of a dead one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::HEXLOWER;
use homing_base::RelayRef;
use iroh::RelayUrl;
use iroh::dns::{BoxIter, DnsError, Resolver, TxtRecordData};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};

use super::TransportError;
use super::limits::LEARNT_RELAYS_MAX;
use super::proxy::Proxy;

const ALIAS_SUFFIX: &str = ".homing.invalid";

/// The relays that this node knows.
pub struct RelayBook {
    configured: Vec<RelayRef>,
    roots: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    /// The way to relays, where it is not the direct one.
    pub(super) proxy: Option<Proxy>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By alias host.
    aliases: BTreeMap<String, RelayRef>,
    /// By URL without query.
    known: BTreeMap<String, RelayRef>,
    learnt: VecDeque<RelayRef>,
    generations: BTreeMap<RelayRef, u64>,
}

impl RelayBook {
    /// A book that knows the configured relays.
    ///
    /// # Errors
    /// [`TransportError::Relay`] for an unusable URL, [`TransportError::Roots`] when `SSL_CERT_FILE`
    /// is set and holds no certificates.
    pub fn new(configured: &[RelayRef]) -> Result<Self, TransportError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = WebPkiServerVerifier::builder_with_provider(
            Arc::new(root_store(std::env::var_os("SSL_CERT_FILE").map(PathBuf::from))?),
            provider.clone(),
        )
        .build()
        .map_err(|e| TransportError::Endpoint(e.to_string()))?;
        let (proxy, table) = (None, Mutex::default());
        let book = Self { configured: configured.to_vec(), roots, provider, proxy, table };
        for relay in configured {
            if !relay.is_well_formed() || book.url(relay).is_none() {
                return Err(TransportError::Relay { relay: relay.to_string() });
            }
        }
        Ok(book)
    }

    /// The configured relays, in configured order.
    #[must_use]
    pub fn configured(&self) -> &[RelayRef] {
        &self.configured
    }

    /// The relay as this node uses it: its own configuration for that `host:port` if there is one.
    #[must_use]
    pub fn as_configured(&self, relay: &RelayRef) -> RelayRef {
        let same = |c: &&RelayRef| c.authority() == relay.authority();
        self.configured.iter().find(same).unwrap_or(relay).clone()
    }

    /// The URL under which iroh knows a relay; `None` when the relay's own URL is none.
    #[must_use]
    pub fn url(&self, relay: &RelayRef) -> Option<RelayUrl> {
        let relay = self.as_configured(relay);
        let mut url: url::Url = relay.url.parse().ok()?;
        let mut table = self.table();
        if let Some(pin) = relay.pin.filter(|_| url.scheme() == "https") {
            let alias = alias_host(relay.authority(), &pin);
            url.set_host(Some(&alias)).ok()?;
            table.aliases.insert(alias, relay.clone());
        }
        if table.known.insert(url.to_string(), relay.clone()).is_none() {
            self.remember(&mut table, &relay);
        }
        if let Some(generation) = table.generations.get(&relay) {
            url.set_query(Some(&format!("g={generation}")));
        }
        Some(url.into())
    }

    /// The relay behind one of iroh's URLs; a URL that is not in the book stands for itself.
    #[must_use]
    pub fn relay(&self, url: &RelayUrl) -> RelayRef {
        let mut plain: url::Url = (**url).clone();
        plain.set_query(None);
        let known = self.table().known.get(plain.as_str()).cloned();
        known.unwrap_or_else(|| RelayRef { url: plain.to_string(), pin: None, quic_port: None })
    }

    /// Gives the relay a new URL, so that the next connection starts afresh. Answers the old URL.
    pub fn renew(&self, relay: &RelayRef) -> Option<RelayUrl> {
        let old = self.url(relay)?;
        let relay = self.as_configured(relay);
        *self.table().generations.entry(relay).or_default() += 1;
        Some(old)
    }

    /// The host that a name stands for: an alias's real host, or the name itself.
    #[must_use]
    pub fn real_host(&self, host: &str) -> String {
        let table = self.table();
        let Some(relay) = table.aliases.get(host) else { return host.to_owned() };
        let url: Option<url::Url> = relay.url.parse().ok();
        url.and_then(|u| u.host().map(|h| bare_host(&h))).unwrap_or_else(|| host.to_owned())
    }

    /// Whether a relay at this host, under its own name or its alias, and port is known.
    pub(super) fn knows(&self, host: &str, port: u16) -> bool {
        let is_it = |url: &String| {
            let url: Option<url::Url> = url.parse().ok();
            url.is_some_and(|u| {
                u.host().is_some_and(|h| bare_host(&h) == host)
                    && u.port_or_known_default() == Some(port)
            })
        };
        self.table().known.keys().any(is_it)
    }

    /// The addresses of a relay with its port of `port`.
    pub async fn addresses(&self, relay: &RelayRef, port: u16) -> Vec<SocketAddr> {
        let Some(url) = self.url(relay) else { return Vec::new() };
        let host = url.host().map(|h| bare_host(&h)).unwrap_or_default();
        let ips = lookup(self.real_host(&host)).await;
        ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
    }

    /// A client configuration that trusts exactly what this book trusts.
    #[must_use]
    pub fn client_config(self: &Arc<Self>) -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .dangerous()
            .with_custom_certificate_verifier(self.verifier())
            .with_no_client_auth()
    }

    /// The certificate verifier.
    #[must_use]
    pub fn verifier(self: &Arc<Self>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(RelayVerifier(self.clone()))
    }

    fn remember(&self, table: &mut Table, relay: &RelayRef) {
        if self.configured.contains(relay) {
            return;
        }
        table.learnt.push_back(relay.clone());
        if table.learnt.len() > LEARNT_RELAYS_MAX
            && let Some(oldest) = table.learnt.pop_front()
        {
            table.aliases.retain(|_, r| *r != oldest);
            table.known.retain(|_, r| *r != oldest);
            table.generations.remove(&oldest);
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RelayBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayBook").field("configured", &self.configured).finish_non_exhaustive()
    }
}

fn alias_host(authority: &str, pin: &[u8; 32]) -> String {
    let mut hash = Sha256::new();
    hash.update(pin);
    hash.update(authority.as_bytes());
    format!("p{}{ALIAS_SUFFIX}", HEXLOWER.encode(&hash.finalize()[..16]))
}

/// A host without the brackets that URLs put around IPv6.
pub(super) fn bare_host<S: AsRef<str>>(host: &url::Host<S>) -> String {
    match host {
        url::Host::Domain(name) => name.as_ref().to_owned(),
        url::Host::Ipv4(ip) => ip.to_string(),
        url::Host::Ipv6(ip) => ip.to_string(),
    }
}

fn root_store(file: Option<PathBuf>) -> Result<rustls::RootCertStore, TransportError> {
    let mut store = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(path) = file else { return Ok(store) };
    let refused =
        |path: &PathBuf, reason: String| TransportError::Roots { path: path.clone(), reason };
    let certificates = CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| refused(&path, e.to_string()))?;
    let (added, _) = store.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(refused(&path, "no certificate in it".to_owned()));
    }
    Ok(store)
}

/// Addresses of a host by the system's own resolver, nobody else's.
pub(super) async fn lookup(host: String) -> Vec<IpAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return vec![ip];
    }
    match tokio::net::lookup_host((host.as_str(), 0)).await {
        Ok(found) => found.map(|a| a.ip()).collect(),
        Err(error) => {
            tracing::debug!(%error, "a relay's host name does not resolve");
            Vec::new()
        }
    }
}

/// iroh's view of host names: aliases first, then the system.
#[derive(Debug)]
pub(super) struct BookResolver(pub(super) Arc<RelayBook>);

type Lookup<T> = futures_util::future::BoxFuture<'static, Result<BoxIter<T>, DnsError>>;

impl Resolver for BookResolver {
    fn lookup_ipv4(&self, host: String) -> Lookup<Ipv4Addr> {
        let host = self.0.real_host(&host);
        Box::pin(async move {
            let ips = lookup(host).await;
            let v4 = |ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None };
            Ok(Box::new(ips.into_iter().filter_map(v4)) as BoxIter<_>)
        })
    }

    fn lookup_ipv6(&self, host: String) -> Lookup<Ipv6Addr> {
        let host = self.0.real_host(&host);
        Box::pin(async move {
            let ips = lookup(host).await;
            let v6 = |ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None };
            Ok(Box::new(ips.into_iter().filter_map(v6)) as BoxIter<_>)
        })
    }

    fn lookup_txt(&self, _host: String) -> Lookup<TxtRecordData> {
        Box::pin(async { Ok(Box::new(std::iter::empty()) as BoxIter<_>) })
    }

    fn clear_cache(&self) {}

    fn reset(&self) -> Box<dyn Resolver> {
        Box::new(BookResolver(self.0.clone()))
    }
}

#[derive(Debug)]
struct RelayVerifier(Arc<RelayBook>);

impl RelayVerifier {
    fn pin_of(&self, name: &ServerName<'_>) -> Option<[u8; 32]> {
        let ServerName::DnsName(host) = name else { return None };
        self.0.table().aliases.get(host.as_ref()).and_then(|relay| relay.pin)
    }
}

impl ServerCertVerifier for RelayVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        let Some(pin) = self.pin_of(server_name) else {
            let roots = &self.0.roots;
            return roots.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        };
        if <[u8; 32]>::from(Sha256::digest(end_entity)) == pin {
            return Ok(rustls::client::danger::ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(
            "the relay shows another certificate than the pinned one".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.roots.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(url: &str, pin: u8) -> RelayRef {
        RelayRef { url: url.into(), pin: Some([pin; 32]), quic_port: None }
    }

    #[test]
    fn a_pin_belongs_to_one_host_and_port() {
        let book = RelayBook::new(&[pinned("https://127.0.0.1:1/", 1)]).unwrap();
        let here = book.url(&pinned("https://127.0.0.1:1/", 1)).unwrap();
        let other = book.url(&pinned("https://127.0.0.1:2/", 1)).unwrap();
        assert_ne!(here.host_str(), other.host_str());
        assert_eq!(book.real_host(other.host_str().unwrap()), "127.0.0.1");
        assert_eq!(book.relay(&other), pinned("https://127.0.0.1:2/", 1));
    }

    #[test]
    fn a_learnt_pin_never_overrides_the_configured_one() {
        let configured = pinned("https://relay.example:443/", 1);
        let book = RelayBook::new(std::slice::from_ref(&configured)).unwrap();
        let learnt = pinned("https://relay.example:443/", 9);
        assert_eq!(book.url(&learnt), book.url(&configured));
        let plain = RelayRef { pin: None, ..configured.clone() };
        assert_eq!(book.url(&plain), book.url(&configured));
    }

    #[test]
    fn a_renewed_relay_has_another_url_and_the_same_meaning() {
        let relay = pinned("https://127.0.0.1:1/", 1);
        let book = RelayBook::new(std::slice::from_ref(&relay)).unwrap();
        let old = book.renew(&relay).unwrap();
        let new = book.url(&relay).unwrap();
        assert_ne!(old, new);
        assert_eq!(book.relay(&new), relay);
        assert_eq!(book.relay(&old), relay);
    }

    #[test]
    fn learnt_relays_are_bounded() {
        let book = RelayBook::new(&[]).unwrap();
        for port in 1..=2 * u16::try_from(LEARNT_RELAYS_MAX).unwrap() {
            assert!(book.url(&pinned(&format!("https://127.0.0.1:{port}/"), 1)).is_some());
        }
        let table = book.table();
        assert_eq!(table.learnt.len(), LEARNT_RELAYS_MAX);
        assert_eq!(table.aliases.len(), LEARNT_RELAYS_MAX);
        assert_eq!(table.known.len(), LEARNT_RELAYS_MAX);
    }
}
