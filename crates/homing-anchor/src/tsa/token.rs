//! Checking one time-stamp token (RFC 3161 §2.4.2, RFC 5652 §5.6, RFC 5816).
//!
//! Imprint → signed attributes → signature by the certificate that the token names by hash → that certificate is for time stamping
//! only and leads to a trusted one, at the time that the token says.

use cms::cert::CertificateChoices;
use cms::signed_data::{SignedData, SignerInfo};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST, ID_SIGNED_DATA};
use const_oid::db::rfc5912::{ID_SHA_256, ID_SHA_384, ID_SHA_512};
use der::asn1::OctetString;
use der::{Any, Decode, Encode, Tag, Tagged};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_tsp::TstInfo;

use super::checkpoint_body;
use crate::{EvidenceError, Finding, Point};

/// id-kp-timeStamping, 1.3.6.1.5.5.7.3.8, as DER content.
const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
/// id-ct-TSTInfo (RFC 3161 §2.4.2).
const ID_CT_TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
/// id-aa-signingCertificate (RFC 2634 §5.4) and its successor for other hashes than SHA-1 (RFC 5035 §3).
const SIGNING_CERTIFICATE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// What is accepted from authorities.
static SIGNATURES: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA384,
    webpki::ring::RSA_PKCS1_2048_8192_SHA512,
];

/// The certificates in a PEM file.
///
/// # Errors
/// [`EvidenceError::Format`] when there is none, or one that cannot be read.
pub fn authorities_from_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>, EvidenceError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).map(|found| found.map(|der| der.to_vec())).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(EvidenceError::Format("no certificate in the PEM file".into())),
        Err(error) => Err(EvidenceError::Format(format!("the PEM file: {error}"))),
    }
}

/// As [`verify`], and fails without trust when authorities are named.
pub(crate) fn confirm(
    token: &[u8],
    origin: &str,
    point: &Point,
    authorities: &[Vec<u8>],
) -> Result<Finding, EvidenceError> {
    verify(token, checkpoint_body(origin, point).as_bytes(), authorities)
}

/// Checks that `token` (DER `TimeStampToken`) is about `data`. Without `authorities` the answer is the token's own word on who made it.
///
/// # Errors
/// [`EvidenceError`] naming the first thing that does not hold.
pub fn verify(
    token: &[u8],
    data: &[u8],
    authorities: &[Vec<u8>],
) -> Result<Finding, EvidenceError> {
    let (signed, info, content) = open(token)?;
    let hash = digest(info.message_imprint.hash_algorithm.oid, data)?;
    if info.message_imprint.hashed_message.as_bytes() != hash {
        return Err(EvidenceError::Subject("the token is a time stamp of other bytes".into()));
    }
    let [signer] = signed.signer_infos.0.as_slice() else {
        return Err(proof("a token has exactly one signer"));
    };
    let certificates = certificates(&signed)?;
    let named = named_certificate(signer, &certificates)?;
    check_signature(signer, &named.der, &content)?;
    let time = info.gen_time.to_unix_duration();
    let others: Vec<_> =
        certificates.iter().map(|c| CertificateDer::from(c.der.as_slice())).collect();
    let trusted = !authorities.is_empty();
    if trusted {
        check_path(&named.der, &others, authorities, UnixTime::since_unix_epoch(time))?;
    }
    Ok(Finding::Authority {
        name: named.certificate.tbs_certificate.subject.to_string(),
        trusted,
        serial: data_encoding::HEXLOWER.encode(info.serial_number.as_bytes()),
        time_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The answer must be to this very request.
pub(super) fn check_nonce(token: &[u8], nonce: &[u8]) -> Result<(), EvidenceError> {
    let (_, info, _) = open(token)?;
    match info.nonce {
        Some(found) if found.as_bytes() == nonce => Ok(()),
        _ => Err(EvidenceError::Subject("the token answers another request".into())),
    }
}

struct Held {
    der: Vec<u8>,
    certificate: Certificate,
}

fn open(token: &[u8]) -> Result<(SignedData, TstInfo, Vec<u8>), EvidenceError> {
    let content = cms::content_info::ContentInfo::from_der(token).map_err(format)?;
    if content.content_type != ID_SIGNED_DATA {
        return Err(EvidenceError::Format("the token is no signed data".into()));
    }
    let signed: SignedData = content.content.decode_as().map_err(format)?;
    if signed.encap_content_info.econtent_type != ID_CT_TST_INFO {
        return Err(EvidenceError::Format("what is signed is no time stamp".into()));
    }
    let inner = signed.encap_content_info.econtent.as_ref().filter(|c| c.tag() == Tag::OctetString);
    let bytes =
        inner.ok_or_else(|| EvidenceError::Format("the token is empty".into()))?.value().to_vec();
    let info = TstInfo::from_der(&bytes).map_err(format)?;
    Ok((signed, info, bytes))
}

fn certificates(signed: &SignedData) -> Result<Vec<Held>, EvidenceError> {
    let set = signed.certificates.iter().flat_map(|set| set.0.iter());
    let held = set.filter_map(|choice| match choice {
        CertificateChoices::Certificate(certificate) => Some(certificate),
        CertificateChoices::Other(_) => None,
    });
    held.map(|c| Ok(Held { der: c.to_der().map_err(format)?, certificate: c.clone() })).collect()
}

/// The certificate whose hash the signer signed: a token cannot be moved to another certificate of the same key.
fn named_certificate<'h>(signer: &SignerInfo, held: &'h [Held]) -> Result<&'h Held, EvidenceError> {
    let (hash_name, hash) = signed_certificate_hash(signer)?;
    let fits = |h: &&Held| match hash_name {
        None => {
            ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &h.der).as_ref() == hash
        }
        Some(name) => digest(name, &h.der).is_ok_and(|d| d == hash),
    };
    held.iter().find(fits).ok_or_else(|| proof("the certificate that the token names is not in it"))
}

