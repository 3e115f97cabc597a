//! What content is called: the BLAKE3 hash of its bytes, as a CID.
//!
//! ```text
//! 01 55 1e 20 ‖ BLAKE3 (32)      CIDv1 · codec raw · multihash blake3 · 32 bytes
//! bafkr4i…                       in text: `b` and base32, lower case, without padding; 59 characters
//! ```
//! Any other CID ([`crate::cid`]) may stand in a reference; content is kept, served and fetched under these only. Format:
//! `spec/16-content.md`.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cid::{CODEC_RAW, Cid, HASH_BLAKE3};

/// The hash of one file's bytes. Files of one content have one ID, on every machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(
    /// BLAKE3, unkeyed.
    pub [u8; 32],
);

/// Text or bytes that are no CID of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentIdError {
    /// No CID at all.
    #[error("a CID of content has 59 characters and begins with bafkr4i")]
    NoCid,
    /// A CID of something else: other codec, hash or version.
    #[error("only CIDs of version 1, codec raw, hash BLAKE3 name content here")]
    Kind,
}

impl ContentId {
    /// The text's beginning, for tables and logs.
    #[must_use]
    pub fn fmt_short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl From<ContentId> for Cid {
    fn from(id: ContentId) -> Self {
        Cid::blake3(id.0)
    }
}

impl TryFrom<&Cid> for ContentId {
    type Error = ContentIdError;

    fn try_from(cid: &Cid) -> Result<Self, ContentIdError> {
        match (cid.codec(), cid.function(), cid.digest().try_into()) {
            (CODEC_RAW, HASH_BLAKE3, Ok(hash)) => Ok(Self(hash)),
            _ => Err(ContentIdError::Kind),
        }
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cid::from(*self).fmt(f)
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({})", self.fmt_short())
    }
}

impl FromStr for ContentId {
    type Err = ContentIdError;

    fn from_str(text: &str) -> Result<Self, ContentIdError> {
        let cid: Cid = text.parse().map_err(|_| ContentIdError::NoCid)?;
        Self::try_from(&cid)
    }
}

impl Serialize for ContentId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<C> Encode<C> for ContentId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&Cid::from(*self).to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ContentId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let cid = Cid::from_bytes(d.bytes()?).map_err(minicbor::decode::Error::message)?;
        Self::try_from(&cid).map_err(minicbor::decode::Error::message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BLAKE3 of no bytes, from the test vectors of its authors.
    const NOTHING: ContentId = ContentId([
        0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9,
        0x49, 0x9b, 0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f,
        0x32, 0x62,
    ]);

    #[test]
    fn the_text_is_pinned_and_reads_back() {
        let text = NOTHING.to_string();
        assert_eq!(text, "bafkr4ifpcne3t5pzugtkaqcn5i3nzskjtpfslsnnyejlpte2spfoihzsmi");
        assert_eq!(text.parse(), Ok(NOTHING));
        let cbor = crate::cbor::encode(&NOTHING);
        assert_eq!(crate::cbor::decode::<ContentId>(&cbor, 64).unwrap(), NOTHING);
    }

    #[test]
    fn what_is_no_cid_of_content_is_refused() {
        let sha256 = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
        assert_eq!(sha256.parse::<ContentId>(), Err(ContentIdError::Kind));
        let good = NOTHING.to_string();
        for text in ["", "b", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", &good[1..]] {
            assert!(text.parse::<ContentId>().is_err(), "{text}");
        }
        assert!(format!("{good}a").parse::<ContentId>().is_err());
        assert!("b".repeat(10_000).parse::<ContentId>().is_err());
    }
}
