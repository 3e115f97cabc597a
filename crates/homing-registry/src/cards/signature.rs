//! Signatures of cards: detached JWS (RFC 7515) over canonical JSON, A2A 1.0 §8.4.
//!
//! ```text
//! signatures[]: { protected: base64url {"alg","typ","kid","jku"?}, signature: base64url, header? }
//! kid = did:key:z6Mk… or the node ID  ──► that identity's key; with a record: the record's and no other
//! kid = anything else                 ──► a JWK set of the card's own origin (`jku`), fetched guarded
//! ```
//! `EdDSA`/`Ed25519` (RFC 8037, RFC 9864) and `ES256` (RFC 7518 §3.4) are checked. A key inside the
//! header (`jwk`, `x5c`) proves nothing and is not looked at; the unprotected `header` neither. ES256
//! needs no further library: `ring`, which does TLS here, takes the fixed-length form that JWS uses.

use data_encoding::BASE64URL_NOPAD;
use homing_base::{IdentityKey, NodeId, PublicKey, Signature, jws};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::jwks::{Jwk, VerifyingKey};
use super::limits::{CARD_BYTES_MAX, PROTECTED_CHARS_MAX, SIGNATURES_MAX};
use super::{Card, CardError, canonical, did_key, text_of};

/// Which keys count, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The identity whose record names the card; its signature is the natural one.
    pub identity: Option<PublicKey>,
    /// The keys of the card's own origin, and that origin.
    pub origin: Option<(String, Vec<Jwk>)>,
}

impl Keys {
    /// Only the identity's.
    #[must_use]
    pub fn of_identity(key: PublicKey) -> Self {
        Self { identity: Some(key), origin: None }
    }
}

/// Who has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signer {
    /// An identity: the record's, if there is a record.
    Identity(NodeId),
    /// The web origin that serves the card.
    Origin(String),
}

/// What the signatures of a card are worth. The best of several counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Verdict {
    /// One is good.
    Verified {
        /// Whose.
        by: Signer,
        /// The key's name.
        kid: String,
    },
    /// There is none.
    Unsigned,
    /// One was made by a known key over another card, or is malformed.
    Invalid {
        /// What is wrong.
        why: String,
    },
    /// None by a key that is known here.
    UnknownKey {
        /// The key's name.
        kid: String,
        /// Why it is unknown.
        why: String,
    },
}

impl Verdict {
    /// One word: `verified`, `unsigned`, `invalid`, `unknown_key`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Verified { .. } => "verified",
            Self::Unsigned => "unsigned",
            Self::Invalid { .. } => "invalid",
            Self::UnknownKey { .. } => "unknown_key",
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Verified { by: Signer::Identity(_), .. } => 4,
            Self::Verified { .. } => 3,
            Self::Invalid { .. } => 2,
            Self::UnknownKey { .. } => 1,
            Self::Unsigned => 0,
        }
    }
}

/// Checks the signatures of a card.
#[must_use]
pub fn check(card: &Card, keys: &Keys) -> Verdict {
    let list = card.signatures();
    if list.is_empty() && card.fields().get("signatures").is_some_and(|v| !v.is_array()) {
        return invalid("signatures is not a list");
    }
    let payloads = canonical::payloads(card);
    let verdicts = list.iter().take(SIGNATURES_MAX).map(|s| check_one(s, &payloads, keys));
    verdicts.max_by_key(Verdict::rank).unwrap_or(Verdict::Unsigned)
}

/// The URL at which a signature says its key is; only a card's own origin may be asked.
#[must_use]
pub fn key_urls(card: &Card) -> Vec<String> {
    let signatures = card.signatures().iter().take(SIGNATURES_MAX).filter_map(Value::as_object);
    let headers = signatures.filter_map(|s| header_of(text_of(s, "protected")).ok());
    let mut urls: Vec<_> =
        headers.map(|h| text_of(&h, "jku").to_owned()).filter(|url| !url.is_empty()).collect();
    urls.sort();
    urls.dedup();
    urls
}

