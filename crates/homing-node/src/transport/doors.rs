//! The node's one or two iroh endpoints.
//!
//! QUIC hands NAT traversal candidates (local addresses) to whoever completes a handshake, before any
//! of our code runs. So a node that keeps its addresses private faces strangers with an endpoint that
//! has no UDP at all (*front*, relay only), and opens the one with UDP (*main*) to admitted endpoints.
//! A node without relays, or one that is public anyway, has one endpoint for both.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use homing_base::sign1::{self, Domain};
use homing_base::{InstanceId, RelayRef};
use homing_core::io::Door;
use homing_core::message::EndpointProof;
use iroh::dns::DnsResolver;
use iroh::endpoint::{BindOpts, Builder, QuicTransportConfig, presets};
use iroh::tls::CaTlsConfig;
use iroh::{
    Endpoint, EndpointId, NetReportConfig, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey,
};
use iroh_relay::RelayQuicConfig;

use super::relay_book::{BookResolver, RelayBook};
use super::{ALPN_MESH, ALPN_STREAM, TransportConfig, TransportError, limits};
use crate::relay::pass::RelayPass;

/// The endpoints of one run. They hold the UDP sockets as long as anybody holds them: closing lets go of them.
pub(super) struct Doors {
    /// The front door's key, which is the instance.
    pub(super) front_id: EndpointId,
    /// The main door's key.
    pub(super) main_id: EndpointId,
    open: RwLock<Option<Pair>>,
    passes: Passes,
}

/// Both doors while they are open.
#[derive(Clone)]
pub(super) struct Pair {
    /// What strangers see.
    pub(super) front: Endpoint,
    /// What trusted peers reach directly.
    pub(super) main: Endpoint,
}

/// What relays with an allow-list are shown, per door.
#[derive(Clone, Default)]
struct Passes {
    front: Option<String>,
    main: Option<String>,
}

impl Doors {
    /// Binds the endpoints.
    pub(super) async fn open(
        config: &TransportConfig,
        book: &Arc<RelayBook>,
        porch: Option<&url::Url>,
    ) -> Result<Self, TransportError> {
        let base = |key, relays| base(config, book, porch, key, relays);
        let two = !config.relays.is_empty() && !config.publish_addresses && !config.public;
        let (front_key, main_key) = (SecretKey::generate(), SecretKey::generate());
        let front_id = if two { front_key.public() } else { main_key.public() };
        let passes = Passes::sign(config, front_id, main_key.public());
        let main = base(main_key, relay_map(book, passes.main.as_deref()));
        let main = bind_main(config, main).await?;
        let front = if two {
            let relays = relay_map(book, passes.front.as_deref());
            let builder = base(front_key, relays).clear_ip_transports();
            builder.alpns(vec![ALPN_MESH.to_vec()]).bind().await.map_err(endpoint_error)?
        } else {
            main.clone()
        };
        let (front_id, main_id) = (front.id(), main.id());
        let open = RwLock::new(Some(Pair { front, main }));
        Ok(Self { front_id, main_id, open, passes })
    }

    /// The endpoints; `None` once they are closed.
    pub(super) fn pair(&self) -> Option<Pair> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Front and main are one endpoint.
    pub(super) fn single(&self) -> bool {
        self.front_id == self.main_id
    }

    /// The endpoint that a dial `from` this door uses, and the door it is.
    pub(super) fn dialler(&self, from: Door) -> Option<(Endpoint, Door)> {
        let pair = self.pair()?;
        Some(match from {
            Door::Front if !self.single() => (pair.front, Door::Front),
            _ => (pair.main, Door::Main),
        })
    }

    /// Starts using a relay (again).
    pub(super) async fn insert_relay(&self, book: &RelayBook, relay: &RelayRef) {
        let (Some(url), Some(pair)) = (book.url(relay), self.pair()) else { return };
        pair.main.insert_relay(url.clone(), entry(relay, &url, self.passes.main.as_deref())).await;
        if !self.single() {
            let config = entry(relay, &url, self.passes.front.as_deref());
            pair.front.insert_relay(url, config).await;
        }
    }

    /// Stops using a relay.
    pub(super) async fn remove_relay(&self, url: &RelayUrl) {
        let Some(pair) = self.pair() else { return };
        pair.main.remove_relay(url).await;
        if !self.single() {
            pair.front.remove_relay(url).await;
        }
    }

    /// Closes both, telling the peers, and frees the UDP ports, each within [`limits::DOOR_CLOSE_TIMEOUT`].
    pub(super) async fn close(&self) {
        let pair = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Pair { front, main }) = pair else { return };
        let bound = main.bound_sockets();
        // A task of its own: an endpoint whose closing is broken off half-way never lets go of its sockets.
        let both = tokio::spawn(async move {
            tokio::join!(front.close(), main.close());
        });
        if tokio::time::timeout(limits::DOOR_CLOSE_TIMEOUT, both).await.is_err() {
            return tracing::debug!("some peers did not acknowledge the end");
        }
        // The sockets close with the last handle of a connection, and then on a thread for what blocks.
        let free = async {
            while check_free(&bound).is_err() {
                tokio::time::sleep(limits::PORT_FREE_POLL).await;
            }
        };
        if tokio::time::timeout(limits::DOOR_CLOSE_TIMEOUT, free).await.is_err() {
            tracing::debug!("somebody still holds a stream, and with it the UDP port");
        }
    }
}

