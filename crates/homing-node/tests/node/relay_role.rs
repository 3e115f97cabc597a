//! A daemon that is a relay too, and two private agents that know nothing but it.

use homing_api::peers::PathKind;
use homing_api::{ApiError, Code};
use homing_base::{NodeId, UnverifiedRecord};
use homing_node::{Builder, Node};

use crate::common::{self, befriend, client, on_loopback, ping, until};

fn relay(home: &std::path::Path) -> Builder {
    on_loopback(home, "relay-1")
        .set("relay.enabled", "true")
        .set("relay.listen", "127.0.0.1:0")
        .set("relay.quic_port", "0")
        .set("relay.hostname", "127.0.0.1")
}

async fn served(node: &Node) -> homing_api::agent::ServedRelay {
    client(node).info().await.unwrap().serving_relay.unwrap()
}

#[tokio::test]
async fn strangers_meet_through_the_relay_and_friends_directly() {
    let homes: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let relay = relay(homes[0].path()).start().await.unwrap();
    let reference = served(&relay).await.relay.to_string();
    assert!(reference.contains("#sha256="), "{reference}");
    let a = on_loopback(homes[1].path(), "agent-a").relay(&reference).start().await.unwrap();
    let b = on_loopback(homes[2].path(), "agent-b").relay(&reference).start().await.unwrap();
    until("both are online", || async {
        a.info().await.unwrap().online && b.info().await.unwrap().online
    })
    .await;

    // The relay is the only neighbour; it tells b where a is, and a's record names no address.
    let address = a.address().to_string();
    let wanted = || homing_api::peers::ResolveRequest { what: address.clone(), timeout_ms: 1_500 };
    until("the relay knows a", || async { b.resolve(wanted()).await.is_ok() }).await;
    let found = b.resolve(wanted()).await.unwrap();
    assert_eq!((found.direct.len(), found.relays.len()), (0, 1));
    assert!(!a.info().await.unwrap().publishes_addresses);

    befriend(&a, &b).await;
    ping(&b, &a).await.unwrap();
    until("the path is direct", || async {
        let status = b.status(Some("agent-a")).await.unwrap();
        status.peers[0].path.kind == PathKind::Direct
    })
    .await;
    assert!(served(&relay).await.clients >= 2);
    for node in [a, b, relay] {
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_says_who_runs_it() {
    let home = tempfile::tempdir().unwrap();
    let relay = relay(home.path()).start().await.unwrap();
    let listen = served(&relay).await.listen;
    let owner = relay.node_id();
    until("the document names the relay's owner", || async {
        tokio::task::spawn_blocking(move || well_known(listen)).await.unwrap() == Some(owner)
    })
    .await;
    relay.stop().await.unwrap();
    assert!(std::net::TcpStream::connect(listen).is_err(), "the port is free again");
}

/// The owner, as anybody can read it: a record inside the document, found by its COSE tag.
fn well_known(listen: std::net::SocketAddr) -> Option<NodeId> {
    use std::io::{Read, Write};
    let mut tls = tls_stream(listen)?;
    tls.write_all(b"GET /.well-known/homing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .ok()?;
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer);
    let body = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let document: homing_node::transport::WellKnown =
        homing_base::cbor::decode(&answer[body..], 4_096).ok()?;
    let record = UnverifiedRecord::parse(&document.record).ok()?.verify_signature().ok()?;
    Some(record.node_id())
}

fn tls_stream(
    listen: std::net::SocketAddr,
) -> Option<rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(Anything(provider)))
        .with_no_client_auth();
    let name = listen.ip().to_string().try_into().unwrap();
    let tls = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let tcp = std::net::TcpStream::connect(listen).ok()?;
    tcp.set_read_timeout(Some(common::PATIENCE)).unwrap();
    Some(rustls::StreamOwned::new(tls, tcp))
}

/// This test reads a public document; whose certificate it is does not matter to it.
#[derive(Debug)]
struct Anything(std::sync::Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_relay_port_that_is_taken_is_named() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = relay(home.path()).set("relay.listen", addr.to_string()).start().await.unwrap_err();
    let told = ApiError::from(&error);
    assert_eq!((told.code, told.exit), (Code::PortInUse, 10));
    assert!(told.message.contains(&addr.to_string()));
}