/// ESSCertID and ESSCertIDv2 without what is not used: `SEQUENCE { [hash algorithm DEFAULT sha-256,] hash OCTET STRING, … }`.
fn signed_certificate_hash(
    signer: &SignerInfo,
) -> Result<(Option<ObjectIdentifier>, Vec<u8>), EvidenceError> {
    let second = attribute(signer, SIGNING_CERTIFICATE_V2);
    let first = attribute(signer, SIGNING_CERTIFICATE);
    let (value, default) = match (second, first) {
        (Some(value), _) => (value, Some(ID_SHA_256)),
        (None, Some(value)) => (value, None),
        (None, None) => return Err(proof("the signer did not sign which certificate is its own")),
    };
    let outer: Vec<Any> = value.decode_as().map_err(format)?;
    let certificates: Vec<Any> =
        outer.first().ok_or_else(|| proof("empty"))?.decode_as().map_err(format)?;
    let id: Vec<Any> =
        certificates.first().ok_or_else(|| proof("empty"))?.decode_as().map_err(format)?;
    match id.as_slice() {
        [hash, ..] if hash.tag() == Tag::OctetString => Ok((default, hash.value().to_vec())),
        [name, hash, ..] if hash.tag() == Tag::OctetString => {
            let name: x509_cert::spki::AlgorithmIdentifierOwned =
                name.decode_as().map_err(format)?;
            Ok((Some(name.oid), hash.value().to_vec()))
        }
        _ => Err(proof("the signer's certificate is not named by a hash")),
    }
}

/// RFC 5652 §5.4: signed are the attributes, which contain the digest of the content.
fn check_signature(
    signer: &SignerInfo,
    certificate: &[u8],
    content: &[u8],
) -> Result<(), EvidenceError> {
    let attributes = signer.signed_attrs.as_ref().ok_or_else(|| proof("nothing is signed"))?;
    let said = attribute(signer, ID_MESSAGE_DIGEST).ok_or_else(|| proof("no digest is signed"))?;
    let said: OctetString = said.decode_as().map_err(format)?;
    if said.as_bytes() != digest(signer.digest_alg.oid, content)? {
        return Err(EvidenceError::Signature("the content is not what was signed".into()));
    }
    let kind: Option<ObjectIdentifier> =
        attribute(signer, ID_CONTENT_TYPE).and_then(|a| a.decode_as().ok());
    if kind != Some(ID_CT_TST_INFO) {
        return Err(proof("the signed content type is no time stamp"));
    }
    let message = attributes.to_der().map_err(format)?;
    let certificate = CertificateDer::from(certificate);
    let end = webpki::EndEntityCert::try_from(&certificate).map_err(refused)?;
    let signature = signer.signature.as_bytes();
    let fits = SIGNATURES.iter().any(|a| end.verify_signature(*a, &message, signature).is_ok());
    fits.then_some(()).ok_or_else(|| EvidenceError::Signature("the signature is wrong".into()))
}

fn check_path(
    certificate: &[u8],
    others: &[CertificateDer<'_>],
    authorities: &[Vec<u8>],
    time: UnixTime,
) -> Result<(), EvidenceError> {
    let certificate = CertificateDer::from(certificate);
    let end = webpki::EndEntityCert::try_from(&certificate).map_err(refused)?;
    let roots: Vec<_> =
        authorities.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let roots: Result<Vec<_>, _> = roots.iter().map(webpki::anchor_from_trusted_cert).collect();
    let usage = webpki::KeyUsage::required(TIME_STAMPING);
    end.verify_for_usage(SIGNATURES, &roots.map_err(refused)?, others, time, usage, None, None)
        .map(|_| ())
        .map_err(refused)
}

fn attribute(signer: &SignerInfo, name: ObjectIdentifier) -> Option<Any> {
    let attributes = signer.signed_attrs.as_ref()?;
    let found = attributes.iter().find(|a| a.oid == name)?;
    found.values.iter().next().cloned()
}

fn digest(name: ObjectIdentifier, bytes: &[u8]) -> Result<Vec<u8>, EvidenceError> {
    match name {
        ID_SHA_256 => Ok(Sha256::digest(bytes).to_vec()),
        ID_SHA_384 => Ok(Sha384::digest(bytes).to_vec()),
        ID_SHA_512 => Ok(Sha512::digest(bytes).to_vec()),
        other => Err(EvidenceError::Signature(format!("the hash {other} is not accepted"))),
    }
}

fn format(error: der::Error) -> EvidenceError {
    EvidenceError::Format(error.to_string())
}

fn proof(what: &str) -> EvidenceError {
    EvidenceError::Proof(what.into())
}

fn refused(error: webpki::Error) -> EvidenceError {
    EvidenceError::Signature(error.to_string())
}
