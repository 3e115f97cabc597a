//! Bounded deterministic CBOR (RFC 8949 §4.2.1): the one door through which bytes become values.
//!
//! [`decode`] walks the bytes once before any value is built and refuses whatever another encoder
//! could have written differently: non-shortest lengths, indefinite lengths, unsorted or duplicate
//! map keys, floats, null (what is not there is left out), trailing bytes; and whatever is out of bounds: depth, item count, size. So a
//! value has one encoding, and no decoder allocates by an attacker's number.
//!
//! Maps have unsigned integer keys. Unknown keys are allowed everywhere and skipped.

use minicbor::{Decode, Encode};

use crate::limits::{CBOR_DEPTH_MAX, CBOR_ITEMS_MAX};

/// Encodes `value`. Derived encoders with `#[cbor(map)]` write keys in ascending order.
#[must_use]
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding to memory cannot fail")
}

/// Decodes one value that fills `bytes` exactly, at most `bytes_max` long.
///
/// # Errors
/// [`CborError`] when the bytes are too long, not deterministic CBOR within the limits, or not a `T`.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8], bytes_max: usize) -> Result<T, CborError> {
    if bytes.len() > bytes_max {
        return Err(CborError::TooLong { len: bytes.len(), max: bytes_max });
    }
    check_deterministic(bytes)?;
    minicbor::decode(bytes).map_err(|e| CborError::Shape(e.to_string()))
}

/// Why bytes are not an acceptable value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// More bytes than this kind of value may have.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// Bytes after the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// Valid CBOR that is not the deterministic encoding.
    #[error("not deterministic CBOR: {0}")]
    NotDeterministic(&'static str),
    /// Nested too deep or too many items.
    #[error("more nesting or items than allowed")]
    OutOfBounds,
    /// Deterministic CBOR of another shape.
    #[error("unexpected shape: {0}")]
    Shape(String),
}

/// Checks that `bytes` are exactly one deterministic CBOR value within the limits.
///
/// # Errors
/// See [`CborError`].
pub fn check_deterministic(bytes: &[u8]) -> Result<(), CborError> {
    let mut walk = Walk { bytes, at: 0, items: 0 };
    walk.value(0)?;
    match bytes.len() - walk.at {
        0 => Ok(()),
        rest => Err(CborError::Trailing(rest)),
    }
}

struct Walk<'b> {
    bytes: &'b [u8],
    at: usize,
    items: usize,
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Result<(), CborError> {
        self.items += 1;
        if depth > CBOR_DEPTH_MAX || self.items > CBOR_ITEMS_MAX {
            return Err(CborError::OutOfBounds);
        }
        let (major, argument) = self.head()?;
        match major {
            0 | 1 => Ok(()),
            2 => self.skip(argument).map(|_| ()),
            3 => {
                let text = self.skip(argument)?;
                std::str::from_utf8(text).map(|_| ()).map_err(|e| CborError::Shape(e.to_string()))
            }
            4 => (0..argument).try_for_each(|_| self.value(depth + 1)),
            5 => self.map(argument, depth),
            6 => self.value(depth + 1),
            // head() lets only false and true through.
            _ => Ok(()),
        }
    }

    /// Keys of one map ascend in the bytewise order of their encodings (§4.2.1).
    fn map(&mut self, entries: u64, depth: usize) -> Result<(), CborError> {
        let mut previous: Option<&[u8]> = None;
        for _ in 0..entries {
            let start = self.at;
            self.value(depth + 1)?;
            let key = &self.bytes[start..self.at];
            if previous.is_some_and(|p| p >= key) {
                return Err(CborError::NotDeterministic("map keys out of order or repeated"));
            }
            previous = Some(key);
            self.value(depth + 1)?;
        }
        Ok(())
    }

    /// Major type and argument of the next item, shortest form enforced.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let first = self.skip(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        if major == 7 {
            return match info {
                20..=21 => Ok((7, 0)),
                22 => Err(CborError::NotDeterministic("null: leave the key out instead")),
                _ => Err(CborError::NotDeterministic("floats and simple values are not used")),
            };
        }
        let (argument, least) = match info {
            0..=23 => (u64::from(info), 0),
            24 => (self.number(1)?, 24),
            25 => (self.number(2)?, 1 << 8),
            26 => (self.number(4)?, 1 << 16),
            27 => (self.number(8)?, 1 << 32),
            _ => return Err(CborError::NotDeterministic("indefinite or reserved length")),
        };
        if argument < least {
            return Err(CborError::NotDeterministic("a number is not in its shortest form"));
        }
        Ok((major, argument))
    }

    fn number(&mut self, len: u64) -> Result<u64, CborError> {
        Ok(self.skip(len)?.iter().fold(0, |n, b| (n << 8) | u64::from(*b)))
    }

    fn skip(&mut self, len: u64) -> Result<&[u8], CborError> {
        let rest = &self.bytes[self.at..];
        let len = usize::try_from(len).map_err(|_| CborError::Truncated)?;
        let taken = rest.get(..len).ok_or(CborError::Truncated)?;
        self.at += len;
        Ok(taken)
    }
}
