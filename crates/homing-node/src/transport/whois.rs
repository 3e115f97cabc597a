//! Whois: which endpoint key answers at a UDP address?
//!
//! A bare QUIC handshake from a throw-away socket and key: TLS 1.3 with raw public keys (RFC 7250) on
//! both sides, any Ed25519 key of the server accepted and noted, its possession proven by the handshake
//! signature. The connection is closed at once; the real one is made through iroh, to that key. Who the
//! key belongs to is not decided here: the record that comes over the link proves it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use homing_base::InstanceId;
use homing_core::io::DialError;
use iroh::SecretKey;
use noq::crypto::rustls::QuicClientConfig;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::{ALPN_MESH, limits};

/// DER of a SubjectPublicKeyInfo for Ed25519 up to the key itself (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// DER of a PKCS#8 private key for Ed25519 up to the seed (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Asks all addresses at once; the first key that answers counts.
///
/// # Errors
/// [`DialError::NoAddress`] without addresses, [`DialError::Unreachable`] when none answers in 3 s.
pub(super) async fn ask(addrs: &[SocketAddr]) -> Result<(InstanceId, SocketAddr), DialError> {
    if addrs.is_empty() {
        return Err(DialError::NoAddress);
    }
    let addrs = addrs.iter().copied().take(limits::WHOIS_ADDRESSES_MAX);
    let mut asked: FuturesUnordered<_> = addrs.map(ask_one).collect();
    let mut last = "no answer".to_owned();
    let first = async {
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(found) => return Ok(found),
                Err(error) => last = error,
            }
        }
        Err(DialError::Unreachable(last))
    };
    let silent = |_| DialError::Unreachable("nobody answers at these addresses".into());
    tokio::time::timeout(limits::WHOIS_TIMEOUT, first).await.map_err(silent)?
}

async fn ask_one(addr: SocketAddr) -> Result<(InstanceId, SocketAddr), String> {
    let any = if addr.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let seen = Arc::new(AnyRawKey { provider: provider(), seen: OnceLock::new() });
    let socket = noq::Endpoint::client(any).map_err(|e| e.to_string())?;
    let config = client_config(&seen)?;
    let connecting =
        socket.connect_with(config, addr, "whois.homing.invalid").map_err(|e| e.to_string())?;
    let connection = connecting.await.map_err(|e| e.to_string())?;
    connection.close(noq::VarInt::from_u32(0), b"whois");
    socket.close(noq::VarInt::from_u32(0), b"whois");
    tokio::spawn(async move {
        // Lets the goodbye leave; bounded, because the peer may be gone.
        tokio::time::timeout(limits::CLOSE_TIMEOUT, socket.wait_idle()).await.ok();
    });
    seen.seen.get().map(|key| (InstanceId(*key), addr)).ok_or_else(|| "no key".to_owned())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_config(verifier: &Arc<AnyRawKey>) -> Result<noq::ClientConfig, String> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own_key()?)));
    tls.alpn_protocols = vec![ALPN_MESH.to_vec()];
    tls.enable_sni = false;
    let quic = QuicClientConfig::try_from(tls).map_err(|e| e.to_string())?;
    Ok(noq::ClientConfig::new(Arc::new(quic)))
}

/// A key for this one question.
fn own_key() -> Result<Arc<CertifiedKey>, String> {
    let secret = SecretKey::generate();
    let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &secret.to_bytes()[..]].concat());
    let signer = rustls::crypto::ring::sign::any_eddsa_type(&pkcs8).map_err(|e| e.to_string())?;
    let spki = [&SPKI_PREFIX[..], &secret.public().as_bytes()[..]].concat();
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer)))
}

/// Accepts any Ed25519 raw public key and remembers it.
#[derive(Debug)]
struct AnyRawKey {
    provider: Arc<CryptoProvider>,
    seen: OnceLock<[u8; 32]>,
}

impl ServerCertVerifier for AnyRawKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = end_entity.as_ref().strip_prefix(&SPKI_PREFIX[..]);
        let key: [u8; 32] = key
            .and_then(|k| k.try_into().ok())
            .ok_or_else(|| rustls::Error::General("not an Ed25519 raw public key".into()))?;
        self.seen.set(key).ok();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
