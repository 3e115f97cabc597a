//! The relay's certificate: given by the operator, or made by the relay and kept.
//!
//! A self-made certificate (ECDSA P-256, self-signed, for the hosts it is told) lies in one PEM file
//! with its key, `relay-certificate.pem`, mode 0600, and is used again at every start, so that the pin
//! that clients hold stays true. Losing the file means a new pin.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::RelayError;

/// The file of a self-made certificate and its key.
pub const CERTIFICATE_FILE: &str = "relay-certificate.pem";
/// An honest file has some 800 bytes; chains of public authorities some 10 000.
const CERTIFICATE_FILE_BYTES_MAX: u64 = 64 * 1_024;

/// Where the relay's certificate comes from.
#[derive(Clone, Debug)]
pub enum RelayTls {
    /// PEM files of a certificate chain and its key.
    Given {
        /// The chain, own certificate first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Made at first start and kept in this directory.
    SelfMade {
        /// The directory, which exists.
        dir: PathBuf,
    },
    /// Plain HTTP: for a trusted network or a proxy in front. No address discovery.
    None,
}

/// A certificate ready for use.
pub(super) struct Certificate {
    pub(super) config: Arc<rustls::ServerConfig>,
    /// SHA-256 of its DER, for self-made ones.
    pub(super) pin: Option<[u8; 32]>,
}

impl Certificate {
    /// Reads or makes the certificate; `None` for plain HTTP.
    pub(super) fn load(tls: &RelayTls) -> Result<Option<Self>, RelayError> {
        match tls {
            RelayTls::None => Ok(None),
            RelayTls::Given { certificate, key } => {
                let (chain, _) = read(certificate)?;
                let key = parse_key(key)?;
                Ok(Some(Self { config: server_config(chain, key, certificate)?, pin: None }))
            }
            RelayTls::SelfMade { dir } => {
                let path = dir.join(CERTIFICATE_FILE);
                if !path.exists() {
                    make(&path)?;
                }
                check_private(&path)?;
                let (chain, first) = read(&path)?;
                let key = parse_key(&path)?;
                let pin = Some(Sha256::digest(&first).into());
                Ok(Some(Self { config: server_config(chain, key, &path)?, pin }))
            }
        }
    }
}

type Chain = Vec<CertificateDer<'static>>;

fn refused(path: &Path, reason: impl ToString) -> RelayError {
    RelayError::Certificate { path: path.to_owned(), reason: reason.to_string() }
}

fn read(path: &Path) -> Result<(Chain, CertificateDer<'static>), RelayError> {
    let size = fs::metadata(path).map_err(|e| refused(path, e))?.len();
    if size > CERTIFICATE_FILE_BYTES_MAX {
        return Err(refused(path, format!("{size} bytes are too many for a certificate")));
    }
    let chain: Chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| refused(path, e))?;
    let first = chain.first().cloned().ok_or_else(|| refused(path, "no certificate in it"))?;
    Ok((chain, first))
}

fn parse_key(path: &Path) -> Result<PrivateKeyDer<'static>, RelayError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| refused(path, format!("no private key: {e}")))
}

fn server_config(
    chain: Chain,
    key: PrivateKeyDer<'static>,
    path: &Path,
) -> Result<Arc<rustls::ServerConfig>, RelayError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(path, e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| refused(path, e))?;
    Ok(Arc::new(config))
}

/// Writes a new certificate whole or not at all.
fn make(path: &Path) -> Result<(), RelayError> {
    let hosts = vec!["relay.homing.invalid".to_owned()];
    let made = rcgen::generate_simple_self_signed(hosts).map_err(|e| refused(path, e))?;
    let text = made.cert.pem() + &made.signing_key.serialize_pem();
    let draft = path.with_extension("pem.new");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, path));
    written.map_err(|e| {
        fs::remove_file(&draft).ok();
        refused(path, e)
    })
}

/// The key in it must be the owner's alone.
fn check_private(path: &Path) -> Result<(), RelayError> {
    let mode = fs::metadata(path).map_err(|e| refused(path, e))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refused(path, format!("others may read it (mode {mode:o}); chmod 600 it")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_stays_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let tls = RelayTls::SelfMade { dir: dir.path().to_owned() };
        let first = Certificate::load(&tls).unwrap().unwrap().pin;
        let second = Certificate::load(&tls).unwrap().unwrap().pin;
        assert!(first.is_some());
        assert_eq!(first, second);
    }

    #[test]
    fn a_readable_or_damaged_key_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let tls = RelayTls::SelfMade { dir: dir.path().to_owned() };
        Certificate::load(&tls).unwrap();
        let path = dir.path().join(CERTIFICATE_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Certificate::load(&tls).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not a certificate").unwrap();
        assert!(Certificate::load(&tls).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a certificate");
    }
}