fn check_one(signature: &Value, payloads: &[Vec<u8>], keys: &Keys) -> Verdict {
    let Some(parts) = signature.as_object() else { return invalid("a signature is an object") };
    let protected = text_of(parts, "protected");
    let header = match header_of(protected) {
        Ok(header) => header,
        Err(why) => return invalid(why),
    };
    if header.contains_key("crit") || header.contains_key("b64") {
        return invalid("it demands extensions that are unknown here (crit, b64)");
    }
    let Ok(bytes) = BASE64URL_NOPAD.decode(text_of(parts, "signature").as_bytes()) else {
        return invalid("signature is not base64url");
    };
    let Ok(bytes) = <[u8; 64]>::try_from(bytes) else {
        return unknown(&header, "an algorithm with signatures of another length than 64 bytes");
    };
    let (by, key) = match key_of(&header, keys) {
        Ok(found) => found,
        Err(why) => return unknown(&header, &why),
    };
    let good = match (text_of(&header, "alg"), &key) {
        ("EdDSA" | "Ed25519", VerifyingKey::Ed25519(key)) => {
            let signature = Signature(bytes);
            payloads.iter().any(|p| jws::verify(key, protected, p, &signature))
        }
        ("ES256", VerifyingKey::P256(point)) => {
            let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED;
            let key = ring::signature::UnparsedPublicKey::new(algorithm, &point[..]);
            payloads.iter().any(|p| key.verify(&jws::signing_input(protected, p), &bytes).is_ok())
        }
        ("EdDSA" | "Ed25519" | "ES256", _) => return invalid("alg is not that of its key"),
        _ => return unknown(&header, "its algorithm is not checked here, only EdDSA and ES256"),
    };
    match good {
        true => Verdict::Verified { by, kid: shown(text_of(&header, "kid")) },
        false => invalid("the card is not the one that was signed"),
    }
}

/// Whose key a header names.
fn key_of(header: &Map<String, Value>, keys: &Keys) -> Result<(Signer, VerifyingKey), String> {
    let kid = text_of(header, "kid");
    let by_did = did_key::decode(kid);
    if let Some(key) = keys.identity {
        if by_did == Some(key) || kid.parse() == Ok(key.node_id()) {
            return Ok((Signer::Identity(key.node_id()), VerifyingKey::Ed25519(key)));
        }
        if by_did.is_some() {
            return Err("it is another identity's than the record's".into());
        }
    } else if let Some(key) = by_did {
        return Ok((Signer::Identity(key.node_id()), VerifyingKey::Ed25519(key)));
    }
    let Some((origin, set)) = &keys.origin else {
        return Err("it is neither this identity's nor its origin's".into());
    };
    match set.iter().find(|jwk| jwk.kid == kid) {
        Some(jwk) => Ok((Signer::Origin(origin.clone()), jwk.key.clone())),
        None => Err(format!("{origin} publishes no such key")),
    }
}

fn header_of(protected: &str) -> Result<Map<String, Value>, &'static str> {
    if protected.len() > PROTECTED_CHARS_MAX {
        return Err("protected is too long");
    }
    let bytes =
        BASE64URL_NOPAD.decode(protected.as_bytes()).map_err(|_| "protected is not base64url")?;
    match super::json::read(&bytes) {
        Ok(Value::Object(header)) => Ok(header),
        _ => Err("protected is not a JSON object with distinct keys"),
    }
}

/// The card with a signature of `key`, in place of an earlier one of the same key. Others' stay.
///
/// # Errors
/// [`CardError::TooLong`] when the signature does not fit.
pub fn sign(card: &Card, key: &IdentityKey) -> Result<Card, CardError> {
    let kid = did_key::encode(&key.public());
    let header = json!({ "alg": "EdDSA", "typ": "JOSE", "kid": kid });
    let protected = BASE64URL_NOPAD.encode(&canonical::jcs(&header));
    let signature =
        jws::sign(key, &protected, &canonical::payload(card)).expect("base64url was just made");
    let node_id = key.node_id().to_string();
    let is_ours = |s: &Value| {
        let header = header_of(s.get("protected").and_then(Value::as_str).unwrap_or_default());
        header.is_ok_and(|h| {
            let kid = text_of(&h, "kid");
            did_key::decode(kid) == Some(key.public()) || kid == node_id
        })
    };
    let mut list: Vec<Value> = card.signatures().iter().filter(|s| !is_ours(s)).cloned().collect();
    let ours = json!({
        "protected": protected, "signature": BASE64URL_NOPAD.encode(&signature.0),
    });
    list.insert(0, ours);
    let mut fields = card.fields().clone();
    fields.insert("signatures".to_owned(), Value::Array(list));
    let mut text = serde_json::to_string_pretty(&fields).expect("JSON values serialise");
    text.push('\n');
    if text.len() > CARD_BYTES_MAX {
        return Err(CardError::TooLong { len: text.len(), max: CARD_BYTES_MAX });
    }
    Card::parse(text.as_bytes())
}

fn invalid(why: &str) -> Verdict {
    Verdict::Invalid { why: why.to_owned() }
}

fn unknown(header: &Map<String, Value>, why: &str) -> Verdict {
    Verdict::UnknownKey { kid: shown(text_of(header, "kid")), why: why.to_owned() }
}

/// Cut, and without what garbles a terminal.
fn shown(kid: &str) -> String {
    kid.chars().filter(|c| !c.is_control()).take(128).collect()
}
