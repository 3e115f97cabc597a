//! Detached JWS (RFC 7515, alg `EdDSA` of RFC 8037 §3.1) by an identity: what agent cards are signed with.
//!
//! ```text
//! signed: ASCII( protected ‖ "." ‖ BASE64URL(payload) )        protected: base64url of the header's JSON
//! ```
//! Every signing input consists of base64url characters and one dot, and every COSE object of ours begins
//! with the byte 0x84 ([`crate::sign1`]), so that neither signature passes for the other. Not here: what
//! the header says and which payload is meant.

use data_encoding::BASE64URL_NOPAD;

use crate::key::{IdentityKey, PublicKey, Signature};

/// Signs `payload` under a protected header that is base64url already; `None`: it is not.
#[must_use]
pub fn sign(key: &IdentityKey, protected: &str, payload: &[u8]) -> Option<Signature> {
    is_base64url(protected).then(|| key.sign(&signing_input(protected, payload)))
}

/// Whether `signature` is `key`'s over this header and payload.
#[must_use]
pub fn verify(key: &PublicKey, protected: &str, payload: &[u8], signature: &Signature) -> bool {
    is_base64url(protected) && key.verifies(&signing_input(protected, payload), signature)
}

/// `protected ‖ "." ‖ BASE64URL(payload)`, RFC 7515 §5.1.
#[must_use]
pub fn signing_input(protected: &str, payload: &[u8]) -> Vec<u8> {
    format!("{protected}.{}", BASE64URL_NOPAD.encode(payload)).into_bytes()
}

fn is_base64url(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::parse_hex_32;

    /// RFC 8037, appendix A.4.
    #[test]
    fn the_vector_of_rfc_8037_verifies_and_is_what_we_sign() {
        let key = IdentityKey::from_seed(
            parse_hex_32("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
                .unwrap(),
        );
        let signature = sign(&key, "eyJhbGciOiJFZERTQSJ9", b"Example of Ed25519 signing").unwrap();
        let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(BASE64URL_NOPAD.encode(&signature.0), expected);
        assert!(verify(
            &key.public(),
            "eyJhbGciOiJFZERTQSJ9",
            b"Example of Ed25519 signing",
            &signature
        ));
        assert!(!verify(
            &key.public(),
            "eyJhbGciOiJFZERTQSJ9",
            b"example of Ed25519 signing",
            &signature
        ));
    }

    #[test]
    fn a_header_that_is_no_base64url_is_neither_signed_nor_verified() {
        let key = IdentityKey::from_seed([7; 32]);
        for header in ["", "a.b", "\u{84}", "a=", "a b"] {
            assert_eq!(sign(&key, header, b"x"), None, "{header:?}");
            assert!(!verify(&key.public(), header, b"x", &Signature([0; 64])));
        }
    }
}
