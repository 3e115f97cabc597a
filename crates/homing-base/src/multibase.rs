//! Numbers in base 36 and 58, as content identifiers and peer IDs are written.
//!
//! After the multibase table of the multiformats project: `k` base 36, `z` base 58 (Bitcoin's alphabet),
//! `b` base 32 without padding, `f` hexadecimal. The quadratic conversions are bounded by
//! [`TEXT_CHARS_MAX`]. Not here: what the bytes mean ([`crate::cid`]).

use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};

/// Longest text that is decoded: an identifier with a 128-byte digest in base 32 has 215 characters.
pub const TEXT_CHARS_MAX: usize = 256;

const BASE36: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE58: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// `bytes` in lowercase base 36, with its prefix.
#[must_use]
pub fn base36(bytes: &[u8]) -> String {
    format!("k{}", encode(BASE36, bytes))
}

/// `bytes` in base 58, without prefix: the form of CIDv0 and of peer IDs.
#[must_use]
pub fn base58(bytes: &[u8]) -> String {
    encode(BASE58, bytes)
}

/// `bytes` in lowercase base 32, with its prefix.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    format!("b{}", BASE32_NOPAD.encode(bytes).to_ascii_lowercase())
}

/// The bytes of a text without prefix in base 58.
#[must_use]
pub fn from_base58(text: &str) -> Option<Vec<u8>> {
    decode(BASE58, text)
}

/// The bytes of a prefixed text. `None`: too long, an unknown prefix, or a digit that the base lacks.
#[must_use]
pub fn from_multibase(text: &str) -> Option<Vec<u8>> {
    let rest = text.get(1..).filter(|_| text.len() <= TEXT_CHARS_MAX)?;
    match text.as_bytes()[0] {
        b'k' | b'K' => decode(BASE36, &rest.to_ascii_lowercase()),
        b'z' => decode(BASE58, rest),
        b'b' | b'B' => BASE32_NOPAD.decode(rest.to_ascii_uppercase().as_bytes()).ok(),
        b'f' | b'F' => HEXLOWER_PERMISSIVE.decode(rest.as_bytes()).ok(),
        _ => None,
    }
}

/// Leading zero bytes are leading zero digits; the rest is one big number.
fn encode(digits: &[u8], bytes: &[u8]) -> String {
    let base = u32::try_from(digits.len()).expect("a small alphabet");
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let mut number: Vec<u8> = Vec::new();
    for byte in &bytes[zeros..] {
        let mut carry = u32::from(*byte);
        for digit in &mut number {
            carry += u32::from(*digit) << 8;
            *digit = (carry % base) as u8;
            carry /= base;
        }
        while carry > 0 {
            number.push((carry % base) as u8);
            carry /= base;
        }
    }
    let zeros = std::iter::repeat_n(digits[0], zeros);
    zeros.chain(number.iter().rev().map(|d| digits[usize::from(*d)])).map(char::from).collect()
}

fn decode(digits: &[u8], text: &str) -> Option<Vec<u8>> {
    if text.len() > TEXT_CHARS_MAX {
        return None;
    }
    let base = u32::try_from(digits.len()).expect("a small alphabet");
    let zeros = text.bytes().take_while(|c| *c == digits[0]).count();
    let mut number: Vec<u8> = Vec::new();
    for c in text.bytes().skip(zeros) {
        let digit = digits.iter().position(|d| *d == c)?;
        let mut carry = u32::try_from(digit).expect("a small alphabet");
        for byte in &mut number {
            carry += u32::from(*byte) * base;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        while carry > 0 {
            number.push((carry & 0xff) as u8);
            carry >>= 8;
        }
    }
    number.extend(std::iter::repeat_n(0, zeros));
    number.reverse();
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts() {
        // draft-msporny-base58, test vectors
        assert_eq!(base58(b"Hello World!"), "2NEpo7TZRRrLZSi2U");
        assert_eq!(base58(&[0, 0, 0x28, 0x7f, 0xb4, 0xcd]), "11233QC4");
        assert_eq!(from_multibase("k").as_deref(), Some(&[][..]));
        assert_eq!(from_multibase("?x"), None);
        assert_eq!(from_multibase(""), None);
        assert_eq!(from_multibase(&format!("z{}", "2".repeat(TEXT_CHARS_MAX))), None);
    }

    proptest! {
        #[test]
        fn every_base_gives_back_what_it_took(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(from_multibase(&base36(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(from_multibase(&base32(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(from_base58(&base58(&bytes)), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = from_multibase(&text);
        }
    }
}
