//! The two ends of a QUIC connection whose controller somebody wants to watch: this test, and `bench/congestion`.

use std::sync::Arc;

use noq::congestion::ControllerFactory;
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::{ClientConfig, ServerConfig, TransportConfig};

/// For `localhost`, with a certificate made for this one pair; both send by `controllers`.
pub(crate) fn configurations(
    controllers: Arc<dyn ControllerFactory + Send + Sync>,
) -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(controllers);
    let transport = Arc::new(transport);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = [&rustls::version::TLS13];
    let tls = rustls::ServerConfig::builder_with_provider(provider.clone());
    let tls = tls.with_protocol_versions(&versions).unwrap().with_no_client_auth();
    let tls = tls.with_single_cert(vec![certificate], key.into()).unwrap();
    let crypto = QuicServerConfig::try_from(tls).unwrap();
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(transport.clone());
    let tls = rustls::ClientConfig::builder_with_provider(provider);
    let tls = tls.with_protocol_versions(&versions).unwrap();
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(transport);
    (server, client)
}
