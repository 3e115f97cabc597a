//! What messages between agents are called: the message ID and the topic. How they travel is the
//! core's.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use minicbor::{Decode, Encode};

use crate::limits::TOPIC_BYTES_MAX;
use crate::name::text_form;

/// 16 random bytes that the sender draws; text form 32 lowercase hex digits. Unique together with
/// the sender's node ID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct MessageId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl MessageId {
    /// The first 10 hex digits, for logs and tables.
    #[must_use]
    pub fn fmt_short(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0[..5])
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({})", self.fmt_short())
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(MessageIdError { chars: text.chars().count() })
    }
}

/// Text that is no message ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message ID is 32 hexadecimal digits, this has {chars} characters")]
pub struct MessageIdError {
    /// Characters found.
    pub chars: usize,
}

/// What an event is about: 1–64 characters of a–z, 0–9 and `.`, `_`, `-`, `/`. No wildcards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(String);

text_form!(Topic);

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        match text.chars().find(|c| !allowed(*c)) {
            Some(found) => Err(TopicError::Character { found }),
            None if (1..=TOPIC_BYTES_MAX).contains(&text.len()) => Ok(Self(text.to_owned())),
            None => Err(TopicError::Length { len: text.len() }),
        }
    }
}

/// Text that is no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Empty or too long.
    #[error("a topic has 1 to {TOPIC_BYTES_MAX} characters, this has {len}")]
    Length {
        /// Characters found.
        len: usize,
    },
    /// A character that no topic has.
    #[error("a topic has only a-z, 0-9, `.`, `_`, `-` and `/`, this has {found:?}")]
    Character {
        /// The first offender.
        found: char,
    },
}

impl serde::Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_read_back() {
        let id = MessageId([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a5".repeat(15).parse::<MessageId>(), Err(MessageIdError { chars: 30 }));
        assert_eq!("x".repeat(32).parse::<MessageId>(), Err(MessageIdError { chars: 32 }));
        for text in ["build/finished", "a", "x.y_z-0"] {
            assert_eq!(text.parse::<Topic>().map(|t| t.to_string()), Ok(text.to_owned()));
        }
        let long = "a".repeat(TOPIC_BYTES_MAX + 1);
        for text in ["", "A", "a b", "ü", "a*", long.as_str()] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }
}
