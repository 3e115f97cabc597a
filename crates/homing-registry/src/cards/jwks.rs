//! Keys that an origin publishes for its cards: a JWK set (RFC 7517 §5), bounded.
//!
//! Only Ed25519 (`OKP`, RFC 8037 §2) and P-256 (`EC`, RFC 7518 §6.2) are read; other keys and keys for
//! encryption are passed over. A set proves no more than the origin it was fetched from.

use data_encoding::BASE64URL_NOPAD;
use homing_base::PublicKey;
use serde_json::{Map, Value};

use super::limits::{CARD_BYTES_MAX, JWKS_KEYS_MAX};
use super::{json, text_of};

/// A key that can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyingKey {
    /// `EdDSA`.
    Ed25519(PublicKey),
    /// `ES256`: 0x04 ‖ x ‖ y.
    P256(Box<[u8; 65]>),
}

/// One key of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    /// Its name.
    pub kid: String,
    /// The key.
    pub key: VerifyingKey,
}

/// Reads a set; keys that cannot verify are left out.
#[must_use]
pub fn parse(bytes: &[u8]) -> Vec<Jwk> {
    if bytes.len() > CARD_BYTES_MAX {
        return Vec::new();
    }
    let Ok(set) = json::read(bytes) else { return Vec::new() };
    let keys = set.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    keys.iter().take(JWKS_KEYS_MAX).filter_map(|key| one(key.as_object()?)).collect()
}

fn one(jwk: &Map<String, Value>) -> Option<Jwk> {
    let kid = text_of(jwk, "kid").to_owned();
    if kid.is_empty() || !matches!(text_of(jwk, "use"), "" | "sig") {
        return None;
    }
    let coordinate = |name: &str| -> Option<[u8; 32]> {
        BASE64URL_NOPAD.decode(text_of(jwk, name).as_bytes()).ok()?.try_into().ok()
    };
    let key = match (text_of(jwk, "kty"), text_of(jwk, "crv")) {
        ("OKP", "Ed25519") => VerifyingKey::Ed25519(PublicKey(coordinate("x")?)),
        ("EC", "P-256") => {
            let mut point = Box::new([4; 65]);
            point[1..33].copy_from_slice(&coordinate("x")?);
            point[33..].copy_from_slice(&coordinate("y")?);
            VerifyingKey::P256(point)
        }
        _ => return None,
    };
    Some(Jwk { kid, key })
}
