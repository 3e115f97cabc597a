//! `did:key` of an identity: the public key as a name that every DID library reads.
//!
//! ```text
//! did:key:z ‖ base58btc( 0xed 0x01 ‖ public key [32] )        always "did:key:z6Mk…", 56 characters
//! ```
//! The did:key method of the W3C credentials community group; multicodec 0xed is an Ed25519 public key.
//! A DID URL with the key as its fragment (`did:key:z6Mk…#z6Mk…`) means the same key.

use homing_base::PublicKey;

const PREFIX: &str = "did:key:z";
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const MULTICODEC: [u8; 2] = [0xed, 0x01];
/// Base58 digits of 34 bytes that begin with 0xed.
const DIGITS: usize = 47;

/// The `did:key` of a public key.
#[must_use]
pub fn encode(key: &PublicKey) -> String {
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&MULTICODEC);
    bytes[2..].copy_from_slice(&key.0);
    let mut digits: Vec<u8> = Vec::with_capacity(DIGITS);
    for byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let text: String = digits.iter().rev().map(|d| char::from(ALPHABET[usize::from(*d)])).collect();
    format!("{PREFIX}{text}")
}

/// The public key of a `did:key`, or of a DID URL whose fragment repeats it; `None`: it is none.
#[must_use]
pub fn decode(did: &str) -> Option<PublicKey> {
    let (did, fragment) = did.split_once('#').map_or((did, None), |(d, f)| (d, Some(f)));
    let text = did.strip_prefix(PREFIX)?;
    if text.len() != DIGITS || fragment.is_some_and(|f| f.strip_prefix('z') != Some(text)) {
        return None;
    }
    let mut bytes = [0_u8; 34];
    for c in text.bytes() {
        let mut carry = ALPHABET.iter().position(|a| *a == c)? as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            return None;
        }
    }
    let key = bytes.strip_prefix(&MULTICODEC)?;
    Some(PublicKey(key.try_into().ok()?))
}