impl Passes {
    fn sign(config: &TransportConfig, front: EndpointId, main: EndpointId) -> Self {
        let Some(identity) = &config.identity else { return Self::default() };
        let instance = InstanceId(*front.as_bytes());
        let pass = |endpoint: EndpointId| {
            let proof = EndpointProof { instance, endpoint: InstanceId(*endpoint.as_bytes()) };
            let payload = homing_base::cbor::encode(&proof);
            let proof = sign1::sign(identity, Domain::EndpointProof, &payload);
            Some(RelayPass { key: identity.public(), proof }.to_string())
        };
        Self { front: pass(front), main: pass(main) }
    }
}

/// An endpoint's key in our own type.
pub(super) fn instance_of(endpoint: EndpointId) -> InstanceId {
    InstanceId(*endpoint.as_bytes())
}

async fn bind_main(config: &TransportConfig, base: Builder) -> Result<Endpoint, TransportError> {
    check_free(&config.listen)?;
    let mut builder =
        base.alpns(vec![ALPN_MESH.to_vec(), ALPN_STREAM.to_vec()]).clear_ip_transports();
    for (addr, options) in sockets(&config.listen) {
        builder = builder
            .bind_addr_with_opts(addr, options)
            .map_err(|e| TransportError::Endpoint(e.to_string()))?;
    }
    builder.bind().await.map_err(endpoint_error)
}

/// What to bind: as told, or every address of both families, IPv6 only where there is one.
fn sockets(listen: &[SocketAddr]) -> Vec<(SocketAddr, BindOpts)> {
    let everywhere = [
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    ];
    let wanted = if listen.is_empty() { &everywhere } else { listen };
    let options = |addr: &SocketAddr| {
        let required = addr.is_ipv4() || !listen.is_empty();
        let prefix =
            if addr.ip().is_unspecified() || wanted.len() == 1 { 0 } else { host_bits(addr) };
        BindOpts::default()
            .set_is_required(required)
            .set_prefix_len(prefix)
            .set_is_default_route(is_first_of_family(wanted, addr))
    };
    wanted.iter().map(|addr| (*addr, options(addr))).collect()
}

fn host_bits(addr: &SocketAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn is_first_of_family(all: &[SocketAddr], addr: &SocketAddr) -> bool {
    all.iter().find(|a| a.is_ipv4() == addr.is_ipv4()) == Some(addr)
}

/// iroh reports a taken port as one of many causes; asking the system first gives the plain reason.
fn check_free(listen: &[SocketAddr]) -> Result<(), TransportError> {
    for &addr in listen.iter().filter(|a| a.port() != 0) {
        match std::net::UdpSocket::bind(addr) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(TransportError::PortInUse { addr });
            }
            Err(source) => return Err(TransportError::Bind { addr, source }),
        }
    }
    Ok(())
}

fn base(
    config: &TransportConfig,
    book: &Arc<RelayBook>,
    porch: Option<&url::Url>,
    key: SecretKey,
    relays: RelayMap,
) -> Builder {
    let verifier = book.verifier();
    let tls = CaTlsConfig::custom_server_cert_verifier(Arc::new(move |_| Ok(verifier.clone())));
    let mut probes = NetReportConfig::default();
    probes.captive_portal_check = false;
    let mode = if relays.is_empty() { RelayMode::Disabled } else { RelayMode::Custom(relays) };
    let builder = Endpoint::builder(presets::Minimal);
    let builder = match porch {
        Some(porch) => builder.proxy_url(porch.clone()),
        None => builder,
    };
    builder
        .secret_key(key)
        .relay_mode(mode)
        .ca_tls_config(tls)
        .dns_resolver(DnsResolver::custom(BookResolver(book.clone())))
        .net_report_config(probes)
        .transport_config(
            QuicTransportConfig::builder()
                .max_concurrent_bidi_streams(limits::STREAMS_PER_CONNECTION_MAX.into())
                .max_concurrent_uni_streams(0_u32.into())
                .initial_rtt(limits::RTT_FIRST_GUESS)
                .congestion_controller_factory(config.congestion.factory())
                .build(),
        )
}

fn relay_map(book: &RelayBook, pass: Option<&str>) -> RelayMap {
    let relays = book.configured().iter();
    relays.filter_map(|r| Some(entry(r, &book.url(r)?, pass))).collect()
}

fn entry(relay: &RelayRef, url: &RelayUrl, pass: Option<&str>) -> Arc<RelayConfig> {
    let port = relay.quic_port.unwrap_or(homing_base::relay::QUIC_PORT_DEFAULT);
    let quic = (url.scheme() == "https").then(|| RelayQuicConfig::new(port));
    let config = RelayConfig::new(url.clone(), quic);
    Arc::new(match pass {
        Some(pass) => config.with_auth_token(pass),
        None => config,
    })
}

#[allow(clippy::needless_pass_by_value)] // the shape that `map_err` wants
fn endpoint_error(error: iroh::endpoint::BindError) -> TransportError {
    TransportError::Endpoint(format!("{error:#}"))
}
